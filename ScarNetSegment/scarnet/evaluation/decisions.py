"""From probabilities to labels: from which probability a pixel is scar, and what is too little to be an infarct or MVO.

The threshold of scar is the one at which percent of LV has no bias: trained with carried infarcts (since version 6), the network draws a point too
much where a pixel is scar that is more likely so than not, and more of it where images are noisy. Thresholds that are best in Dice follow chance on 81
patients: each fold's own choice gave version 5 a mean error of 4.3 points of percent of LV, one half for all 3.6. The smallest infarct is what
version 4 chose in each of five folds without that fold's patients, at one half, and it is asked of what is found there whatever the threshold
(`segment.labels_of`); chosen anew for version 5 it followed one scar-free patient.
"""

import numpy as np

from scarnet.conventions import Label, dice
from scarnet.evaluation.predictions import Prediction
from scarnet.segmentation.segment import labels_of

FIXED = {
    "mvo_threshold": 0.5,
    "minimum_scar_percent_lv": 2.5,
    "test_time_flips": True,
}
SCAR_THRESHOLDS = (0.5, 0.55, 0.6, 0.65)
MVO_MINIMA_ML = (0.0, 0.25, 0.5, 0.75, 1.0)


def tabulate(predictions: list[Prediction]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By case, predicted less true percent of LV with each of SCAR_THRESHOLDS, and the Dice of MVO (1 where both are empty) with each of
    MVO_MINIMA_ML."""
    return {
        p.case: (
            np.array([_percent_lv_too_much(p, threshold) for threshold in SCAR_THRESHOLDS]),
            np.array([_mvo_dice(p, minimum) for minimum in MVO_MINIMA_ML]),
        )
        for p in predictions
    }


def choose(table: dict[str, tuple[np.ndarray, np.ndarray]], cases: list[str]) -> dict:
    """All that a card's `decision` holds: what is fixed, the threshold of scar that is least biased for these patients of `tabulate`, and
    the smallest MVO that is best for them."""
    too_much, mvo_dice = (np.mean([table[case][n] for case in cases], axis=0) for n in (0, 1))
    return FIXED | {
        "scar_threshold": SCAR_THRESHOLDS[int(np.abs(too_much).argmin())],
        "minimum_mvo_ml": MVO_MINIMA_ML[int(mvo_dice.argmax())],
    }


def _percent_lv_too_much(prediction: Prediction, threshold: float) -> float:
    labels = _labels(prediction, {"scar_threshold": threshold})
    drawn, true = (
        100 * (m >= Label.SCAR).sum() / max((m >= Label.MYOCARDIUM).sum(), 1) for m in (labels, prediction.truth)
    )
    return float(drawn - true)


def _mvo_dice(prediction: Prediction, minimum_ml: float) -> float:
    labels = _labels(prediction, {"scar_threshold": SCAR_THRESHOLDS[0], "minimum_mvo_ml": minimum_ml})
    return dice(labels == Label.MVO, prediction.truth == Label.MVO)


def _labels(prediction: Prediction, choice: dict) -> np.ndarray:
    return labels_of(prediction.probabilities.astype(np.float32), prediction.geometry, FIXED | choice)
