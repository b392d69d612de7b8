"""What a study holds: `scarnet series list`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from scarnet.errors import UsageError
from scarnet.files import readable

series_app = typer.Typer(help="What a study holds, and which stack of it would be used.", no_args_is_help=True)


@series_app.command("list")
def series_list(
    study: Annotated[Path, typer.Argument(help="A DICOM folder, a file, a DICOMDIR or a zip archive.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """Every stack of a study, the best LGE short axis first, with a verdict and its reason."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from scarnet.series.listing import COLUMNS, summary
    from scarnet.series.study import read_study

    with readable(study):
        there = study.exists()
    if not there:
        raise UsageError(f"{study} does not exist; give a DICOM folder, a DICOMDIR or a zip archive.")
    found = summary(read_study(study))
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
        return
    console = Console()
    table = Table(box=None, pad_edge=False)
    for title, _ in COLUMNS:
        table.add_column(title, overflow="fold")
    for row in found["stacks"]:
        style = "bold" if row["number"] == found["chosen"] else "" if row["usable"] else "dim"
        table.add_row(*(Text(cell(row)) for _, cell in COLUMNS), style=style)
    console.print(table)
    console.print()
    for row in found["stacks"]:
        console.print(
            f"{row['number']}: {row['reason']}",
            style="" if row["usable"] else "dim",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    for reason, count in found["left_out"].items():
        console.print(f"Left out: {reason}: {count}", style="dim", markup=False, highlight=False)
    if found["chosen"]:
        console.print(f"'scarnet segment' takes stack {found['chosen']}; --series chooses another.", highlight=False)
    else:
        console.print(found["problem"], style="yellow", markup=False, highlight=False, soft_wrap=True)
