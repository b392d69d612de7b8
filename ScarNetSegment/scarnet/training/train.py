"""From a data folder to a model folder."""

import json
import logging
import shutil
import time
import warnings
from dataclasses import asdict, fields, replace
from pathlib import Path

import lightning as L
import torch

import scarnet
from scarnet.conventions import Label
from scarnet.errors import InputError, UsageError
from scarnet.files import replacing, sha256_of
from scarnet.network.build import export_onnx, load_weights, rounded, save_weights
from scarnet.network.config import FinderConfig, ScarNetConfig, preset
from scarnet.network.registry import CARD_NAME, ONNX_NAME, WEIGHTS_NAME, ModelCard, find_model, verify
from scarnet.training.augment import Strength
from scarnet.training.beyond import BEYOND_SHARE
from scarnet.training.data import list_cases, prepare, prepare_cine
from scarnet.training.loop import RunParameters, run
from scarnet.training.losses import LOSSES
from scarnet.training.module import OPTIMIZERS, FinderTraining, ScarNetTraining
from scarnet.training.samples import GRAFT_SHARE, LgeSlices, WholeSlices

#: How far a control point of the bent crop is moved and how far slices are blurred, mm (standard deviations).
BEND_MM, BLUR_MM = 2.25, (0.6, 1.65)
#: Of samples that differ more: how far they are bent, mm, and what else of `Strength` is other.
VARIED_BEND_MM = 3.0
VARIED = {
    "any_turn_share": 0.15,
    "log_scale": (-0.2, 0.25),
    "log_stretch": 0.15,
    "bend_share": 0.5,
    "blur_share": 0.15,
    "coarse_share": 0.15,
    "noise_share": 0.35,
    "field_share": 0.4,
    "field": 1.6,
    "gamma_share": 0.5,
    "log_gamma": 0.5,
    "blood_share": 0.3,
    "blood": 0.6,
}
#: The largest pixel of a scanner, where noise is drawn, and of slices that are acquired coarsely, mm.
MEASURED_MM, COARSE_MM = 1.9, 3.0
CLASS_NAMES = ("background", "blood pool", "myocardium", "scar", "microvascular obstruction")
NORMALISATION = "per slice: clip to percentiles 1 and 99 of the crop inside the image, zero mean, unit variance"
#: How probabilities become labels, unless validation says otherwise (`evaluation.decisions`): what is more likely than not.
#: Regions below 0.5 mL hold 0.6 % of the scar that EMIDEC's experts drew in folds 1 to 4, where no infarct is smaller than 2.5 mL.
DECISION = {"scar_threshold": 0.5, "minimum_scar_ml": 0.5, "test_time_flips": True}
#: LGE patients are this much more often drawn than cine hearts when the finder is trained: contrast is what it must meet.
LGE_REPEATS = 4


