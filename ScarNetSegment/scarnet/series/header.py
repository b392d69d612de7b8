"""What is kept of a DICOM image: the facts that decide which stack it belongs to, and of the patient a digest alone.

Only the elements named here are read (a third of the time that a whole header takes), and numbers are taken from their
bytes, so that a header which lies ends as one reason and not as an exception of any type. Sections of DICOM PS3.3:
C.7.6.2 Image Plane, C.7.6.16 Multi-frame Functional Groups, C.8.3.1 MR Image, C.8.13 Enhanced MR.
"""

import hashlib
import math
import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.filereader import read_dataset
from pydicom.tag import Tag

from scarnet.series.members import Member, TooLarge

#: Larger than the matrix of any cardiac MR image; a header that states more lies, and would be given the memory.
MAXIMUM_MATRIX = 2048
#: Frames of one object that are described one by one, whole-heart cine has some 500; and bytes to describe each.
MAXIMUM_FRAMES, MAXIMUM_FRAME_BYTES = 1024, 4096

#: Of a deflated data set, pixels included.
MAXIMUM_INFLATED_BYTES = 128 * 2**20

_DEFLATED = "1.2.840.10008.1.2.1.99"
_KEYWORDS = (
    "SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID AcquisitionTime ContentTime SeriesTime Modality "
    "SeriesDescription ScanningSequence MRAcquisitionType SequenceName ProtocolName PulseSequenceName SliceThickness "
    "EchoTime InversionTime TriggerTime CardiacNumberOfImages StudyInstanceUID SeriesInstanceUID SeriesNumber "
    "AcquisitionNumber InstanceNumber ImagePositionPatient ImageOrientationPatient FrameOfReferenceUID "
    "TemporalPositionIdentifier SamplesPerPixel NumberOfFrames Rows Columns PixelSpacing BitsAllocated BitsStored "
    "PixelRepresentation RescaleIntercept RescaleSlope Manufacturer SharedFunctionalGroupsSequence "
    "PerFrameFunctionalGroupsSequence ContrastBolusAgent PatientID PhotometricInterpretation LossyImageCompression"
).split()
_TAGS = {keyword: Tag(tag_for_keyword(keyword)) for keyword in _KEYWORDS}
_TAG_LIST = list(_TAGS.values())

_TEXT_VRS = {"CS", "DA", "DS", "DT", "IS", "LO", "LT", "SH", "ST", "TM", "UI", "UT"}

#: Objects that hold no picture of a scanner: UID prefix or UID, and what to call them.
_OTHER_OBJECTS = {
    "1.2.840.10008.5.1.4.1.1.7": "secondary captures",
    "1.2.840.10008.5.1.4.1.1.66": "segmentations or other derived objects",
    "1.2.840.10008.5.1.4.1.1.88": "structured reports",
    "1.2.840.10008.5.1.4.1.1.104": "documents",
    "1.2.840.10008.5.1.4.1.1.11": "presentation states",
    "1.2.840.10008.5.1.4.1.1.9": "waveforms",
    "1.2.840.10008.1.3.10": "directories",
}

#: MR, enhanced MR and legacy converted enhanced MR image storage: without a matrix they were cut off.
_MR_IMAGES = {f"1.2.840.10008.5.1.4.1.1.4{ending}" for ending in ("", ".1", ".4")}


