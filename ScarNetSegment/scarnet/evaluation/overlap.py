"""Overlap and volume agreement of one patient, as the EMIDEC challenge counts them.

Dice over the whole volume. Where both masks are empty the challenge counts 1; since that rewards scar-free patients
twice, tables here give pathological patients apart.
"""

import numpy as np

from scarnet.conventions import Label, dice, myocardium_mask, scar_mask
from scarnet.series import StackGeometry

REGIONS = {
    "blood_pool": lambda labels: labels == Label.BLOOD_POOL,
    "myocardium": myocardium_mask,
    "scar": scar_mask,
    "mvo": lambda labels: labels == Label.MVO,
}


def compare(predicted: np.ndarray, truth: np.ndarray, geometry: StackGeometry) -> dict[str, float]:
    """One row: Dice of every region, volumes in mL, and percent of LV; labels uint8 `[slice, row, column]`."""
    if predicted.shape != truth.shape:
        raise ValueError(f"Predicted labels have shape {predicted.shape}; the truth has {truth.shape}.")
    row: dict[str, float] = {}
    weights = geometry.voxel_volumes_ml
    for name, region in REGIONS.items():
        row[f"{name}_dice"] = dice(region(predicted), region(truth))
        for which, labels in (("predicted", predicted), ("truth", truth)):
            row[f"{name}_{which}_ml"] = float(region(labels).sum(axis=(1, 2)) @ weights)
    for which in ("predicted", "truth"):
        muscle = row[f"myocardium_{which}_ml"]
        row[f"scar_{which}_percent_lv"] = 100 * row[f"scar_{which}_ml"] / muscle if muscle else 0.0
    return row
