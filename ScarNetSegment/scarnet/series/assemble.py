"""A stack of pictures as an `LgeSeries`: pixels on their own grid, what they are, and what is odd about them."""

import numpy as np
import pydicom

from scarnet.errors import InputError
from scarnet.series.checks import check_geometry, check_pixels, content_sha256, lost_picture_notes
from scarnet.series.geometry import SLICE_SPACING_RTOL, StackGeometry
from scarnet.series.header import ImageHeader
from scarnet.series.lge import LgeSeries, SeriesSource, SlicePicture
from scarnet.series.pixels import read_pixels
from scarnet.series.quiet import quiet
from scarnet.series.reconstruction import decide, offset_note
from scarnet.series.stacks import Stack

#: Acquisition facts that identify nobody.
ACQUISITION_KEYWORDS = (
    "Manufacturer ManufacturerModelName MagneticFieldStrength ScanningSequence SequenceVariant SequenceName "
    "RepetitionTime EchoTime InversionTime FlipAngle SliceThickness SpacingBetweenSlices"
).split()
#: Slices of one stack follow a straight line; scanners round positions to far less.
SIDEWAYS_MM = 1.0


def assemble(stack: Stack, *, name: str = "") -> LgeSeries:
    """The pixels of a stack on its own grid. Raises InputError."""
    first, where = stack.first, "The stack"
    axes = first.orientation
    try:
        geometry = StackGeometry(
            shape=(len(stack.slices), first.rows, first.columns),
            pixel_spacing_mm=first.pixel_spacing_mm,
            column_direction=axes[0],
            row_direction=_perpendicular(axes[1], axes[0]),
            slice_origins_mm=np.stack([s.position for s in stack.slices]),
            single_slice_thickness_mm=first.thickness_mm if first.thickness_mm > 0 else None,
        )
    except ValueError as error:
        raise InputError(f"{where}: {error} Export the series again.") from error
    check_geometry(geometry, where, can_be_given=False)
    image, dataset, exceeding = read_pixels(
        stack.slices, lambda k: f"Slice {k + 1} of the stack (series {stack.slices[k].series_number})"
    )
    check_pixels(image, where)
    reconstruction, offset, doubt = decide(first, image)
    notes = [doubt] if doubt else []
    if exceeding:
        notes.append(
            f"Values of {len(exceeding)} slices exceed the {first.bits_stored} bits that the headers state, and were cut off: the "
            "pictures may be damaged."
        )
    if offset:
        image = image - np.float32(offset)
        notes.append(offset_note(offset))
    notes += _geometry_notes(stack, geometry) + lost_picture_notes(image) + _storage_notes(stack)
    return LgeSeries(
        image=image,
        geometry=geometry,
        reconstruction=reconstruction,
        warnings=tuple(notes),
        source=SeriesSource(
            name=name, content_sha256=content_sha256(image, geometry), **identity(stack.slices, dataset)
        ),
    )


def _perpendicular(axis: np.ndarray, to: np.ndarray) -> np.ndarray:
    rest = axis - (axis @ to) * to
    return rest / np.linalg.norm(rest)


def _geometry_notes(stack: Stack, geometry: StackGeometry) -> list[str]:
    notes = []
    steps = np.diff(geometry.slice_positions_mm)
    if steps.max() > steps.min() * (1 + SLICE_SPACING_RTOL) + 0.05:
        widest = int(steps.argmax())
        notes.append(
            f"Slices are not equidistant ({steps.min():.1f} to {steps.max():.1f} mm; widest between slices {widest + 1} and "
            f"{widest + 2}): a slice may be missing. Each slice weighs half the distance to its neighbours."
        )
    aside = _sideways_mm(geometry)
    if aside.max(initial=0) > SIDEWAYS_MM:
        notes.append(
            f"Slice {int(aside.argmax()) + 1} lies {aside.max():.0f} mm beside the line through the others: it was planned so, "
            "or its position is damaged."
        )
    times = stack.inversion_time_range_ms
    if times and times[1] - times[0] > 60:
        notes.append(f"The inversion time varies from {times[0]:.0f} to {times[1]:.0f} ms between slices.")
    return notes


def _storage_notes(stack: Stack) -> list[str]:
    notes = []
    lossy, inverted = ([h for h in stack.slices if getattr(h, how)] for how in ("lossy", "inverted"))
    if lossy:
        notes.append(f"{_which(lossy, stack)} compressed with loss: thin scar may be blurred.")
    if inverted:
        notes.append(
            f"{_which(inverted, stack)} stored inverted (MONOCHROME1): scar is dark in them, and may not be found."
        )
    return notes


def _which(some: list[ImageHeader], stack: Stack) -> str:
    if len(some) == len(stack.slices):
        return "The images are"
    numbers = [k + 1 for k, h in enumerate(stack.slices) if h in some]
    return f"The images of slice {', '.join(map(str, numbers))} alone are"


def _sideways_mm(geometry: StackGeometry) -> np.ndarray:
    """`(slices,)`: distance of every slice's origin from the straight line that most of them lie on."""
    positions, origins = geometry.slice_positions_mm, geometry.slice_origins_mm
    slopes = np.diff(origins, axis=0) / np.diff(positions)[:, None]
    slope = np.median(slopes, axis=0)
    rest = origins - positions[:, None] * slope
    return np.linalg.norm(rest - np.median(rest, axis=0), axis=1)


def identity(slices: tuple[ImageHeader, ...], dataset: pydicom.Dataset) -> dict:
    """Which images these are, as SeriesSource keeps it."""
    return {
        "kind": "dicom",
        "pictures": tuple(SlicePicture(*s.member.place, frame=s.frame if s.frames > 1 else None) for s in slices),
        "sop_instance_uids": tuple(s.sop_instance_uid for s in slices),
        "study_instance_uid": slices[0].study_uid,
        "series_instance_uids": tuple(dict.fromkeys(s.series_uid for s in slices)),
        "frame_of_reference_uid": slices[0].frame_of_reference_uid,
        "acquisition": _acquisition(dataset),
    }


def _acquisition(dataset: pydicom.Dataset) -> dict:
    facts = {}
    with quiet():
        for keyword in ACQUISITION_KEYWORDS:
            try:
                value = dataset.get(keyword)
            except Exception:  # a lying header makes pydicom raise anything; what cannot be read is not known
                continue
            if value not in (None, ""):
                facts[keyword] = _plain(value)
    return facts


def _plain(value):
    """A DICOM value as JSON has it; numbers that are none as text."""
    if isinstance(value, (list, tuple, pydicom.multival.MultiValue)):
        return [_plain(v) for v in value]
    if isinstance(value, (int, float)) and np.isfinite(float(value)):
        return float(value)
    return "".join(c for c in str(value) if c.isprintable())[:64]
