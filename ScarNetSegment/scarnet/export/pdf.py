"""The report on paper: A4 or letter, two pages for a usual stack, all drawn as vectors but the images themselves."""

import io
import math
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

import scarnet
from scarnet.errors import UsageError
from scarnet.export.bullseye import bullseye_figure, legend_figure
from scarnet.export.content import Content, SliceCaption, Table, content_of
from scarnet.export.figure import INK, SOFT, Command, Figure, Shape, Words, rectangle
from scarnet.export.overlays import SlicePicture, legend_shapes, slice_pictures
from scarnet.files import replacing
from scarnet.quantification import ScarReport
from scarnet.series import LgeSeries

try:
    from reportlab.lib import pagesizes
    from reportlab.lib.colors import HexColor
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import mm
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFError, TTFont
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import (
        BaseDocTemplate,
        Flowable,
        Frame,
        KeepTogether,
        PageBreak,
        PageTemplate,
        Paragraph,
        Spacer,
        TableStyle,
    )
    from reportlab.platypus import Table as Grid
except ImportError:
    raise UsageError("The PDF report needs reportlab: pip install reportlab.") from None

PAPERS = {"a4": pagesizes.A4, "letter": pagesizes.LETTER}
FONT, BOLD = "ScarNetSans", "ScarNetSans-Medium"
ACCENT, LINE, AMBER, RED = "#0b5c7a", "#cfd7de", "#d39a16", "#b3402e"
_MARGIN, _TOP, _BOTTOM = 14 * mm, 13 * mm, 15 * mm
#: Pictures side by side: as few, and so as large, as fit on the first page; never more, so that outlines can be judged.
_COLUMNS = (3, 4, 5)
_LARGE_COLUMNS = 4  # where they need pages of their own
_CAPTION_HEIGHT = 4.6 * mm
_GAP = 2.5 * mm  # between pictures
_READER_HEIGHT = 36 * mm
#: Points above and below the text of a table's row: tried in turn until two pages are enough.
_PADDINGS = (0.9, 0.45, 0.1)
_BAR_HEIGHT = 6.5  # points, of the bars in tables


def write_pdf(path: Path, series: LgeSeries, labels: np.ndarray, report: ScarReport, *, paper: str = "a4") -> None:
    """Write the report as PDF. `labels` uint8 `[slice, row, column]` on the grid of `series`; `paper`: "a4" or "letter".

    Names no file, folder or patient. Raises UsageError for another paper.
    """
    if paper not in PAPERS:
        raise UsageError(f"Paper must be one of {', '.join(PAPERS)}; got '{paper}'.")
    _register_fonts()
    pictures = slice_pictures(series.image, labels, series.geometry)
    with replacing(path) as part:
        _build(part, content_of(report), report, pictures, PAPERS[paper])


def _build(path: Path, content: Content, report: ScarReport, pictures: list[SlicePicture], size) -> None:
    """Set the pages; where a third would hold little but a rest, set closer."""
    for padding in _PADDINGS:
        width, height = size[0] - 2 * _MARGIN, size[1] - _TOP - _BOTTOM
        document = BaseDocTemplate(
            str(path),
            pagesize=size,
            title=content.title,
            author=f"SlicerScarNet {scarnet.__version__}",
            subject=content.research_use,
            lang="en",
            initialFontName=FONT,
        )
        frame = Frame(_MARGIN, _BOTTOM, width, height, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)
        document.addPageTemplates(PageTemplate("report", [frame]))
        document.build(
            _story(content, report, pictures, width, height, padding),
            canvasmaker=partial(_ReportCanvas, content=content),
        )
        if document.page <= 2:
            break


def _story(content: Content, report: ScarReport, pictures, width, height, padding) -> list[Flowable]:
    """First page: what is read first, the slices, whatever section still fits, and room for the reader."""
    first = [*_head(content, width), *_findings(content, width, padding)]
    reader = _ReaderBox(width, _READER_HEIGHT)
    sections = _sections(content, report, width, padding)
    left = height - _READER_HEIGHT - 1 * mm - sum(_height_of(f, width, height) for f in first)
    slices = None
    furniture = sum(_height_of(f, width, height) for f in _heading("Slices", _legend())) + 5 * mm
    columns = _columns_that_fit(len(content.captions), pictures[0], width, left - furniture)
    if columns:
        slices = _slice_pages(content, pictures, width, columns)
        left -= sum(_height_of(f, width, height) for f in slices)
    beside, after = [], []
    for section in sections:
        needed = sum(_height_of(f, width, height) for f in section)
        if needed <= left:
            beside += section
            left -= needed
        else:
            after.append(KeepTogether(section))
    if slices:
        return [*first, *slices, *beside, _Filler(reader), reader, PageBreak(), *after]
    slices = _slice_pages(content, pictures, width, _LARGE_COLUMNS)
    return [*first, *beside, _Filler(reader), reader, PageBreak(), *slices, *after]


