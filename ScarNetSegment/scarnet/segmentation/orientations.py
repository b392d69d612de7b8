"""The eight in-plane orientations of a square: quarter turns, with and without a mirror."""

from collections.abc import Callable

import numpy as np

ORIENTATIONS = tuple((turns, mirror) for mirror in (False, True) for turns in range(4))


def turn(planes: np.ndarray, turns: int, mirror: bool) -> np.ndarray:
    """`[..., row, column]` in another orientation (a view)."""
    planes = np.rot90(planes, turns, axes=(-2, -1))
    return planes[..., ::-1] if mirror else planes


def turn_back(planes: np.ndarray, turns: int, mirror: bool) -> np.ndarray:
    """What `turn` did, undone."""
    planes = planes[..., ::-1] if mirror else planes
    return np.rot90(planes, -turns, axes=(-2, -1))


def average_over_orientations(
    probability: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray, *, flips: bool = True
) -> np.ndarray:
    """`probability` of `inputs` `[n, channel, side, side]`; with `flips` the mean over all orientations, turned back.

    The mean no longer depends on how the input was turned: a stack stored mirrored gets the mirrored result, up to the
    rounding of 32-bit sums.
    """
    views = ORIENTATIONS if flips else ORIENTATIONS[:1]
    parts = [
        turn_back(probability(turn(inputs, *view)), *view) for view in views
    ]  # all at once is slower on a processor
    return np.mean(parts, axis=0, dtype=np.float32)
