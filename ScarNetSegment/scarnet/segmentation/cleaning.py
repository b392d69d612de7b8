"""From class probabilities to a label map that a reader would accept as one heart."""

import numpy as np
from scipy import ndimage

from scarnet.conventions import Label, myocardium_mask, scar_mask

#: Connected within a slice through edges, between slices through faces.
_CONNECTIVITY = ndimage.generate_binary_structure(3, 1)
#: A slice whose LV is smaller than this is not a slice of the LV: a disc of 8 mm.
MINIMUM_SLICE_AREA_MM2 = 50.0


def decide(probabilities: np.ndarray, scar_threshold: float) -> np.ndarray:
    """`[class, ...]` probabilities to uint8 labels: first blood, muscle or neither, then scar within muscle.

    Deciding in this order lets scar compete with muscle alone, at a threshold of its own: 0.5 is the plain argmax between
    the two. Four classes (no MVO) are taken as well.
    """
    muscle = probabilities[Label.MYOCARDIUM :].sum(axis=0)
    scar = probabilities[Label.SCAR :].sum(axis=0)
    labels = np.argmax([probabilities[0], probabilities[Label.BLOOD_POOL], muscle], axis=0).astype(np.uint8)
    infarct = (labels == Label.MYOCARDIUM) & (scar > scar_threshold * muscle)
    labels[infarct] = Label.SCAR
    if len(probabilities) > Label.MVO:
        labels[infarct & (probabilities[Label.MVO] > probabilities[Label.SCAR])] = Label.MVO
    return labels


def clean(
    labels: np.ndarray, voxel_volumes_ml: np.ndarray, pixel_area_mm2: float, *, minimum_scar_ml: float
) -> np.ndarray:
    """One connected LV without holes, scar only where it has the volume to be one, MVO only inside scar.

    `labels` uint8 `[slice, row, column]`; `voxel_volumes_ml` `(slices,)`. Returns a new array.
    """
    labels = labels.copy()
    labels[~_largest_component(labels > 0, voxel_volumes_ml)] = Label.BACKGROUND
    for plane in labels:
        lv = plane > 0
        if lv.sum() * pixel_area_mm2 < MINIMUM_SLICE_AREA_MM2:
            plane[:] = Label.BACKGROUND
        else:
            plane[ndimage.binary_fill_holes(lv) & ~lv] = Label.MYOCARDIUM
    scar, count = ndimage.label(scar_mask(labels), _CONNECTIVITY)
    if count:
        volumes = ndimage.sum_labels(
            np.broadcast_to(voxel_volumes_ml[:, None, None], scar.shape), scar, np.arange(1, count + 1)
        )
        labels[np.isin(scar, 1 + np.flatnonzero(volumes < minimum_scar_ml))] = Label.MYOCARDIUM
    mvo, count = ndimage.label(labels == Label.MVO, _CONNECTIVITY)
    if count:
        touching = np.unique(mvo[ndimage.binary_dilation(labels == Label.SCAR, _CONNECTIVITY)])
        labels[(mvo > 0) & ~np.isin(mvo, touching)] = Label.MYOCARDIUM
    return labels


def _largest_component(mask: np.ndarray, voxel_volumes_ml: np.ndarray) -> np.ndarray:
    components, count = ndimage.label(mask, _CONNECTIVITY)
    if count <= 1:
        return mask
    weights = np.broadcast_to(voxel_volumes_ml[:, None, None], mask.shape)
    return components == 1 + int(np.argmax(ndimage.sum_labels(weights, components, np.arange(1, count + 1))))


def slice_doubt(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`(slices,)` in 0..1: one minus the Dice that the probabilities themselves predict for the slice's labels.

    The mean over myocardium and, where any is present or likely, scar. 0 where the slice is empty with certainty.
    """
    doubt = np.zeros(labels.shape[0])
    for k, plane in enumerate(labels):
        terms = []
        for first, mask in ((Label.MYOCARDIUM, myocardium_mask(plane)), (Label.SCAR, scar_mask(plane))):
            probability = probabilities[first:, k].sum(axis=0)
            size = probability.sum() + mask.sum()
            if size > 5:  # pixels: less is neither drawn nor expected
                terms.append(1 - 2 * probability[mask].sum() / size)
        doubt[k] = np.mean(terms) if terms else 0.0
    return doubt
