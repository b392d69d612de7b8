"""The command line: `scarnet segment`, `measure`, `demo`, `phantom`, `train`, `evaluate`, `evaluate-methods`, `cohort`,
`benchmark`, `series`, `models`.

Exit codes: 0 done, 1 our failure, 2 wrong usage, 3 the input cannot be used. An error is one line; `--debug` shows more.
"""

import json
import logging
import sys
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

import scarnet
from scarnet.conventions import MYOCARDIAL_DENSITY_G_PER_ML
from scarnet.errors import InputError, ScarNetError, UsageError

app = typer.Typer(
    name="scarnet",
    help="Myocardial scar on late gadolinium enhancement (LGE) cardiac MRI.\n\n" + scarnet.RESEARCH_USE,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
models_app = typer.Typer(help="The models that are there, checked and added.", no_args_is_help=True)
app.add_typer(models_app, name="models")
series_app = typer.Typer(help="What a study holds, and which stack of it would be used.", no_args_is_help=True)
app.add_typer(series_app, name="series")


class PaperSize(str, Enum):
    A4 = "a4"
    LETTER = "letter"


class Images(str, Enum):
    MAGNITUDE = "magnitude"
    PSIR = "psir"


Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results; made if needed.")]
Model = Annotated[str, typer.Option(help="Name of a model, or a model folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Spacing = Annotated[
    Optional[str],
    typer.Option(help="DX,DY,DZ in mm (columns, rows, slice distance) for a file that does not state it."),
]
Stack = Annotated[
    Optional[int], typer.Option("--series", help="Number of a stack in 'scarnet series list'; default: the best.")
]
Said = Annotated[
    Optional[Images], typer.Option("--reconstruction", help="What the images are, where tags and image do not tell.")
]
Density = Annotated[float, typer.Option(help="Myocardial density, g/mL.")]
Dicom = Annotated[
    bool,
    typer.Option(
        "--dicom", help="Also write DICOM SEG and SR; they carry the patient's identifiers, as the images do."
    ),
]
Paper = Annotated[PaperSize, typer.Option(help="Of the PDF.")]
RvInsertion = Annotated[
    Optional[str],
    typer.Option(help="X,Y,Z (LPS, mm): anterior insertion of the right ventricle, for the AHA segments."),
]
Remote = Annotated[
    Optional[str],
    typer.Option(help="X,Y,Z (LPS, mm): remote myocardium lies in this direction from the cavity, in every slice."),
]
Folds = Annotated[Optional[str], typer.Option(help="Folds of cases.csv, such as 1,2,3,4. Default: all.")]


def main() -> None:
    """Entry point: turns our errors into one line and an exit code."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        sys.exit(app(arguments, standalone_mode=True))
    except ScarNetError as error:
        if debug:
            raise
        typer.echo(f"scarnet: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("scarnet: stopped; nothing was written.", err=True)
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        logging.getLogger(__name__).debug("failure", exc_info=True)
        typer.echo(
            f"scarnet: internal failure ({type(error).__name__}: {error}); run again with --debug and report it.",
            err=True,
        )
        sys.exit(1)


def _numbers(text: str | None, what: str, count: int) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        raise UsageError(
            f"{what} takes {count} numbers with commas between, such as {','.join(['1.4'] * count)}; got '{text}'."
        )
    return values


def _said(images: Images | None):
    from scarnet.series import Reconstruction

    return None if images is None else Reconstruction(images.value)


def _folds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--folds takes whole numbers with commas between, such as 1,2,3,4; got '{text}'.") from None


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


@app.command()
def segment(
    input: Annotated[
        Path,
        typer.Argument(help="DICOM (a whole study's folder, a file, a DICOMDIR or a zip), .nii(.gz), .nrrd or .mha."),
    ],
    output: Output,
    model: Model = "default",
    device: Device = "auto",
    lv_center: Annotated[Optional[str], typer.Option(help="X,Y,Z (LPS, mm) inside the left ventricle.")] = None,
    spacing: Spacing = None,
    series: Stack = None,
    reconstruction: Said = None,
    density: Density = MYOCARDIAL_DENSITY_G_PER_ML,
    flips: Annotated[
        Optional[bool], typer.Option("--flips/--no-flips", help="Average over in-plane orientations.")
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Leave the HTML page and the PDF out.")] = False,
    paper: Paper = PaperSize.A4,
    dicom: Dicom = False,
    rv_insertion: RvInsertion = None,
    remote: Remote = None,
) -> None:
    """Segment LV myocardium and scar of an LGE short-axis series and write labels and report."""
    center = _numbers(lv_center, "--lv-center", 3)
    report, written = _segment(
        input,
        output,
        model=model,
        device=device,
        center=center,
        spacing=_numbers(spacing, "--spacing", 3),
        stack=series,
        reconstruction=reconstruction,
        density=density,
        flips=flips,
        with_report=not no_report,
        paper=paper.value,
        with_dicom=dicom,
        insertion=_numbers(rv_insertion, "--rv-insertion", 3),
        remote=_numbers(remote, "--remote", 3),
    )
    _print_report(report, written)


def _segment(
    input,
    output,
    *,
    model="default",
    device="auto",
    center=None,
    spacing=None,
    stack=None,
    reconstruction=None,
    density,
    flips=None,
    with_report=True,
    paper="a4",
    with_dicom=False,
    insertion=None,
    remote=None,
):
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from scarnet.export import write_outputs
    from scarnet.export.dicom_source import check_dicom_output
    from scarnet.export.outputs import check_writable
    from scarnet.quantification import QuantificationParameters, quantify
    from scarnet.segmentation import segment as run
    from scarnet.series import read_lge

    parameters = QuantificationParameters(density, insertion, remote)
    check_writable(output)
    series = read_lge(input, spacing_mm=spacing, stack=stack, reconstruction=_said(reconstruction))
    if with_dicom:
        check_dicom_output(series)
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), transient=True) as progress:
        task = progress.add_task("Reading", total=None)
        segmentation = run(
            series,
            model=model,
            device=device,
            lv_center_lps_mm=center,
            test_time_flips=flips,
            on_progress=lambda done, total, text: progress.update(task, completed=done, total=total, description=text),
        )
    report = quantify(series, segmentation.labels, parameters=parameters, segmentation=segmentation)
    return report, write_outputs(
        output,
        series,
        segmentation.labels,
        report,
        segmentation=segmentation,
        with_report=with_report,
        paper=paper,
        with_dicom=with_dicom,
    )


@app.command()
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
    rv_insertion: RvInsertion = None,
    remote: Remote = None,
) -> None:
    """Report a segmentation that was corrected, or drawn, by hand. The segmentation itself is not touched."""
    from scarnet.export import read_segmentation_file, write_outputs
    from scarnet.export.dicom_source import check_dicom_output
    from scarnet.export.outputs import check_writable
    from scarnet.export.run_folder import read_run
    from scarnet.files import sha256_of
    from scarnet.quantification import QuantificationParameters, quantify, summarise_edits
    from scarnet.series import read_lge

    parameters = QuantificationParameters(
        density, _numbers(rv_insertion, "--rv-insertion", 3), _numbers(remote, "--remote", 3)
    )
    check_writable(output)
    series = read_lge(
        volume,
        spacing_mm=_numbers(spacing, "--spacing", 3),
        stack=series_number,
        reconstruction=_said(reconstruction),
    )
    if dicom:
        check_dicom_output(series)
    read = read_segmentation_file(segmentation, series, scar=scar, myocardium=myocardium, resample=resample)
    origins = {name: asdict(origin) for name, origin in read.origins.items()}
    provenance = {"segmentation": {"read_from_file_sha256": sha256_of(segmentation)}, "origins": origins}
    run = read_run(ai, series) if ai else None
    if run is not None:
        provenance["edits"] = summarise_edits(run.labels, read.labels, series.geometry)
    report = quantify(
        series, read.labels, parameters=parameters, segmentation=run, notes=read.notes, provenance=provenance
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


@app.command()
def demo(output: Output = Path("scarnet-demo")) -> None:
    """The whole main job on the shipped sample, a simulated LGE series, beside its known truth."""
    from scarnet.resources import shipped

    sample = shipped("SampleData")
    report, written = _segment(sample / "LGEShortAxis", output, density=MYOCARDIAL_DENSITY_G_PER_ML)
    _print_report(report, written)
    truth = json.loads((sample / "truth.json").read_text(encoding="utf-8"))["truth"]
    typer.echo(
        f"Simulated truth: myocardium {truth['myocardium_volume_ml']:.1f} mL, scar {truth['scar_volume_ml']:.1f} mL, "
        f"{truth['scar_percent_lv']:.1f} % of LV, MVO {truth['mvo_volume_ml']:.1f} mL."
    )


@app.command()
def phantom(
    output: Output,
    seed: Annotated[int, typer.Option(help="Another seed, another noise and outline.")] = 20,
    magnitude: Annotated[
        bool, typer.Option("--magnitude", help="Magnitude instead of phase-sensitive images.")
    ] = False,
    transmurality: Annotated[
        float, typer.Option(help="Of the infarct at its centre, 0 (none) to 1.", min=0, max=1)
    ] = 0.85,
    vendor: Annotated[
        Optional[str],
        typer.Option(help="A whole study as siemens, ge, philips, canon or another export of the zoo has it."),
    ] = None,
) -> None:
    """Simulate an LGE short-axis DICOM series with exactly known truth. The defaults give the shipped sample."""
    from dataclasses import replace

    from scarnet.export.outputs import check_writable
    from scarnet.phantom import HeartParameters, PhantomParameters, ScarParameters, write_sample, write_vendor_sample
    from scarnet.phantom.zoo import named
    from scarnet.series import Reconstruction

    check_writable(output)
    scar = ScarParameters(transmurality=transmurality) if transmurality > 0 else None
    parameters = PhantomParameters(heart=HeartParameters(scar=scar))
    if magnitude:
        parameters = replace(parameters, reconstruction=Reconstruction.MAGNITUDE)
    if vendor is not None:
        made = write_vendor_sample(output, named(vendor), parameters, seed=seed)
    else:
        made = write_sample(output, parameters, seed=seed)
    typer.echo(f"Written to {output}: " + ", ".join(f"{key} {value:.2f}" for key, value in made.truth_ml.items()))


@app.command()
def train(
    data: Annotated[
        Path, typer.Argument(help="Folder of NAME_image.nii.gz, NAME_labels.nii.gz and perhaps cases.csv.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder to write.")],
    preset: Annotated[
        str, typer.Option(help="compact, paper, tiny, or finder for the network that finds the LV.")
    ] = "compact",
    folds: Folds = None,
    epochs: Annotated[int, typer.Option(min=1)] = 32,
    samples_per_epoch: Annotated[int, typer.Option(min=16)] = 2000,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    learning_rate: Annotated[float, typer.Option(min=0)] = 1e-3,
    loss: Annotated[str, typer.Option(help="regions, or paper for the paper's loss.")] = "regions",
    encoder: Annotated[
        Optional[str], typer.Option(help="An added encoder (MedSAM) to start from; paper preset.")
    ] = None,
    cine: Annotated[Optional[Path], typer.Option(help="Folder of cine anatomy: further hearts.")] = None,
    start: Annotated[Optional[str], typer.Option(help="A model of the same preset to go on from.")] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Also draw infarcts into hearts.")] = False,
    seed: int = 1,
    name: Annotated[Optional[str], typer.Option(help="Name on the card; default: the folder's.")] = None,
    model_version: Annotated[str, typer.Option(help="Version on the card.")] = "1",
    licence: Annotated[str, typer.Option(help="Licence of the weights, which the data may dictate.")] = "",
    citation: Annotated[str, typer.Option(help="What users of the weights should cite.")] = "",
    precision: Annotated[
        str, typer.Option(help="As Lightning names it; bf16-mixed is faster where the processor has it.")
    ] = "32-true",
    accelerator: Annotated[str, typer.Option(help="auto, cpu, gpu or mps.")] = "auto",
    devices: Annotated[str, typer.Option(help="auto, or how many.")] = "auto",
) -> None:
    """Train a model. Run the same command again after an interruption: it goes on where it was."""
    from scarnet.export.outputs import check_writable

    check_writable(output)
    try:
        from scarnet.training.loop import RunParameters
        from scarnet.training.train import train_finder, train_scarnet
    except ImportError as error:
        raise UsageError(
            f"Training needs more packages ({error.name} is missing): pip install slicer-scarnet[training]."
        ) from None
    run_parameters = RunParameters(
        epochs=epochs,
        samples_per_epoch=samples_per_epoch,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        precision=precision,
        accelerator=accelerator,
        devices=devices if devices == "auto" else int(devices),
    )
    common = dict(name=name or output.name, folds=_folds(folds), run_parameters=run_parameters, licence=licence)
    common |= dict(version=model_version, citation=citation)
    if preset == "finder":
        folder = train_finder(data, output, cine=cine, **common)
    else:
        folder = train_scarnet(
            data,
            output,
            preset_name=preset,
            loss=loss,
            encoder=encoder,
            start=start,
            cine=cine,
            synthetic=synthetic,
            **common,
        )
    typer.echo(f"Model written to {folder}")


@app.command()
def evaluate(
    data: Annotated[Path, typer.Argument(help="Folder of labelled patients, as for train.")],
    output: Output,
    model: Model = "default",
    folds: Folds = None,
    device: Device = "auto",
    flips: Annotated[
        Optional[bool], typer.Option("--flips/--no-flips", help="Average over in-plane orientations.")
    ] = None,
    stress: Annotated[
        bool,
        typer.Option("--stress", help="Also change the patients as other scanners and archives would: stress.csv."),
    ] = False,
) -> None:
    """Segment labelled patients that the model was not trained on and compare with the experts."""
    from scarnet.evaluation.evaluate import evaluate_model, evaluate_stressed, summarise, summarise_doubt
    from scarnet.export.outputs import check_writable
    from scarnet.export.tables import write_csv
    from scarnet.files import replacing

    check_writable(output)

    def show(row: dict) -> None:
        typer.echo(
            f"{row['case']:12s} myocardium {row['myocardium_dice']:.3f}  scar {row['scar_dice']:.3f}  {row['error']}"
        )

    evaluation = evaluate_model(
        data, model=model, folds=_folds(folds), device=device, test_time_flips=flips, on_case=show
    )
    summary = summarise(evaluation.cases) | {"doubt": summarise_doubt(evaluation.slices)}
    write_csv(output / "cases.csv", evaluation.cases)
    write_csv(output / "slices.csv", evaluation.slices)
    with replacing(output / "summary.json") as part:
        part.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    typer.echo(json.dumps(summary, indent=2))
    if stress:
        rows = evaluate_stressed(data, model=model, folds=_folds(folds), device=device, on_change=typer.echo)
        write_csv(output / "stress.csv", rows)


@app.command("cross-validate")
def cross_validate(
    data: Annotated[Path, typer.Argument(help="Folder of labelled patients with cases.csv, as for train.")],
    output: Output,
    cine: Annotated[Path, typer.Option(help="Folder of cine anatomy that the networks start from.")],
    final: Annotated[
        Optional[Path],
        typer.Option(
            help="Also train models of all patients, into folders NAME and lv-finder in here, with these figures."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the final model.")] = "compact-emidec",
    model_version: Annotated[str, typer.Option(help="Its version.")] = "3",
    licence: Annotated[str, typer.Option(help="Licence of its weights, which the data may dictate.")] = "",
    citation: Annotated[str, typer.Option(help="What users of its weights should cite.")] = "",
    remarks: Annotated[str, typer.Option(help="What else its card should say of the figures.")] = "",
    accelerator: Annotated[str, typer.Option(help="auto, cpu, gpu or mps.")] = "auto",
    precision: Annotated[
        Optional[str], typer.Option(help="32-true where the processor knows no bfloat16; default: the recipe's.")
    ] = None,
) -> None:
    """Judge the recipe of the shipped model on every patient by a model that has not seen it, and make that model.

    What is there already in the output folder is not made again: after an interruption, or with --final added, run the same command again.
    """
    from scarnet.export.outputs import check_writable

    check_writable(output)
    try:
        from scarnet.evaluation import cross_validation as cv
        from scarnet.training.recipe import Recipe, Workshop
    except ImportError as error:
        raise UsageError(
            f"Training needs more packages ({error.name} is missing): pip install slicer-scarnet[training]."
        ) from None
    workshop = Workshop(
        Recipe().on(accelerator, precision), data, cine, output / "models", licence=licence, citation=citation
    )
    predictions = cv.predict_all_folds(workshop, output / "predictions", on_step=typer.echo)
    cases, slices, chosen = cv.judge(predictions)
    summary = cv.write_results(output, cases, slices, chosen)
    typer.echo(json.dumps(summary, indent=2))
    if final is not None:
        finder = workshop.finder(None, final / "lv-finder", version=model_version)
        folder = workshop.segmenter(None, final / name, name=name, version=model_version)
        cv.finish_card(folder, summary, remarks=remarks)
        typer.echo(f"Models written to {folder} and {finder}")


@app.command()
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
    flips: Annotated[
        Optional[bool], typer.Option("--flips/--no-flips", help="Average over in-plane orientations.")
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Leave the HTML pages and the PDFs out.")] = False,
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
    from scarnet.quantification import QuantificationParameters

    QuantificationParameters(density)  # refused now, not once per patient
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


@app.command()
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
        on_step=lambda text: typer.echo(f"{text} …", err=True),
    )
    written = write_benchmark(output, result)
    typer.echo(markdown(result))
    typer.echo(f"Written to {output}: {', '.join(path.name for path in written)}")


@app.command("evaluate-methods")
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
        write_csv(output / "contrast.csv", rows)
        try:
            with replacing(output / "contrast.svg") as part:
                methods.draw_contrast_curve(rows, part)
        except ImportError:
            raise UsageError(
                "contrast.csv is written; its figure needs one more package: pip install matplotlib."
            ) from None
        typer.echo(f"Written to {output}: contrast.csv, contrast.svg")
        return
    rows = methods.evaluate_methods(data, folds=_folds(folds))
    summary = methods.summarise_methods(rows)
    write_csv(output / "cases.csv", rows)
    write_csv(output / "methods.csv", summary)
    with replacing(output / "methods.md") as part:
        part.write_text(methods.as_markdown(summary), encoding="utf-8")
    typer.echo(methods.as_markdown(summary))


@series_app.command("list")
def series_list(
    study: Annotated[Path, typer.Argument(help="A DICOM folder, a file, a DICOMDIR or a zip archive.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """Every stack of a study, the best LGE short axis first, with a verdict and its reason."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from scarnet.series.listing import COLUMNS, summary
    from scarnet.series.study import read_study

    if not study.exists():
        raise UsageError(f"{study} does not exist; give a DICOM folder, a DICOMDIR or a zip archive.")
    found = summary(read_study(study))
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
        return
    console = Console()
    table = Table(box=None, pad_edge=False)
    for title, _ in COLUMNS:
        table.add_column(title, overflow="fold")
    for row in found["stacks"]:
        style = "bold" if row["number"] == found["chosen"] else "" if row["usable"] else "dim"
        table.add_row(*(Text(cell(row)) for _, cell in COLUMNS), style=style)
    console.print(table)
    console.print()
    for row in found["stacks"]:
        console.print(
            f"{row['number']}: {row['reason']}",
            style="" if row["usable"] else "dim",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    for reason, count in found["left_out"].items():
        console.print(f"Left out: {reason}: {count}", style="dim", markup=False, highlight=False)
    if found["chosen"]:
        console.print(f"'scarnet segment' takes stack {found['chosen']}; --series chooses another.", highlight=False)
    else:
        console.print(found["problem"], style="yellow", markup=False, highlight=False, soft_wrap=True)


@models_app.command("list")
def models_list() -> None:
    """Every model that is there, shipped or added."""
    from scarnet.network import list_models

    for card, folder in list_models():
        typer.echo(
            f"{card.name}  version {card.version}  {card.kind} {card.preset}  {card.sha256[:12]}  {card.licence}  {folder}"
        )


@models_app.command("verify")
def models_verify(
    name: Annotated[Optional[str], typer.Argument(help="A name or folder; default: all.")] = None,
) -> None:
    """Check files against the SHA-256 on their card."""
    from scarnet.network import list_models, verify

    folders = [folder for card, folder in list_models() if name in (None, card.name)]
    if name is not None and Path(name).is_dir():
        folders = [Path(name)]
    if not folders:
        raise UsageError(f"No model is called '{name}'; see: scarnet models list.")
    for folder in folders:
        card = verify(folder)
        typer.echo(f"{card.name} {card.version}: {len(card.files)} files are as its card says")


@models_app.command("add")
def models_add(
    source: Annotated[Path, typer.Argument(help="A model folder, or a SAM or MedSAM ViT-B checkpoint (.pth).")],
    sha256: Annotated[Optional[str], typer.Option(help="Expected SHA-256 of a checkpoint.")] = None,
) -> None:
    """Copy a model folder, or MedSAM's image encoder, among your models. Nothing is ever downloaded."""
    from scarnet.network.registry import add_folder

    if source.is_dir():
        typer.echo(f"Added {add_folder(source)}")
        return
    try:
        from scarnet.network.medsam import add_checkpoint
    except ImportError as error:
        raise UsageError(
            f"Checkpoints need PyTorch ({error.name} is missing): pip install slicer-scarnet[training]."
        ) from None
    folder, report = add_checkpoint(source, sha256=sha256)
    typer.echo(f"{report}\nAdded {folder}")


if __name__ == "__main__":
    main()
