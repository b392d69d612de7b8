"""The attention U-Net of ScarNet, and the small plain U-Net that finds the left ventricle."""

import torch
from torch import nn

from scarnet.network.blocks import attention_stages, conv_bn_relu


class UNet(nn.Module):
    """U-Net with two 3x3 convolutions a block and the given attention after them (Ronneberger et al., MICCAI 2015).

    `(batch, in_channels, side, side)` to `(batch, num_classes, side, side)` logits; the side is a multiple of
    2 ** len(channels). The centre is twice as wide as the last level.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        channels: tuple[int, ...],
        *,
        squeeze_excite: bool = False,
        scar_attention: bool = False,
        scar_attention_stride: int = 1,
    ):
        super().__init__()

        def block(width_in: int, width_out: int, stride: int) -> nn.Sequential:
            return nn.Sequential(
                *conv_bn_relu(width_in, width_out),
                *conv_bn_relu(width_out, width_out),
                *attention_stages(
                    width_out,
                    squeeze_excite=squeeze_excite,
                    scar_attention=scar_attention and stride >= scar_attention_stride,
                ),
            )

        widths = (in_channels, *channels)
        strides = [2**level for level in range(len(channels))]
        self.down = nn.ModuleList(block(a, b, s) for a, b, s in zip(widths[:-1], widths[1:], strides, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.center = block(channels[-1], 2 * channels[-1], 2 * strides[-1])
        below = (2 * channels[-1], *reversed(channels[1:]))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in zip(below, reversed(channels), strict=True)
        )
        self.merge = nn.ModuleList(
            block(2 * c, c, s) for c, s in zip(reversed(channels), reversed(strides), strict=True)
        )
        self.head = nn.Conv2d(channels[0], num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.center(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips), strict=True):
            x = merge(torch.cat([skip, up(x)], dim=1))
        return self.head(x)
