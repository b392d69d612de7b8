"""The report as tables and as JSON.

Every CSV is UTF-8 with a point as decimal sign, its columns always the same and in the same order; what is not known is
empty. `COLUMNS` says what each holds; Resources/columns.md, written from it by Testing/update_columns.py, is for readers.
"""

import csv
import json
from collections.abc import Collection
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from scarnet.files import replacing
from scarnet.quantification import ScarReport
from scarnet.quantification.thresholds import METHODS

ZONES = ("roes", "schmidt", "yan")
_VOLUMES = {
    "myocardium_volume_ml": "Volume of LV myocardium: healthy muscle, scar and MVO together (mL).",
    "scar_volume_ml": "Volume of scar, MVO included (mL).",
    "mvo_volume_ml": "Volume of microvascular obstruction (mL).",
    "blood_pool_volume_ml": "Volume of the LV blood pool in these slices (mL).",
}
#: File to column to what it holds.
COLUMNS: dict[str, dict[str, str]] = {
    "report.csv": {
        "input_sha256": "SHA-256 of the image's pixels and geometry: the same for the same images in any format.",
        "myocardium_volume_ml": _VOLUMES["myocardium_volume_ml"],
        "lv_mass_g": "Mass of LV myocardium (g).",
        "blood_pool_volume_ml": _VOLUMES["blood_pool_volume_ml"],
        "scar_volume_ml": _VOLUMES["scar_volume_ml"],
        "scar_mass_g": "Mass of scar, MVO included (g).",
        "scar_percent_lv": "Scar, percent of the myocardial volume.",
        "scar_percent_lv_low": "Lower end of the model's interval for scar_percent_lv; empty without one.",
        "scar_percent_lv_high": "Upper end of the model's interval for scar_percent_lv; empty without one.",
        "enhanced_slices": "Number of slices that hold scar.",
        "transmurality_mean_percent": "Share of the wall that is scar, mean over enhanced rays (percent).",
        "transmurality_max_percent": "The same in the most transmural AHA segment (percent).",
        "mvo_volume_ml": _VOLUMES["mvo_volume_ml"],
        "mvo_mass_g": "Mass of microvascular obstruction (g).",
        "mvo_percent_lv": "Microvascular obstruction, percent of the myocardial volume; part of the scar.",
        **{f"scar_percent_lv_{name}": f"Scar by the threshold method {name}, percent of LV." for name in METHODS},
        **{
            f"{zone}_percent_lv_{name}": f"{title} as {name.capitalize()} defines it, percent of LV."
            for name in ZONES
            for zone, title in (("core", "Infarct core"), ("grey", "Grey zone"))
        },
        "edited": "True where a hand corrected what the model drew; False where not; empty without a model.",
        "model_myocardium_volume_ml": "LV myocardium as the model drew it, before any correction (mL).",
        "model_scar_volume_ml": "Scar as the model drew it (mL).",
        "model_scar_percent_lv": "Scar as the model drew it, percent of the myocardium it drew.",
        "model_mvo_volume_ml": "Microvascular obstruction as the model drew it (mL).",
        "slices": "Number of slices in the stack.",
        "doubt_max": "Largest doubt of a slice, 0 to 1; empty without a model.",
        "warnings": "Number of warnings in the report.",
        "spacing_assumed": "True where the file states no spacing and a typical one was assumed: volumes rest on it.",
        "model": "Name of the model.",
        "model_version": "Version of the model.",
        "model_sha256": "SHA-256 of the model's weights.",
        "software_version": "Version of SlicerScarNet.",
    },
    "slices.csv": {
        "slice": "Number of the slice as the report shows it, from 1.",
        "index": "Number of the slice in the array, from 0.",
        "position_mm": "Position along the slice normal, from the first slice (mm).",
        "weight_mm": "Length of ventricle that the slice stands for (mm).",
        **_VOLUMES,
        "scar_percent": "Scar, percent of the slice's own myocardium; empty where there is none.",
        "doubt": "Share of the slice's muscle that the model expects to be labelled wrongly, 0 to 1.",
        "enhanced": "True where the slice holds scar.",
        "transmurality_mean_percent": "Share of the wall that is scar, mean over the slice's enhanced rays (percent).",
        "transmurality_max_percent": "The same at its most transmural place (percent).",
        "scar_doubt": "Probability that the slice's scar overlaps an expert's by a Dice below one half, 0 to 1.",
    },
    "segments.csv": {
        "segment": "AHA segment, 1 to 17.",
        "name": "Name of the segment.",
        "territory": "Coronary artery that usually supplies it.",
        "myocardium_volume_ml": _VOLUMES["myocardium_volume_ml"],
        "scar_volume_ml": _VOLUMES["scar_volume_ml"],
        "scar_percent": "Scar, percent of the segment's own myocardium; empty where it was not measured.",
        "transmurality_percent": "Share of the wall that is scar, mean over the segment's enhanced rays (percent).",
        "transmurality_class": "0, 1-25, 26-50, 51-75 or 76-100 (percent of the wall).",
        "enhanced_rays_percent": "Rays of the segment that meet scar, percent.",
    },
    "methods.csv": {
        "method": "outlined (this report), a threshold method's id, or core_ or grey_ with a definition's id.",
        "volume_ml": "What the method calls scar, core or grey zone (mL).",
        "mass_g": "The same (g).",
        "percent_lv": "The same, percent of the myocardial volume.",
        "definition": "What the method is.",
    },
}
#: First in report.csv, only where the report names its patient (`--identified`).
PATIENT_COLUMNS = {
    "patient_name": "Family name, given names; only with --identified, as the other columns about the patient.",
    "patient_id": "As the images say.",
    "birth_date": "YYYY-MM-DD.",
    "study_date": "YYYY-MM-DD.",
    "accession_number": "Of the study.",
}
#: What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class ModelValues:
    """What the model's own labels gave, before a hand corrected them."""

    myocardium_volume_ml: float
    scar_volume_ml: float
    mvo_volume_ml: float
    blood_pool_volume_ml: float
    density_g_per_ml: float

    @property
    def scar_percent_lv(self) -> float | None:
        return 100 * self.scar_volume_ml / self.myocardium_volume_ml if self.myocardium_volume_ml else None


