"""Sizes and switches of the networks: plain data, no torch."""

from dataclasses import asdict, dataclass, replace

from scarnet.errors import UsageError


@dataclass(frozen=True)
class EncoderConfig:
    """Image encoder of Segment Anything (`segment_anything.modeling.ImageEncoderViT`)."""

    pretrained_size: int  # pixels; the size that the position embeddings are stored for
    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int
    window_size: int
    global_attention_blocks: tuple[int, ...]
    out_channels: int  # of the neck


@dataclass(frozen=True)
class ScarNetConfig:
    """One ScarNet. The paper's form is `PRESETS["paper"]`; every switch beyond it defaults to the paper's behaviour.

    Attributes
        input_size: side of the square input in pixels.
        pixel_mm: of that input. The paper's 128 pixels then cover a chest-wide 192 mm, the small network's 64 a heart's 96 mm.
        num_classes: 4 in the paper (background, blood, myocardium, scar); 5 with microvascular obstruction apart.
        in_slices: 1 in the paper. 3 puts the neighbouring slices into the encoder's three colour channels.
        encoder: the image encoder beside the U-Net.
        decoder_channels: the encoder branch's three blocks; their sum is the width of the concatenation (224).
        reduced_channels: after the 1x1 reducer.
        unet_channels: U-Net levels; the centre is twice the last.
        progressive_decoder: False in the paper, whose decoder works at token resolution throughout and leaves all
            boundary detail to one large bilinear upsampling; True doubles the resolution before every decoder block.
        scar_attention_stride: 1 in the paper, whose scar attention follows every block. 4 keeps it to blocks at a quarter of
            the input's resolution and coarser, where it costs little; at full resolution it takes a third of a step.
        use_encoder_branch, use_unet_branch, use_scar_attention, use_squeeze_excite: for ablations.
    """

    input_size: int
    num_classes: int
    in_slices: int
    encoder: EncoderConfig
    decoder_channels: tuple[int, int, int]
    reduced_channels: int
    unet_channels: tuple[int, int, int, int]
    progressive_decoder: bool = False
    scar_attention_stride: int = 1
    use_encoder_branch: bool = True
    use_unet_branch: bool = True
    use_scar_attention: bool = True
    use_squeeze_excite: bool = True
    pixel_mm: float = 1.5

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "ScarNetConfig":
        values = dict(values)
        encoder = dict(values.pop("encoder"))
        encoder["global_attention_blocks"] = tuple(encoder["global_attention_blocks"])
        values["decoder_channels"] = tuple(values["decoder_channels"])
        values["unet_channels"] = tuple(values["unet_channels"])
        return cls(encoder=EncoderConfig(**encoder), **values)


#: ViT-B exactly as SAM and MedSAM ship it (Kirillov et al. 2023; Ma et al., Nat Commun 2024).
VIT_B = EncoderConfig(
    pretrained_size=1024,
    patch_size=16,
    embed_dim=768,
    depth=12,
    num_heads=12,
    window_size=14,
    global_attention_blocks=(2, 5, 8, 11),
    out_channels=256,
)

PRESETS: dict[str, ScarNetConfig] = {
    # Tavakoli et al., JCMR 2025, doi 10.1016/j.jocmr.2025.101945, figures 1 and 2.
    "paper": ScarNetConfig(
        input_size=128,
        num_classes=4,
        in_slices=1,
        encoder=VIT_B,
        decoder_channels=(128, 64, 32),
        reduced_channels=32,
        unet_channels=(64, 128, 256, 512),
    ),
    # The same class for a laptop's processor: finer tokens, neighbouring slices, a decoder that climbs to full size. What ships.
    "small": ScarNetConfig(
        input_size=64,
        num_classes=5,
        in_slices=3,
        encoder=EncoderConfig(
            pretrained_size=64,
            patch_size=8,
            embed_dim=128,
            depth=4,
            num_heads=4,
            window_size=4,
            global_attention_blocks=(1, 3),
            out_channels=64,
        ),
        decoder_channels=(32, 16, 8),
        reduced_channels=8,
        unet_channels=(16, 32, 64, 128),
        progressive_decoder=True,
        scar_attention_stride=4,
    ),
}
# For tests and smoke runs: seconds, not useful on images.
PRESETS["tiny"] = replace(
    PRESETS["small"],
    input_size=80,
    encoder=EncoderConfig(80, 16, 32, 2, 2, 3, (1,), 16),
    decoder_channels=(16, 8, 8),
    reduced_channels=8,
    unet_channels=(4, 8, 8, 16),
    scar_attention_stride=1,
)


def preset(name: str) -> ScarNetConfig:
    """The configuration called `name`; raises UsageError naming the known ones."""
    if name not in PRESETS:
        raise UsageError(f"No network preset is called '{name}'; known are {', '.join(PRESETS)}.")
    return PRESETS[name]


@dataclass(frozen=True)
class FinderConfig:
    """The network that finds the LV: a small plain U-Net on whole slices at a coarse pixel size."""

    pixel_mm: float = 4.0
    channels: tuple[int, ...] = (8, 16, 32, 64)

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "FinderConfig":
        return cls(pixel_mm=values["pixel_mm"], channels=tuple(values["channels"]))