class Unusable(Exception):
    """A file is no image that a stack could hold. `reason` completes "3 files are ..."; `series_uid` where it is known.

    `damaged`: the file should have been usable, so its loss is a warning to the user.
    """

    def __init__(self, reason: str, *, series_uid: str = "", damaged: bool = False):
        super().__init__(reason)
        self.reason, self.series_uid, self.damaged = reason, series_uid, damaged


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """One picture: a single-frame MR image, or one frame of an enhanced one.

    Attributes
        member, frame: the file, and which of its frames (from 0); `frames` is how many it has.
        orientation: `(2, 3)` direction cosines of increasing column and row index (LPS); position: `(3,)` mm.
        pixel_spacing_mm: distance between rows, between columns.
        image_type, sequence: upper-case values of ImageType (or FrameType) and ScanningSequence.
        patient: digest of the patient's identifier, to tell two apart; the identifier itself is not kept.
        inverted, lossy: MONOCHROME1; compressed with loss.
        words: series description, protocol and sequence names together, in lower case.
        inversion_time_ms, trigger_time_ms, time_s (of day), acquisition, temporal: NaN or None where not stated.
    """

    member: Member
    frame: int
    frames: int
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    patient: str
    frame_of_reference_uid: str
    rows: int
    columns: int
    orientation: np.ndarray
    position: np.ndarray
    pixel_spacing_mm: tuple[float, float]
    thickness_mm: float
    image_type: tuple[str, ...]
    sequence: tuple[str, ...]
    words: str
    dimensions: str  # "2D", "3D" or ""
    manufacturer: str
    series_number: int
    instance_number: int
    acquisition: int | None
    temporal: int | None
    time_s: float
    inversion_time_ms: float
    trigger_time_ms: float
    echo_time_ms: float
    phases: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    slope: float
    intercept: float
    contrast: bool
    inverted: bool
    lossy: bool

    @property
    def study(self) -> tuple[str, str]:
        """What images of one examination share: careless anonymisation gives two patients one UID, or none."""
        return self.study_uid, self.patient

    @property
    def acquired(self) -> tuple:
        """Sorts images by when they were acquired."""
        return (
            -1.0 if math.isnan(self.time_s) else self.time_s,
            self.series_number,
            self.instance_number,
            self.frame,
        )


def read_headers(member: Member) -> list[ImageHeader]:
    """The pictures in one file. Raises Unusable, and nothing else, whatever the file holds. Call within `quiet`."""
    try:
        with member.open_header() as file:
            force = _check_start(file, member.suffix)
            dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAG_LIST, force=force)
        return _describe(dataset, member)
    except Unusable:
        raise
    except TooLarge:
        raise Unusable("larger than this program reads", damaged=True) from None
    except OSError as error:
        raise Unusable("files that cannot be opened", damaged=True) from error
    except Exception as error:  # a lying header makes pydicom raise anything, RecursionError and MemoryError included
        raise Unusable("damaged DICOM files", damaged=True) from error


#: Bytes at the start of a file that say whether it is DICOM.
START_BYTES = 141


def starts_as_dicom(start: bytes) -> bool:
    """By the preamble (PS3.10 7.1), or as old archives write data sets without one: they begin with group 0002 or 0008."""
    bare = len(start) >= START_BYTES and start[:2] in (b"\x08\x00", b"\x02\x00") and start[3:4] == b"\x00"
    return start[128:132] == b"DICM" or bare


def _check_start(file, suffix: str) -> bool:
    """Whether to read without a preamble. Raises Unusable for what is no DICOM, or TooLarge for a bomb."""
    start = file.read(4096)
    if not start:
        raise Unusable("empty files", damaged=True)
    if not starts_as_dicom(start):
        cut_off = len(start) < START_BYTES and suffix in (".dcm", ".ima")
        raise Unusable("damaged DICOM files" if cut_off else "not DICOM", damaged=cut_off)
    force = start[128:132] != b"DICM"
    offset = 0 if force else 132
    if _stated_syntax(start, offset) in (None, _DEFLATED):
        _check_deflated(file, offset)
    file.seek(0)
    return force


def _stated_syntax(start: bytes, place: int) -> str | None:
    """Transfer syntax in the file meta information (PS3.10 7.1) from `place`, None where it does not end within `start`."""
    syntax = ""
    while place + 12 <= len(start):
        group, number, vr, length = struct.unpack_from("<HH2sH", start, place)
        if group != 2:
            return syntax
        place += 8
        if vr in (b"OB", b"UN", b"OW", b"SQ", b"UT"):
            (length,) = struct.unpack_from("<I", start, place)
            place += 4
        if number == 0x10:
            syntax = start[place : place + length].decode("latin-1").strip(" \0")
        place += length
    return None


