"""Running a study: a queue of trainings and predictions of which each leaves files behind, so that the same command goes on where it ended.

OUT/models/MODEL/SPLIT/                     a model folder, once its training is done (`run` in it before)
OUT/predictions/MODEL/SPLIT/CONDITION/      CASE.nii.gz for every patient; CASE.error.txt beside one in whom nothing was found
OUT/predictions/MODEL/facts.json            what is known of the model: kind, remark, training
OUT/*.csv, *.md, *.tex, summary.json, figures/, README.md
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scarnet.conventions import Label
from scarnet.errors import InputError, ScarNetError, UsageError
from scarnet.evaluation.benchmark import in_own_process
from scarnet.evaluation.folders import label_maps, on_grid, read_labels
from scarnet.evaluation.judge import Judged, judge
from scarnet.evaluation.noise import generator_of, with_noise
from scarnet.evaluation.results import write_json, write_text
from scarnet.evaluation.study_config import ModelPlan, Study
from scarnet.export import write_label_map
from scarnet.network import find_model, read_card
from scarnet.network.registry import CARD_NAME
from scarnet.network.runtime import THREADS_VARIABLE
from scarnet.peers.back_end import BackEnd, Request, back_end, patients_seen
from scarnet.series import LgeSeries
from scarnet.training.data import CaseFile, list_cases, read_case

#: Stacks given to a peer at once where it takes many: one start of its program, and a killed run loses no more.
TOGETHER = 32
#: Samples between two checkpoints of a timed training: minutes on one processor, whatever the network.
TIMED_SAMPLES = 320

OnStep = Callable[[str], None]


@dataclass(frozen=True)
class Split:
    """Who is trained on and who is judged. `base`: the judged patients' own name, shared by all sizes of a learning curve."""

    name: str
    base: str
    train: tuple[CaseFile, ...]
    test: tuple[CaseFile, ...]
    size: int = 0
    draw: int = 0


@dataclass(frozen=True)
class Condition:
    """What is done to the images before they are segmented: nothing, or noise."""

    kind: str = ""
    level: float = 0.0
    draw: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.level:g}-draw{self.draw}" if self.kind else "clean"


def splits_of(study: Study) -> list[Split]:
    """No patient is on both sides of one. Raises InputError, UsageError."""
    cases = list_cases(study.data)
    known = {case.fold for case in cases}
    if study.folds is not None and not set(study.folds) <= known:
        raise UsageError(f"Folds {sorted(set(study.folds) - known)} do not exist; the data has {sorted(known)}.")
    if study.train_data is not None:
        train = [c for c in list_cases(study.train_data) if study.train_folds is None or c.fold in study.train_folds]
        test = [c for c in cases if study.folds is None or c.fold in study.folds]
        same = {c.name for c in train} & {c.name for c in test}
        if same and Path(study.train_data).resolve() == Path(study.data).resolve():
            raise UsageError(f"{min(same)} would be trained on and judged: name other train_folds or folds.")
        base = [Split("all", "all", tuple(train), tuple(test))]
    elif study.folds is None:
        base = [Split("all", "all", (), tuple(cases))]
    else:
        base = []
        for fold in study.folds:
            train, test = ([c for c in cases if (c.fold == fold) == judged] for judged in (False, True))
            base.append(Split(f"fold{fold}", f"fold{fold}", tuple(train), tuple(test)))
    base = [replace(split, test=split.test[: study.limit]) for split in base]
    if study.kind != "learning-curve":
        return base
    return [
        replace(
            split,
            name=f"{split.base}-n{size}-draw{draw}",
            train=drawn(split.train, size, study.seed + draw),
            size=size,
            draw=draw,
        )
        for split in base
        for size in study.sizes
        for draw in range(study.draws)
    ]


def drawn(cases: tuple[CaseFile, ...], size: int, seed: int) -> tuple[CaseFile, ...]:
    """`size` patients by chance, in each group's share; a larger draw of the same seed holds the smaller one. Raises UsageError."""
    if size > len(cases):
        raise UsageError(f"A size of {size} is more than the {len(cases)} patients there are to train on.")
    order = np.random.default_rng(seed).permutation(len(cases))
    place: dict[str, int] = {}
    counts = {group: sum(case.group == group for case in cases) for group in {case.group for case in cases}}
    ranked = []
    for n in order:
        group = cases[n].group
        place[group] = place.get(group, 0) + 1
        ranked.append(((place[group] - 0.5) / counts[group], group, n))
    return tuple(cases[n] for _, _, n in sorted(ranked)[:size])


