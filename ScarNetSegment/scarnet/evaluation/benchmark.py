"""How long the main job takes, step by step, on this computer: first and warm, beside peers, and how it grows.

Every figure is a median over repeats with the smallest and largest beside it. What is compared is timed in turn within one
process, and each ratio is taken between neighbours, so that a busy computer disturbs both sides alike.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import scarnet
from scarnet.network import find_model, load_network
from scarnet.network.runtime import thread_count
from scarnet.series import LgeSeries, StackGeometry, read_lge

SCHEMA = "scarnet-benchmark/1"
STEPS = ("read", "find", "infer", "clean", "measure", "report")
#: What each step is, for readers.
STEP_TEXTS = {
    "read": "files to a stack with its geometry",
    "find": "the left ventricle in the full field of view",
    "infer": "crop, normalise, network on all slices as its card says, back to the images' grid",
    "clean": "decide, clean, doubt",
    "measure": "volumes, segments, thresholds, transmurality",
    "report": "label map, segmentation, tables, HTML and PDF",
}
#: What a cold command imports, whoever wrote it.
LIBRARIES = (
    "numpy scipy.ndimage scipy.stats SimpleITK pydicom PIL.Image onnxruntime jinja2 reportlab slicerio typer rich"
)
GROWTH_SLICES = (5, 10, 20)
GROWTH_FACTORS = (1, 2)
#: Copies of the case for each process that `scarnet cohort` is timed with.
PATIENTS_PER_PROCESS = 8

OnStep = Callable[[str], None]


def benchmark(
    path: Path,
    *,
    model: str = "default",
    repeats: int = 5,
    peers: bool = True,
    growth: bool = True,
    cohort: bool = True,
    patients: int | None = None,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Everything there is to time on the LGE series at `path`, JSON-ready (schema `scarnet-benchmark/1`).

    `peers`: other runtimes and networks, where they are installed; `growth`: with slices and pixels; `cohort`: many patients on
    one processor and on all; `patients`: as many simulated ones, once with one process and once with all. Each part runs in a
    process of its own. Raises InputError and ModelError as `segment` does.
    """
    say = on_step or (lambda text: None)
    series = read_lge(path)
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "software": scarnet.__version__,
        "model": {"name": load_card(model).name, "version": load_card(model).version},
        "repeats": repeats,
        "computer": describe_computer(),
        "input": {
            "kind": series.source.kind,
            "shape": list(series.geometry.shape),
            "pixel_spacing_mm": list(series.geometry.pixel_spacing_mm),
        },
    }
    say("The case, step by step")
    result["case"] = in_own_process(time_case, path, model, repeats)
    say("The cold command")
    result["command"] = time_command(path, model, repeats)
    if growth:
        say("Growth with slices and pixels")
        result["growth"] = in_own_process(time_growth, path, model, repeats)
    if cohort:
        say("Many patients")
        result["cohort"] = time_cohort(path, model, repeats)
    if patients is not None:
        from scarnet.evaluation.benchmark_cohort import time_many

        result["many"] = time_many(patients, model=model, on_step=say)
    if peers:
        from scarnet.evaluation.benchmark_peers import PEERS

        result["peers"] = {}
        for name, peer in PEERS.items():
            say(f"Beside {name}")
            result["peers"][name] = in_own_process(peer, path, model, repeats)
    return result


def load_card(model: str):
    from scarnet.network import read_card

    return read_card(find_model(model))


