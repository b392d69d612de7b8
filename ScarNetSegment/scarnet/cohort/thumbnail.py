"""A small picture of a patient: the slice with most scar, outlined; without scar, the one with most myocardium."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from scarnet.conventions import Label, myocardium_mask, scar_mask
from scarnet.export.figure import Command
from scarnet.export.outlines import smooth_outline
from scarnet.export.overlays import MVO_COLOR, MYOCARDIUM_COLOR, SCAR_COLOR, WINDOW_PERCENTILES, heart_box
from scarnet.files import replacing
from scarnet.series import LgeSeries

#: Longer side of the picture, and how much finer its lines are drawn before it is made smaller: they come out smooth.
PIXELS, FINER = 200, 2
_CURVE_STEPS = 4


def shown_slice(labels: np.ndarray) -> int:
    """Index of the slice with most scar, or most myocardium where there is no scar."""
    areas = [mask.sum(axis=(1, 2)) for mask in (scar_mask(labels), myocardium_mask(labels))]
    return int(np.argmax(areas[0] if areas[0].any() else areas[1]))


def thumbnail(series: LgeSeries, labels: np.ndarray) -> Image.Image:
    """RGB, the heart in true proportions. `labels` uint8 `[slice, row, column]` with a ventricle in it."""
    rows, columns = heart_box(labels, series.geometry)
    k = shown_slice(labels)
    low, high = np.percentile(series.image[:, rows, columns], WINDOW_PERCENTILES)
    grey = np.clip((series.image[k, rows, columns] - low) / max(high - low, 1e-6), 0, 1)
    size_mm = np.array(grey.shape[::-1]) * np.array(series.geometry.pixel_spacing_mm)[::-1]
    width, height = (max(int(side), 1) for side in PIXELS * FINER * size_mm / size_mm.max())
    picture = (
        Image.fromarray((grey * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC).convert("RGB")
    )
    draw = ImageDraw.Draw(picture)
    scale = np.array([width / grey.shape[1], height / grey.shape[0]])
    marks = labels[k, rows, columns]
    for mask, color in (
        (myocardium_mask(marks), MYOCARDIUM_COLOR),
        (scar_mask(marks), SCAR_COLOR),
        (marks == Label.MVO, MVO_COLOR),
    ):
        for line in polylines(smooth_outline(mask)):
            draw.line([tuple(point) for point in line * scale], fill=color, width=2 * FINER, joint="curve")
    return picture.resize((max(width // FINER, 1), max(height // FINER, 1)), Image.Resampling.LANCZOS)


def write_thumbnail(path: Path, series: LgeSeries, labels: np.ndarray) -> None:
    with replacing(path) as part:
        thumbnail(series, labels).save(part, "PNG", optimize=True)


def polylines(commands: tuple[Command, ...]) -> list[np.ndarray]:
    """Closed lines `(points, 2)` (x, y) along the curves of `smooth_outline`."""
    lines: list[np.ndarray] = []
    points: list[np.ndarray] = []
    for kind, *values in commands:
        if kind in "ML":
            points.append(np.array(values, float))
        elif kind == "Q":
            start, control, end = points[-1], np.array(values[:2], float), np.array(values[2:], float)
            for t in np.linspace(0, 1, _CURVE_STEPS + 1)[1:]:
                points.append((1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end)
        elif kind == "Z":
            lines.append(np.array([*points, points[0]]))
            points = []
    return lines
