"""MedSAM as a model: a box about the LV in every slice, from the LV finder or the user, and what the network says of it."""

from pathlib import Path

import numpy as np
import torch

from scarnet.conventions import Label
from scarnet.errors import Cancelled, InputError, UsageError
from scarnet.files import sha256_of
from scarnet.network import find_model, load_network, read_card
from scarnet.network.build import load_weights
from scarnet.network.registry import WEIGHTS_NAME, verify
from scarnet.peers.back_end import BackEnd, Request, patients_seen
from scarnet.peers.finish import class_probabilities, finished
from scarnet.peers.medsam_network import MedSam, MedSamConfig, load_checkpoint, medsam_preset
from scarnet.segmentation import ScarSegmentation
from scarnet.segmentation.crop import CropGrid, normalise
from scarnet.segmentation.finder import REACH_MM, find_lv, whole_field_grid
from scarnet.segmentation.orientations import average_over_orientations
from scarnet.segmentation.segment import labels_of
from scarnet.series import LgeSeries

#: Added to the finder's box on every side: its pixels are 4 mm. On the 17 EMIDEC patients of fold 0 the box then lies 5.6 mm outside the
#: expert's ventricle, with a standard deviation of 5 mm over slices and sides.
BOX_MARGIN_MM = 8.0
ZERO_SHOT_REMARK = (
    "MedSAM zero-shot: the one mask that the box about the LV gives, taken as scar; it draws no myocardium of its own"
)


def medsam_model(folder: Path, *, device: str = "auto", finder: str | Path = "default") -> BackEnd:
    """A fine-tuned MedSAM (`scarnet train --preset medsam`, `medsam-small`)."""
    card = verify(folder)
    config = MedSamConfig.from_dict(card.config)
    network = MedSam(config)
    load_weights(network, Path(folder) / WEIGHTS_NAME)
    model = {"name": card.name, "version": card.version, "sha256": card.sha256, "licence": card.licence}
    seen = patients_seen(card.training) | _finder_patients(finder)
    tuned = card.training.get("tune", "full")
    remark = f"MedSAM fine-tuned ({tuned}) from a published checkpoint"
    if not card.training.get("checkpoint"):
        remark = (
            f"MedSAM's architecture in the size '{card.preset}', trained here from chance: not the published MedSAM"
        )
    segment = _segmenter(network, config, model, finder, device, decision=card.decision, zero_shot=False)
    return BackEnd(card.name, "medsam", segment, frozenset(seen), remark)


def medsam_checkpoint(checkpoint: Path, *, device: str = "auto", finder: str | Path = "default") -> BackEnd:
    """A published checkpoint as it is (zero-shot)."""
    config = medsam_preset("medsam")
    network = MedSam(config)
    load_checkpoint(network, checkpoint)
    model = {"name": f"{checkpoint.stem} (zero-shot)", "sha256": sha256_of(checkpoint)}
    segment = _segmenter(network, config, model, finder, device, decision={}, zero_shot=True)
    return BackEnd(model["name"], "medsam", segment, frozenset(_finder_patients(finder)), ZERO_SHOT_REMARK)


def _finder_patients(finder: str | Path) -> set[str]:
    return patients_seen(read_card(find_model(finder, kind="finder")).training)


def _segmenter(
    network: MedSam, config: MedSamConfig, model: dict, finder, device: str, *, decision: dict, zero_shot: bool
):
    device = _torch_device(device)
    network = network.to(device).eval()
    model = model | {"runtime": "torch", "device": device}

    def segment(request: Request, *, on_progress=None, is_cancelled=None) -> ScarSegmentation:
        series = request.series
        boxes_mm, center = boxes_of(request, finder)
        grid = input_grid(series, center, config)
        crops, inside = grid.extract(series.image)
        images = unit_range(normalise(crops, inside), inside)
        boxes = [box_in_grid(grid, k, corners) for k, corners in enumerate(boxes_mm)]
        nested = np.zeros((len(images), 4, config.side, config.side), np.float32)
        for k, box in enumerate(boxes):
            if is_cancelled is not None and is_cancelled():
                raise Cancelled("Segmentation was cancelled; nothing was written.")
            if box is not None:
                nested[k] = _ask(network, images[k], box, device, flips=decision.get("test_time_flips", False))
            if on_progress is not None:
                on_progress(k + 1, len(images), f"Slice {k + 1} of {len(images)}")
        nested = np.clip(grid.put_back(nested.swapaxes(0, 1)), 0, 1)
        parameters = {"boxes": sum(box is not None for box in boxes), "box_given": request.box_lps_mm is not None}
        if zero_shot:
            labels = np.where(nested[0] > 0.5, Label.SCAR, Label.BACKGROUND).astype(np.uint8)
            return finished(series, labels, model=model, parameters=parameters, warnings=(ZERO_SHOT_REMARK + ".",))
        probabilities = class_probabilities(nested)
        labels = labels_of(probabilities, series.geometry, decision)
        return finished(series, labels, model=model, probabilities=probabilities, parameters=parameters | decision)

    return segment


