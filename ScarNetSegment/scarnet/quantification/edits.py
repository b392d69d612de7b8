"""What a reader changed in a model's segmentation."""

import math
from typing import Any

import numpy as np

from scarnet.conventions import Label, dice, myocardium_mask, scar_mask
from scarnet.series import StackGeometry

_STRUCTURES = (
    ("LV myocardium", myocardium_mask),
    ("Scar", scar_mask),
    ("Microvascular obstruction", lambda labels: labels == Label.MVO),
    ("LV blood pool", lambda labels: labels == Label.BLOOD_POOL),
)


def summarise_edits(model_labels: np.ndarray, labels: np.ndarray, geometry: StackGeometry) -> dict[str, Any] | None:
    """Volumes in mL before and after, and their Dice, for every structure that differs; None where nothing does.

    Both label maps are uint8 `[slice, row, column]` on the grid of `geometry`. No names, no times: who read is the
    report's signature to say.
    """
    changed: dict[str, Any] = {}
    for name, mask in _STRUCTURES:
        before, after = mask(model_labels), mask(labels)
        if not np.array_equal(before, after):
            changed[name] = {
                "model_ml": _volume_ml(before, geometry),
                "corrected_ml": _volume_ml(after, geometry),
                "dice": dice(before, after),
                "slices": [int(k) for k in np.flatnonzero((before != after).any(axis=(1, 2)))],
            }
    return changed or None


def _volume_ml(mask: np.ndarray, geometry: StackGeometry) -> float:
    """Summed as `quantify` does, to the same last digit: a model's value reads alike in its own report and in the corrected one."""
    counts = np.count_nonzero(mask, axis=(1, 2)).tolist()
    return math.fsum(count * unit for count, unit in zip(counts, geometry.voxel_volumes_ml.tolist(), strict=True))
