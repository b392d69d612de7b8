"""Remote myocardium: the sector of each slice that shows no enhancement, to which thresholds refer."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scarnet.conventions import myocardium_mask
from scarnet.quantification.frame import HeartFrame

BINS = 36
#: Width of the darkest sector that is sought first, and of the sector about a point that a user gives.
SEED_DEG = 60.0
#: The sector grows while the next bin's mean stays within this many standard deviations of it.
GROWTH_SD = 1.0
#: Off both borders by this much: partial volume with blood, fat and lung is no remote signal.
BORDER_MM = 1.5
#: Fewer pixels in a slice say nothing about its spread; the spread of all slices is taken then.
MINIMUM_PIXELS = 15


@dataclass(frozen=True, eq=False)
class RemoteRegion:
    """Per slice.

    Attributes
        mask: bool `[slice, row, column]`, pixels taken; none where the slice has no ring.
        mean, sd: `(slices,)` of the image there, in a slice without any of the nearest that has some: muscle without a cavity
            is muscle to every method. NaN where no slice knows.
        sector_deg: `(slices, 2)`, display angles (see `frame`) where the sector begins and ends, counter-clockwise; a full
            circle ends 360 after its beginning; NaN where the slice has no ring.
        taken_from: `(slices,)`, the slice that `mean` and `sd` are of.
        source: "image", found; or "user", about a given point.
    """

    mask: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    sector_deg: np.ndarray
    taken_from: np.ndarray
    source: str = "image"

    def describe(self) -> dict:
        """JSON-ready, for provenance: the values every threshold rests on, slice by slice."""
        return {
            "source": self.source,
            "chosen": "darkest sector of each slice" if self.source == "image" else "sector about the given point",
            "pixels": int(self.mask.sum()),
            "slices": [
                {
                    "index": k,
                    "pixels": int(self.mask[k].sum()),
                    "mean": float(self.mean[k]),
                    "sd": float(self.sd[k]) if np.isfinite(self.sd[k]) else None,
                    "sector_deg": [float(angle) for angle in self.sector_deg[k]],
                }
                for k in np.flatnonzero(self.mask.any(axis=(1, 2))).tolist()
            ],
        }


def find_remote(
    image: np.ndarray, labels: np.ndarray, frame: HeartFrame, *, angle_deg: float | None = None
) -> RemoteRegion:
    """The darkest sector of each slice, grown as far as it stays alike. `image` `[slice, row, column]`.

    `angle_deg`: take the sector about this display angle in every slice instead, as a user placed it.
    """
    mask, sectors = np.zeros(labels.shape, bool), np.full((len(labels), 2), np.nan)
    for k in np.flatnonzero(frame.ring):
        muscle, angles = _off_borders(labels[k], frame), frame.angles_deg(k)
        bins = (angles / 360 * BINS).astype(int) % BINS
        if angle_deg is None:
            first, count = _darkest_bins(image[k], muscle, bins)
            mask[k] = muscle & ((bins - first) % BINS < count)
            sectors[k] = first * 360 / BINS, (first + count) * 360 / BINS
        else:
            mask[k] = muscle & (np.abs((angles - angle_deg + 180) % 360 - 180) <= SEED_DEG / 2)
            sectors[k] = (angle_deg - SEED_DEG / 2) % 360, (angle_deg - SEED_DEG / 2) % 360 + SEED_DEG
    mean = np.array([image[k][mask[k]].mean() if mask[k].any() else np.nan for k in range(len(mask))])
    sd = np.array([image[k][mask[k]].std() if mask[k].sum() >= MINIMUM_PIXELS else np.nan for k in range(len(mask))])
    if np.isfinite(sd).any():
        sd = np.where(np.isfinite(mean) & ~np.isfinite(sd), np.nanmedian(sd), sd)
    taken_from = _nearest_known(np.isfinite(mean), frame)
    return RemoteRegion(
        mask, mean[taken_from], sd[taken_from], sectors, taken_from, "image" if angle_deg is None else "user"
    )


def _nearest_known(known: np.ndarray, frame: HeartFrame) -> np.ndarray:
    """`(slices,)`: each slice itself where it is `known`, else the nearest that is; of two as near, the one towards the base."""
    nearest, slices = np.arange(len(known)), np.flatnonzero(known)
    from_base_mm = frame.geometry.slice_positions_mm * (-1 if frame.apex_first else 1)
    for k in np.flatnonzero(~known) if slices.size else ():
        away_mm = np.round(np.abs(from_base_mm[slices] - from_base_mm[k]), 3)
        nearest[k] = slices[np.lexsort((from_base_mm[slices], away_mm))[0]]
    return nearest


def _off_borders(labels: np.ndarray, frame: HeartFrame) -> np.ndarray:
    muscle = myocardium_mask(labels)
    depth = ndimage.distance_transform_edt(muscle, sampling=frame.geometry.pixel_spacing_mm)
    inner = depth > BORDER_MM
    return inner if inner.any() else muscle  # a wall of a pixel or two has nothing off its borders


def _darkest_bins(plane: np.ndarray, muscle: np.ndarray, bins: np.ndarray) -> tuple[int, int]:
    """First bin and number of bins, counter-clockwise, of the darkest sector after it has grown."""
    count = np.bincount(bins[muscle], minlength=BINS)
    total = np.bincount(bins[muscle], plane[muscle], minlength=BINS)
    width = max(int(round(SEED_DEG / 360 * BINS)), 1)
    kernel = np.ones(width)
    counts, totals = (ndimage.correlate1d(a.astype(float), kernel, mode="wrap") for a in (count, total))
    means = np.where(counts >= 0.5 * count.sum() * width / BINS, totals / np.maximum(counts, 1), np.inf)
    first, last = int(means.argmin()) - width // 2, int(means.argmin()) + width - width // 2 - 1
    values = plane[muscle & ((bins - first) % BINS < width)]
    limit = values.mean() + GROWTH_SD * values.std() if values.size else -np.inf

    def alike(n: int) -> bool:
        return bool(count[n % BINS] == 0 or total[n % BINS] / count[n % BINS] <= limit)

    while last - first + 1 < BINS and alike(last + 1):
        last += 1
    while last - first + 1 < BINS and alike(first - 1):
        first -= 1
    return first % BINS, last - first + 1