def _sections(content: Content, report: ScarReport, width: float, padding: float) -> list[list[Flowable]]:
    sections = [_regions(content, report, width, padding), _section("Slice by slice", content.slices, width, padding)]
    if content.methods:
        title = "What intensity methods call scar on the same myocardium"
        sections.append(_section(title, content.methods, width, padding))
    if content.zones:
        sections.append(_section("Infarct core and grey zone", content.zones, width, padding))
    sections.append(_facts("How the numbers are defined", content.facts, width))
    sections.append(_facts("Provenance", content.provenance, width))
    return [section for section in sections if section]


def _columns_that_fit(count: int, picture: SlicePicture, width: float, height: float) -> int | None:
    for columns in _COLUMNS:
        if columns == _COLUMNS[0] and count > 6:
            continue
        if math.ceil(count / columns) * _cell_height(picture, width, columns) <= height:
            return columns
    return None


# --- parts of the page ------------------------------------------------------------------------------------------------


def _head(content: Content, width: float) -> list[Flowable]:
    title = Paragraph(escape(content.title), _style(15, 18, bold=True))
    date = Paragraph(f"Report of {content.date}<br/>Input {content.identity}", _style(7, 9, SOFT, align=2))
    head = Grid([[title, date]], [width * 0.75, width * 0.25])
    head.setStyle(
        _plain(
            ("VALIGN", (0, 0), (-1, -1), "BOTTOM"),
            ("LINEBELOW", (0, 0), (-1, -1), 1.4, HexColor(ACCENT)),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
        )
    )
    return [head, Spacer(0, 2 * mm), _note_box(content.research_use, AMBER, "#fdf3dc", width), Spacer(0, 2.5 * mm)]


def _findings(content: Content, width: float, padding: float) -> list[Flowable]:
    flowables: list[Flowable] = [_key_figures(content, width)]
    if content.summary:
        flowables += [Spacer(0, 2.5 * mm), Paragraph(escape(content.summary), _style(10.5, 13.5))]
    flowables += [Spacer(0, 2 * mm), _doubts(content, width)]
    if content.corrected:
        flowables += _section("AI and corrected values", content.corrected, width, padding)
    return flowables


def _key_figures(content: Content, width: float) -> Flowable:
    cells = []
    for figure in content.key_figures:
        cell = [
            Paragraph(escape(figure.name), _style(6.8, 8.5, SOFT)),
            Paragraph(escape(figure.value), _style(15, 18.5, bold=True)),
        ]
        if figure.model:
            cell.append(Paragraph(f"AI {escape(figure.model)}", _style(7.5, 9.5, bold=True)))
        cell += [Paragraph(escape(note), _style(6.8, 8.5, SOFT)) for note in figure.notes]
        cells.append(cell)
    wanted = [
        max(
            pdfmetrics.stringWidth(figure.value, BOLD, 15),
            *(pdfmetrics.stringWidth(text, FONT, 6.8) for text in (figure.name, *figure.notes)),
        )
        for figure in content.key_figures
    ]
    spare = (width - sum(wanted)) / len(wanted)
    band = Grid([cells], [w + spare for w in wanted])
    band.setStyle(
        TableStyle(
            [
                ("BOX", (0, 0), (-1, -1), 0.6, HexColor(LINE)),
                ("INNERGRID", (0, 0), (-1, -1), 0.6, HexColor(LINE)),
                ("LINEABOVE", (0, 0), (0, 0), 2, HexColor(ACCENT)),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 6),
                ("RIGHTPADDING", (0, 0), (-1, -1), 4),
                ("TOPPADDING", (0, 0), (-1, -1), 3.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 4.5),
            ]
        )
    )
    return band


