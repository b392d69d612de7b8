"""Agreement of numbers: concordance, ranking of errors, coverage."""

import numpy as np
from scipy import stats


def concordance(a: np.ndarray, b: np.ndarray) -> float:
    """Lin's concordance correlation coefficient (Biometrics 1989): 1 on the line of identity, not on any line."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    spread = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    return float(2 * ((a - a.mean()) * (b - b.mean())).mean() / spread) if spread else float("nan")


def auroc(score: np.ndarray, event: np.ndarray) -> float:
    """Chance that an event scores above a non-event, ties half (the Mann-Whitney statistic); nan without either."""
    score, event = np.asarray(score, float), np.asarray(event, bool)
    positives, negatives = int(event.sum()), int((~event).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = stats.rankdata(score)
    return float((ranks[event].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def bootstrap_interval(values: np.ndarray, *, seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """95 % interval of a mean over patients, by drawing patients with replacement (percentiles)."""
    values = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)
