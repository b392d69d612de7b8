"""Slices of another breath-hold: the heart lies elsewhere in them than in their neighbours.

Sought twice, in the outlined ventricle and in the images about it alone, so that each can be checked by the other. What is
found is said, never corrected: volumes do not depend on it, while outlines, segments and transmurality between slices may.
Limits were set on the 81 labelled EMIDEC patients (`python Testing/measure_shifts.py`).
"""

from collections.abc import Collection, Mapping

import numpy as np
from scipy import ndimage

from scarnet.quantification.frame import HeartFrame
from scarnet.segmentation.crop import CropGrid, normalise
from scarnet.series import LgeSeries

#: The outlined centre of one slice off the line through its neighbours' by this much. EMIDEC: largest 4.6 mm.
SHIFT_MM = 5.0
#: The ventricle goes aside from one slice to the next by this much more than it usually does in this stack: from there on it
#: was another breath-hold. Half of it shows as a shift of either slice. EMIDEC: largest 6.5 mm.
STEP_MM = 7.0
#: The first of the images, whose shift is measured with less certainty. EMIDEC: 4 of 412 slices, in 2 of 81 patients.
IMAGE_SHIFT_MM = 6.0

#: Images are compared at this pixel size after smoothing: anatomy of a few mm differs between slices anyway.
_PIXEL_MM, _SMOOTHING_MM = 3.0, 4.0
#: What is compared: all within the first radius of the ventricle's centre, nothing beyond the second, since the chest wall
#: stays where the heart moves.
_RADIUS_MM, _END_MM = 30.0, 50.0
#: Farthest shift that is sought from one slice to the next, and by how much more images must agree with it than without:
#: slices that look unlike one another agree about as badly anywhere.
_REACH_MM, _GAIN = 15.0, 0.05
#: A way aside of which the next takes back this share or more is of one slice.
_BACK_SHARE = 0.4


def shift_warnings(series: LgeSeries, labels: np.ndarray, frame: HeartFrame) -> tuple[str, ...]:
    """A sentence for every slice that stands out, and for every step after which the stack goes on elsewhere.

    `labels` and `frame` may be of a part of the field of view of `series`.
    """
    normal = frame.geometry.normal
    outlined = outlined_centers_mm(labels, frame)
    steps = steps_mm(outlined, normal)
    by_outline = shifts_mm(without_steps(outlined, steps), normal, SHIFT_MM)
    seen, sure = image_centers_mm(series, frame)
    by_image = shifts_mm(without_steps(seen, steps), normal, IMAGE_SHIFT_MM, among=sure)
    found = []
    for k in sorted({*by_outline, *by_image}):
        if k in by_outline and k in by_image:
            text = (
                f"Slice {k + 1} is shifted by {by_outline[k]:.0f} mm against its neighbours, in outline and image alike"
            )
            found.append(f"{text}: another breath-hold. Nothing was corrected.")
        elif k in by_outline:
            text = f"Slice {k + 1} is shifted by {by_outline[k]:.0f} mm against its neighbours: another breath-hold"
            found.append(f"{text}, or an outline that is off.")
        else:
            text = f"The image of slice {k + 1} seems shifted by {by_image[k]:.0f} mm against its neighbours"
            found.append(f"{text}, its outline is not: another breath-hold, or check the outline.")
    for (a, b), step in steps.items():
        found.append(
            f"Between slices {a + 1} and {b + 1} the ventricle goes {np.linalg.norm(step):.0f} mm aside: they are of different "
            "breath-holds, or an outline is off. Nothing was corrected."
        )
    return tuple(found)


def shifts_mm(
    centers: Mapping[int, np.ndarray], normal: np.ndarray, limit_mm: float, *, among: Collection[int] | None = None
) -> dict[int, float]:
    """Distance of every slice's centre `(3,)` from the line through its neighbours', where it is more than `limit_mm`.

    `among`: slices that may be named; all unless given. The largest is found first and left out of the line, so that its neighbours are not taken for shifted.
    """
    left, found = dict(centers), {}
    while len(left) >= 3:
        inner = sorted(left)
        off = {
            b: _off_line(left[a], left[b], left[c], normal)
            for a, b, c in zip(inner, inner[1:], inner[2:], strict=False)
            if among is None or b in among
        }
        worst = max(off, key=off.__getitem__, default=None)
        if worst is None or off[worst] < limit_mm:
            break
        found[worst] = off[worst]
        del left[worst]
    return dict(sorted(found.items()))


