"""One door for every model: a text names it, and what it gives is a ScarSegmentation on the input's own grid."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scarnet.conventions import CancelCallback, ProgressCallback
from scarnet.errors import ModelError, UsageError
from scarnet.network import find_model, read_card
from scarnet.network.registry import CARD_NAME, list_models
from scarnet.segmentation import ScarSegmentation
from scarnet.series import LgeSeries

HELP = (
    "A model's name or folder; or a trained nnU-Net's folder; a MedSAM checkpoint (.pth) or fine-tuned folder; "
    "'myopari'; 'threshold:METHOD' (5sd, fwhm, ewa, ...), which needs the myocardium."
)


@dataclass(frozen=True, eq=False)
class Request:
    """One stack to segment and what is known of it.

    Attributes
        series: the stack.
        lv_center_lps_mm: `(3,)`, a point inside the LV, where the user gave one.
        box_lps_mm: `(2, 3)`, two opposite corners of a box about the LV in the plane of the slices: MedSAM's prompt, where given.
        myocardium: uint8 labels `[slice, row, column]` whose muscle and cavity a threshold method works on.
    """

    series: LgeSeries
    lv_center_lps_mm: np.ndarray | None = None
    box_lps_mm: np.ndarray | None = None
    myocardium: np.ndarray | None = None


Segment = Callable[..., ScarSegmentation]


@dataclass(frozen=True, eq=False)
class BackEnd:
    """A model that is ready to be asked.

    Attributes
        name: short, for tables.
        kind: "scarnet", "nnunet", "medsam", "myopari" or "threshold".
        segment: `(request, on_progress=, is_cancelled=)` to ScarSegmentation; raises InputError where nothing is found.
        trained_on: names of the patients that it has seen in training; None where nobody knows.
        remark: what every table must say of it.
        needs_myocardium: it works on a myocardium that is given to it.
        segment_many: labels of many named stacks at once, `None` where one by one is as good.
    """

    name: str
    kind: str
    segment: Segment
    trained_on: frozenset[str] | None = frozenset()
    remark: str = ""
    needs_myocardium: bool = False
    segment_many: Callable[[dict[str, LgeSeries]], dict[str, np.ndarray]] | None = None


def back_end(
    spec: str | Path,
    *,
    device: str = "auto",
    runtime: str | None = None,
    test_time_flips: bool | None = None,
    finder: str | Path = "default",
) -> BackEnd:
    """The model that `spec` names (see `HELP`). `runtime`: of ScarNet's own networks, see `scarnet.network.load_network`. Raises ModelError or UsageError in one line, naming what to install."""
    text = str(spec)
    if text.startswith("threshold:"):
        from scarnet.peers.intensity import threshold_method

        return threshold_method(text.removeprefix("threshold:"))
    if text == "myopari":
        from scarnet.peers.myopari import myopari

        return myopari()
    path = Path(text)
    if path.is_dir() and not (path / CARD_NAME).is_file():
        from scarnet.peers.nnunet import nnunet_model, trained_folder

        if (folder := trained_folder(path)) is not None:
            return nnunet_model(folder, device=device)
        raise ModelError(
            f"{path} is no model folder: it holds neither {CARD_NAME} nor an nnU-Net's plans.json and folds."
        )
    if path.suffix == ".pth" or _is_medsam(text):
        _needs_torch("MedSAM")
        from scarnet.peers.medsam import medsam_checkpoint, medsam_model

        if path.suffix == ".pth":
            return medsam_checkpoint(path, device=device, finder=finder)
        return medsam_model(find_model(text, kind="medsam"), device=device, finder=finder)
    return _scarnet(text, device, runtime, test_time_flips, finder)


def _is_medsam(text: str) -> bool:
    folder = Path(text)
    if folder.is_dir() and (folder / CARD_NAME).is_file():
        return read_card(folder).kind == "medsam"
    return any(card.name == text and card.kind == "medsam" for card, _ in list_models())


def _needs_torch(what: str) -> None:
    try:
        import segment_anything  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{what} needs PyTorch and segment-anything ({error.name} is missing): pip install slicer-scarnet[training]."
        ) from None


def _scarnet(text: str, device: str, runtime: str | None, test_time_flips: bool | None, finder: str | Path) -> BackEnd:
    from scarnet.segmentation import segment

    folder = find_model(text)
    card = read_card(folder)
    seen = patients_seen(card.training) | patients_seen(read_card(find_model(finder, kind="finder")).training)

    def run(
        request: Request, *, on_progress: ProgressCallback | None = None, is_cancelled: CancelCallback | None = None
    ):
        return segment(
            request.series,
            model=folder,
            finder=finder,
            device=device,
            runtime=runtime,
            lv_center_lps_mm=request.lv_center_lps_mm,
            test_time_flips=test_time_flips,
            on_progress=on_progress,
            is_cancelled=is_cancelled,
        )

    return BackEnd(card.name, "scarnet", run, frozenset(seen))


def patients_seen(training: dict) -> set[str]:
    """Names of the patients of a run and of every run that it went on from, as a card tells them."""
    before = training.get("started_from") or {}
    earlier = patients_seen(before["training"]) if before.get("training") else set()
    return set(training.get("cases", ())) | earlier
