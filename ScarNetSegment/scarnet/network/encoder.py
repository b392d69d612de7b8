"""The image encoder of Segment Anything, run at any input size, and loading MedSAM's weights into it."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT
from torch import nn

from scarnet.errors import ModelError
from scarnet.network.config import EncoderConfig


class SamImageEncoder(ImageEncoderViT):
    """`ImageEncoderViT` whose stored position embedding is resized to the tokens of the input it meets.

    The parameters keep the pre-training size, so that a published checkpoint loads key for key; the relative positions
    of the global attention blocks are resized by `segment_anything` itself.
    """

    def __init__(self, config: EncoderConfig):
        super().__init__(
            img_size=config.pretrained_size,
            patch_size=config.patch_size,
            embed_dim=config.embed_dim,
            depth=config.depth,
            num_heads=config.num_heads,
            mlp_ratio=4,
            out_chans=config.out_channels,
            qkv_bias=True,
            norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6),
            use_rel_pos=True,
            window_size=config.window_size,
            global_attn_indexes=config.global_attention_blocks,
        )
        nn.init.trunc_normal_(self.pos_embed, std=0.02)  # zeros without a checkpoint would leave tokens without a place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(batch, 3, side, side)` to `(batch, out_channels, side / patch, side / patch)`."""
        x = self.patch_embed(x)
        positions = self.pos_embed
        if positions.shape[1:3] != x.shape[1:3]:
            positions = F.interpolate(
                positions.permute(0, 3, 1, 2), size=x.shape[1:3], mode="bicubic", align_corners=False
            ).permute(0, 2, 3, 1)
        x = x + positions
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))


@dataclass(frozen=True)
class CheckpointReport:
    """What of a checkpoint went into the encoder."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # the encoder wants them, the checkpoint lacks them
    misshapen: tuple[str, ...]  # both have them, in different shapes
    ignored: tuple[str, ...]  # other parts of the checkpoint: prompt encoder, mask decoder

    def __str__(self) -> str:
        return (
            f"{len(self.loaded)} encoder tensors loaded, {len(self.missing)} missing, "
            f"{len(self.misshapen)} of another shape, {len(self.ignored)} of other parts ignored"
        )


def read_checkpoint(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Tensors of a `.pth` (read with `weights_only=True`: no code in it is run) or `.safetensors` file. Raises ModelError."""
    if not checkpoint.is_file():
        raise ModelError(f"No checkpoint at {checkpoint}; give the path of medsam_vit_b.pth.")
    try:
        if checkpoint.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(checkpoint)
        else:
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{checkpoint.name} cannot be read as a checkpoint of tensors ({type(error).__name__})."
        ) from error
    return state.get("model", state.get("state_dict", state)) if isinstance(state, dict) else {}


def load_medsam_encoder(encoder: SamImageEncoder, checkpoint: Path) -> CheckpointReport:
    """Fill `encoder` from a SAM or MedSAM checkpoint (`medsam_vit_b.pth`: tensors under `image_encoder.`).

    All or nothing: raises ModelError, and leaves the encoder as it was, unless every tensor of the encoder is there in
    its shape. The file is read with `weights_only=True`: no code in it is run.
    """
    checkpoint = Path(checkpoint)
    state = read_checkpoint(checkpoint)
    prefix = next(
        (
            p
            for p in ("module.image_encoder.", "image_encoder.", "")
            if any(k.startswith(p + "patch_embed") for k in state)
        ),
        None,
    )
    if prefix is None:
        raise ModelError(f"{checkpoint.name} holds no image encoder; expected tensors named image_encoder.*.")
    candidates = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    wanted = encoder.state_dict()
    loaded = tuple(k for k in wanted if k in candidates and candidates[k].shape == wanted[k].shape)
    report = CheckpointReport(
        loaded=loaded,
        missing=tuple(k for k in wanted if k not in candidates),
        misshapen=tuple(k for k in wanted if k in candidates and k not in loaded),
        ignored=tuple(k for k in state if not k.startswith(prefix) or k.removeprefix(prefix) not in wanted),
    )
    if report.missing or report.misshapen:
        raise ModelError(f"{checkpoint.name} does not fit this encoder: {report}. Nothing was loaded.")
    encoder.load_state_dict({key: candidates[key].float() for key in loaded})
    return report
