"""`scarnet cohort` on hundreds of simulated patients: how much faster more processes are, and what grows with patients.

Patients are simulated hearts of a few seeds, each with noise of its own, so that no two are alike. Each run is the command
itself; seconds per patient and memory are told for the quarters of a run, in which a leak or a slowing table would show.
"""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import numpy as np

from scarnet.evaluation.benchmark import OnStep, processors, spread
from scarnet.export.segmentation_file import write_volume
from scarnet.phantom import PhantomParameters, simulate

#: Hearts that are simulated; the others are these with more noise.
HEARTS = 6
#: Of the brightest percent's level, standard deviation of what is added.
NOISE_SHARE = 0.02
SAMPLE_SECONDS = 0.5
QUARTERS = 4


#: The file that `scarnet cohort` writes last into a patient's folder.
ROW_NAME = "row.json"


def write_patients(folder: Path, count: int, parameters: PhantomParameters = PhantomParameters()) -> None:
    """`count` NIfTI files, one a patient; the same for the same count."""
    folder.mkdir(parents=True, exist_ok=True)
    hearts = [simulate(parameters, seed=number).series for number in range(min(HEARTS, count))]
    for number in range(count):
        series, rng = hearts[number % len(hearts)], np.random.default_rng(number)
        noise = rng.normal(0, NOISE_SHARE * np.percentile(series.image, 99), series.image.shape)
        write_volume(folder / f"P{number:04d}.nii.gz", np.round(series.image + noise).astype(np.int16), series.geometry)


def time_many(patients: int, *, model: str = "default", on_step: OnStep | None = None) -> dict[str, Any]:
    """One run with one process and one with a process for each processor, of the same `patients`, JSON-ready."""
    say = on_step or (lambda text: None)
    with tempfile.TemporaryDirectory() as folder:
        say(f"Simulating {patients} patients")
        write_patients(Path(folder) / "in", patients)
        runs = {}
        for jobs in sorted({1, processors()}):
            say(f"{patients} patients on {jobs} process{'es' if jobs > 1 else ''}")
            runs[jobs] = _run(Path(folder) / "in", Path(folder) / f"out-{jobs}", jobs, model)
    most = max(runs)
    return {
        "patients": patients,
        "processes": most,
        "runs": [{"processes": jobs, **run} for jobs, run in runs.items()],
        "times_faster": None if most == 1 else round(runs[1]["seconds"] / runs[most]["seconds"], 3),
    }


def _run(source: Path, output: Path, jobs: int, model: str) -> dict[str, Any]:
    command = ["cohort", str(source), "-o", str(output), "--jobs", str(jobs), "--model", model, "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    start = time.time()
    process = Popen([sys.executable, "-m", "scarnet.cli", *command], env=environment, stdout=DEVNULL, stderr=DEVNULL)
    memory: list[tuple[float, float]] = []
    watcher = threading.Thread(target=_watch, args=(process, memory), daemon=True)
    watcher.start()
    code = process.wait()
    seconds = time.time() - start
    watcher.join()
    if code:
        raise RuntimeError(f"scarnet cohort ended with code {code}.")
    done = np.sort([state.stat().st_mtime for state in (output / "patients").glob(f"*/{ROW_NAME}")]) - start
    return {
        "seconds": round(seconds, 2),
        "patients_done": len(done),
        "seconds_per_patient_by_quarter": _by_quarter_seconds(done),
        "memory_mb_by_quarter": _by_quarter_memory(memory, seconds),
    }


def _by_quarter_seconds(done: np.ndarray) -> list[float]:
    """From the first patient on, so that the start of the processes does not count."""
    parts = np.array_split(np.diff(done), QUARTERS)
    return [round(float(part.mean()), 3) for part in parts if part.size]


def _by_quarter_memory(memory: list[tuple[float, float]], seconds: float) -> list[dict[str, float]]:
    """Resident memory of the command and its processes together; empty where the system does not tell."""
    found = []
    for quarter in range(QUARTERS):
        low, high = seconds * quarter / QUARTERS, seconds * (quarter + 1) / QUARTERS
        values = [mb for at, mb in memory if low <= at < high]
        if values:
            found.append(spread(values))
    return found


def _watch(process: Popen, memory: list[tuple[float, float]]) -> None:
    start = time.time()
    while process.poll() is None:
        mb = tree_memory_mb(process.pid)
        if mb:
            memory.append((time.time() - start, mb))
        time.sleep(SAMPLE_SECONDS)


def tree_memory_mb(pid: int) -> float:
    """Resident memory of a process and all below it, without what they share; 0 where the system does not tell (not Linux)."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has just ended
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    total, waiting = 0.0, [pid]
    while waiting:
        one = waiting.pop()
        waiting += parents.get(one, [])
        try:
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(float(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))
    return round(total, 1)
