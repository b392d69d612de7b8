"""Intensity methods on the experts' own myocardium against the experts' infarct, and against a simulated one over noise.

The methods see muscle and cavity, never the expert's scar or MVO. Dice counts pixels that are at least half scar; volumes weigh
partial pixels. The parameters of the partial-volume method (`ewa`) were chosen on folds 1 to 4 of EMIDEC; fold 0 is therefore printed
apart. (Its figures were on view, beside the others', when blood was first tried as the reference; both rose.)
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scarnet.conventions import Label, dice, myocardium_mask, scar_mask
from scarnet.errors import InputError
from scarnet.phantom import HeartParameters, PhantomParameters, ScarParameters, simulate
from scarnet.quantification.regional import signal_of
from scarnet.quantification.thresholds import METHODS, ThresholdResult, compare_methods
from scarnet.series import LgeSeries, Reconstruction
from scarnet.training.data import list_cases, read_case

#: The fold that no parameter was chosen on.
HELD_OUT_FOLD = 0
#: The method that others are compared with pair by pair.
OWN_METHOD = "ewa"
#: Of the phantom's scar over remote myocardium, in standard deviations of the image's noise; published values run from about 6 (3 T
#: magnitude) to 38 (1.5 T, segmented).
CONTRASTS_TO_NOISE = (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 14.0, 20.0, 28.0, 40.0)


def evaluate_methods(
    data: Path, *, folds: list[int] | None = None, on_case: Callable[[str], None] | None = None
) -> list[dict]:
    """One row per patient and method: Dice (None without infarct), percent of LV by method and by expert.

    `data`: a folder as for training. Raises InputError where no patient can be compared.
    """
    rows = []
    for case in list_cases(data):
        if folds is not None and case.fold not in folds:
            continue
        series, truth = read_case(case)
        infarct = scar_mask(truth)
        expert = _percent_lv(infarct, truth, series)
        for result in methods_on(series, truth):
            rows.append(
                {
                    "case": case.name,
                    "group": case.group,
                    "fold": case.fold,
                    "method": result.method,
                    "dice": dice(result.scar >= 0.5, infarct) if infarct.any() else None,
                    "percent_lv": result.percent_lv,
                    "expert_percent_lv": expert,
                }
            )
        if on_case is not None:
            on_case(case.name)
    if not rows:
        raise InputError("No patient with myocardium and cavity is left to compare methods on.")
    return rows


def methods_on(series: LgeSeries, labels: np.ndarray) -> tuple[ThresholdResult, ...]:
    """Every method on the muscle of `labels`, blind to scar and MVO in them; weights on the grid of `series`."""
    blind = np.minimum(labels, Label.MYOCARDIUM).astype(np.uint8)
    muscle, (rows, columns) = signal_of(series, blind)
    results = []
    for result in compare_methods(muscle):
        whole = np.zeros(labels.shape)
        whole[:, rows, columns] = result.scar
        results.append(replace(result, scar=whole))
    return tuple(results)


def summarise_methods(rows: list[dict]) -> list[dict]:
    """One row per group of folds and method; percent of LV in points.

    `dice_mean`, `dice_sd`, `bias`, `sd`: patients with infarct (population of differences method - expert, sd with n - 1).
    `concordance`: Lin 1989, all patients. `normal_percent_lv`: mean found where the expert saw none. `own_ahead`: patients with
    infarct in whom the partial-volume method has the higher Dice.
    """
    folds = sorted({row["fold"] for row in rows})
    groups = {"all folds": folds}
    if HELD_OUT_FOLD in folds and len(folds) > 1:
        groups = {
            f"folds {', '.join(str(f) for f in folds if f != HELD_OUT_FOLD)}": [f for f in folds if f != HELD_OUT_FOLD],
            f"fold {HELD_OUT_FOLD}, no parameter chosen on it": [HELD_OUT_FOLD],
            **groups,
        }
    return [
        {"patients": name, "method": method, **_summary([r for r in rows if r["fold"] in inside], method)}
        for name, inside in groups.items()
        for method in METHODS
    ]


def as_markdown(summary: list[dict]) -> str:
    """The summary as tables, one per group of folds."""
    lines = [
        "# Intensity methods against experts",
        "",
        "Methods see the expert's myocardium and cavity, nothing of the expert's infarct (scar and MVO together). Dice, bias and its",
        "standard deviation (points of LV, method minus expert) over patients with infarct; concordance (Lin) over all; normal: percent of",
        "LV called scar where the expert saw none.",
        "",
        "Parameters of `ewa` were chosen on folds 1 to 4. Figures of fold 0 were on view, beside theirs, when blood was first tried as the",
        "reference of signal; both rose, and no parameter was chosen on it.",
        "",
    ]
    for group in dict.fromkeys(row["patients"] for row in summary):
        inside = [row for row in summary if row["patients"] == group]
        lines += [
            f"## {group[0].upper()}{group[1:]}: {inside[0]['with_infarct']} patients with infarct, {inside[0]['without']} without",
            "",
            f"| method | Dice | bias | SD | concordance | normal | `{OWN_METHOD}` ahead in |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in inside:
            ahead = "" if row["method"] == OWN_METHOD else f"{row['own_ahead']} of {row['with_infarct']}"
            lines.append(
                f"| {row['method']} | {_number(row['dice_mean'], 3)} ± {_number(row['dice_sd'], 3)} | {_number(row['bias'], 1, sign=True)} "
                f"| {_number(row['sd'], 1)} | {_number(row['concordance'], 2)} | {_number(row['normal_percent_lv'], 1)} | {ahead} |"
            )
        lines.append("")
    return "\n".join(lines)


def concordance(a: np.ndarray, b: np.ndarray) -> float:
    """Concordance correlation coefficient (Lin, Biometrics 1989;45:255), population moments; NaN without any spread."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    spread = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    return float(2 * ((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else float("nan")


