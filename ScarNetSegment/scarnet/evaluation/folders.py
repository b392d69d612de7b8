"""Label maps of the same patients in two folders, whoever wrote them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scarnet.conventions import Label
from scarnet.errors import InputError
from scarnet.series import StackGeometry, read_label_map
from scarnet.series.image_file import KINDS, kind_of

#: Endings of label map names that are no part of the patient's name.
ENDINGS = ("_labels", "_label", "_seg", "_gt", "_pred")


def label_maps(folder: Path) -> dict[str, Path]:
    """Patient's name to file: `NAME.nii.gz`, `NAME_labels.nii.gz` (also .nrrd, .mha), or `NAME/labels.nii.gz` as `scarnet segment`
    and `scarnet cohort` write it. Files called `*_image` are no label maps. Raises InputError.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a folder of label maps.")
    found: dict[str, Path] = {}
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and kind_of(path)]
    files += sorted(folder.glob("*/labels.nii.gz")) + sorted(folder.glob("patients/*/labels.nii.gz"))
    for path in files:
        name = path.parent.name if path.name == "labels.nii.gz" and path.parent != folder else _patient(path)
        if name is None:
            continue
        if name in found:
            raise InputError(f"{folder} holds two label maps of {name}: {found[name].name} and {path.name}; keep one.")
        found[name] = path
    if not found:
        raise InputError(
            f"{folder} holds no label maps: expected NAME.nii.gz, NAME_labels.nii.gz or NAME/labels.nii.gz."
        )
    return found


def _patient(path: Path) -> str | None:
    suffix = next(suffix for suffix in sorted(KINDS, key=len, reverse=True) if path.name.lower().endswith(suffix))
    name = path.name[: -len(suffix)]
    if name.endswith("_image"):
        return None
    return next((name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)), name)


def pairs(predictions: Path, truth: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray, StackGeometry, dict]]:
    """Every patient of `truth`, as `judge` takes them. Raises InputError where a prediction is missing or lies on another grid."""
    predicted, true = label_maps(predictions), label_maps(truth)
    missing = sorted(set(true) - set(predicted))
    if missing:
        raise InputError(
            f"{predictions} lacks {len(missing)} of {len(true)} patients of {truth}, the first {missing[0]}; a patient without a "
            "result counts as one in whom nothing was found: write an empty label map for it, or leave it out of both."
        )
    for name, path in true.items():
        labels, geometry = read_labels(path)
        yield name, on_grid(name, *read_labels(predicted[name]), geometry), labels, geometry, {}


def read_labels(path: Path) -> tuple[np.ndarray, StackGeometry]:
    """Labels of the convention (0 to 4) and their grid. Raises InputError."""
    labels, geometry = read_label_map(path)
    if labels.max() > Label.MVO:
        raise InputError(f"{path.name} holds the value {labels.max()}; known are 0 background to 4 MVO.")
    return labels, geometry


def on_grid(name: str, labels: np.ndarray, geometry: StackGeometry, wanted: StackGeometry) -> np.ndarray:
    """`labels`, if their grid is the `wanted` one. Raises InputError."""
    if labels.shape != wanted.shape or not geometry.matches(wanted, tolerance_mm=0.5):
        raise InputError(
            f"{name}: the predicted labels lie on another grid (shape {labels.shape}) than the expert's ({wanted.shape}); "
            "predict on the image's own grid."
        )
    return labels
