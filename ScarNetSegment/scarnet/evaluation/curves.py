"""What studies over a number amount to: Dice and percent of LV over training size, and over noise."""

from pathlib import Path

import numpy as np

from scarnet.conventions import dice, scar_mask
from scarnet.evaluation.judge import spread
from scarnet.evaluation.results import clean
from scarnet.evaluation.study import Condition, bases_of, conditions_of, judged_items, splits_of
from scarnet.evaluation.study_config import Study
from scarnet.evaluation.tables import Table, number
from scarnet.export.tables import write_csv


def patient_rows(study: Study, output: Path, skipped: dict[str, str]) -> list[dict]:
    """One row per model, x (size or level), draw and patient: scar Dice and percent of LV.

    `kind` is the noise, "" for images as they are and in a learning curve. A model that is not trained here has size 0.
    """
    rows = []
    for plan in study.models:
        if plan.name in skipped:
            continue
        splits = splits_of(study)
        for split in splits if plan.trainer else bases_of(splits):
            for condition in conditions_of(study):
                rows += [
                    _row(plan.name, split, condition, *item)
                    for item in judged_items(study, output, plan, split, condition)
                ]
    return rows


def _row(model: str, split, condition: Condition, case: str, predicted, truth, geometry, facts: dict) -> dict:
    volumes = geometry.voxel_volumes_ml
    percent = []
    for labels in (predicted, truth):
        scar, muscle = ((labels >= first).sum(axis=(1, 2)) @ volumes for first in (3, 2))
        percent.append(100 * float(scar / muscle) if muscle else 0.0)
    return {
        "model": model,
        "kind": condition.kind,
        "level": condition.level,
        "size": split.size,
        "draw": condition.draw if condition.kind else split.draw,
        "case": case,
        "scar_dice": dice(scar_mask(predicted), scar_mask(truth)),
        "myocardium_dice": dice(predicted >= 2, truth >= 2),
        "scar_predicted_percent_lv": percent[0],
        "scar_truth_percent_lv": percent[1],
        "found": not facts["error"],
    }


def points(rows: list[dict], x: str) -> list[dict]:
    """One row per model, kind of noise and value of `x`: means over patients, each patient's mean over draws, with 95 % intervals.

    Scar Dice over patients with scar by the expert; `draw_sd`: standard deviation between draws within a patient, their mean (the
    Monte Carlo spread).
    """
    result = []
    for model, kind, value in sorted({(r["model"], r["kind"], r[x]) for r in rows}):
        inside = [r for r in rows if (r["model"], r["kind"], r[x]) == (model, kind, value)]
        ill = [r for r in inside if r["scar_truth_percent_lv"] > 0]
        overlap, between = _over_draws(ill, lambda r: r["scar_dice"])
        error, _ = _over_draws(inside, lambda r: abs(r["scar_predicted_percent_lv"] - r["scar_truth_percent_lv"]))
        muscle, _ = _over_draws(inside, lambda r: r["myocardium_dice"])
        row = {
            "model": model,
            "kind": kind,
            x: value,
            "patients": len({r["case"] for r in inside}),
            "pathological": len(overlap),
        }
        for name, values in (("scar_dice", overlap), ("myocardium_dice", muscle), ("percent_lv_absolute", error)):
            stats = spread(values)
            row |= {name: stats["mean"], f"{name}_low": stats["low"], f"{name}_high": stats["high"]}
        result.append(
            clean(row | {"scar_dice_draw_sd": between, "found": float(np.mean([r["found"] for r in inside]))})
        )
    return result


def _over_draws(rows: list[dict], value) -> tuple[list[float], float]:
    by_case: dict[str, list[float]] = {}
    for row in rows:
        by_case.setdefault(row["case"], []).append(value(row))
    spreads = [np.std(values, ddof=1) for values in by_case.values() if len(values) > 1]
    return [float(np.mean(values)) for values in by_case.values()], float(np.mean(spreads)) if spreads else float("nan")


def curve_table(rows: list[dict], x: str, title: str) -> Table:
    def cell(row: dict, name: str, digits: int) -> str:
        return f"{number(row[name], digits)} ({number(row[f'{name}_low'], digits)} to {number(row[f'{name}_high'], digits)})"

    return Table(
        title,
        [
            "Model",
            "Noise",
            x.capitalize(),
            "Scar Dice, pathological",
            "SD between draws",
            "Myocardium Dice",
            "|Δ| points of LV",
            "LV found",
        ],
        [
            [
                row["model"],
                row["kind"] or "–",
                f"{row[x]:g}",
                cell(row, "scar_dice", 3),
                number(row["scar_dice_draw_sd"], 3),
                cell(row, "myocardium_dice", 3),
                cell(row, "percent_lv_absolute", 2),
                f"{100 * row['found']:.0f} %",
            ]
            for row in rows
        ],
        ["Means over patients of each patient's mean over draws, with 95 % bootstrap intervals over patients."],
    )


def write_curves(study: Study, output: Path, skipped: dict[str, str]) -> list[Table]:
    """`patients.csv`, `curve.csv` and figures of a learning curve or a noise study; returns its tables."""
    rows = patient_rows(study, output, skipped)
    if not rows:
        return []
    learning = study.kind == "learning-curve"
    x = "size" if learning else "level"
    summary = points(rows, x)
    write_csv(Path(output) / "patients.csv", [clean(row) for row in rows])
    write_csv(Path(output) / "curve.csv", summary)
    try:
        from scarnet.evaluation.charts import curves

        figures = Path(output) / "figures"
        for kind in [""] if learning else study.noises:
            lines: dict[str, list[tuple]] = {}
            for row in summary:
                if row["kind"] in (kind, "") and row["scar_dice"] is not None and (row[x] or not learning):
                    lines.setdefault(row["model"], []).append(
                        (row[x], row["scar_dice"], _or(row["scar_dice_low"], row), _or(row["scar_dice_high"], row))
                    )
            name = "learning-curve.svg" if learning else f"noise-{kind}.svg"
            label = "training patients" if learning else f"{kind} noise, SD as a share of the image's range"
            if lines:
                curves(lines, label, "scar Dice, pathological patients", figures / name, log=learning)
    except ImportError:
        pass
    return [curve_table(summary, x, "Scar over training size" if learning else "Scar over noise")]


def _or(value: float | None, row: dict) -> float:
    return row["scar_dice"] if value is None else value