def conditions_of(study: Study) -> list[Condition]:
    if study.kind != "noise":
        return [Condition()]
    noisy = [Condition(k, level, d) for k in study.noises for level in study.levels for d in range(study.draws)]
    return [Condition(), *noisy]


@dataclass(frozen=True)
class Training:
    """One entry of the queue: a model without the patients of a split."""

    plan: ModelPlan
    split: Split
    folder: Path

    @property
    def done(self) -> bool:
        return (self.folder / CARD_NAME).is_file() or (self.folder / "scarnet.json").is_file()

    @property
    def name(self) -> str:
        return f"train {self.plan.name}/{self.split.name} on {len(self.split.train)} patients"


def trainings_of(study: Study, output: Path) -> list[Training]:
    return [
        Training(plan, split, Path(output) / "models" / plan.name / split.name)
        for split in splits_of(study)
        for plan in study.models
        if plan.trainer
    ]


def run_study(
    study: Study, output: Path, *, only: list[str] | None = None, on_step: OnStep = lambda text: None
) -> dict[str, str]:
    """Train and predict what is missing. Returns the models that could not be run, with the reason in one line.

    `only`: names of models; the others are left as they are (so that several processes can share a queue). Raises InputError where
    the data cannot be used.
    """
    output, skipped = Path(output), {}
    plans = _ordered([plan for plan in study.models if only is None or plan.name in only])
    unknown = sorted(set(only or ()) - {plan.name for plan in study.models})
    if unknown:
        raise UsageError(f"The study has no model '{unknown[0]}'; it has: {', '.join(p.name for p in study.models)}.")
    splits = splits_of(study)
    with _threads(study.threads):
        for plan in plans:
            try:
                for split in splits if plan.trainer else bases_of(splits):
                    folder = output / "models" / plan.name / split.name
                    training = Training(plan, split, folder)
                    if plan.trainer and not training.done:
                        on_step(training.name)
                        in_own_process(train_one, plan, _train_folder(study), [c.name for c in split.train], folder)
                    missing = [c for c in conditions_of(study) if _missing(output, plan, split, c)]
                    if missing:
                        on_step(
                            f"predict {plan.name}/{split.name}: {len(split.test)} patients, {len(missing)} conditions"
                        )
                        finder = _finder(study, split, output, on_step) if _finds_ventricle(plan) else "default"
                        in_own_process(
                            predict_split, study, plan, split, missing, output, folder if plan.trainer else None, finder
                        )
            except (UsageError, InputError, ScarNetError) as error:
                skipped[plan.name] = str(error)
                on_step(f"{plan.name} is left out: {error}")
    return skipped


def bases_of(splits: list[Split]) -> list[Split]:
    """One split for each set of judged patients, for what is not trained on any of them."""
    last = {split.base: split for split in splits}
    return [replace(split, name=split.base, size=0, draw=0) for split in last.values()]


def _ordered(plans: list[ModelPlan]) -> list[ModelPlan]:
    """Models whose muscle another model draws come after it."""
    return sorted(plans, key=lambda plan: plan.model.startswith("threshold:") and plan.myocardium != "expert")


def _finds_ventricle(plan: ModelPlan) -> bool:
    return plan.trainer in ("scarnet", "medsam") or not (
        plan.trainer or plan.model.startswith(("threshold:", "labels:")) or plan.model == "myopari"
    )


def _train_folder(study: Study) -> Path:
    return study.train_data or study.data


class _threads:
    """Processors of the processes that are started inside: the same for every rival."""

    def __init__(self, count: int):
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", THREADS_VARIABLE)
        self.wanted = dict.fromkeys(names, str(count))

    def __enter__(self):
        self.before = {name: os.environ.get(name) for name in self.wanted}
        os.environ.update(self.wanted)

    def __exit__(self, *error):
        for name, value in self.before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# --- training -----------------------------------------------------------------------------------------------------


