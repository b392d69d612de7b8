"""Stacks that are longer than the ventricle: what a model outlines beyond apex and base.

EMIDEC's stacks end with the ventricle, so cine hearts stand in: theirs go on, and an expert left those slices empty. They are shown in
cine's own contrast and lit as LGE; scale is nominal. Where atrium and outflow tract begin is a convention that experts draw differently.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from scarnet.conventions import dice, myocardium_mask
from scarnet.errors import InputError
from scarnet.segmentation import segment
from scarnet.segmentation.crop import normalise
from scarnet.series import LgeSeries, StackGeometry
from scarnet.training.beyond import apex_and_base
from scarnet.training.data import CINE_PIXEL_MM, list_cine, read_cine
from scarnet.training.synthetic import with_other_contrast

#: Distance of the slices of cine volumes, which do not state it, mm.
SLICE_MM = 10.0
#: Exponent that draws cine's grey muscle nearer to black.
GAMMA = 1.5


def evaluate_ends(
    cine: Path,
    *,
    model: str = "default",
    finder: str = "default",
    folds: list[int] | None = None,
    device: str = "auto",
    test_time_flips: bool | None = None,
    on_heart: Callable[[dict], None] | None = None,
) -> list[dict]:
    """One row per cine volume of the patients of `folds` whose stack is longer than its ventricle, and per light.

    `beyond_base`, `beyond_apex`: empty slices; `outlined_…`: those in which something is drawn; `muscle_beyond_percent`: muscle drawn
    there, of all that is drawn; `left_empty`: slices with a ventricle in which nothing is; `refused`: nothing was found at all.
    """
    rows = []
    for file in list_cine(cine, folds):
        image, truth = read_cine(file)
        held = truth.any(axis=(1, 2))
        ends = apex_and_base(truth)
        if held.all() or ends is None:
            continue
        for light, series in (("cine", _as_it_is(image)), ("LGE", _lit(image, truth, seed=len(rows)))):
            try:
                found = segment(series, model=model, finder=finder, device=device, test_time_flips=test_time_flips)
                labels, refused = found.labels, ""
            except InputError as problem:
                labels, refused = np.zeros_like(truth), str(problem)
            rows.append({"heart": file.stem, "light": light} | _compared(labels, truth, *ends) | {"refused": refused})
            if on_heart is not None:
                on_heart(rows[-1])
    return rows


def summarise_ends(rows: list[dict]) -> dict:
    """Sums over hearts, by light."""
    counted = ("beyond_base", "outlined_beyond_base", "beyond_apex", "outlined_beyond_apex", "held", "left_empty")
    return {
        light: {"hearts": len(these), **{name: sum(row[name] for row in these) for name in counted}}
        | {
            name: round(float(np.mean([row[name] for row in these])), 4)
            for name in ("muscle_beyond_percent", "myocardium_dice")
        }
        for light in sorted({row["light"] for row in rows})
        if (these := [row for row in rows if row["light"] == light])
    }


def _compared(labels: np.ndarray, truth: np.ndarray, apex: int, base: int) -> dict:
    numbers, drawn = np.arange(len(truth)), labels.any(axis=(1, 2))
    up = np.sign(base - apex)
    beyond_base, beyond_apex = (numbers - base) * up > 0, (apex - numbers) * up > 0
    held = truth.any(axis=(1, 2))
    muscle = myocardium_mask(labels).sum(axis=(1, 2))
    return {
        "beyond_base": int(beyond_base.sum()),
        "outlined_beyond_base": int(drawn[beyond_base].sum()),
        "beyond_apex": int(beyond_apex.sum()),
        "outlined_beyond_apex": int(drawn[beyond_apex].sum()),
        "held": int(held.sum()),
        "left_empty": int((held & ~drawn).sum()),
        "muscle_beyond_percent": round(float(100 * muscle[~held].sum() / max(muscle.sum(), 1)), 2),
        "myocardium_dice": round(dice(myocardium_mask(labels), myocardium_mask(truth)), 4),
    }


def _as_it_is(image: np.ndarray) -> LgeSeries:
    planes = normalise(image)
    unit = (planes - planes.min()) / (planes.max() - planes.min())
    return _series(unit**GAMMA)


def _lit(image: np.ndarray, labels: np.ndarray, *, seed: int) -> LgeSeries:
    return _series(with_other_contrast(normalise(image), list(labels), np.random.default_rng(seed)))


def _series(planes: np.ndarray) -> LgeSeries:
    spacing = (CINE_PIXEL_MM, CINE_PIXEL_MM)
    origins = np.arange(len(planes))[:, None] * np.array([0.0, 0.0, SLICE_MM])
    geometry = StackGeometry(planes.shape, spacing, np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), origins)
    return LgeSeries(np.ascontiguousarray(1000 * (planes - planes.min()), np.float32), geometry)
