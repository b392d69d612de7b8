"""Making models: `scarnet train` and `scarnet cross-validate`."""

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from scarnet.cli.options import (
    Accelerator,
    Citation,
    Folds,
    Licence,
    ModelVersion,
    Output,
    Precision,
    fold_numbers,
    plain_name,
)
from scarnet.errors import UsageError

#: Learning rates and turns of `scarnet train`, unless given: those of the shipped recipe.
RATES, TURN_DEGREES = {"adamw": 1e-3, "muon": 0.02}, 20.0


def train(
    data: Annotated[
        Path, typer.Argument(help="Folder of NAME_image.nii.gz, NAME_labels.nii.gz and perhaps cases.csv.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder to write.")],
    preset: Annotated[
        str,
        typer.Option(
            help="small (what ships), compact, paper, tiny; finder for the network that finds the LV; medsam, medsam-small; "
            "nnunet-2d, nnunet-3d_fullres."
        ),
    ] = "small",
    folds: Folds = None,
    epochs: Annotated[int, typer.Option(min=1)] = 20,
    minutes: Annotated[
        Optional[float], typer.Option(min=0.01, help="Train for so long by the clock, whatever --epochs says.")
    ] = None,
    samples_per_epoch: Annotated[int, typer.Option(min=16)] = 2000,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    optimizer: Annotated[
        Optional[str], typer.Option(help="adamw or muon. Default: muon for small, compact and tiny, else adamw.")
    ] = None,
    learning_rate: Annotated[Optional[float], typer.Option(min=0, help="Default: 0.001, for muon 0.02.")] = None,
    turn_degrees: Annotated[
        Optional[float],
        typer.Option(min=0, help="Hearts lie along patient axes but for turns of this spread. Default: 20."),
    ] = None,
    any_orientation: Annotated[
        bool, typer.Option("--any-orientation", help="Meet hearts turned and mirrored at will instead.")
    ] = False,
    loss: Annotated[str, typer.Option(help="regions, or paper for the paper's loss.")] = "regions",
    encoder: Annotated[
        Optional[str], typer.Option(help="An added encoder (MedSAM) to start from; paper preset.")
    ] = None,
    cine: Annotated[Optional[Path], typer.Option(help="Folder of cine anatomy: further hearts.")] = None,
    start: Annotated[
        Optional[str],
        typer.Option(help="A model of the same preset to go on from; for medsam the published checkpoint."),
    ] = None,
    tune: Annotated[str, typer.Option(help="What of MedSAM is trained: decoder or full.")] = "full",
    synthetic: Annotated[
        bool,
        typer.Option("--synthetic", help="Also draw infarcts into hearts, and carry them from patient to patient."),
    ] = False,
    graft_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="With --synthetic: share of scar-free samples given another patient's scar."),
    ] = 0.4,
    beyond_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="With --synthetic: share of samples that lie beyond the ventricle's ends."),
    ] = 0.09,
    varied: Annotated[bool, typer.Option("--varied", help="Samples differ more in shape, light and blood.")] = False,
    noise: Annotated[
        float, typer.Option(min=0, help="Noise added to samples at most, in standard deviations of the crop.")
    ] = 0.35,
    pixel_mm: Annotated[
        Optional[float], typer.Option(help="Pixel of the network's crop, mm. Default: the preset's.")
    ] = None,
    input_size: Annotated[Optional[int], typer.Option(help="Pixels a side of the crop. Default: the preset's.")] = None,
    seed: int = 1,
    name: Annotated[Optional[str], typer.Option(help="Name on the card; default: the folder's.")] = None,
    model_version: ModelVersion = "1",
    licence: Licence = "",
    citation: Citation = "",
    precision: Precision = "32-true",
    accelerator: Accelerator = "auto",
    devices: Annotated[str, typer.Option(help="auto, or how many.")] = "auto",
) -> None:
    """Train a model. Run the same command again after an interruption: it goes on where it was."""
    from scarnet.export.outputs import check_writable

    check_writable(output)
    if preset.startswith("nnunet-"):
        _train_nnunet(data, output, preset.removeprefix("nnunet-"), fold_numbers(folds), minutes, seed, accelerator)
        return
    try:
        from scarnet.training.loop import RunParameters
        from scarnet.training.train import train_finder, train_scarnet
    except ImportError as error:
        raise _packages_missing(error) from None
    plain = preset in ("paper", "finder") or preset.startswith("medsam")
    optimizer = optimizer or ("adamw" if plain else "muon")
    if any_orientation and turn_degrees is not None:
        raise UsageError("--any-orientation and --turn-degrees exclude each other.")
    run_parameters = RunParameters(
        optimizer=optimizer,
        epochs=epochs,
        samples_per_epoch=samples_per_epoch,
        batch_size=batch_size,
        learning_rate=RATES.get(optimizer, 1e-3) if learning_rate is None else learning_rate,
        seed=seed,
        precision=precision,
        accelerator=accelerator,
        devices=_device_count(devices),
        minutes=minutes,
    )
    common = dict(
        name=plain_name(name or output.resolve().name),
        folds=fold_numbers(folds),
        run_parameters=run_parameters,
        licence=licence,
    )
    common |= dict(version=model_version, citation=citation)
    if preset == "finder":
        folder = train_finder(data, output, cine=cine, **common)
    elif preset.startswith("medsam"):
        from scarnet.peers.medsam_training import train_medsam

        folder = train_medsam(data, output, preset_name=preset, tune=tune, checkpoint=start and Path(start), **common)
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
            graft_share=graft_share,
            beyond_share=beyond_share,
            varied=varied,
            noise=noise,
            changes={k: v for k, v in (("pixel_mm", pixel_mm), ("input_size", input_size)) if v is not None},
            turn_degrees=None if any_orientation else (TURN_DEGREES if turn_degrees is None else turn_degrees),
            **common,
        )
    typer.echo(f"Model written to {folder}")


