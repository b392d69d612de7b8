"""Judging models, methods and speed: `scarnet evaluate`, `scarnet evaluate-methods` and `scarnet benchmark`."""

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from scarnet.cli.options import Device, Flips, Folds, Model, Output, fold_numbers
from scarnet.errors import UsageError


def evaluate(
    data: Annotated[
        Path, typer.Argument(help="Folder of labelled patients, as for train; or of predicted label maps, with TRUTH.")
    ],
    output: Output,
    truth: Annotated[
        Optional[Path],
        typer.Argument(help="Folder of the experts' label maps, same names: NAME.nii.gz or NAME_labels.nii.gz."),
    ] = None,
    model: Model = "default",
    folds: Folds = None,
    device: Device = "auto",
    flips: Flips = None,
    finder: Annotated[
        str,
        typer.Option(help="What finds the LV: a name or folder. The shipped one has seen all EMIDEC patients we have."),
    ] = "default",
    stress: Annotated[
        bool,
        typer.Option("--stress", help="Also change the patients as other scanners and archives would: stress.csv."),
    ] = False,
    cine: Annotated[
        Optional[Path],
        typer.Option(help="Cine anatomy: also its hearts whose stacks are longer than the ventricle: ends.csv."),
    ] = None,
) -> None:
    """Segment labelled patients that the model was not trained on and compare with the experts; or compare label maps that are there."""
    if truth is not None:
        from scarnet.cli.comparisons import evaluate_folders

        evaluate_folders(data, truth, output)
        return
    from scarnet.evaluation.evaluate import evaluate_model, evaluate_stressed, summarise, summarise_doubt
    from scarnet.evaluation.results import provenance, write_results
    from scarnet.export.outputs import check_writable
    from scarnet.export.tables import write_csv
    from scarnet.files import replacing

    check_writable(output)

    def show(row: dict) -> None:
        typer.echo(
            f"{row['case']:12s} myocardium {row['myocardium_dice']:.3f}  scar {row['scar_dice']:.3f}  {row['error']}"
        )

    how = {
        "model": model,
        "finder": finder,
        "folds": fold_numbers(folds),
        "device": device,
        "test_time_flips": flips,
    }
    evaluation = evaluate_model(data, **how, on_case=show)
    summary = summarise(evaluation.cases) | {"doubt": summarise_doubt(evaluation.slices)}
    write_csv(output / "cases.csv", evaluation.cases)
    write_csv(output / "slices.csv", evaluation.slices)
    write_results(output / "full", {Path(model).name: evaluation.judged}, facts={"provenance": provenance()})
    with replacing(output / "summary.json") as part:
        part.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    typer.echo(json.dumps(summary, indent=2))
    if stress:
        rows = evaluate_stressed(data, **how, on_change=typer.echo)
        write_csv(output / "stress.csv", rows)
    if cine is not None:
        from scarnet.evaluation.ends import evaluate_ends, summarise_ends

        rows = evaluate_ends(cine, **how)
        write_csv(output / "ends.csv", rows)
        typer.echo(json.dumps(summarise_ends(rows), indent=2))


def evaluate_methods(
    output: Output,
    data: Annotated[
        Optional[Path], typer.Argument(help="Folder of labelled patients, as for train; without: the simulated heart.")
    ] = None,
    folds: Folds = None,
) -> None:
    """Compare intensity methods (n-SD, FWHM, Otsu, ...) with experts' infarcts, or with a simulated one over noise."""
    from scarnet.evaluation import methods
    from scarnet.export.outputs import check_writable
    from scarnet.export.tables import write_csv
    from scarnet.files import replacing

    check_writable(output)
    if data is None:
        rows = list(methods.contrast_curve())
        figures = [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
        write_csv(output / "contrast.csv", figures)
        try:
            with replacing(output / "contrast.svg") as part:
                methods.draw_contrast_curve(rows, part)
        except ImportError:
            raise UsageError(
                "contrast.csv is written; its figure needs one more package: pip install matplotlib."
            ) from None
        typer.echo(f"Written to {output}: contrast.csv, contrast.svg")
        return
    rows = methods.evaluate_methods(data, folds=fold_numbers(folds))
    summary = methods.summarise_methods(rows)
    write_csv(output / "cases.csv", rows)
    write_csv(output / "methods.csv", summary)
    with replacing(output / "methods.md") as part:
        part.write_text(methods.as_markdown(summary), encoding="utf-8")
    typer.echo(methods.as_markdown(summary))


def benchmark(
    input: Annotated[
        Optional[Path], typer.Argument(help="An LGE series. Default: the shipped sample, a simulated heart.")
    ] = None,
    output: Output = Path("scarnet-benchmark"),
    model: Model = "default",
    repeats: Annotated[int, typer.Option(min=1, help="Of everything that is timed.")] = 5,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Time other runtimes and networks too, where installed.")
    ] = True,
    growth: Annotated[
        bool, typer.Option("--growth/--no-growth", help="Time stacks of more slices and finer pixels.")
    ] = True,
    many: Annotated[
        bool, typer.Option("--cohort/--no-cohort", help="Time scarnet cohort with one process and with all.")
    ] = True,
    patients: Annotated[
        Optional[int],
        typer.Option(min=8, help="Also time scarnet cohort once on so many simulated patients, and watch its memory."),
    ] = None,
) -> None:
    """Time the main job step by step on this computer, first and warm, beside what else is installed."""
    from scarnet.evaluation.benchmark import benchmark as run
    from scarnet.evaluation.benchmark_report import markdown, write_benchmark
    from scarnet.export.outputs import check_writable
    from scarnet.resources import shipped

    check_writable(output)
    result = run(
        input or shipped("SampleData/LGEShortAxis"),
        model=model,
        repeats=repeats,
        peers=peers,
        growth=growth,
        cohort=many,
        patients=patients,
        on_step=lambda text: typer.echo(f"{text} …", err=True),
    )
    written = write_benchmark(output, result)
    typer.echo(markdown(result))
    typer.echo(f"Written to {output}: {', '.join(path.name for path in written)}")
