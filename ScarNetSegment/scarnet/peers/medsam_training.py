"""Fine-tuning MedSAM on labelled LGE patients, with the same samples, loop and time limit as ScarNet."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from scarnet.errors import UsageError
from scarnet.files import replacing, sha256_of
from scarnet.network.build import save_weights
from scarnet.network.registry import CARD_NAME, WEIGHTS_NAME, ModelCard
from scarnet.peers.medsam_network import REGIONS, MedSam, MedSamConfig, load_checkpoint, medsam_preset
from scarnet.training.data import prepare
from scarnet.training.loop import RunParameters, run
from scarnet.training.losses import SMOOTH, nested_regions, one_minus_overlap
from scarnet.training.module import Schedule
from scarnet.training.samples import LgeSlices
from scarnet.training.train import CLASS_NAMES, DECISION, NORMALISATION, _chosen, _facts, _settle

TUNED = ("decoder", "full")
#: Samples are drawn no finer than LGE is acquired.
ACQUIRED_MM = 1.5
#: What the published size sees when it is fine-tuned; zero-shot it sees the whole image, whatever that is.
FIELD_MM = 384.0
#: How far each side of the box lies outside the drawn ventricle (mm), evenly between these: what the finder's boxes are like.
BOX_OUTSIDE_MM = (-4.0, 15.0)
#: A box where no ventricle is, mm: as large as one.
EMPTY_BOX_MM = 70.0


class MedSamTraining(Schedule):
    """Dice plus cross-entropy, as MedSAM is trained, on the four nested regions; the prompt encoder stays as it is (Ma 2024)."""

    def __init__(self, config: MedSamConfig, tune: str, checkpoint: Path | None = None, **schedule):
        super().__init__(**schedule)
        self.network = MedSam(config)
        if checkpoint is not None:
            load_checkpoint(self.network, checkpoint)
        self.pixel_mm, self.side = config.pixel_mm, config.side
        if checkpoint is not None:
            self.network.prompt_encoder.requires_grad_(False)
        if tune == "decoder":
            self.network.image_encoder.requires_grad_(False)

    def training_step(self, batch, number):
        images, target = batch
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        images = (images - low) / (high - low).clamp_min(1e-6)
        if images.shape[-1] != self.side:  # samples are drawn no finer than LGE is acquired
            images = F.interpolate(images, size=(self.side, self.side), mode="bilinear", align_corners=False)
            target = F.interpolate(target, size=(self.side, self.side), mode="bilinear", align_corners=False)
        # Boxes follow from the step, so that a resumed run meets the same ones.
        generator = torch.Generator().manual_seed(self.global_step)
        logits = self.network(images, boxes_about(target[:, 0] < 0.5, self.pixel_mm, generator).to(images.device))
        target = nested_regions(target)
        one_minus_dice = one_minus_overlap(logits.sigmoid(), target, 0.5, 0.5, SMOOTH / 2)
        loss = one_minus_dice + F.binary_cross_entropy_with_logits(logits, target)
        self.log("loss", loss, on_epoch=True, on_step=False, prog_bar=True)
        return loss


def boxes_about(lv: torch.Tensor, pixel_mm: float, generator: torch.Generator) -> torch.Tensor:
    """`(batch, 4)` x0, y0, x1, y1 about the ventricle, True in each `[row, column]`, every side moved by chance; a ventricle-sized box
    anywhere where there is none."""
    side = lv.shape[-1]
    boxes = []
    for plane in lv.cpu():
        rows, columns = (torch.nonzero(plane.any(dim=axis))[:, 0] for axis in (1, 0))
        low, high = BOX_OUTSIDE_MM
        outside = (low + (high - low) * torch.rand(4, generator=generator)) / pixel_mm
        place = torch.rand(2, generator=generator) * side
        if len(rows):
            box = torch.stack([columns[0], rows[0], columns[-1], rows[-1]]).float()
        else:
            half = EMPTY_BOX_MM / pixel_mm / 2
            box = torch.cat([place - half, place + half])
        x0, y0, x1, y1 = (box + outside * torch.tensor([-1.0, -1, 1, 1])).clamp(0, side - 1)
        boxes.append(
            torch.stack([torch.minimum(x0, x1), torch.minimum(y0, y1), torch.maximum(x0, x1), torch.maximum(y0, y1)])
        )
    return torch.stack(boxes)


def train_medsam(
    data: Path,
    output: Path,
    *,
    name: str,
    version: str = "1",
    preset_name: str = "medsam-small",
    tune: str = "full",
    checkpoint: Path | None = None,
    folds: list[int] | None = None,
    patients: list[str] | None = None,
    run_parameters: RunParameters,
    licence: str = "",
    citation: str = "",
    progress: bool = True,
) -> Path:
    """Fine-tune on the patients of `folds` and write a model folder; interrupted, the same call goes on.

    `tune`: "decoder" (the image encoder stays as it is) or "full". `checkpoint`: the published weights, for the preset `medsam`;
    without them the network starts from chance, which the card and every table say.
    """
    config, output = medsam_preset(preset_name), Path(output)
    if not config.pixel_mm:
        config = replace(config, pixel_mm=FIELD_MM / config.side)
    if tune not in TUNED:
        raise UsageError(f"MedSAM can be tuned as {' or '.join(TUNED)}; got '{tune}'.")
    if tune == "decoder" and checkpoint is None:
        raise UsageError("Tuning the decoder alone needs a trained image encoder: give the checkpoint with --start.")
    cases, started = _chosen(data, folds, patients), time.time()
    _settle(run_parameters.seed)
    module = MedSamTraining(
        config,
        tune,
        checkpoint,
        learning_rate=run_parameters.learning_rate,
        total_steps=run_parameters.total_steps,
    )
    pixel_mm = max(config.pixel_mm, ACQUIRED_MM)
    samples = LgeSlices(
        [prepare(case, pixel_mm) for case in cases],
        side=round(config.side * config.pixel_mm / pixel_mm),
        in_slices=1,
        pixel_mm=pixel_mm,
        num_classes=len(CLASS_NAMES),
        seed=run_parameters.seed,
    )
    state = run(module, samples, output / "run", run_parameters, progress=progress)
    module.network.load_state_dict(state)
    save_weights(module.network.eval(), output / WEIGHTS_NAME)
    card = ModelCard(
        name=name,
        version=version,
        kind="medsam",
        preset=preset_name,
        config=config.to_dict(),
        classes=list(REGIONS),
        input={
            "pixel_mm": config.pixel_mm,
            "side": config.side,
            "in_slices": 1,
            "normalisation": NORMALISATION + ", to 0..1",
        },
        decision=dict(DECISION),
        training=_facts(cases, folds, run_parameters, started, module.trainer.global_step)
        | {"tune": tune, "checkpoint": None if checkpoint is None else sha256_of(checkpoint)},
        files={WEIGHTS_NAME: sha256_of(output / WEIGHTS_NAME)},
        licence=licence,
        citation=citation,
    )
    with replacing(output / CARD_NAME) as part:
        part.write_text(card.to_json(), encoding="utf-8")
    shutil.rmtree(output / "run", ignore_errors=True)
    return output
