"""Pictures of what a cross-validation found: best, middle and worst patients, the expert's contours beside the model's."""

from pathlib import Path

import numpy as np

from scarnet.conventions import scar_mask
from scarnet.errors import UsageError
from scarnet.evaluation.predictions import Prediction
from scarnet.files import replacing
from scarnet.segmentation.segment import labels_of
from scarnet.training.data import CaseFile, read_case

#: Patients a picture, and slices a patient (evenly spread over the ventricle).
PATIENTS, SLICES = 3, 6
_EXPERT, _MODEL = "lime", "red"
_EXPERT_SCAR, _MODEL_SCAR = "yellow", "magenta"


def pick(rows: list[dict]) -> dict[str, list[str]]:
    """Cases of each picture: infarcts by Dice of scar, scar-free hearts by the scar that was found in them."""
    pathological = sorted((r for r in rows if r["scar_truth_ml"] > 0), key=lambda r: r["scar_dice"])
    normal = sorted((r for r in rows if r["scar_truth_ml"] == 0), key=lambda r: -r["scar_predicted_ml"])
    middle = max((len(pathological) - PATIENTS) // 2, 0)
    groups = {
        "worst": pathological[:PATIENTS],
        "median": pathological[middle : middle + PATIENTS],
        "best": pathological[-PATIENTS:],
        "scar_free": normal[:PATIENTS],
    }
    return {name: [row["case"] for row in group] for name, group in groups.items() if group}


def write_gallery(
    output: Path, cases: list[CaseFile], predictions: list[Prediction], rows: list[dict], decisions: dict[int, dict]
) -> list[Path]:
    """PNG files `worst`, `median`, `best` and `scar_free` in `output`. Patients' images: they stay where the data may be.

    `decisions`: thresholds by fold. Raises UsageError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            "The pictures of best and worst patients need one more package: pip install matplotlib."
        ) from None
    files, by_name = {case.name: case for case in cases}, {p.case: p for p in predictions}
    dice = {row["case"]: row["scar_dice"] for row in rows}
    written = []
    for name, chosen in pick(rows).items():
        figure = Figure(figsize=(2.2 * SLICES, 4.4 * len(chosen)), layout="constrained")
        axes = figure.subplots(2 * len(chosen), SLICES, squeeze=False)
        for ax in axes.ravel():
            ax.axis("off")
        for number, case in enumerate(chosen):
            prediction = by_name[case]
            image = _same_window(read_case(files[case])[0], prediction)
            labels = labels_of(
                prediction.probabilities.astype(np.float32), prediction.geometry, decisions[prediction.fold]
            )
            _draw(axes[2 * number : 2 * number + 2], image, labels, prediction.truth)
            axes[2 * number, 0].set_title(f"{case}  scar Dice {dice[case]:.2f}", loc="left", fontsize=8)
        figure.suptitle(f"{name}: expert green, scar yellow; model red, scar magenta", fontsize=9)
        with replacing(Path(output) / f"{name}.png") as part:
            figure.savefig(part, format="png", dpi=90)
        written.append(Path(output) / f"{name}.png")
    return written


def _same_window(series, prediction: Prediction) -> np.ndarray:
    """The image cut as the prediction is."""
    first = np.round(series.geometry.lps_to_index(prediction.geometry.slice_origins_mm[0])).astype(int)
    _, rows, columns = prediction.truth.shape
    return series.image[:, first[1] : first[1] + rows, first[2] : first[2] + columns]


def _draw(axes, image: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> None:
    slices = np.unique(np.linspace(0, len(image) - 1, min(SLICES, len(image))).round().astype(int))
    for column, k in enumerate(slices):
        low, high = np.percentile(image[k], (1, 99.5))
        for line in (0, 1):
            axes[line, column].imshow(image[k], cmap="gray", vmin=low, vmax=high)
        ax = axes[1, column]
        for values, wall, scar in ((truth[k], _EXPERT, _EXPERT_SCAR), (labels[k], _MODEL, _MODEL_SCAR)):
            for mask, color in ((values > 0, wall), (values == 1, wall), (scar_mask(values), scar)):
                if mask.any():
                    ax.contour(mask, [0.5], colors=color, linewidths=0.8)