def model_values(report: ScarReport) -> ModelValues | None:
    """The model's own values; None where no model drew. What a hand left alone is the report's own value."""
    if not report.provenance.get("model"):
        return None
    edits = report.provenance.get("edits") or {}

    def before(structure: str, now: float) -> float:
        return edits[structure]["model_ml"] if structure in edits else now

    return ModelValues(
        before("LV myocardium", report.lv.myocardium_volume_ml),
        before("Scar", report.scar.volume_ml),
        before("Microvascular obstruction", report.mvo.volume_ml),
        before("LV blood pool", report.lv.blood_pool_volume_ml),
        report.lv.mass_g / report.lv.myocardium_volume_ml,
    )


def patient_row(report: ScarReport) -> dict:
    """One tidy row: numbers in full precision, units in the column names."""
    model = report.provenance.get("model") or {}
    source = report.provenance["input"]
    low, high = report.scar.percent_lv_interval or (None, None)
    drawn = model_values(report)
    doubts = [s.doubt for s in report.slices if s.doubt is not None]
    values = {
        "input_sha256": source["content_sha256"],
        "myocardium_volume_ml": report.lv.myocardium_volume_ml,
        "lv_mass_g": report.lv.mass_g,
        "blood_pool_volume_ml": report.lv.blood_pool_volume_ml,
        "scar_volume_ml": report.scar.volume_ml,
        "scar_mass_g": report.scar.mass_g,
        "scar_percent_lv": report.scar.percent_lv,
        "scar_percent_lv_low": low,
        "scar_percent_lv_high": high,
        "enhanced_slices": report.scar.enhanced_slices,
        "transmurality_mean_percent": report.scar.transmurality_mean_percent,
        "transmurality_max_percent": report.scar.transmurality_max_percent,
        "mvo_volume_ml": report.mvo.volume_ml,
        "mvo_mass_g": report.mvo.mass_g,
        "mvo_percent_lv": report.mvo.percent_lv,
        **{f"scar_percent_lv_{name}": measures.percent_lv for name, measures in report.thresholds.items()},
        **{f"core_percent_lv_{name}": zone.core_percent_lv for name, zone in report.zones.items()},
        **{f"grey_percent_lv_{name}": zone.grey_percent_lv for name, zone in report.zones.items()},
        "edited": bool(report.provenance.get("edits")) if model else None,
        "model_myocardium_volume_ml": drawn.myocardium_volume_ml if drawn else None,
        "model_scar_volume_ml": drawn.scar_volume_ml if drawn else None,
        "model_scar_percent_lv": drawn.scar_percent_lv if drawn else None,
        "model_mvo_volume_ml": drawn.mvo_volume_ml if drawn else None,
        "slices": len(report.slices),
        "doubt_max": max(doubts, default=None),
        "warnings": len(report.quality.warnings),
        "spacing_assumed": source["spacing_assumed"],
        "model": model.get("name", ""),
        "model_version": model.get("version", ""),
        "model_sha256": model.get("sha256", ""),
        "software_version": report.provenance["software"]["version"],
    }
    named = {}
    if report.patient is not None:
        named = dict(zip(PATIENT_COLUMNS, map(_no_formula, astuple(report.patient)), strict=True))
    return named | {name: values.pop(name, None) for name in COLUMNS["report.csv"]} | values


