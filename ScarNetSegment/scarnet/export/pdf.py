"""The report on paper: A4 or letter, two pages for a usual stack, all drawn as vectors but the images themselves."""

import io
import itertools
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

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
    from reportlab import rl_config
    from reportlab.lib import pagesizes
    from reportlab.lib.colors import HexColor
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import mm
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFError, TTFont
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.pdfgen.pathobject import PDFPathObject
    from reportlab.platypus import (
        BaseDocTemplate,
        Flowable,
        Frame,
        KeepTogether,
        PageBreak,
        PageTemplate,
        Spacer,
        TableStyle,
    )
    from reportlab.platypus import Paragraph as _Paragraph
    from reportlab.platypus import Table as Grid
except ImportError:
    raise UsageError("The PDF report needs reportlab: pip install reportlab.") from None

PAPERS = {"a4": pagesizes.A4, "letter": pagesizes.LETTER}
FONT, BOLD = "ScarNetSans", "ScarNetSans-Medium"
ACCENT, LINE, AMBER, RED = "#0b5c7a", "#cfd7de", "#d39a16", "#b3402e"
_MARGIN, _TOP, _BOTTOM = 14 * mm, 12.5 * mm, 14.5 * mm
#: Pictures side by side: as few, and so as large, as fit on the first page; never more, so that outlines can be judged.
_COLUMNS = (3, 4, 5)
_LARGE_COLUMNS = 4  # where they need pages of their own
_CAPTION_HEIGHT = 4.6 * mm
_GAP = 2.5 * mm  # between pictures
_READER_HEIGHT = 34 * mm


@dataclass(frozen=True)
class _Setting:
    """How close things are set."""

    padding: float  # points above and below the text of a table's row
    plot_share: float  # of the width, for each bull's eye
    small: float  # points, size of what is said below tables


#: Tried in turn until the second page holds all that the first does not.
_SETTINGS = (_Setting(0.9, 0.33, 6.5), _Setting(0.45, 0.32, 6.5), _Setting(0.1, 0.27, 6.1))
_DOUBTS_HEIGHT = 75 * mm  # of warnings and review list, as long as they stand side by side
_BAR_HEIGHT = 6.5  # points, of the bars in tables
_LEADING = 1.22  # of tables: distance of lines over size of letters


def write_pdf(
    path: Path,
    series: LgeSeries,
    labels: np.ndarray,
    report: ScarReport,
    *,
    paper: str = "a4",
    pictures: list[SlicePicture] | None = None,
) -> None:
    """Write the report as PDF. `labels` uint8 `[slice, row, column]` on the grid of `series`; `paper`: "a4" or "letter".

    Names no file or folder, and no patient unless the report does. `pictures`: of `slice_pictures`, if made already. Raises UsageError
    for another paper.
    """
    if paper not in PAPERS:
        raise UsageError(f"Paper must be one of {', '.join(PAPERS)}; got '{paper}'.")
    _register_fonts()
    pictures = pictures or slice_pictures(series, labels, report)
    with replacing(path) as part:
        _build(part, content_of(report), report, pictures, PAPERS[paper])


def _build(path: Path, content: Content, report: ScarReport, pictures: list[SlicePicture], size) -> None:
    width, height = size[0] - 2 * _MARGIN, size[1] - _TOP - _BOTTOM
    document = BaseDocTemplate(
        str(path),
        pagesize=size,
        title=content.title,
        author=f"SlicerScarNet {scarnet.__version__}",
        subject=content.research_use,
        lang="en",
    )
    frame = Frame(_MARGIN, _BOTTOM, width, height, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)
    document.addPageTemplates(PageTemplate("report", [frame]))
    story = _story(content, report, pictures, width, height)
    with _binary_streams():
        document.build(story, canvasmaker=partial(_ReportCanvas, content=content))


@contextmanager
def _binary_streams():
    """Images and fonts as they are, not spelt in letters: a quarter smaller and much faster to write."""
    before, rl_config.useA85 = rl_config.useA85, 0
    try:
        yield
    finally:
        rl_config.useA85 = before


