"""From class probabilities to a label map that a reader would accept as one heart."""

import numpy as np
from scipy import ndimage, spatial

from scarnet.conventions import Label, dice, myocardium_mask, scar_mask

#: Connected within a slice through edges, between slices through faces.
_CONNECTIVITY = ndimage.generate_binary_structure(3, 1)
#: A slice whose LV is smaller than this is not a slice of the LV: a disc of 8 mm.
MINIMUM_SLICE_AREA_MM2 = 50.0
#: A ventricle tapers towards its apex and hardly widens at its base: the outline of an end slice that is so many times as large as the next
#: slice's, of which it covers less than this share, is another structure's. In 81 patients it is 1.17 times as large at most, and covers
#: 0.90 at least where it is no smaller.
LARGER_END, COVERED_BY_END = 1.5, 0.9
#: So is one that is no smaller than the next slice's, covers as little of it, and lies over it by less than this share of itself, at the base
#: 20 mm beside it. In those patients, in the experts' outlines and in the model's, an end lies over the next slice by 0.85 of itself at least.
OVER_NEXT = 0.5
#: So is one that fills less than this of its convex hull: a crescent about a vessel, an atrium or the right ventricle's tip. Ends fill 0.91 at
#: least in the experts' outlines, 0.84 in the model's but for one, 0.68, whose muscle overlaps by 0.21.
FILLED_HULL = 0.75
#: So is one whose cavity lies over the next slice by less than this: the cavity goes on there. In the experts' ends it lies in the next outline
#: wholly, in the model's by 0.92 at least.
CAVITY_OVER_NEXT = 0.8


def decide(probabilities: np.ndarray, scar_threshold: float, mvo_threshold: float = 0.5) -> np.ndarray:
    """`[class, ...]` probabilities to uint8 labels: first blood, muscle or neither, then scar within muscle, MVO within scar.

    Deciding in this order lets scar compete with muscle alone, and MVO with scar alone, at thresholds of their own: 0.5 is
    the plain argmax between the two. Four classes (no MVO) are taken as well.
    """
    muscle = probabilities[Label.MYOCARDIUM :].sum(axis=0)
    scar = probabilities[Label.SCAR :].sum(axis=0)
    labels = np.argmax([probabilities[0], probabilities[Label.BLOOD_POOL], muscle], axis=0).astype(np.uint8)
    infarct = (labels == Label.MYOCARDIUM) & (scar > scar_threshold * muscle)
    labels[infarct] = Label.SCAR
    if len(probabilities) > Label.MVO:
        labels[infarct & (probabilities[Label.MVO] > mvo_threshold * scar)] = Label.MVO
    return labels


def clean(
    labels: np.ndarray,
    voxel_volumes_ml: np.ndarray,
    pixel_area_mm2: float,
    *,
    minimum_scar_ml: float,
    minimum_scar_percent_lv: float = 0.0,
    minimum_mvo_ml: float = 0.0,
) -> np.ndarray:
    """One connected LV without holes, its ends not beside it, scar only where it has the volume to be one, MVO only inside scar.

    `labels` uint8 `[slice, row, column]`; `voxel_volumes_ml` `(slices,)`. Regions of scar or MVO below their minimum are
    taken back, and all scar where what remains is below `minimum_scar_percent_lv` of the muscle: so little is more often
    an artefact than an infarct. Returns a new array.
    """
    labels = labels.copy()
    labels[~_largest_component(labels > 0, voxel_volumes_ml)] = Label.BACKGROUND
    for plane in labels:
        lv = plane > 0
        if lv.sum() * pixel_area_mm2 < MINIMUM_SLICE_AREA_MM2:
            plane[:] = Label.BACKGROUND
        else:
            plane[ndimage.binary_fill_holes(lv) & ~lv] = Label.MYOCARDIUM
    for plane in _stray_ends(labels):
        plane[:] = Label.BACKGROUND
    labels[_small_components(scar_mask(labels), voxel_volumes_ml, minimum_scar_ml)] = Label.MYOCARDIUM
    scar_ml, muscle_ml = (
        (labels >= first).sum(axis=(1, 2)) @ voxel_volumes_ml for first in (Label.SCAR, Label.MYOCARDIUM)
    )
    if 100 * scar_ml < minimum_scar_percent_lv * muscle_ml:
        labels[scar_mask(labels)] = Label.MYOCARDIUM
    labels[_small_components(labels == Label.MVO, voxel_volumes_ml, minimum_mvo_ml)] = Label.SCAR
    mvo, count = ndimage.label(labels == Label.MVO, _CONNECTIVITY)
    if count:
        touching = np.unique(mvo[ndimage.binary_dilation(labels == Label.SCAR, _CONNECTIVITY)])
        labels[(mvo > 0) & ~np.isin(mvo, touching)] = Label.MYOCARDIUM
    return labels


