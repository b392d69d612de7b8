"""Whether one model differs from another on the same patients."""

import numpy as np
from scipy import stats

DRAWS = 10_000


def paired_test(a: np.ndarray, b: np.ndarray, *, seed: int = 0, draws: int = DRAWS) -> dict[str, float]:
    """Of paired values `(patients,)`: mean of a - b with its bootstrap interval, and two tests that it is zero.

    `wilcoxon_p`: signed-rank test, differences of zero ranked and dropped (Pratt 1959), exact where scipy can; 1 where nothing
    differs. `bootstrap_p`: two-sided, the share of bootstrap means on the other side of zero, doubled; never below 1 / draws.
    """
    difference = np.asarray(a, float) - np.asarray(b, float)
    if not np.isfinite(difference).all():
        raise ValueError("Paired values must be finite; leave out patients in which either is not defined.")
    rng = np.random.default_rng(seed)
    count = len(difference)
    means = difference[rng.integers(count, size=(draws, count))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    # The draw that was observed counts on both sides, so that no p is 0 (Davison and Hinkley 1997, 4.2).
    tail = min((means <= 0).sum(), (means >= 0).sum())
    return {
        "patients": count,
        "difference": float(difference.mean()),
        "low": float(low),
        "high": float(high),
        "wilcoxon_p": float(stats.wilcoxon(difference, zero_method="pratt").pvalue) if difference.any() else 1.0,
        "bootstrap_p": float(min(2 * (tail + 1) / (draws + 1), 1.0)),
        "better": int((difference > 0).sum()),
        "worse": int((difference < 0).sum()),
    }


def holm(p_values: list[float]) -> list[float]:
    """P values adjusted so that any false claim among them keeps the level of one (Holm, Scand J Stat 1979), in their order."""
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    adjusted = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    result = np.empty(len(p))
    result[order] = np.minimum(adjusted, 1.0)
    return result.tolist()