def _doubts(content: Content, width: float) -> Flowable:
    """Warnings and what to look at first, side by side."""
    boxes = []
    for title, lines, none, color, paper in (
        ("Warnings", content.warnings, "None was raised by image or segmentation.", RED, "#fbe9e7"),
        ("Look at first", content.review, "No slice stands out.", ACCENT, "#eaf2f7"),
    ):
        text = f'<font name="{BOLD}">{title}</font>'
        for line in lines or (none,):
            text += "<br/>" + ("•&nbsp;" if lines else "") + escape(line)
        boxes.append((text, color if lines else LINE, paper if lines else "#f6f8f9"))
    gap = 3 * mm
    half = (width - gap) / 2
    row = Grid([[_note_box(text, color, paper, half, markup=True) for text, color, paper in boxes]], [half + gap, half])
    row.setStyle(_plain(("VALIGN", (0, 0), (-1, -1), "TOP")))
    return row


def _slice_pages(content: Content, pictures, width: float, columns: int) -> list[Flowable]:
    side = _picture_width(width, columns)
    cells = [_SliceCell(pictures[c.index], c, side) for c in content.captions]
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    rows[-1] += [""] * (columns - len(rows[-1]))
    grid = Grid(rows, [side + _GAP] * (columns - 1) + [side], hAlign="LEFT")
    grid.setStyle(_plain())
    flowables = [*_heading("Slices", _legend()), grid]
    if content.slices_note:
        flowables.append(Paragraph(escape(content.slices_note), _style(7, 9, SOFT)))
    return flowables


def _regions(content: Content, report: ScarReport, width: float, padding: float) -> list[Flowable]:
    """Bull's eyes and the table of segments; nothing where no segment was measured."""
    if not content.segments:
        return []
    plot = width * 0.33
    columns = []
    for title, show in (("Scar, % of the segment", "scar_percent"), ("Transmural extent, %", "transmurality_class")):
        columns.append(
            [
                Paragraph(title, _style(7.5, 9.5, bold=True, align=1)),
                _Drawing(bullseye_figure(report.aha17, show=show), plot - 3 * mm),
                _Drawing(legend_figure(show), plot - 3 * mm),
            ]
        )
    table = _grid(replace(content.segments, note=""), width * 0.34, min(padding, 0.55), size=6.3)
    row = Grid([[*columns, table]], [plot, plot, width * 0.34])
    row.setStyle(_plain(("VALIGN", (0, 0), (-1, -1), "TOP")))
    note = Paragraph(escape(content.segments.note), _style(6.8, 8.6, SOFT))
    return [*_heading("AHA segments"), row, Spacer(0, 1 * mm), note]


def _section(title: str, table: Table, width: float, padding: float) -> list[Flowable]:
    parts = [*_heading(title), _grid(table, width, padding)]
    if table.note:
        parts += [Spacer(0, 0.8 * mm), Paragraph(escape(table.note), _style(6.6, 8.2, SOFT))]
    return parts


def _facts(title: str, facts: tuple[tuple[str, str], ...], width: float) -> list[Flowable]:
    """Name and sentence run on, in two columns of about equal length."""
    half = (width - 5 * mm) / 2
    lines = [
        Paragraph(f'<font name="{BOLD}" color="{SOFT}">{escape(name)}</font>&nbsp; {escape(text)}', _style(6.5, 7.9))
        for name, text in facts
    ]
    heights = [line.wrap(half, 1e6)[1] for line in lines]
    first = min(range(len(lines) + 1), key=lambda n: max(sum(heights[:n]), sum(heights[n:])))
    grid = Grid([[_column(lines[:first]), "", _column(lines[first:])]], [half, 5 * mm, half])
    grid.setStyle(_plain(("VALIGN", (0, 0), (-1, -1), "TOP")))
    return [*_heading(title), grid]


def _column(lines: list[Flowable]) -> list[Flowable]:
    return [part for line in lines for part in (line, Spacer(0, 1.2))]


# --- building blocks --------------------------------------------------------------------------------------------------


def _style(size: float, leading: float, color: str = INK, *, bold: bool = False, align: int = 0) -> "ParagraphStyle":
    return ParagraphStyle(
        "text",
        fontName=BOLD if bold else FONT,
        fontSize=size,
        leading=leading,
        textColor=HexColor(color),
        alignment=align,
        splitLongWords=1,
    )


