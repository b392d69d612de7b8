"""Pictures of every slice: the image around the ventricle in grey, and the outlines to draw over it."""

import base64
import io
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from scarnet.conventions import Label, myocardium_mask, scar_mask
from scarnet.export.figure import SOFT, Command, Shape
from scarnet.export.outlines import smooth_outline
from scarnet.quantification import ScarReport, remote_region
from scarnet.segments import SEGMENTS
from scarnet.series import LgeSeries, StackGeometry

#: Shown around the ventricle on every side.
MARGIN_MM = 22.0
#: Side of a picture in pixels: enough for 60 mm on paper at 150 dots per inch.
PICTURE_PIXELS = 360
JPEG_QUALITY = 95
WINDOW_PERCENTILES = (1.0, 99.5)
_SEGMENT_COLORS = {s.segment_id: "#" + "".join(f"{round(255 * c):02x}" for c in s.color) for s in SEGMENTS}
#: Myocardium thin and turquoise, scar filled and yellow, MVO dashed and blue, remote myocardium dotted and white: told apart by
#: colour, by the colour-blind, and by line and fill in greyscale.
REMOTE_COLOR = "#ffffff"
MYOCARDIUM_COLOR, SCAR_COLOR, MVO_COLOR = "#4fe0c8", _SEGMENT_COLORS["Scar"], _SEGMENT_COLORS["MVO"]


@dataclass(frozen=True, eq=False)
class SlicePicture:
    """One slice around the ventricle.

    Attributes
        grey: uint8 `[row, column]`, enlarged to true proportions.
        shape: rows and columns of the image that `grey` shows; `outlines` are in these pixels, x = column, y = row.
        outlines: what to draw, stroke widths in points on the page.
    """

    grey: np.ndarray
    shape: tuple[int, int]
    outlines: tuple[Shape, ...]

    def jpeg(self) -> bytes:
        """The grey image: a third of PNG's size, made in a tenth of its time; of 255 grey levels 0.25 off on average, on the sample."""
        buffer = io.BytesIO()
        Image.fromarray(self.grey).save(buffer, "JPEG", quality=JPEG_QUALITY)
        return buffer.getvalue()

    @property
    def data_uri(self) -> str:
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg()).decode()


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


def slice_pictures(series: LgeSeries, labels: np.ndarray, report: ScarReport) -> list[SlicePicture]:
    """One for each slice, with the remote myocardium where thresholds were compared. All slices share one window."""
    image, geometry, remote = series.image, series.geometry, _remote(series, labels, report)
    rows, columns = heart_box(labels, geometry)
    low, high = np.percentile(image[:, rows, columns], WINDOW_PERCENTILES)
    height = (rows.stop - rows.start) * geometry.pixel_spacing_mm[0]
    width = (columns.stop - columns.start) * geometry.pixel_spacing_mm[1]
    scale = PICTURE_PIXELS / max(height, width)
    size = (max(int(width * scale), 1), max(int(height * scale), 1))
    pictures = []
    for plane, marks, far in zip(*(a[:, rows, columns] for a in (image, labels, remote)), strict=True):
        grey = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
        grey = Image.fromarray((grey * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
        pictures.append(SlicePicture(np.asarray(grey), plane.shape, _outlines(marks, far)))
    return pictures


def _remote(series: LgeSeries, labels: np.ndarray, report: ScarReport) -> np.ndarray:
    """bool like `labels`: what the report's thresholds refer to; empty where it has none."""
    if not report.thresholds:
        return np.zeros(labels.shape, bool)
    point = report.provenance["quantification"].get("remote_lps_mm")
    return remote_region(series, labels, remote_lps_mm=point)


def legend_shapes(commands: tuple[Command, ...], report: ScarReport) -> tuple[tuple[str, Shape], ...]:
    """Name and sign of what is drawn over a slice; `commands`: the outline of the sign."""
    remote = replace(_remote_shape(commands), stroke=SOFT)
    return (
        ("LV myocardium", Shape(commands, stroke=_on_paper(MYOCARDIUM_COLOR), stroke_width=0.9)),
        ("scar", replace(_scar(commands), fill_opacity=0.6, stroke=_on_paper(SCAR_COLOR))),
        ("microvascular obstruction", replace(_mvo(commands), stroke=_on_paper(MVO_COLOR))),
        *((("remote myocardium", remote),) if report.thresholds else ()),
    )


def _outlines(marks: np.ndarray, remote: np.ndarray) -> tuple[Shape, ...]:
    shapes = [_remote_shape(smooth_outline(remote))] if remote.any() else []
    if (muscle := myocardium_mask(marks)).any():
        shapes.append(Shape(smooth_outline(muscle), stroke=MYOCARDIUM_COLOR, stroke_width=0.9))
    if (scar := scar_mask(marks)).any():
        shapes.append(_scar(smooth_outline(scar)))
    if (mvo := marks == Label.MVO).any():
        shapes.append(_mvo(smooth_outline(mvo)))
    return tuple(shapes)


def _remote_shape(commands: tuple[Command, ...]) -> Shape:
    return Shape(commands, stroke=REMOTE_COLOR, stroke_width=0.6, dash=(0.9, 1.5))


def _scar(commands: tuple[Command, ...]) -> Shape:
    return Shape(commands, SCAR_COLOR, 0.35, SCAR_COLOR, 1.1)


def _mvo(commands: tuple[Command, ...]) -> Shape:
    return Shape(commands, MVO_COLOR, 0.4, MVO_COLOR, 1.1, (2.2, 1.4))


def _on_paper(color: str) -> str:
    """A third darker: these colours are made for dark images."""
    return "#" + "".join(f"{int(color[k : k + 2], 16) * 2 // 3:02x}" for k in (1, 3, 5))
