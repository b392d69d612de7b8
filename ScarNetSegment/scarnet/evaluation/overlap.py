"""Overlap and volume agreement of one patient, as the EMIDEC challenge counts them.

Dice over the whole volume. Where both masks are empty the challenge counts 1; since that rewards scar-free patients
twice, tables here give pathological patients apart.
"""

import numpy as np
import SimpleITK as sitk

from scarnet.conventions import Label, dice, myocardium_mask, scar_mask
from scarnet.series import StackGeometry

REGIONS = {
    "blood_pool": lambda labels: labels == Label.BLOOD_POOL,
    "myocardium": myocardium_mask,
    "scar": scar_mask,
    "mvo": lambda labels: labels == Label.MVO,
}


def compare(predicted: np.ndarray, truth: np.ndarray, geometry: StackGeometry) -> dict[str, float]:
    """One row: Dice of every region, volumes in mL, percent of LV, Hausdorff distance of the myocardium in mm.

    Labels uint8 `[slice, row, column]`. With them the challenge's measures (Lalande et al., Data 2020): volume differences in
    mm3 are 1000 times those in mL, and `scar_difference_to_myocardium` is the difference of infarct volumes over the
    expert's volume of muscle.
    """
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
    difference = abs(row["scar_predicted_ml"] - row["scar_truth_ml"])
    muscle = row["myocardium_truth_ml"]
    row["scar_difference_to_myocardium"] = difference / muscle if muscle else float("nan")
    row["myocardium_hausdorff_mm"] = hausdorff_mm(myocardium_mask(predicted), myocardium_mask(truth), geometry)
    return row


def hausdorff_mm(a: np.ndarray, b: np.ndarray, geometry: StackGeometry) -> float:
    """Hausdorff distance of two masks between the centres of their voxels (SimpleITK); nan where either is empty.

    Slices are taken to lie evenly, at their median distance.
    """
    if not a.any() or not b.any():
        return float("nan")
    row_mm, column_mm = geometry.pixel_spacing_mm
    slice_mm = float(np.nan_to_num(np.median(geometry.slice_weights_mm), nan=1.0))
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (a, b)]
    for image in images:
        image.SetSpacing((float(column_mm), float(row_mm), slice_mm))
    measure = sitk.HausdorffDistanceImageFilter()
    measure.Execute(*images)
    return float(measure.GetHausdorffDistance())
