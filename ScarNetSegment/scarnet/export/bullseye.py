"""The 17 segments as a bull's eye: apex in the middle, anterior up, septum left, as seen from the apex.

Layout after Cerqueira et al., Circulation 2002, doi 10.1161/hc0402.102975.
"""

from functools import lru_cache

from scarnet.export.figure import INK, SOFT, Figure, Shape, Words, arc, circle, on_circle, rectangle, to_svg
from scarnet.quantification.report import SegmentMeasures

SIZE = 300
CENTER = (150.0, 150.0)
#: Outer radius of apex, apical, mid and basal rings.
RADII = (32, 66, 100, 134)
#: White to dark brown, value from 0 to 1: one hue, so that the colour-blind see it, each step darker by half or more, so that
#: it holds in greyscale (after ColorBrewer's "Oranges").
_RAMP = ((255, 255, 255), (253, 200, 145), (250, 135, 50), (196, 60, 0), (110, 30, 4))
#: Classes of transmural extent, each with its place on the ramp.
CLASSES = {"0": 0.0, "1-25": 0.25, "26-50": 0.5, "51-75": 0.75, "76-100": 1.0}
NOT_MEASURED = "#cfd4d9"
_LINE = "#5c6b7a"


def bullseye(segments: tuple[SegmentMeasures, ...], *, show: str) -> str:
    """SVG text. `show`: "scar_percent", coloured from 0 to 100 %, or "transmurality_class"."""
    return to_svg(bullseye_figure(segments, show=show))


def bullseye_figure(segments: tuple[SegmentMeasures, ...], *, show: str) -> Figure:
    """300 by 300 units. `show` as in `bullseye`; segments that were not measured are grey with a dash."""
    items: list[Shape | Words] = []
    for measures in segments:
        value, text = _shown(measures, show)
        fill = NOT_MEASURED if value is None else ramp(value)
        ink = INK if value is None else ink_on(value)
        commands, (x, y) = _outline(measures.segment)
        items.append(Shape(commands, fill=fill, stroke=_LINE))
        if show == "scar_percent":
            items.append(Words(x, y - 3.5, str(measures.segment), 8, ink))
            items.append(Words(x, y + 8, text, 12, ink, bold=bool(value)))
        else:
            items.append(Words(x, y + 3.5, text, 10 if len(text) < 6 else 9.5, ink, bold=bool(value)))
    for x, y, word in ((150, 11, "anterior"), (150, 296, "inferior"), (11, 150, "septal"), (289, 150, "lateral")):
        items.append(Words(x, y, word, 10, SOFT, turn_deg=0 if x == 150 else -90 if x < 150 else 90))
    title = "Scar percent" if show == "scar_percent" else "Transmural extent"
    return Figure(SIZE, SIZE, tuple(items), f"Bull's eye of the 17 AHA segments: {title}")


@lru_cache
def legend_figure(show: str) -> Figure:
    """What the colours mean, 300 by 26 units."""
    items: list[Shape | Words] = []
    if show == "scar_percent":
        steps, left, width = 40, 30.0, 4.0
        for step in range(steps):
            items.append(Shape(rectangle(left + step * width, 2, width + 0.2, 9), fill=ramp((step + 0.5) / steps)))
        items.append(Shape(rectangle(left, 2, steps * width, 9), stroke=_LINE, stroke_width=0.7))
        for value in (0, 25, 50, 75, 100):
            items.append(Words(left + value / 100 * steps * width, 21, f"{value}{' %' if value == 0 else ''}", 9, SOFT))
        grey = 222.0
    else:
        for index, (name, value) in enumerate(CLASSES.items()):
            x = 8 + index * 44
            items.append(Shape(rectangle(x, 2, 36, 9), fill=ramp(value), stroke=_LINE, stroke_width=0.7))
            items.append(Words(x + 18, 21, name.replace("-", "–") + (" %" if index == 0 else ""), 9, SOFT))
        grey = 230.0
    items.append(Shape(rectangle(grey + 6, 2, 36, 9), fill=NOT_MEASURED, stroke=_LINE, stroke_width=0.7))
    items.append(Words(grey + 24, 21, "not measured", 9, SOFT))
    return Figure(SIZE, 26, tuple(items), "Colours of the bull's eye")


def ramp(value: float) -> str:
    """Colour of a value from 0 to 1."""
    position = min(max(value, 0.0), 1.0) * (len(_RAMP) - 1)
    low = min(int(position), len(_RAMP) - 2)
    share = position - low
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(_RAMP[low], _RAMP[low + 1], strict=True))


def ink_on(value: float) -> str:
    """Ink that can be read on `ramp(value)`."""
    return "#ffffff" if value > 0.65 else INK


def _shown(measures: SegmentMeasures, show: str) -> tuple[float | None, str]:
    if show == "scar_percent":
        value = measures.scar_percent
        return (None, "–") if value is None else (min(value, 100) / 100, f"{value:.0f}")
    name = measures.transmurality_class
    return (None, "–") if name is None else (CLASSES[name], name.replace("-", "–"))


def _outline(segment: int) -> tuple[tuple, tuple[float, float]]:
    """Outline of a segment and the middle of it."""
    if segment == 17:
        return circle(CENTER, RADII[0]), CENTER
    if segment <= 12:
        ring, width, first = (3 if segment <= 6 else 2), 60, 60 + 60 * ((segment - 1) % 6)
    else:
        ring, width, first = 1, 90, 45 + 90 * (segment - 13)
    inner, outer, last = RADII[ring - 1], RADII[ring], first + width
    commands = (
        ("M", *on_circle(CENTER, outer, first)),
        *arc(CENTER, outer, first, last),
        ("L", *on_circle(CENTER, inner, last)),
        *arc(CENTER, inner, last, first),
        ("Z",),
    )
    return commands, on_circle(CENTER, (inner + outer) / 2, (first + last) / 2)
