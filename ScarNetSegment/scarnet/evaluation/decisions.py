"""From probabilities to labels: what is too little to be an infarct or MVO.

A pixel is scar, or MVO, where that is more likely than not. Thresholds used to be chosen by cross-validation, together with the
smallest infarct: on 81 patients such choices follow chance. Each fold's own choice gave a mean error of 4.3 points of percent of LV with
model 5 and 3.9 with model 4; one half for all gives 3.6 and 3.7. The smallest infarct is what version 4 chose in each of five folds without
that fold's patients; chosen anew for version 5 it follows one scar-free patient, in whom 2.2 % is drawn.
"""

import numpy as np

from scarnet.conventions import Label, dice
from scarnet.evaluation.predictions import Prediction
from scarnet.segmentation.segment import labels_of

FIXED = {
    "scar_threshold": 0.5,
    "mvo_threshold": 0.5,
    "minimum_scar_percent_lv": 2.5,
    "test_time_flips": True,
}
MVO_MINIMA_ML = (0.0, 0.25, 0.5, 0.75, 1.0)


def tabulate(predictions: list[Prediction]) -> dict[str, np.ndarray]:
    """By case, the Dice of MVO (1 where both are empty) with each of MVO_MINIMA_ML."""
    return {p.case: np.array([_mvo_dice(p, minimum) for minimum in MVO_MINIMA_ML]) for p in predictions}


def choose(table: dict[str, np.ndarray], cases: list[str]) -> dict:
    """All that a card's `decision` holds: what is fixed, and the smallest MVO that is best for these patients of `tabulate`."""
    best = int(np.mean([table[case] for case in cases], axis=0).argmax())
    return FIXED | {"minimum_mvo_ml": MVO_MINIMA_ML[best]}


def _mvo_dice(prediction: Prediction, minimum_ml: float) -> float:
    probabilities = prediction.probabilities.astype(np.float32)
    labels = labels_of(probabilities, prediction.geometry, FIXED | {"minimum_mvo_ml": minimum_ml})
    return dice(labels == Label.MVO, prediction.truth == Label.MVO)
