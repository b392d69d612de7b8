"""Figures of a comparison (matplotlib): box, violin, Bland-Altman, regression, curves over training size and noise."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from scarnet.evaluation.agreement import limits_of_agreement
from scarnet.evaluation.judge import Judged, column, in_group
from scarnet.files import replacing

WIDTH_INCHES = 3.0


def write_charts(folder: Path, judged: dict[str, Judged]) -> list[Path]:
    """Every figure of one comparison into `folder`. Raises ImportError without matplotlib."""
    folder = Path(folder)
    ill = {name: [row for row in of.cases if in_group(row, "pathological")] for name, of in judged.items()}
    rows = {name: of.cases for name, of in judged.items()}
    dices = {name: [row["scar_dice"] for row in cases] for name, cases in ill.items()}
    charts: dict[str, Callable[[Path], None]] = {
        "agreement.svg": lambda path: bland_altman(rows, path),
        "regression.svg": lambda path: regression(rows, path),
    }
    if any(dices.values()):
        label = "scar Dice, pathological patients"
        charts |= {
            "box.svg": lambda path: boxes(dices, label, path),
            "violin.svg": lambda path: violins(dices, label, path),
        }
    for name, draw in charts.items():
        with replacing(folder / name) as part:
            draw(part)
    return [folder / name for name in charts]


#: More panels than this go into further rows.
PANELS_IN_A_ROW = 4


def _figure(count: int = 1, *, height: float = 3.2, width: float | None = None):
    """A figure and its `count` panels."""
    from matplotlib.figure import Figure

    columns = min(count, PANELS_IN_A_ROW)
    rows = -(-count // columns)
    size = (width or max(WIDTH_INCHES * columns, 4.5), height * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for empty in panels[count:]:
        empty.set_axis_off()
    return figure, panels[:count]


def _save(figure, path: Path) -> None:
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "scarnet"}):  # the same figure gives the same bytes
        figure.savefig(path, format="svg", metadata={"Date": None})


def boxes(values: dict[str, list[float]], label: str, path: Path) -> None:
    """Median, quartiles, whiskers of 1.5 IQR, and every patient as a dot."""
    figure, (axes,) = _figure(width=max(4.5, 1.2 * len(values)))
    names = [name for name, of in values.items() if of]
    axes.boxplot([values[name] for name in names], showfliers=False, widths=0.5)
    rng = np.random.default_rng(0)
    for n, name in enumerate(names, 1):
        axes.plot(n + rng.uniform(-0.12, 0.12, len(values[name])), values[name], ".", alpha=0.5)
    _label_models(axes, names, label)
    _save(figure, path)


def violins(values: dict[str, list[float]], label: str, path: Path) -> None:
    figure, (axes,) = _figure(width=max(4.5, 1.2 * len(values)))
    names = [name for name, of in values.items() if len(of) > 1 and np.ptp(of) > 0]
    if names:
        axes.violinplot([values[name] for name in names], showmedians=True)
    _label_models(axes, names, label)
    _save(figure, path)


def _label_models(axes, names: list[str], label: str) -> None:
    axes.set_xticks(range(1, len(names) + 1), names, rotation=30, ha="right")
    axes.set(ylabel=label, ylim=(-0.02, 1.02))
    axes.grid(axis="y", alpha=0.3)


def bland_altman(rows: dict[str, list[dict]], path: Path) -> None:
    """Difference over average of percent of LV, one panel per model, with bias and limits of agreement."""
    figure, panels = _figure(len(rows))
    for axes, (name, cases) in zip(panels, rows.items(), strict=True):
        measured, true = (column(cases, "scar", which, "percent_lv") for which in ("predicted", "truth"))
        limits = limits_of_agreement(measured, true)
        axes.plot((measured + true) / 2, measured - true, ".")
        for value, style in ((limits.bias, "-"), (limits.low, "--"), (limits.high, "--")):
            if np.isfinite(value):
                axes.axhline(value, linestyle=style, color="black", linewidth=0.8)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("average, % of LV")
    _share(panels, "model − expert, points of LV")
    _save(figure, path)


def regression(rows: dict[str, list[dict]], path: Path) -> None:
    """Percent of LV by model over percent by expert with the line of identity, one panel per model."""
    figure, panels = _figure(len(rows))
    top = 1.05 * max(max(r["scar_predicted_percent_lv"], r["scar_truth_percent_lv"]) for c in rows.values() for r in c)
    for axes, (name, cases) in zip(panels, rows.items(), strict=True):
        measured, true = (column(cases, "scar", which, "percent_lv") for which in ("predicted", "truth"))
        axes.plot([0, top], [0, top], color="grey", linewidth=0.8)
        axes.plot(true, measured, ".")
        if len(true) > 2 and true.std() > 0:
            slope, intercept = np.polyfit(true, measured, 1)
            axes.plot([0, top], [intercept, slope * top + intercept], color="black", linewidth=0.8, linestyle="--")
        axes.set_title(name, fontsize=9)
        axes.set(xlabel="expert, % of LV", xlim=(0, top), ylim=(0, top))
    _share(panels, "model, % of LV")
    _save(figure, path)


def _share(panels, label: str) -> None:
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)
        axes.grid(alpha=0.3)
    for axes in panels[::PANELS_IN_A_ROW]:
        axes.set_ylabel(label)


def curves(
    lines: dict[str, list[tuple[float, float, float, float]]],
    xlabel: str,
    ylabel: str,
    path: Path,
    *,
    log: bool = False,
) -> None:
    """One line per model of (x, mean, low, high), the interval shaded; the learning curve and the curve over noise."""
    with replacing(path) as part:
        figure, (axes,) = _figure(width=5.5)
        for n, (name, points) in enumerate(lines.items()):
            x, mean, low, high = np.array(sorted(points), float).T
            axes.plot(x, mean, marker="o", markersize=3, label=name, color=f"C{n}")
            axes.fill_between(x, low, high, alpha=0.15, color=f"C{n}", linewidth=0)
        if log:
            axes.set_xscale("log")
            ticks = sorted({point[0] for points in lines.values() for point in points})
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        _save(figure, part)
