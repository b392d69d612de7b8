"""A study as a file says it: which models, trained how, on whom, judged on whom.

The file is TOML; `scarnet study FILE -o OUT` runs it. Folders in it are taken from the file's own folder. Resources/Evaluation/studies holds
the ones that this project's own figures come from.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from scarnet.errors import InputError, UsageError

KINDS = ("comparison", "learning-curve", "noise")
TRAINERS = ("scarnet", "medsam", "nnunet")
NOISES = ("gaussian", "rician")
CLOCKS = ("wall", "processor")
_RUN = {
    "epochs",
    "samples_per_epoch",
    "batch_size",
    "learning_rate",
    "precision",
    "accelerator",
    "optimizer",
    "ema_decay",
}
#: What a model's table may hold, by trainer; `minutes` and `seed` for all.
OPTIONS = {
    "scarnet": _RUN | {"preset", "loss", "cine", "synthetic", "start", "encoder", "changes", "turn_degrees"},
    "medsam": _RUN | {"preset", "tune", "checkpoint"},
    "nnunet": {"configuration", "trainer_class", "batch_size", "patch_pixels", "features"},
}
#: Options of a model that are files or folders beside the study's own file.
PATHS = ("cine", "checkpoint")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str | Path)


def _is_list_of(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(of, value))


#: What a value of a study's file must be, and for which names; other options are checked by whom they are for.
_FORMS = (
    ("a text", _is_text, "kind data train_data reference device clock title trainer model myocardium cine checkpoint"),
    ("a whole number", _is_whole, "seed"),
    (
        "a whole number above 0",
        lambda value: _is_whole(value) and value > 0,
        "draws threads limit epochs samples_per_epoch batch_size",
    ),
    ("a number above 0", lambda value: _is_number(value) and value > 0, "minutes finder_minutes learning_rate"),
    ("a list of whole numbers, such as [0, 1]", _is_list_of(_is_whole), "folds train_folds sizes"),
    ("a list of numbers from 0 on", _is_list_of(_is_number), "levels"),
    ("a list of texts", _is_list_of(_is_text), "noises"),
)


@dataclass(frozen=True)
class ModelPlan:
    """One model of a study.

    Attributes
        name: in tables and folders.
        trainer: one of TRAINERS; empty for a model that is there.
        model: for one that is there: what `scarnet.peers.back_end` takes, or "labels:FOLDER" for label maps of anybody's.
        myocardium: of a threshold method: "expert", or the name of another model of the study.
        options: of the trainer.
        minutes: of training by the `clock` ("wall", or "processor" on a machine that others use too); None: for the number of epochs.
        seed: of weights and samples.
    """

    name: str
    trainer: str = ""
    model: str = ""
    myocardium: str = "expert"
    options: dict[str, Any] = field(default_factory=dict)
    minutes: float | None = None
    clock: str = "wall"
    seed: int = 1


@dataclass(frozen=True)
class Study:
    """Everything that a study does follows from these.

    Attributes
        kind: one of KINDS.
        data: folder of labelled patients to judge on (and to train on, the judged fold left out).
        models: in the order of the tables.
        folds: to judge; None: all patients of `data` at once, for models that are there or come from `train_data`.
        train_data: another folder to train on: a cross-data-set test.
        train_folds: of `train_data`; None: all.
        reference: the model that the others are tested against; the first unless given.
        sizes, draws: of a learning curve: numbers of training patients, and how often each is drawn.
        noises, levels, draws: of a noise study: kinds, standard deviations as a share of the image's range, draws of each.
        threads: processors for every training and prediction alike.
        device: of every prediction, as `scarnet segment` takes it.
        finder_minutes: of training an LV finder without the judged fold, where the shipped one has seen its patients.
        limit: judge only so many patients of each fold (smoke tests).
    """

    kind: str
    data: Path
    models: tuple[ModelPlan, ...]
    folds: tuple[int, ...] | None = None
    train_data: Path | None = None
    train_folds: tuple[int, ...] | None = None
    reference: str = ""
    sizes: tuple[int, ...] = ()
    draws: int = 1
    noises: tuple[str, ...] = NOISES
    levels: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)
    threads: int = 1
    device: str = "cpu"
    seed: int = 1
    minutes: float | None = None
    clock: str = "wall"
    finder_minutes: float = 5.0
    limit: int | None = None
    title: str = ""

    @property
    def trains(self) -> bool:
        return any(plan.trainer for plan in self.models)


def read_study(path: Path, **changes) -> Study:
    """The study that a file describes; `changes` (data, folds, minutes, ...) stand for what it says. Raises UsageError, InputError."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"No study at {path}; give a TOML file, such as one of Resources/Evaluation/studies.")
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError:
            raise UsageError("Reading a study needs one more package on Python 3.10: pip install tomli.") from None
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name} is not TOML: {error}.") from None
    values |= {key: value for key, value in changes.items() if value is not None}
    return study_from(values, path.parent)


