"""The same work in a browser: `scarnet app`."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def browser(
    lge: Annotated[
        Optional[Path], typer.Argument(help="A DICOM folder or file, .nii(.gz), .nrrd or .mha to open at once.")
    ] = None,
    port: Annotated[
        Optional[int], typer.Option(help="Of the page; 8765, or a free one, unless given.", max=65535)
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Another than 127.0.0.1 lets other computers in, with a password.")
    ] = "127.0.0.1",
    password_file: Annotated[
        Optional[Path], typer.Option(help="File with the password to ask for; or set SCARNET_APP_PASSWORD.")
    ] = None,
    archive: Annotated[
        Optional[str],
        typer.Option(help="DICOMweb address of the hospital's archive, such as http://pacs:8042/dicom-web."),
    ] = None,
    visitors: Annotated[int, typer.Option(help="People at once; each has a process of their own.", min=1)] = 4,
    memory_mb: Annotated[int, typer.Option(help="Of one person's processes; more ends the session.", min=500)] = 4000,
    idle_minutes: Annotated[float, typer.Option(help="Without a sign of life a session ends.", min=0.1)] = 30.0,
    upload_mb: Annotated[int, typer.Option(help="Of one upload.", min=1)] = 2000,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    r"""Segment, correct and report in a browser, on this computer or for a hospital (needs pip install "slicer-scarnet\[app]")."""
    from scarnet.app.serve import serve

    serve(
        lge,
        host=host,
        port=port,
        password_file=password_file,
        archive=archive,
        visitors=visitors,
        memory_mb=memory_mb,
        idle_minutes=idle_minutes,
        upload_mb=upload_mb,
        open_browser=not no_browser,
        say=typer.echo,
    )
