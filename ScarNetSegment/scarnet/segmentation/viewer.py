"""A network at the slices of a stack: upright, at several sizes and tilts, the mean of all put back on the input's own grid."""

from collections.abc import Callable

import numpy as np

from scarnet.conventions import CancelCallback, ProgressCallback
from scarnet.errors import Cancelled
from scarnet.network import LoadedNetwork
from scarnet.segmentation.crop import CropGrid, normalise, with_neighbours
from scarnet.segmentation.tilt import TiltedGrid
from scarnet.segmentation.views import (
    LEAST_WEIGHT,
    Look,
    View,
    all_orientations,
    average,
    likely_views,
    look_weights,
    looks_of,
)
from scarnet.series import LgeSeries

#: Pixels that a processor is given at once, of all slices and views: as much as ten pictures of the shipped network, which takes them a third faster than
#: one by one. More are no faster, make progress and cancel coarser, and need more memory.
PIXELS_TOGETHER = 10 * 96**2


def orientation_of(network: LoadedNetwork) -> str:
    """ "patient" or "any": what hearts the network was trained to meet."""
    return network.card.input.get("orientation", "any")


def crop_grid(series: LgeSeries, network: LoadedNetwork, center_lps_mm: np.ndarray) -> CropGrid:
    """The square about a point that the network is shown."""
    return CropGrid(series.geometry, center_lps_mm, network.card.input["side"], network.card.input["pixel_mm"])


def look(
    series: LgeSeries,
    network: LoadedNetwork,
    grid: CropGrid,
    *,
    flips: bool,
    views: list[View] | None = None,
    on_progress: ProgressCallback | None = None,
    is_cancelled: CancelCallback | None = None,
) -> tuple[np.ndarray, list[View]]:
    """Probabilities `[class, slice, row, column]` on the input's grid, outside the crop all background; mean of all LOOKS with `flips`.

    `views`: of an earlier look at the same stack; chosen and returned unless given.
    """
    if views is None and orientation_of(network) == "patient":
        if on_progress is not None:
            on_progress(0, len(series.image), "Seeing which way up the heart is")
        views = choose_views(network, *grid.extract(series.image), is_cancelled)
    elif views is None:
        views = all_orientations()
    views = views if flips else views[:1]
    looks = looks_of(orientation_of(network), several=flips)
    grids = [grid] if len(looks) == 1 else [_looked_at(grid, one) for one in looks]
    crops = [at.extract(series.image) for at in grids]
    said = predict(network, crops, views, on_progress=on_progress, is_cancelled=is_cancelled)
    shares = look_weights(looks, said).astype(np.float32)
    total, weight = np.zeros((len(said[0]), *series.image.shape), np.float32), np.zeros(series.image.shape, np.float32)
    for at, probabilities, share in zip(grids, said, shares, strict=True):
        total += at.put_back(share * probabilities)
        weight += at.put_back(np.full_like(probabilities[0], share))
    probabilities = np.divide(total, weight, out=total, where=weight > 0)
    probabilities[0] += 1 - probabilities.sum(axis=0)
    return probabilities, views


def _looked_at(grid: CropGrid, how: Look) -> TiltedGrid:
    return TiltedGrid(grid.geometry, grid.center_lps_mm, grid.side, grid.pixel_mm * how.size, how.tilt_deg)


def choose_views(
    network: LoadedNetwork, crops: np.ndarray, inside: np.ndarray, is_cancelled: CancelCallback | None = None
) -> list[View]:
    """The likely ones, the likeliest first, by a look at crops that are not tilted, `[slice, side, side]` of a CropGrid.

    A network that was trained on upright hearts finds out which way up they are: files may not say so, and headers may lie. Slice by slice, the
    middle one first; an orientation that is unlikely by what was seen so far is not looked at again.
    """
    viewer, count, views = _Viewer(network, [(crops, inside)], is_cancelled), len(crops), all_orientations()
    slices = np.argsort(np.abs(np.arange(count) - (count - 1) / 2), kind="stable")
    for seen in range(1, count + 1):
        views = likely_views(views, viewer.at(views, slices[:seen]))
        if len(views) == 1:
            break
    return [view for view in views if view.weight >= LEAST_WEIGHT * views[0].weight]


def predict(
    network: LoadedNetwork,
    crops: list[tuple[np.ndarray, np.ndarray]],
    views: list[View],
    *,
    on_progress: ProgressCallback | None = None,
    is_cancelled: CancelCallback | None = None,
) -> list[np.ndarray]:
    """Several looks at a stack, of each crops and where the image is, `[slice, side, side]` of a CropGrid, to probabilities `[class, slice, side, side]`."""
    viewer = _Viewer(network, crops, is_cancelled)
    count = len(crops[0][0])
    named = 0

    def name_slices(pictures: int) -> None:
        nonlocal named
        while on_progress is not None and named < pictures // len(crops):
            named += 1
            on_progress(named, count, f"Slice {named} of {count}")

    parts = viewer.at(views, np.arange(count * len(crops)), name_slices)
    return np.split(average(parts, views).swapaxes(0, 1), len(crops), axis=1)


class _Viewer:
    """A network at the crops of a stack, one look after the other; what it has seen once it does not look at again.

    On a GPU all pictures go as one batch, or as many at once as its memory holds; on a processor PIXELS_TOGETHER.
    """

    def __init__(self, network: LoadedNetwork, crops: list[tuple[np.ndarray, np.ndarray]], is_cancelled):
        self._network, self._is_cancelled = network, is_cancelled
        in_slices = network.card.input["in_slices"]
        self._inputs = np.concatenate([with_neighbours(normalise(*one), in_slices) for one in crops])
        self._seen: dict[tuple[View, int], np.ndarray] = {}

    def at(
        self, views: list[View], pictures: np.ndarray, report: Callable[[int], None] | None = None
    ) -> list[np.ndarray]:
        """Of each view, probabilities `[len(pictures), class, side, side]`. `report`: is told how many are done. Raises Cancelled."""
        step = len(pictures)
        if self._network.device == "cpu":
            step = max(PIXELS_TOGETHER // (len(views) * self._inputs[0, 0].size), 1)
        done = 0
        for batch in np.array_split(pictures, -(-len(pictures) // step)):
            if self._is_cancelled is not None and any(self._is_cancelled() for _ in batch):
                raise Cancelled("Segmentation was cancelled; nothing was written.")
            new = [(view, k) for view in views for k in batch if (view, k) not in self._seen]
            if new:
                probabilities = _softmax(self._network.logits(np.stack([view.of(self._inputs[k]) for view, k in new])))
                self._seen |= zip(new, probabilities, strict=True)
            done += len(batch)
            if report is not None:
                report(done)
        return [np.stack([self._seen[view, k] for k in pictures]) for view in views]


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
