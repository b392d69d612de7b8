"""One patient: read, segment or keep what was segmented, measure, write. The same function on every kind of worker."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from scarnet.cohort.settings import CohortSettings, check_networks
from scarnet.cohort.store import (
    CORRECTED,
    FAILED,
    REFUSED,
    SEGMENTED,
    PatientState,
    finished,
    hash_or_empty,
    read_state,
    write_state,
)
from scarnet.cohort.thumbnail import write_thumbnail
from scarnet.errors import InputError
from scarnet.export import read_segmentation_file, write_outputs
from scarnet.export.hand_work import SEGMENTATION_NAMES, edited_names, keep_edits
from scarnet.export.run_folder import read_run
from scarnet.export.tables import patient_row
from scarnet.files import sha256_of
from scarnet.quantification import QuantificationParameters, ScarReport, quantify, summarise_edits
from scarnet.segmentation import ScarSegmentation, segment
from scarnet.segments import after_edits
from scarnet.series import LgeSeries, read_lge

#: A hand's segmentation, in a patient's folder: read, never written.
CORRECTION_NAMES = ("corrected.seg.nrrd", "corrected.nrrd", "corrected.nii.gz", "corrected.nii")
#: Folder of the report on a corrected segmentation, in a patient's folder.
CORRECTED_FOLDER = "corrected"
THUMBNAIL_NAME = "thumbnail.png"

Segmenter = Callable[..., ScarSegmentation]


@dataclass(frozen=True)
class WorkItem:
    """All that a worker needs. `correction`: a hand's segmentation from elsewhere, before one in `folder`; `source`: see `PatientState`."""

    key: str
    path: Path
    folder: Path
    fingerprint: str
    settings: CohortSettings
    correction: Path | None = None
    source: str = ""


def find_correction(folder: Path, given: Path | None) -> Path | None:
    """The hand's segmentation that is to be measured, or None."""
    places = [given] if given is not None else [Path(folder) / name for name in CORRECTION_NAMES]
    return next((path for path in places if path.is_file()), None)


def has_result(folder: Path, state: PatientState) -> bool:
    """Whether the state's row is a result whose report is there, and no segmentation was edited since."""
    status = state.row.get("status")
    report = Path(folder) / {SEGMENTED: "", CORRECTED: CORRECTED_FOLDER}.get(status, "") / "report.json"
    return state.complete and status in (SEGMENTED, CORRECTED) and report.is_file() and not was_edited(folder, state)


def was_edited(folder: Path, state: PatientState) -> list[str]:
    """Names of segmentations that are there and are not what the model left."""
    return edited_names(folder, state.drawn) if state.complete else []


def run_patient(item: WorkItem, segment: Segmenter = segment) -> PatientState:
    """Bring a patient's folder up to date and return its state. Raises only for failures that are not the input's.

    A killed run leaves the state of before, or one marked incomplete: doing it again ends the same.
    """
    item.folder.mkdir(parents=True, exist_ok=True)
    state = replace(_keep_edits(item.folder, _known(item.folder)), source=item.source)
    correction = find_correction(item.folder, item.correction)
    facts = {**item.settings.identity(), "correction": hash_or_empty(correction), "input": ""}
    try:
        series = read_lge(item.path)
        facts["input"] = series.source.content_sha256
        if state.made_from == facts and has_result(item.folder, state):  # touched or copied, the same images
            state = replace(state, fingerprint=item.fingerprint)
            write_state(item.folder, state)
            return state
        state, labels, report = _update(item, state, series, facts, correction, segment)
        status, reason = SEGMENTED if correction is None else CORRECTED, ""
        row = patient_row(report) | {"review": len(report.quality.review)}
    except InputError as error:
        status, reason, row = REFUSED, _reason(item, str(error)), {}
    row = {"patient": item.key, "status": status, "reason": reason} | row
    state = finished(state, row, made_from=facts, fingerprint=item.fingerprint)
    write_state(item.folder, state)
    return state


def mark_failed(item: WorkItem, reason: str) -> PatientState:
    """The row of a patient on whom a worker failed or died; the next command tries again."""
    item.folder.mkdir(parents=True, exist_ok=True)
    row = {"patient": item.key, "status": FAILED, "reason": _reason(item, reason)}
    facts = {**item.settings.identity(), "correction": "", "input": ""}
    state = finished(
        replace(_known(item.folder), source=item.source), row, made_from=facts, fingerprint=item.fingerprint
    )
    write_state(item.folder, state)
    return state


