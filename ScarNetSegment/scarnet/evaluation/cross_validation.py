"""Every patient judged by a model that has not seen it: train without a fold, predict the fold, for all folds.

How much scar is drawn of what is expected, the interval of percent of LV and the doubt of slices are chosen for each fold on the predictions of
the other folds, so that none of them was chosen on the patient it is reported for. (The models behind those other predictions had seen
the fold's patients, as in any cross-fitting.) The smallest infarct and the smallest MVO are fixed: see `decisions`.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from scarnet.conventions import dice, myocardium_mask, scar_mask
from scarnet.evaluation import predictions as store
from scarnet.evaluation.agreement import auroc, bootstrap_interval, concordance
from scarnet.evaluation.decisions import choose, tabulate
from scarnet.evaluation.ends import evaluate_ends, summarise_ends
from scarnet.evaluation.overlap import compare
from scarnet.evaluation.predictions import Prediction
from scarnet.export.tables import write_csv
from scarnet.files import replacing
from scarnet.network.registry import CARD_NAME, read_card
from scarnet.segmentation.cleaning import slice_doubt, slice_error
from scarnet.segmentation.doubt import POOR_SCAR_DICE, fit, slice_features, slice_scar_doubt
from scarnet.segmentation.interval import calibrate, percent_lv_interval
from scarnet.segmentation.segment import labels_of
from scarnet.training.data import list_cases
from scarnet.training.recipe import Workshop

HOW = (
    "scarnet cross-validate: each patient by a model of the same recipe trained on the other folds, from the full field of "
    "view; how much scar is drawn, interval and doubt of each fold chosen on the other folds. This model was trained on all patients: none is "
    "left to test it on. Dice over the whole volume, 1 where both are empty; scar is labels 3 and 4; a patient is "
    "pathological when the expert drew scar; percent of LV is scar over muscle; mean_95 is a bootstrap over patients; ends: cine hearts whose "
    "stacks are longer than the ventricle, in cine's contrast and lit as LGE, also of folds left out."
)
#: A scar-free patient with less scar than this, percent of LV, is no false alarm.
FALSE_ALARM_PERCENT_LV = 1.0


def predict_all_folds(
    workshop: Workshop, output: Path, *, on_step: Callable[[str], None] = lambda text: None
) -> list[Prediction]:
    """Train what is missing in the workshop, predict what is missing in `output`; can be interrupted and called again."""
    output, cases = Path(output), list_cases(workshop.data)
    folds = sorted({case.fold for case in cases})
    for fold in folds:
        model, finder = workshop.without_fold(fold, folds)
        on_step(f"The models without fold {fold} are there")
        for case in (case for case in cases if case.fold == fold):
            path = output / f"{case.name}.npz"
            if not path.is_file():
                store.save(store.predict_case(case, model, finder), path)
    return [store.load(output / f"{case.name}.npz") for case in cases]


def look_beyond_all_folds(
    workshop: Workshop, output: Path, *, on_step: Callable[[str], None] = lambda text: None
) -> list[dict]:
    """Rows of `ends.evaluate_ends` with their `fold`: cine patients by the models that left their fold out; what is in `output` is kept."""
    folds, rows = sorted({case.fold for case in list_cases(workshop.data)}), []
    for fold in folds:
        path = Path(output) / f"fold-{fold}.json"
        if not path.is_file():
            model, finder = workshop.without_fold(fold, folds)
            found = evaluate_ends(workshop.cine, model=str(model), finder=str(finder), folds=[fold])
            with replacing(path) as part:
                part.write_text(json.dumps(found), encoding="utf-8")
            on_step(f"Cine hearts of fold {fold} are segmented beyond apex and base")
        rows += [{"fold": fold} | row for row in json.loads(path.read_text(encoding="utf-8"))]
    return rows


def judge(predictions: list[Prediction]) -> tuple[list[dict], list[dict], dict]:
    """Rows per patient, rows per slice, and what a model of all patients should use (`decision`, `interval`)."""
    table = tabulate(predictions)
    folds = sorted({p.fold for p in predictions})
    decided = {fold: choose(table, [p.case for p in predictions if p.fold != fold]) for fold in folds}
    labels = {p.case: labels_of(p.probabilities.astype(np.float32), p.geometry, decided[p.fold]) for p in predictions}
    features, poor = zip(*(_doubt_samples(p, labels[p.case]) for p in predictions), strict=True)
    doubted = {}
    for fold in folds:
        others = [n for n, p in enumerate(predictions) if p.fold != fold]
        doubted[fold] = fit(np.concatenate([features[n] for n in others]), np.concatenate([poor[n] for n in others]))
    cases, slices = [], []
    for prediction in predictions:
        found, fold = labels[prediction.case], prediction.fold
        cases.append(
            {
                "case": prediction.case,
                "group": prediction.group,
                "fold": fold,
                **compare(found, prediction.truth, prediction.geometry),
                "error": prediction.error,
            }
        )
        slices += slice_rows(prediction, found, doubted[fold])
    intervals = {fold: calibrate(*_percents([row for row in cases if row["fold"] != fold])) for fold in folds}
    for row in cases:
        calibration = intervals[row["fold"]]
        low, high = percent_lv_interval(row["scar_predicted_percent_lv"], calibration)
        row["interval_low_percent_lv"], row["interval_high_percent_lv"] = low, high
        row["interval_holds"] = int(low <= row["scar_truth_percent_lv"] <= high)
    chosen = {
        "decision": choose(table, [p.case for p in predictions]),
        "interval": calibrate(*_percents(cases)),
        "doubt": fit(np.concatenate(features), np.concatenate(poor)),
        "without_fold": {
            str(fold): {"decision": decided[fold], "interval": intervals[fold], "doubt": doubted[fold]}
            for fold in folds
        },
    }
    return cases, slices, chosen


def _doubt_samples(prediction: Prediction, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features, and whether scar is poor, of the slices in which a ventricle was found."""
    features = slice_features(prediction.probabilities.astype(np.float32), labels, prediction.geometry.pixel_area_mm2)
    overlap = [dice(scar_mask(a), scar_mask(b)) for a, b in zip(labels, prediction.truth, strict=True)]
    found = labels.any(axis=(1, 2))
    return features[found], (np.array(overlap) < POOR_SCAR_DICE)[found]


