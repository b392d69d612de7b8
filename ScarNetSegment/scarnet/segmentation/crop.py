"""Between the input's own grid and the square that a network sees: the same code in training and inference.

A crop is a square of `side` pixels of `pixel_mm` about the left ventricle, in the plane of each slice. Its axes follow
the patient, not the array: whichever way a stack is stored, the network meets the same picture.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from scarnet.series.geometry import StackGeometry

#: Intensities beyond these percentiles of a crop are clipped before it is normalised: bright fat and flow artefacts
#: would otherwise set the scale. Per slice, since nulling drifts over a breath-held stack and archives rescale slices.
CLIP_PERCENTILES = (1.0, 99.0)


@lru_cache(maxsize=256)  # the slices of a stack mostly share theirs
def resampling_matrix(size_out: int, start: float, step: float, size_in: int) -> np.ndarray:
    """`(size_out, size_in)` weights of linear interpolation at `start + n * step` (input pixels).

    With a step above one the kernel widens to the step, so that coarser output averages what it covers instead of
    skipping it. Rows sum to one inside the input; beyond its edge the edge pixel is repeated.
    """
    positions = start + step * np.arange(size_out)
    half_width = max(step, 1.0)
    reach = int(np.ceil(half_width))
    padded = np.arange(-reach - size_out, size_in + reach + size_out)
    inside = np.clip(positions, -0.5 * half_width, size_in - 1 + 0.5 * half_width)
    weights = np.clip(1 - np.abs(inside[:, None] - padded[None, :]) / half_width, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    folded = np.zeros((size_out, size_in))
    np.add.at(folded, (slice(None), np.clip(padded, 0, size_in - 1)), weights)
    folded = folded.astype(np.float32)
    folded.setflags(write=False)
    return folded


def coverage(size_out: int, start: float, step: float, size_in: int) -> np.ndarray:
    """`(size_out,)` bool: which output pixels lie inside the input."""
    positions = start + step * np.arange(size_out)
    return (positions > -0.5 - 1e-6) & (positions < size_in - 0.5 + 1e-6)


def normalise(crops: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """Each `[..., row, column]` plane clipped at its percentiles, then to zero mean and unit variance (float32).

    `inside`: bool of the same shape, pixels that exist in the image; the others become 0. A constant plane becomes 0.
    """
    planes = np.asarray(crops, np.float32)
    flat = planes.reshape(-1, planes.shape[-2] * planes.shape[-1])
    known = np.ones_like(flat, bool) if inside is None else np.broadcast_to(inside, planes.shape).reshape(flat.shape)
    result = np.zeros_like(flat)
    for row, keep, out in zip(flat, known, result, strict=True):  # one turn a slice
        values = row[keep]
        if values.size == 0:
            continue
        low, high = np.percentile(values, CLIP_PERCENTILES)
        clipped = np.clip(values, low, high)
        deviation = clipped.std()
        if deviation > 1e-6 * max(abs(high), abs(low), 1e-6):
            out[keep] = (clipped - clipped.mean()) / deviation
    return result.reshape(planes.shape)


def patient_axes(geometry: StackGeometry) -> tuple[bool, bool, bool]:
    """How to turn the array so that equal anatomy looks equal: `(transpose, flip rows, flip columns)`.

    After the turn columns run towards the patient's left and rows towards the feet or the back, whichever in-plane axis
    lies nearer. Files without patient orientation pass through unchanged but consistent.
    """
    left = np.array([1.0, 0.0, 0.0])
    transpose = abs(geometry.row_direction @ left) > abs(geometry.column_direction @ left) + 1e-6
    columns, rows = (
        (geometry.row_direction, geometry.column_direction)
        if transpose
        else (geometry.column_direction, geometry.row_direction)
    )
    down = np.array([0.0, 0.6, -0.8])  # back and feet: short-axis rows run along both, so their sum is never near zero
    return bool(transpose), bool(rows @ down < 0), bool(columns @ left < 0)


def to_patient_axes(planes: np.ndarray, geometry: StackGeometry) -> np.ndarray:
    """`[..., row, column]` turned as `patient_axes` says."""
    transpose, flip_rows, flip_columns = patient_axes(geometry)
    planes = planes.swapaxes(-1, -2) if transpose else planes
    planes = planes[..., ::-1, :] if flip_rows else planes
    return np.ascontiguousarray(planes[..., ::-1] if flip_columns else planes)


@dataclass(frozen=True)
class CropGrid:
    """The square about `center_lps_mm` in every slice of a stack."""

    geometry: StackGeometry
    center_lps_mm: np.ndarray
    side: int
    pixel_mm: float

    def _axis(self, slice_index: int, axis: int) -> tuple[float, float, int]:
        """Start and step of the crop's axis in input pixels, and the input's size: axis 0 rows, 1 columns."""
        direction = (self.geometry.row_direction, self.geometry.column_direction)[axis]
        spacing = self.geometry.pixel_spacing_mm[axis]
        center = (self.center_lps_mm - self.geometry.slice_origins_mm[slice_index]) @ direction / spacing
        step = self.pixel_mm / spacing
        return center - (self.side - 1) / 2 * step, step, self.geometry.shape[1 + axis]

    def extract(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`[slice, row, column]` to float32 crops `[slice, side, side]` along patient axes, and where the image is."""
        crops, inside = [], []
        for k in range(self.geometry.shape[0]):
            rows, columns = self._axis(k, 0), self._axis(k, 1)
            crops.append(resampling_matrix(self.side, *rows) @ image[k] @ resampling_matrix(self.side, *columns).T)
            inside.append(coverage(self.side, *rows)[:, None] & coverage(self.side, *columns)[None, :])
        return self._turn(np.stack(crops)), self._turn(np.stack(inside))

    def put_back(self, crops: np.ndarray) -> np.ndarray:
        """Crops `[..., slice, side, side]` to the input's grid `[..., slice, row, column]`, 0 outside the square."""
        crops = self._turn_back(crops)
        result = np.zeros(crops.shape[:-2] + self.geometry.shape[1:], np.float32)
        for k in range(self.geometry.shape[0]):
            (r0, r1, to_rows), (c0, c1, to_columns) = self._inverse(k, 0), self._inverse(k, 1)
            if r1 > r0 and c1 > c0:
                result[..., k, r0:r1, c0:c1] = to_rows @ crops[..., k, :, :] @ to_columns.T
        return result

    def pixel_to_lps(self, slice_index: int, row: float, column: float) -> np.ndarray:
        """`(3,)` LPS mm of a crop pixel, as `extract` orders them."""
        transpose, flip_rows, flip_columns = patient_axes(self.geometry)
        row = self.side - 1 - row if flip_rows else row
        column = self.side - 1 - column if flip_columns else column
        row, column = (column, row) if transpose else (row, column)
        (row_start, row_step, _), (column_start, column_step, _) = (self._axis(slice_index, axis) for axis in (0, 1))
        return self.geometry.index_to_lps(
            np.array([slice_index, row_start + row * row_step, column_start + column * column_step])
        )

    def _inverse(self, slice_index: int, axis: int) -> tuple[int, int, np.ndarray]:
        start, step, size = self._axis(slice_index, axis)
        first = max(int(np.ceil(start - 0.5 * step)), 0)
        last = min(int(np.floor(start + (self.side - 0.5) * step)), size - 1)
        count = max(last - first + 1, 0)
        return first, first + count, resampling_matrix(count, (first - start) / step, 1 / step, self.side)

    def _turn(self, crops: np.ndarray) -> np.ndarray:
        return to_patient_axes(crops, self.geometry)

    def _turn_back(self, crops: np.ndarray) -> np.ndarray:
        transpose, flip_rows, flip_columns = patient_axes(self.geometry)
        crops = crops[..., ::-1] if flip_columns else crops
        crops = crops[..., ::-1, :] if flip_rows else crops
        return np.ascontiguousarray(crops.swapaxes(-1, -2) if transpose else crops)


def spread_slices(count: int, most: int) -> np.ndarray:
    """Indices of at most `most` slices of `count`: the middles of as many parts of the stack."""
    if count <= most:
        return np.arange(count)
    return np.round((np.arange(most) + 0.5) * count / most - 0.5).astype(int)


def with_neighbours(planes: np.ndarray, in_slices: int) -> np.ndarray:
    """`[slice, row, column]` to `[slice, in_slices, row, column]`: each slice amid its neighbours, ends repeated."""
    half = in_slices // 2
    padded = np.concatenate([planes[:1]] * half + [planes] + [planes[-1:]] * half)
    return np.stack([padded[i : i + len(planes)] for i in range(in_slices)], axis=1)