def train_scarnet(
    data: Path | None,
    output: Path,
    *,
    name: str,
    version: str = "1",
    preset_name: str = "small",
    folds: list[int] | None = None,
    loss: str = "regions",
    encoder: str | None = None,
    start: str | Path | None = None,
    cine: Path | None = None,
    synthetic: bool = False,
    graft_share: float = GRAFT_SHARE,
    beyond_share: float = BEYOND_SHARE,
    patients: list[str] | None = None,
    changes: dict | None = None,
    turn_degrees: float | None = None,
    noise: float = Strength.noise,
    varied: bool = False,
    mean_with_start: bool = False,
    run_parameters: RunParameters,
    licence: str = "",
    citation: str = "",
    with_onnx: bool = True,
    progress: bool = True,
) -> Path:
    """Train ScarNet on the patients of `folds` (all, unless given) and write a model folder to `output`.

    Without `data` it is trained on cine hearts alone, lit as LGE and with drawn infarcts: a start for patients.
    `encoder`: name of an added encoder (MedSAM) to start from; `start`: a model of the same configuration, but for
    its pixel and input size, to go on from.
    `cine`, `synthetic`, `graft_share`, `beyond_share`: further hearts (of the same folds), drawn and carried infarcts, slices beyond the
    ventricle, see LgeSlices. `patients`: of those, only these; `changes`: fields of the
    preset's configuration that differ, such as switched-off blocks (`use_unet_branch`). `turn_degrees`: hearts are met along patient axes,
    but for turns of this standard deviation; None: in any orientation. `noise`: that is added at most, in standard deviations of
    the crop. `varied`: samples differ more in shape and light (`VARIED`). `mean_with_start`: the weights
    that are written are the mean of `start`'s and those that training ended with. `with_onnx`: also the file that processors run, which
    what is only gone on from does not need. The run's checkpoint lies in `output/run` until the end; calling again with the same arguments goes on from it. Raises InputError or UsageError.
    """
    config = changed(preset(preset_name), changes or {})
    if loss not in LOSSES:
        raise UsageError(f"No loss is called '{loss}'; known are {', '.join(LOSSES)}.")
    if run_parameters.optimizer not in OPTIMIZERS:
        raise UsageError(f"No optimizer is called '{run_parameters.optimizer}'; known are {', '.join(OPTIMIZERS)}.")
    cases = _chosen(data, folds, patients) if data is not None else []
    if not cases and cine is None:
        raise UsageError("Nothing to train on: give labelled patients, or cine anatomy with --cine.")
    started = time.time()
    _settle(run_parameters.seed)
    module = ScarNetTraining(
        config,
        loss,
        learning_rate=run_parameters.learning_rate,
        total_steps=run_parameters.total_steps,
        optimizer=run_parameters.optimizer,
    )
    if encoder is not None:
        _start_from(module.network.encoder_branch.encoder, encoder)
    if mean_with_start and start is None:
        raise UsageError("A mean with the start needs a model to go on from.")
    before = None if start is None else _go_on_from(module.network, start)
    first = {name: value.clone() for name, value in module.network.state_dict().items()} if mean_with_start else {}
    samples = LgeSlices(
        [prepare(case, config.pixel_mm) for case in cases],
        side=config.input_size,
        in_slices=config.in_slices,
        pixel_mm=config.pixel_mm,
        num_classes=config.num_classes,
        seed=run_parameters.seed,
        cine=[] if cine is None else prepare_cine(cine, config.pixel_mm, folds),
        synthetic=synthetic,
        graft_share=graft_share,
        beyond_share=beyond_share if synthetic else 0.0,
        strength=strength_at(config.pixel_mm, turn_degrees, noise, varied=varied),
    )
    state = run(module, samples, Path(output) / "run", run_parameters, progress=progress)
    module.network.load_state_dict(_mean_of(first, state) if mean_with_start else state)
    card = ModelCard(
        name=name,
        version=version,
        kind="scarnet",
        preset=preset_name,
        config=config.to_dict(),
        classes=list(CLASS_NAMES[: config.num_classes]),
        input={
            "pixel_mm": config.pixel_mm,
            "side": config.input_size,
            "in_slices": config.in_slices,
            "normalisation": NORMALISATION,
            "orientation": "any" if turn_degrees is None else "patient",
        },
        decision=dict(DECISION),
        training=_facts(cases, folds, run_parameters, started, module.trainer.global_step)
        | {
            "loss": loss,
            "changes": changes or {},
            "encoder": encoder,
            "started_from": before,
            "cine_volumes": sum(samples.is_cine),
            "synthetic_scar": synthetic,
            "graft_share": graft_share if synthetic else 0.0,
            "turn_degrees": turn_degrees,
            "noise": noise,
            "varied": varied,
            "mean_with_start": mean_with_start,
            "beyond_share": beyond_share if synthetic else 0.0,
        },
        files={},
        licence=licence,
        citation=citation,
    )
    return write_model(
        module.network, card, output, channels=config.in_slices, side=config.input_size, with_onnx=with_onnx
    )


def train_finder(
    data: Path | None,
    output: Path,
    *,
    name: str,
    version: str = "1",
    folds: list[int] | None = None,
    cine: Path | None = None,
    start: str | Path | None = None,
    patients: list[str] | None = None,
    run_parameters: RunParameters,
    licence: str = "",
    citation: str = "",
    with_onnx: bool = True,
    progress: bool = True,
) -> Path:
    """Train the network that finds the LV, on LGE patients, on a folder of cine anatomy, or on both.

    Without patients (`data` None) cine hearts are lit as LGE. `start`: a finder to go on from. `patients`: of the folds' patients, only these.
    `with_onnx`: as for `train_scarnet`.
    """
    config = FinderConfig()
    cases = _chosen(data, folds, patients) if data is not None else []
    if not cases and cine is None:
        raise UsageError("Nothing to train on: give labelled patients, or cine anatomy with --cine.")
    started = time.time()
    _settle(run_parameters.seed)
    hearts = [prepare(case, config.pixel_mm) for case in cases]
    if cine is not None:
        hearts = hearts * LGE_REPEATS + prepare_cine(cine, config.pixel_mm, folds)
    samples = WholeSlices(hearts, pixel_mm=config.pixel_mm, seed=run_parameters.seed, synthetic=not cases)
    module = FinderTraining(config, learning_rate=run_parameters.learning_rate, total_steps=run_parameters.total_steps)
    before = None if start is None else _go_on_from(module.network, start, kind="finder")
    module.network.load_state_dict(run(module, samples, Path(output) / "run", run_parameters, progress=progress))
    card = ModelCard(
        name=name,
        version=version,
        kind="finder",
        config=config.to_dict(),
        classes=["left ventricle"],
        input={"pixel_mm": config.pixel_mm, "normalisation": NORMALISATION.replace("crop", "slice")},
        training=_facts(cases, folds, run_parameters, started, module.trainer.global_step)
        | {
            "cine_volumes": 0 if cine is None else len(hearts) - LGE_REPEATS * len(cases),
            "started_from": before,
        },
        files={},
        licence=licence,
        citation=citation,
    )
    return write_model(
        module.network, card, output, channels=1, side=WholeSlices.SIDE, any_size=True, with_onnx=with_onnx
    )


