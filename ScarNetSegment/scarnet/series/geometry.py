"""Where a short-axis stack lies in the patient: one object, checked once, shared by image and labels."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

#: Two slice distances count as equal within 1 %: DICOM decimal strings carry 16 characters, scanners round positions
#: to about 1e-3 mm, and a missing slice doubles the distance.
SLICE_SPACING_RTOL = 1e-2
#: Lengths that volumes are made of are rounded to a nanometre: finer digits differ between file formats (DICOM keeps
#: positions as decimal strings, NIfTI as 32-bit floats) and would make equal labels differ in the last digit.
LENGTH_DECIMALS = 6
#: Slice distances that differ by less are one distance: scanners and file formats round positions to about 1e-3 mm.
POSITION_NOISE_MM = 2e-3


@dataclass(frozen=True, eq=False)
class StackGeometry:
    """Geometry of `[slice, row, column]` arrays in DICOM patient coordinates (LPS, mm).

    Slices are parallel but need be neither equidistant nor aligned with one another: every slice has its own origin,
    so gaps, missing slices and shear stay exactly as acquired.

    Attributes
        shape: number of slices, rows, columns.
        pixel_spacing_mm: distance between rows, distance between columns (DICOM PixelSpacing order), to a nanometre.
        column_direction: unit vector of increasing *column* index (DICOM ImageOrientationPatient, first triplet).
        row_direction: unit vector of increasing *row* index (second triplet).
        slice_origins_mm: `(slices, 3)`, position of the centre of voxel `[k, 0, 0]`.
        single_slice_thickness_mm: weight of the slice when there is only one, since it has no neighbour.
    """

    shape: tuple[int, int, int]
    pixel_spacing_mm: tuple[float, float]
    column_direction: np.ndarray
    row_direction: np.ndarray
    slice_origins_mm: np.ndarray
    single_slice_thickness_mm: float | None = None

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        # A spacing that another format gives as 1.5000000000000002 would end on the other side of a limit of 1.5 mm.
        spacing = tuple(round(float(s), LENGTH_DECIMALS) for s in self.pixel_spacing_mm)
        object.__setattr__(self, "pixel_spacing_mm", spacing)
        for name, shape in (
            ("column_direction", (3,)),
            ("row_direction", (3,)),
            ("slice_origins_mm", (self.shape[0], 3)),
        ):
            value = np.array(getattr(self, name), dtype=float).reshape(shape)
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if min(self.shape) < 1:
            raise ValueError(f"A stack needs at least one slice, row and column, got shape {self.shape}.")
        if not all(np.isfinite(s) and s > 0 for s in self.pixel_spacing_mm):
            raise ValueError(f"Pixel spacing must be positive, got {self.pixel_spacing_mm} mm.")
        axes = np.stack([self.column_direction, self.row_direction])
        if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
            raise ValueError("Row and column directions must be perpendicular unit vectors.")

    @cached_property
    def normal(self) -> np.ndarray:
        """Unit vector of the slice plane, along increasing slice index."""
        normal = np.cross(self.column_direction, self.row_direction)
        normal = normal / np.linalg.norm(normal)
        if self.shape[0] > 1 and (self.slice_origins_mm[-1] - self.slice_origins_mm[0]) @ normal < 0:
            normal = -normal
        return normal

    @cached_property
    def slice_positions_mm(self) -> np.ndarray:
        """`(slices,)`: positions along the normal, increasing."""
        return self.slice_origins_mm @ self.normal

    @cached_property
    def slice_steps_mm(self) -> np.ndarray:
        """`(slices - 1,)`: distances between neighbouring slices; all the same where they differ by rounding alone."""
        steps = np.diff(self.slice_positions_mm)
        if steps.size and np.abs(steps - steps.mean()).max() <= POSITION_NOISE_MM:
            steps = np.full_like(steps, steps.mean())
        return np.round(steps, LENGTH_DECIMALS)

    @cached_property
    def slice_weights_mm(self) -> np.ndarray:
        """`(slices,)`: the length of ventricle each slice stands for.

        Half the distance to each neighbour; the first and last slice extend outwards by half their only distance, so an
        equidistant stack weighs every slice by the slice distance (gap included), never by SliceThickness.
        """
        if self.shape[0] == 1:
            return np.array([self.single_slice_thickness_mm or np.nan])
        steps = self.slice_steps_mm
        weights = (np.concatenate([steps[:1], steps]) + np.concatenate([steps, steps[-1:]])) / 2
        return np.round(weights, LENGTH_DECIMALS)

    @cached_property
    def pixel_area_mm2(self) -> float:
        return self.pixel_spacing_mm[0] * self.pixel_spacing_mm[1]

    @cached_property
    def voxel_volumes_ml(self) -> np.ndarray:
        """`(slices,)`: volume that one pixel of each slice stands for."""
        return self.slice_weights_mm * self.pixel_area_mm2 / 1000

    @cached_property
    def is_uniform(self) -> bool:
        """Equidistant and unsheared: one affine describes the whole stack."""
        if self.shape[0] < 3:
            steps_equal = True
        else:
            steps = np.diff(self.slice_origins_mm, axis=0)
            size = np.linalg.norm(steps.mean(axis=0))
            steps_equal = bool(np.abs(steps - steps.mean(axis=0)).max() <= SLICE_SPACING_RTOL * size)
        return steps_equal

    @cached_property
    def states_orientation(self) -> bool:
        """Oblique, as every short axis is; axes along the array's own are what files hold that know no orientation."""
        axes = np.abs([self.column_direction, self.row_direction])
        return not np.allclose(axes, np.eye(3)[:2], atol=1e-4)

    @cached_property
    def affine_lps(self) -> np.ndarray:
        """4x4, `(column, row, slice, 1)` index to LPS mm. For a stack that is not uniform: the mean slice step."""
        affine = np.eye(4)
        affine[:3, 0] = self.column_direction * self.pixel_spacing_mm[1]
        affine[:3, 1] = self.row_direction * self.pixel_spacing_mm[0]
        count = self.shape[0]
        if count > 1:
            affine[:3, 2] = (self.slice_origins_mm[-1] - self.slice_origins_mm[0]) / (count - 1)
        else:
            affine[:3, 2] = self.normal * (self.single_slice_thickness_mm or 1.0)
        affine[:3, 3] = self.slice_origins_mm[0]
        return affine

    def index_to_lps(self, index_kji: np.ndarray) -> np.ndarray:
        """`(..., 3)` fractional `[slice, row, column]` to LPS mm; between slices the origins are interpolated."""
        index = np.asarray(index_kji, dtype=float)
        k = index[..., 0]
        slices = np.arange(self.shape[0])
        origin = np.stack([np.interp(k, slices, self.slice_origins_mm[:, axis]) for axis in range(3)], axis=-1)
        return (
            origin
            + index[..., 1:2] * self.pixel_spacing_mm[0] * self.row_direction
            + index[..., 2:3] * self.pixel_spacing_mm[1] * self.column_direction
        )

    def lps_to_index(self, point_lps: np.ndarray) -> np.ndarray:
        """LPS mm to fractional `[slice, row, column]`; beyond the ends the end slices are used."""
        point = np.asarray(point_lps, dtype=float)
        k = np.interp(point @ self.normal, self.slice_positions_mm, np.arange(self.shape[0]))
        origin = self.index_to_lps(np.stack([k, 0 * k, 0 * k], axis=-1))
        offset = point - origin
        return np.stack(
            [
                k,
                offset @ self.row_direction / self.pixel_spacing_mm[0],
                offset @ self.column_direction / self.pixel_spacing_mm[1],
            ],
            axis=-1,
        )

    def shows(self, point_lps: np.ndarray) -> bool:
        """Whether a point lies in the field of view, before or behind the stack as well."""
        index = self.lps_to_index(point_lps)[1:]
        return all(-0.5 <= i <= n - 0.5 for i, n in zip(index, self.shape[1:], strict=True))

    def matches(self, other: "StackGeometry", *, tolerance_mm: float = 1e-2) -> bool:
        """Same grid: equal shape and every corner within `tolerance_mm` (headers of common formats keep 1e-3 mm)."""
        if self.shape != other.shape:
            return False
        corners = np.array(
            [[k, j, i] for k in range(self.shape[0]) for j in (0, self.shape[1] - 1) for i in (0, self.shape[2] - 1)]
        )
        return bool(np.abs(self.index_to_lps(corners) - other.index_to_lps(corners)).max() <= tolerance_mm)

    def cropped(self, rows: slice, columns: slice) -> "StackGeometry":
        """Of `array[:, rows, columns]`: the same places in the patient. Both slices state start and stop."""
        offset = (
            rows.start * self.pixel_spacing_mm[0] * self.row_direction
            + columns.start * self.pixel_spacing_mm[1] * self.column_direction
        )
        return StackGeometry(
            shape=(self.shape[0], rows.stop - rows.start, columns.stop - columns.start),
            pixel_spacing_mm=self.pixel_spacing_mm,
            column_direction=self.column_direction,
            row_direction=self.row_direction,
            slice_origins_mm=self.slice_origins_mm + offset,
            single_slice_thickness_mm=self.single_slice_thickness_mm,
        )

    @classmethod
    def from_affine_lps(cls, affine: np.ndarray, shape: tuple[int, int, int]) -> "StackGeometry":
        """From a 4x4 `(column, row, slice)` index to LPS matrix and a `(slices, rows, columns)` shape."""
        affine = np.asarray(affine, dtype=float)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if not (np.isfinite(affine).all() and (spacing > 0).all()):
            raise ValueError(f"The affine has a spacing of {tuple(spacing.round(4))} mm; all must be positive.")
        origins = affine[:3, 3] + np.arange(shape[0])[:, None] * affine[:3, 2]
        return cls(
            shape=shape,
            pixel_spacing_mm=(spacing[1], spacing[0]),
            column_direction=affine[:3, 0] / spacing[0],
            row_direction=affine[:3, 1] / spacing[1],
            slice_origins_mm=origins,
            single_slice_thickness_mm=float(spacing[2]),
        )
