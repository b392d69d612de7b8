"""Whether scar was seen where there is some: sensitivity and specificity of slices and of patients, by a stated rule."""

from dataclasses import dataclass

import numpy as np

from scarnet.evaluation.agreement import proportion_interval


@dataclass(frozen=True)
class DetectionRule:
    """When a slice or patient counts as having scar, by model and by expert alike; scar is labels 3 and 4.

    The paper prints sensitivity and specificity without unit or rule; these are ours. A speck of fewer pixels than a reader would
    draw is no scar: `minimum_slice_mm2`. `minimum_percent_lv`: of a patient's muscle.
    """

    minimum_slice_mm2: float = 10.0
    minimum_percent_lv: float = 1.0

    def __str__(self) -> str:
        return (
            f"a slice has scar from {self.minimum_slice_mm2:g} mm2 on, a patient from {self.minimum_percent_lv:g} % of the LV on "
            "(model and expert alike)"
        )


def detection(found: np.ndarray, there: np.ndarray) -> dict[str, float]:
    """Sensitivity and specificity with Wilson's 95 % intervals and the four counts; nan where nobody has, or all have, scar."""
    found, there = np.asarray(found, bool), np.asarray(there, bool)
    result: dict[str, float] = {}
    for name, hit, of in (("sensitivity", found & there, there), ("specificity", ~found & ~there, ~there)):
        count, total = int(hit.sum()), int(of.sum())
        low, high = proportion_interval(count, total)
        result |= {
            name: count / total if total else float("nan"),
            f"{name}_low": low,
            f"{name}_high": high,
            f"{name}_of": total,
        }
    return result
