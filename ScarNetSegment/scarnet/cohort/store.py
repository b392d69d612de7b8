"""One finished patient on disk: `patients/KEY/row.json`, written whole and last, from which every table is made anew."""

import glob
import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from scarnet.export.tables import COLUMNS
from scarnet.files import replacing, sha256_of

SCHEMA = "scarnet-cohort-row/1"
ROW_NAME = "row.json"
SEGMENTED, CORRECTED, REFUSED, FAILED = "segmented", "corrected", "refused", "failed"

#: Columns of the table, before those of report.csv.
OWN_COLUMNS = {
    "patient": "Name of the patient's folder in patients/.",
    "status": "segmented: by the model; corrected: a hand's segmentation was measured; refused: the input cannot be used; "
    "failed: a failure of the program, tried again the next time.",
    "reason": "Why a patient was refused or failed; empty otherwise.",
    "review": "Number of things in the report that a reader should look at first.",
}
ROW_COLUMNS = (*OWN_COLUMNS, *COLUMNS["report.csv"])
#: Columns of what earlier rows held.
CHANGE_COLUMNS = {
    "patient": OWN_COLUMNS["patient"],
    "number": "Which change of this patient's row, from 1.",
    "changed_utc": "When the new row was made.",
    "because": "What differs from what the earlier row was made of: input, model, finder, software, parameters, correction.",
    "column": "Column of cohort.csv.",
    "before": "Its value in the earlier row.",
    "after": "Its value since.",
}


@dataclass(frozen=True)
class PatientState:
    """What is known of a patient.

    Attributes
        complete: False from before a file is replaced until all are.
        source: path below the folder of patients, by which the patient keeps this folder; empty under pseudonyms.
        fingerprint: of names, sizes and times of the input's files: cheap to compare.
        made_from: the input's content, model, finder, software, parameters, correction (hashes).
        drawn: SHA-256 of the segmentations as the model left them, by file name: a file that differs was edited.
        drawn_from: `made_from` of these, without the correction.
        row: of the table, as `ROW_COLUMNS`.
        changes: what earlier rows held: `number`, `changed_utc`, `because`, `column`, `before`, `after`.
    """

    patient: str
    complete: bool = False
    source: str = ""
    fingerprint: str = ""
    made_from: dict = field(default_factory=dict)
    drawn: dict = field(default_factory=dict)
    drawn_from: dict = field(default_factory=dict)
    row: dict = field(default_factory=dict)
    changes: list = field(default_factory=list)
    schema: str = SCHEMA


def read_state(folder: Path) -> PatientState:
    """An empty state where there is none, or none that can be read: the patient is then done anew."""
    try:
        values = json.loads((Path(folder) / ROW_NAME).read_text(encoding="utf-8"))
        state = PatientState(**{k: values[k] for k in values if k in PatientState.__dataclass_fields__})
    except (OSError, ValueError, TypeError):
        return PatientState(Path(folder).name)
    return state if state.schema == SCHEMA and state.patient == Path(folder).name else PatientState(Path(folder).name)


def write_state(folder: Path, state: PatientState) -> None:
    with replacing(Path(folder) / ROW_NAME) as part:
        part.write_text(json.dumps(asdict(state), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def finished(before: PatientState, row: dict, **facts) -> PatientState:
    """The state after `before` with a new row; what differs from the row before is kept in `changes`."""
    full = {name: row.get(name) for name in ROW_COLUMNS} | row
    after = replace(before, complete=True, row=full, **facts)
    if not before.row or before.row == full:
        return after
    number = 1 + max((change["number"] for change in before.changes), default=0)
    because = [k for k, v in after.made_from.items() if before.made_from.get(k) != v] or ["tried again"]
    shared = {
        "number": number,
        "changed_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "because": " ".join(because),
    }
    # A patient without a result has no numbers to compare.
    both = all(r.get("status") in (SEGMENTED, CORRECTED) for r in (before.row, full))
    columns = list(full) if both else ["status", "reason"]
    changes = [
        {**shared, "column": name, "before": before.row.get(name), "after": full[name]}
        for name in columns
        if before.row.get(name) != full[name]
    ]
    return replace(after, changes=[*before.changes, *changes])


def fingerprint(path: Path) -> str:
    """Of names, sizes and times of all files of an input, without reading them."""
    path = Path(path)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
    elif path.suffix.lower() in (".mhd", ".nhdr"):  # headers whose pixels lie beside them
        files = sorted(p for p in path.parent.glob(f"{glob.escape(path.stem)}.*") if p.is_file())
    else:
        files = [path]
    digest = hashlib.sha256()
    for file in files:
        try:
            facts = file.stat()
        except OSError:  # gone meanwhile
            continue
        digest.update(f"{file.relative_to(path.parent).as_posix()}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def hash_or_empty(path: Path | None) -> str:
    return sha256_of(path) if path is not None and Path(path).is_file() else ""
