"""nnU-Net v2 (Isensee et al., Nat Methods 2021) through its own package: data set, plan, training, prediction."""

import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

import scarnet
from scarnet.conventions import Label
from scarnet.errors import InputError, ModelError, UsageError
from scarnet.export import write_label_map
from scarnet.export.segmentation_file import write_volume
from scarnet.files import replacing, sha256_of
from scarnet.peers.back_end import BackEnd, Request
from scarnet.peers.finish import finished
from scarnet.peers.nnunet_environment import NnUNet, find_nnunet
from scarnet.segmentation import ScarSegmentation
from scarnet.segments import match_name
from scarnet.series import LgeSeries, StackGeometry, read_label_map
from scarnet.training.data import CaseFile, read_case

DATASET_ID, DATASET = 501, "Dataset501_LGE"
LABELS = {"background": 0, "blood pool": 1, "healthy myocardium": 2, "scar": 3, "microvascular obstruction": 4}
#: Beside nnU-Net's own files in a model folder: what it was trained on, how and with what.
FACTS_NAME = "scarnet.json"
CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth", "checkpoint_latest.pth")
#: Names that other people's data sets give to the structures, beyond those that segments of Slicer's go by (`match_name`).
SYNONYMS = {
    Label.BLOOD_POOL: {"lv", "leftventricle", "endocardium"},
    Label.MYOCARDIUM: {"healthymyocardium", "normalmyocardium", "remotemyocardium"},
    Label.SCAR: {"mi", "fibrosis"},
    Label.MVO: {"pmo"},
}


# --- data set and training ----------------------------------------------------------------------------------------


