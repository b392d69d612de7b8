"""Pictures of every slice: the image around the ventricle, and the same with the segmentation over it."""

import base64
import io

import numpy as np
from PIL import Image
from scipy import ndimage

from scarnet.conventions import Label
from scarnet.segments import SEGMENTS
from scarnet.series import StackGeometry

#: Shown around the ventricle on every side.
MARGIN_MM = 22.0
#: Side of a picture in pixels: large enough to judge an outline when printed 45 mm wide.
PICTURE_PIXELS = 360
WINDOW_PERCENTILES = (1.0, 99.5)
COLORS = {segment.segment_id: np.array(segment.color) for segment in SEGMENTS}


def heart_box(labels: np.ndarray, geometry: StackGeometry) -> tuple[slice, slice]:
    """Rows and columns of a square (in mm) about everything labelled, within the image."""
    lv = np.argwhere((labels > 0).any(axis=0))
    spacing = np.array(geometry.pixel_spacing_mm)
    low, high = lv.min(axis=0) * spacing, lv.max(axis=0) * spacing
    half = max(high - low) / 2 + MARGIN_MM
    center = (low + high) / 2
    first = np.clip(np.floor((center - half) / spacing), 0, None).astype(int)
    last = np.minimum(np.ceil((center + half) / spacing) + 1, labels.shape[1:]).astype(int)
    return slice(first[0], last[0]), slice(first[1], last[1])


def slice_pictures(image: np.ndarray, labels: np.ndarray, geometry: StackGeometry) -> list[tuple[str, str]]:
    """For each slice, plain and overlaid picture as PNG data URIs. All slices share one window."""
    rows, columns = heart_box(labels, geometry)
    low, high = np.percentile(image[:, rows, columns], WINDOW_PERCENTILES)
    height = (rows.stop - rows.start) * geometry.pixel_spacing_mm[0]
    width = (columns.stop - columns.start) * geometry.pixel_spacing_mm[1]
    scale = PICTURE_PIXELS / max(height, width)
    size = (max(int(width * scale), 1), max(int(height * scale), 1))
    pictures = []
    for plane, marks in zip(image[:, rows, columns], labels[:, rows, columns], strict=True):
        grey = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
        grey = np.asarray(Image.fromarray((grey * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)) / 255
        marks = np.asarray(Image.fromarray(marks.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
        plain = np.repeat(grey[..., None], 3, axis=2)
        pictures.append((_png(plain), _png(_overlay(plain, marks))))
    return pictures


def _overlay(picture: np.ndarray, marks: np.ndarray) -> np.ndarray:
    result = picture.copy()
    for mask, color, share in (
        ((marks >= Label.SCAR) & (marks != Label.MVO), COLORS["Scar"], 0.40),
        (marks == Label.MVO, COLORS["MVO"], 0.45),
    ):
        result[mask] = (1 - share) * result[mask] + share * color
    muscle = ndimage.binary_dilation(marks >= Label.MYOCARDIUM, iterations=1)
    for mask, color in (
        (muscle, np.array([0.35, 0.95, 0.55])),
        (marks >= Label.SCAR, COLORS["Scar"]),
        (marks == Label.MVO, COLORS["MVO"]),
    ):
        result[mask & ~ndimage.binary_erosion(mask, iterations=1)] = color
    return result


def _png(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.round(picture * 255).astype(np.uint8)).quantize(128).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