def _heading(title: str, beside: Flowable | None = None) -> list[Flowable]:
    text = Paragraph(escape(title), _style(9.5, 12, ACCENT, bold=True))
    if beside is not None:
        row = Grid([[text, beside]], [pdfmetrics.stringWidth(title, BOLD, 9.5) + 5 * mm, beside.width], hAlign="LEFT")
        row.setStyle(_plain(("VALIGN", (0, 0), (-1, -1), "BOTTOM")))
        text = row
    return [Spacer(0, 3 * mm), text, Spacer(0, 1 * mm)]


def _legend() -> Flowable:
    """What is drawn over the slices, and how slices to look at first are marked."""
    items, x = [], 0.0
    for name, sign in legend_shapes(rectangle(0, 2, 13, 7)):
        shape = replace(
            sign,
            commands=tuple((c[0], *(v + x if n % 2 == 0 else v for n, v in enumerate(c[1:]))) for c in sign.commands),
        )
        items += [shape, Words(x + 16, 8.2, name, 7, SOFT, "start")]
        x += 16 + pdfmetrics.stringWidth(name, FONT, 7) + 9
    items.append(Words(x, 8.2, "!  look at first", 7, SOFT, "start"))
    return _Drawing(Figure(x + 60, 11, tuple(items), "Legend"), x + 60)


def _plain(*commands) -> "TableStyle":
    zero = [(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
    return TableStyle([*zero, *commands])


def _note_box(text: str, color: str, paper: str, width: float, *, markup: bool = False) -> Flowable:
    box = Grid([[Paragraph(text if markup else escape(text), _style(7.6, 10))]], [width])
    box.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, -1), HexColor(paper)),
                ("LINEBEFORE", (0, 0), (0, -1), 2.5, HexColor(color)),
                ("LEFTPADDING", (0, 0), (-1, -1), 7),
                ("TOPPADDING", (0, 0), (-1, -1), 2.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
            ]
        )
    )
    return box


def _grid(table: Table, width: float, padding: float, *, size: float = 6.9) -> Flowable:
    """A table as wide as `width`; the last column that holds words or bars takes what is left."""
    widths, cells = _widths(table, width, size), []
    for number, row in enumerate((table.head, *table.rows)):
        bold = number == 0 or number - 1 in table.strong or number - 1 in table.flagged
        cells.append(
            [
                _cell(cell, size, bold, right, column - 6, head=number == 0)
                for cell, right, column in zip(row, table.numeric, widths, strict=True)
            ]
        )
    grid = Grid(cells, widths, repeatRows=1)
    grid.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
                ("LINEBELOW", (0, 0), (-1, 0), 0.7, HexColor(SOFT)),
                ("LINEBELOW", (0, 1), (-1, -1), 0.35, HexColor(LINE)),
                ("LEFTPADDING", (0, 0), (-1, -1), 2),
                ("RIGHTPADDING", (0, 0), (-1, -1), 3),
                ("TOPPADDING", (0, 0), (-1, -1), padding),
                ("BOTTOMPADDING", (0, 0), (-1, -1), padding + 0.6),
            ]
        )
    )
    return grid


def _cell(cell, size: float, bold: bool, right: bool, width: float, *, head: bool) -> Flowable:
    if isinstance(cell, Figure):
        return _Drawing(cell, width, _BAR_HEIGHT)
    return Paragraph(escape(cell), _style(size, size * 1.22, SOFT if head else INK, bold=bold, align=2 if right else 0))


def _widths(table: Table, width: float, size: float) -> list[float]:
    """Columns as wide as their longest text, then stretched; sentences share what is left."""
    wanted = []
    for column in range(len(table.head)):
        cells = [row[column] for row in (table.head, *table.rows)]
        texts = [c for c in cells if isinstance(c, str)]
        longest = max((pdfmetrics.stringWidth(t, BOLD, size) for t in texts), default=0) + 7
        head = max((pdfmetrics.stringWidth(w, BOLD, size) for w in table.head[column].split(" ")), default=0) + 7
        body = max((pdfmetrics.stringWidth(t, BOLD, size) for t in texts[1:]), default=0) + 7
        figure = 30 * mm + 6 if any(isinstance(c, Figure) for c in cells) else 0
        wanted.append(max(head, body, figure) if table.numeric[column] or figure else longest)
    spare = width - sum(wanted)
    flexible = max(column for column, numeric in enumerate(table.numeric) if not numeric)
    if spare > 0:  # a little air for every column, the rest for the last that holds words or bars
        air = min(spare / len(wanted), 10)
        wanted = [w + air for w in wanted]
    wanted[flexible] += width - sum(wanted)
    return wanted