def _story(content: Content, report: ScarReport, pictures, width: float, height: float) -> list[Flowable]:
    """First page: what is read first, the slices, the plots and tables that still fit, and room for the reader."""

    def tall(flowables: list[Flowable]) -> float:
        return sum(f.wrap(width, height)[1] for f in flowables)

    first = [*_head(content, width), *_findings(content, width)]
    reader = _ReaderBox(width, _READER_HEIGHT, content.reader_note)
    room = height - _READER_HEIGHT - 1 * mm - tall(first)
    pages = {
        c: _slice_pages(content, report, pictures, width, c) for c in _COLUMNS if c > 3 or len(content.captions) <= 6
    }
    heights = {c: tall(slices) for c, slices in pages.items()}
    left = {c: room - taken for c, taken in heights.items() if taken <= room}

    @lru_cache
    def sections_of(setting: _Setting) -> list[_Section]:
        return [
            _Section(flowables, tall(flowables), may_move)
            for may_move, flowables in _sections(content, report, width, setting)
        ]

    for columns, setting in itertools.product(left, _SETTINGS):
        beside, after = _share_out(sections_of(setting), left[columns])
        if sum(section.height for section in after) <= height:
            break  # two pages are enough
    else:  # they cannot be: large pictures, set wide
        columns = next(iter(left), None)
        beside, after = _share_out(sections_of(_SETTINGS[0]), left.get(columns, room))
    begin = [*first, *(pages[columns] if columns else []), *itertools.chain(*(s.flowables for s in beside))]
    rest = [KeepTogether(section.flowables) for section in after]
    own = [] if columns else _slice_pages(content, report, pictures, width, _LARGE_COLUMNS)
    return [*begin, _Filler(reader), reader, PageBreak(), *own, *rest]


@dataclass(frozen=True)
class _Section:
    flowables: list[Flowable]
    height: float
    may_move: bool  # to what is left of the first page


def _share_out(sections: list[_Section], room: float) -> tuple[list[_Section], list[_Section]]:
    """What fits into `room`, of what may leave its place, and what comes after."""
    beside, after = [], []
    for section in sections:
        if section.may_move and section.height <= room:
            beside.append(section)
            room -= section.height
        else:
            after.append(section)
    return beside, after


def _sections(
    content: Content, report: ScarReport, width: float, setting: _Setting
) -> list[tuple[bool, list[Flowable]]]:
    """Each with whether it may fill what is left of the first page."""
    sections = []
    if content.corrected:
        sections.append((True, _section(f"{content.drawn_by} and corrected values", content.corrected, width, setting)))
    if content.segments:
        sections.append((True, _regions(content, report, width, setting)))
    sections.append((True, _section("Slice by slice", content.slices, width, setting)))
    if content.methods or content.zones:
        sections.append((True, _methods(content, width, setting)))
    sections.append((False, _facts("How the numbers are defined", content.facts, width, setting)))
    sections.append((False, _facts("Provenance", content.provenance, width, setting)))
    return sections


# --- parts of the page ------------------------------------------------------------------------------------------------


def _head(content: Content, width: float) -> list[Flowable]:
    title = Paragraph(escape(content.title), _style(15, 18, bold=True))
    date = Paragraph(f"Report of {content.date}<br/>Input {content.identity}", _style(7, 9, SOFT, align=2))
    head = Grid([[title, date]], [width * 0.75, width * 0.25])
    head.setStyle(
        _plain(
            ("VALIGN", (0, 0), (-1, -1), "BOTTOM"),
            ("LINEBELOW", (0, 0), (-1, -1), 1.4, _color(ACCENT)),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
        )
    )
    return [
        head,
        *(_patient(content, width) if content.patient else ()),
        Spacer(0, 2 * mm),
        _note_box([escape(content.research_use)], AMBER, "#fdf3dc", width),
        Spacer(0, 2.5 * mm),
    ]


def _patient(content: Content, width: float) -> list[Flowable]:
    cells = [
        [Paragraph(escape(name), _style(6.8, 8.5, SOFT)), Paragraph(_drawable(text), _style(9, 11.5, bold=True))]
        for name, text in content.patient
    ]
    shares = (0.32, 0.2, 0.14, 0.14, 0.2)
    band = Grid([cells], [share * width for share in shares])
    band.setStyle(_plain(("VALIGN", (0, 0), (-1, -1), "TOP"), ("TOPPADDING", (0, 0), (-1, -1), 4)))
    return [band]


