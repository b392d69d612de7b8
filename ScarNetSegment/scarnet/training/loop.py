"""One training run: from prepared samples to an averaged state, resumable after a kill at any moment."""

from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger
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

    @property
    def total_steps(self) -> int:
        return self.epochs * (self.samples_per_epoch // self.batch_size)


def run(module: L.LightningModule, samples: Dataset, folder: Path, parameters: RunParameters, *, progress: bool = True) -> dict:
    """Train `module` and return the state dict of its `network`, averaged over the run (EMA).

    `folder` keeps `last.ckpt` (written whole after every epoch) and `metrics.csv`; when a checkpoint is there the run
    goes on from it and gives what an uninterrupted run would have given.
    """
    folder = Path(folder)
    checkpoint = ModelCheckpoint(folder, filename="epoch", save_last=True, save_top_k=1, monitor=None, every_n_epochs=1)
    trainer = L.Trainer(
        max_epochs=parameters.epochs,
        accelerator=parameters.accelerator,
        devices=parameters.devices,
        gradient_clip_val=1.0,
        callbacks=[checkpoint, EMAWeightAveraging(decay=parameters.ema_decay)] + ([RichProgressBar()] if progress else []),
        logger=CSVLogger(folder, name="", version=""),
        enable_progress_bar=progress,
        enable_model_summary=False,
        log_every_n_steps=50,
        use_distributed_sampler=True,
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
