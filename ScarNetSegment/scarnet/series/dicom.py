"""A DICOM folder: which of its images form one short-axis stack, and that stack on its own grid.

Slices are grouped by study, frame of reference, orientation, pixel grid and kind of reconstruction, never by series UID
alone: phase-sensitive LGE often arrives as one series per slice (DICOM PS3.3 C.7.6.2 Image Plane, C.8.3.1 MR Image).
"""

import logging
import warnings
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from scarnet.errors import InputError
from scarnet.series.checks import check_geometry, check_pixels, check_slices, content_sha256
from scarnet.series.geometry import SLICE_SPACING_RTOL, StackGeometry
from scarnet.series.lge import LgeSeries, Reconstruction, SeriesSource

#: Two orientations are one when their direction cosines agree to this (0.6 degrees): decimal strings are rounded.
ORIENTATION_TOLERANCE = 1e-2
#: Slices nearer than this are one position acquired twice.
SAME_POSITION_MM = 0.5
#: Acquisition facts that identify nobody.
ACQUISITION_KEYWORDS = (
    "Manufacturer ManufacturerModelName MagneticFieldStrength ScanningSequence SequenceVariant SequenceName "
    "RepetitionTime EchoTime InversionTime FlipAngle SliceThickness SpacingBetweenSlices"
).split()


@dataclass(frozen=True)
class _Slice:
    path: Path
    header: pydicom.Dataset
    orientation: np.ndarray  # (2, 3)
    position: np.ndarray  # (3,)

    def key(self) -> tuple:
        h = self.header
        return (
            str(h.get("StudyInstanceUID", "")),
            str(h.get("FrameOfReferenceUID", "")),
            tuple(np.round(self.orientation.ravel() / (2 * ORIENTATION_TOLERANCE)).astype(int)),
            (int(h.Rows), int(h.Columns)),
            tuple(np.round([float(s) for s in h.PixelSpacing], 3)),
            reconstruction_of(h),
        )


