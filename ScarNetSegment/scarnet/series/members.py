"""Where images come from: a folder, one file, a DICOMDIR or a zip archive, as a list of members that can be opened.

Nothing is ever unpacked to disk: members of an archive are read in memory under a limit, so that neither a path in an
archive nor a bomb in it can do harm. Names of members are never shown: archives name folders after patients.
"""

import io
import os
import stat
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

import pydicom

from scarnet.errors import InputError
from scarnet.files import readable
from scarnet.series.quiet import quiet

#: More members than any study has; what is beyond is said to be too much, not searched for hours.
MAXIMUM_MEMBERS = 200_000
#: One file in memory. The largest cardiac objects (multi-frame cine) are a tenth of it.
MAXIMUM_FILE_BYTES = 512 * 2**20
#: Of one file before its pixels; the functional groups of a thousand frames take a few MB.
MAXIMUM_HEADER_BYTES = 16 * 2**20
#: Processor time for one header; one of a thousand frames takes less than one. What is made to take longer is left.
MAXIMUM_HEADER_SECONDS = 2.5
#: Files up to this size can do no harm: they are read without counting, which is faster.
HARMLESS_BYTES = 2 * 2**20

#: Bit of a zip member's flags (APPNOTE 4.4.4).
_ENCRYPTED = 1


class TooLarge(ValueError):
    """A file, or a header in it, is larger than the limits above."""


@dataclass(frozen=True)
class Member:
    """One file of the input. `path` is None within an archive."""

    path: Path | None
    archive: zipfile.ZipFile | None = None
    name_in_archive: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """The file, or the archive and the name in it."""
        if self.archive is None:
            return str(self.path), ""
        return str(self.archive.filename), self.name_in_archive

    @property
    def suffix(self) -> str:
        """The ending of its name, in lower case."""
        return PurePath(self.name_in_archive or self.path.name).suffix.lower()

    def open_header(self) -> io.BufferedIOBase:
        """A seekable binary stream for reading a header; reading more, or for longer, than the limits raises TooLarge."""
        if self.archive is not None:
            return io.BufferedReader(_Limited(_member(self), MAXIMUM_HEADER_BYTES), 1 << 16)
        file = open(self.path, "rb")
        if os.fstat(file.fileno()).st_size <= HARMLESS_BYTES:
            return file
        return io.BufferedReader(_Limited(file.detach(), MAXIMUM_HEADER_BYTES), 1 << 16)

    def read(self) -> bytes:
        """The whole file. Raises TooLarge."""
        with self.path.open("rb") if self.archive is None else _member(self) as file:
            content = file.read(MAXIMUM_FILE_BYTES + 1)
        if len(content) > MAXIMUM_FILE_BYTES:
            raise TooLarge("too large")
        return content


def _member(member: Member):
    """The stream of an archive's member. Raises ValueError for what the archive cannot give."""
    try:
        return member.archive.open(member.name_in_archive)
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:  # encrypted, unknown method, lying header
        raise ValueError("cannot be unpacked") from error


class _Limited(io.RawIOBase):
    """A raw stream that gives `limit` bytes in all, for some seconds, seeks included: an archive's seeks unpack again from the start."""

    name = ""  # pydicom asks for it; names of members may be those of patients

    def __init__(self, raw, limit: int):
        self._raw, self._left, self._end = raw, limit, time.thread_time() + MAXIMUM_HEADER_SECONDS

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == io.SEEK_CUR:  # of a compressed stream only absolute places are cheap to compare
            offset, whence = self._raw.tell() + offset, io.SEEK_SET
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def readinto(self, buffer) -> int:
        if self._left <= 0 or time.thread_time() > self._end:
            raise TooLarge("header too large")
        try:
            content = self._raw.read(min(len(buffer), self._left))
        except (zipfile.BadZipFile, zlib.error) as error:
            raise ValueError("cannot be unpacked") from error
        self._left -= len(content)
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._raw.close()
        super().close()


def is_archive(path: Path) -> bool:
    """A zip file by its content, whatever its name."""
    return path.is_file() and zipfile.is_zipfile(path)


def members(path: Path) -> list[Member]:
    """Every file below a folder, in a zip archive, or that a DICOMDIR names; a plain file alone. Raises InputError."""
    with readable(path):
        found = _found(path)
    if len(found) > MAXIMUM_MEMBERS:
        raise InputError(
            f"The input holds more than {MAXIMUM_MEMBERS} files, which no study does; give the folder of one study."
        )
    return found


def _found(path: Path) -> list[Member]:
    if path.is_dir():
        return [Member(file) for file in _walk(path)]
    if path.name.upper() == "DICOMDIR":
        return [Member(file) for file in _listed(path)]
    if is_archive(path):
        try:
            archive = zipfile.ZipFile(path)
            listed = [info for info in archive.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise InputError("The archive is damaged and cannot be opened; make it again.") from error
        if any(info.flag_bits & _ENCRYPTED for info in listed):
            raise InputError("The archive is encrypted; unpack it first, and give the folder.")
        return [Member(None, archive, name) for name in sorted({info.filename for info in listed})]
    return [Member(path)]


def _walk(folder: Path) -> Iterator[Path]:
    """Regular files in the order of their names; linked folders are entered, each once, so that loops end.

    What cannot be opened is given too, a folder or a link to nothing: that it is missing is said where it is opened.
    """
    entered, unopened, count = set(), [], 0
    for root, folders, names in os.walk(folder, followlinks=True, onerror=lambda e: unopened.append(Path(e.filename))):
        try:
            status = os.stat(root)
        except OSError:
            unopened.append(Path(root))
            folders.clear()
            continue
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in sorted(names):
            if name.upper() == "DICOMDIR":
                continue
            file = Path(root, name)
            if _may_hold_an_image(file):
                yield file
                count += 1
                if count > MAXIMUM_MEMBERS:
                    return
    yield from unopened


def _may_hold_an_image(file: Path) -> bool:
    """Not a pipe, which would be waited for, nor a device."""
    try:
        return stat.S_ISREG(os.stat(file).st_mode)
    except OSError:
        return True


def _listed(dicomdir: Path) -> list[Path]:
    """Files that a DICOMDIR names, within its own folder (PS3.3 F.5); what it names beyond is left alone.

    Its records are read as the flat list that they are stored as: links between them, which may form circles, are not
    followed.
    """
    root = dicomdir.parent.resolve()
    try:
        with quiet(), Member(dicomdir).open_header() as file:
            records = pydicom.dcmread(file).DirectoryRecordSequence
        ids = [record.get("ReferencedFileID") for record in records]
    except Exception as error:  # pydicom raises many types; all mean the same to a user
        raise InputError("The DICOMDIR is damaged; give the folder with the images instead.") from error
    found, there = {}, False
    for parts in ids:
        parts = [parts] if isinstance(parts, str) else list(parts or ())
        if not parts:
            continue
        try:
            file = root.joinpath(*map(str, parts))
            if not file.exists():  # media of ISO 9660 show names in either case
                lower = root.joinpath(*(str(part).lower() for part in parts))
                file = lower if lower.exists() else file
            resolved = file.resolve()
            inside = resolved.is_relative_to(root) and not resolved.is_dir()
            exists = inside and resolved.exists()
        except (ValueError, OSError, RuntimeError):  # no path at all, or a circle of links
            continue
        if inside and _may_hold_an_image(resolved):  # what is gone too: that it is missing is said where it is opened
            found[resolved] = None
            there |= exists
    if not there:
        raise InputError(
            "None of the images that the DICOMDIR names is there; give the folder with the images instead."
        )
    return list(found)
