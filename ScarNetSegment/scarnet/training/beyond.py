"""Slices beyond apex and base, which experts' stacks end before: other hospitals' stacks go on into fat, lung, atrium and outflow tract.

Cine hearts show some. More are made of patients' own end slices: what lies beside the ventricle in its place, or the ventricle opened to an
atrium.
"""

import numpy as np
from scipy import ndimage

from scarnet.conventions import Label
from scarnet.training.augment import OUTSIDE

#: Share of samples that show a slice beyond the ventricle's ends, unless told otherwise.
BEYOND_SHARE = 0.09
#: Shares of those that come from cine hearts and, of the others, that lie beyond the apex.
FROM_CINE, PAST_APEX = 0.55, 0.6
#: Cine slices that lie this far beyond the last with a ventricle are shown.
REACH = 2
#: Share of cine samples that keep cine's own contrast, with a ventricle or without: unlit slices must not tell by their light that they are
#: empty; and by how much muscle and blood are drawn apart, e ** uniform.
UNLIT_SHARE, LOG_GAMMA = 0.3, (-0.2, 0.9)
#: How far away lies what is shown beyond the apex, in diameters of the slice that ends the ventricle.
MOVED = (1.2, 2.2)
#: Of the ring that is left of the muscle about an atrium at most, radians, and in which share of samples; the wall of the atrium, pixels.
CRESCENT, CRESCENT_SHARE, ATRIAL_WALL_PIXELS = (0.5, 2.4), 0.5, (0.0, 2.5)


def _held(labels: np.ndarray) -> np.ndarray:
    """Numbers of the slices that show the ventricle."""
    return np.flatnonzero(((labels > 0) & (labels != OUTSIDE)).any(axis=(1, 2)))


def slices_beyond(labels: np.ndarray) -> list[int]:
    """Numbers of the slices next to the ventricle's ends that show none. `labels` `[slice, row, column]`."""
    held = _held(labels)
    if not len(held):
        return []
    near = range(held[0] - REACH, held[-1] + REACH + 1)
    return [k for k in near if 0 <= k < len(labels) and (k < held[0] or k > held[-1])]


def apex_and_base(labels: np.ndarray) -> tuple[int, int] | None:
    """Numbers of the slices that end the ventricle, the smaller first; None where there are fewer than three, or no cavity at the base."""
    held = _held(labels)
    if len(held) < 3:
        return None
    apex, base = sorted(map(int, held[[0, -1]]), key=lambda k: ((labels[k] > 0) & (labels[k] != OUTSIDE)).sum())
    return (apex, base) if (labels[base] == Label.BLOOD_POOL).any() else None


def with_gamma(planes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`planes` with dark tissue drawn nearer to black or to grey, as nulling would."""
    low, high = planes.min(), planes.max()
    unit = (planes - low) / max(high - low, 1e-6)
    return low + (high - low) * unit ** np.exp(rng.uniform(*LOG_GAMMA))


def past_apex(plane: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The slice `[row, column]` that ends the ventricle moved until something else lies there; labels move with it."""
    lv = (labels > 0) & (labels != OUTSIDE)
    extent = max(np.ptp(n) + 1 for n in np.nonzero(lv))
    distance, angle = extent * rng.uniform(*MOVED), rng.uniform(0, 2 * np.pi)
    index = [
        np.arange(size) + int(round(distance * step))
        for size, step in zip(plane.shape, (np.sin(angle), np.cos(angle)), strict=True)
    ]
    moved = np.ix_(*(np.clip(i, 0, size - 1) for i, size in zip(index, plane.shape, strict=True)))
    inside = np.logical_and.outer(*((i >= 0) & (i < size) for i, size in zip(index, plane.shape, strict=True)))
    return plane[moved], np.where(inside, labels[moved], OUTSIDE).astype(labels.dtype)


def past_base(plane: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The slice `[row, column]` that ends the ventricle, opened to an atrium: blood to the outer contour, at most a crescent of muscle;
    no label is left."""
    cavity, muscle = labels == Label.BLOOD_POOL, (labels > Label.BLOOD_POOL) & (labels != OUTSIDE)
    none = np.where(labels == OUTSIDE, OUTSIDE, Label.BACKGROUND).astype(labels.dtype)
    rows, columns = np.indices(labels.shape)
    center = np.argwhere(cavity).mean(axis=0)
    angle = np.arctan2(rows - center[0], columns - center[1])
    wall = ndimage.distance_transform_edt(cavity | muscle) <= rng.uniform(*ATRIAL_WALL_PIXELS)
    opened = muscle & ~wall
    if rng.random() < CRESCENT_SHARE:
        away = np.abs(np.angle(np.exp(1j * (angle - rng.uniform(-np.pi, np.pi)))))
        opened &= away > rng.uniform(*CRESCENT) / 2
    blood = np.median(plane[cavity])
    texture = ndimage.gaussian_filter(rng.standard_normal(plane.shape).astype(np.float32), 0.7)
    texture *= np.median(np.abs(plane[cavity] - blood)) / texture.std()
    share = ndimage.gaussian_filter(opened.astype(np.float32), 0.7)
    return (1 - share) * plane + share * (blood + texture), none
