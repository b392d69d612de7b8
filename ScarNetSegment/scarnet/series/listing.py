"""What `scarnet series list` shows of a study: one row for each stack, as plain values and as a table.

Rows hold numbers and this program's own words only; no text of a header, which may name a patient or steer a terminal.
"""

import math

from scarnet.series.lge import Reconstruction
from scarnet.series.stacks import Stack
from scarnet.series.study import Study, choose


def rows(study: Study) -> list[dict]:
    """JSON-ready, in the order of the study's stacks; `number` is what `--series` takes."""
    return [
        {
            "number": number,
            "series_numbers": list(stack.series_numbers),
            "kind": verdict.kind.value,
            "view": verdict.view.value,
            "slices": len(stack.slices),
            "images_per_position": stack.phases,
            "matrix": [stack.first.rows, stack.first.columns],
            "pixel_spacing_mm": [round(s, 4) for s in stack.first.pixel_spacing_mm],
            "slice_distance_mm": _rounded(stack.slice_distance_mm),
            "inversion_time_ms": _times(stack),
            "reconstruction": verdict.reconstruction.value,
            "usable": verdict.usable,
            "score": verdict.score,
            "reason": verdict.reason,
        }
        for number, (stack, verdict) in enumerate(study.stacks, 1)
    ]


def summary(study: Study) -> dict:
    """The whole list, JSON-ready: stacks, which one `scarnet segment` would take, and what files were left out and why."""
    from scarnet.errors import ScarNetError

    try:
        chosen, problem = choose(study) + 1, None
    except ScarNetError as error:
        chosen, problem = None, str(error)
    return {
        "schema": "scarnet-series/1",
        "files": study.files,
        "chosen": chosen,
        "problem": problem,
        "stacks": rows(study),
        "left_out": study.left_out,
    }


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)


def _times(stack: Stack) -> list[float] | None:
    times = stack.inversion_time_range_ms
    return [round(t, 1) for t in times] if times else None


#: Headings of the table and how a cell is written.
COLUMNS = (
    ("", lambda r: str(r["number"])),
    ("Series", lambda r: _numbers(r["series_numbers"])),
    ("Kind", lambda r: r["kind"]),
    ("View", lambda r: r["view"]),
    ("Slices", lambda r: str(r["slices"]) + (f" x {r['images_per_position']}" if r["images_per_position"] > 1 else "")),
    ("Pixel mm", lambda r: " x ".join(f"{s:.2f}" for s in r["pixel_spacing_mm"])),
    ("Distance mm", lambda r: "" if r["slice_distance_mm"] is None else f"{r['slice_distance_mm']:.1f}"),
    ("TI ms", lambda r: "" if r["inversion_time_ms"] is None else "-".join(f"{t:.0f}" for t in _ends(r))),
    ("Images", lambda r: "?" if r["reconstruction"] == Reconstruction.UNKNOWN.value else r["reconstruction"]),
    ("Usable", lambda r: "yes" if r["usable"] else "no"),
)


def _ends(row: dict) -> list[float]:
    return sorted(set(row["inversion_time_ms"]))


def _numbers(numbers: list[int]) -> str:
    """Runs of series numbers: `12-21, 30`."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
