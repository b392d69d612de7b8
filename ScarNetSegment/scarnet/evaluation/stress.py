"""Real patients as other scanners, archives and operators would hand them over: how far the measures fall.

Each change takes a stack and the expert's labels to another stack and its labels. Nothing is drawn at random but noise, whose
seed is fixed.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from scarnet.conventions import Label
from scarnet.segmentation.crop import resampling_matrix
from scarnet.segmentation.orientations import turn
from scarnet.segmentation.tilt import rotation
from scarnet.series import LgeSeries, StackGeometry
from scarnet.training.data import resample_labels

#: How softly the cavity's border follows when blood is made brighter or darker (standard deviation).
EDGE_MM = 0.8
#: Beside the heart, what is darker than muscle and this share of blood's contrast, over so large an area, is lung or air; its noise in
#: magnitude images, in the same unit.
AIR_LEVEL, AIR_MM2, AIR_NOISE = 0.35, 600.0, 0.04
Case = tuple[LgeSeries, np.ndarray]


def _on(series: LgeSeries, image: np.ndarray, geometry: StackGeometry | None = None) -> LgeSeries:
    return replace(series, image=np.ascontiguousarray(image, np.float32), geometry=geometry or series.geometry)


def with_pixels(case: Case, pixel_mm: float) -> Case:
    """The same field of view on square pixels of `pixel_mm`."""
    series, labels = case
    spacing, shape = series.geometry.pixel_spacing_mm, series.geometry.shape
    matrices = []
    for axis in (0, 1):
        step = pixel_mm / spacing[axis]
        matrices.append(resampling_matrix(int(round(shape[1 + axis] / step)), (step - 1) / 2, step, shape[1 + axis]))
    image = np.stack([matrices[0] @ plane @ matrices[1].T for plane in series.image])
    resampled = np.stack([resample_labels(plane, *matrices) for plane in labels])
    g = series.geometry
    first = (
        g.slice_origins_mm
        + ((pixel_mm - spacing[0]) * g.row_direction + (pixel_mm - spacing[1]) * g.column_direction) / 2
    )
    geometry = replace(g, shape=image.shape, pixel_spacing_mm=(pixel_mm, pixel_mm), slice_origins_mm=first)
    return _on(series, image, geometry), resampled


def with_slices(case: Case, step: int) -> Case:
    """Every `step`-th slice alone."""
    series, labels = case
    image = series.image[::step]
    geometry = replace(series.geometry, shape=image.shape, slice_origins_mm=series.geometry.slice_origins_mm[::step])
    return _on(series, image, geometry), labels[::step]


def with_field_of_view(case: Case, field_mm: float, shift_mm: float = 0.0) -> Case:
    """A square field about the middle of the ventricle moved by `shift_mm` along both axes; black beyond the image."""
    series, labels = case
    g = series.geometry
    middle = np.argwhere(labels > 0)[:, 1:].mean(axis=0)
    start, size = [], []
    for axis in (0, 1):
        size.append(int(round(field_mm / g.pixel_spacing_mm[axis])))
        start.append(int(round(middle[axis] + shift_mm / g.pixel_spacing_mm[axis] - size[axis] / 2)))

    def cut(array: np.ndarray) -> np.ndarray:
        result = np.zeros((len(array), *size), array.dtype)
        inside = [
            slice(max(s, 0), max(min(s + n, length), 0))
            for s, n, length in zip(start, size, array.shape[1:], strict=True)
        ]
        to = [slice(i.start - s, i.stop - s) for i, s in zip(inside, start, strict=True)]
        result[(slice(None), *to)] = array[(slice(None), *inside)]
        return result

    offset = sum(
        s * mm * d for s, mm, d in zip(start, g.pixel_spacing_mm, (g.row_direction, g.column_direction), strict=True)
    )
    image = cut(series.image)
    geometry = replace(g, shape=image.shape, slice_origins_mm=g.slice_origins_mm + offset)
    return _on(series, image, geometry), cut(labels)


def turned(case: Case, turns: int, mirror: bool) -> Case:
    """Stored in another of the eight orientations, without the header saying so."""
    series, labels = case
    image = turn(series.image, turns, mirror)
    spacing = series.geometry.pixel_spacing_mm
    geometry = replace(
        series.geometry, shape=image.shape, pixel_spacing_mm=spacing if turns % 2 == 0 else spacing[::-1]
    )
    return _on(series, image, geometry), np.ascontiguousarray(turn(labels, turns, mirror))


def tilted(case: Case, degrees: float) -> Case:
    """The field of view laid anew, turned about the middle of the ventricle, as operators avoid wrap-around; black beyond the image."""
    series, labels = case
    spacing = np.array(series.geometry.pixel_spacing_mm)
    middle = np.argwhere(labels > 0)[:, 1:].mean(axis=0)
    matrix = rotation(-degrees) * spacing / spacing[:, None]

    def at(plane: np.ndarray, order: int) -> np.ndarray:
        low = float(plane.min())
        return ndimage.affine_transform(plane, matrix, middle - matrix @ middle, order=order, cval=low).clip(low)

    image = np.stack([at(plane.astype(np.float32), 3) for plane in series.image])
    shares = [np.stack([at((plane == label).astype(np.float32), 1) for plane in labels]) for label in list(Label)[1:]]
    turned_labels = np.argmax([1 - sum(shares), *shares], axis=0).astype(labels.dtype)
    return _on(series, image), turned_labels


def with_values(case: Case, change: Callable[[np.ndarray], np.ndarray]) -> Case:
    series, labels = case
    return _on(series, change(series.image)), labels


def with_blood(case: Case, share: float) -> Case:
    """The expert's cavity brighter than his healthy muscle by `1 + share` of what it was: earlier or later after the injection."""
    series, labels = case
    cavity, healthy = labels == Label.BLOOD_POOL, labels == Label.MYOCARDIUM
    change = share * (np.median(series.image[cavity]) - np.median(series.image[healthy]))
    soft = ndimage.gaussian_filter(
        cavity.astype(np.float32), (0, *(EDGE_MM / np.array(series.geometry.pixel_spacing_mm)))
    )
    return _on(series, series.image + change * soft), labels


