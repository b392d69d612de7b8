"""Numbers and names that every room shares.

Label values follow the EMIDEC challenge (Lalande et al., Data 2020, doi 10.3390/data5040089).
"""

from collections.abc import Callable
from enum import IntEnum

import numpy as np


class Label(IntEnum):
    """Voxel values of a label map."""

    BACKGROUND = 0
    BLOOD_POOL = 1
    MYOCARDIUM = 2  # healthy muscle only; *myocardium* in every number is MYOCARDIUM + SCAR + MVO
    SCAR = 3
    MVO = 4  # microvascular obstruction (no-reflow): part of the infarct, also listed alone


#: Density of myocardium used to turn volume into mass unless set otherwise; Segment (Medviso) and cvi42 use the same.
MYOCARDIAL_DENSITY_G_PER_ML = 1.05

#: `on_progress(done, total, text)`: called between steps, on the caller's thread.
ProgressCallback = Callable[[int, int, str], None]
#: `is_cancelled() -> bool`: asked between slices.
CancelCallback = Callable[[], bool]


def myocardium_mask(labels: np.ndarray) -> np.ndarray:
    """Whole LV muscle, scar and MVO included. `labels`: any shape; returns bool of that shape."""
    return labels >= Label.MYOCARDIUM


def scar_mask(labels: np.ndarray) -> np.ndarray:
    """Scar (infarct), MVO included: what EMIDEC calls infarction (labels 3 and 4)."""
    return labels >= Label.SCAR


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two bool arrays, 0 to 1 (Dice 1945); 1 where both are empty."""
    size = int(a.sum()) + int(b.sum())
    return 1.0 if size == 0 else 2 * int((a & b).sum()) / size
