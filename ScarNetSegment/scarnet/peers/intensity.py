"""Threshold methods as models: scar by intensity on a myocardium that somebody else drew."""

import numpy as np

from scarnet.conventions import Label
from scarnet.errors import InputError, UsageError
from scarnet.peers.back_end import BackEnd, Request
from scarnet.peers.finish import finished
from scarnet.quantification.regional import signal_of
from scarnet.quantification.thresholds import METHODS, compare_methods, definition_of
from scarnet.segmentation import ScarSegmentation
from scarnet.series import LgeSeries


def threshold_method(method: str) -> BackEnd:
    """`method`: a key of `scarnet.quantification.thresholds.METHODS`. Raises UsageError."""
    if method not in METHODS:
        raise UsageError(f"No threshold method is called '{method}'; known are {', '.join(METHODS)}.")

    def segment(request: Request, *, on_progress=None, is_cancelled=None) -> ScarSegmentation:
        if request.myocardium is None:
            raise UsageError(f"threshold:{method} needs a myocardium to look in: give one with --myocardium LABELS.")
        labels, warnings = labels_by(method, request.series, request.myocardium)
        description = definition_of(method, request.series.reconstruction)
        return finished(
            request.series,
            labels,
            model={"name": f"threshold:{method}", "runtime": "numpy"},
            parameters={"method": description, "myocardium": "given"},
            warnings=warnings,
        )

    return BackEnd(f"threshold:{method}", "threshold", segment, needs_myocardium=True)


def labels_by(method: str, series: LgeSeries, myocardium: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels with the method's scar (weights of at least one half) in the muscle given, blind to scar and MVO drawn in it."""
    blind = np.minimum(myocardium, Label.MYOCARDIUM).astype(np.uint8)
    if not (blind == Label.MYOCARDIUM).any():
        raise InputError("The labels given hold no myocardium for a threshold method to look in.")
    try:
        muscle, (rows, columns) = signal_of(series, blind)
    except InputError as problem:
        return blind, (f"No method could be applied: {problem}",)
    results = {result.method: result for result in compare_methods(muscle)}
    if method not in results:
        return blind, ("No slice has remote myocardium to refer to: nothing was called scar.",)
    labels = blind.copy()
    labels[:, rows, columns][(results[method].scar >= 0.5) & (blind[:, rows, columns] == Label.MYOCARDIUM)] = Label.SCAR
    return labels, ()
