"""Model folders: what they must hold, which there are, and how one is added.

A model folder is `model.json` (the card) beside the files it names with their SHA-256: fp16 safetensors for torch, ONNX
for ONNX Runtime. Kinds: `scarnet` segments, `finder` finds the left ventricle, `encoder` holds an image encoder to
start training from.
"""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from scarnet.errors import ModelError, UnknownModelError
from scarnet.files import sha256_of
from scarnet.resources import shipped, user_models_folder

CARD_NAME = "model.json"
SCHEMA = "scarnet-model/1"
KINDS = ("scarnet", "finder", "encoder", "medsam")
DEFAULT_MODEL = "compact-emidec"
DEFAULT_FINDER = "lv-finder"
WEIGHTS_NAME, ONNX_NAME = "weights.safetensors", "network.onnx"


@dataclass(frozen=True)
class ModelCard:
    """What `model.json` says. `config` builds the network; `input` and `decision` are all that using it takes."""

    name: str
    version: str
    kind: str
    config: dict
    classes: list[str]
    input: dict  # pixel_mm, side, in_slices, normalisation
    files: dict[str, str]  # name -> SHA-256
    preset: str = ""
    runtime: str = ""  # what runs network.onnx on a processor; empty: ONNX Runtime
    decision: dict = field(default_factory=dict)  # scar_threshold or scar_log_odds, test_time_flips, smallest regions
    interval: dict = field(default_factory=dict)  # calibration of the interval of percent LV
    doubt: dict = field(default_factory=dict)  # calibration of the doubt in a slice's scar
    training: dict = field(default_factory=dict)
    figures: dict = field(default_factory=dict)
    licence: str = ""
    citation: str = ""
    intended_use: str = "Research use only."
    schema: str = SCHEMA

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @property
    def sha256(self) -> str:
        """Identity of the weights: the hash of the safetensors, or of the only file."""
        return self.files.get(WEIGHTS_NAME) or next(iter(self.files.values()), "")


def read_card(folder: Path) -> ModelCard:
    """The card of a model folder. Raises ModelError, naming folder and fault."""
    path = Path(folder) / CARD_NAME
    if not path.is_file():
        raise ModelError(f"{folder} is not a model folder: it holds no {CARD_NAME}.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        card = ModelCard(**{key: values[key] for key in values if key in ModelCard.__dataclass_fields__})
    except (ValueError, TypeError, OSError) as error:
        raise ModelError(f"{path} is not a readable model card ({error}).") from error
    if card.schema != SCHEMA or card.kind not in KINDS:
        raise ModelError(f"{path} is of schema '{card.schema}', kind '{card.kind}'; this version reads {SCHEMA}.")
    if not is_plain_name(card.name):
        raise ModelError(f"{path} calls the model {card.name!r}, which is not a plain name.")
    if not isinstance(card.files, dict) or not all(isinstance(value, str) for value in card.files.values()):
        raise ModelError(f"{path} does not give a SHA-256 for each of its files.")
    for name in card.files:
        if not is_plain_name(name):
            raise ModelError(f"{path} names '{name}', which is not a plain file name.")
    return card


def is_plain_name(name: object) -> bool:
    """Whether it names a file or folder and nothing but that, on every system."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\:\0")


def verify(folder: Path) -> ModelCard:
    """Check every file of a model folder against its card. Raises ModelError on the first that differs."""
    card = read_card(folder)
    if not card.files:
        raise ModelError(f"The card of {folder} names no weight files.")
    for name, expected in card.files.items():
        path = Path(folder) / name
        if not path.is_file():
            raise ModelError(f"{path} is missing; add the model again.")
        if sha256_of(path) != expected:
            raise ModelError(f"{path} is not the file its card describes (SHA-256 differs); add the model again.")
    return card


def list_models() -> list[tuple[ModelCard, Path]]:
    """Shipped models, then the user's, by name."""
    found = []
    for root in (shipped("Models"), user_models_folder()):
        if root.is_dir():
            found += [(read_card(path.parent), path.parent) for path in sorted(root.glob(f"*/{CARD_NAME}"))]
    return found


def find_model(name: str | Path = "default", *, kind: str = "scarnet") -> Path:
    """Folder of a model: a path, or a name among the shipped and added ones ("default" is the shipped one)."""
    if Path(name).is_dir() and (Path(name) / CARD_NAME).is_file():
        return Path(name)
    wanted = {"scarnet": DEFAULT_MODEL, "finder": DEFAULT_FINDER}.get(kind) if str(name) == "default" else str(name)
    known = [(card, folder) for card, folder in list_models() if card.kind == kind]
    for card, folder in reversed(known):  # a user's model of the same name goes before the shipped one
        if card.name == wanted:
            return folder
    names = ", ".join(sorted({card.name for card, _ in known})) or "none"
    raise UnknownModelError(f"No model '{name}' of kind {kind}: give a model folder or one of: {names}.")


def add_folder(folder: Path) -> Path:
    """Copy a verified model folder among the user's models; refuses to replace one of the same name."""
    card = verify(folder)
    target = user_models_folder() / card.name
    if target.exists():
        raise ModelError(f"A model '{card.name}' is there already in {target}; remove it first.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".part-{card.name}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        for name in (*card.files, CARD_NAME):
            shutil.copyfile(Path(folder) / name, part / name)
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return target
