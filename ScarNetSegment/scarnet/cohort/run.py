"""A folder of patients to a folder of results: plan, spread the work, keep the tables up to date."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scarnet.cohort.cluster import run_on_cluster
from scarnet.cohort.page import write_page
from scarnet.cohort.patients import PSEUDONYMS_NAME, Patient, find_patients, with_kept_keys, with_pseudonyms
from scarnet.cohort.processes import Failure, run_in_processes
from scarnet.cohort.settings import CohortSettings
from scarnet.cohort.store import FAILED, PatientState, fingerprint, hash_or_empty, read_state, write_state
from scarnet.cohort.tables import write_tables
from scarnet.cohort.work import CORRECTION_NAMES, WorkItem, find_correction, has_result, mark_failed, run_patient
from scarnet.errors import UsageError
from scarnet.export.outputs import check_writable
from scarnet.series.image_file import KINDS

PATIENTS_FOLDER = "patients"
#: Tables and page are rewritten at most this often while patients come in.
TABLE_SECONDS = 5.0

#: Called with patients done now, patients to do now, and the state that came in (None before the first).
OnPatient = Callable[[int, int, PatientState | None], None]


@dataclass(frozen=True)
class CohortResult:
    """`states`: of every patient in the output by key; `done`: keys of those done now; `missing`: no longer in the input."""

    states: dict[str, PatientState]
    done: tuple[str, ...]
    missing: tuple[str, ...]
    written: tuple[Path, ...]

    def count(self, status: str) -> int:
        return sum(state.row.get("status") == status for state in self.states.values())


def run_cohort(
    root: Path,
    output: Path,
    settings: CohortSettings,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    corrections: Path | None = None,
    work: Callable[[WorkItem], PatientState] = run_patient,
    on_patient: OnPatient | None = None,
) -> CohortResult:
    """Segment and measure every patient in `root` who is not yet done with these settings.

    Ended at any moment, the same call goes on: a patient's row is written last, tables are made from the rows. `jobs`:
    processes on this computer, by default one for each processor; `cluster`: address or file of a Dask scheduler, in
    place of these. `corrections`: folder of hands' segmentations, `KEY.seg.nrrd` or `KEY.nii.gz`. Raises InputError
    without patients; UsageError where the output cannot be written or another run is writing it.
    """
    output = Path(output).absolute()
    check_writable(output)
    if corrections is not None and not Path(corrections).is_dir():
        raise UsageError(f"{corrections} is not a folder; give the folder that holds the corrected segmentations.")
    root = Path(root).absolute()
    patients = find_patients(root, leave_out=output)
    output.mkdir(parents=True, exist_ok=True)
    with _alone(output):
        _sweep(output)
        states = {folder.name: read_state(folder) for folder in _folders(output)}
        patients = _under_names(patients, root, output, settings, states)
        items = _plan(patients, root, output, settings, corrections, states)
        done = _work_through(items, states, output, jobs, cluster, work, on_patient or (lambda *_: None))
        written = (*_write(output, states), output / "index.html")
    missing = sorted(set(states) - {patient.key for patient in patients})
    return CohortResult(states, tuple(done), tuple(missing), written)


def _folders(output: Path) -> list[Path]:
    """Of patients in the output."""
    folder = output / PATIENTS_FOLDER
    return sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []


def _under_names(
    patients: list[Patient], root: Path, output: Path, settings: CohortSettings, states: dict[str, PatientState]
) -> list[Patient]:
    """Under pseudonyms or not, as the output already is: a patient must not be in it twice."""
    hidden = (output / PSEUDONYMS_NAME).exists()
    if not hidden and settings.pseudonyms and _folders(output):
        raise UsageError(f"{output} holds patients under their own names; choose a new output for --pseudonyms.")
    if hidden and not settings.pseudonyms:
        raise UsageError(f"{output} holds patients under pseudonyms; add --pseudonyms, or choose a new output.")
    if settings.pseudonyms:
        return with_pseudonyms(patients, output)
    return with_kept_keys(patients, root, {state.source: key for key, state in states.items() if state.source})


def _plan(
    patients: list[Patient],
    root: Path,
    output: Path,
    settings: CohortSettings,
    corrections: Path | None,
    states: dict[str, PatientState],
) -> list[WorkItem]:
    """Work for every patient whose row does not stand for the input, the settings and the correction of now."""
    items = []
    for patient in patients:
        folder = output / PATIENTS_FOLDER / patient.key
        given = _given_correction(corrections, patient.key)
        source = "" if settings.pseudonyms else patient.path.relative_to(root).as_posix()
        item = WorkItem(patient.key, patient.path, folder, fingerprint(patient.path), settings, given, source)
        if not _is_done(item, states.get(patient.key)):
            items.append(item)
        elif states[patient.key].source != source:  # done by a version that did not keep it
            states[patient.key] = replace(states[patient.key], source=source)
            write_state(folder, states[patient.key])
    return items


def _given_correction(folder: Path | None, key: str) -> Path | None:
    if folder is None:
        return None
    folder = Path(folder).absolute()
    suffixes = (".seg.nrrd", *sorted(KINDS, key=len, reverse=True))
    places = [*(folder / f"{key}{suffix}" for suffix in suffixes), *(folder / key / name for name in CORRECTION_NAMES)]
    return next((path for path in places if path.is_file()), None)


def _is_done(item: WorkItem, state: PatientState | None) -> bool:
    if (
        state is None
        or not state.complete
        or state.row.get("status") == FAILED
        or state.fingerprint != item.fingerprint
    ):
        return False
    correction = hash_or_empty(find_correction(item.folder, item.correction))
    wanted = {**item.settings.identity(), "correction": correction}
    if any(state.made_from.get(name) != value for name, value in wanted.items()):
        return False
    return "input" in state.made_from and (state.row["status"] == "refused" or has_result(item.folder, state))


def _work_through(
    items: list[WorkItem],
    states: dict[str, PatientState],
    output: Path,
    jobs: int | None,
    cluster: str | None,
    work: Callable[[WorkItem], PatientState],
    on_patient: OnPatient,
) -> list[str]:
    """Fill `states` as patients come in; keys of those done."""
    on_patient(0, len(items), None)
    done: list[str] = []
    if not items:
        return done
    if cluster is not None:
        results: Iterator[tuple[WorkItem, Any]] = run_on_cluster(work, items, cluster)
    else:
        results = run_in_processes(work, items, min(jobs or processors(), len(items)))
    written = time.monotonic()
    try:
        for item, result in results:
            states[item.key] = mark_failed(item, result.reason) if isinstance(result, Failure) else result
            done.append(item.key)
            if time.monotonic() - written > TABLE_SECONDS:
                _write(output, states)
                written = time.monotonic()
            on_patient(len(done), len(items), states[item.key])
    finally:
        results.close()  # workers end before anything else is written
        _write(output, states)
    return done


def _write(output: Path, states: dict[str, PatientState]) -> list[Path]:
    written = write_tables(output, states.values())
    write_page(output / "index.html", states.values())
    return written


def processors() -> int:
    """That this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Windows and macOS do not know affinity
        return os.cpu_count() or 1


def _sweep(output: Path) -> None:
    """Remove what a killed run left half-written; nobody else is writing."""
    for part in (*output.glob(".part-*"), *(output / PATIENTS_FOLDER).glob("**/.part-*")):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Hold the output; the operating system lets go of it when this process ends, however that is."""
    with (output / ".lock").open("a+b") as file:
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"Another scarnet cohort is writing to {output}; wait for it or choose another output."
            ) from None
        yield
