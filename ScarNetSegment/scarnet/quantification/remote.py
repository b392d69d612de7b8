"""Remote myocardium: the sector of each slice that shows no enhancement, to which thresholds refer."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scarnet.conventions import myocardium_mask
from scarnet.quantification.frame import HeartFrame

BINS = 36
#: Width of the darkest sector that is sought first.
SEED_DEG = 60.0
#: The sector grows while the next bin's mean stays within this many standard deviations of it.
GROWTH_SD = 1.0
#: Off both borders by this much: partial volume with blood, fat and lung is no remote signal.
BORDER_MM = 1.5
#: Fewer pixels in a slice say nothing about its spread; the spread of all slices is taken then.
MINIMUM_PIXELS = 15


@dataclass(frozen=True, eq=False)
class RemoteRegion:
    """Per slice; NaN where the slice has no ring.

    Attributes
        mask: bool `[slice, row, column]`, pixels taken.
        mean, sd: `(slices,)` of the image there.
    """

    mask: np.ndarray
    mean: np.ndarray
    sd: np.ndarray


def find_remote(image: np.ndarray, labels: np.ndarray, frame: HeartFrame) -> RemoteRegion:
    """The darkest sector of each slice, grown as far as it stays alike. `image` `[slice, row, column]`."""
    mask = np.zeros(labels.shape, bool)
    for k in np.flatnonzero(frame.ring):
        mask[k] = _darkest_sector(image[k], _off_borders(labels[k], frame), frame.angles_deg(k))
    mean = np.array([image[k][mask[k]].mean() if mask[k].any() else np.nan for k in range(len(mask))])
    sd = np.array([image[k][mask[k]].std() if mask[k].sum() >= MINIMUM_PIXELS else np.nan for k in range(len(mask))])
    if np.isfinite(sd).any():
        sd = np.where(np.isfinite(mean) & ~np.isfinite(sd), np.nanmedian(sd), sd)
    return RemoteRegion(mask, mean, sd)


def _off_borders(labels: np.ndarray, frame: HeartFrame) -> np.ndarray:
    muscle = myocardium_mask(labels)
    depth = ndimage.distance_transform_edt(muscle, sampling=frame.geometry.pixel_spacing_mm)
    inner = depth > BORDER_MM
    return inner if inner.any() else muscle  # a wall of a pixel or two has nothing off its borders


def _darkest_sector(plane: np.ndarray, muscle: np.ndarray, angles_deg: np.ndarray) -> np.ndarray:
    bins = (angles_deg / 360 * BINS).astype(int) % BINS
    count = np.bincount(bins[muscle], minlength=BINS)
    total = np.bincount(bins[muscle], plane[muscle], minlength=BINS)
    width = max(int(round(SEED_DEG / 360 * BINS)), 1)
    kernel = np.ones(width)
    counts, totals = (ndimage.convolve1d(a.astype(float), kernel, mode="wrap") for a in (count, total))
    means = np.where(counts >= 0.5 * count.sum() * width / BINS, totals / np.maximum(counts, 1), np.inf)
    middle = int(means.argmin())
    chosen = {(middle + offset) % BINS for offset in range(-(width // 2), width - width // 2)}
    first, last = middle - width // 2, middle + width - width // 2 - 1
    values = plane[muscle & np.isin(bins, list(chosen))]
    limit = values.mean() + GROWTH_SD * values.std() if values.size else -np.inf
    for step, edge in ((1, last), (-1, first)):
        n = edge + step
        while len(chosen) < BINS and (count[n % BINS] == 0 or total[n % BINS] / count[n % BINS] <= limit):
            chosen.add(n % BINS)
            n += step
    return muscle & np.isin(bins, list(chosen))