def _percents(rows: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.array([row[f"scar_{which}_percent_lv"] for row in rows]) for which in ("predicted", "truth"))


def slice_rows(prediction: Prediction, labels: np.ndarray, calibration: dict) -> list[dict]:
    """One row per slice that holds a ventricle, drawn or found."""
    truth, probabilities = prediction.truth, prediction.probabilities.astype(np.float32)
    scar_doubt = slice_scar_doubt(probabilities, labels, prediction.geometry.pixel_area_mm2, calibration)
    doubt, error = slice_doubt(probabilities, labels), slice_error(labels, truth)
    return [
        {
            "case": prediction.case,
            "slice": k,
            "doubt": float(doubt[k]),
            "scar_doubt": float(scar_doubt[k]),
            "error": float(error[k]),
            "myocardium_dice": dice(myocardium_mask(labels[k]), myocardium_mask(truth[k])),
            "scar_dice": dice(scar_mask(labels[k]), scar_mask(truth[k])),
        }
        for k in range(len(labels))
        if labels[k].any() or truth[k].any()
    ]


#: Measures of a patient that are averaged, with the name they are reported under.
MEANS = ("myocardium_dice", "scar_dice", "mvo_dice", "myocardium_hausdorff_mm", "scar_difference_to_myocardium")


def summarise_patients(rows: list[dict]) -> dict:
    """Means with spread over patients, pathological and normal apart (pathological: the expert drew scar)."""
    groups = {
        "all": rows,
        "pathological": [row for row in rows if row["scar_truth_ml"] > 0],
        "normal": [row for row in rows if row["scar_truth_ml"] == 0],
    }
    return {name: _summary(group) for name, group in groups.items() if group}


