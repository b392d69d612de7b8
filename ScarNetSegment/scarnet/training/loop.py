"""One training run: from prepared samples to an averaged state, resumable after a kill at any moment."""

import csv
import time
from dataclasses import dataclass
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, RichProgressBar
from torch.utils.data import DataLoader, Dataset

from scarnet.training.samples import NumberedSampler


@dataclass(frozen=True)
class RunParameters:
    """How long and how a network is trained. `seed` fixes weights and every sample."""

    epochs: int
    samples_per_epoch: int = 2000
    batch_size: int = 16
    learning_rate: float = 1e-3
    ema_decay: float = 0.998
    seed: int = 1
    accelerator: str = "auto"
    devices: int | str = "auto"
    optimizer: str = "adamw"  # or "muon", whose learning rates are ten times as large
    precision: str = "32-true"  # Lightning's; "bf16-mixed" is a third faster on processors that know bfloat16

    @property
    def averaging_decay(self) -> float:
        """Of the running mean of weights; in short runs less than asked for, so that the untrained start weighs below 2 %."""
        return min(self.ema_decay, max(1 - 4 / max(self.total_steps, 1), 0.0))

    @property
    def total_steps(self) -> int:
        return self.epochs * (self.samples_per_epoch // self.batch_size)


class EpochMetrics(L.Callback):
    """Appends one row per epoch to `metrics.csv`; a resumed run goes on below."""

    def __init__(self, path: Path):
        self.path, self.started = path, 0.0

    def on_train_epoch_start(self, trainer, module):
        self.started = time.time()

    def on_train_epoch_end(self, trainer, module):
        if not trainer.is_global_zero:
            return
        row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "loss": f"{float(trainer.callback_metrics['loss']):.5f}",
            "learning_rate": f"{trainer.optimizers[0].param_groups[0]['lr']:.3g}",
            "seconds": f"{time.time() - self.started:.1f}",
        }
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)


def run(
    module: L.LightningModule, samples: Dataset, folder: Path, parameters: RunParameters, *, progress: bool = True
) -> dict:
    """Train `module` and return the state dict of its `network`, averaged over the run (EMA).

    `folder` keeps `last.ckpt` (written whole after every epoch) and `metrics.csv`; when a checkpoint is there the run
    goes on from it and gives what an uninterrupted run would have given.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = ModelCheckpoint(folder, filename="epoch", save_last=True, save_top_k=1, monitor=None, every_n_epochs=1)
    trainer = L.Trainer(
        max_epochs=parameters.epochs,
        accelerator=parameters.accelerator,
        devices=parameters.devices,
        precision=parameters.precision,
        gradient_clip_val=1.0,
        callbacks=[
            checkpoint,
            EMAWeightAveraging(decay=parameters.averaging_decay),
            EpochMetrics(folder / "metrics.csv"),
        ]
        + ([RichProgressBar()] if progress else []),
        logger=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
    )
    loader = DataLoader(
        samples,
        batch_size=parameters.batch_size,
        sampler=NumberedSampler(parameters.samples_per_epoch),
        num_workers=0,
        drop_last=True,
    )
    last = folder / "last.ckpt"
    trainer.fit(module, loader, ckpt_path=last if last.is_file() else None, weights_only=False)
    return {key: value.detach().cpu() for key, value in module.network.state_dict().items()}
