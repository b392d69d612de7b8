"""What a cohort is run with: everything that its results depend on, besides the images and the corrections."""

import hashlib
import json
from dataclasses import asdict, dataclass

import scarnet
from scarnet.conventions import MYOCARDIAL_DENSITY_G_PER_ML
from scarnet.errors import ModelError
from scarnet.network import find_model, read_card


@dataclass(frozen=True)
class CohortSettings:
    """`model`: a name or a folder, found anew by each worker, who must find the same one.

    `model_sha256`, `finder_sha256`: over weights and decisions of the two networks; see `resolve`.
    """

    model: str = "default"
    device: str = "auto"
    test_time_flips: bool | None = None
    density_g_per_ml: float = MYOCARDIAL_DENSITY_G_PER_ML
    with_report: bool = True
    paper: str = "a4"
    pseudonyms: bool = False
    model_sha256: str = ""
    finder_sha256: str = ""

    def identity(self) -> dict[str, str]:
        """What results rest on, by what a reader would call it: a patient is done anew when one of these differs."""
        values = asdict(self)
        parameters = {k: values[k] for k in ("test_time_flips", "density_g_per_ml", "with_report", "paper")}
        return {
            "model": self.model_sha256,
            "finder": self.finder_sha256,
            "software": scarnet.__version__,
            "parameters": json.dumps(parameters, sort_keys=True),
        }


def resolve(**chosen) -> CohortSettings:
    """Settings with the networks that are here. Raises ModelError where one is not."""
    model = str(chosen.get("model", "default"))
    return CohortSettings(
        **chosen, model_sha256=_network_sha256(model), finder_sha256=_network_sha256("default", "finder")
    )


def check_networks(settings: CohortSettings) -> None:
    """Raise ModelError where this computer has other networks or another version than the one that planned the work."""
    here = resolve(model=settings.model)
    if (here.model_sha256, here.finder_sha256) != (settings.model_sha256, settings.finder_sha256):
        raise ModelError("This worker has another model of that name; add the same model to every worker.")


def _network_sha256(name: str, kind: str = "scarnet") -> str:
    card = read_card(find_model(name, kind=kind))
    parts = {part: getattr(card, part) for part in ("files", "input", "decision", "interval", "doubt", "runtime")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
