"""Whole files or none: written beside their place under another name, then moved; and files that cannot be read."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scarnet.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the suffixes of `path`; on success it becomes `path`, on failure it is gone."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".part-", suffix="".join(path.suffixes[-2:]), dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What the system refuses within, of a path that a user gave, as an InputError of one line."""
    try:
        yield
    except OSError as error:  # a folder that may not be entered, a disk that is gone
        raise InputError(f"{path} cannot be opened ({error.strerror}); see whether you may read it.") from error


#: The disk or a quota is full, or nothing may be written there.
_NO_ROOM = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}


def no_room(error: BaseException) -> OSError | None:
    """Of `error` and what caused it, the first that says that nothing more can be written: libraries wrap it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
