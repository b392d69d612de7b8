"""Headers of the pictures of a stack, read again: of files, and of members of archives within them."""

import zipfile
from pathlib import Path

import pydicom

from scarnet.errors import InputError
from scarnet.series.lge import SlicePicture
from scarnet.series.members import Member, TooLarge


class PictureHeaders:
    """A context in which `read` gives the data set of a picture without its pixels; an archive is opened once.

    `keywords`: the attributes that are asked for; None: all.
    """

    def __init__(self, keywords: list[str] | None = None):
        self._keywords, self._archives = keywords, {}

    def __enter__(self) -> "PictureHeaders":
        return self

    def __exit__(self, *_) -> None:
        for archive in self._archives.values():
            archive.close()

    def read(self, picture: SlicePicture) -> pydicom.Dataset:
        """Raises InputError when the file is gone, or is no longer DICOM."""
        try:
            with self._member(picture).open_header() as file:
                return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=self._keywords)
        except (OSError, ValueError, KeyError, TooLarge, zipfile.BadZipFile, pydicom.errors.InvalidDicomError) as error:
            reason = getattr(error, "strerror", None) or "no longer DICOM"
            raise InputError(f"A DICOM image can no longer be read ({reason}); nothing was written.") from error

    def _member(self, picture: SlicePicture) -> Member:
        if not picture.member:
            return Member(Path(picture.file))
        if picture.file not in self._archives:
            self._archives[picture.file] = zipfile.ZipFile(picture.file)
        return Member(None, self._archives[picture.file], picture.member)
