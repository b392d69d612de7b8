"""Infarcts drawn into real hearts, and real ones made fainter: more kinds of scar than a few dozen patients show.

An infarct grows from the endocardium outwards over a coronary territory (Reimer and Jennings' wavefront, Circulation 1977):
a sector of the wall, deepest in its middle, bright, at times with a dark core of microvascular obstruction.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scarnet.conventions import Label, myocardium_mask

#: Shares of samples; cine hearts have no infarct of their own.
SYNTHETIC_SHARE, FAINTER_SHARE = 0.15, 0.10
CINE_SYNTHETIC_SHARE = 0.5
#: Fewer pixels of cavity or muscle give no wall to draw in.
MINIMUM_CAVITY, MINIMUM_MUSCLE = 25, 60


@dataclass(frozen=True, eq=False)
class Wall:
    """Of one slice: `angle` (radians about the cavity) and `depth` (0 endocardium, 1 epicardium), `[row, column]`."""

    angle: np.ndarray
    depth: np.ndarray


def wall_of(labels: np.ndarray) -> Wall | None:
    """None where there is no ring of muscle about a cavity. `labels` `[row, column]`."""
    cavity, muscle = labels == Label.BLOOD_POOL, myocardium_mask(labels)
    if cavity.sum() < MINIMUM_CAVITY or muscle.sum() < MINIMUM_MUSCLE:
        return None
    rows, columns = np.indices(labels.shape)
    center = np.argwhere(cavity).mean(axis=0)
    inner = ndimage.distance_transform_edt(~cavity)
    outer = ndimage.distance_transform_edt(cavity | muscle)
    return Wall(
        np.arctan2(rows - center[0], columns - center[1]).astype(np.float32),
        (inner / np.maximum(inner + outer, 1e-6)).astype(np.float32),
    )


def with_synthetic_scar(
    planes: np.ndarray, labels: list[np.ndarray], walls: list[Wall | None], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A slice and its neighbours with an infarct drawn in, and the labels of the middle one.

    `planes` float `[in_slices, row, column]`, labels and walls per plane. Unchanged where the middle has no ring.
    """
    middle = len(labels) // 2
    if walls[middle] is None:
        return planes, labels[middle]
    planes, target = planes.copy(), labels[middle]
    center, half_width = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(12, 75))
    extent, brightness = rng.uniform(0.25, 1.15), rng.uniform(0.45, 1.3)
    core = extent > 0.6 and rng.random() < 0.45
    waves = rng.normal(0, 0.10, 4), rng.uniform(0, 2 * np.pi, 4)
    for n, (plane, label, wall) in enumerate(zip(planes, labels, walls, strict=True)):
        if wall is None or (n != middle and rng.random() < 0.2):
            continue
        away = np.angle(np.exp(1j * (wall.angle - center)))
        ragged = sum(a * np.sin((i + 2) * 2 * wall.angle + p) for i, (a, p) in enumerate(zip(*waves, strict=True)))
        reach = extent * np.sqrt(np.clip(1 - (away / half_width) ** 2, 0, 1)) * (1 + ragged)
        scar = (label == Label.MYOCARDIUM) & (np.abs(away) < half_width) & (wall.depth < reach)
        dark = scar & ndimage.binary_erosion(scar, iterations=1) & (wall.depth < 0.55 * reach) if core else scar & False
        healthy, cavity = plane[label == Label.MYOCARDIUM], plane[label == Label.BLOOD_POOL]
        if healthy.size == 0:
            continue
        rise = brightness * (np.median(cavity) - np.median(healthy))
        added = np.where(dark, -0.1 * rise, np.where(scar, rise, 0.0))
        planes[n] = plane + ndimage.gaussian_filter(added, 0.6)
        if n == middle and scar.any():
            target = np.where(dark, Label.MVO, np.where(scar, Label.SCAR, label)).astype(label.dtype)
    return planes, target


def with_fainter_scar(planes: np.ndarray, labels: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Real scar brought nearer to its muscle by up to two thirds; what the expert saw is still there."""
    planes, share = planes.copy(), rng.uniform(0.1, 0.65)
    for n, (plane, label) in enumerate(zip(planes, labels, strict=True)):
        scar, healthy = label == Label.SCAR, label == Label.MYOCARDIUM
        if scar.any() and healthy.any():
            fall = share * (plane[scar].mean() - plane[healthy].mean())
            planes[n] = plane - ndimage.gaussian_filter(np.where(scar, max(fall, 0.0), 0.0), 0.6)
    return planes


def with_other_contrast(planes: np.ndarray, labels: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Cine (normalised) lit as LGE is: muscle brought to one dark level, cavity to a level of its own above it.

    Muscle varies less than it does in cine where nulling succeeds, and more where coils or motion shade it; both are drawn.
    The border between the two is softened as partial volume would.
    """
    planes = planes.copy()
    rise = rng.uniform(0.35, 2.6)  # cavity above muscle, in standard deviations of the slice
    dark = rng.uniform(-1.3, -0.2)
    flatten = rng.uniform(0.0, 0.9)
    texture = rng.uniform(0.0, 0.25)
    soft = rng.uniform(0.4, 0.9)
    for n, (plane, label) in enumerate(zip(planes, labels, strict=True)):
        muscle, cavity = label == Label.MYOCARDIUM, label == Label.BLOOD_POOL
        if not muscle.any():
            continue
        level = np.median(plane[muscle])
        change = np.zeros_like(plane)
        change[muscle] = (dark - level) - flatten * (plane[muscle] - level)
        change[muscle] += texture * rng.standard_normal(int(muscle.sum()), np.float32)
        if cavity.any():
            change[cavity] = dark + rise - np.median(plane[cavity])
        planes[n] = plane + ndimage.gaussian_filter(change, soft)
    return planes