@dataclass(frozen=True)
class CurveParameters:
    """A heart without MVO or texture, so that noise alone differs."""

    contrasts_to_noise: tuple[float, ...] = CONTRASTS_TO_NOISE
    seeds: tuple[int, ...] = (1, 2, 3)
    phantom: PhantomParameters = PhantomParameters(
        heart=HeartParameters(scar=ScarParameters(mvo_share=0.0)),
        size=128,
        pixel_mm=1.6,
        slices=8,
        shading=0.0,
        texture=0.0,
    )


def contrast_curve(parameters: CurveParameters = CurveParameters()) -> Iterable[dict]:
    """Rows of method minus exact truth, in points of LV, for both reconstructions, every contrast-to-noise and seed.

    Contrast-to-noise is that of the finished image: scar less remote myocardium where each fills its pixels, without noise, over the
    standard deviation that noise adds in the muscle.
    """
    p = parameters.phantom
    for reconstruction in (Reconstruction.PSIR, Reconstruction.MAGNITUDE):
        for seed in parameters.seeds:
            clean = simulate(replace(p, reconstruction=Reconstruction.PSIR, noise=0.0), seed=seed)
            unit = simulate(replace(p, reconstruction=Reconstruction.PSIR, noise=_NOISE), seed=seed)
            muscle, scar = myocardium_mask(clean.labels), scar_mask(clean.labels)
            contrast = np.median(clean.series.image[scar]) - np.median(clean.series.image[muscle & ~scar])
            noise_per_unit = (unit.series.image - clean.series.image)[muscle].std() / _NOISE
            for ratio in parameters.contrasts_to_noise:
                noise = contrast / ratio / noise_per_unit
                made = simulate(replace(p, reconstruction=reconstruction, noise=float(noise)), seed=seed)
                truth = made.truth_ml["scar_percent_lv"]
                for result in methods_on(made.series, made.labels):
                    yield {
                        "reconstruction": reconstruction.value,
                        "contrast_to_noise": ratio,
                        "seed": seed,
                        "method": result.method,
                        "percent_lv": result.percent_lv,
                        "truth_percent_lv": truth,
                        "error": result.percent_lv - truth,
                        "dice": dice(result.scar >= 0.5, scar),
                    }


#: Any noise well above the rounding to whole numbers does to learn what noise becomes in the image.
_NOISE = 0.02


def draw_contrast_curve(rows: list[dict], path: Path, *, file_format: str = "svg") -> None:
    """Bias over contrast-to-noise, mean over seeds, a panel per reconstruction."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for panel, reconstruction in zip(axes, ("psir", "magnitude"), strict=True):
        for n, method in enumerate(METHODS):
            inside = [r for r in rows if r["reconstruction"] == reconstruction and r["method"] == method]
            ratios = sorted({r["contrast_to_noise"] for r in inside})
            means = [np.mean([r["error"] for r in inside if r["contrast_to_noise"] == ratio]) for ratio in ratios]
            width, style = (2.5, "-") if method == OWN_METHOD else (1.2, ("-", "--", ":", "-.")[n % 4])
            panel.plot(ratios, means, style, label=method, linewidth=width, marker="o", markersize=3)
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set(xscale="log", xlabel="contrast-to-noise of scar over remote", title=reconstruction)
        panel.set_xticks([3, 5, 10, 20, 40], ["3", "5", "10", "20", "40"])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    axes[0].set(ylabel="method - truth (points of LV)", ylim=(-14, 14))
    axes[1].legend(fontsize=8)
    figure.savefig(path, format=file_format, metadata={"Date": None} if file_format == "svg" else None)


def _summary(rows: list[dict], method: str) -> dict:
    of = [r for r in rows if r["method"] == method]
    own = {r["case"]: r["dice"] for r in rows if r["method"] == OWN_METHOD}
    infarct = [r for r in of if r["expert_percent_lv"] > 0]
    normal = [r["percent_lv"] for r in of if r["expert_percent_lv"] == 0]
    dices = np.array([r["dice"] for r in infarct], float)
    differences = np.array([r["percent_lv"] - r["expert_percent_lv"] for r in infarct], float)
    several = len(infarct) > 1
    return {
        "with_infarct": len(infarct),
        "without": len(normal),
        "dice_mean": _rounded(dices.mean(), 4) if infarct else None,
        "dice_sd": _rounded(dices.std(ddof=1), 4) if several else None,
        "bias": _rounded(differences.mean(), 2) if infarct else None,
        "sd": _rounded(differences.std(ddof=1), 2) if several else None,
        "concordance": _rounded(concordance([r["percent_lv"] for r in of], [r["expert_percent_lv"] for r in of]), 3),
        "normal_percent_lv": _rounded(np.mean(normal), 2) if normal else None,
        "own_ahead": sum(own[r["case"]] > r["dice"] for r in infarct),
    }


def _percent_lv(mask: np.ndarray, labels: np.ndarray, series: LgeSeries) -> float:
    volumes = series.geometry.voxel_volumes_ml
    muscle = float(myocardium_mask(labels).sum(axis=(1, 2)) @ volumes)
    return 100 * float(mask.sum(axis=(1, 2)) @ volumes) / muscle if muscle else 0.0


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) + 0.0 if np.isfinite(value) else None


def _number(value: float | None, digits: int, *, sign: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"
