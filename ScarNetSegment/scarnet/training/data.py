"""Labelled patients on disk: which there are, how they are split, and their slices at one pixel size."""

import csv
import hashlib
import io
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from scarnet.conventions import Label
from scarnet.errors import InputError
from scarnet.segmentation.cleaning import decide
from scarnet.segmentation.crop import patient_axes, resampling_matrix, to_patient_axes
from scarnet.series import LgeSeries, read_label_map, read_lge

IMAGE_SUFFIX, LABEL_SUFFIX = "_image.nii.gz", "_labels.nii.gz"
DEFAULT_FOLD_COUNT = 5


@dataclass(frozen=True)
class CaseFile:
    """One patient: all of their slices share a fold, so that no patient is on both sides of a split."""

    name: str
    fold: int
    group: str  # "pathological", "normal" or ""
    image: Path
    labels: Path
    spacing_mm: tuple[float, float, float] | None  # columns, rows, slices; None: as the header says


def list_cases(folder: Path) -> list[CaseFile]:
    """Patients of `folder`: pairs `NAME_image.nii.gz`, `NAME_labels.nii.gz`.

    `cases.csv` (columns `case`, `fold`; `group`, `dx_mm`, `dz_mm` if known) fixes the folds and overrides spacings.
    Without it a patient's fold follows from the SHA-256 of the name: the same on every machine, and unmoved when others
    are added. Raises InputError when there is nothing to train on or a file is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"No data folder at {folder}; give a folder of NAME{IMAGE_SUFFIX} and NAME{LABEL_SUFFIX}.")
    table = folder / "cases.csv"
    if table.is_file():
        rows = _read_rows(table)
        if not rows or not {"case", "fold"} <= set(rows[0]):
            raise InputError(f"{table} needs the columns case and fold and at least one row.")
    else:
        names = sorted(path.name.removesuffix(IMAGE_SUFFIX) for path in folder.glob(f"*{IMAGE_SUFFIX}"))
        rows = [
            {"case": n, "fold": int(hashlib.sha256(n.encode()).hexdigest(), 16) % DEFAULT_FOLD_COUNT} for n in names
        ]
    cases = []
    for number, row in enumerate(rows, 2):  # the first line holds the columns
        image, labels = folder / f"{row['case']}{IMAGE_SUFFIX}", folder / f"{row['case']}{LABEL_SUFFIX}"
        for path in (image, labels):
            if not path.is_file():
                raise InputError(f"{path.name} is missing in {folder}; every patient needs an image and a label map.")
        try:
            fold, spacing = int(row["fold"]), None
            if row.get("dx_mm") and row.get("dz_mm"):
                dx, dz = _millimetres(row["dx_mm"]), _millimetres(row["dz_mm"])
                spacing = (dx, dx, dz)
        except (TypeError, ValueError):
            raise InputError(
                f"{table}, row {number}: fold must be a whole number, dx_mm and dz_mm numbers such as 1.4; got "
                + ", ".join(f"{name} '{row[name]}'" for name in ("fold", "dx_mm", "dz_mm") if row.get(name))
                + "."
            ) from None
        cases.append(CaseFile(row["case"], fold, row.get("group", ""), image, labels, spacing))
    if not cases:
        raise InputError(f"No patients in {folder}: expected files named NAME{IMAGE_SUFFIX} and NAME{LABEL_SUFFIX}.")
    return cases


def _read_rows(table: Path) -> list[dict[str, str]]:
    """Of a CSV file in UTF-8, with Excel's mark at its start or without."""
    content = table.read_bytes()
    try:
        return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise InputError(f"{table}, row {number} is not UTF-8; save the table as 'CSV UTF-8'.") from None
    except csv.Error as error:
        raise InputError(f"{table} is no CSV table ({error}).") from None


