"""The hospital's archive: `scarnet pacs`."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from scarnet.cli.options import Output
from scarnet.errors import UsageError
from scarnet.pacs.address import OWN_AE_TITLE, OWN_PORT

pacs_app = typer.Typer(
    help="Find, fetch and store in the hospital's archive: http://host:8042/dicom-web (DICOMweb) or "
    "dicom://AETITLE@host:104 (C-FIND, C-MOVE, C-STORE).",
    no_args_is_help=True,
)

Address = Annotated[str, typer.Argument(help="http(s)://host/dicom-web, or dicom://AETITLE@host:port.")]
OwnTitle = Annotated[str, typer.Option("--own-ae-title", help="By which a DICOM archive knows this computer.")]
OwnPort = Annotated[int, typer.Option("--own-port", help="Of this computer, to which a DICOM archive sends.")]


@pacs_app.command("list")
def pacs_list(
    archive: Address,
    patient: Annotated[Optional[str], typer.Option(help="Patient ID: lists their studies.")] = None,
    study: Annotated[Optional[str], typer.Option(help="Study instance UID: lists its series.")] = None,
    own_ae_title: OwnTitle = OWN_AE_TITLE,
    own_port: OwnPort = OWN_PORT,
) -> None:
    """Studies of a patient, or series of a study; * marks series that may be LGE."""
    from scarnet.pacs import archive_at, lge_series

    if (patient is None) == (study is None):
        raise UsageError("Give --patient ID to list studies, or --study UID to list series.")
    there = archive_at(archive, own_ae_title=own_ae_title, own_port=own_port)
    if patient is not None:
        rows = there.studies(patient)
        for row in rows:
            typer.echo(f"{row.uid}  {row.date or '?'}  {'/'.join(row.modalities) or '?'}  {_plain(row.description)}")
        if not rows:
            typer.echo("The archive has no study of this patient.")
        return
    rows = there.series(study)
    likely = {row.uid for row in lge_series(rows)}
    for row in rows:
        mark = "*" if row.uid in likely else " "
        images = "?" if row.images is None else row.images
        typer.echo(
            f"{mark} {row.uid}  {row.number or '?'}  {row.modality or '?'}  {images} images  {_plain(row.description)}"
        )
    if not rows:
        typer.echo("The archive has no series of this study.")


@pacs_app.command("fetch")
def pacs_fetch(
    archive: Address,
    study: Annotated[str, typer.Option(help="Study instance UID, from 'scarnet pacs list'.")],
    output: Output,
    series: Annotated[
        Optional[list[str]], typer.Option(help="Series instance UID; may be repeated. Default: those that may be LGE.")
    ] = None,
    own_ae_title: OwnTitle = OWN_AE_TITLE,
    own_port: OwnPort = OWN_PORT,
) -> None:
    """Fetch the LGE series of a study into a folder, for 'scarnet segment'."""
    from scarnet.export.outputs import check_writable
    from scarnet.pacs import archive_at, lge_series
    from scarnet.pacs.archive import ArchiveError

    check_writable(output)
    if output.is_dir() and any(output.iterdir()):
        raise UsageError(f"{output} is not empty; give a new folder, so that studies do not mix.")
    there = archive_at(archive, own_ae_title=own_ae_title, own_port=own_port)
    uids = series or [row.uid for row in lge_series(there.series(study))]
    if not uids:
        raise ArchiveError("The archive has no MR series of this study; check the UID with 'scarnet pacs list'.")
    files = there.fetch(study, uids, output)
    typer.echo(f"{len(files)} images of {len(uids)} series in {output}.")


@pacs_app.command("store")
def pacs_store(
    archive: Address,
    files: Annotated[list[Path], typer.Argument(help="DICOM files: segmentation.dcm, report.dcm.")],
    own_ae_title: OwnTitle = OWN_AE_TITLE,
    own_port: OwnPort = OWN_PORT,
) -> None:
    """Store results (DICOM SEG and SR) in the archive."""
    from scarnet.pacs import archive_at
    from scarnet.series.dicom import is_dicom

    for file in files:
        if not file.is_file() or not is_dicom(file):
            raise UsageError(
                f"{file} is no DICOM file; give segmentation.dcm and report.dcm of 'scarnet segment --dicom'."
            )
    count = archive_at(archive, own_ae_title=own_ae_title, own_port=own_port).store(files)
    typer.echo(f"The archive took {count} files.")


def _plain(text: str) -> str:
    """Text of a header, which could steer a terminal."""
    return "".join(c for c in text if c.isprintable())[:80]
