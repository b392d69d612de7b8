"""How the shipped models are made: a start on cine hearts, then patients. One place for every number of it."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from scarnet.network.registry import CARD_NAME
from scarnet.training.augment import Strength
from scarnet.training.beyond import BEYOND_SHARE
from scarnet.training.loop import RunParameters

_ON_CINE = RunParameters(epochs=16, batch_size=16, learning_rate=1.5e-3, seed=1, precision="bf16-mixed")
_ON_PATIENTS = replace(_ON_CINE, epochs=24, learning_rate=0.02, optimizer="muon", seed=2)
_FINER = {"pixel_mm": 0.9, "input_size": 96}


@dataclass(frozen=True)
class Meeting:
    """One run over the patients, by arguments of `train_scarnet`."""

    run: RunParameters
    graft_share: float
    noise: float = Strength.noise
    varied: bool = False
    beyond_share: float = 0.0
    mean_with_start: bool = False
    changes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """Two networks, each trained on cine hearts lit as LGE first and from there on labelled patients.

    The start has seen no LGE patient, so that all folds of a cross-validation share it. The segmenter meets its patients at the start's
    pixels first, with many carried infarcts: half the time of an epoch teaches what scar is as well. Then, with fewer, at the finer
    pixels that it is used at, where contours are settled; with more noise, which fine pixels average less of; with more variety in shape
    and light; with slices beyond apex and base, which patients' stacks seldom show. Last the same again, and the mean of before and after.
    """

    preset: str = "small"
    start: RunParameters = _ON_CINE
    patients: dict[str, Meeting] = field(
        default_factory=lambda: {
            "coarse": Meeting(_ON_PATIENTS, graft_share=0.4),
            "finer": Meeting(replace(_ON_PATIENTS, epochs=14, seed=4), graft_share=0.2, changes=_FINER),
            "noisier": Meeting(
                replace(_ON_PATIENTS, epochs=14, learning_rate=0.015, seed=5),
                graft_share=0.2,
                noise=0.5,
                changes=_FINER,
            ),
            "varied": Meeting(
                replace(_ON_PATIENTS, epochs=16, learning_rate=0.015, seed=6),
                graft_share=0.25,
                noise=0.5,
                varied=True,
                changes=_FINER,
            ),
            "beyond": Meeting(
                replace(_ON_PATIENTS, epochs=8, learning_rate=0.012, seed=7),
                graft_share=0.25,
                noise=0.5,
                varied=True,
                beyond_share=BEYOND_SHARE,
                changes=_FINER,
            ),
            "settled": Meeting(
                replace(_ON_PATIENTS, epochs=5, learning_rate=0.012, seed=8),
                graft_share=0.25,
                noise=0.5,
                varied=True,
                beyond_share=0.07,
                mean_with_start=True,
                changes=_FINER,
            ),
        }
    )
    turn_degrees: float = 20.0  # patients lie along patient axes, but for this
    finder_start: RunParameters = RunParameters(epochs=8, learning_rate=3e-3, seed=3)
    finder: RunParameters = RunParameters(epochs=6, samples_per_epoch=1000, learning_rate=1e-3, seed=3)

    def on(self, accelerator: str, precision: str | None = None) -> "Recipe":
        """The same runs on another kind of processor."""
        change = {"accelerator": accelerator} | ({"precision": precision} if precision else {})
        runs = {name: replace(getattr(self, name), **change) for name in ("start", "finder_start", "finder")}
        patients = {name: replace(m, run=replace(m.run, **change)) for name, m in self.patients.items()}
        return replace(self, patients=patients, **runs)


@dataclass(frozen=True)
class Workshop:
    """Models of one recipe in one folder; each is trained when it is first asked for, and found there afterwards.

    `data`: labelled patients; `cine`: cine anatomy; `folder` will hold `start`, `finder-start` and, for the folds that were
    left out, `without-fold-K`, what it was after each earlier meeting (`coarse-without-fold-K`), and `finder-without-fold-K`.
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
        made = self._scarnet(None, self.folder / "start", with_onnx=False, run_parameters=self.recipe.start)
        last = list(self.recipe.patients)[-1]
        for name, meeting in self.recipe.patients.items():
            made = self._scarnet(
                self.data,
                folder if name == last else self.folder / f"{name}-{folder.name}",
                start=made,
                folds=folds,
                turn_degrees=self.recipe.turn_degrees,
                graft_share=meeting.graft_share,
                noise=meeting.noise,
                varied=meeting.varied,
                beyond_share=meeting.beyond_share,
                mean_with_start=meeting.mean_with_start,
                changes=meeting.changes,
                run_parameters=meeting.run,
                **(card if name == last else {"with_onnx": False}),
            )
        return made

    def finder(self, folds: list[int] | None, folder: Path, **card) -> Path:
        """A network that finds the LV, trained on the patients of `folds` (None: all)."""
        start = self.folder / "finder-start"
        self._finder(None, start, with_onnx=False, run_parameters=self.recipe.finder_start)
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
