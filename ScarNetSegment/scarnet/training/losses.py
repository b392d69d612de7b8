"""Losses on logits `(batch, classes, row, column)` and labels `(batch, row, column)`.

Overlaps are summed over the whole batch: a scar-free slice then costs nothing when it is left empty, where a Dice per
slice would punish it (the published code's floor of 0.24 on such slices).
"""

import torch
import torch.nn.functional as F

SMOOTH = 1.0  # pixels; far below any structure, keeps empty regions defined


def _overlaps(probability: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """True positive, false positive, false negative pixels of each region `(batch, region, row, column)`."""
    axes = (0, 2, 3)
    positive = (probability * target).sum(axes)
    return positive, probability.sum(axes) - positive, target.sum(axes) - positive


def paper_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """0.5 focal Tversky + 0.4 Dice + 0.1 cross-entropy (Tavakoli 2025).

    Tversky weighs false positives 0.7 and false negatives 0.3 with focal exponent 1; classes weigh 0.1 for background
    and 0.3 for the rest in the cross-entropy, as in the published configuration.
    """
    target = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    positive, false_positive, false_negative = _overlaps(logits.softmax(1), target)
    tversky = (positive + SMOOTH) / (positive + 0.7 * false_positive + 0.3 * false_negative + SMOOTH)
    dice = (2 * positive + SMOOTH) / (2 * positive + false_positive + false_negative + SMOOTH)
    weight = torch.full((logits.shape[1],), 0.3, device=logits.device, dtype=logits.dtype)
    weight[0] = 0.1
    return 0.5 * (1 - tversky).mean() + 0.4 * (1 - dice).mean() + 0.1 * F.cross_entropy(logits, labels, weight)


def nested_regions(values: torch.Tensor) -> torch.Tensor:
    """Class maps `(batch, classes, ...)` to the regions that are reported: LV, myocardium, scar (and MVO), one in another."""
    regions = [values[:, 1:].sum(1), values[:, 2:].sum(1), values[:, 3:].sum(1)]
    if values.shape[1] > 4:
        regions.append(values[:, 4])
    return torch.stack(regions, dim=1)


def region_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Dice of the nested regions plus cross-entropy: scored is what is reported, and MVO inside scar costs no scar."""
    target = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    positive, false_positive, false_negative = _overlaps(nested_regions(logits.softmax(1)), nested_regions(target))
    dice = (2 * positive + SMOOTH) / (2 * positive + false_positive + false_negative + SMOOTH)
    return (1 - dice).mean() + F.cross_entropy(logits, labels, label_smoothing=0.02)


LOSSES = {"paper": paper_loss, "regions": region_loss}
