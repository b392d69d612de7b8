"""Many patients: `scarnet cohort`."""

from pathlib import Path
from typing import Annotated, Optional

import typer

import scarnet
from scarnet.cli.options import Density, Device, Flips, Model, NoReport, Output, Paper, PaperSize, measuring
from scarnet.conventions import MYOCARDIAL_DENSITY_G_PER_ML
from scarnet.errors import InputError, ScarNetError


def cohort(
    folder: Annotated[Path, typer.Argument(help="Holds a DICOM folder or an image file for each patient.")],
    output: Output,
    jobs: Annotated[
        Optional[int], typer.Option("--jobs", "-j", min=1, help="Patients at a time. Default: one per processor.")
    ] = None,
    cluster: Annotated[
        Optional[str], typer.Option(help="Address or scheduler file of a running Dask cluster, to work there.")
    ] = None,
    model: Model = "default",
    device: Device = "auto",
    density: Density = MYOCARDIAL_DENSITY_G_PER_ML,
    flips: Flips = None,
    no_report: NoReport = False,
    paper: Paper = PaperSize.A4,
    corrections: Annotated[
        Optional[Path],
        typer.Option(help="Folder of corrected segmentations, PATIENT.seg.nrrd or PATIENT.nii.gz: measured instead."),
    ] = None,
    pseudonyms: Annotated[
        bool, typer.Option("--pseudonyms", help="Name patients by keyed hashes; pseudonyms.json says who is who.")
    ] = False,
) -> None:
    """Segment and measure every patient in a folder. The same command goes on where it ended, and does only what changed."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from scarnet.cohort.run import run_cohort
    from scarnet.cohort.settings import resolve

    measuring(density)  # refused now, not once per patient
    settings = resolve(
        model=str(Path(model).absolute()) if Path(model).is_dir() else model,
        device=device,
        test_time_flips=flips,
        density_g_per_ml=density,
        with_report=not no_report,
        paper=paper.value,
        pseudonyms=pseudonyms,
    )
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    seen = [0, 0]
    try:
        with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console) as progress:
            task = progress.add_task("Looking for patients", total=None)

            def show(done: int, total: int, state) -> None:
                seen[:] = done, total
                progress.update(task, completed=done, total=total, description="Patients")
                if state is not None and state.row["reason"]:
                    progress.console.print(
                        f"{state.patient} {state.row['status']}: {state.row['reason']}",
                        markup=False,
                        highlight=False,
                        soft_wrap=True,
                    )

            result = run_cohort(
                folder, output, settings, jobs=jobs, cluster=cluster, corrections=corrections, on_patient=show
            )
    except KeyboardInterrupt:
        typer.echo(
            f"scarnet: stopped; {seen[0]} of {seen[1]} patients were done and are kept: the same command goes on.",
            err=True,
        )
        raise typer.Exit(1) from None
    _print_cohort(result, output)


def _print_cohort(result, output: Path) -> None:
    names = ("segmented", "corrected", "refused", "failed")
    counts = [f"{result.count(name)} {name}" for name in names if result.count(name)]
    typer.echo(f"{len(result.states)} patients, {len(result.done)} of them done now: {', '.join(counts)}.")
    if result.missing:
        typer.echo(f"{len(result.missing)} of them are no longer in the input; their rows are kept.")
    typer.echo(f"Written to {output}: {', '.join(path.name for path in result.written)}, patients/")
    typer.echo(scarnet.RESEARCH_USE)
    if failed := result.count("failed"):
        raise ScarNetError(f"{failed} patients failed, as cohort.csv says why; the same command tries them again.")
    if result.states and not result.count("segmented") + result.count("corrected"):
        raise InputError("Not one patient could be used; cohort.csv says why.")