def as_magnitude(case: Case, above: float) -> Case:
    """Magnitude about a zero that lies below healthy muscle by `above`, share of blood's contrast to it: near zero muscle is black as by
    the inversion time of most protocols, and below it the inversion time was too short. Lung and air, grey in
    EMIDEC, are black."""
    series, labels = case
    rng, image = np.random.default_rng(0), series.image.astype(np.float32)
    healthy, cavity = labels == Label.MYOCARDIUM, labels == Label.BLOOD_POOL
    for k, plane in enumerate(image):
        of = (k,) if healthy[k].any() and cavity[k].any() else ()  # beyond the ventricle as in all of the stack
        level = np.median(image[of][healthy[of]] if of else series.image[healthy])
        contrast = (np.median(image[of][cavity[of]]) if of else np.median(series.image[cavity])) - level
        zero = level - above * contrast
        air = _air(plane, labels[k] > 0, level + AIR_LEVEL * contrast, series.geometry.pixel_area_mm2)
        black = zero + AIR_NOISE * contrast * rng.rayleigh(1.0, plane.shape)
        image[k] = zero + np.abs((1 - air) * plane + air * black - zero)
    return _on(series, image), labels


def _air(plane: np.ndarray, heart: np.ndarray, level: float, pixel_area_mm2: float) -> np.ndarray:
    """Share of air or lung in each pixel: large dark areas beside the heart."""
    dark = (ndimage.gaussian_filter(plane, 1.2) < level) | (plane <= plane.min())
    parts, count = ndimage.label(
        ndimage.binary_opening(dark & ~ndimage.binary_dilation(heart, iterations=2), iterations=3)
    )
    areas = ndimage.sum_labels(np.ones(parts.shape), parts, np.arange(1, count + 1)) * pixel_area_mm2
    return ndimage.gaussian_filter(np.isin(parts, 1 + np.flatnonzero(areas > AIR_MM2)).astype(np.float32), 0.7)


def blurred(case: Case, sigma_mm: float) -> Case:
    """As by breathing or a coarse acquisition."""
    series, labels = case
    sigma = sigma_mm / np.array(series.geometry.pixel_spacing_mm)
    return _on(series, ndimage.gaussian_filter(series.image, (0, *sigma))), labels


def _eight_bit(image: np.ndarray) -> np.ndarray:
    low, high = image.min(), np.percentile(image, 99.5)
    return np.round(255 * np.clip((image - low) / (high - low), 0, 1))


def _shaded(image: np.ndarray) -> np.ndarray:
    rows, columns = np.linspace(-1, 1, image.shape[1]), np.linspace(-1, 1, image.shape[2])
    return (image - image.min()) * np.exp(0.9 * rows[:, None] + 0.5 * columns[None, :])


def _flat(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, (0.5, 99.5))
    return np.clip((image - low) / (high - low), 0, None) ** 0.6


def _noisy(image: np.ndarray) -> np.ndarray:
    return image + np.random.default_rng(0).normal(0, 0.25 * image.std(), image.shape)


#: Name and change. The field of view and the expert's heart are whole in all of them.
CHANGES: dict[str, Callable[[Case], Case]] = {
    "as acquired": lambda case: case,
    "pixels of 0.7 mm": lambda case: with_pixels(case, 0.7),
    "pixels of 2 mm": lambda case: with_pixels(case, 2.0),
    "every second slice": lambda case: with_slices(case, 2),
    "cropped to 160 mm": lambda case: with_field_of_view(case, 160.0),
    "padded to 480 mm, 50 mm off centre": lambda case: with_field_of_view(case, 480.0, 50.0),
    "8 bit over the stack": lambda case: with_values(case, _eight_bit),
    "steep coil shading": lambda case: with_values(case, _shaded),
    "noise of a quarter SD": lambda case: with_values(case, _noisy),
    "contrast flattened (gamma 0.6)": lambda case: with_values(case, _flat),
    "blood brighter by a half": lambda case: with_blood(case, 0.5),
    "blood darker by a half": lambda case: with_blood(case, -0.5),
    "magnitude, muscle nulled": lambda case: as_magnitude(case, 0.1),
    "magnitude, nulled too early": lambda case: as_magnitude(case, -0.1),
    "blurred by 1.5 mm": lambda case: blurred(case, 1.5),
    "signed with an offset, as PSIR": lambda case: with_values(case, lambda image: 3 * image - 2000),
    "tilted by 35 degrees": lambda case: tilted(case, 35.0),
    "turned and mirrored": lambda case: turned(case, 1, True),
    "slices in reverse": lambda case: reversed_slices(case),
}


def reversed_slices(case: Case) -> Case:
    """Apex first instead of base first."""
    series, labels = case
    geometry = replace(series.geometry, slice_origins_mm=series.geometry.slice_origins_mm[::-1])
    return _on(series, series.image[::-1], geometry), np.ascontiguousarray(labels[::-1])