def write_model(
    network: torch.nn.Module,
    card: ModelCard,
    output: Path,
    *,
    channels: int,
    side: int,
    any_size: bool = False,
    with_onnx: bool = True,
) -> Path:
    """Weights, the ONNX file that reads them, if it is asked for, and last the card with their hashes."""
    output = Path(output)
    network = rounded(network)
    weights = output / WEIGHTS_NAME
    save_weights(network, weights)
    if with_onnx:
        export_onnx(network, output / ONNX_NAME, weights=weights, channels=channels, side=side, any_size=any_size)
    names = (WEIGHTS_NAME, ONNX_NAME) if with_onnx else (WEIGHTS_NAME,)
    card = replace(card, files={name: sha256_of(output / name) for name in names})
    with replacing(output / CARD_NAME) as part:
        part.write_text(card.to_json(), encoding="utf-8")
    shutil.rmtree(output / "run", ignore_errors=True)
    return output


def strength_at(
    pixel_mm: float, turn_degrees: float | None, noise: float = Strength.noise, *, varied: bool = False
) -> Strength:
    """How far samples of this pixel are changed: what a scanner does is the same in mm, however finely its images are resampled."""
    return Strength(
        turn_degrees=turn_degrees,
        bend_pixels=(VARIED_BEND_MM if varied else BEND_MM) / pixel_mm,
        blur_pixels=(BLUR_MM[0] / pixel_mm, BLUR_MM[1] / pixel_mm),
        coarse_pixels=max(COARSE_MM / pixel_mm, 1.0),
        noise=noise,
        grain_pixels=max(MEASURED_MM / pixel_mm, 1.0),
        **(VARIED if varied else {}),
    )


def changed(config: ScarNetConfig, changes: dict) -> ScarNetConfig:
    """`config` with some fields replaced. Raises UsageError naming the known ones, and for an impossible pixel or size."""
    known = [f.name for f in fields(config) if f.name != "encoder"]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise UsageError(f"The network has no '{unknown[0]}' to change; known are {', '.join(known)}.")
    pixel_mm = changes.get("pixel_mm", config.pixel_mm)
    if not isinstance(pixel_mm, int | float) or not pixel_mm > 0:
        raise UsageError(f"pixel_mm is the pixel of the network's crop in mm, a number above 0; got {pixel_mm!r}.")
    side, step = (
        changes.get("input_size", config.input_size),
        max(config.encoder.patch_size, 2 ** len(config.unet_channels)),
    )
    if not isinstance(side, int) or side < step or side % step:
        raise UsageError(f"input_size is the side of the network's crop in pixels, a multiple of {step}; got {side!r}.")
    return replace(config, **{name: tuple(v) if isinstance(v, list) else v for name, v in changes.items()})


def _chosen(data: Path, folds: list[int] | None, patients: list[str] | None = None):
    cases = list_cases(data)
    known = sorted({case.fold for case in cases})
    if folds is not None and not set(folds) <= set(known):
        raise UsageError(f"Folds {sorted(set(folds) - set(known))} do not exist; the data has {known}.")
    chosen = [case for case in cases if folds is None or case.fold in folds]
    if patients is not None:
        unknown = sorted(set(patients) - {case.name for case in chosen})
        if unknown:
            raise UsageError(f"{unknown[0]} is not among the patients to train on.")
        chosen = [case for case in chosen if case.name in set(patients)]
    if not chosen:
        raise InputError("No patient is left to train on.")
    return chosen


def _settle(seed: int) -> None:
    """Seeds, and quiet from libraries that would advertise."""
    for logger in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    L.seed_everything(seed)


def _start_from(encoder: torch.nn.Module, name: str) -> None:
    from scarnet.network.encoder import load_medsam_encoder

    load_medsam_encoder(encoder, find_model(name, kind="encoder") / WEIGHTS_NAME)


def _go_on_from(network: torch.nn.Module, start: str | Path, *, kind: str = "scarnet") -> dict:
    """Fill `network` from a model; what is known of that model's own training. Raises ModelError unless all fits."""
    folder = find_model(start, kind=kind)
    card = verify(folder)
    load_weights(network, folder / WEIGHTS_NAME)
    return {"name": card.name, "version": card.version, "sha256": card.sha256, "training": card.training}


def _mean_of(first: dict, last: dict) -> dict:
    """Of two states, counters as in the last: on a way between them a network is as good, and less bound to either run's samples."""
    return {name: (first[name] + v) / 2 if v.is_floating_point() else v for name, v in last.items()}


def _facts(cases, folds, run_parameters: RunParameters, started: float, steps: int) -> dict:
    return {
        "patients": len(cases),
        "folds": folds if folds is not None else "all",
        "cases": [case.name for case in cases],
        "run": json.loads(json.dumps(asdict(run_parameters))),
        "image_steps": steps * run_parameters.batch_size,
        "minutes_of_last_run": round((time.time() - started) / 60, 1),
        "software": {"scarnet": scarnet.__version__, "torch": torch.__version__},
        "labels": {label.name: int(label) for label in Label},
    }
