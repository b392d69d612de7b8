"""The images that a DICOM object of ours is derived from, what all our objects say of themselves, and the library."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import pydicom
from pydicom.uid import MRImageStorage

import scarnet
from scarnet.errors import InputError, UsageError
from scarnet.export.dicom.codes import coding_schemes
from scarnet.series import LgeSeries
from scarnet.series.pictures import PictureHeaders

#: What an object derived from an image must have, and cannot make up.
_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
#: Type 2 in PS3.3 C.7.1.1 and C.7.2.1: known or empty, never absent. De-identified images often lack them.
_KNOWN_OR_EMPTY = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber ReferringPhysicianName"
).split()
#: All text that we write is Unicode, whatever the images' character set is.
CHARACTER_SET = "ISO_IR 192"
MANUFACTURER, MODEL_NAME = "SlicerScarNet", "ScarNet"
#: Type 1 in the Enhanced General Equipment Module (PS3.3 C.7.5.2): software has no serial number.
_DEVICE_SERIAL_NUMBER = "none"
#: Functional groups of a frame (PS3.3 C.7.6.16.2) whose values a single-frame image has at its top.
_PLACE_GROUPS = ("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence")


def require_highdicom():
    """The library. Raises UsageError where it is not installed."""
    try:
        import highdicom
    except ImportError:
        raise UsageError("DICOM SEG and SR need highdicom: pip install slicer-scarnet[dicom].") from None
    return highdicom


def check_dicom_output(series: LgeSeries) -> None:
    """Raise UsageError or InputError, before any work is done, if no DICOM SEG and SR of `series` can be written."""
    require_highdicom()
    source_images(series)


def new_object(hd, series_number: int, description: str) -> dict[str, Any]:
    """What every object of ours says of itself, as arguments of highdicom's constructors: a series of its own, by us."""
    return {
        "series_instance_uid": hd.UID(),
        "series_number": series_number,
        "sop_instance_uid": hd.UID(),
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MODEL_NAME,
        "software_versions": scarnet.__version__,
        "device_serial_number": _DEVICE_SERIAL_NUMBER,
        "series_description": f"{description}, research use only",
        "coding_schemes": coding_schemes(),
    }


@dataclass(frozen=True, eq=False)
class SourceImages:
    """The pictures of a stack as DICOM objects, without pixels.

    Attributes
        objects: every object once, in the order of the slices; one for each slice, or one of many frames.
        of_slice: for each slice, the index of its object.
        frames: for each slice, its frame (from 1), None where its object is no multi-frame one.
    """

    objects: tuple[pydicom.Dataset, ...]
    of_slice: tuple[int, ...]
    frames: tuple[int | None, ...]

    @property
    def multiframe(self) -> bool:
        return any(frame is not None for frame in self.frames)

    def object_of(self, k: int) -> pydicom.Dataset:
        return self.objects[self.of_slice[k]]

    def frames_of(self, number: int) -> list[int] | None:
        """Frames of object `number` that are slices of the stack, as references state them."""
        frames = [f for at, f in zip(self.of_slice, self.frames, strict=True) if at == number and f is not None]
        return frames or None

    def picture(self, k: int) -> pydicom.Dataset:
        """Slice k as a single-frame MR image has it: of a frame, its place is taken from the functional groups."""
        image, frame = self.object_of(k), self.frames[k]
        if frame is None:
            return image
        single = pydicom.Dataset()
        for element in image:
            if not element.keyword.endswith("FunctionalGroupsSequence") and element.keyword != "NumberOfFrames":
                single.add(copy(element))
        for keyword in _PLACE_GROUPS:
            group = functional_group(image.PerFrameFunctionalGroupsSequence[frame - 1], _shared(image), keyword)
            for element in group[0] if group else ():
                single.add(copy(element))
        single.SOPClassUID = MRImageStorage
        return single


def source_images(series: LgeSeries) -> SourceImages:
    """The images of every slice, complete enough to derive an object from; of an archive they are read within it.

    Raises InputError unless they are DICOM images that can still be read and say which study and place they belong to.
    """
    if series.source.kind != "dicom" or len(series.source.pictures) != series.image.shape[0]:
        raise InputError("DICOM SEG and SR refer to DICOM images; this input is none. Give the DICOM folder instead.")
    objects: dict[tuple[str, str], pydicom.Dataset] = {}
    numbers: dict[tuple[str, str], int] = {}
    of_slice, frames = [], []
    with quiet(), PictureHeaders() as headers:
        for picture, uid in zip(series.source.pictures, series.source.sop_instance_uids, strict=True):
            place = picture.file, picture.member
            if place not in objects:
                objects[place] = _complete(headers.read(picture))
            image = objects[place]
            frame = (picture.frame or 0) + 1 if "PerFrameFunctionalGroupsSequence" in image else None
            if str(image.SOPInstanceUID) != uid or (frame or 0) > len(
                image.get("PerFrameFunctionalGroupsSequence", ())
            ):
                raise InputError("The DICOM images changed while they were worked on; nothing was written.")
            of_slice.append(numbers.setdefault(place, len(numbers)))
            frames.append(frame)
    return SourceImages(tuple(objects.values()), tuple(of_slice), tuple(frames))


def _complete(image: pydicom.Dataset) -> pydicom.Dataset:
    missing = [keyword for keyword in _IDENTITY if not image.get(keyword)]
    if missing:
        raise InputError(
            f"The images lack {' and '.join(missing)}, without which no DICOM SEG or SR can refer to them; "
            "leave --dicom out."
        )
    for keyword in _KNOWN_OR_EMPTY:
        if keyword not in image:
            setattr(image, keyword, "")
    image.decode()  # in the character set it came in, before that is changed
    image.SpecificCharacterSet = CHARACTER_SET
    return image


def _shared(image: pydicom.Dataset) -> pydicom.Dataset:
    return (image.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]


def functional_group(frame: pydicom.Dataset, shared: pydicom.Dataset, keyword: str):
    """Of a frame: its own, or the one that all share (PS3.3 C.7.6.16); None where there is neither."""
    return (frame if keyword in frame else shared).get(keyword)


@contextmanager
def quiet() -> Iterator[None]:
    """pydicom and highdicom comment on odd values and quote them: a patient's name does not belong in a log."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
