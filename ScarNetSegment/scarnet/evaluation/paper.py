"""What Tavakoli et al. (JCMR 2025;101945, arXiv 2501.01372) report, to stand beside what is seen here, and why the two may differ."""

from scarnet.evaluation.tables import Table

REPORTED = Table(
    "What the paper reports (its own test set: 184 patients, ischaemic cardiomyopathy; not ours)",
    [
        "Model",
        "Scar Dice, median [IQR]",
        "CCC, Dice paragraph",
        "CCC, volume",
        "Bias, points of LV",
        "CoV, %",
        "Sensitivity, %",
        "Specificity, %",
    ],
    [
        ["ScarNet", "0.912 [0.863–0.944]", "0.963", "0.995", "−0.63", "4.3", "95.3", "92.3"],
        ["nnU-Net", "0.638 [0.604–0.661]", "0.734", "0.910", "−2.46", "20.3", "74.9", "69.2"],
        ["MedSAM", "0.046 [0.043–0.047]", "0.018", "0.002", "−13.31", "130.3", "15.2", "92.3"],
    ],
    [
        "Monte Carlo noise, mean ± SD of scar Dice (arXiv version): ScarNet 0.892 ± 0.053, nnU-Net 0.615 ± 0.537, MedSAM 0.048 ± 0.112."
    ],
)

#: Why figures here and there are not the same quantity. Each is a fact about the two set-ups, not a judgement.
REASONS = (
    "Other patients: the paper's are ischaemic cardiomyopathy from one group, not public; its test burden is about 13 % of the LV.",
    "Other size and start: the paper's encoder starts from MedSAM's weights; where a table here says without them, the network starts from "
    "chance, and the budget of training is minutes on a processor.",
    "Inputs: the paper's figure 2 draws masks into the prompt path and an epicardial region from which a box is taken; whether they were "
    "used at test time is not said. Here nothing of the expert's labels reaches a network at test time; only rows marked 'expert's muscle' "
    "use the expert's myocardium.",
    "Unit and rule: whether sensitivity and specificity count slices or patients, and when a case counts as positive, is not stated there. "
    "171 positive and 13 negative patients reproduce all six of its figures; ours are stated with the tables.",
    "The nnU-Net and MedSAM figures of the paper come from its authors' runs, those here from ours: neither is their developers' best.",
    "The one retraining by others that we know of (CalcSeg, Univ. of Virginia) gave the paper's network a scar Dice of 0.615 ± 0.29 on "
    "mixed data; two experts agree at about 0.69 on EMIDEC as the challenge counts.",
    "Within the paper, figures do not all fit together: nnU-Net's noise figures (0.615 ± 0.537) are a variation of 87 %, its abstract says "
    "28.7 %; MedSAM's myocardium has a mean Dice near 0.74 in figure 4 and a median near 0.24 in figure 6.",
)
