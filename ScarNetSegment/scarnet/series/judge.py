"""Which stacks are LGE short axis, how well each would serve, and why: pure functions of stacks.

Geometry decides over names: what has many phases is no LGE whatever it is called, and a plane across the heart's long axis
is a short axis whatever it is called. Names decide where geometry says nothing.
"""

from dataclasses import dataclass, replace

import numpy as np

from scarnet.series.checks import FULL_STACK, MINIMUM_SLICE_DISTANCE_MM, MINIMUM_SLICES, PLAUSIBLE_EXTENT_MM
from scarnet.series.geometry import SLICE_SPACING_RTOL
from scarnet.series.lge import Reconstruction
from scarnet.series.names import Kind, View, view_by_name
from scarnet.series.reconstruction import from_tags
from scarnet.series.stacks import MANY_PHASES, Stack

#: From base to apex in most chests (LPS): to the left, forward, down. Hearts turn by some 25 degrees about it.
USUAL_LONG_AXIS = np.array([0.65, -0.56, -0.51]) / np.linalg.norm([0.65, -0.56, -0.51])
#: A short axis lies across the long axis to these angles: known from the study's own planes, or only from other hearts.
NEAR_OWN_AXIS_DEGREES, NEAR_USUAL_AXIS_DEGREES = 25.0, 40.0
#: Beyond these it is no short axis.
FAR_FROM_OWN_AXIS_DEGREES, FAR_FROM_USUAL_AXIS_DEGREES = 50.0, 65.0
#: As many inversion times at one position are a TI scout or the raw images of a T1 map.
MANY_INVERSION_TIMES = 4
#: Inversion times of LGE at 1.5 and 3 T, ten to twenty minutes after contrast, with room for early images.
LGE_INVERSION_TIME_MS = (120.0, 650.0)

#: Words in ImageType that say what a picture is, whatever the series is called.
_KIND_BY_TYPE = {
    "T1": Kind.T1_MAP,
    "T1 MAP": Kind.T1_MAP,
    "T1_MAP": Kind.T1_MAP,
    "ECV": Kind.T1_MAP,
    "T2 MAP": Kind.T2_MAP,
    "T2_MAP": Kind.T2_MAP,
    "VELOCITY": Kind.FLOW,
    "VELOCITY MAP": Kind.FLOW,
    "PHASE MAP": Kind.PHASE,
    "P": Kind.PHASE,
    "P_FFE": Kind.PHASE,
}


@dataclass(frozen=True)
class Verdict:
    """What a stack is. `score` ranks usable stacks, larger first; `plane` says how the view is known, `reason` is the sentence
    for the user.
    """

    kind: Kind
    view: View
    plane: str
    reconstruction: Reconstruction
    usable: bool
    score: float
    reason: str


#: Phase-sensitive images do without a perfect inversion time.
_RECONSTRUCTION_SCORE = {Reconstruction.PSIR: 0.6, Reconstruction.MAGNITUDE: 0.3, Reconstruction.UNKNOWN: 0.0}


def with_reconstruction(verdict: Verdict, reconstruction: Reconstruction) -> Verdict:
    """The verdict once the image has shown what the tags do not say."""
    gain = _RECONSTRUCTION_SCORE[reconstruction] - _RECONSTRUCTION_SCORE[verdict.reconstruction]
    return replace(verdict, reconstruction=reconstruction, score=round(verdict.score + gain, 3))


def judge(stacks: list[Stack]) -> list[tuple[Stack, Verdict]]:
    """Every stack with its verdict: usable ones first, best first, then the others, the largest first."""
    axes = {study: own_long_axis([s for s in stacks if s.first.study == study]) for study in _studies(stacks)}
    judged = [(stack, _verdict(stack, axes[stack.first.study])) for stack in stacks]
    return ranked(judged)


def ranked(judged: list[tuple[Stack, Verdict]]) -> list[tuple[Stack, Verdict]]:
    """Usable stacks first, the best first; of two alike the later: contrast has had time, and the first was repeated."""
    return sorted(
        judged,
        key=lambda pair: (
            not pair[1].usable,
            -pair[1].score,
            -len(pair[0].slices),
            -pair[0].first.acquired[0],
            pair[0].series_numbers,
        ),
    )


def _studies(stacks: list[Stack]) -> set[tuple[str, str]]:
    return {stack.first.study for stack in stacks}


def own_long_axis(stacks: list[Stack]) -> np.ndarray | None:
    """Unit vector of the heart's long axis as the study's own planes show it, or None.

    Cine short-axis stacks lie across it; else it is where planes named as long axes meet, if they do so at an angle.
    """
    short = [s for s in stacks if len(s.slices) >= FULL_STACK and view_by_name(s.first.words) == View.SHORT_AXIS]
    cine = [
        s for s in short if kind_of(s) == Kind.CINE and _angle(s.normal, USUAL_LONG_AXIS) < FAR_FROM_USUAL_AXIS_DEGREES
    ]
    if cine:
        return max(cine, key=lambda s: len(s.slices)).normal
    normals = [s.normal for s in stacks if len(s.slices) <= 3 and view_by_name(s.first.words) == View.LONG_AXIS]
    crossed = [np.cross(a, b) for n, a in enumerate(normals) for b in normals[n + 1 :]]
    best = max(crossed, key=np.linalg.norm, default=None)
    return best / np.linalg.norm(best) if best is not None and np.linalg.norm(best) > 0.5 else None


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    """Between two lines, degrees."""
    return float(np.degrees(np.arccos(np.clip(abs(a @ b), 0, 1))))


