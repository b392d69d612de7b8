"""Losses on logits and targets, both `(batch, classes, row, column)`: weighted sums of terms, known by name.

Targets are the share of each class in a pixel, summing to one: contours seldom follow the pixels of a turned crop.

Overlaps are summed over the whole batch: a scar-free slice then costs nothing when it is left empty, where a Dice per
slice would punish it (the published code's floor of 0.24 on such slices).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

SMOOTH = 1.0  # pixels; far below any structure, keeps empty regions defined

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
#: Weight and name of a term.
Term = tuple[float, str]


def one_minus_overlap(
    probability: torch.Tensor, target: torch.Tensor, false_weight: float, missed_weight: float, smooth: float
) -> torch.Tensor:
    """1 - Tversky's index, mean over regions `(batch, region, row, column)`; with weights of one half, 1 - Dice."""
    axes = (0, 2, 3)
    hit = (probability * target).sum(axes)
    false, missed = probability.sum(axes) - hit, target.sum(axes) - hit
    return (1 - (hit + smooth) / (hit + false_weight * false + missed_weight * missed + smooth)).mean()


def nested_regions(values: torch.Tensor) -> torch.Tensor:
    """Class maps `(batch, classes, ...)` to the regions that are reported: LV, myocardium, scar (and MVO), one in another."""
    regions = [values[:, 1:].sum(1), values[:, 2:].sum(1), values[:, 3:].sum(1)]
    if values.shape[1] > 4:
        regions.append(values[:, 4])
    return torch.stack(regions, dim=1)


def _tversky(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return one_minus_overlap(logits.softmax(1), target, 0.7, 0.3, SMOOTH)


def _dice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return one_minus_overlap(logits.softmax(1), target, 0.5, 0.5, SMOOTH / 2)


def _nested_dice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return one_minus_overlap(nested_regions(logits.softmax(1)), nested_regions(target), 0.5, 0.5, SMOOTH / 2)


def _weighted_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    weight = torch.full((logits.shape[1],), 0.3, device=logits.device, dtype=logits.dtype)
    weight[0] = 0.1
    entropy = F.cross_entropy(logits, target, weight, reduction="sum")
    return entropy / (weight[:, None, None] * target).sum()  # a weighted mean, as over labels


def _cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, target, label_smoothing=0.02)


_TERMS: dict[str, Loss] = {
    "tversky": _tversky,
    "dice": _dice,
    "nested-dice": _nested_dice,
    "weighted-cross-entropy": _weighted_cross_entropy,
    "cross-entropy": _cross_entropy,
}

#: 0.5 focal Tversky + 0.4 Dice + 0.1 cross-entropy (Tavakoli 2025). Tversky weighs false positives 0.7 and false negatives 0.3
#: with focal exponent 1; classes weigh 0.1 for background and 0.3 for the rest in the cross-entropy, as in the published
#: configuration.
PAPER: tuple[Term, ...] = ((0.5, "tversky"), (0.4, "dice"), (0.1, "weighted-cross-entropy"))
#: Dice of the nested regions plus cross-entropy: scored is what is reported, and MVO inside scar costs no scar.
REGIONS: tuple[Term, ...] = ((1.0, "nested-dice"), (1.0, "cross-entropy"))


def loss_of(terms: tuple[Term, ...], *, without: str = "") -> Loss:
    """The sum of `terms`, less the one called `without`; the others keep their weights."""
    kept = [(weight, _TERMS[name]) for weight, name in terms if name != without]

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return sum(weight * term(logits, target) for weight, term in kept)

    return loss


#: The losses, and each with one term left out, to see what that term is worth ("paper-without-dice").
LOSSES: dict[str, Loss] = {}
for _family, _terms in (("paper", PAPER), ("regions", REGIONS)):
    LOSSES[_family] = loss_of(_terms)
    for _, _name in _terms:
        _short = _name.removeprefix("weighted-").removeprefix("nested-")
        LOSSES[f"{_family}-without-{_short}"] = loss_of(_terms, without=_name)