def _known(folder: Path) -> PatientState:
    """The state on disk. Of files that were being replaced when a run ended it is not known whose they are."""
    state = read_state(folder)
    return state if state.complete else replace(state, drawn={}, drawn_from={})


def _update(
    item: WorkItem, state: PatientState, series: LgeSeries, facts: dict, correction: Path | None, segment: Segmenter
) -> tuple[PatientState, np.ndarray, ScarReport]:
    """State with what was drawn, labels that count, and their report. Raises InputError where there is none."""
    run, problem = None, None
    try:
        state, run, report = _drawn(item, state, series, facts, keep=correction is not None, segment=segment)
    except InputError as error:
        if correction is None:
            raise
        problem = error  # a hand may outline what the model could not find
    if correction is None:
        _remove_report_of_correction(item.folder / CORRECTED_FOLDER)
        labels = run.labels
    else:
        labels, report = _measure_correction(item, series, correction, run, problem)
    write_thumbnail(item.folder / THUMBNAIL_NAME, series, labels)
    return state, labels, report


def _drawn(
    item: WorkItem, state: PatientState, series: LgeSeries, facts: dict, *, keep: bool, segment: Segmenter
) -> tuple[PatientState, ScarSegmentation, ScarReport | None]:
    """What the model draws; read back without its report where it was drawn before from the same and `keep` is True."""
    drawn_from = {name: fact for name, fact in facts.items() if name != "correction"}
    if keep and state.drawn_from == drawn_from:
        try:
            return state, read_run(item.folder, series), None
        except InputError:
            pass  # removed or damaged: drawn again
    check_networks(item.settings)
    settings = item.settings
    run = segment(series, model=settings.model, device=settings.device, test_time_flips=settings.test_time_flips)
    parameters = QuantificationParameters(settings.density_g_per_ml)
    report = quantify(series, run.labels, parameters=parameters, segmentation=run)
    write_state(item.folder, replace(state, complete=False))
    write_outputs(
        item.folder,
        series,
        run.labels,
        report,
        segmentation=run,
        with_report=settings.with_report,
        paper=settings.paper,
    )
    drawn = {name: sha256_of(item.folder / name) for name in SEGMENTATION_NAMES}
    return replace(state, drawn=drawn, drawn_from=drawn_from), run, report


def _measure_correction(
    item: WorkItem, series: LgeSeries, correction: Path, run: ScarSegmentation | None, problem: InputError | None
) -> tuple[np.ndarray, ScarReport]:
    """As `scarnet measure --ai` does: the hand's segmentation, the model's values beside it."""
    read = read_segmentation_file(correction, series)
    facts: dict = {"read_from_file_sha256": sha256_of(correction)}
    provenance: dict = {"segmentation": facts}
    notes = read.notes
    if run is None:
        notes += (f"The model drew nothing here: {problem}",)
    else:
        provenance["edits"] = summarise_edits(run.labels, read.labels, series.geometry)
    origins = after_edits(read.origins, provenance.get("edits") or ())
    facts["origins"] = {name: asdict(origin) for name, origin in origins.items()}
    report = quantify(
        series,
        read.labels,
        parameters=QuantificationParameters(item.settings.density_g_per_ml),
        segmentation=run,
        notes=notes,
        provenance=provenance,
    )
    write_outputs(
        item.folder / CORRECTED_FOLDER,
        series,
        read.labels,
        report,
        segmentation=run,
        with_report=item.settings.with_report,
        paper=item.settings.paper,
        with_segmentation=False,
    )
    return read.labels, report


def _keep_edits(folder: Path, state: PatientState) -> PatientState:
    """A segmentation that a hand saved over the model's becomes the correction; an older correction is kept under a number.

    The model's own has then to be drawn again, since reports set it beside the correction.
    """
    edited = keep_edits(folder, state.drawn if state.complete else {})
    return replace(state, drawn={}, drawn_from={}) if edited else state


def _remove_report_of_correction(folder: Path) -> None:
    """Once the correction is gone, so is the report on it: the files that `write_outputs` wrote, and nothing else."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.suffix in (".json", ".csv", ".html", ".pdf"):
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def _reason(item: WorkItem, text: str) -> str:
    """One line; under a pseudonym without any name of the input's files and folders, nor where they lie."""
    text = " ".join(text.split())[:600]
    if not item.settings.pseudonyms:
        return text
    names = {str(item.path), item.path.name}
    if item.path.is_dir():
        names |= {p.name for p in item.path.rglob("*")}
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "(input)", text)
    return text
