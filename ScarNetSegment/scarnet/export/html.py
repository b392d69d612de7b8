"""The report as one page that opens anywhere: no scripts, nothing fetched."""

from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from scarnet.export.bullseye import bullseye, legend_figure
from scarnet.export.content import content_of
from scarnet.export.figure import Shape, path_data, rectangle, to_svg
from scarnet.export.overlays import SlicePicture, legend_shapes, slice_pictures
from scarnet.files import replacing
from scarnet.quantification import ScarReport
from scarnet.series import LgeSeries

#: Stroke widths of outlines are in points; a page counts in pixels of 1/96 inch.
_PIXELS_PER_POINT = 96 / 72


def render(
    series: LgeSeries, labels: np.ndarray, report: ScarReport, pictures: list[SlicePicture] | None = None
) -> str:
    """HTML text. Names no file or folder, and no patient unless the report does. `pictures`: of `slice_pictures`, if made already."""
    from markupsafe import Markup

    pictures = pictures or slice_pictures(series, labels, report)
    content = content_of(report)
    return _template().render(
        report=content,
        legend=[
            (name, Markup(_overlay((shape,), (12, 22))))
            for name, shape in legend_shapes(rectangle(1.5, 1.5, 19, 9), report)
        ],
        slices=[(c, pictures[c.index].data_uri, Markup(_picture_overlay(pictures[c.index]))) for c in content.captions],
        plots=[
            (title, Markup(bullseye(report.aha17, show=show)), Markup(to_svg(legend_figure(show))))
            for title, show in (
                ("Scar, % of the segment", "scar_percent"),
                ("Transmural extent, %", "transmurality_class"),
            )
        ],
    )


@lru_cache
def _template():
    import jinja2  # Slicer installs it only when something is exported
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["svg"] = lambda figure: Markup(to_svg(figure))
    source = resources.files("scarnet.export").joinpath("templates/report.html.j2")
    return environment.from_string(source.read_text(encoding="utf-8"))


def write_html(
    path: Path,
    series: LgeSeries,
    labels: np.ndarray,
    report: ScarReport,
    *,
    pictures: list[SlicePicture] | None = None,
) -> None:
    """`render` to a file."""
    text = render(series, labels, report, pictures)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def _picture_overlay(picture: SlicePicture) -> str:
    return _overlay(picture.outlines, picture.shape)


def _overlay(shapes: tuple[Shape, ...], shape: tuple[int, int]) -> str:
    """SVG to lay over an image of `shape` (rows, columns): stretched as the image is, its lines are not."""
    rows, columns = shape
    paths = []
    for item in shapes:
        path = f'<path d="{path_data(item.commands)}" fill="{item.fill or "none"}" fill-opacity="{item.fill_opacity:g}"'
        path += f' stroke="{item.stroke}" stroke-width="{item.stroke_width * _PIXELS_PER_POINT:.2g}"'
        if item.dash:
            path += f' stroke-dasharray="{" ".join(f"{d * _PIXELS_PER_POINT:.2g}" for d in item.dash)}"'
        paths.append(path + ' vector-effect="non-scaling-stroke"/>')
    return f'<svg viewBox="0 0 {columns} {rows}" preserveAspectRatio="none" aria-hidden="true">{"".join(paths)}</svg>'
