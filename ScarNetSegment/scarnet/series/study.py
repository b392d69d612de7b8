"""A whole study: what is in it, which of its stacks serves best and why, and that stack as an `LgeSeries`."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from scarnet.errors import InputError, UsageError
from scarnet.series.assemble import assemble
from scarnet.series.checks import MINIMUM_SLICES, few_slices_notes
from scarnet.series.header import ImageHeader, Unusable, read_headers
from scarnet.series.judge import Verdict, judge, ranked, refusal_of, with_reconstruction
from scarnet.series.lge import LgeSeries, Reconstruction
from scarnet.series.members import Member, members
from scarnet.series.names import Kind, View
from scarnet.series.pixels import read_pixels
from scarnet.series.quiet import quiet
from scarnet.series.reconstruction import decide
from scarnet.series.stacks import Stack, group_into_stacks


@dataclass(frozen=True, eq=False)
class Study:
    """`stacks`: every stack and its verdict, the best first. Numbers that users give count from 1 in this order.

    `left_out`: why files could not be used, and how many. `lost`: the same of those that may have been slices, by series;
    by "" where the series is not known, or nothing else was read of it.
    """

    stacks: tuple[tuple[Stack, Verdict], ...]
    files: int
    left_out: dict[str, int]
    lost: dict[str, dict[str, int]]

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
    headers, problems = [], []
    with quiet():
        for member in found:
            try:
                headers += read_headers(member)
            except Unusable as problem:
                problems.append(problem)
    left_out = Counter(problem.reason for problem in problems)
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
        lost=_lost(problems, {header.series_uid for header in headers}),
    )


def _lost(problems: list[Unusable], series: set[str]) -> dict[str, dict[str, int]]:
    """Files that may have been slices: damaged ones, and any of a series that pictures were read of."""
    lost: dict[str, Counter] = {}
    for problem in problems:
        uid = problem.series_uid if problem.series_uid in series else ""
        if uid or problem.damaged:
            lost.setdefault(uid, Counter())[problem.reason] += 1
    return {uid: dict(reasons) for uid, reasons in lost.items()}


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
        stack, verdict = study.stacks[number - 1]
        if len(stack.slices) < MINIMUM_SLICES or verdict.kind == Kind.CINE:
            raise InputError(f"The stack chosen cannot be used: {verdict.reason}; choose another short-axis stack.")
        return number - 1
    usable = study.usable
    if not usable:
        stack, verdict = max(study.stacks, key=lambda pair: len(pair[0].slices))
        if len(study.stacks) == 1:
            by_hand = ", or take this one all the same with --series 1" if _refused_by_name(stack, verdict) else ""
            raise InputError(
                f"The stack found cannot be used: {verdict.reason}; choose the LGE short-axis series{by_hand}."
            )
        if any(v.usable for _, v in judge(group_into_stacks(_in_one_frame(study)))):
            raise InputError(
                "The slices state different frames of reference or patients, so that nothing says that they belong together, as "
                "after an anonymisation that renews UIDs image by image; export the study again with UIDs renewed consistently."
            )
        raise InputError(
            f"No LGE short-axis stack among {len(study.stacks)} stacks; the largest is {verdict.reason}. "
            "See 'scarnet series list'"
            + ("; --series takes one by its number." if any(_refused_by_name(*pair) for pair in study.stacks) else ".")
        )
    studies = {stack.first.study for stack, verdict in usable if verdict.score > usable[0][1].score - 2}
    if len(studies) > 1:
        raise InputError(
            f"Stacks of {len(studies)} different studies would serve, perhaps of different patients; give one study's "
            "folder, or choose a stack of 'scarnet series list' with --series."
        )
    return 0


def _refused_by_name(stack: Stack, verdict: Verdict) -> bool:
    """Whether a stack that is not usable could be used if a user says so."""
    return verdict.kind != Kind.CINE and refusal_of(stack, Kind.UNKNOWN, View.UNKNOWN) is None


def _in_one_frame(study: Study) -> list[ImageHeader]:
    """Pictures of single-slice stacks as if they stated one frame of reference and one patient."""
    singles = [stack.first for stack, _ in study.stacks if len(stack.slices) == 1]
    return [replace(header, frame_of_reference_uid="", patient="") for header in singles]


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
    if len({other.first.patient for other, _ in study.stacks}) > 1:
        notes.append("The input holds images of several patients (by PatientID); those of one were used.")
    if not verdict.usable:
        notes.append(f"The stack was chosen by hand although it seems to be {verdict.reason}.")
    elif verdict.kind == Kind.UNKNOWN:
        notes.append("Nothing in the headers says that these are LGE images.")
    if verdict.usable and verdict.view == View.UNKNOWN:
        notes.append(f"The plane is not certain to be a short axis ({verdict.plane}).")
    notes += few_slices_notes(len(stack.slices))
    if stack.left_out:
        notes.append(f"{stack.left_out} images repeat a slice position; the last acquired of each was used.")
    if stack.copies:
        notes.append(f"{stack.copies} images are there more than once; one of each was used.")
    if stack.between:
        notes.append(
            f"Other acquisitions ({stack.between}) have slices between these, as a repeat planned a few mm off has: each was "
            "kept as a stack of its own."
        )
    if stack.shared_uids:
        notes.append(
            f"{stack.shared_uids} slices state the UID of another slice (SOPInstanceUID), as after an anonymisation that makes "
            "all alike: DICOM results cannot name their images."
        )
    series = {s.series_uid for s in stack.slices}
    lost = Counter()
    for uid, reasons in study.lost.items():
        if not uid or uid in series:
            lost.update(reasons)
    if lost:
        notes.append(f"Files were left out that may belong to the stack ({_counted(lost)}): a slice may be missing.")
    return notes
