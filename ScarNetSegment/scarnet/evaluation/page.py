"""The page of a study: what was compared, how, on which machine, what came out, and what the paper says beside it."""

from pathlib import Path
from typing import Any

from scarnet.evaluation.paper import REASONS, REPORTED
from scarnet.evaluation.results import write_text
from scarnet.evaluation.study_config import Study
from scarnet.evaluation.tables import Table, number

#: Ends every page, and tells it from a README.md of somebody's own.
ENDING = "Research use only. No patient's image is kept here; names are those of the data's own files."
PAGE_NAME = "README.md"
TITLES = {"comparison": "Models compared", "learning-curve": "Learning curve", "noise": "Noise study"}


def write_page(
    output: Path,
    study: Study,
    tables: list[Table],
    *,
    facts: dict[str, dict],
    skipped: dict[str, str],
    provenance: dict[str, Any],
    patients: int,
) -> Path:
    """`README.md` in `output`. Everything is printed as it came out, whoever it favours."""
    lines = [f"# {study.title or TITLES[study.kind]}", "", _who(study, patients), "", *_made(provenance, study), ""]
    lines += ["## Models", "", *_models(study, facts, skipped), "", "## Results", ""]
    lines += [table.markdown() for table in tables]
    figures = sorted((Path(output) / "figures").glob("*.svg"))
    lines += [f"![{path.stem}](figures/{path.name})\n" for path in figures]
    lines += ["## Beside the paper", "", REPORTED.markdown(), "Known reasons for differences:", ""]
    lines += [f"* {reason}" for reason in REASONS]
    lines += ["", ENDING]
    path = Path(output) / PAGE_NAME
    write_text(path, "\n".join(lines) + "\n")
    return path


def is_page(path: Path) -> bool:
    """Whether a file is a page that `write_page` wrote."""
    return ENDING in Path(path).read_text(encoding="utf-8", errors="replace")


def _who(study: Study, patients: int) -> str:
    judged = "all patients" if study.folds is None else f"fold {', '.join(map(str, study.folds))}"
    text = f"{patients} patients judged ({judged} of `{study.data.name}`)"
    if study.limit is not None:
        text += f", cut to {study.limit} a fold: a trial of the machinery, no result"
    if study.train_data is not None:
        return text + f"; trained on patients of another folder, `{study.train_data.name}`."
    return text + (", none of whom was trained on by a model that is trained here." if study.trains else ".")


def _made(provenance: dict[str, Any], study: Study) -> list[str]:
    computer = provenance["computer"]
    packages = ", ".join(f"{name} {version}" for name, version in provenance["packages"].items())
    return [
        f"* Made {provenance['date']} by `{provenance['command']}`, software {provenance['software']}, commit {provenance['commit'] or 'unknown'}.",
        f"* Machine: {computer['processor']}, {study.threads} processor(s) for every training and prediction alike, {computer['system']}.",
        f"* Python {provenance['python']}; {packages}.",
        f"* Seed {study.seed}. Same patients, same folds, the full field of view as input for all; every model prepares it in its own way.",
    ]


def _models(study: Study, facts: dict[str, dict], skipped: dict[str, str]) -> list[str]:
    lines = []
    for plan in study.models:
        if plan.name in skipped:
            lines.append(f"* **{plan.name}**: not run. {skipped[plan.name]}")
            continue
        known = facts.get(plan.name, {})
        parts = [
            _training(known.get("training"), plan.minutes) if plan.trainer else f"as it is (`{Path(plan.model).name}`)"
        ]
        if known.get("trained_on") is None:
            parts.append("whom it was trained on is not known")
        if known.get("myocardium"):
            drawn_by = (
                "the expert's muscle"
                if known["myocardium"] == "expert"
                else f"the muscle that {known['myocardium']} draws"
            )
            parts.append(f"scar by intensity in {drawn_by}")
        if known.get("remark"):
            parts.append(known["remark"])
        lines.append(f"* **{plan.name}**: {'; '.join(parts)}.")
    return lines


def _training(training: dict | None, minutes: float | None) -> str:
    if training is None:
        return "trained here"
    run, spent = training.get("run") or {}, training.get("spent") or {}
    text = f"trained here on {training['patients']} patients"
    if training.get("preset"):
        text += f", preset {training['preset']}"
    if training.get("changes"):
        text += f" with {', '.join(f'{key} = {value}' for key, value in training['changes'].items())}"
    if training.get("loss"):
        text += f", loss {training['loss']}"
    text += _time(minutes, run.get("clock") or training.get("clock"))
    if training.get("image_steps"):
        text += f" ({training['image_steps']} images)"
    elif spent.get("steps"):
        text += f" ({spent['steps'] * training['batch_size']} images)"
    return text + (f", {run['precision']}" if run.get("precision") else "")


def _time(minutes: float | None, clock: str | None) -> str:
    if minutes is None:
        return ", for its own number of epochs"
    return f", {number(minutes, 1)} minutes of {'processor time' if clock == 'processor' else 'wall-clock time'}"