def _no_formula(text: str) -> str:
    """Text from a header, which a spreadsheet must not compute: an apostrophe before what looks like a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def slice_rows(report: ScarReport) -> list[dict]:
    """One row for each slice of the stack."""
    return [{"slice": s.index + 1, **asdict(s)} for s in report.slices]


def segment_rows(report: ScarReport) -> list[dict]:
    """One row for each of the 17 AHA segments; none where they were not measured."""
    return [asdict(s) for s in report.aha17]


def method_rows(report: ScarReport) -> list[dict]:
    """The outlined scar, every threshold method, and core and grey zone by every definition."""

    def row(method: str, volume_ml: float, mass_g: float, percent_lv: float, definition: str) -> dict:
        values = (method, volume_ml, mass_g, percent_lv, definition)
        return dict(zip(COLUMNS["methods.csv"], values, strict=True))

    scar = report.scar
    rows = [row("outlined", scar.volume_ml, scar.mass_g, scar.percent_lv, "as outlined, the report's own scar")]
    rows += [row(name, t.volume_ml, t.mass_g, t.percent_lv, t.definition) for name, t in report.thresholds.items()]
    for name, z in report.zones.items():
        rows.append(row(f"core_{name}", z.core_volume_ml, z.core_mass_g, z.core_percent_lv, z.definition))
        rows.append(row(f"grey_{name}", z.grey_volume_ml, z.grey_mass_g, z.grey_percent_lv, z.definition))
    return rows


def columns_markdown(files: dict[str, dict[str, str]] = COLUMNS) -> str:
    """`COLUMNS`, or those of more `files`, for readers."""
    lines = [
        "# Columns of the tables",
        "",
        "UTF-8, decimal points, always in this order; what is not known is empty.",
        "",
    ]
    for file, columns in files.items():
        lines += [f"## {file}", "", "| column | holds |", "|---|---|"]
        lines += [f"| `{name}` | {text} |" for name, text in columns.items()]
        lines.append("")
    return "\n".join(lines)


def write_csv(path: Path, rows: list[dict], columns: Collection[str] = ()) -> None:
    """`columns`: what the head says where there may be no row; that of the first row unless given."""
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns or rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, report: ScarReport) -> None:
    """Strict JSON: a NaN is our failure, not something to hand on."""
    text = json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