def _check_deflated(file, offset: int) -> None:
    """pydicom inflates the whole data set at once: how much that would be is counted first, in pieces."""
    file.seek(offset)
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)  # stops where it ends
    if str(meta.get("TransferSyntaxUID", "")) != _DEFLATED:
        return
    inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while block := file.read(1 << 16):
        while block:
            size += len(inflate.decompress(block, 1 << 20))
            block = inflate.unconsumed_tail
            if size > MAXIMUM_INFLATED_BYTES:
                raise TooLarge("deflated")


class _Fields:
    """Values of a data set by keyword, from their bytes where pydicom has not converted them: converting takes longer."""

    def __init__(self, dataset: pydicom.Dataset):
        self._dataset, self._elements = dataset, dict(dataset.items())

    def __contains__(self, keyword: str) -> bool:
        return _tag(keyword) in self._elements

    def raw(self, keyword: str):
        """Bytes of an element that is text, the value of any other, None where there is none."""
        tag = _tag(keyword)
        element = self._elements.get(tag)
        if element is None:
            return None
        value = element.value
        if isinstance(value, bytes):
            vr = element.VR
            if vr is None or vr == "UN":
                vr = dictionary_VR(tag)
            if vr in _TEXT_VRS:
                return value
            if vr == "US" and len(value) == 2:
                return int.from_bytes(value, "little" if element.is_little_endian else "big")
        return self._dataset[tag].value

    def texts(self, keyword: str) -> tuple[str, ...]:
        value = self.raw(keyword)
        if value is None:
            return ()
        if isinstance(value, bytes):
            return tuple(v.strip(" \0") for v in value.decode("latin-1").split("\\"))
        if isinstance(value, (str, int, float)) or not hasattr(value, "__iter__"):
            value = [value]
        return tuple(str(v).strip(" \0") for v in value)

    def text(self, keyword: str) -> str:
        return next(iter(self.texts(keyword)), "")

    def numbers(self, keyword: str) -> tuple[float, ...]:
        return tuple(_float(v) for v in self.texts(keyword))

    def number(self, keyword: str) -> float:
        return next(iter(self.numbers(keyword)), math.nan)

    def whole(self, keyword: str, default: int | None = None) -> int | None:
        number = self.number(keyword)
        return int(number) if math.isfinite(number) and abs(number) < 2**31 else default

    def words(self, keyword: str) -> str:
        """Text for people, in the file's character set, without what could steer a terminal."""
        value = self.raw(keyword)
        if value is None:
            return ""
        if isinstance(value, bytes) and value.isascii() and b"\x1b" not in value:
            text = value.decode("ascii").rstrip(" \0")
        else:
            try:
                text = str(self._dataset[_tag(keyword)].value)
            except Exception:  # unknown character sets and bytes that do not belong to them
                text = self.text(keyword)
        return _CONTROL.sub(" ", text)[:128]


