"""Agreement of numbers: concordance, bias and limits, intraclass correlation, coverage, scores of forecasts, intervals."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats


def concordance(a: np.ndarray, b: np.ndarray) -> float:
    """Lin's concordance correlation coefficient (Biometrics 1989): 1 on the line of identity, not on any line.

    Over the last axis; nan where neither varies.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    mean_a, mean_b = a.mean(axis=-1), b.mean(axis=-1)
    spread = a.var(axis=-1) + b.var(axis=-1) + (mean_a - mean_b) ** 2
    together = ((a - mean_a[..., None]) * (b - mean_b[..., None])).mean(axis=-1)
    return _ratio(2 * together, spread)


def _ratio(above, below):
    """nan where `below` is not positive; a float where both are single numbers."""
    above, below = np.asarray(above, float), np.asarray(below, float)
    result = np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)
    return float(result) if result.ndim == 0 else result


@dataclass(frozen=True)
class Limits:
    """Bland and Altman, Lancet 1986: `bias` is the mean of measured - true, `low` and `high` bias -/+ 1.96 `sd` (n - 1)."""

    bias: float
    sd: float
    low: float
    high: float


def limits_of_agreement(measured: np.ndarray, true: np.ndarray) -> Limits:
    """In the unit of its arguments; nan spread for a single pair."""
    difference = np.asarray(measured, float) - np.asarray(true, float)
    sd = float(difference.std(ddof=1)) if len(difference) > 1 else float("nan")
    bias = float(difference.mean())
    return Limits(bias, sd, bias - 1.96 * sd, bias + 1.96 * sd)


def variation_percent(measured: np.ndarray, true: np.ndarray) -> float:
    """Coefficient of variation as Tavakoli 2025 uses it: SD of the differences over the mean of the pairs' averages, percent.

    The paper prints the result without its formula; this one gives the printed 4.3, 20.3 and 130.3 % back from the limits of
    agreement and the biases that it prints beside them. Over the last axis.
    """
    measured, true = np.asarray(measured, float), np.asarray(true, float)
    if true.shape[-1] < 2:
        return float("nan")
    return _ratio(100 * (measured - true).std(axis=-1, ddof=1), (measured + true).mean(axis=-1) / 2)


def intraclass_correlation(ratings: np.ndarray, kind: str = "2,1") -> float:
    """Of one rating, `ratings` `(..., targets, raters)`: "1,1" one-way, "2,1" absolute agreement, "3,1" consistency.

    Shrout and Fleiss, Psychol Bull 1979;86:420, cases 1 to 3. nan where nothing varies.
    """
    x = np.asarray(ratings, float)
    n, k = x.shape[-2:]
    if n < 2 or k < 2:
        return float("nan")
    grand = x.mean(axis=(-2, -1))[..., None]
    rows, columns = x.mean(axis=-1), x.mean(axis=-2)
    between_columns = n * ((columns - grand) ** 2).sum(axis=-1)
    within = ((x - rows[..., None]) ** 2).sum(axis=(-2, -1))
    bms, jms = k * ((rows - grand) ** 2).sum(axis=-1) / (n - 1), between_columns / (k - 1)
    wms, ems = within / (n * (k - 1)), (within - between_columns) / ((n - 1) * (k - 1))
    return _ratio(
        *{
            "1,1": (bms - wms, bms + (k - 1) * wms),
            "2,1": (bms - ems, bms + (k - 1) * ems + k * (jms - ems) / n),
            "3,1": (bms - ems, bms + (k - 1) * ems),
        }[kind]
    )


#: MYOSAIQ scores a volume's distribution at the whole millilitres 0 to 599.
MYOSAIQ_VOLUMES_ML = np.arange(600)


def myosaiq_crps(volumes_ml: np.ndarray, true_ml: np.ndarray, sd_ml: np.ndarray | float = 0.0) -> np.ndarray:
    """Continuous ranked probability score of each volume, as the MYOSAIQ challenge takes it: its mean over patients is theirs.

    The mean over n = 0..599 mL of (P(volume <= n) - H(n - true))^2, with H(0) = 1 (challenge page "Clinical outputs", after
    Kaggle's second data science bowl). `volumes_ml`, `true_ml`: `(patients,)`. `sd_ml`: of a normal distribution about the volume;
    0: the volume is stated as certain, so that the score counts the whole millilitres between it and the truth, over 600.
    """
    volumes, true = np.asarray(volumes_ml, float)[:, None], np.asarray(true_ml, float)[:, None]
    sd = np.broadcast_to(np.asarray(sd_ml, float), volumes[:, 0].shape)[:, None]
    steps = (volumes <= MYOSAIQ_VOLUMES_ML).astype(float)
    smooth = stats.norm.cdf(MYOSAIQ_VOLUMES_ML, volumes, np.where(sd > 0, sd, 1.0))
    stated = np.where(sd > 0, smooth, steps)
    return ((stated - (true <= MYOSAIQ_VOLUMES_ML)) ** 2).mean(axis=1)


def auroc(score: np.ndarray, event: np.ndarray) -> float:
    """Chance that an event scores above a non-event, ties half (the Mann-Whitney statistic); nan without either."""
    score, event = np.asarray(score, float), np.asarray(event, bool)
    positives, negatives = int(event.sum()), int((~event).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = stats.rankdata(score)
    return float((ranks[event].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def proportion_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson, JASA 1927); nan without trials."""
    if not trials:
        return float("nan"), float("nan")
    interval = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_interval(values: np.ndarray, *, seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """95 % interval of a mean over patients, by drawing patients with replacement (percentiles)."""
    values = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def bootstrap_statistic(
    statistic: Callable[..., np.ndarray], *columns: np.ndarray, seed: int = 0, draws: int = 2000
) -> tuple[float, float]:
    """95 % interval of any `statistic(*columns)` over patients, columns drawn together (percentiles).

    `statistic` takes `(draws, patients)` arrays and reduces the last axis. Draws in which it is not defined are left out; nan where it
    is defined in fewer than half of them, or for one patient.
    """
    columns = [np.asarray(column, float) for column in columns]
    count = len(columns[0])
    if count < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(count, size=(draws, count))
    values = np.asarray(statistic(*(column[drawn] for column in columns)), float)
    values = values[np.isfinite(values)]
    if len(values) < draws / 2:
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
