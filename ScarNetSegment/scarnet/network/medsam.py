"""MedSAM's (or SAM's) ViT-B image encoder as a model folder of the user's, to start training from."""

import tempfile
from pathlib import Path

from scarnet.errors import ModelError
from scarnet.files import sha256_of
from scarnet.network.build import save_weights
from scarnet.network.config import VIT_B
from scarnet.network.encoder import CheckpointReport, SamImageEncoder, load_medsam_encoder
from scarnet.network.registry import CARD_NAME, WEIGHTS_NAME, ModelCard, add_folder


def add_checkpoint(checkpoint: Path, *, sha256: str | None = None) -> tuple[Path, CheckpointReport]:
    """Read the image encoder out of `checkpoint`, all or nothing, and keep it as fp16 safetensors.

    `sha256`: what the file must have, where its publisher states it. The hash is recorded on the card either way.
    """
    checkpoint = Path(checkpoint)
    encoder = SamImageEncoder(VIT_B)
    report = load_medsam_encoder(encoder, checkpoint)
    found = sha256_of(checkpoint)
    if sha256 is not None and found != sha256.lower():
        raise ModelError(
            f"{checkpoint.name} has SHA-256 {found}, not {sha256.lower()}; fetch it again from its publisher."
        )
    with tempfile.TemporaryDirectory() as folder:
        save_weights(encoder, Path(folder) / WEIGHTS_NAME)
        card = ModelCard(
            name=checkpoint.stem.replace("_", "-"),
            version=found[:12],
            kind="encoder",
            preset="paper",
            config=VIT_B.__dict__,
            classes=[],
            input={"normalisation": "as the network that holds it"},
            files={WEIGHTS_NAME: sha256_of(Path(folder) / WEIGHTS_NAME)},
            training={"checkpoint": checkpoint.name, "checkpoint_sha256": found},
            licence="as published with the checkpoint",
        )
        (Path(folder) / CARD_NAME).write_text(card.to_json(), encoding="utf-8")
        return add_folder(Path(folder)), report
