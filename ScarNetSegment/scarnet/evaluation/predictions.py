"""What models say of patients they have not seen, kept on disk so that decisions can be weighed without running them again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scarnet.errors import InputError
from scarnet.files import replacing
from scarnet.segmentation import segment
from scarnet.series import StackGeometry
from scarnet.training.data import CaseFile, read_case

#: Rows and columns kept around whatever is, or may be, ventricle.
MARGIN = 8


@dataclass(frozen=True, eq=False)
class Prediction:
    """One patient: class probabilities `[class, slice, row, column]` beside the expert's labels, both cut to the heart."""

    case: str
    group: str
    fold: int
    geometry: StackGeometry
    probabilities: np.ndarray
    truth: np.ndarray
    error: str  # why nothing was found, or ""


def predict_case(
    case: CaseFile, model: Path, finder: Path, *, device: str = "cpu", series=None, truth=None
) -> Prediction:
    """From the full field of view: LV finding and cropping included. A ventricle that is not found is all background."""
    if series is None:
        series, truth = read_case(case)
    try:
        probabilities, error = segment(series, model=model, finder=finder, device=device).probabilities, ""
    except InputError as problem:
        probabilities, error = np.zeros((5, *truth.shape), np.float16), str(problem)
        probabilities[0] = 1
    return _cut(Prediction(case.name, case.group, case.fold, series.geometry, probabilities, truth, error))


def _cut(full: Prediction) -> Prediction:
    heart = ((full.probabilities[0] < 0.98) | (full.truth > 0)).any(axis=0)
    rows, columns = (np.flatnonzero(heart.any(axis=axis)) for axis in (1, 0))
    r, c = (
        slice(max(int(n.min()) - MARGIN, 0), int(n.max()) + MARGIN + 1) if len(n) else slice(0, heart.shape[axis])
        for axis, n in enumerate((rows, columns))
    )
    truth = np.ascontiguousarray(full.truth[:, r, c])
    geometry = full.geometry.cropped(r, c)
    probabilities = np.ascontiguousarray(full.probabilities[:, :, r, c], np.float16)
    return Prediction(full.case, full.group, full.fold, geometry, probabilities, truth, full.error)


def save(prediction: Prediction, path: Path) -> None:
    g = prediction.geometry
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            probabilities=prediction.probabilities,
            truth=prediction.truth,
            text=np.array([prediction.case, prediction.group, prediction.error]),
            fold=prediction.fold,
            pixel_spacing_mm=g.pixel_spacing_mm,
            row_direction=g.row_direction,
            column_direction=g.column_direction,
            slice_origins_mm=g.slice_origins_mm,
        )


def load(path: Path) -> Prediction:
    with np.load(path) as stored:
        case, group, error = stored["text"].tolist()
        geometry = StackGeometry(
            stored["truth"].shape,
            tuple(stored["pixel_spacing_mm"].tolist()),
            stored["column_direction"],
            stored["row_direction"],
            stored["slice_origins_mm"],
        )
        return Prediction(case, group, int(stored["fold"]), geometry, stored["probabilities"], stored["truth"], error)
