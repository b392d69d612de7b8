"""From single pictures to stacks: parallel slices of one acquisition, one per position, whatever series they came in.

Pure functions of headers. What belongs together agrees in study, patient, frame of reference, matrix, pixel spacing, orientation,
2-D or 3-D, reconstruction, inversion or not, and in what its name says it shows. Series are only looked at when positions
repeat: phase-sensitive LGE often arrives as one series per slice, and one series often holds two stacks.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from scarnet.series.checks import FULL_STACK
from scarnet.series.geometry import SLICE_SPACING_RTOL
from scarnet.series.header import ImageHeader
from scarnet.series.names import Kind, kind_by_name
from scarnet.series.reconstruction import stated

#: Two orientations are one when their direction cosines agree to this (0.6 degrees): decimal strings are rounded.
ORIENTATION_TOLERANCE = 1e-2
#: Two pixel spacings are one when they agree to this.
PIXEL_SPACING_TOLERANCE_MM = 2e-3
#: Slices nearer than this are one position acquired twice.
SAME_POSITION_MM = 0.5
#: Slices of a stack that is whole lie no further apart; every second slice of one does.
WIDEST_STEP_MM = 12.0
#: As many pictures of a position are phases of a heartbeat, or a series of inversion times, not repeats of a stack.
MANY_PHASES = 8
#: A part of repeated slices is a stack of its own when it has this share of all positions.
COMPLETE_SHARE = 0.8


@dataclass(frozen=True, eq=False)
class Stack:
    """`slices`: along the normal, one per position. `phases`: pictures of the position that has most.

    `left_out`: pictures of the same positions that were acquired before those in `slices`; `copies`: the same pictures
    again. `inversion_times`: how many different ones were found at one position. `between`: other acquisitions whose slices
    lie between these.
    """

    slices: tuple[ImageHeader, ...]
    phases: int = 1
    left_out: int = 0
    copies: int = 0
    inversion_times: int = 1
    between: int = 0
    kind_by_name: Kind = Kind.UNKNOWN

    @property
    def first(self) -> ImageHeader:
        return self.slices[0]

    @property
    def normal(self) -> np.ndarray:
        return normal_of(self.first)

    @property
    def positions_mm(self) -> np.ndarray:
        return np.array([s.position @ self.normal for s in self.slices])

    @property
    def shared_uids(self) -> int:
        """Slices whose UID is that of another one too."""
        stated = [(s.sop_instance_uid, s.frame) for s in self.slices if s.sop_instance_uid]
        return len(stated) - len(set(stated))

    @property
    def slice_distance_mm(self) -> float:
        """The usual one; NaN of a single slice."""
        steps = np.diff(self.positions_mm)
        return float(np.median(steps)) if steps.size else float("nan")

    @property
    def series_numbers(self) -> tuple[int, ...]:
        return tuple(sorted({s.series_number for s in self.slices}))

    @property
    def inversion_time_range_ms(self) -> tuple[float, float] | None:
        times = [s.inversion_time_ms for s in self.slices if not math.isnan(s.inversion_time_ms)]
        return (min(times), max(times)) if times else None


def normal_of(header: ImageHeader) -> np.ndarray:
    normal = np.cross(*header.orientation)
    return normal / np.linalg.norm(normal)


def group_into_stacks(headers: Iterable[ImageHeader]) -> list[Stack]:
    """Every stack, single slices included, in no particular order."""
    classes = defaultdict(list)
    for header in headers:
        classes[_class_of(header)].append(header)
    stacks = []
    for members in classes.values():
        for group in _by_grid(members):
            stacks += _stacks_of(group)
    return stacks


def _class_of(h: ImageHeader) -> tuple:
    return (
        h.study,
        h.frame_of_reference_uid,
        h.rows,
        h.columns,
        h.dimensions,
        stated(h),
        "IR" in h.sequence,
        "P" in h.image_type[2:3],
        kind_by_name(h.words),
    )


def _by_grid(members: list[ImageHeader]) -> list[list[ImageHeader]]:
    """Members that agree in orientation and pixel spacing, each with the first of its group: rounding would cut groups."""
    groups: list[list[ImageHeader]] = []
    firsts = np.empty((0, 8))
    limits = np.array([ORIENTATION_TOLERANCE] * 6 + [PIXEL_SPACING_TOLERANCE_MM] * 2)
    for h in members:
        grid = np.array([*h.orientation.ravel(), *h.pixel_spacing_mm])
        near = np.flatnonzero((np.abs(firsts - grid) <= limits).all(axis=1))
        if near.size:
            groups[near[0]].append(h)
        else:
            groups.append([h])
            firsts = np.vstack([firsts, grid])
    return groups


def _stacks_of(group: list[ImageHeader]) -> list[Stack]:
    acquisitions = _acquisitions(group)
    stacks = [stack for acquisition in acquisitions for stack in _stacks_at_places(acquisition)]
    return [replace(stack, between=len(acquisitions) - 1) for stack in stacks]


def _acquisitions(group: list[ImageHeader]) -> list[list[ImageHeader]]:
    """Apart, where series lie between one another's slices: a stack acquired again, planned a few millimetres further.

    Such a series is a whole stack by itself. The halves of one stack stay together: odd and even slices, base and apex.
    """
    if kind_by_name(group[0].words) not in (Kind.LGE, Kind.UNKNOWN):
        return [group]
    series = defaultdict(list)
    for h in group:
        series[h.series_uid].append(h)
    normal = normal_of(group[0])
    whole = {uid: along for uid, part in series.items() if _is_whole(along := _positions(part, normal))}
    found: list[tuple[np.ndarray, list[ImageHeader]]] = []
    for uid, along in whole.items():
        place = next((n for n, (other, _) in enumerate(found) if not _between(along, other, group)), None)
        if place is None:
            found.append((along, series[uid]))
        else:
            found[place] = (found[place][0], found[place][1] + series[uid])
    if len(found) < 2:
        return [group]
    for uid in (
        series.keys() - whole.keys()
    ):  # slices acquired again, in series of their own: to the stack that they repeat
        for h in series[uid]:
            _, nearest = min(found, key=lambda pair: np.abs(pair[0] - h.position @ normal).min())
            nearest.append(h)
    return [part for _, part in found]


def _positions(part: list[ImageHeader], normal: np.ndarray) -> np.ndarray:
    """Along the normal, increasing, each once."""
    along = np.sort([h.position @ normal for h in part])
    return along[np.concatenate([[True], np.diff(along) >= SAME_POSITION_MM])]


def _is_whole(along: np.ndarray) -> bool:
    steps = np.diff(along)
    return len(along) >= FULL_STACK and _equidistant(steps) and steps.max() <= WIDEST_STEP_MM


def _equidistant(steps: np.ndarray) -> bool:
    return bool(steps.max() <= steps.min() * (1 + SLICE_SPACING_RTOL) + 0.05)


def _between(a: np.ndarray, b: np.ndarray, group: list[ImageHeader]) -> bool:
    """Whether positions lie beside one another's over most of the shorter stack, and not as slices of one that is dense."""
    shorter = min(np.ptp(a), np.ptp(b))
    shared = sum(np.abs(b - place).min() < SAME_POSITION_MM for place in a)
    if min(a[-1], b[-1]) - max(a[0], b[0]) < shorter / 2 or shared >= min(len(a), len(b)) / 2:
        return False
    steps = np.diff(np.sort(np.concatenate([a, b])))
    one = _equidistant(steps) and steps.min() >= 0.95 * group[0].thickness_mm  # False where no thickness is stated
    return not one


