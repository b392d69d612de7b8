"""What a comparison leaves on disk: tables of patients and slices, figures, pages, and how it was made."""

import json
import math
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import scarnet
from scarnet.evaluation.benchmark import describe_computer
from scarnet.evaluation.detection import DetectionRule
from scarnet.evaluation.judge import GROUPS, Judged, summarise_judged
from scarnet.evaluation.rivals import paired_against
from scarnet.evaluation.tables import Table, result_tables
from scarnet.export.tables import write_csv
from scarnet.files import replacing

#: Packages whose version may change a figure.
PACKAGES = "numpy scipy SimpleITK onnxruntime torch lightning segment-anything nnunetv2 myopari matplotlib scikit-image".split()


def write_results(
    folder: Path,
    judged: dict[str, Judged],
    *,
    reference: str | None = None,
    rule: DetectionRule = DetectionRule(),
    facts: dict[str, Any] | None = None,
) -> tuple[dict[str, dict], list[Table]]:
    """Everything there is to say of `judged` (model to its patients) into `folder`; returns summaries and tables.

    `reference`: the model that the others are tested against; the first unless given. Figures are left out without matplotlib.
    """
    folder, reference = Path(folder), reference or next(iter(judged))
    summaries = {name: summarise_judged(of, rule) for name, of in judged.items()}
    tests = paired_against(reference, judged)
    tables = result_tables(summaries, tests)
    write_csv(folder / "patients.csv", [clean({"model": m} | row) for m, of in judged.items() for row in of.cases])
    write_csv(folder / "slices.csv", [clean({"model": m} | row) for m, of in judged.items() for row in of.slices])
    write_csv(folder / "measures.csv", [row for m, summary in summaries.items() for row in measure_rows(m, summary)])
    if tests:
        write_csv(folder / "tests.csv", [clean(row) for row in tests])
    write_json(folder / "summary.json", {"models": summaries, "tests": tests, **(facts or {})})
    write_text(folder / "tables.md", "\n".join(table.markdown() for table in tables))
    write_text(folder / "tables.tex", "\n".join(table.latex() for table in tables))
    try:
        from scarnet.evaluation.charts import write_charts

        write_charts(folder / "figures", judged)
    except ImportError:
        pass  # tables and numbers do not depend on matplotlib; the command says that figures are missing
    return summaries, tables


def measure_rows(model: str, summary: dict) -> list[dict]:
    """The summary in long form: one row per group, measure and statistic, with its interval where it has one."""
    rows = []
    for group in (name for name in GROUPS if name in summary):
        parts = {
            "": summary[group]["measures"],
            "slice ": summary[group]["slices"],
            "agreement ": summary[group]["agreement"],
        }
        for kind in ("patient", "slice"):
            if "detection" in summary[group]:
                parts[f"detection by {kind} "] = {"scar": summary[group]["detection"][kind]}
        for prefix, measures in parts.items():
            for measure, found in measures.items():
                for statistic, value in found.items():
                    if (
                        statistic in ("low", "high")
                        or statistic.endswith(("_low", "_high"))
                        and not statistic.startswith("limit")
                    ):
                        continue
                    ends = ("low", "high") if statistic == "mean" else (f"{statistic}_low", f"{statistic}_high")
                    interval = {"low": found.get(ends[0], math.nan), "high": found.get(ends[1], math.nan)}
                    row = {"model": model, "group": group, "measure": prefix + measure, "statistic": statistic}
                    rows.append(clean(row | {"value": value} | interval))
    return rows


def clean(row: dict) -> dict:
    """For a table: rounded to five digits, empty where a value is not defined."""
    return {key: _cell(value) for key, value in row.items()}


def _cell(value):
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value


def provenance(command: list[str] | None = None) -> dict[str, Any]:
    """Date, command, commit, versions and class of machine; names no user, host or path of this computer."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "command": " ".join(["scarnet", *map(_without_folders, command if command is not None else sys.argv[1:])]),
        "software": scarnet.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "packages": versions,
        "computer": describe_computer(),
    }


def _without_folders(argument: str) -> str:
    """An absolute path's last part alone: where somebody keeps patients is nobody's business."""
    return Path(argument).name if os.path.isabs(argument) else argument


def commit() -> str | None:
    """Of the checkout that runs, with a plus where it was changed; None outside of one."""
    try:
        folder = Path(__file__).resolve().parent
        described = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None if described.returncode == 0 else None


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(finite(value), indent=2, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """JSON has no NaN: what is not defined is null; numbers keep six digits."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def write_text(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
