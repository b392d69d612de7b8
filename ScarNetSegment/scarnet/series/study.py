"""A whole study: what is in it, which of its stacks serves best and why, and that stack as an `LgeSeries`."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom

from scarnet.errors import InputError, UsageError
from scarnet.series.checks import check_geometry, check_pixels, content_sha256
from scarnet.series.geometry import SLICE_SPACING_RTOL, StackGeometry
from scarnet.series.header import ImageHeader, Unusable, read_headers
from scarnet.series.judge import FULL_STACK, Verdict, judge, ranked, with_reconstruction
from scarnet.series.lge import LgeSeries, Reconstruction, SeriesSource
from scarnet.series.members import Member, members
from scarnet.series.names import Kind, View
from scarnet.series.pixels import read_pixels
from scarnet.series.quiet import quiet
from scarnet.series.reconstruction import decide
from scarnet.series.stacks import Stack, group_into_stacks

#: Acquisition facts that identify nobody.
ACQUISITION_KEYWORDS = (
    "Manufacturer ManufacturerModelName MagneticFieldStrength ScanningSequence SequenceVariant SequenceName "
    "RepetitionTime EchoTime InversionTime FlipAngle SliceThickness SpacingBetweenSlices"
).split()


@dataclass(frozen=True, eq=False)
class Study:
    """`stacks`: every stack and its verdict, the best first. Numbers that users give count from 1 in this order.

    `left_out`: why files could not be used, and how many. `damaged`: those that should have been usable, by series.
    """

    stacks: tuple[tuple[Stack, Verdict], ...]
    files: int
    left_out: dict[str, int]
    damaged: dict[str, dict[str, int]]

    @property
    def usable(self) -> list[tuple[Stack, Verdict]]:
        return [pair for pair in self.stacks if pair[1].usable]


def read_study(path: Path) -> Study:
    """What a folder, a file, a DICOMDIR or a zip archive holds, from headers; pixels of three slices where they say too little.

    Raises InputError when it holds no images.
    """
    return study_of(members(Path(path)))


def study_of(found: list[Member]) -> Study:
    """The same of files that were found already. Raises InputError when they hold no images."""
    headers, left_out, damaged = [], Counter(), {}
    with quiet():
        for member in found:
            try:
                headers += read_headers(member)
            except Unusable as problem:
                left_out[problem.reason] += 1
                if problem.damaged:
                    damaged.setdefault(problem.series_uid, Counter())[problem.reason] += 1
    if not headers:
        what = _counted(left_out) or "it is empty"
        raise InputError(f"No MR images with a position were found ({what}); choose the folder of the LGE series.")
    judged = judge(group_into_stacks(headers))
    rivals = sum(verdict.usable for _, verdict in judged) > 1
    judged = [(stack, _looked_at(stack, verdict, rivals)) for stack, verdict in judged]
    return Study(
        stacks=tuple(ranked(judged)),
        files=len(found),
        left_out=dict(left_out),
        damaged={uid: dict(reasons) for uid, reasons in damaged.items()},
    )


def _counted(reasons: dict[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in reasons.items())


def _looked_at(stack: Stack, verdict: Verdict, rivals: bool) -> Verdict:
    """The verdict of a usable stack once three of its pictures were asked for magnitude or phase-sensitive.

    Where tags say nothing, and where there are several stacks: names often call both images of a pair PSIR.
    """
    if not verdict.usable or not (rivals or verdict.reconstruction == Reconstruction.UNKNOWN):
        return verdict
    middle = len(stack.slices) // 2
    some = stack.slices[max(middle - 1, 0) : middle + 2]
    try:
        pictures, *_ = read_pixels(some, str)
    except InputError:
        return verdict  # said when the stack is used
    return with_reconstruction(verdict, decide(some[0], pictures)[0])


def choose(study: Study, number: int | None = None) -> int:
    """Index into `study.stacks` of the stack to use: the best, or the one a user asks for by its number from 1.

    Raises InputError when none can be used or usable ones belong to different studies, which may be different patients.
    """
    if number is not None:
        if not 1 <= number <= len(study.stacks):
            raise UsageError(f"There is no stack {number}; 'scarnet series list' shows 1 to {len(study.stacks)}.")
        verdict = study.stacks[number - 1][1]
        if not verdict.usable and (len(study.stacks[number - 1][0].slices) < 2 or verdict.kind == Kind.CINE):
            raise InputError(f"Stack {number} cannot be used: {verdict.reason}.")
        return number - 1
    usable = study.usable
    if not usable:
        stack, verdict = max(study.stacks, key=lambda pair: len(pair[0].slices))
        if len(study.stacks) == 1:
            raise InputError(f"The stack found cannot be used: {verdict.reason}; choose the LGE short-axis series.")
        if any(v.usable for _, v in judge(group_into_stacks(_in_one_frame(study)))):
            raise InputError(
                "The slices state different frames of reference, so that nothing says where they lie to one another, as after an "
                "anonymisation that renews UIDs image by image; export the study again with UIDs renewed consistently."
            )
        raise InputError(
            f"No LGE short-axis stack among {len(study.stacks)} stacks; the largest is {verdict.reason}. "
            "See 'scarnet series list'."
        )
    studies = {stack.first.study_uid for stack, verdict in usable if verdict.score > usable[0][1].score - 2}
    if len(studies) > 1:
        raise InputError(
            f"Stacks of {len(studies)} different studies would serve, perhaps of different patients; give one study's "
            "folder, or choose a stack of 'scarnet series list' with --series."
        )
    return 0


def _in_one_frame(study: Study) -> list[ImageHeader]:
    """Pictures of single-slice stacks as if they stated one frame of reference."""
    singles = [stack.first for stack, _ in study.stacks if len(stack.slices) == 1]
    return [replace(header, frame_of_reference_uid="") for header in singles]


def load(study: Study, index: int, *, name: str = "") -> LgeSeries:
    """A stack of a study with its pixels on its own grid; what was chosen, why and what was left out is in its warnings.

    Raises InputError, without patient data in its text, when it cannot be used.
    """
    stack, verdict = study.stacks[index]
    series = assemble(stack, name=name)
    return replace(series, warnings=(*_notes(study, index), *series.warnings))


def _notes(study: Study, index: int) -> list[str]:
    stack, verdict = study.stacks[index]
    notes = []
    if len(study.stacks) > 1:
        numbers = ", ".join(map(str, stack.series_numbers[:6])) + (" ..." if len(stack.series_numbers) > 6 else "")
        notes.append(
            f"Stack {index + 1} of {len(study.stacks)} in the study was used (series {numbers}): {verdict.reason}."
        )
        rivals = sum(1 for n, pair in enumerate(study.stacks) if n != index and pair[1].usable)
        if rivals:
            notes.append(f"Of the other stacks {rivals} would serve too; 'scarnet series list' shows them.")
    if not verdict.usable:
        notes.append(f"The stack was chosen by hand although it seems to be {verdict.reason}.")
    elif verdict.kind == Kind.UNKNOWN:
        notes.append("Nothing in the headers says that these are LGE images.")
    if verdict.usable and verdict.view == View.UNKNOWN:
        notes.append(f"The plane is not certain to be a short axis ({_plane(verdict)}).")
    if len(stack.slices) < FULL_STACK:
        notes.append(f"{len(stack.slices)} slices are fewer than a left ventricle fills.")
    if stack.left_out:
        notes.append(f"{stack.left_out} images repeat a slice position; the last acquired of each was used.")
    if stack.copies:
        notes.append(f"{stack.copies} images are there more than once; one of each was used.")
    series = {s.series_uid for s in stack.slices}
    lost = Counter()
    for uid, reasons in study.damaged.items():
        if not uid or uid in series:
            lost.update(reasons)
    if lost:
        notes.append(f"Files were left out that may belong to the stack ({_counted(lost)}): a slice may be missing.")
    return notes


def _plane(verdict: Verdict) -> str:
    return verdict.reason.split("(", 1)[-1].split(")", 1)[0]


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
    check_geometry(geometry, where)
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
        notes.append(
            f"The values are stored with an offset of {offset} that the file does not state; it was taken away, so that zero "
            "is no signal."
        )
    notes += _geometry_notes(stack, geometry) + _image_notes(image, dataset)
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


def _image_notes(image: np.ndarray, dataset: pydicom.Dataset) -> list[str]:
    notes = []
    flat = [k + 1 for k in range(len(image)) if image[k].min() == image[k].max()]
    if flat:
        notes.append(f"Slice {', '.join(map(str, flat))} is constant: its picture is missing.")
    with quiet():
        if str(dataset.get("LossyImageCompression", "")) == "01":
            notes.append("The images were compressed with loss: thin scar may be blurred.")
        if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
            notes.append("The images are stored inverted (MONOCHROME1): scar is dark in them, and may not be found.")
    return notes


#: Slices of one stack follow a straight line; scanners round positions to far less.
SIDEWAYS_MM = 1.0


def _sideways_mm(geometry: StackGeometry) -> np.ndarray:
    """`(slices,)`: distance of every slice's origin from the straight line that most of them lie on."""
    positions, origins = geometry.slice_positions_mm, geometry.slice_origins_mm
    slopes = np.diff(origins, axis=0) / np.diff(positions)[:, None]
    slope = np.median(slopes, axis=0)
    rest = origins - positions[:, None] * slope
    return np.linalg.norm(rest - np.median(rest, axis=0), axis=1)


def identity(slices: tuple[ImageHeader, ...], dataset: pydicom.Dataset) -> dict:
    """Which images these are, as SeriesSource keeps it. Files are named where there is one for each slice."""
    single = all(s.member.path is not None and s.frames == 1 for s in slices)
    with quiet():
        facts = {k: _plain(dataset[k].value) for k in ACQUISITION_KEYWORDS if dataset.get(k) not in (None, "")}
    return {
        "kind": "dicom",
        "slice_files": tuple(str(s.member.path) for s in slices) if single else (),
        "sop_instance_uids": tuple(s.sop_instance_uid for s in slices),
        "study_instance_uid": slices[0].study_uid,
        "series_instance_uids": tuple(dict.fromkeys(s.series_uid for s in slices)),
        "frame_of_reference_uid": slices[0].frame_of_reference_uid,
        "acquisition": facts,
    }


def _plain(value):
    """A DICOM value as JSON has it; numbers that are none as text."""
    if isinstance(value, (list, tuple, pydicom.multival.MultiValue)):
        return [_plain(v) for v in value]
    if isinstance(value, (int, float)) and np.isfinite(float(value)):
        return float(value)
    return "".join(c for c in str(value) if c.isprintable())[:64]
