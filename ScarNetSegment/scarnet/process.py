"""Starting, following and killing the worker, without Qt: whoever owns a timer calls `poll`."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

WORKER = Path(__file__).resolve().parent / "worker.py"


class WorkerProcess:
    """One run of the worker on a job folder.

    A thread reads its output; `poll` hands over what came since, on the caller's thread. What is no JSON object is passed
    on as `{"event": "log", "text": line}`. After the last event comes `{"event": "exit", "code": n}`.
    """

    def __init__(
        self, job_folder: Path, *, python: str = sys.executable, environment: dict | None = None, worker: Path = WORKER
    ):
        options = {"creationflags": 0x08000000 | 0x00000200} if os.name == "nt" else {"start_new_session": True}
        self.cancelled = False
        self._exit_reported = False
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            [python, str(worker), str(job_folder), "--end-with-stdin"],
            env={**(environment or os.environ), "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,  # never written to: it closes when this process ends, and the worker ends with it
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            **options,
        )
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def running(self) -> bool:
        return not self._exit_reported

    def poll(self) -> Iterator[dict]:
        """Events since the last call."""
        while not self._exit_reported:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                return
            if line is None:
                self._exit_reported = True
                yield {"event": "exit", "code": self._process.wait()}
                return
            yield _event(line)

    def cancel(self) -> None:
        """Kill the worker and everything it started; returns when they are gone."""
        self.cancelled = True
        if self._process.poll() is not None:
            return
        if os.name == "nt":
            subprocess.run(["taskkill", "/PID", str(self._process.pid), "/T", "/F"], capture_output=True)
        else:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=10)

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


def _event(line: str) -> dict:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    return event if isinstance(event, dict) and "event" in event else {"event": "log", "text": line}
