"""Which slices have scar that an expert would have drawn otherwise: a probability learnt from patients left out."""

import numpy as np

from scarnet.conventions import Label, scar_mask

#: A slice whose scar overlaps the expert's by less (Dice) is one that should be looked at.
POOR_SCAR_DICE = 0.5
_EITHER_WAY = (
    "expected area not drawn",  # log(1 + 10 cm2)
    "muscle area",  # log(1 + cm2)
    "scar in the ventricle",  # share of the whole muscle
    "largest probability of scar in the muscle",
)
_WHERE_DRAWN = ("expected overlap", "drawn area")  # soft Dice of what is drawn with the probabilities; log(1 + cm2)
#: A slice with scar is judged by other weights than one without.
FEATURES = (
    "scar drawn",
    *(f"{name}, scar drawn" for name in (*_EITHER_WAY, *_WHERE_DRAWN)),
    *(f"{name}, no scar drawn" for name in _EITHER_WAY),
)


def slice_features(probabilities: np.ndarray, labels: np.ndarray, pixel_area_mm2: float) -> np.ndarray:
    """`(slices, features)` of probabilities `[class, slice, row, column]` and the labels made of them."""
    drawn, muscle = scar_mask(labels), labels >= Label.MYOCARDIUM
    expected, expected_muscle = (probabilities[first:].sum(axis=0) for first in (Label.SCAR, Label.MYOCARDIUM))
    cm2 = pixel_area_mm2 / 100
    n_drawn, n_expected = drawn.sum(axis=(1, 2)), expected.sum(axis=(1, 2))
    inside = (expected * drawn).sum(axis=(1, 2))
    share = np.where(muscle, expected / np.maximum(expected_muscle, 1e-6), 0.0)
    either_way = [
        np.log1p(10 * cm2 * (n_expected - inside)),
        np.log1p(cm2 * muscle.sum(axis=(1, 2))),
        np.full(len(labels), drawn.sum() / max(muscle.sum(), 1)),
        share.max(axis=(1, 2)),
    ]
    where_drawn = [2 * inside / np.maximum(n_drawn + n_expected, 1e-6), np.log1p(cm2 * n_drawn)]
    has_scar = n_drawn > 0
    return np.stack(
        [
            has_scar.astype(float),
            *(np.where(has_scar, feature, 0.0) for feature in (*either_way, *where_drawn)),
            *(np.where(has_scar, 0.0, feature) for feature in either_way),
        ],
        axis=1,
    )


def slice_scar_doubt(
    probabilities: np.ndarray, labels: np.ndarray, pixel_area_mm2: float, calibration: dict
) -> np.ndarray | None:
    """`(slices,)` probability that scar overlaps an expert's by a Dice below one half, 0 where no ventricle was found.

    `calibration`: of the model's card, see `fit`; None without one.
    """
    if not calibration:
        return None
    features = slice_features(probabilities, labels, pixel_area_mm2)
    doubt = _logistic(features @ np.array(calibration["weights"]) + calibration["intercept"])
    return np.where(labels.any(axis=(1, 2)), doubt, 0.0)


def fit(features: np.ndarray, poor: np.ndarray, *, ridge: float = 3.0, steps: int = 30) -> dict:
    """Logistic regression of `poor` `(slices,)` on `features`, by Newton's method, with a ridge on standardised weights."""
    middle, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    design = np.column_stack([np.ones(len(features)), (features - middle) / spread])
    penalty = ridge * np.diag([0.0] + [1.0] * features.shape[1])
    weights = np.zeros(design.shape[1])
    for _ in range(steps):
        p = _logistic(design @ weights)
        curvature = design.T @ (design * (p * (1 - p))[:, None]) + penalty + 1e-9 * np.eye(len(weights))
        weights = weights + np.linalg.solve(curvature, design.T @ (poor - p) - penalty @ weights)
    raw = weights[1:] / spread
    return {
        "event": f"Dice of a slice's scar with the expert's below {POOR_SCAR_DICE}",
        "features": list(FEATURES),
        "weights": [round(float(w), 5) for w in raw],
        "intercept": round(float(weights[0] - raw @ middle), 5),
        "slices": len(features),
    }


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
