"""Writes Resources/columns.md: what every column of the CSV files holds. Run after changing one."""

from pathlib import Path

from scarnet.cohort.store import CHANGE_COLUMNS, OWN_COLUMNS
from scarnet.export.tables import COLUMNS, PATIENT_COLUMNS, columns_markdown

PATH = Path(__file__).resolve().parent.parent / "Resources" / "columns.md"
#: A cohort's row goes on with the columns of report.csv.
ALL_COLUMNS = {
    **COLUMNS,
    "report.csv with --identified (before the others)": PATIENT_COLUMNS,
    "cohort.csv (before the columns of report.csv)": OWN_COLUMNS,
    "changes.csv": CHANGE_COLUMNS,
}

if __name__ == "__main__":
    PATH.write_text(columns_markdown(ALL_COLUMNS), encoding="utf-8")
