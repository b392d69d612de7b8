"""The same work on an existing Dask cluster. Its workers see the same files under the same paths."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from scarnet.cohort.processes import ONE_THREAD, Failure, attempt
from scarnet.errors import UsageError

CONNECT_SECONDS = 20


def run_on_cluster(work: Callable[[Any], Any], items: list, scheduler: str) -> Iterator[tuple[Any, Any]]:
    """Yield `(item, result or Failure)` in the order in which they end.

    `scheduler`: its address, or the file that it wrote. Dask begins an item anew when its worker dies, as often as the
    cluster allows (`distributed.scheduler.allowed-failures`). Leaving the loop early cancels what was not begun. Raises
    UsageError where Dask is not installed or no scheduler answers.
    """
    try:
        import distributed
    except ImportError:
        raise UsageError(
            "A cluster needs Dask: pip install slicer-scarnet[cluster], here and on every worker."
        ) from None
    where = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
    try:
        client = distributed.Client(**where, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"No Dask scheduler answers at {scheduler} ({type(error).__name__}); is it running?") from None
    with client:
        futures = {client.submit(partial(_on_worker, work), item, pure=False): item for item in items}
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                yield futures.pop(future), _result(future)
        finally:
            client.cancel(list(futures))


def _result(future) -> Any:
    if future.status == "finished":
        return future.result()
    error = future.exception() if future.status == "error" else None
    if type(error).__name__ == "KilledWorker":
        return Failure("Every worker that tried this patient died; is there enough memory?")
    return Failure(
        f"The cluster gave no result ({future.status}{f', {type(error).__name__}: {error}' if error else ''})."
    )


def _on_worker(work: Callable[[Any], Any], item: Any) -> Any:
    """One thread for each patient, as on one computer: the same bits, and workers that do not crowd one another."""
    os.environ.update(ONE_THREAD)
    return attempt(work, item)