def train_one(plan: ModelPlan, data: Path, patients: list[str], folder: Path) -> Path:
    """Train one model on these patients of `data` alone. Raises UsageError where a package is missing."""
    options = dict(plan.options)
    if plan.trainer == "nnunet":
        from scarnet.peers.nnunet import train_nnunet

        wanted = set(patients)
        cases = [case for case in list_cases(data) if case.name in wanted]
        trainer = {"trainer": options.pop("trainer_class")} if "trainer_class" in options else {}
        device = {"cpu": "cpu", "gpu": "cuda"}.get(options.pop("accelerator", ""), "auto")
        return train_nnunet(
            cases, folder, minutes=plan.minutes, clock=plan.clock, seed=plan.seed, device=device, **trainer, **options
        )
    try:
        from scarnet.training.loop import RunParameters
        from scarnet.training.train import train_scarnet
    except ImportError as error:
        raise UsageError(
            f"Training needs more packages ({error.name} is missing): pip install slicer-scarnet[training]."
        ) from None
    run = {key: options.pop(key) for key in list(options) if key in RunParameters.__dataclass_fields__}
    if plan.minutes is not None:
        run = {"epochs": 1, "samples_per_epoch": TIMED_SAMPLES} | run
    parameters = RunParameters(**run, minutes=plan.minutes, clock=plan.clock, seed=plan.seed)
    common = {"name": plan.name, "patients": patients, "run_parameters": parameters, "progress": False}
    if plan.trainer == "medsam":
        from scarnet.peers.medsam_training import train_medsam

        checkpoint = options.pop("checkpoint", None)
        preset = {"preset_name": options.pop("preset")} if "preset" in options else {}
        return train_medsam(data, folder, checkpoint=checkpoint and Path(checkpoint), **preset, **options, **common)
    preset = {"preset_name": options.pop("preset")} if "preset" in options else {}
    cine = options.pop("cine", None)
    return train_scarnet(data, folder, cine=cine and Path(cine), **preset, **options, **common)


def _finder(study: Study, split: Split, output: Path, on_step: OnStep) -> str | Path:
    """The shipped LV finder; one trained without the judged patients where the shipped one has seen one of them."""
    seen = patients_seen(read_card(find_model(kind="finder")).training)
    if not seen & {case.name for case in split.test}:
        return "default"
    folder = output / "models" / "lv-finder" / split.base
    if not (folder / CARD_NAME).is_file():
        on_step(f"train lv-finder/{split.base}: the shipped one has seen patients that are judged")
        train = splits_of(replace(study, kind="comparison"))
        names = next([c.name for c in other.train] for other in train if other.base == split.base)
        if not names:
            raise InputError(
                "The shipped LV finder was trained on patients that are judged, and nobody is left to train another on."
            )
        in_own_process(_train_finder, _train_folder(study), names, folder, study.finder_minutes, study.seed)
    return folder


def _train_finder(data: Path, patients: list[str], folder: Path, minutes: float, seed: int) -> Path:
    from scarnet.training.loop import RunParameters
    from scarnet.training.train import train_finder

    run = RunParameters(epochs=1, samples_per_epoch=TIMED_SAMPLES, learning_rate=3e-3, minutes=minutes, seed=seed)
    return train_finder(data, folder, name="lv-finder", patients=patients, run_parameters=run, progress=False)


# --- prediction ---------------------------------------------------------------------------------------------------


def predictions_folder(output: Path, plan: ModelPlan, split: Split, condition: Condition) -> Path:
    return Path(output) / "predictions" / plan.name / split.name / condition.name


def _missing(output: Path, plan: ModelPlan, split: Split, condition: Condition) -> list[CaseFile]:
    folder = predictions_folder(output, plan, split, condition)
    return [case for case in split.test if not (folder / f"{case.name}.nii.gz").is_file()]


def predict_split(
    study: Study,
    plan: ModelPlan,
    split: Split,
    conditions: list[Condition],
    output: Path,
    folder: Path | None,
    finder: str | Path,
) -> None:
    """Label maps of every judged patient that are not there yet. Refuses a model that has seen one of them."""
    if plan.model.startswith("labels:"):
        _take_label_maps(Path(plan.model.removeprefix("labels:")), plan, split, output)
        return
    model = back_end(folder or plan.model, device=study.device, finder=finder)
    seen = (model.trained_on or frozenset()) & {case.name for case in split.test}
    if seen:
        raise InputError(
            f"{plan.name} was trained on {min(seen)}, which is to be judged; name folds that were left out with --folds."
        )
    write_json(Path(output) / "predictions" / plan.name / "facts.json", facts_of(model, plan, folder))
    for condition in conditions:
        target = predictions_folder(output, plan, split, condition)
        pending = _missing(output, plan, split, condition)
        for start in range(0, len(pending), TOGETHER):
            _predict(study, plan, split, condition, model, pending[start : start + TOGETHER], output, target)