def _drawable(text: str) -> str:
    return escape(_known(text))


def _known(text: str) -> str:
    """With a question mark for each character that the report's fonts do not have."""
    known = pdfmetrics.getFont(BOLD).face.charToGlyph
    return "".join(c if ord(c) in known else "?" for c in text)


def _findings(content: Content, width: float) -> list[Flowable]:
    flowables: list[Flowable] = [_key_figures(content, width)]
    if content.summary:
        flowables += [Spacer(0, 2.5 * mm), Paragraph(escape(content.summary), _style(10.5, 13.5))]
    return [*flowables, Spacer(0, 2 * mm), *_doubts(content, width)]


def _key_figures(content: Content, width: float) -> Flowable:
    cells = []
    for figure in content.key_figures:
        cell = [
            Paragraph(escape(figure.name), _style(6.8, 8.5, SOFT)),
            Paragraph(escape(figure.value), _style(15, 18.5, bold=True)),
        ]
        if figure.model:
            cell.append(Paragraph(f"{content.drawn_by} {escape(figure.model)}", _style(7.5, 9.5, bold=True)))
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
        _set(
            ("BOX", (0, 0), (-1, -1), 0.6, _color(LINE)),
            ("INNERGRID", (0, 0), (-1, -1), 0.6, _color(LINE)),
            ("LINEABOVE", (0, 0), (0, 0), 2, _color(ACCENT)),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 6),
            ("RIGHTPADDING", (0, 0), (-1, -1), 4),
            ("TOPPADDING", (0, 0), (-1, -1), 3.5),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 4.5),
        )
    )
    return band


def _doubts(content: Content, width: float) -> list[Flowable]:
    """Warnings and what to look at first, side by side; below one another where there is much to say."""
    boxes = []
    for title, lines, none, color, paper in (
        ("Warnings", content.warnings, "None was raised by image or segmentation.", RED, "#fbe9e7"),
        ("Look at first", content.review, "No slice stands out.", ACCENT, "#eaf2f7"),
    ):
        texts = [f'<font name="{BOLD}">{title}</font>', *(f"•&nbsp;{escape(line)}" for line in lines or ())]
        texts += [] if lines else [none]
        boxes.append((texts, color if lines else LINE, paper if lines else "#f6f8f9"))
    gap = 3 * mm
    half = (width - gap) / 2
    row = Grid([[_note_box(*box, half) for box in boxes]], [half + gap, half])
    row.setStyle(_plain(("VALIGN", (0, 0), (-1, -1), "TOP")))
    if row.wrap(width, _DOUBTS_HEIGHT)[1] <= _DOUBTS_HEIGHT:
        return [row]
    return [_note_box(*boxes[0], width), Spacer(0, 2 * mm), _note_box(*boxes[1], width)]


def _slice_pages(content: Content, report: ScarReport, pictures, width: float, columns: int) -> list[Flowable]:
    side = _picture_width(width, columns)
    cells = [_SliceCell(pictures[c.index], c, side) for c in content.captions]
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    rows[-1] += [""] * (columns - len(rows[-1]))
    grid = Grid(rows, [side + _GAP] * (columns - 1) + [side], hAlign="LEFT")
    grid.setStyle(_plain())
    flowables = [*_heading("Slices", _legend(report)), grid]
    if content.slices_note:
        flowables.append(Paragraph(escape(content.slices_note), _style(7, 9, SOFT)))
    return flowables


