"""One run of the worker: started, followed, cancelled, cleaned up after."""

import sys
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from scarnet.process import WORKER, WorkerProcess
from scarnet.segmentation import ScarSegmentation
from scarnet.series import LgeSeries
from scarnet.temporary import PrivateFolder
from scarnet.worker import read_result, write_job


class JobState(Enum):
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class Progress:
    """`done` of `total` slices; `seconds_left` is None until a slice is done."""

    done: int
    total: int
    text: str
    seconds_left: float | None = None


class SegmentationJob:
    """Segments `series` in a process of its own. Whoever owns it calls `poll` until `state` is no longer RUNNING.

    Attributes
        result: the ScarSegmentation once DONE.
        error: one sentence for the user once FAILED; `log` holds everything the process said.
    """

    def __init__(
        self,
        series: LgeSeries,
        *,
        model: str = "default",
        device: str = "auto",
        lv_center_lps_mm=None,
        python: str = sys.executable,
        environment: dict | None = None,
        worker: Path = WORKER,
    ):
        self.state, self.result, self.error, self.log = JobState.RUNNING, None, "", []
        self.progress = Progress(0, series.image.shape[0], "Starting")
        self._first_slice: tuple[float, int] | None = None
        self._folder = PrivateFolder()
        try:
            write_job(Path(self._folder.name), series, model=model, device=device, lv_center_lps_mm=lv_center_lps_mm)
            self._process = WorkerProcess(
                Path(self._folder.name), python=python, environment=environment, worker=worker
            )
        except BaseException:
            self._folder.cleanup()
            raise

    def poll(self) -> bool:
        """Take in what came since the last call; True if anything did."""
        if self.state != JobState.RUNNING:
            return False
        changed = False
        for event in self._process.poll():
            changed = True
            kind = event["event"]
            if kind == "progress":
                self.progress = self._timed(event)
            elif kind in ("log", "warning"):
                self.log.append(str(event.get("text", "")))
            elif kind == "error":
                self.error = str(event.get("text", ""))
            elif kind == "exit":
                self._end(event["code"])
        return changed

    def cancel(self) -> None:
        """Kill it now; nothing of it stays."""
        if self.state == JobState.RUNNING:
            self._process.cancel()
            self._finish(JobState.CANCELLED)

    def wait(self, on_progress=None) -> ScarSegmentation | None:
        """Block until it ends, for scripts; None when cancelled from elsewhere."""
        while self.state == JobState.RUNNING:
            if self.poll() and on_progress is not None:
                on_progress(self.progress)
            time.sleep(0.02)
        return self.result

    def _timed(self, event: dict) -> Progress:
        done, total = int(event.get("done", 0)), int(event.get("total", self.progress.total))
        if done and self._first_slice is None:
            self._first_slice = (time.monotonic(), done)
        left = None
        if self._first_slice is not None and done > self._first_slice[1]:
            started, first = self._first_slice
            left = (time.monotonic() - started) / (done - first) * (total - done)
        return Progress(done, total, str(event.get("text", "")), left)

    def _end(self, code: int) -> None:
        if self._process.cancelled:
            self._finish(JobState.CANCELLED)
            return
        if code == 0:
            try:
                self.result = read_result(Path(self._folder.name))
            except (OSError, ValueError, KeyError) as error:
                self.error = f"The segmentation process ended without a usable result ({type(error).__name__})."
        elif not self.error:
            last = next((line for line in reversed(self.log) if line.strip()), "")
            self.error = f"The segmentation process stopped unexpectedly (code {code}). {last}".strip()
        self._finish(JobState.DONE if self.result is not None else JobState.FAILED)

    def _finish(self, state: JobState) -> None:
        self.state = state
        self._folder.cleanup()
