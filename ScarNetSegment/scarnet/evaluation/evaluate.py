"""A model on labelled patients it was not trained on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from scarnet.errors import InputError
from scarnet.evaluation.overlap import compare
from scarnet.network import find_model, read_card
from scarnet.segmentation import segment
from scarnet.training.data import list_cases, read_case


def evaluate_model(
    data: Path,
    *,
    model: str = "default",
    folds: list[int] | None = None,
    device: str = "auto",
    test_time_flips: bool | None = None,
    on_case: Callable[[dict], None] | None = None,
) -> list[dict]:
    """One row per patient of `folds`, from the full field of view: LV finding, cropping and cleaning included.

    Refuses patients that the model's card lists as trained on.
    """
    trained_on = set(read_card(find_model(model)).training.get("cases", ()))
    rows = []
    for case in list_cases(data):
        if folds is not None and case.fold not in folds:
            continue
        if case.name in trained_on:
            raise InputError(f"{case.name} was trained on; name the folds that were left out with --folds.")
        series, truth = read_case(case)
        try:
            labels, error = segment(series, model=model, device=device, test_time_flips=test_time_flips).labels, ""
        except InputError as problem:  # a ventricle that is not found counts as nothing segmented
            labels, error = np.zeros_like(truth), str(problem)
        rows.append(
            {
                "case": case.name,
                "group": case.group,
                "fold": case.fold,
                **compare(labels, truth, series.geometry),
                "error": error,
            }
        )
        if on_case is not None:
            on_case(rows[-1])
    if not rows:
        raise InputError("No patient is left to evaluate.")
    return rows


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
            "lv_found": sum(not r["error"] for r in group),
        }
    return summary
