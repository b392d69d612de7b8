"""The cohort on one page: who needs a look first. No scripts, nothing fetched from elsewhere."""

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import scarnet
from scarnet.cohort.store import CORRECTED, FAILED, REFUSED, SEGMENTED, PatientState
from scarnet.cohort.work import CORRECTED_FOLDER, THUMBNAIL_NAME
from scarnet.files import replacing
from scarnet.quantification.quantify import REVIEW_DOUBT

#: First those without a result, then what no hand has looked at.
_ORDER = (FAILED, REFUSED, SEGMENTED, CORRECTED)


def by_doubt(states: Iterable[PatientState]) -> list[PatientState]:
    """Patients without a result, then the segmented from the largest doubt down (then the most to review), then the corrected."""
    return sorted(
        (state for state in states if state.complete),
        key=lambda s: (
            _ORDER.index(s.row["status"]),
            -(s.row.get("doubt_max") or 0),
            -(s.row.get("review") or 0),
            s.patient,
        ),
    )


def write_page(path: Path, states: Iterable[PatientState]) -> None:
    """`path` lies beside the folder of patients; pictures and reports are linked from there."""
    import jinja2  # Slicer installs it only when something is exported

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = resources.files("scarnet.cohort").joinpath("templates/index.html.j2").read_text(encoding="utf-8")
    cards = [_card(path.parent, state) for state in by_doubt(states)]
    counts = [(status, sum(card["status"] == status for card in cards)) for status in _ORDER]
    text = environment.from_string(template).render(
        cards=cards,
        counts=[(status, count) for status, count in counts if count],
        review_doubt=REVIEW_DOUBT,
        research_use=scarnet.RESEARCH_USE,
        version=scarnet.__version__,
        tables=[name for name in ("cohort.csv", "cohort.parquet", "changes.csv") if (path.parent / name).is_file()],
    )
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def _card(root: Path, state: PatientState) -> dict:
    row, folder = state.row, f"patients/{quote(state.patient)}"
    has_numbers = row["status"] in (SEGMENTED, CORRECTED)
    place = f"{folder}/{CORRECTED_FOLDER}" if row["status"] == CORRECTED else folder
    files = [("report", f"{place}/report.html"), ("PDF", f"{place}/report.pdf"), ("JSON", f"{place}/report.json")]
    return {
        "patient": state.patient,
        "status": row["status"],
        "reason": row["reason"],
        "picture": f"{folder}/{THUMBNAIL_NAME}"
        if has_numbers and (root / "patients" / state.patient / THUMBNAIL_NAME).is_file()
        else "",
        "links": [
            (name, link)
            for name, link in files
            if has_numbers and (root / "patients" / link.split("/", 1)[1]).is_file()
        ],
        "scar": _number(row.get("scar_percent_lv"), "%"),
        "scar_ml": _number(row.get("scar_volume_ml"), "mL"),
        "mass": _number(row.get("lv_mass_g"), "g"),
        "mvo_ml": _number(row.get("mvo_volume_ml"), "mL"),
        "model_scar": _number(row.get("model_scar_percent_lv"), "%") if row.get("edited") else "",
        "doubt": "" if row.get("doubt_max") is None else f"{row['doubt_max']:.2f}",
        "doubtful": (row.get("doubt_max") or 0) > REVIEW_DOUBT,
        "review": row.get("review") or 0,
        "warnings": row.get("warnings") or 0,
        "changed": max((change["number"] for change in state.changes), default=0),
    }


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.1f}\u00a0{unit}"
