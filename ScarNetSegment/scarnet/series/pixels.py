"""Pixels of one picture, decoded within limits and rescaled.

Compressed images go through pydicom's plugins, whichever are installed; where none fits, through SimpleITK's GDCM, which
is always there and knows JPEG lossless, JPEG-LS, JPEG 2000 and RLE.
"""

import io
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.pixels import pixel_array

from scarnet.errors import InputError
from scarnet.series.header import ImageHeader, quiet
from scarnet.series.members import MAXIMUM_FILE_BYTES, TooLarge


def read_pixels(header: ImageHeader, where: str) -> tuple[np.ndarray, pydicom.Dataset]:
    """float32 `[row, column]` after rescale, and the file's data set. `where` names the picture in errors.

    Raises InputError when pixels are missing, cannot be decoded, or are not as many as the header states.
    """
    with quiet():
        try:
            content = header.member.read()
            dataset = pydicom.dcmread(io.BytesIO(content), force=True)
            stated = header.rows * header.columns * header.frames * header.bits_allocated // 8
            if stated > MAXIMUM_FILE_BYTES:
                raise TooLarge("stated")
            compressed = dataset.file_meta.get("TransferSyntaxUID", pydicom.uid.ImplicitVRLittleEndian).is_compressed
            if not compressed and len(dataset.PixelData) < stated:
                raise InputError(
                    f"{where} holds {len(dataset.PixelData)} bytes of pixels where its header states {stated}: it is "
                    "truncated; export it again."
                )
            values = _decoded(dataset, header, content)
        except InputError:
            raise
        except TooLarge:
            raise InputError(
                f"{where} is larger than {MAXIMUM_FILE_BYTES >> 20} MB; export the series again."
            ) from None
        except Exception as error:  # decoders raise many types; all mean the same to a user
            raise InputError(
                f"{where} holds pixels that cannot be decoded ({type(error).__name__}); export it again, uncompressed."
            ) from error
    if values.shape != (header.rows, header.columns):
        raise InputError(
            f"{where} holds {values.shape} pixels where its header states {(header.rows, header.columns)}; export it again."
        )
    return (values.astype(np.float64) * header.slope + header.intercept).astype(np.float32), dataset


def _decoded(dataset: pydicom.Dataset, header: ImageHeader, content: bytes) -> np.ndarray:
    index = header.frame if header.frames > 1 else None
    try:
        values = pixel_array(dataset, index=index)
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        values = _decoded_by_gdcm(content, header)
        if values is None:
            raise error
    return values[0] if values.ndim == 3 and len(values) == 1 else values


def _decoded_by_gdcm(content: bytes, header: ImageHeader) -> np.ndarray | None:
    """Stored values, or None. GDCM reads files only: one in a folder of our own that is gone afterwards."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # ITK's warnings name files on standard error
    try:
        with tempfile.TemporaryDirectory(prefix="scarnet-") as folder:
            path = Path(folder) / "image"
            path.write_bytes(content)
            reader = sitk.ImageFileReader()
            reader.SetImageIO("GDCMImageIO")
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            size = reader.GetSize()
            if tuple(size[:2]) != (header.columns, header.rows) or reader.GetNumberOfComponents() != 1:
                return None
            array = sitk.GetArrayFromImage(reader.Execute()).astype(np.float64)
    except RuntimeError:
        return None
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
    array = array.reshape(-1, header.rows, header.columns)
    if header.frame >= len(array):
        return None
    return np.round((array[header.frame] - header.intercept) / header.slope)  # ITK has applied the rescale
