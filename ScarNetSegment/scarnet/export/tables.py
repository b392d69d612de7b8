"""The report as tables and as JSON."""

import csv
import json
from pathlib import Path

from scarnet.files import replacing
from scarnet.quantification import ScarReport

PATIENT_COLUMNS = (
    "input_sha256 myocardium_volume_ml lv_mass_g blood_pool_volume_ml scar_volume_ml scar_mass_g scar_percent_lv "
    "enhanced_slices mvo_volume_ml mvo_mass_g mvo_percent_lv slices warnings spacing_assumed model model_version "
    "model_sha256 software_version"
).split()


def patient_row(report: ScarReport) -> dict:
    """One tidy row: numbers in full precision, units in the column names."""
    model = report.provenance.get("model") or {}
    source = report.provenance["input"]
    return dict(
        zip(
            PATIENT_COLUMNS,
            (
                source["content_sha256"],
                report.lv.myocardium_volume_ml,
                report.lv.mass_g,
                report.lv.blood_pool_volume_ml,
                report.scar.volume_ml,
                report.scar.mass_g,
                report.scar.percent_lv,
                report.scar.enhanced_slices,
                report.mvo.volume_ml,
                report.mvo.mass_g,
                report.mvo.percent_lv,
                len(report.slices),
                len(report.quality.warnings),
                source["spacing_assumed"],
                model.get("name", ""),
                model.get("version", ""),
                model.get("sha256", ""),
                report.provenance["software"]["version"],
            ),
            strict=True,
        )
    )


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
