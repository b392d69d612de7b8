"""The report as one page that opens anywhere: no scripts, nothing fetched."""

from importlib import resources
from pathlib import Path

import numpy as np

import scarnet
from scarnet.export.bullseye import bullseye
from scarnet.export.overlays import slice_pictures
from scarnet.files import replacing
from scarnet.quantification import ScarReport
from scarnet.series import LgeSeries


def render(series: LgeSeries, labels: np.ndarray, report: ScarReport) -> str:
    """HTML text. Names no file, folder or patient."""
    import jinja2  # Slicer installs it only when something is exported
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = resources.files("scarnet.export").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    pictures = slice_pictures(series.image, labels, series.geometry)
    shown = [
        k
        for k in range(len(report.slices))
        if report.slices[k].myocardium_volume_ml + report.slices[k].blood_pool_volume_ml > 0
    ]
    return environment.from_string(template).render(
        report=report,
        research_use=scarnet.RESEARCH_USE,
        slices=[(report.slices[k], *pictures[k]) for k in shown],
        scar_plot=Markup(bullseye(report.aha17, show="scar_percent")),
        transmurality_plot=Markup(bullseye(report.aha17, show="transmurality_class")),
        empty_slices=[k + 1 for k in range(len(report.slices)) if k not in shown],
        model=report.provenance.get("model") or {},
        source=report.provenance["input"],
        edits=report.provenance.get("edits"),
    )


def write_html(path: Path, series: LgeSeries, labels: np.ndarray, report: ScarReport) -> None:
    text = render(series, labels, report)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
