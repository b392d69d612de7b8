"""ScarNet (Tavakoli et al., JCMR 2025, doi 10.1016/j.jocmr.2025.101945): one class, sizes by configuration."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from scarnet.errors import UsageError
from scarnet.network.blocks import MultiScaleScarAttention, attention_stages, conv_bn_relu
from scarnet.network.config import ScarNetConfig
from scarnet.network.encoder import SamImageEncoder
from scarnet.network.unet import UNet


class ScarNetLogits(NamedTuple):
    """Logits `(batch, classes, side, side)`; a branch that is switched off is None."""

    fused: torch.Tensor
    encoder: torch.Tensor | None
    unet: torch.Tensor | None


class EncoderBranch(nn.Module):
    """SAM image encoder, three attention decoder blocks, each brought to full resolution, concatenated and reduced."""

    def __init__(self, config: ScarNetConfig):
        super().__init__()
        self.progressive = config.progressive_decoder
        self.encoder = SamImageEncoder(config.encoder)
        widths = (config.encoder.out_channels, *config.decoder_channels)
        patch = config.encoder.patch_size
        strides = [max(patch >> n, 1) if config.progressive_decoder else patch for n in (1, 2, 3)]
        self.decoder = nn.ModuleList(
            nn.Sequential(
                *conv_bn_relu(a, b),
                *attention_stages(
                    b,
                    squeeze_excite=config.use_squeeze_excite,
                    scar_attention=config.use_scar_attention and stride >= config.scar_attention_stride,
                ),
            )
            for a, b, stride in zip(widths[:-1], widths[1:], strides, strict=True)
        )
        self.reducer = nn.Conv2d(sum(config.decoder_channels), config.reduced_channels, 1)
        self.attention = (
            MultiScaleScarAttention(config.reduced_channels)
            if config.use_scar_attention and config.scar_attention_stride == 1
            else nn.Identity()
        )
        self.head = nn.Conv2d(config.reduced_channels, config.num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = x.shape[-2:]
        x = self.encoder(x)
        # A 1x1 convolution and bilinear upsampling commute: reducing each block's share first and upsampling the result
        # equals upsampling, concatenating to 224 channels and reducing, at a fraction of the work.
        weights = self.reducer.weight.split([block[0].out_channels for block in self.decoder], dim=1)
        reduced = self.reducer.bias[None, :, None, None]
        for block, weight in zip(self.decoder, weights, strict=True):
            if self.progressive and x.shape[-1] < size[-1]:
                x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(x)
            reduced = reduced + F.interpolate(F.conv2d(x, weight), size=size, mode="bilinear", align_corners=False)
        return self.head(self.attention(reduced))


class ScarNet(nn.Module):
    """Encoder branch beside an attention U-Net; the softmaxes of both are fused by two convolutions.

    Input `(batch, in_slices, side, side)`, normalised as in `scarnet.segmentation.crop`. With one slice it is repeated
    into the encoder's three channels. With a single branch switched on, its logits are the result and nothing is fused.
    """

    def __init__(self, config: ScarNetConfig):
        super().__init__()
        if not (config.use_encoder_branch or config.use_unet_branch):
            raise UsageError("ScarNet needs at least one of its two branches.")
        if config.in_slices not in (1, 3):
            raise UsageError(f"ScarNet takes 1 or 3 slices, got in_slices={config.in_slices}.")
        self.config = config
        self.encoder_branch = EncoderBranch(config) if config.use_encoder_branch else None
        self.unet_branch = (
            UNet(
                config.in_slices,
                config.num_classes,
                config.unet_channels,
                squeeze_excite=config.use_squeeze_excite,
                scar_attention=config.use_scar_attention,
                scar_attention_stride=config.scar_attention_stride,
            )
            if config.use_unet_branch
            else None
        )
        width = 2 * config.num_classes
        both = config.use_encoder_branch and config.use_unet_branch
        # 32 hidden channels: the paper does not state the width of its fusion.
        self.fusion = nn.Sequential(*conv_bn_relu(width, 32), nn.Conv2d(32, config.num_classes, 1)) if both else None

    def branches(self, x: torch.Tensor) -> ScarNetLogits:
        """All three outputs, for deep supervision."""
        encoder = unet = None
        if self.encoder_branch is not None:
            encoder = self.encoder_branch(x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x)
        if self.unet_branch is not None:
            unet = self.unet_branch(x)
        if self.fusion is None:
            return ScarNetLogits(encoder if unet is None else unet, encoder, unet)
        fused = self.fusion(torch.cat([encoder.softmax(1), unet.softmax(1)], dim=1))
        return ScarNetLogits(fused, encoder, unet)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Fused logits `(batch, classes, side, side)`."""
        return self.branches(x).fused


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
