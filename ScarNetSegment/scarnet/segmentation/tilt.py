"""The square that a network sees, tilted in the plane of the slices."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage, sparse

from scarnet.segmentation.crop import CropGrid

#: What is cut out around the square, in input pixels, so that its border is interpolated as its middle is.
_MARGIN = 8


@dataclass(frozen=True)
class TiltedGrid(CropGrid):
    """A CropGrid turned by `tilt_deg` about its centre, from the input's row axis to its column axis; the image interpolated by cubic splines.

    Linear interpolation is a blur that depends on the tilt; with it, small cores of MVO were lost and scar overlapped less (see
    Resources/Evaluation).
    """

    tilt_deg: float = 0.0

    def extract(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        crops, inside = zip(*(self._plane(k, plane) for k, plane in enumerate(image)), strict=True)
        return self._turn(np.stack(crops)), self._turn(np.stack(inside))

    def _plane(self, slice_index: int, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        axes = tuple(self._axis(slice_index, axis) for axis in (0, 1))
        matrix, offset, region, inside = _sampling(self.side, self.tilt_deg, axes)
        part = plane[region].astype(np.float32)
        steps = np.array([step for _, step, _ in axes])
        if (steps > 1).any():  # coarser than the image: averages what it covers, as wide as resampling_matrix does
            part = ndimage.gaussian_filter(part, np.sqrt(np.clip(steps**2 - 1, 0, None) / 6), mode="nearest")
        return ndimage.affine_transform(part, matrix, offset, (self.side,) * 2, order=3, mode="nearest"), inside

    def pixel_to_lps(self, slice_index: int, row: float, column: float) -> np.ndarray:
        middle = super().pixel_to_lps(slice_index, (self.side - 1) / 2, (self.side - 1) / 2)
        axes = np.stack([self.geometry.row_direction, self.geometry.column_direction])
        untilted_mm = axes @ (super().pixel_to_lps(slice_index, row, column) - middle)
        return middle + rotation(self.tilt_deg) @ untilted_mm @ axes

    def _turn_back(self, crops: np.ndarray) -> np.ndarray:
        crops = super()._turn_back(crops)
        if not self.tilt_deg:
            return crops
        planes = crops.reshape(-1, self.side**2)
        return (_turning(self.side, -self.tilt_deg) @ planes.T).T.reshape(crops.shape)


@lru_cache(maxsize=64)  # the slices of a stack mostly share theirs
def _sampling(
    side: int, tilt_deg: float, axes: tuple[tuple[float, float, int], ...]
) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice], np.ndarray]:
    """Of a plane with the `axes` of `CropGrid._axis`: which rows and columns the tilted square needs, from its pixels to pixels of these
    (`matrix @ pixel + offset`), and where it lies inside the plane.
    """
    starts, steps, sizes = (np.array(values) for values in zip(*axes, strict=True))
    half = (side - 1) / 2
    middle = starts + half * steps
    matrix = steps[:, None] * rotation(tilt_deg)
    offset = middle - matrix @ np.full(2, half)
    pixels = np.stack(np.meshgrid(*[np.arange(side)] * 2, indexing="ij"), axis=-1) @ matrix.T + offset
    inside = ((pixels > -0.5 - 1e-6) & (pixels < sizes - 0.5 + 1e-6)).all(axis=-1)

    reach = np.abs(matrix).sum(axis=1) * side / 2 + _MARGIN
    low = np.clip(np.floor(middle - reach), 0, sizes - 1).astype(int)
    high = np.clip(np.ceil(middle + reach), 0, sizes - 1).astype(int) + 1
    return matrix, offset - low, tuple(slice(*ends) for ends in zip(low, high, strict=True)), inside


@lru_cache(maxsize=8)
def _turning(side: int, degrees: float) -> sparse.csr_array:
    """`(side**2, side**2)` weights of bilinear interpolation that turn a square about its middle; nothing comes from beyond it.

    All classes and slices at once: plane by plane with ndimage, as exact, took ten times as long.
    """
    middle = (side - 1) / 2
    to = np.indices((side, side)).reshape(2, -1)
    at = rotation(degrees) @ (to - middle) + middle
    low = np.floor(at).astype(int)
    share = at - low
    matrix = sparse.csr_array((side**2, side**2), dtype=np.float32)
    for row, column in np.ndindex(2, 2):
        source = low + np.array([[row], [column]])
        weight = np.abs(1 - row - share[0]) * np.abs(1 - column - share[1])
        there = ((source >= 0) & (source < side)).all(axis=0)
        entries = (
            weight[there].astype(np.float32),
            (np.flatnonzero(there), np.ravel_multi_index(source[:, there], (side, side))),
        )
        matrix = matrix + sparse.csr_array(entries, shape=matrix.shape)
    return matrix


def rotation(degrees: float) -> np.ndarray:
    """`(2, 2)`: turns from the first axis to the second."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cosine, -sine], [sine, cosine]])
