"""How the shipped models are made: a start on cine hearts, then patients. One place for every number of it."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from scarnet.network.registry import CARD_NAME
from scarnet.training.loop import RunParameters

_ON_CINE = RunParameters(epochs=16, batch_size=16, learning_rate=1.5e-3, seed=1, precision="bf16-mixed")


@dataclass(frozen=True)
class Recipe:
    """Two networks, each trained on cine hearts lit as LGE first and from there on labelled patients.

    The start has seen no LGE patient, so that all folds of a cross-validation share it. The segmenter meets its patients at the start's
    pixels first, with many carried infarcts, then at the finer ones that it is used at, where contours are settled, with fewer: at
    half the time of an epoch the first meeting teaches what scar is as well.
    """

    preset: str = "small"
    start: RunParameters = _ON_CINE
    patients: RunParameters = replace(_ON_CINE, epochs=24, learning_rate=0.02, optimizer="muon", seed=2)
    graft_share: float = 0.4
    finer: RunParameters = replace(patients, epochs=14, seed=4)
    finer_changes: dict = field(default_factory=lambda: {"pixel_mm": 0.9, "input_size": 96})
    finer_graft_share: float = 0.2
    turn_degrees: float = 20.0  # patients lie along patient axes, but for this
    finder_start: RunParameters = RunParameters(epochs=8, learning_rate=3e-3, seed=3)
    finder: RunParameters = RunParameters(epochs=6, samples_per_epoch=1000, learning_rate=1e-3, seed=3)

    def on(self, accelerator: str, precision: str | None = None) -> "Recipe":
        """The same runs on another kind of processor."""
        change = {"accelerator": accelerator} | ({"precision": precision} if precision else {})
        runs = {
            f.name: replace(getattr(self, f.name), **change)
            for f in fields(self)
            if isinstance(getattr(self, f.name), RunParameters)
        }
        return replace(self, **runs)


@dataclass(frozen=True)
class Workshop:
    """Models of one recipe in one folder; each is trained when it is first asked for, and found there afterwards.

    `data`: labelled patients; `cine`: cine anatomy; `folder` will hold `start`, `finder-start` and, for the folds that were
    left out, `coarse-without-fold-K` (after the first meeting), `without-fold-K` and `finder-without-fold-K`.
    """

    recipe: Recipe
    data: Path
    cine: Path
    folder: Path
    licence: str = ""
    citation: str = ""
    progress: bool = True

    def segmenter(self, folds: list[int] | None, folder: Path, **card) -> Path:
        """A network trained on the patients of `folds` (None: all). `card`: name and version."""
        recipe = self.recipe
        patients = {"folds": folds, "turn_degrees": recipe.turn_degrees}
        start = self._scarnet(None, self.folder / "start", run_parameters=recipe.start)
        coarse = self._scarnet(
            self.data,
            self.folder / f"coarse-{folder.name}",
            start=start,
            graft_share=recipe.graft_share,
            run_parameters=recipe.patients,
            **patients,
        )
        return self._scarnet(
            self.data,
            folder,
            start=coarse,
            graft_share=recipe.finer_graft_share,
            changes=recipe.finer_changes,
            run_parameters=recipe.finer,
            **patients,
            **card,
        )

    def finder(self, folds: list[int] | None, folder: Path, **card) -> Path:
        """A network that finds the LV, trained on the patients of `folds` (None: all)."""
        start = self.folder / "finder-start"
        self._finder(None, start, run_parameters=self.recipe.finder_start)
        return self._finder(self.data, folder, folds=folds, start=start, run_parameters=self.recipe.finder, **card)

    def without_fold(self, fold: int, folds: list[int]) -> tuple[Path, Path]:
        """Segmenter and finder that have seen all folds but one."""
        others = [other for other in folds if other != fold]
        return (
            self.segmenter(others, self.folder / f"without-fold-{fold}"),
            self.finder(others, self.folder / f"finder-without-fold-{fold}"),
        )

    def _scarnet(self, data: Path | None, folder: Path, **options) -> Path:
        from scarnet.training.train import train_scarnet

        return self._made(train_scarnet, data, folder, preset_name=self.recipe.preset, synthetic=True, **options)

    def _finder(self, data: Path | None, folder: Path, **options) -> Path:
        from scarnet.training.train import train_finder

        return self._made(train_finder, data, folder, **options)

    def _made(self, train, data: Path | None, folder: Path, **options) -> Path:
        if not (folder / CARD_NAME).is_file():
            options = {"name": folder.name, "licence": self.licence, "citation": self.citation} | options
            train(data, folder, cine=self.cine, progress=self.progress, **options)
        return folder
