"""Pixels of a stack, decoded within limits and rescaled.

Compressed images go through pydicom's plugins, whichever are installed; where none fits, through SimpleITK's GDCM, which
is always there and knows JPEG lossless, JPEG-LS, JPEG 2000 and RLE.
"""

import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import pixel_array
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from scarnet.errors import InputError
from scarnet.series.header import ImageHeader
from scarnet.series.members import MAXIMUM_FILE_BYTES, TooLarge
from scarnet.series.quiet import quiet
from scarnet.temporary import PrivateFolder


def read_pixels(
    headers: Sequence[ImageHeader], where: Callable[[int], str]
) -> tuple[np.ndarray, pydicom.Dataset, list[int]]:
    """float32 `[slice, row, column]` after rescale, the data set of the first, and the slices whose stored values
    exceed the bits that their header states (what is beyond is cut off on decoding). `where(k)` names slice k in errors.

    Raises InputError when pixels are missing, cannot be decoded, or are not as many as the headers state.
    """
    pictures, exceeding, first, opened = [], [], None, (None, None)
    with quiet():
        for k, header in enumerate(headers):
            try:
                if opened[0] is not header.member:  # frames of one object follow one another: it is read once
                    opened = (header.member, _opened(header.member.read()))
                dataset = opened[1]
                first = first or dataset
                _check_sizes(dataset, header, where(k))
                if _exceeds_bits(dataset, header):
                    exceeding.append(k)
                pictures.append(_rescaled(_decoded(dataset, header), header, where(k)))
            except InputError:
                raise
            except TooLarge:
                raise InputError(
                    f"{where(k)} lies in a file larger than {MAXIMUM_FILE_BYTES >> 20} MB; export the series again."
                ) from None
            except Exception as error:  # decoders raise many types; all mean the same to a user
                raise InputError(
                    f"{where(k)} holds pixels that cannot be decoded ({type(error).__name__}); export it again, "
                    "uncompressed."
                ) from error
    return np.stack(pictures), first, exceeding


def _opened(data: bytes) -> pydicom.Dataset:
    """A file without its head, as old archives hold them, says by its first bytes alone how it is written."""
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian if implicit else explicit
    for keyword, value in _usual_storage(dataset).items():
        if dataset.get(keyword) is None:  # required by DICOM, and dropped by some anonymisers
            setattr(dataset, keyword, value)
    return dataset


def _usual_storage(dataset: pydicom.Dataset) -> dict:
    """What `scarnet.series.header` takes where an image does not say how its values are stored."""
    allocated = dataset.get("BitsAllocated") or 16
    stored = dataset.get("BitsStored") or allocated
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": allocated,
        "BitsStored": stored,
        "HighBit": stored - 1,
        "PixelRepresentation": 0,
    }


def _check_sizes(dataset: pydicom.Dataset, header: ImageHeader, where: str) -> None:
    """Before anything is decoded: as many bytes as stated, and no more picture than stated in compressed ones."""
    frame_bytes = header.rows * header.columns * header.bits_allocated // 8
    if frame_bytes * header.frames > MAXIMUM_FILE_BYTES:
        raise TooLarge("stated")
    syntax = dataset.file_meta.get("TransferSyntaxUID", pydicom.uid.ImplicitVRLittleEndian)
    if not syntax.is_compressed:
        if len(dataset.PixelData) < frame_bytes * header.frames:
            raise InputError(
                f"{where} holds {len(dataset.PixelData)} bytes of pixels where its header states "
                f"{frame_bytes * header.frames}: it is truncated; export it again."
            )
        return
    frame = get_frame(dataset.PixelData, header.frame, number_of_frames=header.frames)
    size = codestream_size(frame)
    if len(frame) > 2 * frame_bytes + 65536 or size not in (None, (header.rows, header.columns)):
        raise InputError(f"{where} holds a compressed picture of another size than its header states; export it again.")


def _exceeds_bits(dataset: pydicom.Dataset, header: ImageHeader) -> bool:
    """Of uncompressed unsigned values."""
    syntax = dataset.file_meta.get("TransferSyntaxUID", pydicom.uid.ImplicitVRLittleEndian)
    if header.signed or header.bits_stored == header.bits_allocated or syntax.is_compressed:
        return False
    kind = np.dtype(f"{'<' if syntax.is_little_endian else '>'}u{header.bits_allocated // 8}")
    count = header.rows * header.columns
    values = np.frombuffer(dataset.PixelData, kind, count, header.frame * count * kind.itemsize)
    return bool((values >> header.bits_stored).any())


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 code stream states, None where it is none of these.

    JPEG: frame header, ITU-T T.81 B.2.2 (JPEG-LS: T.87 C.2.2); JPEG 2000: SIZ, ITU-T T.800 A.5.1.
    """
    if frame[:4] == b"\xff\x4f\xff\x51":
        width, height, left, top = struct.unpack_from(">4I", frame, 8)
        return height - top, width - left
    if frame[:2] != b"\xff\xd8":
        return None
    place = 2
    while place + 9 < len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return struct.unpack_from(">2H", frame, place + 5)
        place += 2 + struct.unpack_from(">H", frame, place + 2)[0]
    return None


def _rescaled(values: np.ndarray, header: ImageHeader, where: str) -> np.ndarray:
    if values.shape != (header.rows, header.columns):
        raise InputError(
            f"{where} holds {values.shape} pixels where its header states {(header.rows, header.columns)}; export it again."
        )
    return (values.astype(np.float64) * header.slope + header.intercept).astype(np.float32)


def _decoded(dataset: pydicom.Dataset, header: ImageHeader) -> np.ndarray:
    index = header.frame if header.frames > 1 else None
    try:
        values = pixel_array(dataset, index=index)
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        values = _decoded_by_gdcm(dataset, header)
        if values is None:
            raise error
    return values[0] if values.ndim == 3 and len(values) == 1 else values


def _decoded_by_gdcm(dataset: pydicom.Dataset, header: ImageHeader) -> np.ndarray | None:
    """Stored values, or None. GDCM reads files only: one of the picture alone, nothing of the patient, in a private folder."""
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return None
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # ITK's warnings name files on standard error
    try:
        with PrivateFolder() as folder:
            path = Path(folder) / "image"
            _picture_alone(dataset, header).save_as(path, enforce_file_format=True)
            reader = sitk.ImageFileReader()
            reader.SetImageIO("GDCMImageIO")
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            size = reader.GetSize()
            if tuple(size[:2]) != (header.columns, header.rows) or reader.GetNumberOfComponents() != 1:
                return None
            array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError:
        return None
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
    return array.reshape(header.rows, header.columns).astype(np.float64)


_PIXEL_KEYWORDS = (
    "SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation"
).split()


def _picture_alone(dataset: pydicom.Dataset, header: ImageHeader) -> pydicom.Dataset:
    """One frame, still compressed, as an object that says how it is stored and nothing else (no rescale either)."""
    alone = pydicom.Dataset()
    alone.file_meta = FileMetaDataset()
    alone.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    alone.file_meta.MediaStorageSOPClassUID = alone.SOPClassUID = SecondaryCaptureImageStorage
    alone.file_meta.MediaStorageSOPInstanceUID = alone.SOPInstanceUID = generate_uid()
    for keyword in _PIXEL_KEYWORDS:
        if keyword in dataset:
            setattr(alone, keyword, dataset[keyword].value)
    alone.PixelData = encapsulate([get_frame(dataset.PixelData, header.frame, number_of_frames=header.frames)])
    return alone
