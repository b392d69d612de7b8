"""LGE stacks among the files of a DICOM database, as a loader of volumes offers them: files in, offers out.

What Slicer's DICOM module asks of a plugin, without Slicer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scarnet.errors import InputError
from scarnet.series.geometry import SLICE_SPACING_RTOL
from scarnet.series.judge import Verdict
from scarnet.series.lge import LgeSeries, Reconstruction
from scarnet.series.members import Member
from scarnet.series.names import Kind, View
from scarnet.series.stacks import Stack
from scarnet.series.study import load, study_of

#: Slicer's plain loader of scalar volumes offers each series with this confidence.
PLAIN_CONFIDENCE = 0.5
#: Of a stack that a loader of single series would tear apart or mix, and of one that it would load as well.
CONFIDENT, SUBORDINATE = 0.85, 0.4
#: Fewer slices are no short-axis stack worth an offer.
FEWEST_SLICES = 3


@dataclass(frozen=True)
class Offer:
    """One stack. `files`: one for each slice in the order of the volume's slices, or the one of all frames."""

    name: str
    files: tuple[str, ...]
    confidence: float
    tooltip: str
    warning: str


def offers(files: Iterable[str | Path]) -> list[Offer]:
    """The LGE short-axis stacks among files, the best first; none where there is nothing of the kind.

    More confident than a plain loader where it could not have loaded the stack: its slices lie in several series, its
    series holds other images too, or slices are missing.
    """
    files = [str(file) for file in files]
    try:
        study = study_of([Member(Path(file)) for file in files])
    except InputError:
        return []
    pictures = {}
    for stack, _ in study.stacks:
        for s in stack.slices:
            pictures[s.series_uid] = pictures.get(s.series_uid, 0) + 1
    found = [
        _offer(stack, verdict, pictures)
        for stack, verdict in study.usable
        if verdict.kind == Kind.LGE and verdict.view == View.SHORT_AXIS and len(stack.slices) >= FEWEST_SLICES
    ]
    # Files are all that a loadable has: of two stacks in one multi-frame file, the better.
    return list({offer.files: offer for offer in reversed(found)}.values())[::-1]


def _offer(stack: Stack, verdict: Verdict, pictures: dict[str, int]) -> Offer:
    series = {s.series_uid for s in stack.slices}
    alone = len(series) == 1 and pictures[next(iter(series))] == len(stack.slices) and not stack.left_out
    steps = np.diff(stack.positions_mm)
    equidistant = steps.max() <= steps.min() * (1 + SLICE_SPACING_RTOL) + 0.05
    warnings = []
    if not equidistant:
        warnings.append(
            f"Slices are not equidistant ({steps.min():.1f} to {steps.max():.1f} mm): shown at equal distances, measured as "
            "acquired."
        )
    if stack.left_out:
        warnings.append(f"{stack.left_out} earlier images of the same places are left out.")
    kind = {Reconstruction.PSIR: " PSIR", Reconstruction.MAGNITUDE: " magnitude"}.get(verdict.reconstruction, "")
    numbers = stack.series_numbers
    where = f"series {numbers[0]}" if len(numbers) == 1 else f"series {numbers[0]} to {numbers[-1]}"
    return Offer(
        name=f"LGE short axis{kind} ({where})",
        files=tuple(dict.fromkeys(str(s.member.path) for s in stack.slices)),
        confidence=SUBORDINATE if alone and equidistant else CONFIDENT,
        tooltip=f"{len(stack.slices)} slices from {len(series)} series: {verdict.reason}",
        warning=" ".join(warnings),
    )


def load_offer(files: Iterable[str | Path]) -> LgeSeries:
    """The stack of an offer's files. Raises InputError when it cannot be read."""
    study = study_of([Member(Path(file)) for file in files])
    return load(study, 0)
