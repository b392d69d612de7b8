"""The losses with one term left out, to see what each is worth: `LOSSES` knows them all by name."""

import torch
import torch.nn.functional as F

from scarnet.training.losses import LOSSES, SMOOTH, nested_regions

Term = tuple[float, str]
PAPER: tuple[Term, ...] = ((0.5, "tversky"), (0.4, "dice"), (0.1, "weighted-cross-entropy"))
REGIONS: tuple[Term, ...] = ((1.0, "nested-dice"), (1.0, "cross-entropy"))


def _term(name: str, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    if name == "cross-entropy":
        return F.cross_entropy(logits, labels, label_smoothing=0.02)
    if name == "weighted-cross-entropy":
        weight = torch.full((logits.shape[1],), 0.3, device=logits.device, dtype=logits.dtype)
        weight[0] = 0.1
        return F.cross_entropy(logits, labels, weight)
    probability = logits.softmax(1)
    target = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    if name == "nested-dice":
        probability, target = nested_regions(probability), nested_regions(target)
    axes = (0, 2, 3)
    hit = (probability * target).sum(axes)
    false, missed = probability.sum(axes) - hit, target.sum(axes) - hit
    weights = (0.7, 0.3) if name == "tversky" else (0.5, 0.5)
    smooth = SMOOTH if name == "tversky" else SMOOTH / 2
    return (1 - (hit + smooth) / (hit + weights[0] * false + weights[1] * missed + smooth)).mean()


def without(terms: tuple[Term, ...], name: str):
    """The loss of `terms` less the one called `name`; the others keep their weights."""
    kept = [term for term in terms if term[1] != name]

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return sum(weight * _term(term, logits, labels) for weight, term in kept)

    return loss


for _family, _terms in (("paper", PAPER), ("regions", REGIONS)):
    for _, _name in _terms:
        LOSSES[f"{_family}-without-{_name.removeprefix('weighted-').removeprefix('nested-')}"] = without(_terms, _name)

__all__ = ["LOSSES", "without"]
