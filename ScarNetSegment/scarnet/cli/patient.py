"""One patient: `scarnet segment` and `scarnet measure`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

import scarnet
from scarnet.cli.options import (
    AnyModel,
    Density,
    Device,
    Dicom,
    Flips,
    Identified,
    NoReport,
    Output,
    Paper,
    PaperSize,
    Remote,
    Runtime,
    RvInsertion,
    Said,
    Spacing,
    Stack,
    measuring,
    numbers,
    point,
    reconstruction_said,
)
from scarnet.conventions import MYOCARDIAL_DENSITY_G_PER_ML
from scarnet.errors import UsageError


def segment(
    input: Annotated[
        Path,
        typer.Argument(help="DICOM (a whole study's folder, a file, a DICOMDIR or a zip), .nii(.gz), .nrrd or .mha."),
    ],
    output: Output,
    model: AnyModel = "default",
    device: Device = "auto",
    runtime: Runtime = "auto",
    lv_center: Annotated[Optional[str], typer.Option(help="X,Y,Z (LPS, mm) inside the left ventricle.")] = None,
    box: Annotated[
        Optional[str],
        typer.Option(help="X0,Y0,Z0,X1,Y1,Z1 (LPS, mm): corners of a box about the ventricle, for MedSAM."),
    ] = None,
    myocardium: Annotated[
        Optional[Path],
        typer.Option(help="Label map whose muscle a threshold method works on (--model threshold:METHOD)."),
    ] = None,
    spacing: Spacing = None,
    series: Stack = None,
    reconstruction: Said = None,
    density: Density = MYOCARDIAL_DENSITY_G_PER_ML,
    flips: Flips = None,
    no_report: NoReport = False,
    paper: Paper = PaperSize.A4,
    dicom: Dicom = False,
    identified: Identified = False,
    rv_insertion: RvInsertion = None,
    remote: Remote = None,
) -> None:
    """Segment LV myocardium and scar of an LGE short-axis series and write labels and report."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from scarnet.export import write_outputs
    from scarnet.export.hand_work import keep_edits_of_run
    from scarnet.peers import back_end
    from scarnet.quantification import quantify

    parameters = measuring(density, rv_insertion, remote)
    center, corners = point(lv_center, "--lv-center"), point(box, "--box", 6)
    found, patient = _stack_and_patient(input, output, spacing, series, reconstruction, dicom, identified)
    chosen = back_end(model, device=device, runtime=runtime, test_time_flips=flips)
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), transient=True) as progress:
        task = progress.add_task("Reading", total=None)
        segmentation = chosen.segment(
            _request(found, center, corners, myocardium),
            on_progress=lambda done, total, text: progress.update(task, completed=done, total=total, description=text),
        )
    report = quantify(found, segmentation.labels, parameters=parameters, segmentation=segmentation, patient=patient)
    if kept := keep_edits_of_run(output):
        names = ", ".join(f"{before} as {after}" for before, after in kept)
        typer.echo(f"Kept, since a hand may have edited it: {names} in {output}.", err=True)
    written = write_outputs(
        output,
        found,
        segmentation.labels,
        report,
        segmentation=segmentation,
        with_report=not no_report,
        paper=paper.value,
        with_dicom=dicom,
    )
    _print_report(report, written)


def _request(series, center, corners, myocardium: Path | None):
    import numpy as np

    from scarnet.evaluation.folders import on_grid, read_labels
    from scarnet.peers import Request

    muscle = None if myocardium is None else on_grid(myocardium.name, *read_labels(myocardium), series.geometry)
    box = None if corners is None else np.reshape(corners, (2, 3))
    return Request(series, lv_center_lps_mm=center, box_lps_mm=box, myocardium=muscle)


