"""The images that a DICOM object of ours is derived from, and the library that writes it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pydicom

from scarnet.errors import InputError, UsageError
from scarnet.series import LgeSeries

#: What an object derived from an image must have, and cannot make up.
_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
#: Type 2 in PS3.3 C.7.1.1 and C.7.2.1: known or empty, never absent. De-identified images often lack them.
_KNOWN_OR_EMPTY = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber ReferringPhysicianName"
).split()
#: All text that we write is Unicode, whatever the images' character set is.
CHARACTER_SET = "ISO_IR 192"


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


def source_images(series: LgeSeries) -> list[pydicom.Dataset]:
    """Headers of the images in the order of the slices, without pixels, complete enough to derive an object from.

    Raises InputError unless they are DICOM files that can still be read and say which study and place they belong to.
    """
    if series.source.kind == "dicom" and not series.source.slice_files:
        raise InputError(
            "DICOM SEG and SR refer to files with one slice each; these slices lie in an archive or in a multi-frame file. "
            "Unpack the archive, or leave --dicom out."
        )
    if series.source.kind != "dicom" or len(series.source.slice_files) != series.image.shape[0]:
        raise InputError("DICOM SEG and SR refer to DICOM images; this input is none. Give the DICOM folder instead.")
    images = []
    with quiet():
        for file, uid in zip(series.source.slice_files, series.source.sop_instance_uids, strict=True):
            try:
                image = pydicom.dcmread(file, stop_before_pixels=True)
            except (OSError, pydicom.errors.InvalidDicomError) as error:
                reason = getattr(error, "strerror", None) or "no longer DICOM"
                raise InputError(f"A DICOM image can no longer be read ({reason}); nothing was written.") from error
            missing = [keyword for keyword in _IDENTITY if not image.get(keyword)]
            if missing:
                raise InputError(
                    f"The images lack {' and '.join(missing)}, without which no DICOM SEG or SR can refer to them; "
                    "leave --dicom out."
                )
            if str(image.SOPInstanceUID) != uid:
                raise InputError("The DICOM images changed while they were worked on; nothing was written.")
            for keyword in _KNOWN_OR_EMPTY:
                if keyword not in image:
                    setattr(image, keyword, "")
            image.decode()  # in the character set it came in, before that is changed
            image.SpecificCharacterSet = CHARACTER_SET
            images.append(image)
    return images


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
