"""A benchmark for readers: a Markdown table and a plot, both of the numbers in its JSON and nothing else."""

import json
from pathlib import Path
from typing import Any

from scarnet.evaluation.benchmark import STEP_TEXTS, STEPS
from scarnet.export.figure import SOFT, Figure, Shape, Words, rectangle, to_svg
from scarnet.files import replacing

_WARM, _FIRST = "#0b5c7a", "#c3d5dd"
_LEFT, _WIDTH, _ROW, _TOP = 90.0, 430.0, 30.0, 48.0


def markdown(result: dict[str, Any]) -> str:
    """The tables of the documentation: medians with smallest and largest."""
    computer, case = result["computer"], result["case"]
    shape = " x ".join(str(n) for n in result["input"]["shape"])
    load = "" if computer["load_at_start"] is None else f"; load at the start {computer['load_at_start']:g}"
    lines = [
        "# What a case takes",
        "",
        f"SlicerScarNet {result['software']}, model {result['model']['name']} {result['model']['version']}; {shape} voxels "
        f"({result['input']['kind']}); {computer['processor']}, {computer['threads']} threads, {computer['system']}{load}. "
        f"Medians of {result['repeats']} repeats (smallest to largest), in seconds.",
        "",
        "| step | what | first | warm |",
        "|---|---|---|---|",
        *(f"| {s} | {STEP_TEXTS[s]} | {case['first_s'][s]:.2f} | {_spread(case['warm_s'][s])} |" for s in STEPS),
        f"| **all** | | {case['first_total_s']:.2f} | {_spread(case['warm_total_s'])} |",
        "",
    ]
    if case["peak_memory_mb"] is not None:
        lines += [f"Peak memory {case['peak_memory_mb']:.0f} MB.", ""]
    command = result["command"]
    lines += [
        f"`scarnet segment` from a cold start: {_spread(command['whole_s'])}, of which {_spread(command['own_s'])} beyond the "
        f"import of its libraries"
        + (f" ({_spread(command['own_processor_s'])} of processor time)." if "own_processor_s" in command else "."),
        "",
    ]
    if "growth" in result:
        lines += ["| grows with | size | seconds, warm |", "|---|---|---|"]
        for name, sizes in result["growth"].items():
            lines += [f"| {name} | {size[name]} | {_spread(size['seconds'])} |" for size in sizes]
        lines.append("")
    if "cohort" in result:
        many = result["cohort"]
        lines += [
            f"Many patients: not timed, {many['skipped']}."
            if "skipped" in many
            else f"`scarnet cohort` on {many['patients']} patients: {_spread(many['one_process_s'])} with one process, "
            f"{_spread(many['all_processes_s'])} with {many['processes']}: {_spread(many['times_faster'])} times faster.",
            "",
        ]
    if "many" in result:
        lines += _many(result["many"])
    if "peers" in result:
        lines += ["| beside | ours | theirs | times longer | peak memory, MB |", "|---|---|---|---|---|"]
        for name, peer in result["peers"].items():
            if "skipped" in peer:
                lines.append(f"| {name} | | not timed: {peer['skipped']} | | |")
            else:
                memory = "" if peer["peak_memory_mb"] is None else f"{peer['peak_memory_mb']:.0f}"
                values = (_spread(peer[k]) for k in ("ours_s", "theirs_s", "theirs_over_ours"))
                lines.append(f"| {name} | {' | '.join(values)} | {memory} |")
        lines.append("")
        for peer in result["peers"].values():
            if "share_of_matrix_speed" in peer:
                lines += [
                    f"Inference reaches {peer['reached_gflops']:g} of the {peer['matrix_gflops']:g} GFLOP/s that a large "
                    f"matrix product reaches here ({100 * peer['share_of_matrix_speed']:.0f} %).",
                    "",
                ]
    return "\n".join(lines)


def _many(many: dict[str, Any]) -> list[str]:
    faster = (
        ""
        if many["times_faster"] is None
        else f": {many['times_faster']:.2f} times faster with {many['processes']} (turn by turn "
        f"{_spread(many['times_faster_by_turn'])})"
    )
    lines = [f"`scarnet cohort` on {many['patients']} simulated patients, runs in turns{faster}.", ""]
    lines += [
        "| processes | seconds | seconds per patient, by quarter | memory by quarter, MB (median) |",
        "|---|---|---|---|",
    ]
    for run in many["runs"]:
        seconds = ", ".join(f"{s:.2f}" for s in run["seconds_per_patient_by_quarter"])
        memory = ", ".join(f"{m['median']:.0f}" for m in run["memory_mb_by_quarter"])
        lines.append(f"| {run['processes']} | {run['seconds']:.1f} | {seconds} | {memory} |")
    return [*lines, ""]


def _spread(values: dict[str, float]) -> str:
    return f"{values['median']:.2f} ({values['min']:.2f} to {values['max']:.2f})"


def plot(result: dict[str, Any]) -> Figure:
    """Bars of the steps, warm over first, with the range of the warm ones."""
    case = result["case"]
    longest = max(max(case["first_s"].values()), max(s["max"] for s in case["warm_s"].values()), 1e-6)
    scale = _WIDTH / longest
    height = _TOP + _ROW * len(STEPS) + 40
    items: list[Shape | Words] = [
        Words(16, 22, "Seconds of each step of a case", 14, anchor="start", bold=True),
        Shape(rectangle(_LEFT + 220, 13, 10, 10), fill=_WARM),
        Words(_LEFT + 235, 22, f"warm, median of {result['repeats']}", 11, anchor="start"),
        Shape(rectangle(_LEFT + 350, 13, 10, 10), fill=_FIRST),
        Words(_LEFT + 365, 22, "first", 11, anchor="start"),
    ]
    for k, step in enumerate(STEPS):
        y, warm = _TOP + k * _ROW, case["warm_s"][step]
        ends = warm["min"] * scale, warm["max"] * scale
        items += [
            Words(_LEFT - 8, y + 14, step, 12, anchor="end"),
            Shape(rectangle(_LEFT, y, max(case["first_s"][step] * scale, 0.5), 20), fill=_FIRST),
            Shape(rectangle(_LEFT, y + 5, max(warm["median"] * scale, 0.5), 10), fill=_WARM),
            Shape((("M", _LEFT + ends[0], y + 10), ("L", _LEFT + ends[1], y + 10)), stroke="#1d2733", stroke_width=1.5),
            Words(
                _LEFT + max(ends[1], case["first_s"][step] * scale) + 6,
                y + 14,
                f"{warm['median']:.2f} s",
                11,
                anchor="start",
            ),
        ]
    items.append(
        Words(
            16,
            height - 12,
            f"{result['computer']['processor']}, {result['computer']['threads']} threads",
            10,
            SOFT,
            "start",
        )
    )
    return Figure(_LEFT + _WIDTH + 70, height, tuple(items), "Seconds of each step of a case, first and warm")


def write_benchmark(folder: Path, result: dict[str, Any]) -> list[Path]:
    """`benchmark.json`, `.md` and `.svg` into `folder`."""
    texts = {
        "benchmark.json": json.dumps(result, indent=2, allow_nan=False) + "\n",
        "benchmark.md": markdown(result),
        "benchmark.svg": to_svg(plot(result)),
    }
    for name, text in texts.items():
        with replacing(Path(folder) / name) as part:
            part.write_text(text, encoding="utf-8")
    return [Path(folder) / name for name in texts]
