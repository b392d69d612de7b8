"""Infarcts of one patient carried into the wall of another: real shapes, brightness and texture in hearts that had none.

An infarct is taken with its neighbouring slices and kept in coordinates of the wall, the angle about the cavity and the depth
from endocardium to epicardium, its brightness in units of the contrast between cavity and healthy muscle. Carrying lesions between
patients is worth most where patients are few (Zhang et al., CarveMix, MICCAI 2021; Yang et al., TumorCP, MICCAI 2021).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from scarnet.conventions import Label
from scarnet.training.synthetic import Wall

#: A smaller infarct, pixels, or one in a slice with fewer healthy pixels to compare it with, is not carried.
MINIMUM_INFARCT, MINIMUM_HEALTHY = 12, 15
#: Cavity above healthy muscle, in standard deviations of that muscle; below it brightness cannot be stated in units of it.
MINIMUM_CONTRAST = 1.0
#: Brightness carried, in units of the contrast: beyond lie fat and vessels that partial volume mixes in.
RISE = (-1.0, 2.0)
#: Labels and brightness are the means of this many of the donor's nearest pixels: outlines stay smooth where walls are stretched, and
#: the donor's noise is not added whole to the receiver's own.
NEAREST = 5
#: Blur of what is added, pixels: as partial volume softens a real border.
SOFT_PIXELS = 0.6


@dataclass(frozen=True, eq=False)
class _Plane:
    """The wall of one donor slice: where its pixels lie, what they are and how bright above healthy muscle."""

    tree: cKDTree
    scale: tuple[float, float]  # radius and thickness of the wall, pixels
    labels: np.ndarray
    rises: np.ndarray


@dataclass(frozen=True, eq=False)
class Graft:
    """An infarct in one slice, the middle of `planes`, and in its neighbours; None where a neighbour has none."""

    planes: tuple[_Plane | None, ...]


def graft_of(planes: np.ndarray, labels: list[np.ndarray], walls: list[Wall | None]) -> Graft | None:
    """The infarct of the middle slice; None where there is none to carry. `planes` float `[in_slices, row, column]`."""
    taken = tuple(_plane_of(*slice_) for slice_ in zip(planes, labels, walls, strict=True))
    return Graft(taken) if taken[len(taken) // 2] is not None else None


def with_graft(
    planes: np.ndarray, labels: list[np.ndarray], walls: list[Wall | None], graft: Graft, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A slice and its neighbours with `graft` somewhere in the wall, and the labels of the middle one.

    `planes` float `[in_slices, row, column]`, labels and walls per plane. Only healthy muscle changes; all stays as it was where
    the middle has no wall or no contrast.
    """
    middle = len(labels) // 2
    target = labels[middle]
    if walls[middle] is None or _contrast(planes[middle], target) is None:
        return planes, target
    turn, mirror = rng.uniform(-np.pi, np.pi), rng.choice([-1.0, 1.0])
    carried = graft.planes[:: rng.choice([-1, 1])]
    planes, target = planes.copy(), target.copy()
    for n, (plane, label, wall, donor) in enumerate(zip(planes, labels, walls, carried, strict=True)):
        levels = _contrast(plane, label)
        if donor is None or wall is None or levels is None:
            continue
        healthy = label == Label.MYOCARDIUM
        places = _places(mirror * wall.angle[healthy] + turn, wall.depth[healthy], *donor.scale)
        nearest = donor.tree.query(places, k=NEAREST)[1]
        infarct = (donor.labels[nearest] != Label.MYOCARDIUM).mean(axis=1) > 0.5
        dark = (donor.labels[nearest] == Label.MVO).mean(axis=1) > 0.5
        added = np.zeros(plane.shape)
        added[healthy] = np.where(infarct, donor.rises[nearest].mean(axis=1) * levels[1], 0.0)
        planes[n] = plane + ndimage.gaussian_filter(added, SOFT_PIXELS)
        if n == middle:
            target[healthy] = np.where(dark, Label.MVO, np.where(infarct, Label.SCAR, Label.MYOCARDIUM))
    return planes, target


def _plane_of(plane: np.ndarray, label: np.ndarray, wall: Wall | None) -> _Plane | None:
    levels = _contrast(plane, label)
    muscle = _muscle(label)
    if wall is None or levels is None or (muscle & (label != Label.MYOCARDIUM)).sum() < MINIMUM_INFARCT:
        return None
    radius = np.sqrt(((label == Label.BLOOD_POOL).sum() + 0.5 * muscle.sum()) / np.pi)
    scale = float(radius), float(muscle.sum() / (2 * np.pi * radius))
    rises = np.clip((plane[muscle] - levels[0]) / levels[1], *RISE)
    tree = cKDTree(_places(wall.angle[muscle], wall.depth[muscle], *scale))
    return _Plane(tree, scale, label[muscle], rises.astype(np.float32))


def _places(angle: np.ndarray, depth: np.ndarray, radius: float, thickness: float) -> np.ndarray:
    """`(n, 3)` on a cylinder: neighbours in the wall are near each other, also across the angle's jump."""
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), thickness * depth], axis=1)


def _muscle(label: np.ndarray) -> np.ndarray:
    return (label == Label.MYOCARDIUM) | (label == Label.SCAR) | (label == Label.MVO)


def _contrast(plane: np.ndarray, label: np.ndarray) -> tuple[float, float] | None:
    """Healthy muscle's level, and how far above it the cavity lies; None where that cannot be told."""
    healthy, cavity = plane[label == Label.MYOCARDIUM], plane[label == Label.BLOOD_POOL]
    if len(healthy) < MINIMUM_HEALTHY or not len(cavity):
        return None
    level = float(np.median(healthy))
    contrast = float(np.median(cavity)) - level
    spread = 1.4826 * float(np.median(np.abs(healthy - level)))
    return (level, contrast) if contrast > MINIMUM_CONTRAST * spread else None
