"""From probabilities to labels: thresholds and smallest regions, chosen on patients that the models had not seen."""

from itertools import product

import numpy as np
from scipy import ndimage

from scarnet.conventions import Label, dice
from scarnet.evaluation.predictions import Prediction
from scarnet.segmentation.segment import labels_of

SCAR_THRESHOLDS = (0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65)
SCAR_MINIMA_ML = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5)
SCAR_MINIMA_PERCENT_LV = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
MVO_THRESHOLDS = (0.3, 0.4, 0.5, 0.6)
MVO_MINIMA_ML = (0.0, 0.25, 0.5, 0.75, 1.0)
#: What an infarct that is missed altogether costs beyond its Dice of 0: with the half that is lost by that, as much as a false
#: alarm in a scar-free heart, whose Dice falls from 1 to 0. And what a point of |difference| of percent of LV costs.
MISSED_COST, PERCENT_COST = 0.5, 0.01


class Candidates:
    """Regions of scar that one threshold gives in one patient: what every choice of minima makes of them follows by sums."""

    def __init__(self, prediction: Prediction, threshold: float):
        volumes_ml = np.nan_to_num(prediction.geometry.voxel_volumes_ml)
        labels = labels_of(
            prediction.probabilities.astype(np.float32), prediction.geometry, {"scar_threshold": threshold}
        )
        truth = prediction.truth >= Label.SCAR
        components, count = ndimage.label(labels >= Label.SCAR, ndimage.generate_binary_structure(3, 1))
        index = np.arange(1, count + 1)
        weights = np.broadcast_to(volumes_ml[:, None, None], truth.shape)
        self.volumes_ml = np.atleast_1d(ndimage.sum_labels(weights, components, index)) if count else np.zeros(0)
        self.voxels = np.atleast_1d(ndimage.sum_labels(components > 0, components, index)) if count else np.zeros(0)
        self.hits = np.atleast_1d(ndimage.sum_labels(truth, components, index)) if count else np.zeros(0)
        self.truth_voxels = int(truth.sum())
        self.muscle_ml = float((labels >= Label.MYOCARDIUM).sum(axis=(1, 2)) @ volumes_ml)
        true_muscle_ml = float((prediction.truth >= Label.MYOCARDIUM).sum(axis=(1, 2)) @ volumes_ml)
        self.true_percent = 100 * float(truth.sum(axis=(1, 2)) @ volumes_ml) / true_muscle_ml

    def outcome(self, minimum_ml: float, minimum_percent: float) -> tuple[float, float, bool]:
        """Dice of scar as the challenge counts it, the difference of percent of LV, and whether an infarct is missed."""
        kept = self.volumes_ml >= minimum_ml
        percent = 100 * self.volumes_ml[kept].sum() / self.muscle_ml if self.muscle_ml else 0.0
        if percent < minimum_percent:
            kept, percent = kept & False, 0.0
        size = self.voxels[kept].sum() + self.truth_voxels
        overlap = 1.0 if size == 0 else 2 * self.hits[kept].sum() / size
        return float(overlap), float(percent - self.true_percent), bool(self.truth_voxels and not kept.any())


def tabulate(predictions: list[Prediction]) -> dict[str, dict]:
    """Outcomes of every choice for every patient: `case -> (threshold, minimum mL, minimum percent) -> outcome`."""
    table: dict[str, dict] = {}
    for prediction in predictions:
        outcomes = {}
        for threshold in SCAR_THRESHOLDS:
            candidates = Candidates(prediction, threshold)
            for minimum_ml, minimum_percent in product(SCAR_MINIMA_ML, SCAR_MINIMA_PERCENT_LV):
                outcomes[threshold, minimum_ml, minimum_percent] = candidates.outcome(minimum_ml, minimum_percent)
        table[prediction.case] = outcomes
    return table


def choose_scar(table: dict[str, dict], cases: list[str]) -> dict:
    """The choice of the best mean Dice over `cases`, less what misses and differences of percent of LV cost.

    Neighbouring choices differ by less than chance: each is judged by the mean over itself and its neighbours.
    """
    keys = list(next(iter(table.values())))
    outcomes = np.array([[table[case][key] for key in keys] for case in cases], float)
    values = outcomes[..., 0] - PERCENT_COST * np.abs(outcomes[..., 1]) - MISSED_COST * outcomes[..., 2]
    grid = values.mean(axis=0).reshape(len(SCAR_THRESHOLDS), len(SCAR_MINIMA_ML), len(SCAR_MINIMA_PERCENT_LV))
    smooth = ndimage.uniform_filter(grid, size=3, mode="nearest")
    threshold, minimum_ml, minimum_percent = keys[int(smooth.argmax())]
    return {
        "scar_threshold": threshold,
        "minimum_scar_ml": minimum_ml,
        "minimum_scar_percent_lv": minimum_percent,
    }


def choose_mvo(predictions: list[Prediction], scar: dict) -> dict:
    """MVO's threshold and smallest region by the same rule, given scar's."""
    values = np.zeros((len(predictions), len(MVO_THRESHOLDS), len(MVO_MINIMA_ML)))
    for n, prediction in enumerate(predictions):
        probabilities = prediction.probabilities.astype(np.float32)
        for i, threshold in enumerate(MVO_THRESHOLDS):
            for j, minimum in enumerate(MVO_MINIMA_ML):
                decision = scar | {"mvo_threshold": threshold, "minimum_mvo_ml": minimum}
                labels = labels_of(probabilities, prediction.geometry, decision)
                values[n, i, j] = dice(labels == Label.MVO, prediction.truth == Label.MVO)
    smooth = ndimage.uniform_filter(values.mean(axis=0), size=3, mode="nearest")
    i, j = np.unravel_index(int(smooth.argmax()), smooth.shape)
    return {"mvo_threshold": MVO_THRESHOLDS[i], "minimum_mvo_ml": MVO_MINIMA_ML[j]}


def choose(predictions: list[Prediction], table: dict[str, dict]) -> dict:
    """All that a card's `decision` holds, from these patients."""
    scar = choose_scar(table, [p.case for p in predictions])
    return scar | choose_mvo(predictions, scar) | {"test_time_flips": True}
