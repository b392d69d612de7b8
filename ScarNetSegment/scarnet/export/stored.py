"""Segments as a file holds them, before it is known which of ours they are."""

from dataclasses import dataclass

import numpy as np

from scarnet.errors import InputError, UsageError
from scarnet.segments import SEGMENTS, SegmentDefinition, SegmentOrigin


@dataclass(frozen=True, eq=False)
class StoredSegment:
    """One segment of a file: its name there, what it is to us (None: nothing that we know), where it is, who drew it."""

    name: str
    definition: SegmentDefinition | None
    mask: np.ndarray  # bool [slice, row, column] on the file's own grid
    origin: SegmentOrigin = SegmentOrigin()


def choose_segments(
    stored: list[StoredSegment],
    file_name: str,
    *,
    scar: str | None = None,
    myocardium: str | None = None,
    overlapping: bool = True,
) -> tuple[dict[str, np.ndarray], dict[str, SegmentOrigin], tuple[str, ...]]:
    """Masks by segment id, who drew them by segment name, and notes for the report.

    `scar` and `myocardium` name the segments to take for these, in place of what their codes and names say. Segments that
    are the same to us are joined. `overlapping`: False for the values of a label map, where scar is never muscle too.
    Raises InputError when a name asked for is not there or none is myocardium.
    """
    names = [segment.name for segment in stored]
    asked = {segment_id: name for segment_id, name in (("Scar", scar), ("LVMyocardium", myocardium)) if name}
    if len(set(asked.values())) < len(asked):
        raise UsageError(f"'{scar}' cannot be both scar and myocardium; name two segments.")
    for name in asked.values():
        if name not in names:
            raise InputError(f"{file_name} has no segment '{name}'; it has: {', '.join(names)}.")
    taken: dict[str, list[StoredSegment]] = {}
    unknown = []
    for segment in stored:
        segment_id = next((key for key, name in asked.items() if name == segment.name), None)
        if segment_id is None and segment.definition and segment.definition.segment_id not in asked:
            segment_id = segment.definition.segment_id
        if segment_id is None:
            unknown.append(segment.name)
        else:
            taken.setdefault(segment_id, []).append(segment)
    if "LVMyocardium" not in taken:
        raise InputError(
            f"{file_name} has no myocardium among its segments ({', '.join(names)}); name it with --myocardium."
        )
    masks = {key: np.logical_or.reduce([s.mask for s in segments]) for key, segments in taken.items()}
    notes = [
        f"Segments {' and '.join(repr(s.name) for s in segments)} were taken together."
        for segments in taken.values()
        if len(segments) > 1
    ]
    if unknown:
        notes.append(f"Segments left out of the report: {', '.join(unknown)}.")
    notes += _overlaps(masks) if overlapping else []
    ours = {segment.segment_id: segment.name for segment in SEGMENTS}
    return masks, {ours[key]: segments[0].origin for key, segments in taken.items()}, tuple(notes)


def _overlaps(masks: dict[str, np.ndarray]) -> list[str]:
    """What lies where it should not; `scarnet.segments.labels_from_masks` decides what it counts as."""
    notes = []
    inner = masks["LVMyocardium"]
    for key, name in (("Scar", "scar"), ("MVO", "microvascular obstruction")):
        if key in masks and (outside := int((masks[key] & ~masks["LVMyocardium"]).sum())):
            notes.append(
                f"{outside} {name} voxels lay outside the myocardium; they were counted as {name} and as myocardium."
            )
            inner = inner | masks[key]
    if "LVBloodPool" in masks and (shared := int((masks["LVBloodPool"] & inner).sum())):
        notes.append(f"{shared} voxels were both blood pool and wall; they were counted as wall.")
    return notes