def measure(
    segmentation: Annotated[
        Path, typer.Argument(help="A label map, a Slicer segmentation (.seg.nrrd) or a DICOM SEG.")
    ],
    volume: Annotated[Path, typer.Option(help="The LGE series it was drawn on.")],
    output: Output,
    series_number: Stack = None,
    reconstruction: Said = None,
    scar: Annotated[Optional[str], typer.Option(help="Name (label map: value) of the scar segment.")] = None,
    myocardium: Annotated[
        Optional[str], typer.Option(help="Name (label map: value) of the myocardium segment.")
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Bring a segmentation on another grid to the image's, nearest neighbour.")
    ] = False,
    ai: Annotated[
        Optional[Path],
        typer.Option(help="Folder that scarnet segment wrote: its values stand beside the corrected ones."),
    ] = None,
    spacing: Spacing = None,
    density: Density = MYOCARDIAL_DENSITY_G_PER_ML,
    paper: Paper = PaperSize.A4,
    dicom: Dicom = False,
    identified: Identified = False,
    rv_insertion: RvInsertion = None,
    remote: Remote = None,
) -> None:
    """Report a segmentation that was corrected, or drawn, by hand. The segmentation itself is not touched."""
    from scarnet.export import read_segmentation_file, write_outputs
    from scarnet.export.run_folder import holds_run, read_run
    from scarnet.files import sha256_of
    from scarnet.quantification import quantify, summarise_edits
    from scarnet.segments import after_edits

    if segmentation.resolve() == output.resolve() / "segmentation.dcm":
        raise UsageError(
            f"{segmentation} lies where the report is written, and would be removed; choose another --output."
        )
    if holds_run(output):
        raise UsageError(
            f"{output} holds the report of what scarnet segment drew, which would be replaced; choose another --output, and give this folder as --ai."
        )
    parameters = measuring(density, rv_insertion, remote)
    series, patient = _stack_and_patient(volume, output, spacing, series_number, reconstruction, dicom, identified)
    read = read_segmentation_file(segmentation, series, scar=scar, myocardium=myocardium, resample=resample)
    provenance: dict = {"segmentation": {"read_from_file_sha256": sha256_of(segmentation)}}
    run = read_run(ai, series) if ai else None
    if run is not None:
        provenance["edits"] = summarise_edits(run.labels, read.labels, series.geometry)
    origins = after_edits(read.origins, provenance.get("edits") or ())
    provenance["origins"] = {name: asdict(origin) for name, origin in origins.items()}
    report = quantify(
        series,
        read.labels,
        parameters=parameters,
        segmentation=run,
        notes=read.notes,
        provenance=provenance,
        patient=patient,
    )
    written = write_outputs(
        output,
        series,
        read.labels,
        report,
        segmentation=run,
        paper=paper.value,
        with_segmentation=False,
        with_dicom=dicom,
    )
    _print_report(report, written)


def _stack_and_patient(path: Path, output: Path, spacing, stack, reconstruction, dicom: bool, identified: bool):
    """The series, and whom the report is to name; what cannot be written is refused before anything is computed."""
    from scarnet.export.dicom.source import check_dicom_output
    from scarnet.export.outputs import check_writable
    from scarnet.series import read_lge
    from scarnet.series.patient import read_patient

    check_writable(output)
    series = read_lge(
        path,
        spacing_mm=numbers(spacing, "--spacing", 3),
        stack=stack,
        reconstruction=reconstruction_said(reconstruction),
    )
    patient = read_patient(series) if identified else None
    if dicom:
        check_dicom_output(series)
    return series, patient


def _print_report(report, written: dict[str, Path]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(show_header=False, box=None)
    spacing = " (spacing assumed)" if report.provenance["input"]["spacing_assumed"] else ""
    for name, value in (
        ("LV myocardium", f"{report.lv.myocardium_volume_ml:.1f} mL, {report.lv.mass_g:.1f} g{spacing}"),
        (
            "Scar",
            f"{report.scar.volume_ml:.1f} mL, {report.scar.mass_g:.1f} g, {report.scar.percent_lv:.1f} % of LV{spacing}",
        ),
        ("Microvascular obstruction", f"{report.mvo.volume_ml:.1f} mL (in scar){spacing}"),
    ):
        table.add_row(name, value)
    console.print(table)
    for line in report.quality.warnings:
        console.print(f"Warning: {line}", style="yellow", highlight=False, soft_wrap=True)
    console.print(
        f"Written to {next(iter(written.values())).parent}: {', '.join(sorted(written))}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(scarnet.RESEARCH_USE, style="dim", soft_wrap=True)
