"""Brightness that changes from one side of the heart to the other: surface coils are nearer to one side, and not every scanner makes up for it.

The network knows shading from training, but takes the bright side of a steep one for scar. Cavity and healthy muscle are each of one
brightness otherwise: how it changes along them, as a gain exponential in the distance, is found once both are outlined and taken away for
a second look (bias fields by tissue classes, in short: Wells et al., IEEE TMI 1996). PSIR needs none of it: its reconstruction divides
by a reference image that the same coils saw (Kellman et al., MRM 2002).
"""

import numpy as np

from scarnet.conventions import Label

#: Logarithm of gain per mm: less is left as it is. Over the 81 patients of EMIDEC, in which coils' shading was corrected by the scanner,
#: it is 0.0022 at most (expert's outlines).
LEAST_SLOPE = 0.003
#: Pixels of a class in a slice, and in all, that a slope can be told from.
MINIMUM_IN_SLICE, MINIMUM_PIXELS = 30, 300
#: Values of zero and less have no logarithm. Where so many are, zero is not where the signal starts, as in PSIR.
MOST_NOT_POSITIVE = 0.05
#: Others are taken as at least this share of their class's median.
FLOOR = 0.01
#: Rounds of least squares, each without what lies farther from the last than this many standard deviations: vessels, papillary muscles, scar.
ROUNDS, FARTHEST = 5, 2.5


def gain_slope(image: np.ndarray, labels: np.ndarray, pixel_spacing_mm: tuple[float, float]) -> np.ndarray:
    """`(2,)`: logarithm of gain per mm along rows' and columns' index, one for the whole stack.

    `image`, `labels` `[slice, row, column]`. Zero where it cannot be told: too little is outlined, or values are signed.
    """
    values, places = [], []
    for plane, plane_labels in zip(image, labels, strict=True):
        for label in (Label.BLOOD_POOL, Label.MYOCARDIUM):
            mask = plane_labels == label
            if mask.sum() < MINIMUM_IN_SLICE:
                continue
            where = np.argwhere(mask) * np.asarray(pixel_spacing_mm)
            values.append(plane[mask].astype(float))
            places.append(where - where.mean(axis=0))
    if sum(map(len, values)) < MINIMUM_PIXELS or (np.concatenate(values) <= 0).mean() > MOST_NOT_POSITIVE:
        return np.zeros(2)
    logarithms = []
    for of_class in values:
        middle = float(np.median(of_class))
        if middle <= 0:
            return np.zeros(2)
        logarithm = np.log(np.maximum(of_class, FLOOR * middle))
        logarithms.append(logarithm - np.median(logarithm))
    y, x = np.concatenate(logarithms), np.concatenate(places)
    for _ in range(ROUNDS):
        slope = np.linalg.lstsq(x, y, rcond=None)[0]
        off = np.abs(y - x @ slope)
        kept = off <= FARTHEST * 1.4826 * np.median(off)
        y, x = y[kept], x[kept]
    return slope


def is_steep(slope: np.ndarray) -> bool:
    return bool(np.hypot(*slope) > LEAST_SLOPE)


def without_gain(
    image: np.ndarray, slope: np.ndarray, pixel_spacing_mm: tuple[float, float], about: np.ndarray
) -> np.ndarray:
    """`image` `[slice, row, column]` divided by the gain, which is 1 at `about` `(row, column)`."""
    rows, columns = (
        slope[axis] * pixel_spacing_mm[axis] * (np.arange(image.shape[1 + axis]) - about[axis]) for axis in (0, 1)
    )
    return (image * np.exp(-(rows[:, None] + columns[None, :]))).astype(np.float32)
