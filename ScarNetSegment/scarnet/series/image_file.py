"""NIfTI, NRRD and MetaImage files, on their own grid."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scarnet.errors import InputError
from scarnet.series.checks import (
    MINIMUM_SLICE_DISTANCE_MM,
    NO_ORIENTATION,
    TYPICAL_SPACING_MM,
    check_geometry,
    check_pixels,
    check_slices,
    content_sha256,
    few_slices_notes,
    lost_picture_notes,
)
from scarnet.series.geometry import StackGeometry
from scarnet.series.lge import LgeSeries, SeriesSource
from scarnet.series.nifti import read_nifti
from scarnet.series.quiet import without_standard_error
from scarnet.series.reconstruction import from_image, offset_note

KINDS = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
}


def kind_of(path: Path) -> str | None:
    """The format a file's name promises, or None."""
    return next((kind for suffix, kind in KINDS.items() if path.name.lower().endswith(suffix)), None)


def read_array(
    path: Path, *, spacing_mm: tuple[float, float, float] | None = None
) -> tuple[np.ndarray, StackGeometry, tuple[str, ...]]:
    """Voxels `[slice, row, column]` in the file's own type, their grid, and sentences on it for the user.

    `spacing_mm`: columns, rows, slices, instead of what the header states. Raises InputError.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:  # ITK aborts the whole program, and no report could name the file
        raise InputError("The file's name or that of its folder is not UTF-8; rename it.") from None
    array, affine, notes = (_by_nifti if kind_of(path) == "nifti" else _by_itk)(path, spacing_mm)
    try:
        return array, StackGeometry.from_affine_lps(affine, array.shape), notes
    except ValueError as error:
        raise InputError(f"{path.name}: {error} Correct the header, or give the spacing with --spacing.") from error


def _by_nifti(path: Path, spacing_mm: tuple[float, float, float] | None) -> tuple[np.ndarray, np.ndarray, tuple]:
    image = read_nifti(path, spacing_mm=spacing_mm)
    return image.voxels, image.affine_lps, image.notes


def _by_itk(path: Path, spacing_mm: tuple[float, float, float] | None) -> tuple[np.ndarray, np.ndarray, tuple]:
    warnings_shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # ITK's warnings name files on standard error
    try:
        with without_standard_error():
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            _check_header(reader, path, spacing_mm)
            image = reader.Execute()
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"{path.name} cannot be read as an image: it is damaged or not what its name says; export it again."
        ) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warnings_shown)
    if image.GetDimension() == 4:  # a single volume: _check_header refused more
        image = image[..., 0]
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(spacing_mm or image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), affine, ()


def _check_header(reader: sitk.ImageFileReader, path: Path, given: tuple[float, float, float] | None) -> None:
    size = reader.GetSize()
    if reader.GetNumberOfComponents() > 1:
        raise InputError(f"{path.name} is a colour or vector image; an LGE series of plain grey values is needed.")
    if len(size) > 3 and any(n > 1 for n in size[3:]):
        raise InputError(
            f"{path.name} has {len(size)} dimensions {size}; give one volume (one phase, one inversion time)."
        )
    if len(size) < 3:
        check_slices(1, path.name)
    spacing = tuple(reader.GetSpacing()[:3])
    if 0 in spacing or (given is None and not all(np.isfinite(s) and s > 0 for s in spacing)):
        or_give = "" if 0 in spacing else ", or give the spacing with --spacing"  # ITK opens no file that states 0
        raise InputError(
            f"{path.name} states a spacing of {list(spacing)} mm; all must be positive: correct the header{or_give}."
        )


def read_image_file(path: Path, *, spacing_mm: tuple[float, float, float] | None = None) -> LgeSeries:
    """An LGE stack from a file. `spacing_mm`: columns, rows, slices, instead of what the header states.

    Such files have no tags: whether they are magnitude or phase-sensitive is decided from the image alone, by the rule that
    DICOM without tags follows (`scarnet.series.reconstruction.from_image`). Where it cannot tell, the report's rules say so.
    """
    array, geometry, notes = read_array(path, spacing_mm=spacing_mm)
    check_slices(geometry.shape[0], path.name)
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, which is refused in words
        image = array.astype(np.float32)
    check_pixels(image, path.name)
    warnings, spacing_source = list(notes), "file"
    if spacing_mm is not None:
        spacing_source = "user"
    elif is_placeholder(geometry):
        geometry, spacing_source = with_spacing(geometry, TYPICAL_SPACING_MM), "assumed"
        warnings.append(
            "The file states no spacing (1 x 1 x 1): a typical {:g} x {:g} x {:g} mm was assumed. Percentages hold; volumes "
            "and masses rest on the assumption: give the true spacing with --spacing.".format(*TYPICAL_SPACING_MM)
        )
    check_geometry(geometry, path.name)
    if not geometry.states_orientation:
        warnings.append(NO_ORIENTATION)
    warnings += few_slices_notes(len(image)) + lost_picture_notes(image)
    reconstruction, offset = from_image(image)
    if offset:
        image = image - np.float32(offset)
        warnings.append(offset_note(offset))
    return LgeSeries(
        image=image,
        geometry=geometry,
        reconstruction=reconstruction,
        warnings=tuple(warnings),
        source=SeriesSource(kind=kind_of(path) or "", name=path.name, content_sha256=content_sha256(image, geometry)),
        spacing_source=spacing_source,
    )


def is_placeholder(geometry: StackGeometry) -> bool:
    """A spacing of exactly one everywhere on few slices: what tools write when they know none."""
    spacing = (*geometry.pixel_spacing_mm, geometry.slice_weights_mm[0])
    return np.allclose(spacing, 1.0, atol=1e-6) and geometry.shape[0] < 30 and 1.0 < MINIMUM_SLICE_DISTANCE_MM


def with_spacing(geometry: StackGeometry, spacing_mm: tuple[float, float, float]) -> StackGeometry:
    """The same axes and first corner, another spacing (columns, rows, slices)."""
    affine = geometry.affine_lps.copy()
    affine[:3, :3] = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0) * np.asarray(spacing_mm)
    return StackGeometry.from_affine_lps(affine, geometry.shape)