def _stray_ends(labels: np.ndarray) -> list[np.ndarray]:
    """Planes at the ends of a ventricle that outline something else beside it, a crescent, or another cavity."""
    held, found = np.flatnonzero(labels.any(axis=(1, 2))), []
    for end, nearer in ((held[0], held[1]), (held[-1], held[-2])) if len(held) > 2 else ():
        last, before = labels[end] > 0, labels[nearer] > 0
        area, next_area, shared = last.sum(), before.sum(), (last & before).sum()
        beside = area > LARGER_END * next_area or (area >= next_area and shared < OVER_NEXT * area)
        cavity = labels[end] == Label.BLOOD_POOL
        if (
            (beside and shared < COVERED_BY_END * next_area)
            or area < FILLED_HULL * _hull_area(last)
            or (cavity & before).sum() < CAVITY_OVER_NEXT * cavity.sum()
        ):
            found.append(labels[end])
    return found


def _hull_area(mask: np.ndarray) -> float:
    """Of the convex hull of the edges' middles, in pixels: as large as a disc of a dozen pixels itself, where corners would stick out."""
    pixels = np.argwhere(mask).astype(float)
    middles = np.concatenate([pixels + step for step in ((0, 0.5), (0, -0.5), (0.5, 0), (-0.5, 0))])
    return float(spatial.ConvexHull(middles).volume)  # in two dimensions its volume is an area


def _small_components(mask: np.ndarray, voxel_volumes_ml: np.ndarray, minimum_ml: float) -> np.ndarray:
    components, count = ndimage.label(mask, _CONNECTIVITY)
    if not count:
        return mask
    weights = np.broadcast_to(voxel_volumes_ml[:, None, None], mask.shape)
    volumes = ndimage.sum_labels(weights, components, np.arange(1, count + 1))
    return np.isin(components, 1 + np.flatnonzero(volumes < minimum_ml))


def _largest_component(mask: np.ndarray, voxel_volumes_ml: np.ndarray) -> np.ndarray:
    components, count = ndimage.label(mask, _CONNECTIVITY)
    if count <= 1:
        return mask
    weights = np.broadcast_to(voxel_volumes_ml[:, None, None], mask.shape)
    return components == 1 + int(np.argmax(ndimage.sum_labels(weights, components, np.arange(1, count + 1))))


#: A slice with less muscle than this, drawn and expected together, is not judged by shares of a few pixels.
MINIMUM_JUDGED_PIXELS = 20


def slice_doubt(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`(slices,)` in 0..1: the share of a slice's muscle that the probabilities themselves expect to be labelled wrongly.

    Pixels expected to be wrong in myocardium and in scar, over the myocardium drawn and expected. 0 where the slice is
    empty with certainty. `evaluate` holds it against the error that experts find (`slice_error`).
    """
    doubt = np.zeros(labels.shape[0])
    for k, plane in enumerate(labels):
        muscle, scar = (probabilities[first:, k].sum(axis=0) for first in (Label.MYOCARDIUM, Label.SCAR))
        wrong = np.abs(muscle - myocardium_mask(plane)).sum() + np.abs(scar - scar_mask(plane)).sum()
        doubt[k] = wrong / max(muscle.sum() + myocardium_mask(plane).sum(), MINIMUM_JUDGED_PIXELS)
    return np.minimum(doubt, 1.0)


def slice_error(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`(slices,)`: what `slice_doubt` foretells, with an expert's labels in place of the probabilities."""
    return slice_doubt(np.stack([truth == label for label in Label]).astype(np.float32), labels)


#: Muscle is a ring where it, with what it encloses, is this many times as large as alone; a ventricle is one in most of its slices.
RING, LEAST_RINGS = 1.2, 0.55
#: Mean Dice of what a slice and the next enclose: 0.8 and more in 17 patients under noise, 0.33 to 0.58 in most blobs.
LEAST_CONTINUITY = 0.6


#: No ventricle is shorter than this where more than half of the stack shows none: the shortest of 81 patients fills its stack of four slices, 40 mm;
#: blobs are two or three slices of ten.
SHORTEST_MM = 40.0


def is_shaped_like_a_ventricle(labels: np.ndarray, slice_weights_mm: np.ndarray) -> bool:
    """Whether muscle `[slice, row, column]` is a ring in most slices that hold some, neighbouring ones lie over one another and enough follow one another.

    `slice_weights_mm`: `(slices,)`, of `StackGeometry`.
    """
    muscle = labels >= Label.MYOCARDIUM
    held = np.flatnonzero(muscle.any(axis=(1, 2)))
    runs = np.split(held, np.flatnonzero(np.diff(held) > 1) + 1)
    if max(slice_weights_mm[run].sum() for run in runs) < min(SHORTEST_MM, slice_weights_mm.sum() / 2):
        return False
    filled = {k: ndimage.binary_fill_holes(muscle[k]) for k in held}
    rings = [filled[k].sum() > RING * muscle[k].sum() for k in held]
    overlaps = [dice(filled[k], filled[k + 1]) for k in held if k + 1 in filled]
    return bool(np.mean(rings) >= LEAST_RINGS and (not overlaps or np.mean(overlaps) >= LEAST_CONTINUITY))