def _stacks_at_places(group: list[ImageHeader]) -> list[Stack]:
    # Anonymisers may give all images one UID: only at one place are they copies.
    unique = {(h.sop_instance_uid or id(h), h.frame, place): h for h, place in zip(group, _places(group), strict=True)}
    copies, group = len(group) - len(unique), list(unique.values())
    places = _places(group)
    phases = max(Counter(places).values())
    kind = kind_by_name(group[0].words)
    if phases == 1 or phases >= MANY_PHASES or kind not in (Kind.LGE, Kind.UNKNOWN):
        return [_stack(group, kind, copies)]
    return [_stack(part, kind, copies if n == 0 else 0) for n, part in enumerate(_separated(group, places))]


def _places(group: list[ImageHeader]) -> list[int]:
    """Number of the position of every header along the normal of the first: a position begins where a step is large."""
    normal = normal_of(group[0])
    along = np.array([h.position @ normal for h in group])
    order = np.argsort(along, kind="stable")
    numbers = np.empty(len(group), int)
    numbers[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) >= SAME_POSITION_MM)])
    return numbers.tolist()


#: What tells repeated stacks apart, the surest first.
_DISCRIMINATORS: tuple[Callable[[ImageHeader], object], ...] = (
    lambda h: h.series_uid,
    lambda h: h.image_type,
    lambda h: (h.signed, h.intercept, h.slope, h.bits_stored),
    lambda h: round(h.inversion_time_ms) if math.isfinite(h.inversion_time_ms) else None,
    lambda h: h.temporal,
    lambda h: h.acquisition,
    lambda h: h.words,
)


def _separated(group: list[ImageHeader], places: list[int]) -> list[list[ImageHeader]]:
    """Repeated stacks apart: by the first fact that leaves no position repeated in stacks that are complete.

    Where no fact does, and every position was acquired equally often, by time; otherwise the group stays one.
    """
    total = len(set(places))
    place = dict(zip(map(id, group), places, strict=True))
    for fact in _DISCRIMINATORS:
        parts = defaultdict(list)
        for h in group:
            parts[fact(h)].append(h)
        if len(parts) < 2:
            continue
        complete = [p for p in parts.values() if len({place[id(h)] for h in p}) >= COMPLETE_SHARE * total]
        others = [p for p in parts.values() if not any(p is c for c in complete)]
        if not complete or (len(complete) < 2 and not any(len(p) > 1 for p in others)):
            continue  # nothing complete, or single slices acquired again: they replace those before them
        found = []
        for part in complete + [p for p in others if len(p) > 1]:
            own = [place[id(h)] for h in part]
            found += _separated(part, own) if max(Counter(own).values()) > 1 else [part]
        singles = [h for p in others if len(p) == 1 for h in p]
        if singles:
            found[0] = found[0] + singles
        return found
    counts = Counter(places)
    times = next(iter(counts.values()))
    if times > 1 and set(counts.values()) == {times} and total > 1:
        ranked, seen = [[] for _ in range(times)], Counter()
        for h in sorted(group, key=lambda h: h.acquired):
            ranked[seen[place[id(h)]]].append(h)
            seen[place[id(h)]] += 1
        return ranked
    return [group]


def _stack(group: list[ImageHeader], kind: Kind, copies: int) -> Stack:
    places = _places(group)
    at: dict[int, list[ImageHeader]] = defaultdict(list)
    for h, number in zip(group, places, strict=True):
        at[number].append(h)
    slices = tuple(max(at[number], key=lambda h: h.acquired) for number in sorted(at))
    times = max(len({h.inversion_time_ms for h in same if not math.isnan(h.inversion_time_ms)}) for same in at.values())
    return Stack(
        slices=slices,
        phases=max(len(same) for same in at.values()),
        left_out=len(group) - len(slices),
        copies=copies,
        inversion_times=max(times, 1),
        kind_by_name=kind,
    )
