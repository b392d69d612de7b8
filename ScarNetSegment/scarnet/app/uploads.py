"""Files that a visitor sends: counted, kept in their private folder, never under a name that leads out of it."""

import re
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from scarnet.errors import InputError
from scarnet.files import no_room
from scarnet.series.image_file import kind_of
from scarnet.series.members import is_archive

#: Written at once.
CHUNK_BYTES = 1 << 20
NO_ROOM = (
    "There is no room for these files where the server keeps what it is sent; free space there and send them again."
)


@dataclass(frozen=True)
class UploadLimits:
    """`megabytes`: of all files together, unpacked; `files`: how many. A whole cardiac study is about 300 MB in 3000."""

    megabytes: int = 2000
    files: int = 20_000


class Upload:
    """One upload, in a folder of its own within `parent`. Any method raises InputError once a limit is passed."""

    def __init__(self, parent: Path, limits: UploadLimits):
        self.folder = Path(tempfile.mkdtemp(prefix="upload-", dir=parent))
        self._limits = limits
        self._bytes, self._files = 0, 0

    def new_file(self, name: str):
        """A new binary file to write through `write`. Headers of MetaImage name their data: a name is kept, made safe."""
        self._files += 1
        if self._files > self._limits.files:
            raise InputError(f"More than {self._limits.files} files were sent; send the LGE series alone.")
        path = self.folder
        *folders, last = _safe(name).parts
        for part in folders:
            path = path / part
            while path.is_file():  # an archive may hold a file and a folder of one name
                path = path.with_name(f"{path.name}_")
        path = path / last
        while path.exists():
            path = path.with_name(f"{self._files}-{path.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")

    def write(self, file, chunk: bytes) -> None:
        self._bytes += len(chunk)
        if self._bytes > self._limits.megabytes * 10**6:
            raise InputError(f"More than {self._limits.megabytes} MB were sent; send the LGE series alone.")
        file.write(chunk)

    def files(self) -> list[Path]:
        """All that was sent, archives unpacked: results for an archive of images refer to each image's file."""
        for path in [p for p in self.folder.rglob("*") if p.is_file() and kind_of(p) is None]:
            if is_archive(path):
                self._unpack(path)
            elif _begins_as_archive(path):
                raise InputError("The zip archive is cut off or damaged; send it again, or its files unpacked.")
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _unpack(self, path: Path) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    if info.is_dir():
                        continue
                    with archive.open(info) as packed, self.new_file(info.filename) as file:
                        while chunk := packed.read(CHUNK_BYTES):
                            self.write(file, chunk)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError) as error:
            if no_room(error):
                raise InputError(NO_ROOM) from error
            raise InputError("The zip archive is damaged or encrypted; send its files unpacked.") from error
        path.unlink()


def _begins_as_archive(path: Path) -> bool:
    """An archive's directory is at its end: without that, its first file's header still says what it was."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _safe(name: str) -> PurePosixPath:
    """A relative path of plain characters that stays where it is put."""
    parts = [re.sub(r"[^\w.+-]", "_", part)[-80:] for part in name.replace("\\", "/").split("/")]
    parts = [part for part in parts if part.strip("._")][-4:]
    return PurePosixPath(*parts) if parts else PurePosixPath("file")