def _regions(content: Content, report: ScarReport, width: float, setting: _Setting) -> list[Flowable]:
    """Bull's eyes and the table of segments."""
    plot = setting.plot_share * width
    columns = []
    for title, show in (("Scar, % of the segment", "scar_percent"), ("Transmural extent, %", "transmurality_class")):
        columns.append(
            [
                Paragraph(title, _style(7.5, 9.5, bold=True, align=1)),
                _Drawing(bullseye_figure(report.aha17, show=show), plot - 3 * mm),
                _Drawing(legend_figure(show), plot - 3 * mm),
            ]
        )
    table = _grid(replace(content.segments, note=""), width - 2 * plot, min(setting.padding, 0.55), size=6.3)
    row = Grid([[*columns, table]], [plot, plot, width - 2 * plot])
    row.setStyle(_plain(("VALIGN", (0, 0), (-1, -1), "TOP")))
    note = Paragraph(escape(content.segments.note), _style(6.8, 8.6, SOFT))
    return [*_heading("AHA segments"), row, Spacer(0, 1 * mm), note]


def _methods(content: Content, width: float, setting: _Setting) -> list[Flowable]:
    """Threshold methods and, beside them, core and grey zone; under each what it means."""
    small = _style(setting.small, setting.small * 1.22, SOFT)
    words = "; ".join(f'<font name="{BOLD}">{escape(name)}</font> {escape(text)}' for name, text in content.definitions)
    spread, definitions = Paragraph(escape(content.spread), small), Paragraph(words + ".", small)
    gap = 6 * mm
    half = (width - gap) / 2
    methods, zones = content.methods, content.zones
    if not (methods and zones):
        title = "Intensity methods on the same myocardium" if methods else "Infarct core and grey zone"
        return [
            *_heading(title),
            _grid(methods or zones, width, setting.padding),
            Spacer(0, 0.8 * mm),
            spread,
            definitions,
        ]
    columns = [
        [*_heading(title), _grid(table, half, setting.padding), Spacer(0, 0.8 * mm), text]
        for title, table, text in (
            ("Intensity methods on the same myocardium", methods, spread),
            ("Infarct core and grey zone", zones, definitions),
        )
    ]
    row = Grid([[columns[0], Spacer(0, 0), columns[1]]], [half, gap, half])
    row.setStyle(_plain(("VALIGN", (0, 0), (-1, -1), "TOP")))
    return [row]


def _section(title: str, table: Table, width: float, setting: _Setting) -> list[Flowable]:
    parts = [*_heading(title), _grid(table, width, setting.padding)]
    if table.note:
        parts += [Spacer(0, 0.8 * mm), Paragraph(escape(table.note), _style(6.6, 8.2, SOFT))]
    return parts