def study_from(values: dict[str, Any], base: Path = Path()) -> Study:
    """From the tables of a file. Raises UsageError, naming what is unknown or missing."""
    values = dict(values)
    models = values.pop("models", None)
    known = {f.name for f in fields(Study)} - {"models"}
    _refuse_unknown(values, known, "a study")
    _refuse_forms(values, "a study")
    kind = values.get("kind", "comparison")
    if kind not in KINDS:
        raise UsageError(f"No study is of kind '{kind}'; known are {', '.join(KINDS)}.")
    if "data" not in values:
        raise UsageError("The study names no data; give data = FOLDER in the file, or --data FOLDER.")
    if not isinstance(models, dict) or not models:
        raise UsageError("The study names no models; give a table [models.NAME] for each.")
    for name in ("data", "train_data"):
        if values.get(name) is not None:
            values[name] = base / values[name]
    for name in ("folds", "train_folds", "sizes", "noises", "levels"):
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    common = {"minutes": values.get("minutes"), "seed": values.get("seed", 1), "clock": values.get("clock", "wall")}
    plans = tuple(_plan(name, table, common, base) for name, table in models.items())
    study = Study(kind=kind, models=plans, **{k: v for k, v in values.items() if k != "kind"})
    _check(study)
    return study


def _plan(name: str, table: dict, common: dict, base: Path) -> ModelPlan:
    if not isinstance(table, dict):
        raise UsageError(f"models.{name} is no table; write [models.{name}] and its options below.")
    if not name.replace("-", "").replace("_", "").replace(" ", "").replace(".", "").isalnum():
        raise UsageError(f"'{name}' names a folder too: letters, digits, '-', '_', '.' alone.")
    _refuse_forms(table, f"models.{name}")
    table = common | table
    trainer, minutes, seed, clock = (table.pop(key, "") for key in ("trainer", "minutes", "seed", "clock"))
    if clock not in CLOCKS:
        raise UsageError(f"The clock is {' or '.join(CLOCKS)}; got '{clock}'.")
    if not trainer:
        model, myocardium = table.pop("model", ""), table.pop("myocardium", "expert")
        if not model:
            raise UsageError(f"models.{name} says neither how it is trained (trainer) nor what it is (model).")
        _refuse_unknown(table, set(), f"models.{name}")
        return ModelPlan(name, model=_placed(model, base), myocardium=myocardium, seed=seed)
    if trainer not in TRAINERS:
        raise UsageError(f"models.{name}: no trainer is called '{trainer}'; known are {', '.join(TRAINERS)}.")
    _refuse_unknown(table, OPTIONS[trainer], f"models.{name}")
    options = {key: str(base / value) if key in PATHS else value for key, value in table.items()}
    if minutes is None and trainer != "nnunet" and "epochs" not in options:
        raise UsageError(f"models.{name} says neither minutes nor epochs: how long is it trained?")
    return ModelPlan(name, trainer, options=options, minutes=minutes, clock=clock, seed=seed)


def _placed(model: str, base: Path) -> str:
    """A folder or file beside the study's file, where there is one of that name."""
    prefix, path = ("labels:", model.removeprefix("labels:")) if model.startswith("labels:") else ("", model)
    return prefix + (str(base / path) if prefix or (base / path).exists() else path)


def _refuse_unknown(values: dict, known: set[str], where: str) -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        names = ", ".join(sorted(known)) or "nothing more"
        raise UsageError(f"{where} has no '{unknown[0]}'; known are: {names}.")


def _refuse_forms(values: dict, where: str) -> None:
    for form, is_right, names in _FORMS:
        for name in names.split():
            if values.get(name) is not None and not is_right(values[name]):
                raise UsageError(f"In {where}, {name} must be {form}; got {values[name]!r}.")


def _check(study: Study) -> None:
    names = [plan.name for plan in study.models]
    if study.reference and study.reference not in names:
        raise UsageError(f"The reference '{study.reference}' is none of the models: {', '.join(names)}.")
    for plan in study.models:
        if plan.model.startswith("threshold:") and plan.myocardium not in ("expert", *names):
            raise UsageError(
                f"models.{plan.name}: its myocardium '{plan.myocardium}' is neither 'expert' nor one of the models."
            )
    if study.trains and study.folds is None and study.train_data is None:
        raise UsageError("Models are trained, so that some patients must be left out: give folds = [0], or train_data.")
    if study.kind == "learning-curve" and not study.sizes:
        raise UsageError("A learning curve needs sizes, such as sizes = [4, 8, 16, 32].")
    if study.kind == "noise" and not set(study.noises) <= set(NOISES):
        raise UsageError(f"Noise is {' or '.join(NOISES)}; got {', '.join(study.noises)}.")


def comparison_of(data: Path, specs: list[str], *, folds: list[int] | None, threads: int, **changes) -> Study:
    """A study of models that are there: `specs` are "MODEL" or "NAME=MODEL"."""
    plans: list[ModelPlan] = []
    if not specs:
        raise UsageError("No model is named; give --models with one or more, such as default,threshold:ewa.")
    for spec in specs:
        name, _, model = spec.rpartition("=")
        model, _, muscle = model.partition("@")
        if not model:
            raise UsageError(f"'{spec}' names no model; give MODEL or NAME=MODEL.")
        if model.startswith("threshold:"):
            muscle = muscle or "expert"
        name = name or _short(model) + (f" on {muscle}" if muscle else "")
        if name in [plan.name for plan in plans]:
            raise UsageError(f"Two models are called '{name}'; name them: NAME=MODEL.")
        plans.append(ModelPlan(name, model=model, myocardium=muscle or "expert"))
    study = Study(
        kind="comparison",
        data=Path(data),
        models=tuple(plans),
        folds=None if folds is None else tuple(folds),
        threads=threads,
    )
    _check(replace(study, **changes))
    return replace(study, **changes)


def _short(model: str) -> str:
    return Path(model.removeprefix("labels:")).name.replace("threshold:", "")
