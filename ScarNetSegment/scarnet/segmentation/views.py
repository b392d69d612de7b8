"""How a network looks at a crop: which way up, and from how many sides its answer is averaged."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from scarnet.segmentation.orientations import ORIENTATIONS, turn, turn_back

#: Windows of networks that know which way up a heart is are shifted by this many pixels: not by a whole patch of the encoder,
#: whose grid would then lie on the heart as before.
SHIFT_PIXELS = 5
#: An orientation whose mean entropy is higher by this counts for 1 / e. On 49 patients that a model had not seen the surest
#: orientation alone was upright for 40, and cost 0.003 of myocardium's Dice and 0.012 of scar's against being told; with these
#: weights 0.001 and 0.001 are left.
UPRIGHT_NATS = 0.002
#: Of the best orientation's weight: less is not worth the time.
LEAST_WEIGHT = 0.05


@dataclass(frozen=True)
class View:
    """A square window of a crop, turned: `start` is the row and column of its first pixel, `weight` its share in the mean."""

    start: tuple[int, int] = (0, 0)
    turns: int = 0
    mirror: bool = False
    weight: float = 1.0

    def of(self, planes: np.ndarray, side: int) -> np.ndarray:
        """`[..., row, column]` to `[..., side, side]`."""
        row, column = self.start
        return turn(planes[..., row : row + side, column : column + side], self.turns, self.mirror)

    def add_back(self, values: np.ndarray, total: np.ndarray) -> None:
        """Add `[..., side, side]` to where in `total` `[..., row, column]` they were taken from."""
        row, column = self.start
        side = values.shape[-1]
        total[..., row : row + side, column : column + side] += turn_back(values, self.turns, self.mirror)


def views_of(orientation: str, *, several: bool) -> list[View]:
    """What a network's answer is averaged over. `orientation`: of its card, what it was trained to meet.

    "any": the eight orientations, so that the mean does not depend on how a stack is stored. "patient": five windows, one
    amid four shifted along the diagonals.
    """
    if orientation == "any":
        return [View((0, 0), *turned) for turned in (ORIENTATIONS if several else ORIENTATIONS[:1])]
    if not several:
        return [View()]
    s = SHIFT_PIXELS
    return [View(start) for start in ((s, s), (0, 0), (0, 2 * s), (2 * s, 0), (2 * s, 2 * s))]


def size_of(views: list[View], side: int) -> int:
    """Side in pixels of the crop that holds all windows."""
    return side + max(max(view.start) for view in views)


def average(parts: list[np.ndarray], views: list[View], size: int) -> np.ndarray:
    """Probabilities of each view `[..., side, side]` to their weighted mean `[..., size, size]`; 0 where no view looked."""
    total = np.zeros((*parts[0].shape[:-2], size, size), np.float32)
    weight = np.zeros((size, size), np.float32)
    for part, view in zip(parts, views, strict=True):
        view.add_back(np.float32(view.weight) * part, total)
        view.add_back(np.full(part.shape[-2:], view.weight, np.float32), weight)
    return np.divide(total, weight, out=total, where=weight > 0)


def orientation_weights(probability: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """`(8,)`, summing to one: how much each orientation of `inputs` `[n, channel, side, side]` is worth looking at.

    `probability`: a network of the orientation "patient", to `[n, class, side, side]`. It is surest, of lowest mean entropy,
    where a heart is upright. The weights turn with the stack, so that what is found does not depend on how it is stored.
    """
    entropies = []
    for turned in ORIENTATIONS:
        p = probability(np.ascontiguousarray(turn(inputs, *turned)))
        entropies.append(float(-(p * np.log(p + 1e-6)).sum(axis=1).mean()))
    weights = np.exp((min(entropies) - np.array(entropies)) / UPRIGHT_NATS)
    return weights / weights.sum()


def in_orientations(views: list[View], weights: np.ndarray) -> list[View]:
    """The views of a crop that may have to be turned; orientations of little weight are left out.

    A single view stays single: in the best orientation.
    """
    least = LEAST_WEIGHT * weights.max() if len(views) > 1 else weights.max()
    chosen = [n for n in range(len(weights)) if weights[n] >= least]
    return [
        replace(view, turns=ORIENTATIONS[n][0], mirror=ORIENTATIONS[n][1], weight=float(weights[n]))
        for n in chosen
        for view in views
    ]
