"""Several models side by side: `scarnet compare`, `scarnet study`, and `scarnet evaluate PREDICTIONS TRUTH`."""

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from scarnet.cli.options import Device, Folds, Output, fold_numbers

Publish = Annotated[
    Optional[Path], typer.Option(help="Also copy pages, tables and figures there; no models, no patient's labels.")
]
Threads = Annotated[int, typer.Option(min=1, help="Processors for every training and prediction alike.")]


def compare(
    data: Annotated[
        Path,
        typer.Argument(
            help="Folder of NAME_image.nii.gz and NAME_labels.nii.gz (0 to 4 as ours), and perhaps cases.csv."
        ),
    ],
    output: Output,
    models: Annotated[
        str,
        typer.Option(
            help="With commas between, each MODEL or NAME=MODEL: what 'segment --model' takes; labels:FOLDER for label maps; "
            "threshold:METHOD (expert's muscle) or threshold:METHOD@NAME (the muscle of that model)."
        ),
    ] = "default,threshold:ewa,threshold:fwhm,threshold:5sd",
    folds: Folds = None,
    reference: Annotated[
        Optional[str], typer.Option(help="The model that others are tested against; default: the first.")
    ] = None,
    device: Device = "cpu",
    threads: Threads = 1,
    publish: Publish = None,
) -> None:
    """Compare models on labelled patients of your own. The same command goes on where it ended."""
    from scarnet.evaluation.study_config import comparison_of

    specs = [spec.strip() for spec in models.split(",") if spec.strip()]
    planned = comparison_of(
        data, specs, folds=fold_numbers(folds), threads=threads, device=device, reference=reference or ""
    )
    _complete(planned, output, None, publish)


def study(
    config: Annotated[Path, typer.Argument(help="TOML file: kind, data, models; see Resources/Evaluation/studies.")],
    output: Output,
    data: Annotated[Optional[Path], typer.Option(help="Folder of labelled patients, in place of the file's.")] = None,
    train_data: Annotated[
        Optional[Path], typer.Option(help="Another folder to train on, in place of the file's.")
    ] = None,
    folds: Folds = None,
    minutes: Annotated[
        Optional[float], typer.Option(help="Of training for each model that states none of its own.")
    ] = None,
    threads: Annotated[
        Optional[int], typer.Option(min=1, help="Processors for every training and prediction alike.")
    ] = None,
    limit: Annotated[Optional[int], typer.Option(min=1, help="Judge only so many patients a fold: a trial.")] = None,
    only: Annotated[
        Optional[str], typer.Option(help="Train and predict these models alone (commas between), judge nothing.")
    ] = None,
    publish: Publish = None,
    show: Annotated[bool, typer.Option("--list", help="Show the queue and what of it is done; do nothing.")] = False,
) -> None:
    """Train and compare models as a file says: comparison, ablation, learning curve, noise, another hospital's data.

    Every training and prediction is kept: after an interruption the same command goes on.
    """
    from scarnet.evaluation.study import trainings_of
    from scarnet.evaluation.study_config import read_study

    changes = {
        "data": data and str(data.resolve()),
        "train_data": train_data and str(train_data.resolve()),
        "folds": fold_numbers(folds),
        "minutes": minutes,
        "threads": threads,
        "limit": limit,
    }
    planned = read_study(config, **changes)
    if show:
        for training in trainings_of(planned, output):
            time = f"{training.plan.minutes:g} min" if training.plan.minutes is not None else "own epochs"
            typer.echo(f"{'done' if training.done else 'to do':6s} {training.name}, {time}")
        return
    _complete(planned, output, None if only is None else [name.strip() for name in only.split(",")], publish)


def _complete(planned, output: Path, only: list[str] | None, to: Path | None) -> None:
    from scarnet.evaluation.comparison import check_places, complete_study, publish

    check_places(output, *([] if to is None else [to]))
    tables, skipped = complete_study(
        planned, output, only=only, command=sys.argv[1:], on_step=lambda text: typer.echo(f"{text} …", err=True)
    )
    if not tables:
        return
    for table in tables:
        typer.echo(table.markdown())
    for name, reason in skipped.items():
        typer.echo(f"{name} was left out: {reason}", err=True)
    _say_where(output)
    if to is not None:
        typer.echo(f"Copied to {to}: {len(publish(output, to))} files")


def evaluate_folders(predictions: Path, truth: Path, output: Path) -> None:
    """Label maps against label maps."""
    from scarnet.evaluation.folders import pairs
    from scarnet.evaluation.judge import judge
    from scarnet.evaluation.results import provenance, write_results
    from scarnet.export.outputs import check_writable

    check_writable(output)
    judged = judge(pairs(predictions, truth))
    name = predictions.resolve().name
    _, tables = write_results(output, {name: judged}, facts={"provenance": provenance()})
    for table in tables:
        typer.echo(table.markdown())
    _say_where(output)


def _say_where(output: Path) -> None:
    figures = (output / "figures").is_dir()
    written = sorted(path.name for path in output.iterdir() if path.is_file())
    typer.echo(f"Written to {output}: {', '.join(written)}{', figures/' if figures else ''}")
    if not figures:
        typer.echo("Figures need one more package: pip install matplotlib.", err=True)
