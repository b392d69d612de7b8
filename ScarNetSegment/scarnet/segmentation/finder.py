"""Where the left ventricle lies in a full field of view."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from scarnet.errors import InputError
from scarnet.network import LoadedNetwork
from scarnet.segmentation.crop import CropGrid, normalise, spread_slices
from scarnet.segmentation.orientations import average_over_orientations
from scarnet.series import LgeSeries

#: The finder's map is smoothed by this before its peak is taken: about the width of a ventricular wall.
SMOOTHING_MM = 8.0
#: Probability counts towards the centre within this distance of the peak: the radius of a large LV.
REACH_MM = 50.0
#: A smaller field is laid into one of this size: the finder has learnt from whole chests.
MINIMUM_FIELD_MM = 384.0
#: At most so many slices, spread evenly over the stack, are looked at: in cross-validation over 81 patients the centre lies as
#: near to the experts' (2.1 mm on average, 8 at most) as with all slices.
MOST_SLICES = 4
#: Smallest credible LV, as area in the slice where it is largest: an apical cap of 2 cm across.
MINIMUM_AREA_CM2 = 3.0


def whole_field_grid(series: LgeSeries, pixel_mm: float) -> CropGrid:
    """A square about the image centre that covers every pixel, its side a multiple of 16."""
    geometry = series.geometry
    extent = max(geometry.shape[1] * geometry.pixel_spacing_mm[0], geometry.shape[2] * geometry.pixel_spacing_mm[1])
    side = int(np.ceil(max(extent, MINIMUM_FIELD_MM) / pixel_mm / 16) * 16)
    center = geometry.index_to_lps(np.array([(n - 1) / 2 for n in geometry.shape]))
    return CropGrid(geometry, center, side, pixel_mm)


def _content(image: np.ndarray) -> np.ndarray:
    """`[row, column]` bool: all but padding, the rows and columns at the edges that hold the stack's lowest value alone."""
    content = (image > image.min()).any(axis=0)
    result = np.zeros_like(content)
    if not content.any():
        return ~result
    rows, columns = (np.flatnonzero(content.any(axis=axis)) for axis in (1, 0))
    result[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return result


def _only(series: LgeSeries, slices: np.ndarray) -> LgeSeries:
    geometry = replace(
        series.geometry,
        shape=(len(slices), *series.geometry.shape[1:]),
        slice_origins_mm=series.geometry.slice_origins_mm[slices],
    )
    return replace(series, image=series.image[slices], geometry=geometry)


def find_lv(series: LgeSeries, finder: LoadedNetwork) -> np.ndarray:
    """`(3,)` LPS mm: a point on the long axis of the LV in its middle slice.

    The maps of slices spread over the stack are added before the peak is sought: what looks like a ventricle in one slice seldom
    does in the next. Raises InputError when nothing of the size of a ventricle is found.
    """
    pixel_mm = finder.card.input["pixel_mm"]
    series = _only(series, spread_slices(len(series.image), MOST_SLICES))
    grid = whole_field_grid(series, pixel_mm)
    crops, inside = grid.extract(series.image)
    content, _ = grid.extract(np.broadcast_to(_content(series.image), series.image.shape).astype(np.float32))
    for known in (inside, inside & (content > 0.5)):  # padding is left out where the whole picture shows nothing
        found = average_over_orientations(
            lambda x: 1 / (1 + np.exp(-finder.logits(x))), normalise(crops, known)[:, None]
        )
        probability = np.where(known, found[:, 0], 0)
        total = ndimage.gaussian_filter(probability.sum(axis=0), SMOOTHING_MM / pixel_mm)
        peak = np.array(np.unravel_index(total.argmax(), total.shape))
        rows, columns = np.indices(total.shape)
        near = np.hypot(rows - peak[0], columns - peak[1]) * pixel_mm <= REACH_MM
        areas_cm2 = ((probability > 0.5) & near).sum(axis=(1, 2)) * pixel_mm**2 / 100
        if areas_cm2.max() >= MINIMUM_AREA_CM2:
            break
    else:
        raise InputError(
            "No left ventricle was found in the images: check that this is a short-axis LGE stack, "
            "or give a point inside the ventricle (LV centre, --lv-center)."
        )
    weight = probability.sum(axis=0) * near
    center = np.array([(rows * weight).sum(), (columns * weight).sum()]) / weight.sum()
    middle = int(np.round((np.arange(len(areas_cm2)) * areas_cm2).sum() / areas_cm2.sum()))
    return grid.pixel_to_lps(middle, *center)