#: Control characters, C1 included.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _tag(keyword: str) -> int:
    tag = _TAGS.get(keyword)
    if tag is None:
        tag = _TAGS[keyword] = Tag(tag_for_keyword(keyword))
    return tag


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _describe(dataset: pydicom.Dataset, member: Member) -> list[ImageHeader]:
    f = _Fields(dataset)
    sop_class, series_uid = f.text("SOPClassUID"), f.text("SeriesInstanceUID")
    if not sop_class and "Rows" not in f:
        raise Unusable("damaged DICOM files", damaged=True)
    for prefix, what in _OTHER_OBJECTS.items():
        if sop_class == prefix or sop_class.startswith(prefix + "."):
            raise Unusable(what, series_uid=series_uid)
    modality = f.text("Modality")
    if modality not in ("MR", ""):
        raise Unusable(
            f"of modality {modality[:2]}" if re.fullmatch("[A-Z]{2}", modality[:2]) else "of another modality",
            series_uid=series_uid,
        )
    rows, columns = f.whole("Rows"), f.whole("Columns")
    if rows is None or columns is None:
        raise Unusable("without a picture", series_uid=series_uid, damaged=sop_class in _MR_IMAGES)
    if (f.whole("SamplesPerPixel") or 1) > 1:
        raise Unusable("in colour", series_uid=series_uid)
    if not (1 <= rows <= MAXIMUM_MATRIX and 1 <= columns <= MAXIMUM_MATRIX):
        raise Unusable("of an impossible matrix", series_uid=series_uid, damaged=True)
    bits_allocated = f.whole("BitsAllocated", 16)
    bits_stored = f.whole("BitsStored", bits_allocated)
    if bits_allocated not in (8, 16, 32) or not 1 <= bits_stored <= bits_allocated:
        raise Unusable("of impossible bits per pixel", series_uid=series_uid, damaged=True)
    words = " ".join(f.words(k) for k in ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName"))
    common = dict(
        member=member,
        sop_instance_uid=f.text("SOPInstanceUID"),
        series_uid=series_uid,
        study_uid=f.text("StudyInstanceUID"),
        patient=_digest(f.text("PatientID")),
        frame_of_reference_uid=f.text("FrameOfReferenceUID"),
        rows=rows,
        columns=columns,
        sequence=tuple(v.upper() for v in f.texts("ScanningSequence")),
        words=words.lower(),
        dimensions=f.text("MRAcquisitionType"),
        manufacturer=f.words("Manufacturer").lower(),
        series_number=f.whole("SeriesNumber", 0),
        phases=f.whole("CardiacNumberOfImages", 0),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        signed=f.whole("PixelRepresentation", 0) == 1,
        contrast=bool(f.text("ContrastBolusAgent")),
        inverted=f.text("PhotometricInterpretation") == "MONOCHROME1",
        lossy=f.text("LossyImageCompression") == "01",
    )
    frames = f.whole("NumberOfFrames", 1) or 1
    if "PerFrameFunctionalGroupsSequence" in f:
        return _frames(dataset, f, frames, common)
    if frames > 1:
        raise Unusable("multi-frame without a position for each frame", series_uid=series_uid)
    if frames < 0:
        raise Unusable("of an impossible number of frames", series_uid=series_uid, damaged=True)
    return [
        ImageHeader(
            **common,
            frame=0,
            frames=1,
            **_place(*(f.numbers(k) for k in _PLACE), series_uid),
            thickness_mm=f.number("SliceThickness"),
            image_type=tuple(v.upper() for v in f.texts("ImageType")),
            instance_number=f.whole("InstanceNumber", 0),
            acquisition=f.whole("AcquisitionNumber"),
            temporal=f.whole("TemporalPositionIdentifier"),
            time_s=_seconds(f.text("AcquisitionTime") or f.text("ContentTime") or f.text("SeriesTime")),
            inversion_time_ms=f.number("InversionTime"),
            trigger_time_ms=f.number("TriggerTime"),
            echo_time_ms=f.number("EchoTime"),
            **_rescale(_stated(f, "RescaleSlope", 1.0), _stated(f, "RescaleIntercept", 0.0), series_uid),
        )
    ]


def _digest(identifier: str) -> str:
    return hashlib.sha256(identifier.encode()).hexdigest() if identifier else ""


_PLACE = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")


def _stated(f: _Fields, keyword: str, default: float) -> float:
    """`default` where nothing is stated or the value is empty; NaN for what is no number."""
    return f.number(keyword) if f.text(keyword) else default


def _seconds(text: str) -> float:
    """Of the day, from a DICOM time (`HHMMSS.ffffff`) or the end of a date and time."""
    digits = re.fullmatch(r"(?:\d{8})?(\d{2}):?(\d{2}):?(\d{2}(?:\.\d+)?)(?:[+-]\d{4})?", text)
    return 3600.0 * int(digits[1]) + 60.0 * int(digits[2]) + float(digits[3]) if digits else math.nan


def _place(f_orientation, f_position, f_spacing, series_uid: str) -> dict:
    """Orientation as `(2, 3)` unit vectors, position and pixel spacing. Raises Unusable for a place that is none."""
    if len(f_orientation) != 6 or len(f_position) != 3 or len(f_spacing) < 2:
        raise Unusable("without a position, an orientation or a pixel spacing", series_uid=series_uid)
    if not all(math.isfinite(v) for v in f_orientation) or not all(abs(v) < 1e5 for v in f_position):
        raise Unusable("of a position or orientation that is no number", series_uid=series_uid, damaged=True)
    a, b = f_orientation[:3], f_orientation[3:]
    lengths = math.hypot(*a), math.hypot(*b)
    if max(abs(length - 1) for length in lengths) > 0.05 or abs(sum(x * y for x, y in zip(a, b, strict=True))) > 0.05:
        raise Unusable("of an orientation that is none", series_uid=series_uid, damaged=True)
    if not all(0 < s < 100 for s in f_spacing[:2]):
        raise Unusable("of a pixel spacing that is no positive number", series_uid=series_uid, damaged=True)
    return {
        "orientation": np.array([[x / lengths[0] for x in a], [y / lengths[1] for y in b]]),
        "position": np.array(f_position),
        "pixel_spacing_mm": f_spacing[:2],
    }


def _rescale(slope: float, intercept: float, series_uid: str) -> dict:
    """Values that are stated but empty count as none, what is no number otherwise raises Unusable."""
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope != 0):
        raise Unusable("of a rescale that is no number", series_uid=series_uid, damaged=True)
    return {"slope": slope, "intercept": intercept}


