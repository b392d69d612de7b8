"""Running a network: ONNX Runtime on a processor, torch on a GPU. Loading happens once per process."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from scarnet.errors import ModelError, UsageError
from scarnet.network.registry import ONNX_NAME, WEIGHTS_NAME, ModelCard, verify

DEVICES = ("auto", "cpu", "cuda", "mps")
#: Set to choose the number of threads, as where many processes share the processors.
THREADS_VARIABLE = "SCARNET_THREADS"


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready to run.

    `logits`: float32 `[n, channels, side, side]` to float32 `[n, classes, side, side]`. Raises MemoryError when the
    device has too little memory.
    """

    card: ModelCard
    logits: Callable[[np.ndarray], np.ndarray]
    runtime: str
    device: str

    def describe(self) -> dict:
        """For the provenance of a report."""
        return {
            "name": self.card.name,
            "version": self.card.version,
            "sha256": self.card.sha256,
            "runtime": self.runtime,
            "device": self.device,
            "licence": self.card.licence,
            "interval": self.card.interval,
        }


def thread_count() -> int:
    """Processors to use: all of a small machine; on a larger one some are left to Slicer and the views."""
    if (chosen := os.environ.get(THREADS_VARIABLE, "")).isdigit() and int(chosen) > 0:
        return int(chosen)
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # Windows and macOS do not know affinity
        available = os.cpu_count() or 1
    return available if available <= 4 else min(available - 2, 8)


def load_network(folder: Path, *, device: str = "auto", runtime: str | None = None) -> LoadedNetwork:
    """Load a model folder after checking its hashes.

    `device`: "auto" takes a GPU only where torch is installed and sees one. `runtime`: "onnxruntime" or "torch", chosen
    by the device unless given.
    """
    if device not in DEVICES:
        raise UsageError(f"Unknown device '{device}'; use one of {', '.join(DEVICES)}.")
    return _load(Path(folder).resolve(), device, runtime)


@lru_cache(maxsize=4)
def _load(folder: Path, device: str, runtime: str | None) -> LoadedNetwork:
    card = verify(folder)
    device = _choose_device(device)
    runtime = runtime or ("onnxruntime" if device == "cpu" and ONNX_NAME in card.files else "torch")
    if runtime == "onnxruntime":
        return LoadedNetwork(card, _onnx_logits(folder / ONNX_NAME), "onnxruntime", "cpu")
    return LoadedNetwork(card, _torch_logits(folder / WEIGHTS_NAME, card, device), "torch", device)


def _choose_device(device: str) -> str:
    if device == "cpu":
        return "cpu"
    try:
        import torch
    except ImportError:
        if device == "auto":
            return "cpu"
        raise UsageError(
            f"Device '{device}' needs PyTorch: install slicer-scarnet[training], or use --device cpu."
        ) from None
    available = [
        name
        for name, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()))
        if there
    ]
    if device == "auto":
        return available[0] if available else "cpu"
    if device not in available:
        raise UsageError(f"This computer has no usable '{device}' device; use --device cpu.")
    return device


def _onnx_logits(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.inter_op_num_threads = 1
    # Spinning threads win a little here and slow everything else on the computer down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path.name} cannot be run by ONNX Runtime {onnxruntime.__version__} ({error}).") from error
    name = session.get_inputs()[0].name
    return lambda slices: session.run(None, {name: np.ascontiguousarray(slices, np.float32)})[0]


def _torch_logits(path: Path, card: ModelCard, device: str) -> Callable[[np.ndarray], np.ndarray]:
    import torch

    from scarnet.network.build import build, load_weights

    network = build(card.kind, card.config)
    load_weights(network, path)
    if device == "cpu":
        from scarnet.network.faster import faster

        network = faster(network)
    network = network.to(device).eval()
    half = device == "cuda"
    if device != "cpu":
        network = network.to(memory_format=torch.channels_last)

    def logits(slices: np.ndarray) -> np.ndarray:
        try:
            with torch.inference_mode(), torch.autocast(device, torch.float16, enabled=half):
                return (
                    network(torch.from_numpy(np.ascontiguousarray(slices, np.float32)).to(device)).float().cpu().numpy()
                )
        except torch.cuda.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError("The GPU has too little memory for this network.") from error

    return logits
