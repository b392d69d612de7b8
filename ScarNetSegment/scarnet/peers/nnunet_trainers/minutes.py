"""nnU-Net's own trainer for a given time: found by nnU-Net through `nnUNet_extTrainer`, run in nnU-Net's environment.

Architecture, loss, augmentation, optimiser and rate (polynomial, exponent 0.9) are nnU-Net's. The rate falls with the time that is
spent in place of epochs; the validation that only monitors is one batch; the one after training, on patients trained on, is left out.
This file imports nothing of ScarNet.
"""

import json
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

#: Seconds between checkpoints: a killed run loses no more.
EPOCH_SECONDS = 120.0
CLOCK_NAME = "minutes.json"


class nnUNetTrainerMinutes(nnUNetTrainer):  # noqa: N801: nnU-Net finds trainers by names like its own
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.seconds = 60 * float(os.environ.get("SCARNET_MINUTES", "60"))
        self.num_epochs = 1_000_000
        self.num_val_iterations_per_epoch = 1
        self.save_every = 1
        self.clock = {"wall": time.monotonic, "processor": time.process_time}[os.environ.get("SCARNET_CLOCK", "wall")]
        self.spent_before, self.started, self.steps = 0.0, None, 0
        seed = int(os.environ.get("SCARNET_SEED", "1"))
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - what nnU-Net and batchgenerators draw from
        torch.manual_seed(seed)
        if hasattr(os, "sched_getaffinity"):  # nnU-Net asks for all processors, also those it may not use
            torch.set_num_threads(len(os.sched_getaffinity(0)))

    def spent(self) -> float:
        """Seconds of training, earlier runs included."""
        return self.spent_before + (self.clock() - self.started if self.started is not None else 0.0)

    def run_training(self):
        self.on_train_start()
        self.started = self.clock()
        while self.spent() < self.seconds:
            self.on_epoch_start()
            self.on_train_epoch_start()
            outputs, until = [], self.spent() + EPOCH_SECONDS
            while not outputs or self.spent() < min(until, self.seconds):
                self._set_rate()
                outputs.append(self.train_step(next(self.dataloader_train)))
                self.steps += 1
            self.on_train_epoch_end(outputs)
            with torch.no_grad():
                self.on_validation_epoch_start()
                self.on_validation_epoch_end([self.validation_step(next(self.dataloader_val))])
            self.on_epoch_end()
        self.on_train_end()

    def _set_rate(self):
        share = min(self.spent() / self.seconds, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.initial_lr * (1 - share) ** 0.9

    def perform_actual_validation(self, save_probabilities: bool = False):
        self.print_to_log_file(
            f"{self.steps} steps in {self.spent() / 60:.1f} minutes; no validation on patients trained on."
        )

    def save_checkpoint(self, filename: str) -> None:
        super().save_checkpoint(filename + ".part")
        os.replace(filename + ".part", filename)
        part = Path(filename).with_name(CLOCK_NAME + ".part")
        part.write_text(json.dumps({"seconds": self.spent(), "steps": self.steps}), encoding="utf-8")
        part.replace(part.with_name(CLOCK_NAME))

    def load_checkpoint(self, filename_or_checkpoint) -> None:
        super().load_checkpoint(filename_or_checkpoint)
        clock = Path(self.output_folder or ".") / CLOCK_NAME
        if clock.is_file():
            kept = json.loads(clock.read_text(encoding="utf-8"))
            self.spent_before, self.steps = kept["seconds"], kept["steps"]