def _predict(study, plan, split, condition, model: BackEnd, cases: list[CaseFile], output: Path, target: Path) -> None:
    read = {case.name: read_case(case) for case in cases}
    stacks = {name: changed(series, condition, study.seed, name) for name, (series, _) in read.items()}
    many = model.segment_many(stacks) if model.segment_many is not None else {}
    for name, series in stacks.items():
        error = ""
        if name in many:
            labels = many[name]
            if not (labels >= Label.MYOCARDIUM).any():
                error = "No myocardium was found."
        else:
            muscle = _muscle(plan, split, condition, output, name, read[name][1]) if model.needs_myocardium else None
            try:
                labels = model.segment(Request(series, myocardium=muscle)).labels
            except InputError as problem:
                labels, error = np.zeros(series.image.shape, np.uint8), str(problem)
        if error:
            write_text(target / f"{name}.error.txt", error + "\n")
        write_label_map(target / f"{name}.nii.gz", labels, series.geometry)


def changed(series: LgeSeries, condition: Condition, seed: int, case: str) -> LgeSeries:
    if not condition.kind:
        return series
    generator = generator_of(seed, case, condition.kind, condition.level, condition.draw)
    return with_noise(series, condition.kind, condition.level, generator)


def _muscle(
    plan: ModelPlan, split: Split, condition: Condition, output: Path, case: str, truth: np.ndarray
) -> np.ndarray:
    if plan.myocardium == "expert":
        return truth
    other = replace(plan, name=plan.myocardium)
    path = predictions_folder(output, other, split, condition) / f"{case}.nii.gz"
    if not path.is_file():
        raise UsageError(
            f"{plan.name} works on the muscle that {plan.myocardium} draws, which has no result for {case}."
        )
    return read_labels(path)[0]


def _take_label_maps(source: Path, plan: ModelPlan, split: Split, output: Path) -> None:
    """Somebody's label maps, checked and copied onto the grid of the patients."""
    found = label_maps(source)
    target = predictions_folder(output, plan, split, Condition())
    for case in split.test:
        if case.name not in found:
            raise InputError(f"{source.name} holds no label map of {case.name}.")
        series, _ = read_case(case)
        labels = on_grid(case.name, *read_labels(found[case.name]), series.geometry)
        write_label_map(target / f"{case.name}.nii.gz", labels, series.geometry)
    facts = {
        "kind": "labels",
        "remark": "Label maps as they were given; who was trained on is not known.",
        "trained_on": None,
    }
    write_json(Path(output) / "predictions" / plan.name / "facts.json", facts)


def facts_of(model: BackEnd, plan: ModelPlan, folder: Path | None) -> dict:
    """What tables and pages say of a model; no patients' names."""
    facts = {
        "kind": model.kind,
        "remark": model.remark,
        "trained_on": None if model.trained_on is None else len(model.trained_on),
        "myocardium": plan.myocardium if model.needs_myocardium else None,
    }
    if folder is None:
        return facts
    if (folder / CARD_NAME).is_file():
        card = read_card(folder)
        training = card.training
        facts["training"] = {
            key: training.get(key)
            for key in ("patients", "image_steps", "run", "loss", "changes", "minutes_of_last_run")
        }
        facts["training"] |= {
            "preset": card.preset,
            "cine_volumes": training.get("cine_volumes"),
            "tune": training.get("tune"),
        }
        facts["decision"] = card.decision
    else:
        stored = json.loads((folder / "scarnet.json").read_text(encoding="utf-8"))
        facts["training"] = {key: value for key, value in stored.items() if key != "cases"} | {
            "patients": len(stored["cases"])
        }
    return facts


# --- judging ------------------------------------------------------------------------------------------------------


def judged_items(study: Study, output: Path, plan: ModelPlan, split: Split, condition: Condition) -> Iterator[tuple]:
    """Every judged patient of one split and condition, as `judge` takes them. Raises InputError where a result is missing."""
    folder = predictions_folder(output, plan, split, condition)
    for case in split.test:
        path = folder / f"{case.name}.nii.gz"
        if not path.is_file():
            raise InputError(f"{plan.name} has no result for {case.name} yet: run the study without --only first.")
        series, truth = read_case(case)
        error = folder / f"{case.name}.error.txt"
        facts = {
            "group": case.group,
            "fold": case.fold,
            "error": error.read_text(encoding="utf-8").strip() if error.is_file() else "",
        }
        yield case.name, on_grid(case.name, *read_labels(path), series.geometry), truth, series.geometry, facts


def judge_models(study: Study, output: Path, skipped: dict[str, str]) -> dict[str, Judged]:
    """Of a comparison: every model on all judged patients."""
    judged = {}
    for plan in study.models:
        if plan.name in skipped:
            continue
        items = (
            item
            for split in bases_of(splits_of(study))
            for item in judged_items(study, output, plan, split, Condition())
        )
        judged[plan.name] = judge(items)
    return judged