def kind_of(stack: Stack) -> Kind:
    """What a stack shows: image type, then what its geometry and times show, then its name, then its sequence."""
    first = stack.first
    for word in first.image_type[2:]:
        if word in _KIND_BY_TYPE:
            return _KIND_BY_TYPE[word]
    named = stack.kind_by_name
    if stack.inversion_times >= MANY_INVERSION_TIMES or (named == Kind.TI_SCOUT and len(stack.slices) < FULL_STACK):
        return named if named in (Kind.T1_MAP, Kind.TI_SCOUT) else Kind.TI_SCOUT
    if stack.phases >= MANY_PHASES or first.phases >= MANY_PHASES:
        return named if named in (Kind.PERFUSION, Kind.FLOW, Kind.T1_MAP, Kind.T2_MAP) else Kind.CINE
    if named != Kind.UNKNOWN:
        return named
    inverted = "IR" in first.sequence or "ir" in first.words.replace("_", " ").split()
    times = stack.inversion_time_range_ms
    if inverted and (times is None or _plausible(times)) or (times and _plausible(times) and first.contrast):
        return Kind.LGE
    return Kind.UNKNOWN


def _plausible(times: tuple[float, float]) -> bool:
    return LGE_INVERSION_TIME_MS[0] <= times[0] and times[1] <= LGE_INVERSION_TIME_MS[1]


def view_of(stack: Stack, own_axis: np.ndarray | None) -> tuple[View, str]:
    """The plane a stack lies in and how that is known. Names decide between the angles where geometry is sure."""
    named = view_by_name(stack.first.words)
    axis = USUAL_LONG_AXIS if own_axis is None else own_axis
    near, far, whose = (
        (NEAR_USUAL_AXIS_DEGREES, FAR_FROM_USUAL_AXIS_DEGREES, "the usual long axis")
        if own_axis is None
        else (NEAR_OWN_AXIS_DEGREES, FAR_FROM_OWN_AXIS_DEGREES, "the heart's long axis in this study")
    )
    angle = _angle(stack.normal, axis)
    where = f"{angle:.0f} degrees from {whose}"
    if angle <= near and (len(stack.slices) >= FULL_STACK or own_axis is not None or named == View.SHORT_AXIS):
        return View.SHORT_AXIS, f"across the heart, {where}" + (
            "" if named in (View.SHORT_AXIS, View.UNKNOWN) else f", though its name says {named.value}"
        )
    if angle >= far and own_axis is not None:
        return (named if named == View.OTHER else View.LONG_AXIS), f"along the heart, {where}"
    if named != View.UNKNOWN:
        return named, f"by name, {where}"
    return View.UNKNOWN, where


def _verdict(stack: Stack, own_axis: np.ndarray | None) -> Verdict:
    kind, (view, how) = kind_of(stack), view_of(stack, own_axis)
    reconstruction = from_tags(stack.first)
    refusal = refusal_of(stack, kind, view)
    if refusal:
        return Verdict(kind, view, how, reconstruction, False, 0.0, refusal)
    count, distance = len(stack.slices), stack.slice_distance_mm
    steps = np.diff(stack.positions_mm)
    equidistant = steps.max() <= steps.min() * (1 + SLICE_SPACING_RTOL) + 0.05
    score = (
        4.0 * (kind == Kind.LGE)
        + 3.0 * (view == View.SHORT_AXIS)
        + 2.0 * (count >= FULL_STACK)
        + min((stack.positions_mm[-1] - stack.positions_mm[0]) / 100.0, 1.0)
        + _RECONSTRUCTION_SCORE[reconstruction]
        + 0.3 * equidistant
        - 0.2 * (stack.left_out > 0)
    )
    parts = [
        {Kind.LGE: "LGE"}.get(kind, "nothing says that it is LGE"),
        how if view == View.SHORT_AXIS else f"{view.value} ({how})",
        f"{count} slices {distance:.1f} mm apart",
    ]
    if not equidistant:
        parts.append(f"not equidistant ({steps.min():.1f} to {steps.max():.1f} mm)")
    if stack.left_out:
        parts.append(f"{stack.left_out} earlier images of the same places left out")
    return Verdict(kind, view, how, reconstruction, True, round(score, 3), "; ".join(parts))


def refusal_of(stack: Stack, kind: Kind, view: View) -> str | None:
    """Why a stack cannot be used, or None."""
    count = len(stack.slices)
    if kind not in (Kind.LGE, Kind.UNKNOWN):
        detail = f" with {stack.phases} images of each position" if stack.phases >= MANY_PHASES else ""
        return f"{kind.value}{detail}, not LGE"
    if view in (View.LONG_AXIS, View.OTHER):
        return f"{view.value}, not short axis"
    if count < MINIMUM_SLICES:
        return f"{count} slice only, where a stack is needed"
    if stack.slice_distance_mm < MINIMUM_SLICE_DISTANCE_MM:
        return f"slices {stack.slice_distance_mm:.1f} mm apart: a 3-D volume, not a 2-D short-axis stack"
    extent = max(
        stack.first.rows * stack.first.pixel_spacing_mm[0], stack.first.columns * stack.first.pixel_spacing_mm[1]
    )
    if not PLAUSIBLE_EXTENT_MM[0] <= extent <= PLAUSIBLE_EXTENT_MM[1]:
        return f"{extent:.0f} mm wide, which is no cardiac field of view"
    return None
