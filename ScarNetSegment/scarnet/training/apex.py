"""The apex without a cavity, which experts who draw every slice as a ring never show: a small ring filled with muscle."""

import numpy as np
from scipy import ndimage

from scarnet.conventions import Label

#: Share of the samples with a small cavity that are closed.
CLOSED_SHARE = 0.25
#: Largest cavity that is closed, share of the patient's largest: towards the apex.
SMALL_CAVITY = 0.45
#: Size of the filled ring and of all about it, share of what it was.
SHRUNK = (0.5, 0.95)
#: Of the cavity's own texture (trabeculae) what is left in the muscle, how far into the wall its brightness reaches, and the blur that
#: hides the seam.
TEXTURE, BESIDE_PIXELS, SOFT_PIXELS = 0.5, 2, 0.7


def apical_slices(labels: np.ndarray) -> list[int]:
    """Numbers of the slices with a small cavity. `labels` `[slice, row, column]`."""
    areas = (labels == Label.BLOOD_POOL).sum(axis=(1, 2))
    return np.flatnonzero((areas > 0) & (areas < SMALL_CAVITY * areas.max())).tolist()


def with_closed_cavity(
    planes: np.ndarray, labels: list[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A slice and its neighbours, `planes` float `[in_slices, row, column]` and labels per plane, with the middle one closed: its
    planes, and the labels of the middle one.

    The neighbour with the larger cavity, towards the base, stays as it is. Unchanged where the middle has no ring.
    """
    middle = len(labels) // 2
    cavities = [(label == Label.BLOOD_POOL).sum() for label in labels]
    if not cavities[middle] or not (labels[middle] == Label.MYOCARDIUM).any():
        return planes, labels[middle]
    center = np.argwhere(labels[middle] == Label.BLOOD_POOL).mean(axis=0)
    size = rng.uniform(*SHRUNK)
    planes = planes.copy()
    for n, (plane, label) in enumerate(zip(planes, labels, strict=True)):
        if n == middle or cavities[n] <= cavities[middle]:
            planes[n] = _about(_filled(plane, label), center, size, order=1)
    filled = np.where(labels[middle] == Label.BLOOD_POOL, Label.MYOCARDIUM, labels[middle])
    return planes, _about(filled, center, size, order=0).astype(labels[middle].dtype)


def _filled(plane: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The cavity brought to the level of healthy muscle."""
    cavity, healthy = label == Label.BLOOD_POOL, label == Label.MYOCARDIUM
    if not (cavity.any() and healthy.any()):
        return plane
    blood, muscle = np.median(plane[cavity]), np.median(plane[healthy])
    texture = plane - blood
    spread = 2 * np.median(np.abs(texture[cavity]))  # beyond lies partial volume with the wall
    filled = np.where(cavity, muscle + TEXTURE * np.clip(texture, -spread, spread), plane)
    reach = ndimage.binary_dilation(cavity, iterations=BESIDE_PIXELS)
    filled = np.where(reach & healthy, np.minimum(filled, muscle), filled)  # bright by partial volume with blood
    return np.where(reach, ndimage.gaussian_filter(filled, SOFT_PIXELS), filled)


def _about(values: np.ndarray, center: np.ndarray, size: float, *, order: int) -> np.ndarray:
    """Everything drawn nearer to `center`."""
    return ndimage.affine_transform(
        values, np.full(2, 1 / size), offset=center * (1 - 1 / size), order=order, mode="nearest"
    )
