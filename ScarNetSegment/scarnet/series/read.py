"""The door into the engine for images."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from scarnet.errors import InputError, UsageError
from scarnet.files import readable
from scarnet.series.dicom import is_dicom, read_dicom
from scarnet.series.geometry import StackGeometry
from scarnet.series.image_file import KINDS, kind_of, read_array, read_image_file
from scarnet.series.lge import LgeSeries, Reconstruction
from scarnet.series.members import is_archive
from scarnet.series.reconstruction import UNKNOWN_RECONSTRUCTION

#: Between columns, rows or slices of any cardiac image; what is beyond was mistyped, or is in another unit.
POSSIBLE_SPACING_MM = (0.1, 50.0)


def read_lge(
    path: Path | str,
    *,
    spacing_mm: tuple[float, float, float] | None = None,
    stack: int | None = None,
    reconstruction: Reconstruction | None = None,
) -> LgeSeries:
    """An LGE short-axis stack from DICOM (a folder, a file, a DICOMDIR, a zip archive), NIfTI, NRRD or MetaImage.

    `spacing_mm`: columns, rows, slices, instead of what a file's header states (not for DICOM). `stack`: which stack of a
    DICOM study, by its number from 1 in `scarnet series list`; the best unless given. `reconstruction`: what the user says
    the images are, in place of what tags and image say. Raises InputError with one line when
    the input is missing, damaged or not such a stack.
    """
    _check_spacing(spacing_mm)
    with readable(path):
        series = _read(Path(path), spacing_mm, stack)
    if reconstruction is None:
        return series
    warnings = tuple(warning for warning in series.warnings if warning != UNKNOWN_RECONSTRUCTION)
    return replace(series, reconstruction=reconstruction, warnings=warnings)


def _check_spacing(spacing_mm: tuple[float, float, float] | None) -> None:
    low, high = POSSIBLE_SPACING_MM
    if spacing_mm is not None and not (len(spacing_mm) == 3 and all(low <= value <= high for value in spacing_mm)):
        raise UsageError(
            f"--spacing takes millimetres between columns, rows and slices, each {low:g} to {high:g}; got "
            f"{', '.join(f'{value:g}' for value in spacing_mm)}."
        )


def _read(path: Path, spacing_mm: tuple[float, float, float] | None, stack: int | None) -> LgeSeries:
    if not path.exists():
        raise InputError(f"{path} does not exist; give a DICOM folder or an image file.")
    if path.is_dir() or (kind_of(path) is None and holds_dicom(path)):  # a folder is one whatever its name ends in
        if spacing_mm is not None:
            raise InputError("--spacing is for files without one; DICOM states its own.")
        return read_dicom(path, stack=stack)
    if stack is not None:
        raise InputError("--series chooses a stack of a DICOM study; this input is one image.")
    if kind_of(path) is None:
        raise InputError(f"{path.name} is not an image this program reads; give DICOM or one of {', '.join(KINDS)}.")
    return read_image_file(path, spacing_mm=spacing_mm)


def holds_dicom(path: Path) -> bool:
    """A folder, a DICOM file, a DICOMDIR or a zip archive."""
    return path.is_dir() or is_dicom(path) or path.name.upper() == "DICOMDIR" or is_archive(path)


def read_label_map(
    path: Path | str, *, spacing_mm: tuple[float, float, float] | None = None
) -> tuple[np.ndarray, StackGeometry]:
    """Labels uint8 `[slice, row, column]` and their grid from a NIfTI, NRRD or MetaImage file. Raises InputError.

    `spacing_mm`: columns, rows, slices, instead of what the header states.
    """
    path = Path(path)
    with readable(path):
        if not path.is_file():
            raise InputError(f"{path} does not exist; give a label map file.")
        array, geometry, _ = read_array(path, spacing_mm=spacing_mm)
    labels = array.astype(np.uint8)
    if not np.array_equal(labels, array):
        raise InputError(f"{path.name} is not a label map: it holds values other than whole numbers from 0 to 255.")
    return labels, geometry
