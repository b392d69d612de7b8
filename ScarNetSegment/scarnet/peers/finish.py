"""From what a peer gives to what the rest of the engine takes."""

import numpy as np

from scarnet.conventions import Label, myocardium_mask
from scarnet.errors import InputError
from scarnet.segmentation import ScarSegmentation
from scarnet.segmentation.cleaning import slice_doubt
from scarnet.series import LgeSeries

#: What is written of a peer's result: it carries no calibrated doubt or interval.
NO_DOUBT = "This model states no doubt that was calibrated, and no interval: compare every slice with the images."


def finished(
    series: LgeSeries,
    labels: np.ndarray,
    *,
    model: dict,
    probabilities: np.ndarray | None = None,
    parameters: dict | None = None,
    warnings: tuple[str, ...] = (),
) -> ScarSegmentation:
    """Labels uint8 `[slice, row, column]` as a result. Raises InputError where no myocardium is in them.

    Without `probabilities` (`[class, slice, row, column]`) the doubt of every slice is 0, which the warning explains.
    """
    muscle = np.argwhere(myocardium_mask(labels))
    if not len(muscle):
        raise InputError(
            f"{model['name']} found no myocardium in these images: check that this is a short-axis LGE stack."
        )
    lv = np.argwhere(labels > 0)
    doubt = np.zeros(len(labels)) if probabilities is None else slice_doubt(probabilities.astype(np.float32), labels)
    return ScarSegmentation(
        labels=labels.astype(np.uint8),
        probabilities=None if probabilities is None else probabilities.astype(np.float16),
        lv_center_lps_mm=series.geometry.index_to_lps(lv.mean(axis=0)),
        slice_doubt=doubt,
        model={"runtime": "", "device": "cpu", "sha256": "", "version": "", "licence": "", "interval": {}} | model,
        parameters=parameters or {},
        warnings=(NO_DOUBT, *warnings),
    )


def class_probabilities(nested: np.ndarray) -> np.ndarray:
    """Probabilities of nested regions (LV, muscle, scar, MVO) `[4, ...]` to those of the five classes; sums are 1."""
    inside = np.minimum.accumulate(np.clip(nested, 0, 1), axis=0)
    result = np.empty((len(Label), *nested.shape[1:]), np.float32)
    result[0] = 1 - inside[0]
    result[1:-1] = inside[:-1] - inside[1:]
    result[-1] = inside[-1]
    return result
