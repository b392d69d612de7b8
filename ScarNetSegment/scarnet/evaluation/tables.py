"""Results as Markdown and LaTeX: the same tables in both, laid out as in Tavakoli 2025 where the paper has one."""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", _row(self.columns), "|" + "---|" * len(self.columns)]
        lines += [_row(row) for row in self.rows] + [""]
        return "\n".join(lines + [f"{note}\n" for note in self.notes])

    def latex(self) -> str:
        """A `table` float; needs no package."""
        body = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in [self.columns, *self.rows]]
        notes = [rf"\par\footnotesize {_latex(note)}" for note in self.notes]
        return "\n".join(
            [
                r"\begin{table}[t]\centering\small",
                rf"\caption{{{_latex(self.title)}}}",
                rf"\begin{{tabular}}{{l{'c' * (len(self.columns) - 1)}}}",
                r"\hline",
                body[0],
                r"\hline",
                *body[1:],
                r"\hline",
                r"\end{tabular}",
                *notes,
                r"\end{table}",
                "",
            ]
        )


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


_LATEX = {
    "\\": r"\textbackslash{}",
    "–": "--",
    "±": r"$\pm$",
    "−": "$-$",
    "²": "$^2$",
    "≥": r"$\geq$",
    "<": r"$<$",
    ">": r"$>$",
}
_LATEX |= {c: f"\\{c}" for c in "%&_#$"} | {"*": "", "`": ""}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def number(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:{'+' if sign else ''}.{digits}f}"


def quartiles(stats: dict, digits: int = 3) -> str:
    """Median [first and third quartile], as the paper prints Dice."""
    return f"{number(stats['median'], digits)} [{number(stats['q1'], digits)}–{number(stats['q3'], digits)}]"


def with_interval(stats: dict, name: str = "mean", digits: int = 3) -> str:
    low, high = ("low", "high") if name == "mean" else (f"{name}_low", f"{name}_high")
    return f"{number(stats[name], digits)} ({number(stats[low], digits)} to {number(stats[high], digits)})"


def paper_table(summaries: dict[str, dict]) -> Table:
    """One row per model: the columns of the paper's results."""
    rows = []
    for model, summary in summaries.items():
        ill = summary.get("pathological", summary["all"])
        percent, seen = summary["all"]["agreement"]["scar_percent_lv"], summary["all"]["detection"]["patient"]
        rows.append(
            [
                model,
                quartiles(ill["measures"]["scar_dice"]),
                quartiles(summary["all"]["measures"]["myocardium_dice"]),
                number(percent["concordance"], 3),
                f"{number(percent['bias'], 2, sign=True)} [{number(percent['limit_low'], 1)} to {number(percent['limit_high'], 1)}]",
                number(percent["variation_percent"], 1),
                f"{number(100 * seen['sensitivity'], 1)} ({seen['sensitivity_of']})",
                f"{number(100 * seen['specificity'], 1)} ({seen['specificity_of']})",
            ]
        )
    first = next(iter(summaries.values()))
    return Table(
        "Scar, in the layout of the paper",
        [
            "Model",
            "Scar Dice, median [IQR]",
            "Myocardium Dice, median [IQR]",
            "CCC, % LV",
            "Bias [limits], points of LV",
            "CoV, %",
            "Sensitivity, % (n)",
            "Specificity, % (n)",
        ],
        rows,
        [
            f"Scar Dice over the {first.get('pathological', first['all'])['patients']} patients in whom the expert drew scar (labels 3 and 4); "
            f"the rest over all {first['all']['patients']}. CCC: Lin. CoV: SD of the differences over the mean of the averages. "
            f"Sensitivity and specificity by patient: {first['all']['detection']['rule']}."
        ],
    )


def overlap_table(summaries: dict[str, dict]) -> Table:
    rows = []
    for model, summary in summaries.items():
        everyone, ill = summary["all"]["measures"], summary.get("pathological", {}).get("measures")
        rows.append(
            [
                model,
                with_interval(ill["scar_dice"]) if ill else "–",
                with_interval(everyone["scar_dice"]),
                with_interval(everyone["scar_dice_where_any"]),
                with_interval(summary["normal"]["measures"]["scar_dice"]) if "normal" in summary else "–",
                with_interval(everyone["myocardium_dice"]),
                with_interval(everyone["mvo_dice"]),
                with_interval(everyone["mvo_dice_where_any"]),
                with_interval(summary["all"]["slices"]["scar_dice_where_any"]),
            ]
        )
    return Table(
        "Dice, mean (95 % interval over patients)",
        [
            "Model",
            "Scar, pathological",
            "Scar, all (both empty = 1)",
            "Scar, all (both empty left out)",
            "Scar, normal (both empty = 1)",
            "Myocardium, all",
            "MVO, all (both empty = 1)",
            "MVO (both empty left out)",
            "Scar by slice (both empty left out)",
        ],
        rows,
        ["A patient is pathological when the expert drew scar. Dice over the whole volume, the last column excepted."],
    )


