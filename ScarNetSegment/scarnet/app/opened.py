"""What a visitor brought: files to stacks to choose among, and the chosen one to a series. No MRML: runs on any thread."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from scarnet.errors import InputError
from scarnet.series import LgeSeries, read_lge
from scarnet.series.image_file import kind_of
from scarnet.series.members import Member
from scarnet.series.study import Study, choose, load, study_of


@dataclass(frozen=True)
class Choice:
    """One stack as a list shows it; `usable` where it looks like an LGE short axis."""

    number: int
    title: str
    usable: bool


class Opened:
    """Files that hold one or more stacks. `best`: number of the stack to show first, from 1.

    `dicom`: whether they are DICOM, whose results can go back to an archive.
    """

    def __init__(self, files: Iterable[Path]):
        """Raises InputError, without patient data in its text, when nothing in `files` can be used."""
        files = sorted(Path(file) for file in files)
        images = [file for file in files if kind_of(file) is not None]
        self._study: Study | None = None
        self._single: LgeSeries | None = None
        if not files:
            raise InputError("There was no file in what you gave; choose a DICOM folder or an image file.")
        if images:
            if len(images) > 1:
                raise InputError(f"These are {len(images)} image files; give one LGE stack, or a DICOM folder.")
            self._single = read_lge(images[0])
            self.choices, self.best = (Choice(1, _title_of(self._single), True),), 1
        else:
            self._study = study_of([Member(file) for file in files])
            self.choices = tuple(_choice(n, *pair) for n, pair in enumerate(self._study.stacks, 1))
            self.best = choose(self._study) + 1

    @property
    def dicom(self) -> bool:
        return self._study is not None

    @property
    def files(self) -> dict[str, str]:
        """Path of each image by SOP instance UID; empty where the files are no DICOM."""
        if self._study is None:
            return {}
        return {
            picture.sop_instance_uid: str(picture.member.path)
            for stack, _ in self._study.stacks
            for picture in stack.slices
        }

    def read(self, number: int) -> LgeSeries:
        """Stack `number`. Raises ScarNetError when it cannot be used."""
        if self._single is not None:
            return self._single
        return load(self._study, choose(self._study, number))


def _title_of(series: LgeSeries) -> str:
    slices, rows, columns = series.image.shape
    return f"{slices} slices, {columns} × {rows}"


def _choice(number: int, stack, verdict) -> Choice:
    """Numbers and this program's own words: text of a header may name a patient."""
    series = ", ".join(map(str, stack.series_numbers[:3])) + (" …" if len(stack.series_numbers) > 3 else "")
    rows, columns = stack.first.rows, stack.first.columns
    title = f"Series {series}: {len(stack.slices)} slices, {columns} × {rows}, {verdict.reason}"
    return Choice(number, title, verdict.usable)


def usable(opened: Opened) -> list[Choice]:
    """Those to offer: LGE short axes first, then what could be read all the same."""
    found = [choice for choice in opened.choices if choice.usable]
    return found or list(opened.choices)
