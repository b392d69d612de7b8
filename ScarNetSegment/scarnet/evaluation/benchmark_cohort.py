"""`scarnet cohort` on hundreds of simulated patients: how much faster more processes are, and what grows with patients.

Patients are simulated hearts of a few seeds, each with noise of its own, so that no two are alike. Each run is the command
itself. Runs take turns of a few patients, all others meanwhile stopped: what else slows the computer slows them alike.
Seconds per patient and memory are told for the quarters of a run, in which a leak or a slowing table would show.
"""

import os
import signal
import sys
import tempfile
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
#: A run's turn, and how often it is looked at.
TURN_PATIENTS, LOOK_SECONDS = 20, 0.25
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
    """A run with one process and one with a process for each processor, of the same `patients`, in turns; JSON-ready."""
    say = on_step or (lambda text: None)
    with tempfile.TemporaryDirectory() as folder:
        say(f"Simulating {patients} patients")
        write_patients(Path(folder) / "in", patients)
        runs = [_Run(Path(folder), jobs, model) for jobs in sorted({1, processors()})]
        turn = TURN_PATIENTS if hasattr(signal, "SIGSTOP") else patients
        try:
            for wanted in [*range(turn, patients, turn), patients]:
                say(f"Patient {wanted} of {patients}, with each number of processes")
                for run in runs:
                    run.take_turn(wanted, last=wanted == patients)
        finally:
            for run in runs:
                run.end()
    one, most = runs[0], runs[-1]
    return {
        "patients": patients,
        "processes": most.jobs,
        "runs": [run.result() for run in runs],
        "times_faster": None if most is one else round(sum(one.seconds) / sum(most.seconds), 3),
        "times_faster_by_turn": None
        if most is one
        else spread([a / b for a, b in zip(one.seconds, most.seconds, strict=True)]),
    }


class _Run:
    """`scarnet cohort`, which works only in its turns."""

    def __init__(self, folder: Path, jobs: int, model: str):
        self.jobs, self._output = jobs, folder / f"out-{jobs}"
        arguments = ["cohort", str(folder / "in"), "-o", str(self._output), "--jobs", str(jobs), "--model", model]
        self._command = [sys.executable, "-m", "scarnet.cli", *arguments, "--device", "cpu"]
        self._process: Popen | None = None
        #: Of each turn: seconds, patients done in it, memory.
        self.seconds: list[float] = []
        self._patients: list[int] = []
        self._memory_mb: list[list[float]] = []

    def take_turn(self, wanted: int, *, last: bool) -> None:
        """Until `wanted` patients are done, or the whole run is. Raises RuntimeError where it fails."""
        before, memory, start = self._done(), [], time.monotonic()
        self._go_on()
        while self._process.poll() is None and (last or self._done() < wanted):
            memory.append(tree_memory_mb(self._process.pid))
            time.sleep(LOOK_SECONDS)
        self.seconds.append(time.monotonic() - start)
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGSTOP)
        elif self._process.returncode or not last:
            raise RuntimeError(f"scarnet cohort ended early, with code {self._process.returncode}.")
        self._patients.append(self._done() - before)
        self._memory_mb.append([mb for mb in memory if mb])

    def _go_on(self) -> None:
        if self._process is None:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
            # A group of its own, so that its processes stop and go on with it.
            self._process = Popen(
                self._command, env=environment, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
            )
        else:
            os.killpg(self._process.pid, signal.SIGCONT)

    def _done(self) -> int:
        return sum(1 for _ in (self._output / "patients").glob(f"*/{ROW_NAME}"))

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()

    def result(self) -> dict[str, Any]:
        quarters = [part for part in np.array_split(np.arange(len(self.seconds)), QUARTERS) if part.size]
        return {
            "processes": self.jobs,
            "seconds": round(sum(self.seconds), 2),
            "patients_done": sum(self._patients),
            "seconds_per_patient_by_quarter": [
                round(sum(self.seconds[n] for n in part) / max(sum(self._patients[n] for n in part), 1), 3)
                for part in quarters
            ],
            # Empty where the system does not tell.
            "memory_mb_by_quarter": [
                spread(found) for part in quarters if (found := [mb for n in part for mb in self._memory_mb[n]])
            ],
        }


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
