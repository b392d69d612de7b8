"""Drawings as a few shapes and words: made once, written as SVG for pages and screens and as vectors into the PDF.

x grows to the right and y downwards, in the figure's own units, as in SVG.
"""

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

#: Dark ink and soft ink of everything drawn on white.
INK, SOFT = "#1d2733", "#55636f"

Point = tuple[float, float]
#: ("M" or "L", x, y), ("Q", control x, y, end x, y), ("C", two controls, end) or ("Z",); coordinates are absolute.
Command = tuple


@dataclass(frozen=True)
class Shape:
    """An outline, filled or stroked or both. `dash` in the figure's units; empty: a whole line."""

    commands: tuple[Command, ...]
    fill: str | None = None
    fill_opacity: float = 1.0
    stroke: str | None = None
    stroke_width: float = 1.0
    dash: tuple[float, ...] = ()


@dataclass(frozen=True)
class Words:
    """One line of text; `y` is its base line, `turn_deg` clockwise about (x, y)."""

    x: float
    y: float
    text: str
    size: float
    fill: str = INK
    anchor: str = "middle"  # or "start", "end"
    bold: bool = False
    turn_deg: float = 0.0


@dataclass(frozen=True)
class Figure:
    width: float
    height: float
    items: tuple[Shape | Words, ...]
    title: str = ""


def rectangle(x: float, y: float, width: float, height: float) -> tuple[Command, ...]:
    return ("M", x, y), ("L", x + width, y), ("L", x + width, y + height), ("L", x, y + height), ("Z",)


def circle(center: Point, radius: float) -> tuple[Command, ...]:
    return ("M", center[0] + radius, center[1]), *arc(center, radius, 0, 360), ("Z",)


def arc(center: Point, radius: float, first_deg: float, last_deg: float) -> tuple[Command, ...]:
    """Bezier curves from one angle to the other, counter-clockwise on the page where `last_deg` is larger.

    Pieces of at most 45 degrees: off the circle by less than 1e-5 of its radius.
    """
    pieces = max(math.ceil(abs(last_deg - first_deg) / 45), 1)
    step = math.radians(last_deg - first_deg) / pieces
    reach = 4 / 3 * math.tan(step / 4) * radius
    commands = []
    for piece in range(pieces):
        a = math.radians(first_deg) + piece * step
        b = a + step
        (ax, ay), (bx, by) = on_circle(center, radius, math.degrees(a)), on_circle(center, radius, math.degrees(b))
        commands.append(
            (
                "C",
                ax - reach * math.sin(a),
                ay - reach * math.cos(a),
                bx + reach * math.sin(b),
                by + reach * math.cos(b),
                bx,
                by,
            )
        )
    return tuple(commands)


def on_circle(center: Point, radius: float, degrees: float) -> Point:
    """Counter-clockwise from the right, as seen on the page."""
    angle = math.radians(degrees)
    return center[0] + radius * math.cos(angle), center[1] - radius * math.sin(angle)


def to_svg(figure: Figure) -> str:
    """SVG 1.1 without styles, scripts or references: also Qt's own reader shows it."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {figure.width:g} {figure.height:g}" role="img" '
        f'aria-label={quoteattr(figure.title)} font-family="Helvetica Neue, Helvetica, Arial, sans-serif">'
    ]
    for item in figure.items:
        parts.append(_shape_svg(item) if isinstance(item, Shape) else _words_svg(item))
    return "".join(parts) + "</svg>"


def path_data(commands: tuple[Command, ...]) -> str:
    """The `d` of an SVG path."""
    return "".join(name + " ".join(f"{v:.2f}".rstrip("0").rstrip(".") for v in values) for name, *values in commands)


def _shape_svg(shape: Shape) -> str:
    text = f'<path d="{path_data(shape.commands)}" fill="{shape.fill or "none"}"'
    if shape.fill and shape.fill_opacity < 1:
        text += f' fill-opacity="{shape.fill_opacity:g}"'
    if shape.stroke:
        text += f' stroke="{shape.stroke}" stroke-width="{shape.stroke_width:g}" stroke-linejoin="round"'
    if shape.dash:
        text += f' stroke-dasharray="{",".join(f"{d:g}" for d in shape.dash)}"'
    return text + "/>"


def _words_svg(words: Words) -> str:
    text = f'<text x="{words.x:.1f}" y="{words.y:.1f}" font-size="{words.size:g}" fill="{words.fill}"'
    text += f' text-anchor="{words.anchor}"'
    if words.bold:
        text += ' font-weight="bold"'
    if words.turn_deg:
        text += f' transform="rotate({words.turn_deg:g} {words.x:g} {words.y:g})"'
    return text + f">{escape(words.text)}</text>"
