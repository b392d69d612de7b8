"""Models that are there: `scarnet models list`, `verify` and `add`."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from scarnet.errors import UsageError

models_app = typer.Typer(help="The models that are there, checked and added.", no_args_is_help=True)


@models_app.command("list")
def models_list() -> None:
    """Every model that is there, shipped or added."""
    from scarnet.network import list_models

    for card, folder in list_models():
        typer.echo(
            f"{card.name}  version {card.version}  {card.kind} {card.preset}  {card.sha256[:12]}  {card.licence}  {folder}"
        )


@models_app.command("verify")
def models_verify(
    name: Annotated[Optional[str], typer.Argument(help="A name or folder; default: all.")] = None,
) -> None:
    """Check files against the SHA-256 on their card."""
    from scarnet.network import list_models, verify

    folders = [folder for card, folder in list_models() if name in (None, card.name)]
    if name is not None and Path(name).is_dir():
        folders = [Path(name)]
    if not folders:
        raise UsageError(f"No model is called '{name}'; see: scarnet models list.")
    for folder in folders:
        card = verify(folder)
        typer.echo(f"{card.name} {card.version}: {len(card.files)} files are as its card says")


@models_app.command("add")
def models_add(
    source: Annotated[Path, typer.Argument(help="A model folder, or a SAM or MedSAM ViT-B checkpoint (.pth).")],
    sha256: Annotated[Optional[str], typer.Option(help="Expected SHA-256 of a checkpoint.")] = None,
) -> None:
    """Copy a model folder, or MedSAM's image encoder, among your models. Nothing is ever downloaded."""
    from scarnet.network.registry import add_folder

    if source.is_dir():
        typer.echo(f"Added {add_folder(source)}")
        return
    try:
        from scarnet.network.medsam import add_checkpoint
    except ImportError as error:
        raise UsageError(
            f"Checkpoints need PyTorch ({error.name} is missing): pip install slicer-scarnet[training]."
        ) from None
    folder, report = add_checkpoint(source, sha256=sha256)
    typer.echo(f"{report}\nAdded {folder}")