def _height_of(flowable: Flowable, width: float, height: float) -> float:
    return flowable.wrap(width, height)[1]


def _picture_width(width: float, columns: int) -> float:
    return (width - (columns - 1) * _GAP) / columns


def _cell_height(picture: SlicePicture, width: float, columns: int) -> float:
    rows, across = picture.grey.shape
    return _picture_width(width, columns) * rows / across + _CAPTION_HEIGHT


class _Drawing(Flowable):
    """A figure at a width, and perhaps another height than its own, in points."""

    def __init__(self, figure: Figure, width: float, height: float | None = None):
        super().__init__()
        self.figure, self.width, self.height = figure, width, height or figure.height * width / figure.width

    def wrap(self, *available):
        return self.width, self.height

    def draw(self):
        draw_figure(self.canv, self.figure, 0, 0, self.width, self.height)


class _SliceCell(Flowable):
    """A slice with its outlines and what is said of it."""

    def __init__(self, picture: SlicePicture, caption: SliceCaption, width: float):
        super().__init__()
        self.picture, self.caption, self.width = picture, caption, width
        rows, columns = picture.grey.shape
        self.picture_width = width
        self.picture_height = self.picture_width * rows / columns
        self.height = self.picture_height + _CAPTION_HEIGHT

    def wrap(self, *available):
        return self.width, self.height

    def draw(self):
        canvas, bottom = self.canv, _CAPTION_HEIGHT
        buffer = io.BytesIO()
        Image.fromarray(self.picture.grey).save(buffer, "PNG")
        canvas.drawImage(ImageReader(buffer), 0, bottom, self.picture_width, self.picture_height)
        rows, columns = self.picture.shape
        scale = self.picture_width / columns, self.picture_height / rows
        canvas.saveState()
        clip = canvas.beginPath()
        clip.rect(0, bottom, self.picture_width, self.picture_height)
        canvas.clipPath(clip, stroke=0)
        for shape in self.picture.outlines:
            draw_shape(canvas, shape, 0, bottom + self.picture_height, scale, 1.0)
        canvas.restoreState()
        canvas.setFillColor(HexColor(INK))
        canvas.setFont(BOLD, 7.4)
        mark = f"{self.caption.title} !" if self.caption.flagged else self.caption.title
        canvas.drawString(0, bottom - 8.5, mark)
        canvas.setFont(BOLD if self.caption.flagged else FONT, 6.8)
        canvas.drawString(canvas.stringWidth(mark, BOLD, 7.4) + 4, bottom - 8.5, self.caption.detail)


class _ReaderBox(Flowable):
    """Room for the reader's conclusion, name, signature and date."""

    def __init__(self, width: float, height: float):
        super().__init__()
        self.width, self.height = width, height

    def wrap(self, *available):
        return self.width, self.height

    def draw(self):
        canvas, top = self.canv, self.height - 3 * mm
        canvas.setStrokeColor(HexColor(SOFT))
        canvas.setLineWidth(0.7)
        canvas.rect(0, 0, self.width, top)
        canvas.setFillColor(HexColor(ACCENT))
        canvas.setFont(BOLD, 8.5)
        canvas.drawString(6, top - 11, "Reader's conclusion")
        canvas.setFillColor(HexColor(SOFT))
        canvas.setFont(FONT, 6.8)
        canvas.drawRightString(
            self.width - 6, top - 10.5, "Written by hand, as is who was examined: this report names no patient."
        )
        line = 9 * mm
        canvas.line(0, line, self.width, line)
        for share, word in ((0.0, "Name"), (0.36, "Signature"), (0.78, "Date")):
            if share:
                canvas.line(share * self.width, 0, share * self.width, line)
            canvas.drawString(share * self.width + 6, line - 9, word)


class _Filler(Flowable):
    """Pushes what follows to the bottom of the page."""

    def __init__(self, follower: Flowable):
        super().__init__()
        self.follower = follower

    def wrap(self, width, height):
        return 0, max(height - self.follower.height - 1, 0)

    def draw(self):
        pass


