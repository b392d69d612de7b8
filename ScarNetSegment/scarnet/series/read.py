"""The door into the engine for images."""

from pathlib import Path

import numpy as np

from scarnet.errors import InputError
from scarnet.series.dicom import is_dicom, read_dicom
from scarnet.series.geometry import StackGeometry
from scarnet.series.image_file import KINDS, kind_of, read_array, read_image_file
from scarnet.series.lge import LgeSeries


def read_lge(path: Path | str, *, spacing_mm: tuple[float, float, float] | None = None) -> LgeSeries:
    """An LGE short-axis stack from a DICOM folder or file, or from a NIfTI, NRRD or MetaImage file.

    `spacing_mm`: columns, rows, slices, instead of what a file's header states (not for DICOM). Raises InputError with
    one line when the input is missing, damaged or not such a stack.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a DICOM folder or an image file.")
    if path.is_dir() or (kind_of(path) is None and is_dicom(path)):
        if spacing_mm is not None:
            raise InputError("--spacing is for files without one; DICOM states its own.")
        return read_dicom(path)
    if kind_of(path) is None:
        raise InputError(f"{path.name} is not an image this program reads; give DICOM or one of {', '.join(KINDS)}.")
    return read_image_file(path, spacing_mm=spacing_mm)


def read_label_map(path: Path | str) -> tuple[np.ndarray, StackGeometry]:
    """Labels uint8 `[slice, row, column]` and their grid from a NIfTI, NRRD or MetaImage file. Raises InputError."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a label map file.")
    array, geometry = read_array(path)
    labels = array.astype(np.uint8)
    if not np.array_equal(labels, array):
        raise InputError(f"{path.name} is not a label map: it holds values other than whole numbers from 0 to 255.")
    return labels, geometry
