"""Work spread over processes of this computer, of which any may die at any moment.

Nothing heavy is imported here: a new process reads this file before it has been told how many threads to use.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from scarnet.errors import ScarNetError

#: Read by `scarnet.network.runtime.thread_count`, OpenMP, OpenBLAS and MKL.
ONE_THREAD = dict.fromkeys(
    ("SCARNET_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
#: ITK's filters too.
ONE_THREAD["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
#: How often work is begun whose worker died on it.
ATTEMPTS = 2


@dataclass(frozen=True)
class Failure:
    """Why there is no result."""

    reason: str


class _Worker:
    """A process with one piece of work at a time."""

    def __init__(self, work: Callable[[Any], Any]):
        context = multiprocessing.get_context("spawn")  # a fork would copy the locks of threads that it does not copy
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with _environment(ONE_THREAD):
            self.process.start()
        theirs.close()  # so that the death of the process ends the connection
        self.item: Any = None
        self.attempt = 0

    def stop(self, *, at_once: bool) -> None:
        self.connection.close()  # an idle process ends by itself
        if at_once:
            self.process.terminate()
        self.process.join(timeout=10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def run_in_processes(work: Callable[[Any], Any], items: list, jobs: int) -> Iterator[tuple[Any, Any]]:
    """Yield `(item, result or Failure)` in the order in which they end.

    `work` and items must be picklable. One thread each. A process that dies is replaced; its item is begun once more and
    then given up. Leaving the loop early ends all processes.
    """
    waiting = deque((item, 1) for item in items)
    idle: list[_Worker] = []
    busy: dict[Connection, _Worker] = {}
    try:
        while waiting or busy:
            while waiting and (idle or len(busy) < jobs):
                worker = idle.pop() if idle else _Worker(work)
                worker.item, worker.attempt = waiting.popleft()
                try:
                    worker.connection.send(worker.item)
                except OSError:  # it died before it was given anything
                    waiting.appendleft((worker.item, worker.attempt))
                    worker.stop(at_once=True)
                    continue
                busy[worker.connection] = worker
            for connection in wait(list(busy)):
                worker = busy.pop(connection)
                try:
                    result = connection.recv()
                except (EOFError, OSError):
                    worker.stop(at_once=True)
                    if worker.attempt < ATTEMPTS:
                        waiting.appendleft((worker.item, worker.attempt + 1))
                        continue
                    result = Failure(
                        f"The worker died {ATTEMPTS} times on this patient (exit code {worker.process.exitcode}); "
                        "is there enough memory?"
                    )
                else:
                    idle.append(worker)
                yield worker.item, result
    finally:
        for worker in busy.values():
            worker.process.terminate()
        for worker in (*idle, *busy.values()):
            worker.stop(at_once=worker.connection in busy)


def attempt(work: Callable[[Any], Any], item: Any) -> Any:
    """The result, or a Failure in one line: a worker survives what a patient does to it."""
    try:
        return work(item)
    except ScarNetError as error:
        return Failure(str(error))
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}")


def _serve(connection: Connection, work: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal: the first one decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            item = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(attempt(work, item))


def _end_with_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables that a process started meanwhile inherits; it reads them before any of its own code."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
