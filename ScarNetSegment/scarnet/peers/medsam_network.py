"""MedSAM (Ma et al., Nat Commun 2024): Segment Anything's own parts, at the published size and at a small one.

The network is `segment_anything`'s: image encoder, prompt encoder for the box, mask decoder with its four mask tokens. Published
checkpoints load key for key. Zero-shot, the first token gives one mask for the box. Fine-tuned on LGE, the four tokens give the four
nested regions that this project reports: LV, muscle, scar, MVO, without a change of architecture.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import nn

from scarnet.errors import ModelError, UsageError
from scarnet.network.config import VIT_B, EncoderConfig
from scarnet.network.encoder import SamImageEncoder, read_checkpoint

REGIONS = ("left ventricle", "myocardium", "scar", "microvascular obstruction")


@dataclass(frozen=True)
class MedSamConfig:
    """`side`: of the square input in pixels; `pixel_mm` 0: the whole image is resized to it, as MedSAM does."""

    side: int
    pixel_mm: float
    encoder: EncoderConfig
    decoder_mlp: int
    decoder_heads: int
    iou_hidden: int

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "MedSamConfig":
        encoder = dict(values["encoder"])
        encoder["global_attention_blocks"] = tuple(encoder["global_attention_blocks"])
        return cls(**{**values, "encoder": EncoderConfig(**encoder)})


PRESETS = {
    # As published: 1024 pixels, ViT-B.
    "medsam": MedSamConfig(1024, 0.0, VIT_B, 2048, 8, 256),
    # The same parts for a processor, on a crop of 192 mm about the LV. Nothing published fits it: it starts from chance.
    "medsam-small": MedSamConfig(
        128,
        1.5,
        EncoderConfig(
            pretrained_size=128,
            patch_size=8,
            embed_dim=192,
            depth=6,
            num_heads=6,
            window_size=8,
            global_attention_blocks=(2, 5),
            out_channels=128,
        ),
        512,
        4,
        128,
    ),
    # For tests: seconds, not useful on images.
    "medsam-tiny": MedSamConfig(64, 2.5, EncoderConfig(64, 16, 32, 2, 2, 3, (1,), 32), 64, 2, 32),
}


def medsam_preset(name: str) -> MedSamConfig:
    if name not in PRESETS:
        raise UsageError(f"No MedSAM preset is called '{name}'; known are {', '.join(PRESETS)}.")
    return PRESETS[name]


class MedSam(nn.Module):
    """Promptable network: images and one box each to the logits of all four mask tokens."""

    def __init__(self, config: MedSamConfig):
        super().__init__()
        self.config = config
        width, tokens = config.encoder.out_channels, config.side // config.encoder.patch_size
        self.image_encoder = SamImageEncoder(config.encoder)
        self.prompt_encoder = PromptEncoder(
            embed_dim=width,
            image_embedding_size=(tokens, tokens),
            input_image_size=(config.side, config.side),
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=width, mlp_dim=config.decoder_mlp, num_heads=config.decoder_heads
            ),
            transformer_dim=width,
            iou_head_depth=3,
            iou_head_hidden_dim=config.iou_hidden,
        )

    def forward(self, images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """`images` `(batch, 1, side, side)` in 0..1, `boxes` `(batch, 4)` as x0, y0, x1, y1 in its pixels, to logits
        `(batch, 4, side, side)`.
        """
        embeddings = self.image_encoder(images.expand(-1, 3, -1, -1))
        sparse, dense = self.prompt_encoder(points=None, boxes=boxes, masks=None)
        places = self.prompt_encoder.get_dense_pe()
        # The decoder takes one image at a time: given several it would pair every image with every box.
        masks = [
            self.mask_decoder.predict_masks(
                image_embeddings=embeddings[n : n + 1],
                image_pe=places,
                sparse_prompt_embeddings=sparse[n : n + 1],
                dense_prompt_embeddings=dense[n : n + 1],
            )[0]
            for n in range(len(images))
        ]
        return F.interpolate(torch.cat(masks), size=images.shape[-2:], mode="bilinear", align_corners=False)


def load_checkpoint(network: MedSam, checkpoint: Path) -> None:
    """A published `medsam_vit_b.pth` (or SAM's), all or nothing, read with `weights_only=True`. Raises ModelError."""
    checkpoint = Path(checkpoint)
    state = read_checkpoint(checkpoint)
    state = {key.removeprefix("module."): value for key, value in state.items()}
    wanted = network.state_dict()
    wrong = sorted(k for k in wanted if k not in state or state[k].shape != wanted[k].shape)
    if wrong:
        raise ModelError(
            f"{checkpoint.name} is no ViT-B checkpoint of MedSAM or SAM: {len(wrong)} of {len(wanted)} tensors are missing or of "
            f"another shape, the first {wrong[0]}."
        )
    network.load_state_dict({key: state[key].float() for key in wanted})
