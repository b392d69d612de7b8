"""How the shipped model is made: its start on cine hearts, then patients. One place for every number of it."""

from dataclasses import dataclass, replace
from pathlib import Path

from scarnet.network.registry import CARD_NAME
from scarnet.training.loop import RunParameters


@dataclass(frozen=True)
class Recipe:
    """Two runs: `start` on cine hearts lit as LGE, `patients` from there on labelled LGE with drawn infarcts among them."""

    preset: str = "compact"
    start: RunParameters = RunParameters(
        epochs=20, samples_per_epoch=2000, batch_size=16, learning_rate=1.5e-3, seed=1, precision="bf16-mixed"
    )
    patients: RunParameters = RunParameters(
        epochs=20, samples_per_epoch=2000, batch_size=16, learning_rate=1e-3, seed=2, precision="bf16-mixed"
    )

    def on(self, accelerator: str, precision: str | None = None) -> "Recipe":
        """The same runs on another kind of processor."""
        change = {"accelerator": accelerator} | ({"precision": precision} if precision else {})
        return replace(self, start=replace(self.start, **change), patients=replace(self.patients, **change))


def trained_start(recipe: Recipe, cine: Path, folder: Path, *, progress: bool = True) -> Path:
    """The model that patients start from, trained unless `folder` holds it already."""
    from scarnet.training.train import train_scarnet

    if not (folder / CARD_NAME).is_file():
        train_scarnet(
            None,
            folder,
            name=folder.name,
            preset_name=recipe.preset,
            cine=cine,
            synthetic=True,
            run_parameters=recipe.start,
            progress=progress,
        )
    return folder


def trained_on_patients(
    recipe: Recipe,
    data: Path,
    folder: Path,
    *,
    cine: Path,
    start: Path,
    folds: list[int] | None = None,
    name: str | None = None,
    version: str = "1",
    licence: str = "",
    citation: str = "",
    progress: bool = True,
) -> Path:
    """A model of the patients in `folds` (all, unless given), trained unless `folder` holds it already."""
    from scarnet.training.train import train_scarnet

    if not (folder / CARD_NAME).is_file():
        train_scarnet(
            data,
            folder,
            name=name or folder.name,
            version=version,
            preset_name=recipe.preset,
            folds=folds,
            start=start,
            cine=cine,
            synthetic=True,
            run_parameters=recipe.patients,
            licence=licence,
            citation=citation,
            progress=progress,
        )
    return folder