def is_dicom(path: Path) -> bool:
    """A DICOM file by its preamble (PS3.10), whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def reconstruction_of(header: pydicom.Dataset) -> Reconstruction:
    """Magnitude or phase-sensitive, as ImageType and the descriptions tell it; signed pixels are phase-sensitive."""
    words = " ".join(
        [
            *map(str, header.get("ImageType", [])),
            str(header.get("SeriesDescription", "")),
            str(header.get("ProtocolName", "")),
        ]
    ).upper()
    types = {str(value).upper() for value in header.get("ImageType", [])}
    if "MAG" in words.replace("MAGNETOM", "").split("_") or {"M", "M_IR", "MAGNITUDE"} & types and "PSIR" not in types:
        return Reconstruction.MAGNITUDE
    if "PSIR" in words or {"CR", "R", "REAL", "R_IR"} & types or int(header.get("PixelRepresentation", 0)) == 1:
        return Reconstruction.PSIR
    return Reconstruction.UNKNOWN


def read_dicom(path: Path) -> LgeSeries:
    """The short-axis stack in a folder, or in the folder of a file given (the stack of that file's series).

    Raises InputError, without patient data in its text, when there is none or it cannot be used.
    """
    files = (
        [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and p.name.upper() != "DICOMDIR")
    )
    slices = _read_headers(files, path)
    groups = defaultdict(list)
    for item in slices:
        groups[item.key()].append(item)
    stacks = sorted(groups.values(), key=lambda group: -len(_unique_positions(group)[0]))
    kept, repeated = _unique_positions(stacks[0])
    check_slices(len(kept), f"The largest stack in {path.name}")
    notes = []
    if repeated:
        notes.append(f"{repeated} images repeat a slice position; the last acquired of each was used.")
    others = [len(group) for group in stacks[1:]]
    if others:
        notes.append(
            f"{sum(others)} other images in the folder are not part of the stack of {len(kept)} slices that was used."
        )
    return _assemble(kept, path, notes)


def with_dicom_files(series: LgeSeries, files: list[Path]) -> LgeSeries:
    """`series`, which came by another way (a volume in Slicer), with the DICOM image of every slice.

    Images are matched by where they lie, not by their order: a slice's image has its grid, its plane and its position to
    `SAME_POSITION_MM`. Raises InputError unless every slice has one, as after a transform of the volume.
    """
    geometry = series.geometry
    axes = np.stack([geometry.column_direction, geometry.row_direction])
    images = [
        item
        for item in (_read_headers(list(files), Path("the DICOM database")) if files else ())
        if (int(item.header.Rows), int(item.header.Columns)) == geometry.shape[1:]
        and np.abs(item.orientation - axes).max() < ORIENTATION_TOLERANCE
    ]
    found = []
    for origin in geometry.slice_origins_mm:
        near = [item for item in images if np.linalg.norm(item.position - origin) < SAME_POSITION_MM]
        if not near:
            raise InputError(
                "The volume's DICOM images are not in the database, or not where the volume lies: load the series again "
                "from the DICOM module, without a transform."
            )
        found.append(max(near, key=_acquired))
    return replace(
        series,
        reconstruction=reconstruction_of(found[0].header),
        source=replace(series.source, **_identity(found)),
    )


def _read_headers(files: list[Path], path: Path) -> list[_Slice]:
    slices, reasons = [], defaultdict(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom comments on every odd value, naming it
        logging.getLogger("pydicom").setLevel(logging.ERROR)
        for file in files:
            try:
                header = pydicom.dcmread(file, stop_before_pixels=True)
            except (InvalidDicomError, OSError, EOFError, ValueError, AttributeError):
                reasons["not DICOM"] += 1
                continue
            problem = _unusable(header)
            if problem:
                reasons[problem] += 1
                continue
            orientation = np.array([float(v) for v in header.ImageOrientationPatient]).reshape(2, 3)
            slices.append(_Slice(file, header, orientation, np.array([float(v) for v in header.ImagePositionPatient])))
    if not slices:
        what = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "it is empty"
        raise InputError(
            f"No MR images with a position were found in {path.name} ({what}); choose the folder of the LGE series."
        )
    return slices


def _unusable(header: pydicom.Dataset) -> str | None:
    if int(header.get("NumberOfFrames", 1) or 1) > 1:
        return "multi-frame"
    if int(header.get("SamplesPerPixel", 1) or 1) > 1:
        return "in colour"
    if header.get("Modality", "MR") != "MR":
        return f"of modality {header.Modality}"
    for keyword in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "Rows", "Columns"):
        if header.get(keyword) is None:
            return f"without {keyword}"
    return None


def _normal(item: _Slice) -> np.ndarray:
    return np.cross(*item.orientation)


def _unique_positions(group: list[_Slice]) -> tuple[list[_Slice], int]:
    """Slices sorted along the normal, one per position (the last acquired), and how many were left out."""
    normal = _normal(group[0])
    ordered = sorted(group, key=lambda s: (s.position @ normal, _acquired(s)))
    kept: list[_Slice] = []
    for item in ordered:
        if kept and abs((item.position - kept[-1].position) @ normal) < SAME_POSITION_MM:
            kept[-1] = max(kept[-1], item, key=_acquired)
        else:
            kept.append(item)
    return kept, len(group) - len(kept)


def _acquired(item: _Slice) -> tuple:
    h = item.header
    return (
        str(h.get("AcquisitionTime", h.get("ContentTime", ""))),
        int(h.get("SeriesNumber") or 0),
        int(h.get("InstanceNumber") or 0),
    )


def _assemble(stack: list[_Slice], path: Path, notes: list[str]) -> LgeSeries:
    first = stack[0].header
    spacing = [float(v) for v in first.PixelSpacing]
    name = f"The stack in {path.name}"
    if not all(np.isfinite(s) and s > 0 for s in spacing):
        raise InputError(
            f"{name} states a pixel spacing of {spacing} mm; both must be positive: export the series again."
        )
    axes = stack[0].orientation / np.linalg.norm(stack[0].orientation, axis=1, keepdims=True)
    try:
        geometry = StackGeometry(
            shape=(len(stack), int(first.Rows), int(first.Columns)),
            pixel_spacing_mm=tuple(spacing),
            column_direction=axes[0],
            row_direction=axes[1] - (axes[1] @ axes[0]) * axes[0],
            slice_origins_mm=np.stack([item.position for item in stack]),
            single_slice_thickness_mm=float(first.get("SliceThickness") or 0) or None,
        )
    except ValueError as error:
        raise InputError(f"{name}: {error} Export the series again.") from error
    check_geometry(geometry, name)
    image = np.stack([_pixels(item) for item in stack])
    check_pixels(image, name)
    steps = np.diff(geometry.slice_positions_mm)
    if steps.max() > steps.min() * (1 + SLICE_SPACING_RTOL) + 0.05:
        widest = int(steps.argmax())
        notes.append(
            f"Slices are not equidistant ({steps.min():.1f} to {steps.max():.1f} mm; widest between slices {widest + 1} and "
            f"{widest + 2}): a slice may be missing. Each slice weighs half the distance to its neighbours."
        )
    return LgeSeries(
        image=image,
        geometry=geometry,
        reconstruction=reconstruction_of(first),
        warnings=tuple(notes),
        source=SeriesSource(name=path.name, content_sha256=content_sha256(image, geometry), **_identity(stack)),
    )


def _identity(stack: list[_Slice]) -> dict:
    """Which images these are, as SeriesSource keeps it."""
    first = stack[0].header
    return {
        "kind": "dicom",
        "slice_files": tuple(str(item.path) for item in stack),
        "sop_instance_uids": tuple(str(item.header.SOPInstanceUID) for item in stack),
        "study_instance_uid": str(first.get("StudyInstanceUID", "")),
        "series_instance_uids": tuple(dict.fromkeys(str(item.header.get("SeriesInstanceUID", "")) for item in stack)),
        "frame_of_reference_uid": str(first.get("FrameOfReferenceUID", "")),
        "acquisition": {
            k: _plain(first[k].value) for k in ACQUISITION_KEYWORDS if k in first and first[k].value not in (None, "")
        },
    }


def _plain(value):
    """A DICOM value as JSON has it."""
    if isinstance(value, (list, tuple, pydicom.multival.MultiValue)):
        return [_plain(v) for v in value]
    return float(value) if isinstance(value, (int, float)) else str(value)


def _pixels(item: _Slice) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(item.path)
            values = dataset.pixel_array.astype(np.float64)
    except Exception as error:  # decoders raise many types; all mean the same to a user
        raise InputError(
            f"{item.path.name} holds pixels that cannot be decoded ({type(error).__name__}); export it again, uncompressed."
        ) from error
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    return (values * float(1 if slope is None else slope) + float(intercept or 0)).astype(np.float32)