def _ask(network: MedSam, image: np.ndarray, box: np.ndarray, device: str, *, flips: bool) -> np.ndarray:
    """Probabilities `[4, side, side]`; with `flips` the mean over the eight orientations, the box turned along as an image."""
    inside = np.zeros_like(image)
    x0, y0, x1, y1 = np.round(box).astype(int)
    inside[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = 1

    def probability(batch: np.ndarray) -> np.ndarray:
        boxes = np.stack([_box_around(plane > 0.5) for plane in batch[:, 1]])
        with torch.inference_mode():
            logits = network(
                torch.from_numpy(np.ascontiguousarray(batch[:, :1])).to(device),
                torch.from_numpy(boxes.astype(np.float32)).to(device),
            )
        return logits.float().sigmoid().cpu().numpy()

    return average_over_orientations(probability, np.stack([image, inside])[None], flips=flips)[0]


def _box_around(mask: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return np.array([columns[0], rows[0], columns[-1], rows[-1]])


def unit_range(planes: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """`[slice, side, side]` to 0..1 by each plane's range (percentiles were clipped before), 0 outside the image."""
    low = planes.min(axis=(1, 2), keepdims=True)
    high = planes.max(axis=(1, 2), keepdims=True)
    return np.where(inside, (planes - low) / np.maximum(high - low, 1e-6), 0).astype(np.float32)


def input_grid(series: LgeSeries, center_lps_mm: np.ndarray, config: MedSamConfig) -> CropGrid:
    """The crop about the LV; the whole field as a square where the configuration states no pixel size."""
    if config.pixel_mm:
        return CropGrid(series.geometry, center_lps_mm, config.side, config.pixel_mm)
    g = series.geometry
    field_mm = max(n * mm for n, mm in zip(g.shape[1:], g.pixel_spacing_mm, strict=True))
    middle = g.index_to_lps(np.array([(n - 1) / 2 for n in g.shape]))
    return CropGrid(g, middle, config.side, field_mm / config.side)


def boxes_of(request: Request, finder: str | Path) -> tuple[list[np.ndarray | None], np.ndarray]:
    """Per slice two corners `(2, 3)` in LPS mm or None (no LV there), and a point inside the LV.

    The user's box serves every slice. Otherwise the finder's map gives each slice its own, and none where it sees no ventricle.
    """
    series = request.series
    if request.box_lps_mm is not None:
        box = np.asarray(request.box_lps_mm, float)
        if box.shape != (2, 3) or not np.isfinite(box).all():
            raise UsageError("A box is two corners of three numbers each (LPS, mm).")
        return [box] * len(series.image), box.mean(axis=0)
    network = load_network(find_model(finder, kind="finder"), device="cpu")
    center = request.lv_center_lps_mm if request.lv_center_lps_mm is not None else find_lv(series, network)
    boxes = lv_boxes(series, network, np.asarray(center, float))
    if not any(box is not None for box in boxes):
        raise InputError("No slice shows a left ventricle to put a box about; give one with --box.")
    return boxes, center


def lv_boxes(series: LgeSeries, finder, center_lps_mm: np.ndarray) -> list[np.ndarray | None]:
    """The finder's map near the ventricle, boxed per slice, with a margin."""
    grid = whole_field_grid(series, finder.card.input["pixel_mm"])
    crops, inside = grid.extract(series.image)
    found = average_over_orientations(lambda x: 1 / (1 + np.exp(-finder.logits(x))), normalise(crops, inside)[:, None])
    here = pixel_of(grid, center_lps_mm)
    rows, columns = np.indices(found.shape[-2:])
    near = np.hypot(rows - here[0], columns - here[1]) * grid.pixel_mm <= REACH_MM
    margin, boxes = BOX_MARGIN_MM / grid.pixel_mm, []
    for k, plane in enumerate((found[:, 0] > 0.5) & near):
        if not plane.any():
            boxes.append(None)
            continue
        x0, y0, x1, y1 = _box_around(plane)
        corners = ((y0 - 0.5 - margin, x0 - 0.5 - margin), (y1 + 0.5 + margin, x1 + 0.5 + margin))
        boxes.append(np.stack([grid.pixel_to_lps(k, *corner) for corner in corners]))
    return boxes


def pixel_of(grid: CropGrid, point_lps_mm: np.ndarray, slice_index: int = 0) -> np.ndarray:
    """Row and column of a point in the grid, as `extract` orders them: `pixel_to_lps` turned round, which is linear."""
    origin = grid.pixel_to_lps(slice_index, 0, 0)
    axes = np.stack([grid.pixel_to_lps(slice_index, 1, 0), grid.pixel_to_lps(slice_index, 0, 1)]) - origin
    return axes @ (point_lps_mm - origin) / (axes**2).sum(axis=1)


def box_in_grid(grid: CropGrid, slice_index: int, corners: np.ndarray | None) -> np.ndarray | None:
    """x0, y0, x1, y1 in the grid's pixels, cut to it; None where nothing of it lies inside."""
    if corners is None:
        return None
    pixels = np.stack([pixel_of(grid, corner, slice_index) for corner in corners])
    low, high = np.clip([pixels.min(axis=0), pixels.max(axis=0)], 0, grid.side - 1)
    if (high - low < 1).any():
        return None
    return np.array([low[1], low[0], high[1], high[0]])


def _torch_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("This computer has no usable 'cuda' device; use --device cpu.")
    return device
