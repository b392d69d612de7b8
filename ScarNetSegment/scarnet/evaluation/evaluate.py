"""A model on labelled patients it was not trained on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from scarnet.conventions import dice, myocardium_mask, scar_mask
from scarnet.errors import InputError
from scarnet.evaluation.agreement import auroc
from scarnet.evaluation.judge import Judged, judge_case
from scarnet.evaluation.overlap import compare
from scarnet.evaluation.stress import CHANGES
from scarnet.network import find_model, read_card
from scarnet.quantification.quantify import REVIEW_DOUBT
from scarnet.segmentation import segment
from scarnet.segmentation.cleaning import slice_error
from scarnet.segmentation.doubt import POOR_SCAR_DICE
from scarnet.training.data import list_cases, read_case


@dataclass
class Evaluation:
    """`cases`: one row per patient; `slices`: one per slice that holds a ventricle, drawn or found; `judged`: every measure there is."""

    cases: list[dict] = field(default_factory=list)
    slices: list[dict] = field(default_factory=list)
    judged: Judged = field(default_factory=Judged)


def evaluate_model(
    data: Path,
    *,
    model: str = "default",
    folds: list[int] | None = None,
    finder: str = "default",
    device: str = "auto",
    test_time_flips: bool | None = None,
    on_case: Callable[[dict], None] | None = None,
) -> Evaluation:
    """Every patient of `folds` from the full field of view: LV finding, cropping and cleaning included.

    Refuses patients that the model's card lists as trained on.
    """
    trained_on = _trained_on(read_card(find_model(model)).training)
    result = Evaluation()
    for case in list_cases(data):
        if folds is not None and case.fold not in folds:
            continue
        if case.name in trained_on:
            raise InputError(f"{case.name} was trained on; name the folds that were left out with --folds.")
        series, truth = read_case(case)
        try:
            found = segment(series, model=model, finder=finder, device=device, test_time_flips=test_time_flips)
            labels, doubt, error = found.labels, found.slice_doubt, ""
            scar_doubt, interval = found.slice_scar_doubt, found.percent_lv_interval
        except InputError as problem:  # a ventricle that is not found counts as nothing segmented
            labels, doubt, error = np.zeros_like(truth), np.zeros(len(truth)), str(problem)
            scar_doubt, interval = None, None
        row = {
            "case": case.name,
            "group": case.group,
            "fold": case.fold,
            **compare(labels, truth, series.geometry),
            "interval_low_percent_lv": None if interval is None else interval[0],
            "interval_high_percent_lv": None if interval is None else interval[1],
            "error": error,
        }
        result.cases.append(row)
        result.slices += _slice_rows(case.name, labels, truth, doubt, scar_doubt)
        measured, slices = judge_case(
            case.name, labels, truth, series.geometry, group=case.group, fold=case.fold, error=error
        )
        result.judged.cases.append(measured)
        result.judged.slices += slices
        if on_case is not None:
            on_case(row)
    if not result.cases:
        raise InputError("No patient is left to evaluate.")
    return result


def evaluate_stressed(
    data: Path,
    *,
    model: str = "default",
    folds: list[int] | None = None,
    finder: str = "default",
    device: str = "auto",
    test_time_flips: bool | None = None,
    on_change: Callable[[dict], None] | None = None,
) -> list[dict]:
    """The patients of `folds` under each change of `stress`: one row of a few measures per change."""
    trained_on, table = _trained_on(read_card(find_model(model)).training), []
    cases = [case for case in list_cases(data) if folds is None or case.fold in folds]
    for case in cases:
        if case.name in trained_on:
            raise InputError(f"{case.name} was trained on; name the folds that were left out with --folds.")
    for name, change in CHANGES.items():
        rows = []
        for case in cases:
            series, truth = change(read_case(case))
            try:
                found = segment(series, model=model, finder=finder, device=device, test_time_flips=test_time_flips)
                labels, error = found.labels, ""
            except InputError as problem:
                labels, error = np.zeros_like(truth), str(problem)
            rows.append(compare(labels, truth, series.geometry) | {"error": error})
        ill = [row["scar_dice"] for row in rows if row["scar_truth_ml"] > 0]
        difference = [row["scar_predicted_percent_lv"] - row["scar_truth_percent_lv"] for row in rows]
        table.append(
            {
                "change": name,
                "patients": len(rows),
                "lv_found": sum(not row["error"] for row in rows),
                "myocardium_dice": round(float(np.mean([row["myocardium_dice"] for row in rows])), 4),
                "scar_dice": round(float(np.mean([row["scar_dice"] for row in rows])), 4),
                "scar_dice_pathological": round(float(np.mean(ill)), 4) if ill else None,
                "scar_percent_lv_mean_absolute": round(float(np.abs(difference).mean()), 2),
            }
        )
        if on_change is not None:
            on_change(table[-1])
    return table


def _trained_on(training: dict) -> set[str]:
    """Patients of a run and of every run that it went on from."""
    before = training.get("started_from") or {}
    earlier = _trained_on(before["training"]) if before.get("training") else set()
    return set(training.get("cases", ())) | earlier


def _slice_rows(case: str, labels, truth, doubt, scar_doubt) -> list[dict]:
    error = slice_error(labels, truth)
    return [
        {
            "case": case,
            "slice": k,
            "doubt": float(doubt[k]),
            "scar_doubt": None if scar_doubt is None else float(scar_doubt[k]),
            "error": float(error[k]),
            "myocardium_dice": dice(myocardium_mask(labels[k]), myocardium_mask(truth[k])),
            "scar_dice": dice(scar_mask(labels[k]), scar_mask(truth[k])),
        }
        for k in range(len(labels))
        if labels[k].any() or truth[k].any()
    ]


def summarise_doubt(slices: list[dict]) -> dict:
    """Whether doubt points at what is wrong: error of the slices above and below the limit, and their rank correlation."""
    doubt, error = (np.array([s[name] for s in slices]) for name in ("doubt", "error"))
    above = doubt > REVIEW_DOUBT
    poor = np.array([s["scar_dice"] < POOR_SCAR_DICE for s in slices])
    judged = [s["scar_doubt"] for s in slices]
    known = all(value is not None for value in judged)
    ranking = auroc(np.array(judged, float), poor) if known else np.nan
    correlation = stats.spearmanr(doubt, error).statistic if len(slices) > 2 else np.nan
    return {
        "slices": len(slices),
        "above_limit": int(above.sum()),
        "mean_error_above": round(float(error[above].mean()), 3) if above.any() else None,
        "mean_error_below": round(float(error[~above].mean()), 3) if (~above).any() else None,
        "mean_doubt": round(float(doubt.mean()), 3),
        "rank_correlation": round(float(correlation), 3) if np.isfinite(correlation) else None,
        "poor_scar": int(poor.sum()),
        "auroc_poor_scar": round(float(ranking), 3) if np.isfinite(ranking) else None,
    }


def summarise(rows: list[dict]) -> dict:
    """Means over patients, pathological and normal apart. A patient is pathological when the expert drew scar."""
    groups = {
        "all": rows,
        "pathological": [r for r in rows if r["scar_truth_ml"] > 0],
        "normal": [r for r in rows if r["scar_truth_ml"] == 0],
    }
    summary: dict = {}
    for name, group in groups.items():
        if not group:
            continue
        difference = np.array([r["scar_predicted_percent_lv"] - r["scar_truth_percent_lv"] for r in group])
        summary[name] = {
            "patients": len(group),
            **{
                f"{region}_dice": round(float(np.mean([r[f"{region}_dice"] for r in group])), 4)
                for region in ("myocardium", "scar", "mvo")
            },
            "scar_percent_lv_bias": round(float(difference.mean()), 2),
            "scar_percent_lv_sd": round(float(difference.std(ddof=1)), 2) if len(group) > 1 else None,
            "scar_percent_lv_mean_absolute": round(float(np.abs(difference).mean()), 2),
            "any_scar_found": round(float(np.mean([r["scar_predicted_ml"] > 0 for r in group])), 4),
            "scar_below_1_percent": round(float(np.mean([r["scar_predicted_percent_lv"] < 1 for r in group])), 4),
            "lv_found": sum(not r["error"] for r in group),
        }
        held = [
            r["interval_low_percent_lv"] <= r["scar_truth_percent_lv"] <= r["interval_high_percent_lv"]
            for r in group
            if r["interval_low_percent_lv"] is not None
        ]
        if held:
            summary[name]["interval_coverage"] = round(float(np.mean(held)), 4)
    return summary
