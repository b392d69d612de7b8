"""One training run: from prepared samples to an averaged state, resumable after a kill at any moment."""

import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, RichProgressBar, Timer, WeightAveraging
from lightning.pytorch.trainer.states import RunningStage
from torch.utils.data import DataLoader, Dataset

from scarnet.errors import UsageError
from scarnet.training.samples import NumberedSampler

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")
ACCELERATORS = ("auto", "cpu", "gpu", "mps")


@dataclass(frozen=True)
class RunParameters:
    """How long and how a network is trained. `seed` fixes weights and every sample.

    With `minutes` training takes that long by the `clock`, whatever `epochs` says: rate and running mean then follow the time that is
    spent, so that a fast network gets more steps than a slow one. Such a run is not the same run on another machine. `clock`: "wall",
    or "processor" for the time that this process was at work, which on a busy machine is what rivals can be given equally.
    Raises UsageError for a precision or processor that is not known, or not here.
    """

    epochs: int
    samples_per_epoch: int = 2000
    batch_size: int = 16
    learning_rate: float = 1e-3
    ema_decay: float = 0.998
    seed: int = 1
    accelerator: str = "auto"
    devices: int | str = "auto"
    minutes: float | None = None
    clock: str = "wall"
    optimizer: str = "adamw"  # or "muon", whose learning rates are ten times as large
    precision: str = "32-true"  # Lightning's; "bf16-mixed" is a third faster on processors that know bfloat16

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise UsageError(f"No precision is called '{self.precision}'; known are {', '.join(PRECISIONS)}.")
        if self.accelerator not in ACCELERATORS:
            raise UsageError(f"No accelerator is called '{self.accelerator}'; known are {', '.join(ACCELERATORS)}.")
        mps = torch.backends.mps.is_available()
        if not {"gpu": mps or torch.cuda.is_available(), "mps": mps}.get(self.accelerator, True):
            raise UsageError(f"This computer has no '{self.accelerator}' that PyTorch can use; give --accelerator cpu.")

    @property
    def averaging_decay(self) -> float:
        """Of the running mean of weights; in short runs less than asked for, so that the untrained start weighs below 2 %."""
        return min(self.ema_decay, max(1 - 4 / max(self.total_steps, 1), 0.0))

    @property
    def total_steps(self) -> int:
        return self.epochs * (self.samples_per_epoch // self.batch_size)


#: Share of a timed run in which the rate climbs.
TIMED_WARM_UP = 0.05


CLOCKS = {"wall": time.monotonic, "processor": time.process_time}


class TimeBudget(Timer):
    """Ends training when `minutes` are spent (a resumed run goes on counting) and lets the rate fall to zero by then."""

    def __init__(self, minutes: float, clock: str = "wall"):
        super().__init__(duration={"seconds": 60 * minutes}, interval="step", verbose=False)
        self.seconds, self.clock, self.started = 60 * minutes, CLOCKS[clock], None

    def on_train_start(self, trainer, module):
        self.started = self.clock()

    def time_elapsed(self, stage=RunningStage.TRAINING) -> float:
        if stage != RunningStage.TRAINING:
            return 0.0
        return self._offset + (self.clock() - self.started if self.started is not None else 0.0)

    def on_train_batch_start(self, trainer, module, batch, batch_index):
        factor = timed_factor(self.time_elapsed() / self.seconds)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor


def timed_factor(share: float) -> float:
    """Of the learning rate after a `share` of the time: a linear warm-up and a cosine to zero, as over steps."""
    if share < TIMED_WARM_UP:
        return max(share / TIMED_WARM_UP, 0.02)
    return 0.5 * (1 + math.cos(math.pi * min((share - TIMED_WARM_UP) / (1 - TIMED_WARM_UP), 1.0)))


def timed_average(decay: float) -> WeightAveraging:
    """Running mean of weights where the number of steps is not known: over the last tenth of them, at most `decay`'s reach."""

    def average(mean, current, count):
        kept = min(decay, float(1 + count) / float(10 + count))
        return mean * kept + current * (1 - kept)

    return WeightAveraging(use_buffers=True, avg_fn=average)


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
    timed = parameters.minutes is not None
    metrics = EpochMetrics(folder / "metrics.csv")
    average = timed_average(parameters.ema_decay) if timed else EMAWeightAveraging(decay=parameters.averaging_decay)
    trainer = L.Trainer(
        max_epochs=-1 if timed else parameters.epochs,
        accelerator=parameters.accelerator,
        devices=parameters.devices,
        precision=parameters.precision,
        gradient_clip_val=1.0,
        callbacks=[
            checkpoint,
            average,
            metrics,
        ]
        + ([TimeBudget(parameters.minutes, parameters.clock)] if timed else [])
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
    if not metrics.started and last.is_file():
        # It was killed when all was trained and before the model was written: Lightning then runs no epoch and no end, which is where
        # the mean of the weights would have been put in place. The checkpoint keeps it as its own state.
        module.load_state_dict(torch.load(last, map_location="cpu", weights_only=False)["state_dict"])
    return {key: value.detach().cpu() for key, value in module.network.state_dict().items()}
