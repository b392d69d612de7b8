"""A network at the slices of a stack: upright, at several sizes and perhaps tilts, the mean of all put back on the input's own grid."""

from dataclasses import replace

import numpy as np

from scarnet.conventions import CancelCallback, ProgressCallback
from scarnet.errors import Cancelled
from scarnet.network import LoadedNetwork
from scarnet.segmentation.crop import CropGrid, normalise, with_neighbours
from scarnet.segmentation.tilt import TiltedGrid
from scarnet.segmentation.views import (
    LEAST_WEIGHT,
    View,
    all_orientations,
    average,
    likely_views,
    sizes_of,
    tilt_weights,
    tilts_of,
)
from scarnet.series import LgeSeries

#: Slices that a processor is given at once.
SLICES_TOGETHER = 2


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
    thorough: bool = False,
    views: list[View] | None = None,
    on_progress: ProgressCallback | None = None,
    is_cancelled: CancelCallback | None = None,
) -> tuple[np.ndarray, list[View]]:
    """Probabilities `[class, slice, row, column]` on the input's grid, outside the crop all background; mean of all sizes with `flips`,
    and of all tilts if `thorough`.

    `views`: see `predict`.
    """
    sizes = sizes_of(orientation_of(network), several=flips)
    tilts = tilts_of(orientation_of(network), thorough=thorough)
    total, weight = 0.0, 0.0
    for n, size in enumerate(sizes):
        at = replace(grid, pixel_mm=grid.pixel_mm * size)
        grids = [TiltedGrid(at.geometry, at.center_lps_mm, at.side, at.pixel_mm, tilt) for tilt in tilts] or [at]
        said = []
        for m, tilted in enumerate(grids):
            crops, inside = tilted.extract(series.image)
            part, parts = n * len(grids) + m, len(sizes) * len(grids)
            report = None if on_progress is None else _part_of(on_progress, part, parts)
            crops, views = predict(
                network, crops, inside, flips=flips, views=views, on_progress=report, is_cancelled=is_cancelled
            )
            said.append(crops)
        for tilted, crops, share in zip(grids, said, tilt_weights(said).astype(np.float32), strict=True):
            total = total + share * tilted.put_back(crops)
            weight = weight + share * tilted.put_back(np.ones_like(crops[0]))
    probabilities = np.divide(total, weight, out=total, where=weight > 0)
    probabilities[0] += 1 - probabilities.sum(axis=0)
    return probabilities, views


def _part_of(on_progress: ProgressCallback, part: int, parts: int) -> ProgressCallback:
    """Progress of one of several walks over the slices, told as if there were one: every slice is named once."""

    def report(done: int, total: int, text: str) -> None:
        walked = part * total + done
        if done and walked % parts:
            return
        on_progress(walked // parts, total, f"Slice {walked // parts} of {total}" if done else text)

    return report


def predict(
    network: LoadedNetwork,
    crops: np.ndarray,
    inside: np.ndarray,
    *,
    flips: bool,
    views: list[View] | None = None,
    on_progress: ProgressCallback | None = None,
    is_cancelled: CancelCallback | None = None,
) -> tuple[np.ndarray, list[View]]:
    """Crops and where the image is, `[slice, side, side]` of a CropGrid, to probabilities `[class, slice, side, side]`.

    `views`: of an earlier crop of the same stack; chosen and returned unless given. A network that was trained on upright hearts
    finds out which way up they are: files may not say so, and headers may lie.
    """
    viewer = _Viewer(network, crops, inside, is_cancelled)
    report = on_progress or (lambda done, total, text: None)
    count = len(crops)
    if views is None and orientation_of(network) == "patient":
        report(0, count, "Seeing which way up the heart is")
        views = _likely_views(viewer, count)[: None if flips else 1]
    elif views is None:
        views = all_orientations()[: None if flips else 1]
    parts = viewer.at(views, np.arange(count), report)
    return average(parts, views).swapaxes(0, 1), views


def _likely_views(viewer: "_Viewer", count: int) -> list[View]:
    """Slice by slice, the middle one first; an orientation that is unlikely by what was seen so far is not looked at again."""
    views = all_orientations()
    slices = np.argsort(np.abs(np.arange(count) - (count - 1) / 2), kind="stable")
    for seen in range(1, len(slices) + 1):
        views = likely_views(views, viewer.at(views, slices[:seen]))
        if len(views) == 1:
            break
    return [view for view in views if view.weight >= LEAST_WEIGHT * views[0].weight]


class _Viewer:
    """A network at the crops of a stack; what it has seen once it does not look at again.

    On a GPU all slices go as one batch, or as many at once as its memory holds. On a processor a few go together, each with all
    its views: more would be no faster, and make progress and cancel coarser.
    """

    def __init__(self, network: LoadedNetwork, crops: np.ndarray, inside: np.ndarray, is_cancelled):
        self._network, self._is_cancelled = network, is_cancelled
        self._inputs = with_neighbours(normalise(crops, inside), network.card.input["in_slices"])
        self._seen: dict[tuple[View, int], np.ndarray] = {}

    def at(self, views: list[View], slices: np.ndarray, report: ProgressCallback | None = None) -> list[np.ndarray]:
        """Of each view, probabilities `[len(slices), class, side, side]`. `report` is called for every slice. Raises Cancelled."""
        step = SLICES_TOGETHER if self._network.device == "cpu" else len(slices)
        for start in range(0, len(slices), step):
            batch = slices[start : start + step]
            if self._is_cancelled is not None and any(self._is_cancelled() for _ in batch):
                raise Cancelled("Segmentation was cancelled; nothing was written.")
            new = [(view, k) for view in views for k in batch if (view, k) not in self._seen]
            if new:
                probabilities = _softmax(self._network.logits(np.stack([view.of(self._inputs[k]) for view, k in new])))
                self._seen |= zip(new, probabilities, strict=True)
            if report is not None:
                for done in range(start + 1, start + len(batch) + 1):
                    report(done, len(slices), f"Slice {done} of {len(slices)}")
        return [np.stack([self._seen[view, k] for k in slices]) for view in views]


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