class _ReportCanvas(Canvas):
    """Says on every page what the report is, that it is for research, and how many pages there are."""

    def __init__(self, *arguments, content: Content, **options):
        super().__init__(*arguments, **options)
        self._content, self._pages = content, []

    def showPage(self):
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self):
        for number, page in enumerate(self._pages, start=1):
            self.__dict__.update(page)
            self._furnish(number, len(self._pages))
            super().showPage()
        super().save()

    def _furnish(self, number: int, count: int) -> None:
        width, height = self._pagesize
        self.setFillColor(HexColor(SOFT))
        self.setStrokeColor(HexColor(LINE))
        self.setLineWidth(0.6)
        self.line(_MARGIN, 13 * mm, width - _MARGIN, 13 * mm)
        self.setFont(FONT, 6.6)
        self.drawString(_MARGIN, 9.6 * mm, self._content.research_use)
        self.drawString(
            _MARGIN,
            6.4 * mm,
            f"SlicerScarNet {scarnet.__version__}, report of {self._content.date}, input {self._content.identity}",
        )
        self.drawRightString(width - _MARGIN, 6.4 * mm, f"Page {number} of {count}")
        if number > 1:
            self.drawString(_MARGIN, height - 10 * mm, self._content.title)
            self.line(_MARGIN, height - 11.5 * mm, width - _MARGIN, height - 11.5 * mm)


# --- figures ----------------------------------------------------------------------------------------------------------


def draw_figure(canvas: "Canvas", figure: Figure, x: float, y: float, width: float, height: float) -> None:
    """Draw with the lower left corner at (x, y), in points; letters and lines keep their proportions."""
    across, scale = width / figure.width, height / figure.height
    top = y + height
    for item in figure.items:
        if isinstance(item, Shape):
            draw_shape(canvas, item, x, top, (across, scale), scale)
            continue
        font = BOLD if item.bold else FONT
        canvas.saveState()
        canvas.translate(x + item.x * across, top - item.y * scale)
        canvas.rotate(-item.turn_deg)
        canvas.setFillColor(HexColor(item.fill))
        canvas.setFont(font, item.size * scale)
        write = {"start": canvas.drawString, "middle": canvas.drawCentredString, "end": canvas.drawRightString}
        write[item.anchor](0, 0, item.text)
        canvas.restoreState()


def draw_shape(canvas: "Canvas", shape: Shape, x: float, top: float, scale: tuple[float, float], line: float) -> None:
    """`scale`: points per unit across and down; `line`: points per unit of stroke width and dash."""
    canvas.saveState()
    if shape.fill:
        canvas.setFillColor(HexColor(shape.fill), alpha=shape.fill_opacity)
    if shape.stroke:
        canvas.setStrokeColor(HexColor(shape.stroke))
        canvas.setLineWidth(shape.stroke_width * line)
        canvas.setLineJoin(1)
        if shape.dash:
            canvas.setDash([d * line for d in shape.dash])
    path = _path(canvas, shape.commands, lambda u, v: (x + u * scale[0], top - v * scale[1]))
    canvas.drawPath(path, stroke=1 if shape.stroke else 0, fill=1 if shape.fill else 0)
    canvas.restoreState()


def _path(canvas: "Canvas", commands: tuple[Command, ...], place):
    path = canvas.beginPath()
    here = (0.0, 0.0)
    for name, *values in commands:
        points = list(zip(values[::2], values[1::2], strict=True))
        if name == "M":
            path.moveTo(*place(*points[0]))
        elif name == "L":
            path.lineTo(*place(*points[0]))
        elif name == "C":
            path.curveTo(*(v for point in points for v in place(*point)))
        elif name == "Q":  # PDF knows cubic curves alone
            (cx, cy), (ex, ey) = points
            first = (here[0] + 2 / 3 * (cx - here[0]), here[1] + 2 / 3 * (cy - here[1]))
            second = (ex + 2 / 3 * (cx - ex), ey + 2 / 3 * (cy - ey))
            path.curveTo(*place(*first), *place(*second), *place(ex, ey))
        else:
            path.close()
        if points:
            here = points[-1]
    return path


def _register_fonts() -> None:
    for name, file in ((FONT, "Roboto-Regular.ttf"), (BOLD, "Roboto-Medium.ttf")):
        if name in pdfmetrics.getRegisteredFontNames():
            continue
        source = resources.files("scarnet.export").joinpath("fonts", file)
        try:
            with resources.as_file(source) as font:
                pdfmetrics.registerFont(TTFont(name, str(font)))
        except (OSError, TTFError) as error:
            raise UsageError("The installation lacks its own fonts; install slicer-scarnet again.") from error
