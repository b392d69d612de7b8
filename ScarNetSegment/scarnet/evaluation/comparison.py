"""From a study to its results: run what is missing, judge, write."""

import json
import shutil
from pathlib import Path

from scarnet.errors import InputError, UsageError
from scarnet.evaluation.curves import write_curves
from scarnet.evaluation.page import PAGE_NAME, is_page, write_page
from scarnet.evaluation.results import provenance, write_json, write_results, write_text
from scarnet.evaluation.study import OnStep, judge_models, run_study, splits_of
from scarnet.evaluation.study_config import Study
from scarnet.evaluation.tables import Table
from scarnet.export.outputs import check_writable


def complete_study(
    study: Study,
    output: Path,
    *,
    only: list[str] | None = None,
    command: list[str] | None = None,
    on_step: OnStep = lambda text: None,
) -> tuple[list[Table], dict[str, str]]:
    """Everything, up to the page; with `only`, the trainings and predictions of these models alone. Can be interrupted and called again.

    Returns the tables (none with `only`) and the models that were left out with the reason. Raises InputError where none could be run.
    """
    output = Path(output)
    skipped = run_study(study, output, only=only, on_step=on_step)
    if only is not None:
        return [], skipped
    if len(skipped) == len(study.models):
        raise InputError(f"No model could be run; {next(iter(skipped))}: {next(iter(skipped.values()))}")
    on_step("judge and write")
    made = provenance(command)
    facts = model_facts(study, output, skipped)
    judged_patients = {case.name for split in splits_of(study) for case in split.test}
    if study.kind == "comparison":
        judged = judge_models(study, output, skipped)
        reference = study.reference if study.reference in judged else None
        _, tables = write_results(
            output, judged, reference=reference, facts={"provenance": made, "facts": facts, "left_out": skipped}
        )
    else:
        tables = write_curves(study, output, skipped)
        write_json(output / "summary.json", {"provenance": made, "facts": facts, "left_out": skipped})
        write_text(output / "tables.md", "\n".join(table.markdown() for table in tables))
        write_text(output / "tables.tex", "\n".join(table.latex() for table in tables))
    write_page(output, study, tables, facts=facts, skipped=skipped, provenance=made, patients=len(judged_patients))
    return tables, skipped


def check_places(*folders: Path) -> None:
    """Raise UsageError, before any work is done, where a folder cannot be written or its README.md is somebody's own."""
    for folder in folders:
        check_writable(folder)
        path = Path(folder) / PAGE_NAME
        if path.is_file() and not is_page(path):
            raise UsageError(f"{path} is not a page of ours and would be replaced; choose another folder.")


def model_facts(study: Study, output: Path, skipped: dict[str, str]) -> dict[str, dict]:
    """Name of a model to what its predictions say of it."""
    facts = {}
    for plan in study.models:
        path = Path(output) / "predictions" / plan.name / "facts.json"
        if plan.name not in skipped and path.is_file():
            facts[plan.name] = json.loads(path.read_text(encoding="utf-8"))
    return facts


#: What of a study's folder is shown to others: pages, tables and figures; no models, no patient's labels.
PUBLISHED = (PAGE_NAME, "tables.md", "tables.tex", "*.csv", "summary.json", "figures/*.svg")


def publish(output: Path, folder: Path) -> list[Path]:
    """Copy what may be shown from a study's folder; returns the copies."""
    copies = []
    for pattern in PUBLISHED:
        for path in sorted(Path(output).glob(pattern)):
            target = Path(folder) / path.relative_to(output)
            target.parent.mkdir(parents=True, exist_ok=True)
            copies.append(Path(shutil.copyfile(path, target)))
    return copies