def export_dataset(cases: list[CaseFile], raw: Path) -> Path:
    """Patients as a data set of nnU-Net's in `raw`: images and labels on their own grids, with the spacing that `cases.csv` states.

    Written whole or not at all; found again when it is there.
    """
    folder = Path(raw) / DATASET
    if (folder / "dataset.json").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for case in cases:
        series, labels = read_case(case)
        write_volume(folder / "imagesTr" / f"{case.name}_0000.nii.gz", series.image, series.geometry)
        write_label_map(folder / "labelsTr" / f"{case.name}.nii.gz", labels, series.geometry)
    description = {
        "channel_names": {"0": "LGE"},
        "labels": LABELS,
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    with replacing(folder / "dataset.json") as part:
        part.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return folder


def train_nnunet(
    cases: list[CaseFile],
    output: Path,
    *,
    configuration: str = "2d",
    trainer: str = "nnUNetTrainer",
    minutes: float | None = None,
    clock: str = "wall",
    batch_size: int | None = None,
    patch_pixels: int | None = None,
    features: int | None = None,
    seed: int = 1,
    device: str = "auto",
) -> Path:
    """Export, plan, preprocess and train with nnU-Net's own commands on all of `cases`; the model folder is `output`.

    `minutes`: for that long by the `clock` (as in training.loop; `nnunet_trainers/minutes.py`, in which nnU-Net's rate follows the time) in place of
    `trainer` and its number of epochs. `batch_size`, `patch_pixels` (side of a square patch), `features` (of the first stage; doubled at
    each further one, up to eight times as many): in place of the plan's, which is made for a GPU of 8 GB. Everything lies in
    `output/run` until the end; the same call goes on there. Raises UsageError where nnU-Net is absent.
    """
    output, run = Path(output), Path(output) / "run"
    if trained_folder(output) and (output / FACTS_NAME).is_file():
        return output
    if not cases:
        raise UsageError("No patient is left to train on.")
    nnunet = find_nnunet()
    device = nnunet.device(device)
    trainer = "nnUNetTrainerMinutes" if minutes is not None else trainer
    started = time.time()
    log = run / "log.txt"
    export_dataset(cases, run / "raw")
    changes = {"batch_size": batch_size, "patch_size": patch_pixels and [patch_pixels] * 2, "features": features}
    _plan(nnunet, configuration, {key: value for key, value in changes.items() if value is not None}, run, log)
    # Augmentation in the same process when time is counted: every rival has the same processors.
    settings = {} if minutes is None else {"nnUNet_n_proc_DA": "0"}
    settings |= {"SCARNET_SEED": str(seed)} | (
        {} if minutes is None else {"SCARNET_MINUTES": repr(float(minutes)), "SCARNET_CLOCK": clock}
    )
    command = ["nnUNetv2_train", str(DATASET_ID), configuration, "all", "-tr", trainer, "-device", device, "--c"]
    nnunet.run(command, run, log, settings=settings)
    result = run / "results" / DATASET / f"{trainer}__nnUNetPlans__{configuration}"
    spent = result / "fold_all" / "minutes.json"
    plan = json.loads((result / "plans.json").read_text(encoding="utf-8"))["configurations"][configuration]
    facts = {
        "trained_by": f"scarnet {scarnet.__version__}",
        "software": dict(zip(("nnunetv2", "torch"), nnunet.version().split(), strict=True)),
        "configuration": configuration,
        "trainer": trainer,
        "minutes": minutes,
        "clock": clock,
        "spent": json.loads(spent.read_text(encoding="utf-8")) if spent.is_file() else None,
        "batch_size": plan["batch_size"],
        "patch_size": plan["patch_size"],
        "features_per_stage": plan["architecture"]["arch_kwargs"]["features_per_stage"],
        "seed": seed,
        "device": device,
        "minutes_of_last_run": round((time.time() - started) / 60, 1),
        "cases": [case.name for case in cases],
    }
    for item in result.iterdir():
        target = output / item.name
        shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(missing_ok=True)
        shutil.move(str(item), target)
    shutil.copyfile(log, output / "log.txt")
    with replacing(output / FACTS_NAME) as part:
        part.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(run, ignore_errors=True)
    return output


def _plan(nnunet: NnUNet, configuration: str, changes: dict, run: Path, log: Path) -> None:
    done = run / "planned"
    if done.is_file():
        return
    command = ["nnUNetv2_plan_and_preprocess", "-d", str(DATASET_ID), "-c", configuration]
    nnunet.run([*command, "--verify_dataset_integrity", "-npfp", "1", "-np", "1", "--no_pbar"], run, log)
    if changes:
        path = run / "preprocessed" / DATASET / "nnUNetPlans.json"
        plans = json.loads(path.read_text(encoding="utf-8"))
        plan = plans["configurations"][configuration]
        features = changes.pop("features", None)
        plan.update(changes)
        if features is not None:
            widths = plan["architecture"]["arch_kwargs"]["features_per_stage"]
            plan["architecture"]["arch_kwargs"]["features_per_stage"] = [
                min(features * 2**stage, 8 * features) for stage in range(len(widths))
            ]
        with replacing(path) as part:
            part.write_text(json.dumps(plans, indent=4), encoding="utf-8")
    done.touch()


# --- prediction ---------------------------------------------------------------------------------------------------


def trained_folder(path: Path) -> Path | None:
    """The folder with plans.json, dataset.json and `fold_*` that `path` is, or holds as its only one; None where there is none."""
    path = Path(path)
    if _is_trained(path):
        return path
    inside = [found.parent for found in path.glob("*/plans.json") if _is_trained(found.parent)]
    inside += [found.parent for found in path.glob("*/*/plans.json") if _is_trained(found.parent)]
    if len(inside) > 1:
        raise UsageError(
            f"{path} holds {len(inside)} nnU-Nets ({', '.join(sorted(i.name for i in inside))}); give the folder of one."
        )
    return inside[0] if inside else None


def _is_trained(path: Path) -> bool:
    return (path / "plans.json").is_file() and (path / "dataset.json").is_file() and bool(_folds(path))


def _folds(path: Path) -> list[tuple[str, str]]:
    """Fold and checkpoint name of every trained fold."""
    found = []
    for folder in sorted(path.glob("fold_*")):
        name = next((name for name in CHECKPOINTS if (folder / name).is_file()), None)
        if name is not None:
            found.append((folder.name.removeprefix("fold_"), name))
    return found


def label_map_of(description: dict) -> tuple[dict[int, Label], list[str]]:
    """Of an nnU-Net's dataset.json: its values to ours, and the names of labels that are nothing to us.

    Region-based models write `regions_class_order`'s value for a region. Raises ModelError where none is myocardium.
    """
    values: dict[int, Label] = {}
    unknown = []
    named = [(name, value) for name, value in description["labels"].items() if name not in ("background", "ignore")]
    order = description.get("regions_class_order")
    for place, (name, value) in enumerate(named):
        value = order[place] if order else value
        label = _label_of(name)
        if label is None:
            unknown.append(name)
        elif isinstance(value, int):
            values[value] = label
    if Label.MYOCARDIUM not in values.values():
        names = ", ".join(name for name, _ in named)
        raise ModelError(f"This nnU-Net's labels ({names}) hold no myocardium by any name known here.")
    return values, unknown


def _label_of(name: str) -> Label | None:
    plain = "".join(character for character in name.lower() if character.isalnum())
    for label, synonyms in SYNONYMS.items():
        if plain in synonyms:
            return label
    definition = match_name(name)
    if definition is None:
        return None
    by_id = {"LVBloodPool": Label.BLOOD_POOL, "LVMyocardium": Label.MYOCARDIUM, "Scar": Label.SCAR, "MVO": Label.MVO}
    return by_id.get(definition.segment_id)


def nnunet_model(folder: Path, *, device: str = "auto") -> BackEnd:
    """A trained nnU-Net of anybody's. Raises UsageError where the package is absent, ModelError where the model does not fit."""
    folder = Path(folder)
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    channels = description.get("channel_names") or description.get("modality") or {}
    if len(channels) != 1:
        raise ModelError(
            f"{folder.name} wants {len(channels)} images a patient ({', '.join(channels.values())}); LGE is one."
        )
    values, unknown = label_map_of(description)
    nnunet = find_nnunet()
    folds = _folds(folder)
    for fold, name in folds:
        nnunet.check_checkpoint(folder / f"fold_{fold}" / name)
    facts_file = folder / FACTS_NAME
    facts = json.loads(facts_file.read_text(encoding="utf-8")) if facts_file.is_file() else None
    name = folder.name if facts is None else "nnU-Net"
    fold, checkpoint = folds[0]
    model = {
        "name": name,
        "version": "",
        "sha256": sha256_of(folder / f"fold_{fold}" / checkpoint),
        "runtime": f"nnunetv2 {nnunet.version().split()[0]}",
    }
    warnings = (
        (f"Labels of this model that have no place here were left out: {', '.join(unknown)}.",) if unknown else ()
    )

    def many(stacks: dict[str, LgeSeries]) -> dict[str, np.ndarray]:
        found = _predict(nnunet, folder, folds, description, stacks, nnunet.device(device))
        return {name: _ours(labels, values) for name, labels in found.items()}

    def segment(request: Request, *, on_progress=None, is_cancelled=None) -> ScarSegmentation:
        if on_progress is not None:
            on_progress(0, 1, "nnU-Net is at work")
        labels = many({"lge": request.series})["lge"]
        parameters = {
            "folds": [f for f, _ in folds],
            "checkpoint": checkpoint,
            "configuration": facts and facts["configuration"],
        }
        return finished(request.series, labels, model=model, parameters=parameters, warnings=warnings)

    remark = ""
    if facts is not None and facts["minutes"] is not None:
        steps = (facts["spent"] or {}).get("steps")
        remark = f"nnU-Net {facts['configuration']}, {facts['minutes']:g} minutes of training, {steps} steps of {facts['batch_size']}"
    return BackEnd(
        name, "nnunet", segment, None if facts is None else frozenset(facts["cases"]), remark, segment_many=many
    )


def _ours(labels: np.ndarray, values: dict[int, Label]) -> np.ndarray:
    result = np.zeros(labels.shape, np.uint8)
    for theirs, ours in values.items():
        result[labels == theirs] = ours
    return result


def _predict(
    nnunet: NnUNet,
    folder: Path,
    folds: list[tuple[str, str]],
    description: dict,
    stacks: dict[str, LgeSeries],
    device: str,
) -> dict[str, np.ndarray]:
    """Its own values for every stack, in one call of its command. Numbers, not names, go into its folders."""
    ending = description.get("file_ending", ".nii.gz")
    if ending not in (".nii.gz", ".nrrd", ".mha"):
        raise ModelError(f"This nnU-Net was trained on {ending} files, which no LGE stack comes in.")
    checkpoint = folds[0][1]
    with tempfile.TemporaryDirectory(prefix="scarnet-nnunet-") as place:
        work = Path(place)
        (work / "in").mkdir()
        numbers = {f"case{n:04d}": name for n, name in enumerate(stacks)}
        for number, name in numbers.items():
            write_volume(work / "in" / f"{number}_0000{ending}", stacks[name].image, stacks[name].geometry)
        command = [
            "nnUNetv2_predict_from_modelfolder",
            "-i",
            str(work / "in"),
            "-o",
            str(work / "out"),
            "-m",
            str(folder),
        ]
        command += ["-f", *(fold for fold, name in folds if name == checkpoint), "-chk", checkpoint, "-device", device]
        nnunet.run([*command, "-npp", "1", "-nps", "1", "--disable_progress_bar"], work, work / "log.txt")
        found = {}
        for number, name in numbers.items():
            labels, geometry = read_label_map(work / "out" / f"{number}{ending}")
            found[name] = _same_grid(labels, geometry, stacks[name].geometry)
    return found


def _same_grid(labels: np.ndarray, geometry: StackGeometry, wanted: StackGeometry) -> np.ndarray:
    if labels.shape != wanted.shape:
        raise InputError(f"nnU-Net gave labels of shape {labels.shape} for an image of {wanted.shape}.")
    return labels
