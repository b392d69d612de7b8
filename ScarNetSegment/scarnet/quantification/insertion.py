"""Where the right ventricle joins the left: the landmark from which segments are counted."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scarnet.conventions import Label
from scarnet.quantification.aha import BASAL, INSERTION_DEG, MID, slice_levels
from scarnet.quantification.frame import HeartFrame

BINS = 72
#: Looked at outside the epicardium: beyond the septum's own blur, within the width of a right ventricle.
NEAR_MM, FAR_MM = 2.0, 18.0
#: The septum is two of six segments wide.
SEPTUM_DEG = 120.0
#: The anterior insertion lies this far clockwise of the septum's middle.
TO_INSERTION_DEG = INSERTION_DEG - 180.0
#: The right ventricle lies to the right and front of the left one: mid-septum at this angle of the display, give or take.
EXPECTED_SEPTUM_DEG, EXPECTED_SPREAD_DEG = 180.0, 50.0


@dataclass(frozen=True)
class RvInsertion:
    """`angle_deg`: display angle of the anterior insertion. `certainty`: 0 to 1, how far the best place leads."""

    angle_deg: float
    certainty: float
    source: str  # "image", "user"


def find_insertion(
    image: np.ndarray, labels: np.ndarray, frame: HeartFrame, *, orientation_known: bool = True
) -> RvInsertion:
    """From the bright blood beside the septum, summed over the slices of the basal and mid thirds.

    `image` `[slice, row, column]`. `orientation_known`: the geometry states the patient's axes; the right ventricle is
    then expected on the patient's right.
    """
    levels = slice_levels(frame)
    profile = np.zeros(BINS)
    for k in np.flatnonzero(frame.ring):
        if levels[k] in (BASAL, MID):
            profile += _blood_outside(image[k], labels[k], frame, k)
    centers = (np.arange(BINS) + 0.5) * 360 / BINS
    window = np.abs((centers + 180) % 360 - 180) <= SEPTUM_DEG / 2
    # Blood beside the septum, and none beside the free wall: the sector's mean against the rest.
    inside = ndimage.convolve1d(profile, np.roll(window, BINS // 2).astype(float), mode="wrap") / window.sum()
    outside = (profile.sum() - inside * window.sum()) / (BINS - window.sum())
    score = inside - outside
    if orientation_known:
        away = (centers - EXPECTED_SEPTUM_DEG + 180) % 360 - 180
        prior = np.exp(-0.5 * (away / EXPECTED_SPREAD_DEG) ** 2)
        score = score + (score.max() - score.min() + 1e-9) * prior
    best = int(score.argmax())
    apart = np.abs((centers - centers[best] + 180) % 360 - 180) > SEPTUM_DEG / 2
    spread = score.max() - score.min()
    certainty = float((score[best] - score[apart].max()) / spread) if spread > 0 else 0.0
    return RvInsertion(float((centers[best] + TO_INSERTION_DEG) % 360), certainty, "image")


def _blood_outside(plane: np.ndarray, labels: np.ndarray, frame: HeartFrame, k: int) -> np.ndarray:
    """`(BINS,)`: how blood-like the pixels just outside the epicardium are, by angle, 0 to 1."""
    spacing = frame.geometry.pixel_spacing_mm
    beyond = ndimage.distance_transform_edt((labels == 0) & ~frame.cavity[k], sampling=spacing)
    ring = (beyond > NEAR_MM) & (beyond <= FAR_MM)
    blood = np.median(plane[frame.cavity[k]])
    healthy = plane[labels == Label.MYOCARDIUM]
    muscle = np.median(healthy) if healthy.size else np.percentile(plane[labels > 0], 10)
    if blood <= muscle:
        return np.zeros(BINS)
    relative = (plane[ring] - muscle) / (blood - muscle)
    # Blood is 1, muscle and lung 0 or less; fat, brighter than blood, counts less the brighter it is.
    likeness = np.where(relative <= 1, np.clip(relative, 0, 1), np.clip(2 - 0.7 * relative, 0, 1))
    bins = (frame.angles_deg(k)[ring] / 360 * BINS).astype(int) % BINS
    count = np.bincount(bins, minlength=BINS)
    return np.bincount(bins, likeness, minlength=BINS) / np.maximum(count, 1)