def _device_count(text: str) -> int | str:
    if text == "auto":
        return text
    if not (text.isascii() and text.isdigit() and int(text)):
        raise UsageError(f"--devices takes auto or a whole number above 0; got '{text}'.")
    return int(text)


def _train_nnunet(data: Path, output: Path, configuration: str, folds, minutes, seed: int, accelerator: str) -> None:
    from scarnet.peers.nnunet import train_nnunet
    from scarnet.training.data import list_cases

    devices = {"auto": "auto", "cpu": "cpu", "gpu": "cuda", "mps": "mps"}
    if accelerator not in devices:
        raise UsageError(f"No accelerator is called '{accelerator}'; known are {', '.join(devices)}.")
    cases = [case for case in list_cases(data) if folds is None or case.fold in folds]
    device = devices[accelerator]
    folder = train_nnunet(cases, output, configuration=configuration, minutes=minutes, seed=seed, device=device)
    typer.echo(f"nnU-Net written to {folder}")


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
    model_version: ModelVersion = "3",
    licence: Licence = "",
    citation: Citation = "",
    remarks: Annotated[str, typer.Option(help="What else its card should say of the figures.")] = "",
    accelerator: Accelerator = "auto",
    precision: Precision = None,
) -> None:
    """Judge the recipe of the shipped model on every patient by a model that has not seen it, and make that model.

    What is there already in the output folder is not made again: after an interruption, or with --final added, run the same command again.
    """
    from scarnet.export.outputs import check_writable

    check_writable(output)
    plain_name(name)
    try:
        from scarnet.evaluation import cross_validation as cv
        from scarnet.evaluation.gallery import write_gallery
        from scarnet.training.data import list_cases
        from scarnet.training.recipe import Recipe, Workshop
    except ImportError as error:
        raise _packages_missing(error) from None
    workshop = Workshop(
        Recipe().on(accelerator, precision), data, cine, output / "models", licence=licence, citation=citation
    )
    predictions = cv.predict_all_folds(workshop, output / "predictions", on_step=typer.echo)
    cases, slices, chosen = cv.judge(predictions)
    ends = cv.look_beyond_all_folds(workshop, output / "ends", on_step=typer.echo)
    summary = cv.write_results(output, cases, slices, ends, chosen)
    typer.echo(json.dumps(summary, indent=2))
    decisions = {int(fold): choice["decision"] for fold, choice in chosen["without_fold"].items()}
    try:
        write_gallery(output / "gallery", list_cases(data), predictions, cases, decisions)
    except UsageError as problem:
        typer.echo(str(problem), err=True)
    if final is not None:
        finder = workshop.finder(None, final / "lv-finder", version=model_version)
        folder = workshop.segmenter(None, final / name, name=name, version=model_version)
        cv.finish_card(folder, summary, remarks=remarks)
        typer.echo(f"Models written to {folder} and {finder}")


def _packages_missing(error: ImportError) -> UsageError:
    return UsageError(f"Training needs more packages ({error.name} is missing): pip install slicer-scarnet[training].")