def steps_mm(centers: Mapping[int, np.ndarray], normal: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """`(3,)` mm: between which slices the centre goes aside for good, by more than `STEP_MM` beyond what is usual here.

    Back and forth is one slice that is shifted, no step.
    """
    inner = sorted(centers)
    if len(inner) < 4:
        return {}
    pairs = list(zip(inner, inner[1:], strict=False))
    ways = np.array([centers[b] - centers[a] for a, b in pairs])
    along = ways @ normal
    aside = ways - along[:, None] * normal
    rest = aside - np.median(aside / along[:, None], axis=0) * along[:, None]
    found = {}
    for n, pair in enumerate(pairs):
        size = float(np.linalg.norm(rest[n]))
        back = min((float(rest[m] @ rest[n]) for m in (n - 1, n + 1) if 0 <= m < len(pairs)), default=0.0)
        if size > STEP_MM and back > -_BACK_SHARE * size**2:
            found[pair] = rest[n]
    return found


def without_steps(centers: Mapping[int, np.ndarray], steps: Mapping[tuple[int, int], np.ndarray]):
    """Centres as if no step were there, so that the slices on either side are not taken for shifted."""
    return {k: center - sum(step for (_, b), step in steps.items() if b <= k) for k, center in centers.items()}


def outlined_centers_mm(labels: np.ndarray, frame: HeartFrame) -> dict[int, np.ndarray]:
    """`(3,)` LPS: centre of the outlined ventricle in every slice with a cavity; cut-off outlines have none of their own."""
    shape = np.array(labels.shape[1:])
    centers = {}
    for k in np.flatnonzero(frame.ring).tolist():
        rows, columns = np.nonzero(labels[k] > 0)
        if rows.min() > 0 and columns.min() > 0 and rows.max() < shape[0] - 1 and columns.max() < shape[1] - 1:
            centers[k] = frame.geometry.index_to_lps(np.array([k, rows.mean(), columns.mean()]))
    return centers


def image_centers_mm(series: LgeSeries, frame: HeartFrame) -> tuple[dict[int, np.ndarray], set[int]]:
    """`(3,)` mm: where the heart lies in every slice with a cavity, by the images alone, from an arbitrary zero; and the
    slices that surely agree better with both neighbours once they are shifted.

    Each slice's surroundings of the ventricle are laid over the next by normalised cross-correlation; the ways from slice to
    slice are added up.
    """
    slices = np.flatnonzero(frame.ring).tolist()
    if len(slices) < 3:
        return {}, set()
    reach, radius = int(_REACH_MM / _PIXEL_MM), int(_END_MM / _PIXEL_MM)
    middle = np.nanmean(frame.centers_mm[slices], axis=0)
    grid = CropGrid(series.geometry, middle, 2 * (reach + radius) + 1, _PIXEL_MM)
    pictures = normalise(*grid.extract(series.image))[slices]
    smooth = ndimage.gaussian_filter(pictures, (0, _SMOOTHING_MM / _PIXEL_MM, _SMOOTHING_MM / _PIXEL_MM))
    rows, columns = np.indices((2 * radius + 1,) * 2) - radius
    weight = np.clip((_END_MM - np.hypot(rows, columns) * _PIXEL_MM) / (_END_MM - _RADIUS_MM), 0, 1)
    weight /= weight.sum()
    where, centers, sure = np.zeros(2), {}, []
    normal = series.geometry.normal
    in_plane = np.stack([series.geometry.row_direction, series.geometry.column_direction])
    for n, k in enumerate(slices):
        if n:
            way, certain = _way(smooth[n - 1], smooth[n], weight, reach)
            where = where + _PIXEL_MM * way
            sure.append(certain)
        centers[k] = where @ in_plane + (series.geometry.slice_origins_mm[k] @ normal) * normal
    return centers, {k for k, before, after in zip(slices[1:], sure, sure[1:], strict=False) if before and after}


def _way(a: np.ndarray, b: np.ndarray, weight: np.ndarray, reach: int) -> tuple[np.ndarray, bool]:
    """`(2,)` pixels: how far what is in the middle of `a` has gone in `b`, at most `reach`, asked both ways; and if so surely."""
    agreement = (_agreement(a, b, weight, reach) + _agreement(b, a, weight, reach)[::-1, ::-1]) / 2
    row, column = np.unravel_index(agreement.argmax(), agreement.shape)
    sure = bool(agreement[row, column] > agreement[reach, reach] + _GAIN)
    return np.array([_top(agreement[:, column], int(row)), _top(agreement[row], int(column))]) - reach, sure


def _agreement(a: np.ndarray, b: np.ndarray, weight: np.ndarray, reach: int) -> np.ndarray:
    """Weighted correlation of the middle of `a` with `b` at every whole shift up to `reach`."""
    part = a[reach:-reach, reach:-reach]
    part = part - (weight * part).sum()
    views = np.lib.stride_tricks.sliding_window_view(b, weight.shape)
    mean = np.einsum("ijrc,rc->ij", views, weight)
    variance = np.einsum("ijrc,ijrc,rc->ij", views, views, weight) - mean**2
    together = np.einsum("ijrc,rc->ij", views, weight * part)
    return together / np.sqrt(np.maximum(variance * (weight * part**2).sum(), 1e-12))


def _top(values: np.ndarray, at: int) -> float:
    """Place of the top of a parabola through a maximum and its neighbours."""
    if not 0 < at < len(values) - 1:
        return float(at)
    before, here, after = values[at - 1 : at + 2]
    bend = before - 2 * here + after
    return at + 0.5 * (before - after) / bend if bend < 0 else float(at)


def _off_line(a: np.ndarray, b: np.ndarray, c: np.ndarray, normal: np.ndarray) -> float:
    share = ((b - a) @ normal) / ((c - a) @ normal)
    return float(np.linalg.norm(b - (a + share * (c - a))))