def _summary(rows: list[dict]) -> dict:
    predicted, truth = _percents(rows)
    difference = predicted - truth
    summary: dict = {"patients": len(rows), "lv_found": sum(not row["error"] for row in rows)}
    for name in MEANS:
        values = np.array([row[name] for row in rows], float)
        values = values[np.isfinite(values)]
        summary[name] = {
            "mean": round(float(values.mean()), 4),
            "sd": round(float(values.std(ddof=1)), 4) if len(values) > 1 else None,
            "median": round(float(np.median(values)), 4),
            "mean_95": bootstrap_interval(values),
        }
    for region in ("myocardium", "scar", "mvo"):
        volumes = [abs(row[f"{region}_predicted_ml"] - row[f"{region}_truth_ml"]) * 1000 for row in rows]
        summary[f"{region}_volume_difference_mm3"] = round(float(np.mean(volumes)), 1)
    summary["scar_percent_lv"] = {
        "mean_absolute_difference": round(float(np.abs(difference).mean()), 2),
        "bias": round(float(difference.mean()), 2),
        "sd": round(float(difference.std(ddof=1)), 2) if len(rows) > 1 else None,
        "concordance": _number(concordance(predicted, truth)),
    }
    if "interval_holds" in rows[0]:
        widths = [row["interval_high_percent_lv"] - row["interval_low_percent_lv"] for row in rows]
        summary["interval"] = {
            "coverage": round(float(np.mean([row["interval_holds"] for row in rows])), 4),
            "mean_width_percent_lv": round(float(np.mean(widths)), 2),
        }
    if (truth > 0).any():
        summary["any_scar_found"] = round(float((predicted[truth > 0] > 0).mean()), 4)
    if (truth == 0).any():
        quiet = predicted[truth == 0]
        summary["scar_free_below_1_percent"] = round(float((quiet < FALSE_ALARM_PERCENT_LV).mean()), 4)
        summary["scar_free_left_empty"] = round(float((quiet == 0).mean()), 4)
    return summary


def summarise_slices(rows: list[dict]) -> dict:
    """Whether doubt points at slices whose scar the model got wrong."""
    doubt, scar_doubt = (np.array([r[name] for r in rows]) for name in ("doubt", "scar_doubt"))
    poor = np.array([r["scar_dice"] < POOR_SCAR_DICE for r in rows])
    return {
        "slices": len(rows),
        "poor_scar": int(poor.sum()),
        "auroc_poor_scar_by_scar_doubt": _number(auroc(scar_doubt, poor)),
        "auroc_poor_scar_by_doubt": _number(auroc(doubt, poor)),
        "mean_scar_doubt": _number(float(scar_doubt.mean())),
    }


def write_results(output: Path, cases: list[dict], slices: list[dict], ends: list[dict], chosen: dict) -> dict:
    """`cases.csv`, `slices.csv`, `ends.csv`, `summary.json` in `output`; returns the summary."""
    summary = summarise_patients(cases) | {"slices": summarise_slices(slices), "ends": summarise_ends(ends)} | chosen
    for name, rows in (("cases.csv", cases), ("slices.csv", slices), ("ends.csv", ends)):
        write_csv(Path(output) / name, [_rounded(row) for row in rows])
    with replacing(Path(output) / "summary.json") as part:
        part.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return summary


def _rounded(row: dict) -> dict:
    return {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()}


def finish_card(folder: Path, summary: dict, *, remarks: str) -> None:
    """Put what cross-validation chose and found on the card of a model of all patients."""
    card = read_card(folder)
    groups = {name: summary[name] for name in ("all", "pathological", "normal") if name in summary}
    figures = {
        "five-fold cross-validation": groups | {name: summary[name] for name in ("slices", "ends")},
        "how": HOW,
        "remarks": remarks,
    }
    card = replace(card, figures=figures, **{name: summary[name] for name in ("decision", "interval", "doubt")})
    with replacing(Path(folder) / CARD_NAME) as part:
        part.write_text(card.to_json(), encoding="utf-8")


def _number(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