def _facts(title: str, facts: tuple[tuple[str, str], ...], width: float, setting: _Setting) -> list[Flowable]:
    """Name and sentence run on, in two columns of about equal length."""
    half = (width - 5 * mm) / 2
    lines = [
        Paragraph(
            f'<font name="{BOLD}" color="{SOFT}">{escape(name)}</font>&nbsp; {escape(text)}',
            _style(setting.small, setting.small * 1.22),
        )
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


@lru_cache
def _color(text: str):
    return HexColor(text)


@lru_cache
def _style(size: float, leading: float, color: str = INK, *, bold: bool = False, align: int = 0) -> "ParagraphStyle":
    return ParagraphStyle(
        "text",
        fontName=BOLD if bold else FONT,
        fontSize=size,
        leading=leading,
        textColor=_color(color),
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


def _legend(report: ScarReport) -> Flowable:
    """What is drawn over the slices, and how slices to look at first are marked."""
    items, x = [], 0.0
    for name, sign in legend_shapes(rectangle(0, 2, 13, 7), report):
        shape = replace(
            sign,
            commands=tuple((c[0], *(v + x if n % 2 == 0 else v for n, v in enumerate(c[1:]))) for c in sign.commands),
        )
        items += [shape, Words(x + 16, 8.2, name, 7, SOFT, "start")]
        x += 16 + pdfmetrics.stringWidth(name, FONT, 7) + 9
    items.append(Words(x, 8.2, "!  look at first", 7, SOFT, "start"))
    return _Drawing(Figure(x + 60, 11, tuple(items), "Legend"), x + 60)


def _set(*commands) -> "TableStyle":
    """With our own font even in cells that hold no text: reportlab's is not embedded."""
    return TableStyle([("FONTNAME", (0, 0), (-1, -1), FONT), *commands])


def _plain(*commands) -> "TableStyle":
    zero = [(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
    return _set(*zero, *commands)


def _note_box(texts: list[str], color: str, paper: str, width: float) -> Flowable:
    """Paragraphs (with markup) on tinted ground; breaks between them where a page ends."""
    last = len(texts) - 1
    box = Grid([[Paragraph(text, _style(7.6, 10))] for text in texts], [width])
    box.setStyle(
        _set(
            ("BACKGROUND", (0, 0), (-1, -1), _color(paper)),
            ("LINEBEFORE", (0, 0), (0, -1), 2.5, _color(color), 0),  # with flat ends
            ("LEFTPADDING", (0, 0), (-1, -1), 7),
            ("TOPPADDING", (0, 0), (-1, -1), 0),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, 0), 2.5),
            ("BOTTOMPADDING", (0, last), (-1, last), 4),
        )
    )
    return box


def _grid(table: Table, width: float, padding: float, *, size: float = 6.9) -> Flowable:
    """A table as wide as `width`; the last column that holds words or bars takes what is left."""
    widths, cells, bold_rows = _widths(table, width, size), [], []
    for number, row in enumerate((table.head, *table.rows)):
        bold = number == 0 or number - 1 in table.strong or number - 1 in table.flagged
        bold_rows += [number] if bold else []
        cells.append(
            [
                _cell(cell, size, bold, right, column - 6, head=number == 0)
                for cell, right, column in zip(row, table.numeric, widths, strict=True)
            ]
        )
    grid = Grid(cells, widths, repeatRows=1)
    grid.setStyle(
        _set(
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
            ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
            ("LINEBELOW", (0, 0), (-1, 0), 0.7, _color(SOFT)),
            ("LINEBELOW", (0, 1), (-1, -1), 0.35, _color(LINE)),
            ("LEFTPADDING", (0, 0), (-1, -1), 2),
            ("RIGHTPADDING", (0, 0), (-1, -1), 3),
            ("TOPPADDING", (0, 0), (-1, -1), padding),
            ("BOTTOMPADDING", (0, 0), (-1, -1), padding + 0.6),
            ("FONTSIZE", (0, 0), (-1, -1), size),
            ("LEADING", (0, 0), (-1, -1), size * _LEADING),
            ("TEXTCOLOR", (0, 0), (-1, -1), _color(INK)),
            ("TEXTCOLOR", (0, 0), (-1, 0), _color(SOFT)),
            *(("FONTNAME", (0, number), (-1, number), BOLD) for number in bold_rows),
            *(("ALIGN", (n, 0), (n, -1), "RIGHT") for n, right in enumerate(table.numeric) if right),
        )
    )
    return grid


def _cell(cell, size: float, bold: bool, right: bool, width: float, *, head: bool) -> Flowable | str:
    """A drawing, or text: as it is where it fits on one line, which is set much faster than a paragraph."""
    if isinstance(cell, Figure):
        return _Drawing(cell, width, _BAR_HEIGHT)
    if pdfmetrics.stringWidth(cell, BOLD if bold else FONT, size) <= width:
        return cell
    style = _style(size, size * _LEADING, SOFT if head else INK, bold=bold, align=2 if right else 0)
    return Paragraph(escape(cell), style)


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
        air = spare / len(wanted) if flexible == 0 else min(spare / len(wanted), 10)
        wanted = [w + air for w in wanted]
    wanted[flexible] += width - sum(wanted)
    return wanted


def _picture_width(width: float, columns: int) -> float:
    return (width - (columns - 1) * _GAP) / columns


class _Drawing(Flowable):
    """A figure at a width, and perhaps another height than its own, in points."""

    def __init__(self, figure: Figure, width: float, height: float | None = None):
        super().__init__()
        self.figure, self.width, self.height = figure, width, height or figure.height * width / figure.width

    def wrap(self, *available):
        return self.width, self.height

    def draw(self):
        draw_figure(self.canv, self.figure, 0, 0, self.width, self.height)


class Paragraph(_Paragraph):
    """Broken into lines once for a width: the story is measured before it is set, and tables measure it again."""

    _broken_for = None

    def wrap(self, width, height):
        if self._broken_for != width:
            self._broken_for, self._size = width, super().wrap(width, height)
        return self._size


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
        canvas.drawImage(
            ImageReader(io.BytesIO(self.picture.jpeg())), 0, bottom, self.picture_width, self.picture_height
        )
        rows, columns = self.picture.shape
        scale = self.picture_width / columns, self.picture_height / rows
        canvas.saveState()
        clip = canvas.beginPath()
        clip.rect(0, bottom, self.picture_width, self.picture_height)
        canvas.clipPath(clip, stroke=0)
        for shape in self.picture.outlines:
            draw_shape(canvas, shape, 0, bottom + self.picture_height, scale, 1.0)
        canvas.restoreState()
        canvas.setFillColor(_color(INK))
        canvas.setFont(BOLD, 7.4)
        mark = f"{self.caption.title} !" if self.caption.flagged else self.caption.title
        canvas.drawString(0, bottom - 8.5, mark)
        canvas.setFont(BOLD if self.caption.flagged else FONT, 6.8)
        canvas.drawString(canvas.stringWidth(mark, BOLD, 7.4) + 4, bottom - 8.5, self.caption.detail)


class _ReaderBox(Flowable):
    """Room for the reader's conclusion, name, signature and date."""

    def __init__(self, width: float, height: float, note: str):
        super().__init__()
        self.width, self.height, self.note = width, height, note

    def wrap(self, *available):
        return self.width, self.height

    def draw(self):
        canvas, top = self.canv, self.height - 3 * mm
        canvas.setStrokeColor(_color(SOFT))
        canvas.setLineWidth(0.7)
        canvas.rect(0, 0, self.width, top)
        canvas.setFillColor(_color(ACCENT))
        canvas.setFont(BOLD, 8.5)
        canvas.drawString(6, top - 11, "Reader's conclusion")
        canvas.setFillColor(_color(SOFT))
        canvas.setFont(FONT, 6.8)
        canvas.drawRightString(self.width - 6, top - 10.5, self.note)
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
        # reportlab's own first font is not embedded.
        super().__init__(*arguments, **{**options, "initialFontName": FONT})
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
        self.setFillColor(_color(SOFT))
        self.setStrokeColor(_color(LINE))
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
            if self._content.patient:
                self.drawRightString(width - _MARGIN, height - 10 * mm, _known(self._content.patient_line)[:90])
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
        canvas.setFillColor(_color(item.fill))
        canvas.setFont(font, item.size * scale)
        write = {"start": canvas.drawString, "middle": canvas.drawCentredString, "end": canvas.drawRightString}
        write[item.anchor](0, 0, item.text)
        canvas.restoreState()


def draw_shape(canvas: "Canvas", shape: Shape, x: float, top: float, scale: tuple[float, float], line: float) -> None:
    """`scale`: points per unit across and down; `line`: points per unit of stroke width and dash."""
    canvas.saveState()
    if shape.fill:
        canvas.setFillColor(_color(shape.fill), alpha=shape.fill_opacity)
    if shape.stroke:
        canvas.setStrokeColor(_color(shape.stroke))
        canvas.setLineWidth(shape.stroke_width * line)
        canvas.setLineJoin(1)
        if shape.dash:
            canvas.setDash([d * line for d in shape.dash])
    path = _path(shape.commands, lambda u, v: (x + u * scale[0], top - v * scale[1]))
    canvas.drawPath(path, stroke=1 if shape.stroke else 0, fill=1 if shape.fill else 0)
    canvas.restoreState()


class _Path(PDFPathObject):
    """To a hundredth of a point: reportlab's own way of writing a number takes longer than all else of a drawing."""

    def moveTo(self, x, y):
        self._code_append(f"{x:.2f} {y:.2f} m")

    def lineTo(self, x, y):
        self._code_append(f"{x:.2f} {y:.2f} l")

    def curveTo(self, x1, y1, x2, y2, x3, y3):
        self._code_append(f"{x1:.2f} {y1:.2f} {x2:.2f} {y2:.2f} {x3:.2f} {y3:.2f} c")


def _path(commands: tuple[Command, ...], place):
    path = _Path()
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
