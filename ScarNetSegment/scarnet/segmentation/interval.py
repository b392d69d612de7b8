"""How far scar, in percent of the LV's muscle, may be from what was found."""

import numpy as np

#: Share of patients whose true value the interval is made to hold.
LEVEL = 0.90


def percent_lv_interval(percent_lv: float, calibration: dict) -> tuple[float, float] | None:
    """`(low, high)` about `percent_lv`, in the same points; None where the model's card holds no calibration.

    On the scale of square roots errors of small and large infarcts are alike (as counts are; Bartlett 1936), so that two
    numbers are all the calibration there is: `below` and `above`, how far the root of the expert's value lies from that of
    the model's at the ends of the level. See `calibrate`.
    """
    if not calibration:
        return None
    root = np.sqrt(percent_lv)
    low = max(root - calibration["below"], 0.0) ** 2
    high = min((root + calibration["above"]) ** 2, 100.0)
    return round(float(low), 2), round(float(high), 2)


def calibrate(predicted: np.ndarray, truth: np.ndarray, level: float = LEVEL) -> dict:
    """Calibration from patients that the model had not seen, predicted and expert's percent of LV `(patients,)`.

    Split conformal prediction, each side at half of the miscoverage (Romano et al., NeurIPS 2019, section 4): the
    ceil((n + 1)(1 - alpha / 2))-th smallest error of a side, so that a new patient like these is covered at the level or
    more often.
    """
    error = np.sqrt(truth) - np.sqrt(predicted)
    n, alpha = len(error), 1 - level
    rank = min(int(np.ceil((n + 1) * (1 - alpha / 2))), n) - 1
    return {
        "level": level,
        "scale": "square root of percent of LV",
        "below": round(max(float(np.sort(-error)[rank]), 0.0), 4),
        "above": round(max(float(np.sort(error)[rank]), 0.0), 4),
        "patients": n,
    }
