"""A process for every visitor: started, bounded in number, memory and idle time, ended, and cleaned up after."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from scarnet.app.uploads import UploadLimits
from scarnet.errors import ScarNetError
from scarnet.temporary import PrivateFolder

#: Between two looks at how much memory is used and who is idle.
WATCH_SECONDS = 1.0
#: Imports of Slicer's libraries take 4 to 10 s, longer on a busy computer.
START_SECONDS = 240.0
END_SECONDS = 5.0


@dataclass(frozen=True)
class Limits:
    """`visitors`: at once; `memory_mb`: of one, the segmentation's process included; `idle_minutes`: without a sign of life."""

    visitors: int = 4
    memory_mb: int = 4000
    idle_minutes: float = 30.0
    upload: UploadLimits = field(default_factory=UploadLimits)


class Full(ScarNetError):
    """As many visitors are there as may be at once."""


class Visitor:
    """One session process. `port`: of 127.0.0.1, once `ready`; `key`: what it wants to hear; `ended`: why, once it has."""

    def __init__(self):
        self.key = secrets.token_urlsafe(32)
        self._private = PrivateFolder(prefix="scarnet-app-")  # removed at the next start, if this server is killed
        self.folder = Path(self._private.name)
        self.port = 0
        self.ended = ""
        self.taken = False
        self.seen = time.monotonic()
        self.started = asyncio.Event()
        self.process: asyncio.subprocess.Process | None = None

    @property
    def ready(self) -> bool:
        return bool(self.port) and not self.ended

    def remove_folder(self) -> None:
        self._private.cleanup()

    def touch(self) -> None:
        """A sign of life from the person at the page."""
        self.seen = time.monotonic()


class Visitors:
    """All session processes. One more than are taken is kept ready, while there is room, so that a page opens at once.

    `job`: what every session is told besides its key and folder. `environment`: for their processes. `command`: starts one.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        job: dict | None = None,
        environment: dict[str, str] | None = None,
        command: tuple[str, ...] = (sys.executable, "-m", "scarnet.app.session"),
    ):
        self._limits, self._job, self._environment, self._command = limits, job or {}, environment or {}, command
        self._all: list[Visitor] = []
        self._tasks: set[asyncio.Task] = set()
        self._watching: asyncio.Task | None = None
        self._stopping = False

    def start(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._watch())
        self._keep_one_ready()

    async def stop(self) -> None:
        self._stopping = True
        if self._watching is not None:
            self._watching.cancel()
        await asyncio.gather(*(self.end(visitor, "The server was stopped.") for visitor in list(self._all)))
        await asyncio.gather(*self._tasks, return_exceptions=True)  # a process that was just being started is gone too

    def admit(self) -> Visitor:
        """A session for someone new, perhaps still starting. Raises Full."""
        taken = [visitor for visitor in self._all if visitor.taken]
        if len(taken) >= self._limits.visitors:
            raise Full(
                f"{len(taken)} people use ScarNet here now, as many as may at once. Try again when one of them has left."
            )
        spare = next((visitor for visitor in self._all if not visitor.taken), None) or self._new()
        spare.taken = True
        spare.touch()
        self._keep_one_ready()
        return spare

    async def end(self, visitor: Visitor, reason: str) -> None:
        """End its process and remove its folder; returns once both are gone."""
        if visitor.ended:
            return
        visitor.ended = reason
        if visitor in self._all:
            self._all.remove(visitor)
        process = visitor.process
        if process is not None and process.returncode is None:
            family = _family(process.pid)
            with contextlib.suppress(OSError):
                process.stdin.close()  # it ends by itself then, and its segmentation with it
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), END_SECONDS)
            for member in family:
                with contextlib.suppress(psutil.Error):
                    member.kill()
            await process.wait()
        await asyncio.to_thread(visitor.remove_folder)
        visitor.started.set()

    def _keep_one_ready(self) -> None:
        if (
            not self._stopping
            and len(self._all) < self._limits.visitors
            and all(visitor.taken for visitor in self._all)
        ):
            self._new()

    def _new(self) -> Visitor:
        visitor = Visitor()
        self._all.append(visitor)
        self._spawn(self._run(visitor))
        return visitor

    def _spawn(self, coroutine) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, visitor: Visitor) -> None:
        """Start its process and wait for its end."""
        reason = "The session could not be started; the server's log says why."
        try:
            visitor.process = process = await asyncio.create_subprocess_exec(
                *self._command,
                env={**os.environ, "LP_NUM_THREADS": "1", "PYTHONUTF8": "1", **self._environment},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            if visitor.ended:  # before it began
                process.kill()
                await process.wait()
                return
            job = {
                **self._job,
                "key": visitor.key,
                "folder": str(visitor.folder),
                "upload": asdict(self._limits.upload),
            }
            process.stdin.write(json.dumps(job).encode() + b"\n")
            await process.stdin.drain()
            event = await asyncio.wait_for(_event(process.stdout), START_SECONDS)
            visitor.port = int(event.get("port", 0))
            reason = event.get("error", reason)
        except (OSError, ValueError, asyncio.TimeoutError) as error:
            logging.error("A session could not be started (%s)", type(error).__name__)
        if not visitor.port:
            await self.end(visitor, reason)
            return
        visitor.started.set()
        async for _line in process.stdout:
            pass  # Slicer's libraries chat
        await process.wait()
        await self.end(visitor, "Your session stopped unexpectedly. What was not exported is lost.")
        self._keep_one_ready()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for visitor in [v for v in self._all if v.ready]:
                used_mb = await asyncio.to_thread(memory_mb, visitor.process.pid)
                idle = time.monotonic() - visitor.seen
                if used_mb > self._limits.memory_mb:
                    text = f"Your session needed more than {self._limits.memory_mb} MB of memory and was ended."
                    await self.end(visitor, text)
                elif visitor.taken and idle > self._limits.idle_minutes * 60:
                    text = f"Your session was idle for {self._limits.idle_minutes:g} minutes and was ended; its images are gone."
                    await self.end(visitor, text)
            self._keep_one_ready()


async def _event(stream: asyncio.StreamReader) -> dict:
    """The first JSON object that a session says; other lines are Slicer's chat."""
    while line := await stream.readline():
        if line.startswith(b"{"):
            return json.loads(line)
    raise ValueError("ended")


def _family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def memory_mb(pid: int) -> float:
    """Of a process and all that it started, resident."""
    total = 0
    for member in _family(pid):
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
    return total / 1e6
