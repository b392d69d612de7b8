"""Building blocks that both branches of ScarNet share."""

import torch
from torch import nn


class SqueezeExcite(nn.Module):
    """Channel gate from the global mean (Hu et al., CVPR 2018). Works at batch size one: no norm on the pooled map."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        hidden = max(channels // reduction, 4)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x.mean((2, 3), keepdim=True))


class SpatialGate(nn.Module):
    """One map in 0..1 from the mean and maximum over channels (as in CBAM, Woo et al., ECCV 2018)."""

    def __init__(self, kernel_sizes: tuple[int, ...]):
        super().__init__()
        self.scales = nn.ModuleList(nn.Conv2d(2, 1, size, padding=size // 2) for size in kernel_sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return torch.sigmoid(sum(scale(summary) for scale in self.scales) / len(self.scales))


class ScarAttention(nn.Module):
    """Channel gate, then a 7x7 spatial gate, on a residual path so that a closed gate cannot silence a block.

    The paper's figure 2 shows the channel gate alone; its code adds the spatial gate. This is the union of the two.
    """

    def __init__(self, channels: int, kernel_sizes: tuple[int, ...] = (7,)):
        super().__init__()
        self.channel_gate = SqueezeExcite(channels, reduction=8)
        self.spatial_gate = SpatialGate(kernel_sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gated = self.channel_gate(x)
        return x + gated * self.spatial_gate(gated)


class MultiScaleScarAttention(ScarAttention):
    """Scar attention whose spatial gate looks at 3, 7 and 11 pixels: thin rims and whole walls alike."""

    def __init__(self, channels: int):
        super().__init__(channels, kernel_sizes=(3, 7, 11))


def attention_stages(channels: int, *, squeeze_excite: bool, scar_attention: bool) -> list[nn.Module]:
    """What follows the convolutions of a block, with either part left out for ablations."""
    return ([SqueezeExcite(channels)] if squeeze_excite else []) + ([ScarAttention(channels)] if scar_attention else [])


def conv_bn_relu(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