def distance_table(summaries: dict[str, dict]) -> Table:
    columns = ("scar_hd95_mm", "scar_surface_mm", "myocardium_hd95_mm", "myocardium_surface_mm")
    rows = []
    for model, summary in summaries.items():
        measures = summary["all"]["measures"]
        rows.append([model, *(f"{with_interval(measures[c], digits=1)}, n = {measures[c]['n']}" for c in columns)])
    return Table(
        "Distances between surfaces in mm, mean (95 % interval)",
        ["Model", "Scar HD95", "Scar mean distance", "Myocardium HD95", "Myocardium mean distance"],
        rows,
        [
            "Over the n patients in whom model and expert both drew the region: a model that finds less has fewer hard patients here."
        ],
    )


def agreement_table(summaries: dict[str, dict], name: str, title: str, unit: str) -> Table:
    rows = []
    for model, summary in summaries.items():
        found = summary["all"]["agreement"][name]
        rows.append(
            [
                model,
                with_interval(found, "concordance"),
                with_interval(found, "icc_2_1"),
                with_interval(found, "bias", 2),
                f"{number(found['limit_low'], 1)} to {number(found['limit_high'], 1)}",
                with_interval(found, "mean_absolute_difference", 2),
                with_interval(found, "variation_percent", 1),
                f"{number(found['slope'])} x {number(found['intercept'], 2, sign=True)}",
                number(found.get("myosaiq_crps"), 5),
            ]
        )
    return Table(
        f"{title}, {unit}, all patients",
        [
            "Model",
            "CCC",
            "ICC(2,1)",
            "Bias",
            "Limits of agreement",
            "Mean |difference|",
            "CoV, %",
            "Regression",
            "CRPS (MYOSAIQ)",
        ],
        rows,
    )


def detection_table(summaries: dict[str, dict]) -> Table:
    rows = []
    for model, summary in summaries.items():
        row = [model]
        for level in ("patient", "slice"):
            seen = summary["all"]["detection"][level]
            for name in ("sensitivity", "specificity"):
                row.append(
                    f"{number(100 * seen[name], 1)} ({number(100 * seen[name + '_low'], 0)} to "
                    f"{number(100 * seen[name + '_high'], 0)}), n = {seen[name + '_of']}"
                )
        rows.append(row)
    rule = next(iter(summaries.values()))["all"]["detection"]["rule"]
    return Table(
        "Scar or none, percent (Wilson's 95 % interval)",
        ["Model", "Sensitivity, patients", "Specificity, patients", "Sensitivity, slices", "Specificity, slices"],
        rows,
        [f"Rule: {rule}. Slices of one patient are no independent samples: their intervals are too narrow."],
    )


def paired_table(tests: list[dict]) -> Table:
    rows = [
        [
            f"{row['measure']} ({row['group']})",
            f"{row['reference']} − {row['rival']}",
            f"{number(row['difference'], 3, sign=True)} ({number(row['low'], 3, sign=True)} to {number(row['high'], 3, sign=True)})",
            f"{row['better']} / {row['worse']} of {row['patients']}",
            _p(row["wilcoxon_p_holm"]),
            _p(row["bootstrap_p_holm"]),
        ]
        for row in tests
    ]
    return Table(
        "Paired differences on the same patients",
        [
            "Measure (patients)",
            "Models",
            "Mean difference (95 % interval)",
            "Better / worse",
            "p, Wilcoxon",
            "p, bootstrap",
        ],
        rows,
        [
            "Two-sided, adjusted over the rivals of a measure (Holm). Better, worse: patients in whom the first model is. "
            "With few patients the bootstrap is too sure of itself; Wilcoxon's test is exact, and cannot fall low."
        ],
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def result_tables(summaries: dict[str, dict], tests: list[dict]) -> list[Table]:
    """All tables of a comparison, most asked for first. `summaries`: model to `summarise_judged`."""
    tables = [
        paper_table(summaries),
        overlap_table(summaries),
        agreement_table(summaries, "scar_percent_lv", "Scar", "percent of LV"),
        agreement_table(summaries, "scar_ml", "Scar volume", "mL"),
        agreement_table(summaries, "myocardium_ml", "Myocardial volume", "mL"),
        distance_table(summaries),
        detection_table(summaries),
    ]
    return tables + ([paired_table(tests)] if tests else [])
