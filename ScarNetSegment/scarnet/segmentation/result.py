"""What segmenting a stack gives."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class ScarSegmentation:
    """Labels of one stack with everything needed to doubt them.

    Attributes
        labels: uint8 `[slice, row, column]` on the input's own grid, values of `scarnet.conventions.Label`.
        probabilities: float16 `[class, slice, row, column]` (5 classes, label order) on the same grid; None when read back
            from a saved scene, which does not keep them.
        lv_center_lps_mm: `(3,)`, centre of the left ventricle used for the crop.
        slice_doubt: float `(slices,)` in 0..1, expected share of wrong LV pixels in the slice; 0 where the LV is absent.
        slice_scar_doubt: `(slices,)`, probability that the slice's scar overlaps an expert's by a Dice below one half (see
            `scarnet.segmentation.doubt`); None for a model that was not calibrated.
        percent_lv_interval: `(low, high)`, the 90 % interval of scar in percent of LV muscle (see
            `scarnet.segmentation.interval`); None for a model that was not calibrated.
        model: the card's name, version and sha256 and the runtime used.
        parameters: everything that was chosen, so that the run can be repeated.
        warnings: sentences for the user about this result.
    """

    labels: np.ndarray
    probabilities: np.ndarray | None
    lv_center_lps_mm: np.ndarray
    slice_doubt: np.ndarray
    model: dict = field(default_factory=dict)
    parameters: dict = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    percent_lv_interval: tuple[float, float] | None = None
    slice_scar_doubt: np.ndarray | None = None