def describe_computer() -> dict[str, Any]:
    """What the figures depend on; names no user and no host."""
    return {
        "processor": _processor_name(),
        "threads": thread_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def spread(values: list[float]) -> dict[str, float]:
    """Median, smallest, largest, number; rounded to a tenth of a millisecond where these are seconds."""
    return {
        "median": round(float(np.median(values)), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
        "n": len(values),
    }


def in_own_process(function: Callable, *arguments) -> Any:
    """`function` where nothing was imported or loaded before: firsts are firsts, and peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak_memory_mb() -> float | None:
    """Of this process so far; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


class Stopwatch:
    """Seconds of named pieces of work, in order."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str):
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def whole_job(path: Path, model: str) -> None:
    """What `scarnet segment` does, warm: from files to everything it leaves in its folder."""
    from scarnet.export import write_outputs
    from scarnet.quantification import quantify
    from scarnet.segmentation import segment

    series = read_lge(path)
    segmentation = segment(series, model=model, device="cpu")
    report = quantify(series, segmentation.labels, segmentation=segmentation)
    with tempfile.TemporaryDirectory() as folder:
        write_outputs(Path(folder) / "out", series, segmentation.labels, report, segmentation=segmentation)


def run_steps(path: Path, model: str) -> dict[str, float]:
    """One pass of the main job, as `scarnet.segmentation.segment` and `scarnet segment` walk it: seconds per step.

    `segment` runs the network a second time where its first crop lies askew; here it runs once.
    """
    clock = Stopwatch()
    with clock("read"):
        series = read_lge(path)
    with clock("find"):
        from scarnet.segmentation.finder import find_lv

        center = find_lv(series, load_network(find_model(kind="finder"), device="cpu"))
    with clock("infer"):
        from scarnet.segmentation.viewer import crop_grid, look

        network = load_network(find_model(model), device="cpu")
        flips = network.card.decision.get("test_time_flips", False)
        probabilities, _ = look(series, network, crop_grid(series, network, center), flips=flips)
    with clock("clean"):
        segmentation = _finish(series, network, center, probabilities)
    with clock("measure"):
        from scarnet.quantification import quantify

        report = quantify(series, segmentation.labels, segmentation=segmentation)
    with clock("report"), tempfile.TemporaryDirectory() as folder:
        from scarnet.export import write_outputs

        write_outputs(Path(folder) / "out", series, segmentation.labels, report, segmentation=segmentation)
    return clock.seconds


def _finish(series: LgeSeries, network, center: np.ndarray, probabilities: np.ndarray):
    from scarnet.segmentation import ScarSegmentation
    from scarnet.segmentation.cleaning import slice_doubt
    from scarnet.segmentation.segment import labels_of

    labels = labels_of(probabilities, series.geometry, network.card.decision)
    doubt = slice_doubt(probabilities, labels)
    return ScarSegmentation(labels, probabilities, center, doubt, model=network.describe())


def time_case(path: Path, model: str, repeats: int) -> dict[str, Any]:
    """First pass (libraries and models are loaded when they are met) and warm ones, per step, and the memory they took."""
    first = run_steps(path, model)
    warm = [run_steps(path, model) for _ in range(repeats)]
    return {
        "first_s": {step: round(first[step], 4) for step in STEPS},
        "first_total_s": round(sum(first.values()), 4),
        "warm_s": {step: spread([one[step] for one in warm]) for step in STEPS},
        "warm_total_s": spread([sum(one.values()) for one in warm]),
        "peak_memory_mb": peak_memory_mb(),
    }


def time_command(path: Path, model: str, repeats: int) -> dict[str, Any]:
    """`scarnet segment` from a cold start, in turn with a bare import of the libraries that it uses."""
    imports = "import " + ", ".join(LIBRARIES.split())
    whole, libraries, own_processor = [], [], []
    for _ in range(repeats):
        before = _children_seconds()
        with tempfile.TemporaryDirectory() as folder:
            command = ["-m", "scarnet.cli", "segment", str(path), "-o", folder, "--model", model, "--device", "cpu"]
            whole.append(_seconds_of([sys.executable, *command]))
        between = _children_seconds()
        libraries.append(_seconds_of([sys.executable, "-c", imports]))
        own_processor.append(2 * between - before - _children_seconds())
    own = [a - b for a, b in zip(whole, libraries, strict=True)]
    found = {"whole_s": spread(whole), "import_of_libraries_s": spread(libraries), "own_s": spread(own)}
    return found | ({"own_processor_s": spread(own_processor)} if max(own_processor) > 0 else {})


def _children_seconds() -> float:
    """Processor time of processes that were started here and have ended: what a busy computer does not lengthen."""
    times = os.times()
    return times.children_user + times.children_system


def time_cohort(path: Path, model: str, repeats: int) -> dict[str, Any]:
    """`scarnet cohort` on copies of the case, with one process and with one per processor, in turn; start-up included."""
    processes = processors()
    if processes < 2:
        return {"skipped": "there is one processor"}
    patients = PATIENTS_PER_PROCESS * processes
    seconds: dict[int, list[float]] = {1: [], processes: []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(patients):
            target = Path(folder) / "in" / f"P{number:03d}"
            if Path(path).is_dir():
                shutil.copytree(path, target)
            else:
                target.mkdir(parents=True)
                shutil.copy2(path, target)
        for turn in range(repeats):
            for jobs, found in seconds.items():
                out = Path(folder) / f"out-{turn}-{jobs}"
                command = ["cohort", str(Path(folder) / "in"), "-o", str(out), "--jobs", str(jobs), "--model", model]
                found.append(_seconds_of([sys.executable, "-m", "scarnet.cli", *command, "--device", "cpu"]))
    return {
        "patients": patients,
        "processes": processes,
        "one_process_s": spread(seconds[1]),
        "all_processes_s": spread(seconds[processes]),
        "times_faster": spread([a / b for a, b in zip(*seconds.values(), strict=True)]),
    }


def processors() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _seconds_of(command: list[str]) -> float:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def time_growth(path: Path, model: str, repeats: int) -> dict[str, Any]:
    """Seconds of segmenting and measuring, warm, for stacks of more slices and of finer pixels of the same heart."""
    from scarnet.quantification import quantify
    from scarnet.segmentation import segment

    series = read_lge(path)
    stacks = {
        "slices": [(count, with_slices(series, count)) for count in GROWTH_SLICES],
        "pixels": [(f.image.shape[1] * f.image.shape[2], f) for f in (finer(series, k) for k in GROWTH_FACTORS)],
    }
    found: dict[str, Any] = {}
    for name, sizes in stacks.items():
        found[name] = []
        for size, stack in sizes:
            seconds = []
            for _ in range(repeats + 1):
                start = time.perf_counter()
                segmentation = segment(stack, model=model, device="cpu")
                quantify(stack, segmentation.labels, segmentation=segmentation)
                seconds.append(time.perf_counter() - start)
            found[name].append({name: size, "seconds": spread(seconds[1:])})
    return found


def with_slices(series: LgeSeries, count: int) -> LgeSeries:
    """The same length of heart in `count` slices: the nearest slice's image at each new position."""
    geometry = series.geometry
    places = np.linspace(0, geometry.shape[0] - 1, count)
    origins = np.stack(
        [np.interp(places, range(geometry.shape[0]), axis) for axis in geometry.slice_origins_mm.T], axis=1
    )
    shape = (count, *geometry.shape[1:])
    return replace(
        series,
        image=series.image[np.round(places).astype(int)],
        geometry=StackGeometry(
            shape, geometry.pixel_spacing_mm, geometry.column_direction, geometry.row_direction, origins
        ),
    )


def finer(series: LgeSeries, factor: int) -> LgeSeries:
    """Every pixel as `factor` by `factor` smaller ones."""
    geometry = series.geometry
    spacing = np.array(geometry.pixel_spacing_mm)
    shift = (1 / factor - 1) / 2 * (geometry.row_direction * spacing[0] + geometry.column_direction * spacing[1])
    image = series.image.repeat(factor, axis=1).repeat(factor, axis=2)
    return replace(
        series,
        image=image,
        geometry=StackGeometry(
            image.shape,
            tuple(spacing / factor),
            geometry.column_direction,
            geometry.row_direction,
            geometry.slice_origins_mm + shift,
        ),
    )