def _millimetres(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError
    return value


def read_case(case: CaseFile) -> tuple[LgeSeries, np.ndarray]:
    """Image and expert labels on one grid. Raises InputError when they do not fit."""
    series = read_lge(case.image, spacing_mm=case.spacing_mm)
    labels, _ = read_label_map(case.labels, spacing_mm=case.spacing_mm)
    if labels.shape != series.image.shape:
        raise InputError(f"{case.name}: labels have shape {labels.shape}, the image has {series.image.shape}.")
    if labels.max() > Label.MVO:
        raise InputError(f"{case.name}: label value {labels.max()} is unknown; 0 background to 4 MVO are expected.")
    return series, labels


@dataclass(frozen=True)
class PreparedCase:
    """A patient's slices at `pixel_mm`, along patient axes where the file knows them (see `crop.patient_axes`).

    `image` float32 and `labels` uint8 `[slice, row, column]`; `center` `(row, column)` of the LV in these pixels.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    center: np.ndarray


def resample_labels(labels: np.ndarray, to_rows: np.ndarray, to_columns: np.ndarray) -> np.ndarray:
    """Each class is resampled as a mask of its own; where they meet, it is decided as between probabilities (`decide`): no value is
    ever invented between two, and muscle that is half healthy, half scar is not lost to the blood beside it."""
    masks = np.stack([to_rows @ (labels == value).astype(np.float32) @ to_columns.T for value in Label])
    return decide(masks, 0.5, 0.5)


@lru_cache(maxsize=256)  # the folds of a cross-validation share their patients
def prepare(case: CaseFile, pixel_mm: float) -> PreparedCase:
    series, labels = read_case(case)
    image, labels = (to_patient_axes(planes, series.geometry) for planes in (series.image, labels))
    spacing_mm = series.geometry.pixel_spacing_mm
    spacing_mm = spacing_mm[::-1] if patient_axes(series.geometry)[0] else spacing_mm
    return _prepared(case.name, image, labels, spacing_mm, pixel_mm)


def _prepared(name: str, image, labels, spacing_mm: tuple[float, float], pixel_mm: float) -> PreparedCase:
    matrices = []
    for axis in (0, 1):
        step = pixel_mm / spacing_mm[axis]
        size = image.shape[1 + axis]
        matrices.append(resampling_matrix(max(int(round(size / step)), 1), (step - 1) / 2, step, size))
    resampled = np.stack([resample_labels(plane, *matrices) for plane in labels])
    lv = np.argwhere(resampled > 0)
    center = lv[:, 1:].mean(axis=0) if len(lv) else np.array(resampled.shape[1:]) / 2
    image = np.stack([matrices[0] @ plane @ matrices[1].T for plane in image]).astype(np.float32)
    return PreparedCase(name, image, resampled, center)


#: Typical pixel of short-axis cine; the cine set states none.
CINE_PIXEL_MM = 1.5


#: Labels of cine anatomy (background, RV, myocardium, cavity) as ours.
_CINE_LABELS = np.array([Label.BACKGROUND, Label.BACKGROUND, Label.MYOCARDIUM, Label.BLOOD_POOL], np.uint8)


def list_cine(folder: Path, folds: list[int] | None = None) -> list[Path]:
    """Cine volumes `patientNNN_*.npz` of the patients of `folds`: the number in a patient's name, modulo five; a volume without a number
    is of every fold. Raises InputError."""
    files = sorted(Path(folder).glob("*.npz"))
    if not files:
        raise InputError(f"No cine volumes (*.npz) in {folder}.")
    number = {file: re.sub(r"\D", "", file.stem.split("_")[0]) for file in files}
    of_folds = [f for f in files if folds is None or not number[f] or int(number[f]) % DEFAULT_FOLD_COUNT in folds]
    if not of_folds:
        raise InputError(f"No cine volume in {folder} belongs to folds {folds}.")
    return of_folds


def read_cine(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Image float32 and our labels uint8, `[slice, row, column]`, of a volume with 0 background, 1 RV, 2 myocardium, 3 cavity."""
    with np.load(file) as stored:
        return stored["image"].astype(np.float32), _CINE_LABELS[stored["labels"]]


def prepare_cine(folder: Path, pixel_mm: float, folds: list[int] | None = None) -> list[PreparedCase]:
    """Cine anatomy (`*.npz`, see `read_cine`) of the patients of `folds` as further hearts.

    Of use where contrast matters little, as for finding the LV. Scale is nominal: augmentation covers the error.
    """
    return [_prepared_cine(file, pixel_mm) for file in list_cine(folder, folds)]


@lru_cache(maxsize=512)
def _prepared_cine(file: Path, pixel_mm: float) -> PreparedCase:
    return _prepared(file.stem, *read_cine(file), (CINE_PIXEL_MM, CINE_PIXEL_MM), pixel_mm)
