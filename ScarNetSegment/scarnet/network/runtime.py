"""Running a network: ONNX Runtime (or OpenVINO) on a processor, torch on a GPU. Loading happens once per process.

ONNX Runtime is what a card means that names no runtime: OpenVINO was no faster here at equal precision (`scarnet benchmark`),
needs seconds to compile a network, and is one more package.
"""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from scarnet.errors import ModelError, UsageError
from scarnet.network.batches import Batches, DeviceMemory
from scarnet.network.registry import ONNX_NAME, WEIGHTS_NAME, ModelCard, verify

DEVICES = ("auto", "cpu", "cuda", "mps")
RUNTIMES = ("auto", "onnxruntime", "openvino", "torch")
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

    `device`: "auto" takes a GPU only where torch is installed and sees one. `runtime`: one of `RUNTIMES`; None and "auto":
    torch on a GPU, on a processor what the card names, where it is installed. Raises UsageError for what is not there.
    """
    if device not in DEVICES:
        raise UsageError(f"Unknown device '{device}'; use one of {', '.join(DEVICES)}.")
    if runtime is not None and runtime not in RUNTIMES:
        raise UsageError(f"Unknown runtime '{runtime}'; use one of {', '.join(RUNTIMES)}.")
    return _load(Path(folder).resolve(), device, None if runtime == "auto" else runtime)


@lru_cache(maxsize=4)
def _load(folder: Path, device: str, runtime: str | None) -> LoadedNetwork:
    card = verify(folder)
    if runtime in _FOR_PROCESSORS:
        if device not in ("auto", "cpu"):
            raise UsageError(f"{runtime} runs on the processor here; leave --device out, or use --runtime torch.")
        if ONNX_NAME not in card.files:
            raise UsageError(f"The model {card.name} holds no {ONNX_NAME}, which {runtime} needs; use --runtime torch.")
        return LoadedNetwork(card, _FOR_PROCESSORS[runtime](folder / ONNX_NAME), runtime, "cpu")
    device = _choose_device(device)
    if runtime is None and device == "cpu" and ONNX_NAME in card.files:
        named = card.runtime if card.runtime in _FOR_PROCESSORS else "onnxruntime"
        if named == "openvino" and importlib.util.find_spec("openvino") is None:
            named = "onnxruntime"  # the same network; the report says by which it was run
        return LoadedNetwork(card, _FOR_PROCESSORS[named](folder / ONNX_NAME), named, "cpu")
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
    # Threads that spin while a network runs win a tenth; between runs they would slow everything else on the computer down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path.name} cannot be run by ONNX Runtime {onnxruntime.__version__} ({error}).") from error
    name = session.get_inputs()[0].name
    return lambda slices: session.run(None, {name: np.ascontiguousarray(slices, np.float32)})[0]


def _openvino_logits(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    try:
        import openvino
    except ImportError:
        raise UsageError(
            "OpenVINO is not installed: pip install slicer-scarnet[openvino], or leave --runtime out."
        ) from None

    options = {
        "INFERENCE_NUM_THREADS": thread_count(),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # its own choice, bfloat16 where the processor has it, moves logits by a tenth
        "ENABLE_CPU_PINNING": False,
    }
    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(path), "CPU", options)
    except Exception as error:
        raise ModelError(f"{path.name} cannot be run by OpenVINO {openvino.__version__} ({error}).") from error
    return lambda slices: np.array(compiled(np.ascontiguousarray(slices, np.float32))[0])


#: What runs `network.onnx` on a processor.
_FOR_PROCESSORS = {"onnxruntime": _onnx_logits, "openvino": _openvino_logits}


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
        with torch.inference_mode(), torch.autocast(device, torch.float16, enabled=half):
            return network(torch.from_numpy(np.ascontiguousarray(slices, np.float32)).to(device)).float().cpu().numpy()

    return logits if device == "cpu" else Batches(logits, _memory_of(torch, device))


def _memory_of(torch, device: str) -> DeviceMemory:
    """Of a GPU, as torch tells it."""

    def is_exhausted(error: BaseException) -> bool:
        # Apple's backend has no exception of its own for it.
        return isinstance(error, torch.cuda.OutOfMemoryError) or (
            isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
        )

    if device == "cuda":
        cuda = torch.cuda
        return DeviceMemory(
            # What torch holds back without using it can be had as well.
            free=lambda: cuda.mem_get_info()[0] + cuda.memory_reserved() - cuda.memory_allocated(),
            used=cuda.memory_allocated,
            peak=cuda.max_memory_allocated,
            reset_peak=cuda.reset_peak_memory_stats,
            release=cuda.empty_cache,
            is_exhausted=is_exhausted,
        )
    mps = torch.mps
    return DeviceMemory(
        free=lambda: mps.recommended_max_memory() - mps.driver_allocated_memory(),
        used=mps.current_allocated_memory,
        peak=mps.driver_allocated_memory,  # it counts no peak of its own; what the driver holds is at least that
        reset_peak=mps.empty_cache,
        release=mps.empty_cache,
        is_exhausted=is_exhausted,
    )