def _frames(dataset: pydicom.Dataset, top: _Fields, stated: int, common: dict) -> list[ImageHeader]:
    """Every frame of an enhanced MR image, from its functional groups."""
    series_uid = common["series_uid"]
    if stated > MAXIMUM_FRAMES:
        raise Unusable("of more frames than a stack has", series_uid=series_uid)
    stored = dataset.get_item(_TAGS["PerFrameFunctionalGroupsSequence"]).value
    if isinstance(stored, bytes) and len(stored) > MAXIMUM_FRAME_BYTES * (stated + 16):
        raise Unusable("of another number of frames than they describe", series_uid=series_uid, damaged=True)
    per_frame = dataset.PerFrameFunctionalGroupsSequence
    if len(per_frame) != stated:
        raise Unusable("of another number of frames than they describe", series_uid=series_uid, damaged=True)
    shared = dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]
    found = []
    for number, groups in enumerate(per_frame):

        def group(name: str, groups=groups) -> _Fields:
            for holder in (groups, shared[0]):
                sequence = holder.get(name)
                if sequence:
                    return _Fields(sequence[0])
            return _Fields(pydicom.Dataset())

        content, timing = group("FrameContentSequence"), group("MRModifierSequence")
        measures, transform = group("PixelMeasuresSequence"), group("PixelValueTransformationSequence")
        inversion = timing.numbers("InversionTimes")
        recovery = timing.text("InversionRecovery") == "YES"
        found.append(
            ImageHeader(
                **{**common, "sequence": ("IR",) if recovery else common["sequence"]},
                frame=number,
                frames=stated,
                **_place(
                    group("PlaneOrientationSequence").numbers("ImageOrientationPatient"),
                    group("PlanePositionSequence").numbers("ImagePositionPatient"),
                    measures.numbers("PixelSpacing"),
                    series_uid,
                ),
                thickness_mm=measures.number("SliceThickness"),
                image_type=tuple(
                    v.upper() for v in group("MRImageFrameTypeSequence").texts("FrameType") or top.texts("ImageType")
                ),
                instance_number=top.whole("InstanceNumber", 0),
                acquisition=content.whole("FrameAcquisitionNumber"),
                temporal=content.whole("TemporalPositionIndex"),
                time_s=_seconds(content.text("FrameAcquisitionDateTime") or top.text("ContentTime")),
                inversion_time_ms=inversion[0] if inversion else top.number("InversionTime"),
                trigger_time_ms=group("CardiacSynchronizationSequence").number("NominalCardiacTriggerDelayTime"),
                echo_time_ms=group("MREchoSequence").number("EffectiveEchoTime"),
                **_rescale(
                    _stated(transform, "RescaleSlope", 1.0), _stated(transform, "RescaleIntercept", 0.0), series_uid
                ),
            )
        )
    return found
