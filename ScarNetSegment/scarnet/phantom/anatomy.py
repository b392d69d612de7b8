"""A chest with a heart in it, as a function of position.

Coordinates are millimetres in the short-axis plane as it is displayed (`right`: towards the lateral wall; `down`:
towards the inferior wall) and `depth` along the long axis from the mitral annulus (0) to the apex.
"""

from dataclasses import dataclass

import numpy as np

from scarnet.phantom.physics import Tissue


@dataclass(frozen=True)
class ScarParameters:
    """One infarct: a wavefront from the endocardium outwards within a coronary territory.

    Angles in degrees, clockwise as displayed from the lateral wall: 0 lateral, 90 inferior, 180 septal, 270 anterior.
    """

    center_degrees: float = 80.0
    width_degrees: float = 125.0
    first_depth_mm: float = 12.0
    last_depth_mm: float = 66.0
    transmurality: float = 0.85  # at the centre, as a share of the wall; falls to nothing at the rim
    mvo_share: float = 0.40  # of the infarct's local thickness at its centre; 0 for none


@dataclass(frozen=True)
class HeartParameters:
    """Sizes in mm; the ventricle is a truncated ellipsoid."""

    endocardial_radius_mm: float = 24.0
    epicardial_radius_mm: float = 34.5
    endocardial_length_mm: float = 76.0
    epicardial_length_mm: float = 86.0
    scar: ScarParameters | None = ScarParameters()


def _ellipse(right, down, center, radii, turn=0.0):
    """Squared elliptic distance: below 1 inside."""
    c, s = np.cos(turn), np.sin(turn)
    x, y = right - center[0], down - center[1]
    return ((c * x + s * y) / radii[0]) ** 2 + ((-s * x + c * y) / radii[1]) ** 2


def _radius(base_mm: float, length_mm: float, depth_mm: float) -> float:
    """Of an ellipsoid at `depth_mm`; 0 beyond its apex. Above the annulus it stays as wide as there."""
    share = 1 - (max(depth_mm, 0.0) / length_mm) ** 2
    return base_mm * np.sqrt(share) if share > 0 else 0.0


def _window(value, low, high, edge):
    """1 between `low` and `high`, falling smoothly to 0 over `edge` at either end."""
    rise = np.clip((value - low) / edge, 0, 1)
    fall = np.clip((high - value) / edge, 0, 1)
    return np.sin(np.pi / 2 * rise) * np.sin(np.pi / 2 * fall)


