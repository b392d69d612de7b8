"""Networks from their configurations, and their weights on disk: everything here needs torch."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from scarnet.errors import ModelError
from scarnet.files import replacing
from scarnet.network.config import EncoderConfig, FinderConfig, ScarNetConfig

#: Steps on either side of zero that a kernel or matrix is rounded to, for each output. Stored as fp16 like all else, but
#: packed to less than half the size wherever files are packed: downloads, installers, this repository's history. On 17 patients that model 8's
#: recipe had not seen, with 127, 63 and 31 steps: myocardium 0.870, 0.868 and 0.869, scar of pathological patients 0.614, 0.612 and 0.610.
STEPS = 47
SMALLEST_ROUNDED = 1024  # elements


def build(kind: str, config: dict) -> nn.Module:
    """The untrained network of a card (`kind`, `config`)."""
    if kind == "scarnet":
        from scarnet.network.scarnet import ScarNet

        return ScarNet(ScarNetConfig.from_dict(config))
    if kind == "finder":
        from scarnet.network.unet import UNet

        return UNet(1, 1, FinderConfig.from_dict(config).channels)
    if kind == "encoder":
        from scarnet.network.encoder import SamImageEncoder

        return SamImageEncoder(
            EncoderConfig(**{**config, "global_attention_blocks": tuple(config["global_attention_blocks"])})
        )
    raise ModelError(f"A model of kind '{kind}' cannot be built.")


def rounded(network: nn.Module) -> nn.Module:
    """`network` with the numbers that are stored: fp16, of which large tensors take multiples of a power of two, at most `STEPS`.

    The error is a thirtieth of a tensor's size (root mean square).
    """
    network = network.eval().half().float()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1 and parameter.numel() >= SMALLEST_ROUNDED:
                largest = parameter.abs().amax(tuple(range(1, parameter.ndim)), keepdim=True)
                step = torch.exp2(torch.ceil(torch.log2(largest.clamp(min=1e-6) / STEPS)))
                parameter.copy_((parameter / step).round() * step)
    return network


def save_weights(network: nn.Module, path: Path) -> None:
    """fp16 safetensors of everything the network needs, buffers included; counters are left out."""
    state = {k: v.detach().half().contiguous().cpu() for k, v in network.state_dict().items() if v.is_floating_point()}
    with replacing(path) as part:
        save_file(state, part)


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill `network` from `save_weights`' file. Raises ModelError unless every tensor is there in its shape."""
    state = {key: value.float() for key, value in load_file(path).items()}
    wanted = {key: value for key, value in network.state_dict().items() if value.is_floating_point()}
    wrong = sorted(set(wanted) ^ set(state)) or sorted(k for k in wanted if wanted[k].shape != state[k].shape)
    if wrong:
        raise ModelError(f"{path} does not fit its configuration: {len(wrong)} tensors differ, first {wrong[0]}.")
    network.load_state_dict(state, strict=False)


def export_onnx(
    network: nn.Module, path: Path, *, weights: Path, channels: int, side: int, any_size: bool = False
) -> None:
    """Write `network` as ONNX whose weights are those of `weights`, the file of `save_weights` beside it; arithmetic is in fp32.

    Input `slices` `(batch, channels, side, side)`, output `logits`; the batch is free, and with `any_size` so are rows
    and columns (multiples of 16). Only small tensors lie in the file itself, the others are ONNX's external data.
    """
    import logging

    from scarnet.network.channel_softmax import spell_out_softmax  # these need onnx, which using a network does not
    from scarnet.network.shared_weights import share_weights

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    network = network.eval()
    batch = torch.export.Dim("batch", min=1, max=4096)
    shape = {0: batch}
    if any_size:
        shape |= {2: 16 * torch.export.Dim("rows", min=1, max=64), 3: 16 * torch.export.Dim("columns", min=1, max=64)}
    with replacing(path) as part:
        torch.onnx.export(
            network,
            (torch.zeros(2, channels, side, side),),
            part,
            input_names=["slices"],
            output_names=["logits"],
            dynamic_shapes=(shape,),
            opset_version=18,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
        share_weights(part, weights)
        spell_out_softmax(part)
