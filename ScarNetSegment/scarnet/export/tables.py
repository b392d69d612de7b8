"""The report as tables and as JSON."""

import csv
import json
from pathlib import Path

from scarnet.files import replacing
from scarnet.quantification import ScarReport


def patient_row(report: ScarReport) -> dict:
    """One tidy row: numbers in full precision, units in the column names."""
    model = report.provenance.get("model") or {}
    source = report.provenance["input"]
    return {
        "input_sha256": source["content_sha256"],
        "myocardium_volume_ml": report.lv.myocardium_volume_ml,
        "lv_mass_g": report.lv.mass_g,
        "blood_pool_volume_ml": report.lv.blood_pool_volume_ml,
        "scar_volume_ml": report.scar.volume_ml,
        "scar_mass_g": report.scar.mass_g,
        "scar_percent_lv": report.scar.percent_lv,
        "enhanced_slices": report.scar.enhanced_slices,
        "transmurality_mean_percent": report.scar.transmurality_mean_percent,
        "transmurality_max_percent": report.scar.transmurality_max_percent,
        "mvo_volume_ml": report.mvo.volume_ml,
        "mvo_mass_g": report.mvo.mass_g,
        "mvo_percent_lv": report.mvo.percent_lv,
        **{f"scar_percent_lv_{name}": measures.percent_lv for name, measures in report.thresholds.items()},
        "slices": len(report.slices),
        "warnings": len(report.quality.warnings),
        "spacing_assumed": source["spacing_assumed"],
        "model": model.get("name", ""),
        "model_version": model.get("version", ""),
        "model_sha256": model.get("sha256", ""),
        "software_version": report.provenance["software"]["version"],
    }


def write_csv(path: Path, rows: list[dict]) -> None:
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, report: ScarReport) -> None:
    """Strict JSON: a NaN is our failure, not something to hand on."""
    text = json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
