"""Folders for a while: readable by their owner alone, gone with the process, and at the next start if it was killed.

Beside each lies a lock that its process holds until it ends, however it ends. A folder whose lock is free is nobody's, and is
removed by whoever makes the next one in the same place; process numbers, which are given again, are not asked.
"""

import errno
import os
import shutil
import tempfile
import weakref
from pathlib import Path

PREFIX = "scarnet-"
_LOCK_SUFFIX = ".lock"


class PrivateFolder:
    """A new folder `name` below `parent` (the system's place for temporary files); `cleanup`, or leaving the context, removes it.

    Raises OSError where none can be made.
    """

    def __init__(self, *, prefix: str = PREFIX, parent: Path | str | None = None):
        parent = Path(parent or tempfile.gettempdir())
        remove_stale(parent, prefix=prefix)
        self._lock = _new_lock(parent, prefix)
        self.name = self._lock.path.removesuffix(_LOCK_SUFFIX)
        os.mkdir(self.name, 0o700)
        self._finalizer = weakref.finalize(self, _remove, self.name, self._lock)

    def __enter__(self) -> str:
        return self.name

    def __exit__(self, *_) -> None:
        self.cleanup()

    def cleanup(self) -> None:
        """Remove it with all that it holds; twice is no error."""
        self._finalizer()


def remove_stale(parent: Path | str | None = None, *, prefix: str = PREFIX) -> list[str]:
    """Remove the folders of processes that are gone; returns their paths. Never fails, and touches nothing else."""
    removed = []
    try:
        entries = [e for e in os.scandir(parent or tempfile.gettempdir()) if e.name.startswith(prefix)]
    except OSError:
        return []
    for entry in entries:
        if not entry.name.endswith(_LOCK_SUFFIX):
            continue
        try:
            if hasattr(os, "getuid") and entry.stat(follow_symlinks=False).st_uid != os.getuid():
                continue
            lock = _Lock(entry.path, os.O_RDWR)
        except OSError:  # held, or gone by now
            continue
        if not lock.sure:
            lock.close()
            continue
        folder = entry.path.removesuffix(_LOCK_SUFFIX)
        if os.path.isdir(folder) and not os.path.islink(folder):
            removed.append(folder)
        _remove(folder, lock)
    return removed


def _remove(folder: str, lock: "_Lock") -> None:
    if not os.path.islink(folder):
        shutil.rmtree(folder, ignore_errors=True)
    lock.remove()


def _new_lock(parent: Path, prefix: str) -> "_Lock":
    while True:
        try:
            lock = _Lock(f"{parent / (prefix + os.urandom(8).hex())}{_LOCK_SUFFIX}", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except (FileExistsError, BlockingIOError):
            continue
        # Between its making and its locking another process may have taken it for a stale one and removed it.
        if lock.is_there():
            return lock


class _Lock:
    """An open file that is locked until it is closed or its process ends. Raises BlockingIOError where another holds it.

    `sure`: False on file systems that know no locks; what lies there is never taken for stale.
    """

    def __init__(self, path: str, flags: int):
        self.path = path
        self._handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            self.sure = _lock(self._handle)
        except BlockingIOError:
            os.close(self._handle)
            raise

    def is_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._handle), os.stat(self.path, follow_symlinks=False))
        except OSError:
            return False

    def close(self) -> None:
        os.close(self._handle)

    def remove(self) -> None:
        if os.name == "nt":  # an open file cannot be removed there
            self.close()
        try:
            os.unlink(self.path)
        except OSError:
            pass
        if os.name != "nt":
            self.close()


def _lock(handle: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            raise BlockingIOError(error.errno, "held") from None
        return False
    return True