def paint(
    right: np.ndarray, down: np.ndarray, depth_mm: float, heart: HeartParameters, wobble: np.ndarray
) -> np.ndarray:
    """uint8 `Tissue` at every point of one plane.

    `right`, `down`: coordinates of the same shape; `wobble`: `(6,)` amplitudes (mm) that make outlines irregular.
    """
    tissue = np.full(right.shape, Tissue.AIR, np.uint8)
    angle = np.arctan2(down, right)
    ripple = sum(w * np.cos((n + 2) * angle + 1.7 * n + depth_mm / 40) for n, w in enumerate(wobble))

    chest = _ellipse(right, down, (-22, 22), (168, 132), 0.25)
    tissue[chest < 1] = Tissue.FAT
    tissue[_ellipse(right, down, (-22, 24), (155, 116), 0.25) < 1] = Tissue.MUSCLE
    tissue[_ellipse(right, down, (-20, 26), (141, 101), 0.25) < 1] = Tissue.LUNG
    ribs = (np.abs(np.sqrt(_ellipse(right, down, (-21, 25), (148, 108), 0.25)) - 1) < 0.025) & (
        np.sin(9 * angle) > 0.55
    )
    tissue[ribs] = Tissue.BONE
    # Liver and stomach lie under the diaphragm, which rises from apex to base as the plane leaves them.
    dome = 46 + 0.10 * depth_mm + 10 * np.cos((right + 55) / 55)
    inside = _ellipse(right, down, (-20, 26), (141, 101), 0.25) < 0.985
    tissue[inside & (down > dome) & (right < 35)] = Tissue.LIVER
    tissue[inside & (down > dome + 6) & (right >= 35)] = Tissue.FAT
    tissue[_ellipse(right, down, (70, 92), (30, 22)) < 1] = Tissue.MUSCLE
    tissue[_ellipse(right, down, (70, 92), (25, 17)) < 1] = Tissue.AIR
    for vessel in ((-75, 80, 6), (-50, 95, 4.5), (-20, 82, 3.5), (-95, 70, 4)):
        tissue[inside & (_ellipse(right, down, vessel[:2], (vessel[2], vessel[2] * 0.7), 0.5) < 1)] = Tissue.VESSEL
    tissue[_ellipse(right, down, (74, 18), (11, 11)) < 1] = Tissue.BLOOD  # descending aorta
    tissue[_ellipse(right, down, (104, 24), (19, 22)) < 1] = Tissue.BONE  # vertebra

    scale = max(1 - max(depth_mm, 0) / 105, 0.15)
    rv_center = (-34 * scale - 6, -2)
    rv = _ellipse(right, down, rv_center, (44 * scale, 40 * scale), 0.2)
    # Fat lies over the right ventricle in patches, most where it meets the diaphragm and at the front.
    patches = 5 + 4 * np.cos(2 * np.arctan2(down - rv_center[1], right - rv_center[0]) + 0.6)
    tissue[np.sqrt(rv) < 1 + np.clip(patches, 1.5, None) / (44 * scale)] = Tissue.FAT
    wall = (44 * scale - 3.2) / (44 * scale)
    if depth_mm < 72:
        tissue[rv < 1] = Tissue.MUSCLE
        tissue[rv < wall**2] = Tissue.BLOOD

    radius = np.hypot(right, down * 1.03) + ripple
    outer = _radius(heart.epicardial_radius_mm, heart.epicardial_length_mm, depth_mm)
    inner = _radius(heart.endocardial_radius_mm, heart.endocardial_length_mm, depth_mm)
    if outer <= 0:
        return tissue
    tissue[radius < outer + 1.6] = Tissue.FAT
    tissue[(radius < outer + 1.6) & (rv < wall**2) & (depth_mm < 72)] = Tissue.MYOCARDIUM  # no fat within the septum
    tissue[radius < outer] = Tissue.MYOCARDIUM
    muscle = radius < outer
    if heart.scar is not None:
        fraction = np.clip((radius - inner) / max(outer - inner, 1e-6), 0, 1)  # 0 endocardium, 1 epicardium
        s = heart.scar
        away = np.abs((np.degrees(angle) - s.center_degrees + 180) % 360 - 180)
        around = _window(away, -1e9, s.width_degrees / 2, s.width_degrees / 5)
        along = float(_window(depth_mm, s.first_depth_mm, s.last_depth_mm, 12.0))
        extent = s.transmurality * around * along * (1 + 0.05 * np.cos(7 * angle + depth_mm / 9))
        scar = muscle & (fraction < extent) & (extent > 0.04)
        tissue[scar] = Tissue.SCAR
        if s.mvo_share > 0:
            core = _window(away, -1e9, s.width_degrees * 0.28, s.width_degrees / 8)
            core *= float(_window(depth_mm, s.first_depth_mm + 10, s.last_depth_mm - 12, 8.0))
            tissue[
                scar & (fraction > 0.22 * extent) & (fraction < (0.22 + s.mvo_share * core) * extent) & (core > 0.2)
            ] = Tissue.MVO
    tissue[radius < inner] = Tissue.BLOOD
    if 14 < depth_mm < 58 and inner > 12:
        thick = 4.6 * float(_window(depth_mm, 14, 58, 8.0))
        for degrees in (40.0, 235.0):
            place = (inner - 5.5) * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
            papillary = (_ellipse(right, down, place, (thick + 0.1, 0.8 * thick + 0.1), np.radians(degrees)) < 1) & (
                radius < inner
            )
            tissue[papillary] = Tissue.PAPILLARY
    return tissue
