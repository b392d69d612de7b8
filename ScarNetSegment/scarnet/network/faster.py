"""The same network, cheaper on a processor: exact rewritings for inference, no approximations.

- SAM pads every attention window to its full size; at 128x128 pixels there are 8x8 tokens in a window of 14x14. A padded
  token is zero, so its key and value are the biases alone, whatever the image: all of them together act as one more key
  whose score is the logarithm of the sum of theirs, and as queries they are thrown away. Only real tokens are computed.
- Batch normalisation is folded into the convolution before it.
- Attention goes through torch's fused kernel, convolutions see their channels last.

Equal to the plain network up to the rounding of 32-bit sums (`Testing/test_faster.py` holds both to 1e-4).
"""

import copy

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Block, get_rel_pos
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def faster(network: nn.Module) -> nn.Module:
    """A copy of `network` for inference, its attention blocks and convolutions rewritten; the original is left alone."""
    result = copy.deepcopy(network).eval()
    for module in list(result.modules()):
        if isinstance(module, nn.Sequential):
            _fold_batch_norm(module)
        for name, child in list(module.named_children()):
            if isinstance(child, Block):
                setattr(module, name, RealTokensBlock(child))
    return result.requires_grad_(False).to(memory_format=torch.channels_last)


class RealTokensBlock(nn.Module):
    """A transformer block of SAM's encoder (`segment_anything.modeling.image_encoder.Block`) without padded tokens."""

    def __init__(self, block: Block):
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = block.norm1, block.attn, block.norm2, block.mlp
        self.window_size = block.window_size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens `(batch, rows, columns, width)`."""
        normed = self.norm1(x)
        x = x + (self._windows(normed) if self.window_size else self._attend(normed, normed.shape[1:3]))
        return x + self.mlp(self.norm2(x))

    def _windows(self, x: torch.Tensor) -> torch.Tensor:
        """Whole windows, and those that the lower and the right edge cut, each kind at once."""
        window, (height, width) = self.window_size, x.shape[1:3]
        rows = _pieces(height, window)
        columns = _pieces(width, window)
        return torch.cat(
            [torch.cat([self._same_windows(x[:, r0:r1, c0:c1]) for c0, c1 in columns], dim=2) for r0, r1 in rows],
            dim=1,
        )

    def _same_windows(self, x: torch.Tensor) -> torch.Tensor:
        """Attention within windows that all hold the same number of real rows and columns."""
        batch, height, width, channels = x.shape
        h, w = min(height, self.window_size), min(width, self.window_size)
        split = x.reshape(batch, height // h, h, width // w, w, channels).transpose(2, 3)
        attended = self._attend(split.reshape(-1, h, w, channels), (self.window_size, self.window_size))
        return attended.reshape(batch, height // h, width // w, h, w, channels).transpose(2, 3).reshape(x.shape)

    def _attend(self, x: torch.Tensor, full: tuple[int, int]) -> torch.Tensor:
        """`x` `(windows, h, w, width)` are the real tokens of windows of `full` rows and columns."""
        windows, h, w, channels = x.shape
        heads = self.attn.num_heads
        q, k, v = (
            self.attn.qkv(x).reshape(windows, h * w, 3, heads, -1).permute(2, 0, 3, 1, 4)
        )  # (windows, heads, n, d)
        by_row, by_column = self._relative_positions(q, (h, w), full)
        bias = (by_row[..., :h, None] + by_column[..., None, :w]).flatten(-2)
        if (h, w) != tuple(full):
            _, pad_key, pad_value = self.attn.qkv.bias.reshape(3, heads, -1)
            score = (q @ pad_key[:, :, None])[..., 0] * self.attn.scale
            bias = torch.cat([bias, (score + _log_sum_of_padding(by_row, by_column, h, w))[..., None]], dim=-1)
            k = torch.cat([k, k.new_zeros(1).expand(windows, heads, 1, k.shape[-1])], dim=2)
            v = torch.cat([v, pad_value[None, :, None].expand(windows, -1, -1, -1).to(v.dtype)], dim=2)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), scale=self.attn.scale)
        return self.attn.proj(out.transpose(1, 2).reshape(windows, h, w, channels))

    def _relative_positions(
        self, q: torch.Tensor, real: tuple[int, int], full: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What every query adds to the score of a key's row `(..., n, full rows)` and of its column."""
        if not self.attn.use_rel_pos:
            return q.new_zeros(*q.shape[:-1], full[0]), q.new_zeros(*q.shape[:-1], full[1])
        rows = get_rel_pos(full[0], full[0], self.attn.rel_pos_h)[: real[0]]  # (h, full rows, d)
        columns = get_rel_pos(full[1], full[1], self.attn.rel_pos_w)[: real[1]]
        grid = q.reshape(*q.shape[:2], *real, -1)
        by_row = torch.einsum("bnhwd,hkd->bnhwk", grid, rows).flatten(2, 3)
        by_column = torch.einsum("bnhwd,wkd->bnhwk", grid, columns).flatten(2, 3)
        return by_row, by_column


def _log_sum_of_padding(by_row: torch.Tensor, by_column: torch.Tensor, h: int, w: int) -> torch.Tensor:
    """Logarithm of the sum, over the padded tokens of a window, of the exponential of their position's score.

    Below the real rows every column is padding; beside them those from `w` on.
    """
    parts = []
    if h < by_row.shape[-1]:
        parts.append(by_row[..., h:].logsumexp(-1) + by_column.logsumexp(-1))
    if w < by_column.shape[-1]:
        parts.append(by_row[..., :h].logsumexp(-1) + by_column[..., w:].logsumexp(-1))
    return parts[0] if len(parts) == 1 else torch.logaddexp(*parts)


def _pieces(length: int, window: int) -> list[tuple[int, int]]:
    """Where whole windows end and a cut one begins."""
    whole = length // window * window
    return [(start, stop) for start, stop in ((0, whole), (whole, length)) if stop > start]


def _fold_batch_norm(sequence: nn.Sequential) -> None:
    for k in range(len(sequence) - 1):
        if isinstance(sequence[k], nn.Conv2d) and isinstance(sequence[k + 1], nn.BatchNorm2d):
            sequence[k] = fuse_conv_bn_eval(sequence[k], sequence[k + 1])
            sequence[k + 1] = nn.Identity()
