"""The heart's own frame: long axis, apex, and directions around it, in patient space.

Angles are those of the usual display, a short-axis slice seen from the apex: 0 degrees to the right (lateral), 90 up
(anterior), counter-clockwise. They follow from the geometry alone, so that no in-plane orientation, mirror or slice
order changes which wall is which. Which end is the apex follows from the patient's axes too, where the file states them.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from scarnet.conventions import Label
from scarnet.errors import InputError
from scarnet.series import StackGeometry

#: The way from base to apex in most hearts: left, front, feet (LPS).
USUAL_AXIS = np.array([0.66, -0.55, -0.51]) / np.linalg.norm([0.66, -0.55, -0.51])
#: A slice normal within 72 degrees of it (or of its opposite) says which end is the apex. A heart that points to the right
#: (dextrocardia) lies beyond, and is asked for its taper.
CLEAR_DIRECTION = 0.3
#: Taper (see `taper`) that says which end is the apex. EMIDEC, all stored apex first: 80 of 81 lie above 0.06, one, as wide at
#: both ends, at -0.01.
CLEAR_TAPER = 0.05


@dataclass(frozen=True, eq=False)
class HeartFrame:
    """Frame of one left ventricle on a short-axis stack.

    Attributes
        towards_apex: `(3,)` LPS unit vector, base to apex, along the slice normal.
        apex_first: the apex lies at slice 0.
        right, up: `(3,)` LPS unit vectors of the display, perpendicular to one another and to `towards_apex`; `up` is as
            near to anterior (and head) as the slice plane allows.
        centers_mm: `(slices, 3)` LPS, centre of the cavity (of the muscle where there is none); NaN without LV.
        cavity: bool `[slice, row, column]`: the blood pool, or what muscle encloses where none is labelled.
        ring: bool `(slices,)`, slices with a cavity inside muscle: the ventricle between base and apical cap.
    """

    geometry: StackGeometry
    towards_apex: np.ndarray
    apex_first: bool
    right: np.ndarray
    up: np.ndarray
    centers_mm: np.ndarray
    cavity: np.ndarray
    ring: np.ndarray

    def angles_deg(self, slice_index: int) -> np.ndarray:
        """`[row, column]` display angle of every pixel centre about the slice's centre, 0 to 360."""
        if slice_index not in self._angles:
            offset = self._offsets(slice_index)
            self._angles[slice_index] = np.degrees(np.arctan2(offset @ self.up, offset @ self.right)) % 360
        return self._angles[slice_index]

    @cached_property
    def _angles(self) -> dict[int, np.ndarray]:
        """Asked for by segments, remote region and insertion alike: worked out once a slice."""
        return {}

    def distances_mm(self, slice_index: int) -> np.ndarray:
        """`[row, column]` distance of every pixel centre from the slice's centre."""
        return np.linalg.norm(self._offsets(slice_index), axis=-1)

    def ray_points(self, slice_index: int, angles_deg: np.ndarray, radii_mm: np.ndarray) -> np.ndarray:
        """`[ray, radius, 2]` fractional row and column of points about the slice's centre."""
        directions = (
            np.cos(np.radians(angles_deg))[:, None] * self.right + np.sin(np.radians(angles_deg))[:, None] * self.up
        )
        points = self.centers_mm[slice_index] + radii_mm[None, :, None] * directions[:, None, :]
        offset = points - self.geometry.slice_origins_mm[slice_index]
        return np.stack(
            [
                offset @ self.geometry.row_direction / self.geometry.pixel_spacing_mm[0],
                offset @ self.geometry.column_direction / self.geometry.pixel_spacing_mm[1],
            ],
            axis=-1,
        )

    def angle_of_deg(self, point_lps_mm: np.ndarray) -> float:
        """Display angle of a point in the patient, about the centre of the slice nearest to it."""
        positions = np.abs(self.geometry.slice_positions_mm - np.asarray(point_lps_mm, float) @ self.geometry.normal)
        positions = np.where(np.isfinite(self.centers_mm[:, 0]), positions, np.inf)
        offset = np.asarray(point_lps_mm, float) - self.centers_mm[int(positions.argmin())]
        return float(np.degrees(np.arctan2(offset @ self.up, offset @ self.right)) % 360)

    def _offsets(self, slice_index: int) -> np.ndarray:
        rows, columns = np.indices(self.geometry.shape[1:])
        index = np.stack([np.full_like(rows, slice_index), rows, columns], axis=-1)
        return self.geometry.index_to_lps(index) - self.centers_mm[slice_index]


