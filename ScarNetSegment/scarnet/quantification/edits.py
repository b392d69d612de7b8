"""What a reader changed in a model's segmentation."""

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
    weights = geometry.voxel_volumes_ml
    changed: dict[str, Any] = {}
    for name, mask in _STRUCTURES:
        before, after = mask(model_labels), mask(labels)
        if not np.array_equal(before, after):
            changed[name] = {
                "model_ml": float(before.sum(axis=(1, 2)) @ weights),
                "corrected_ml": float(after.sum(axis=(1, 2)) @ weights),
                "dice": dice(before, after),
                "slices": [int(k) for k in np.flatnonzero((before != after).any(axis=(1, 2)))],
            }
    return changed or None
