"""Several models on the same patients: paired tests of each against one of them."""

import numpy as np

from scarnet.evaluation.judge import Judged, in_group
from scarnet.evaluation.paired import holm, paired_test

#: What is tested: name, value of a patient's row, group, whether a larger value is the better one.
TESTED = {
    "scar_dice": (lambda row: row["scar_dice"], "pathological", True),
    "scar_dice, all patients (1 where both are empty)": (lambda row: row["scar_dice"], "all", True),
    "myocardium_dice": (lambda row: row["myocardium_dice"], "all", True),
    "scar_percent_lv, absolute difference": (
        lambda row: abs(row["scar_predicted_percent_lv"] - row["scar_truth_percent_lv"]),
        "all",
        False,
    ),
}


def paired_against(reference: str, judged: dict[str, Judged]) -> list[dict]:
    """One row per rival and measure, `difference` reference - rival, on the patients that both have.

    P values of one measure are adjusted over the rivals (Holm); `better` counts the patients in whom the reference is.
    """
    rows: list[dict] = []
    for measure, (value, group, larger) in TESTED.items():
        ours = {row["case"]: value(row) for row in judged[reference].cases if in_group(row, group)}
        of_measure = []
        for rival, theirs in judged.items():
            if rival == reference:
                continue
            other = {row["case"]: value(row) for row in theirs.cases if row["case"] in ours}
            shared = sorted(other)
            if not shared:
                continue
            result = paired_test(np.array([ours[c] for c in shared]), np.array([other[c] for c in shared]))
            if not larger:
                result["better"], result["worse"] = result["worse"], result["better"]
            of_measure.append({"measure": measure, "group": group, "reference": reference, "rival": rival, **result})
        for name in ("wilcoxon_p", "bootstrap_p"):
            for row, adjusted in zip(of_measure, holm([r[name] for r in of_measure]), strict=True):
                row[f"{name}_holm"] = adjusted
        rows += of_measure
    return rows