def heart_frame(labels: np.ndarray, geometry: StackGeometry) -> HeartFrame:
    """The frame of `labels` uint8 `[slice, row, column]`. Raises InputError without a cavity inside muscle."""
    muscle = labels >= Label.MYOCARDIUM
    cavity = np.stack([_cavity(plane, wall) for plane, wall in zip(labels == Label.BLOOD_POOL, muscle, strict=True)])
    ring = cavity.any(axis=(1, 2)) & muscle.any(axis=(1, 2))
    if not ring.any():
        raise InputError("No slice shows a cavity inside myocardium: walls and segments cannot be told apart.")
    stated = stated_apex_first(geometry)
    apex_first = taper(labels) > 0 if stated is None else stated
    towards_apex = -geometry.normal if apex_first else geometry.normal
    up = _in_plane(np.array([0.0, -1.0, 0.0]) + np.array([0.0, 0.0, 0.5]), towards_apex)
    return HeartFrame(
        geometry=geometry,
        towards_apex=towards_apex,
        apex_first=apex_first,
        right=np.cross(-towards_apex, up),  # the viewer looks from the apex to the base
        up=up,
        centers_mm=_centers(cavity, muscle, geometry),
        cavity=cavity,
        ring=ring,
    )


def _cavity(blood: np.ndarray, muscle: np.ndarray) -> np.ndarray:
    return blood if blood.any() else ndimage.binary_fill_holes(muscle) & ~muscle


def stated_apex_first(geometry: StackGeometry) -> bool | None:
    """Whether the apex lies at slice 0, by the patient's axes alone; None where they do not say.

    Areas alone would turn a heart with an apical aneurysm round, and know nothing of a single slice.
    """
    along = float(geometry.normal @ USUAL_AXIS)
    if not geometry.states_orientation or abs(along) <= CLEAR_DIRECTION:
        return None
    return along < 0


def taper(labels: np.ndarray) -> float:
    """The ventricle narrows towards its apex: mean position of its area, -1 at its first slice, 1 at its last.

    Positive where the apex comes first; 0 for a single slice.
    """
    areas = (labels > 0).sum(axis=(1, 2)).astype(float)
    inside = np.flatnonzero(areas)
    areas = areas[inside[0] : inside[-1] + 1]
    positions = np.linspace(-1, 1, len(areas)) if len(areas) > 1 else np.zeros(1)
    return float(areas @ positions / areas.sum())


def _in_plane(vector: np.ndarray, normal: np.ndarray) -> np.ndarray:
    flat = vector - (vector @ normal) * normal
    if (
        np.linalg.norm(flat) < 0.2
    ):  # a stack across that direction: take another, the display then has no anatomy to keep
        flat = np.array([0.0, 0.0, 1.0]) - normal[2] * normal
    return flat / np.linalg.norm(flat)


def _centers(cavity: np.ndarray, muscle: np.ndarray, geometry: StackGeometry) -> np.ndarray:
    centers = np.full((len(cavity), 3), np.nan)
    for k in range(len(cavity)):
        mask = cavity[k] if cavity[k].any() else muscle[k]
        if mask.any():
            centers[k] = geometry.index_to_lps(np.array([k, *np.argwhere(mask).mean(axis=0)]))
    return centers
