"""The 17 segments as a bull's eye, in SVG: apex in the middle, anterior up, septum left, as seen from the apex."""

import math

from scarnet.quantification.report import SegmentMeasures

SIZE, CENTER = 300, 150
#: Outer radius of apex, apical, mid and basal rings.
RADII = (24, 58, 92, 126)
#: Light to dark, readable in print and for the colour-blind (ColorBrewer "Oranges"): value from 0 to 1.
_RAMP = ((255, 255, 255), (253, 208, 162), (253, 141, 60), (217, 72, 1), (127, 39, 4))
_CLASSES = {"0": 0.0, "1-25": 0.25, "26-50": 0.5, "51-75": 0.75, "76-100": 1.0}
NOT_MEASURED = "#d5d8dc"


def bullseye(segments: tuple[SegmentMeasures, ...], *, show: str) -> str:
    """SVG text. `show`: "scar_percent", coloured from 0 to 100 %, or "transmurality_class"."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" role="img" '
        f'aria-label="Bull\'s eye of the 17 AHA segments" font-family="Helvetica Neue, Arial, sans-serif">'
    ]
    for measures in segments:
        value, text = _shown(measures, show)
        fill = NOT_MEASURED if value is None else _color(value)
        ink = "#ffffff" if value is not None and value > 0.7 else "#1d2733"
        path, (x, y) = _shape(measures.segment)
        parts.append(f'<path d="{path}" fill="{fill}" stroke="#5c6b7a" stroke-width="1"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{y - 3:.1f}" text-anchor="middle" font-size="7.5" fill="{ink}" opacity="0.75">'
            f"{measures.segment}</text>"
            f'<text x="{x:.1f}" y="{y + 8:.1f}" text-anchor="middle" font-size="10.5" fill="{ink}">{text}</text>'
        )
    for x, y, word in ((150, 15, "anterior"), (150, 293, "inferior"), (8, 150, "septal"), (292, 150, "lateral")):
        turn = "" if x == 150 else f' transform="rotate({-90 if x < 150 else 90} {x} {y})"'
        parts.append(f'<text x="{x}" y="{y}" text-anchor="middle" font-size="10" fill="#5c6b7a"{turn}>{word}</text>')
    return "".join(parts) + "</svg>"


def _shown(measures: SegmentMeasures, show: str) -> tuple[float | None, str]:
    if show == "scar_percent":
        value = measures.scar_percent
        return (None, "–") if value is None else (min(value, 100) / 100, f"{value:.0f}")
    name = measures.transmurality_class
    return (None, "–") if name is None else (_CLASSES[name], name)


def _color(value: float) -> str:
    position = value * (len(_RAMP) - 1)
    low = min(int(position), len(_RAMP) - 2)
    share = position - low
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(_RAMP[low], _RAMP[low + 1], strict=True))


def _shape(segment: int) -> tuple[str, tuple[float, float]]:
    """Path of a segment and the middle of it."""
    if segment == 17:
        r = RADII[0]
        return f"M{CENTER - r},{CENTER} a{r},{r} 0 1,0 {2 * r},0 a{r},{r} 0 1,0 {-2 * r},0 Z", (CENTER, CENTER)
    if segment <= 12:
        ring, width, first = (3 if segment <= 6 else 2), 60, 60 + 60 * ((segment - 1) % 6)
    else:
        ring, width, first = 1, 90, 45 + 90 * (segment - 13)
    inner, outer, last = RADII[ring - 1], RADII[ring], first + width
    a, b, c, d = _point(outer, first), _point(outer, last), _point(inner, last), _point(inner, first)
    path = (
        f"M{a[0]:.2f},{a[1]:.2f} A{outer},{outer} 0 0,0 {b[0]:.2f},{b[1]:.2f} "
        f"L{c[0]:.2f},{c[1]:.2f} A{inner},{inner} 0 0,1 {d[0]:.2f},{d[1]:.2f} Z"
    )
    return path, _point((inner + outer) / 2, (first + last) / 2)


def _point(radius: float, degrees: float) -> tuple[float, float]:
    """On the page: y grows downwards."""
    angle = math.radians(degrees)
    return CENTER + radius * math.cos(angle), CENTER - radius * math.sin(angle)
