"""The square that a network sees, tilted in the plane of the slices."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

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
        axes = [self._axis(slice_index, axis) for axis in (0, 1)]
        steps = np.array([step for _, step, _ in axes])
        middle = np.array([start + (self.side - 1) / 2 * step for start, step, _ in axes])
        matrix = steps[:, None] * _rotation(self.tilt_deg)
        offset = middle - matrix @ np.full(2, (self.side - 1) / 2)
        pixels = np.stack(np.meshgrid(*[np.arange(self.side)] * 2, indexing="ij"), axis=-1) @ matrix.T + offset
        inside = ((pixels > -0.5 - 1e-6) & (pixels < np.array(plane.shape) - 0.5 + 1e-6)).all(axis=-1)

        reach = np.abs(matrix).sum(axis=1) * self.side / 2 + _MARGIN
        last = np.array(plane.shape) - 1
        low = np.clip(np.floor(middle - reach), 0, last).astype(int)
        high = np.clip(np.ceil(middle + reach), 0, last).astype(int) + 1
        part = plane[low[0] : high[0], low[1] : high[1]].astype(np.float32)
        if (steps > 1).any():  # coarser than the image: averages what it covers, as wide as resampling_matrix does
            part = ndimage.gaussian_filter(part, np.sqrt(np.clip(steps**2 - 1, 0, None) / 6), mode="nearest")
        crop = ndimage.affine_transform(part, matrix, offset - low, (self.side,) * 2, order=3, mode="nearest")
        return crop, inside

    def pixel_to_lps(self, slice_index: int, row: float, column: float) -> np.ndarray:
        middle = super().pixel_to_lps(slice_index, (self.side - 1) / 2, (self.side - 1) / 2)
        axes = np.stack([self.geometry.row_direction, self.geometry.column_direction])
        untilted_mm = axes @ (super().pixel_to_lps(slice_index, row, column) - middle)
        return middle + _rotation(self.tilt_deg) @ untilted_mm @ axes

    def _turn_back(self, crops: np.ndarray) -> np.ndarray:
        crops = super()._turn_back(crops)
        if not self.tilt_deg:
            return crops
        matrix, middle = _rotation(-self.tilt_deg), np.full(2, (self.side - 1) / 2)
        back = np.empty(crops.shape, np.float32)
        planes = (array.reshape(-1, self.side, self.side) for array in (crops, back))
        for plane, out in zip(*planes, strict=True):  # 0 where it did not look
            ndimage.affine_transform(plane, matrix, middle - matrix @ middle, order=1, output=out)
        return back


def _rotation(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cosine, -sine], [sine, cosine]])
