"""Labels against an expert's: a row per patient, a row per slice, and what they amount to.

Dice is taken over the whole volume and stated both ways where neither drew anything: `*_dice` counts 1, as the EMIDEC challenge
does; `*_dice_where_any` is left out of means. Percent of LV is scar over muscle, each in its own labels.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from scarnet.conventions import dice, myocardium_mask, scar_mask
from scarnet.evaluation.agreement import (
    bootstrap_statistic,
    concordance,
    intraclass_correlation,
    limits_of_agreement,
    myosaiq_crps,
    variation_percent,
)
from scarnet.evaluation.detection import DetectionRule, detection
from scarnet.evaluation.overlap import REGIONS, compare
from scarnet.evaluation.surfaces import surface_distances
from scarnet.series import StackGeometry

#: Measures of one patient that are averaged over patients.
PATIENT_MEASURES = tuple(
    f"{region}_{measure}"
    for region in ("myocardium", "scar", "mvo", "blood_pool")
    for measure in ("dice", "dice_where_any", "hd95_mm", "surface_mm")
)
#: Measures of one slice that are averaged over slices.
SLICE_MEASURES = ("myocardium_dice", "scar_dice", "scar_dice_where_any")
#: What is measured as a number, with its unit, by column prefix and suffix.
NUMBERS = {
    "scar_percent_lv": ("scar", "percent_lv"),
    "scar_ml": ("scar", "ml"),
    "myocardium_ml": ("myocardium", "ml"),
    "mvo_ml": ("mvo", "ml"),
}
GROUPS = ("all", "pathological", "normal")


@dataclass
class Judged:
    """All patients of one model: `cases` a row each, `slices` a row for each that holds a ventricle, drawn or found."""

    cases: list[dict] = field(default_factory=list)
    slices: list[dict] = field(default_factory=list)


def judge_case(
    name: str, predicted: np.ndarray, truth: np.ndarray, geometry: StackGeometry, **facts
) -> tuple[dict, list[dict]]:
    """Row of the patient and rows of the slices. Labels uint8 `[slice, row, column]`; `facts` (group, fold, error) go into the row."""
    row = {"case": name, **facts, **compare(predicted, truth, geometry)}
    for region, mask in REGIONS.items():
        a, b = mask(predicted), mask(truth)
        row[f"{region}_dice_where_any"] = row[f"{region}_dice"] if a.any() or b.any() else float("nan")
        distances = surface_distances(a, b, geometry)
        row[f"{region}_hd95_mm"], row[f"{region}_surface_mm"] = distances.hd95_mm, distances.mean_mm
    slices = []
    for k in range(len(truth)):
        if not (predicted[k].any() or truth[k].any()):
            continue
        found, there = scar_mask(predicted[k]), scar_mask(truth[k])
        overlap = dice(found, there)
        slices.append(
            {
                "case": name,
                "slice": k,
                "myocardium_dice": dice(myocardium_mask(predicted[k]), myocardium_mask(truth[k])),
                "scar_dice": overlap,
                "scar_dice_where_any": overlap if found.any() or there.any() else float("nan"),
                "scar_predicted_mm2": float(found.sum() * geometry.pixel_area_mm2),
                "scar_truth_mm2": float(there.sum() * geometry.pixel_area_mm2),
            }
        )
    return row, slices


def judge(items: Iterable[tuple[str, np.ndarray, np.ndarray, StackGeometry, dict]]) -> Judged:
    """`items`: name, predicted labels, true labels, their grid, further facts of the patient."""
    judged = Judged()
    for name, predicted, truth, geometry, facts in items:
        row, slices = judge_case(name, predicted, truth, geometry, **facts)
        judged.cases.append(row)
        judged.slices += slices
    return judged


def in_group(row: dict, group: str) -> bool:
    """A patient is pathological when the expert drew scar."""
    return group == "all" or (row["scar_truth_ml"] > 0) == (group == "pathological")


def summarise_judged(judged: Judged, rule: DetectionRule = DetectionRule(), *, draws: int = 2000) -> dict[str, dict]:
    """Per group of patients: `patients`, `measures`, `slices`, `agreement` of each number; for all also `detection`.

    Every mean and coefficient carries a 95 % bootstrap interval over patients (`low`, `high`); slices of a patient are no independent
    samples, so that their means are drawn by patient too.
    """
    summary = {}
    for group in GROUPS:
        rows = [row for row in judged.cases if in_group(row, group)]
        if not rows:
            continue
        names = {row["case"] for row in rows}
        slices = [row for row in judged.slices if row["case"] in names]
        summary[group] = {
            "patients": len(rows),
            "measures": {name: spread([row[name] for row in rows], draws=draws) for name in PATIENT_MEASURES},
            "slices": {name: _slice_spread(slices, name, draws=draws) for name in SLICE_MEASURES},
            "agreement": {
                name: number_agreement(
                    *(column(rows, region, which, unit) for which in ("predicted", "truth")), draws=draws
                )
                for name, (region, unit) in NUMBERS.items()
            },
        }
        for name, (region, unit) in NUMBERS.items():
            if unit == "ml":
                pair = (column(rows, region, which, unit) for which in ("predicted", "truth"))
                summary[group]["agreement"][name]["myosaiq_crps"] = float(myosaiq_crps(*pair).mean())
    summary["all"]["detection"] = {
        "rule": str(rule),
        "slice": detection(
            np.array([row["scar_predicted_mm2"] >= rule.minimum_slice_mm2 for row in judged.slices]),
            np.array([row["scar_truth_mm2"] >= rule.minimum_slice_mm2 for row in judged.slices]),
        ),
        "patient": detection(
            np.array([row["scar_predicted_percent_lv"] >= rule.minimum_percent_lv for row in judged.cases]),
            np.array([row["scar_truth_percent_lv"] >= rule.minimum_percent_lv for row in judged.cases]),
        ),
    }
    return summary


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=-1)


def column(rows: list[dict], region: str, which: str, unit: str) -> np.ndarray:
    return np.array([row[f"{region}_{which}_{unit}"] for row in rows], float)


def spread(values: list[float], *, draws: int = 2000) -> dict[str, float]:
    """Of the finite values: n, mean with its interval, SD, median and quartiles."""
    finite = np.array(values, float)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return {"n": 0} | {name: float("nan") for name in ("mean", "low", "high", "sd", "median", "q1", "q3")}
    low, high = bootstrap_statistic(_mean, finite, draws=draws)
    q1, median, q3 = np.percentile(finite, [25, 50, 75])
    sd = float(finite.std(ddof=1)) if len(finite) > 1 else float("nan")
    return {"n": len(finite), "mean": float(finite.mean()), "low": low, "high": high, "sd": sd} | {
        "median": float(median),
        "q1": float(q1),
        "q3": float(q3),
    }


def _slice_spread(slices: list[dict], name: str, *, draws: int) -> dict[str, float]:
    known = [row for row in slices if np.isfinite(row[name])]
    result = spread([row[name] for row in known], draws=2)
    patients = sorted({row["case"] for row in known})
    sums = np.array([sum(row[name] for row in known if row["case"] == case) for case in patients])
    counts = np.array([sum(row["case"] == case for row in known) for case in patients])
    if len(patients) > 1:
        result["low"], result["high"] = bootstrap_statistic(
            lambda s, n: s.sum(axis=-1) / n.sum(axis=-1), sums, counts, draws=draws
        )
    return result


def number_agreement(measured: np.ndarray, true: np.ndarray, *, draws: int = 2000) -> dict[str, float]:
    """Of one number over patients, in its own unit: Lin's concordance, bias and limits, CoV, ICC, regression of measured on true."""
    limits = limits_of_agreement(measured, true)
    result = {"bias": limits.bias, "sd": limits.sd, "limit_low": limits.low, "limit_high": limits.high}
    result["mean_absolute_difference"] = float(np.abs(measured - true).mean())
    statistics = {
        "bias": lambda a, b: _mean(a - b),
        "mean_absolute_difference": lambda a, b: _mean(np.abs(a - b)),
        "concordance": concordance,
        "icc_2_1": lambda a, b: intraclass_correlation(np.stack([a, b], axis=-1), "2,1"),
        "variation_percent": variation_percent,
    }
    for name, statistic in statistics.items():
        result[name] = float(statistic(measured, true))
        result[f"{name}_low"], result[f"{name}_high"] = bootstrap_statistic(statistic, measured, true, draws=draws)
    several = len(true) > 2 and true.std() > 0 and measured.std() > 0
    line = stats.linregress(true, measured) if several else None
    result["slope"] = float(line.slope) if line else float("nan")
    result["intercept"] = float(line.intercept) if line else float("nan")
    result["pearson_r"] = float(line.rvalue) if line else float("nan")
    return result
