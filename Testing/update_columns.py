"""Writes Resources/columns.md: what every column of the CSV files holds. Run after changing one."""

from pathlib import Path

from scarnet.export.tables import columns_markdown

PATH = Path(__file__).resolve().parent.parent / "Resources" / "columns.md"

if __name__ == "__main__":
    PATH.write_text(columns_markdown(), encoding="utf-8")
