"""The tables of a cohort, each replaced as a whole: `cohort.csv`, `cohort.parquet`, `changes.csv`."""

from collections.abc import Iterable
from pathlib import Path

from scarnet.cohort.store import ROW_COLUMNS, PatientState
from scarnet.export.tables import write_csv
from scarnet.files import replacing

#: Columns that hold no decimal number.
_WORDS = {"patient", "status", "reason", "input_sha256", "model", "model_version", "model_sha256", "software_version"}
_COUNTS = {"review", "enhanced_slices", "slices", "warnings"}
_TRUTHS = {"edited", "spacing_assumed"}


def table_rows(states: Iterable[PatientState]) -> list[dict]:
    """One row for each patient whose folder is complete, by name, all with the same columns."""
    rows = [state.row for state in sorted(states, key=lambda s: s.patient) if state.complete]
    extra = sorted({name for row in rows for name in row} - set(ROW_COLUMNS))
    return [{name: row.get(name) for name in (*ROW_COLUMNS, *extra)} for row in rows]


def change_rows(states: Iterable[PatientState]) -> list[dict]:
    """What earlier rows held, one line for each value that differs."""
    ordered = sorted(states, key=lambda s: s.patient)
    return [{"patient": state.patient, **change} for state in ordered for change in state.changes]


def write_tables(folder: Path, states: Iterable[PatientState]) -> list[Path]:
    """Write what there is to write; Parquet where pyarrow is installed. Returns the paths."""
    states, folder = list(states), Path(folder)
    written = []
    if rows := table_rows(states):
        write_csv(folder / "cohort.csv", rows)
        written.append(folder / "cohort.csv")
        if write_parquet(folder / "cohort.parquet", rows):
            written.append(folder / "cohort.parquet")
    if changes := change_rows(states):
        write_csv(folder / "changes.csv", changes)
        written.append(folder / "changes.csv")
    return written


def write_parquet(path: Path, rows: list[dict]) -> bool:
    """The same rows with their types; False where pyarrow is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return False
    types = {name: pyarrow.string() for name in _WORDS}
    types |= {name: pyarrow.int64() for name in _COUNTS} | {name: pyarrow.bool_() for name in _TRUTHS}
    schema = pyarrow.schema([(name, types.get(name, pyarrow.float64())) for name in rows[0]])
    with replacing(path) as part:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), part)
    return True
