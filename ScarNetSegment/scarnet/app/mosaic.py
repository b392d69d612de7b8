"""All slices at once: the image around the heart, outlined, as one picture that a click can be found in."""

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scarnet.cohort.thumbnail import polylines
from scarnet.conventions import Label, myocardium_mask, scar_mask
from scarnet.export.outlines import smooth_outline
from scarnet.export.overlays import MVO_COLOR, MYOCARDIUM_COLOR, SCAR_COLOR, heart_box
from scarnet.segmentation.crop import patient_axes
from scarnet.series import StackGeometry

#: Side of a slice's picture, in pixels.
TILE_PIXELS = 150


@dataclass(frozen=True)
class Mosaic:
    """`jpeg`: the picture. Slice k lies in column k % columns of row k // columns."""

    jpeg: bytes
    columns: int
    rows: int


def mosaic(
    image: np.ndarray,
    labels: np.ndarray | None,
    geometry: StackGeometry,
    *,
    window: tuple[float, float],
    columns: int = 4,
    outlined: bool = True,
) -> Mosaic:
    """`image` float `[slice, row, column]`, `labels` alike or None; `window`: the values shown black and white.

    Slices hang as in the slice view: patient left on the right, front or head up.
    """
    slices, height, width = image.shape
    box = (slice(0, height), slice(0, width))
    if labels is not None and labels.any():
        box = heart_box(labels, geometry)
    transpose, flip_rows, flip_columns = patient_axes(geometry)
    rows = math.ceil(slices / columns)
    canvas = Image.new("RGB", (columns * TILE_PIXELS, rows * TILE_PIXELS))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(12)
    spacing = np.array(geometry.pixel_spacing_mm)
    for k in range(slices):
        plane = _hang(image[k][box], transpose, flip_rows, flip_columns)
        size_mm = np.array(plane.shape) * (spacing[::-1] if transpose else spacing)
        tile = np.maximum((TILE_PIXELS * size_mm / size_mm.max()).astype(int), 1)
        corner = (np.array([k // columns, k % columns]) * TILE_PIXELS + (TILE_PIXELS - tile) // 2)[::-1]
        low, high = window
        grey = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
        picture = Image.fromarray((grey * 255).astype(np.uint8)).resize(tuple(tile[::-1]), Image.Resampling.BILINEAR)
        canvas.paste(picture, tuple(int(c) for c in corner))
        if labels is not None and outlined:
            marks = _hang(labels[k][box], transpose, flip_rows, flip_columns)
            scale = tile[::-1] / np.array(marks.shape[::-1])
            for mask, color in (
                (myocardium_mask(marks), MYOCARDIUM_COLOR),
                (scar_mask(marks), SCAR_COLOR),
                (marks == Label.MVO, MVO_COLOR),
            ):
                for line in polylines(smooth_outline(mask)):
                    draw.line([tuple(point) for point in line * scale + corner], fill=color, width=1)
        place = (k % columns * TILE_PIXELS + 5, k // columns * TILE_PIXELS + 3)
        draw.text(place, str(k + 1), fill="white", font=font, stroke_width=1, stroke_fill="black")
    buffer = io.BytesIO()
    canvas.save(buffer, "JPEG", quality=88)
    return Mosaic(buffer.getvalue(), columns, rows)


def _hang(plane: np.ndarray, transpose: bool, flip_rows: bool, flip_columns: bool) -> np.ndarray:
    """A slice as `scarnet.scene.views.show_in_plane` turns it."""
    plane = plane.T if transpose else plane
    plane = plane[::-1] if flip_rows else plane
    return plane[:, ::-1] if flip_columns else plane
