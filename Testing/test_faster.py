"""The network rewritten for speed gives what the plain one gives."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: the faster network was not tested")

from scarnet.network.build import build  # noqa: E402
from scarnet.network.config import PRESETS, EncoderConfig  # noqa: E402
from scarnet.network.encoder import SamImageEncoder  # noqa: E402
from scarnet.network.faster import faster  # noqa: E402


def random_like_trained(module, seed=0):
    """Weights, biases, relative positions and batch statistics of a size that matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if not value.is_floating_point():
                continue
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith("running_var"):
                value.copy_(0.5 + noise.abs())
            elif value.ndim < 2 or "rel_pos" in name:
                value.add_(0.5 * noise)
    return module.eval()


@pytest.mark.parametrize(
    ("tokens", "window"), [(4, 7), (8, 14), (7, 7), (9, 4), (8, 4), (14, 7), (13, 5)], ids=lambda v: str(v)
)
def test_an_encoder_of_real_tokens_equals_the_padded_one(tokens, window):
    config = EncoderConfig(32 * 4, 4, 24, 3, 3, window, (1,), 8)
    plain = random_like_trained(SamImageEncoder(config))
    images = torch.randn(2, 3, 4 * tokens, 4 * tokens, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = plain(images), faster(plain)(images)
    assert expected.std() > 0.1
    assert torch.allclose(found, expected, atol=1e-4), (found - expected).abs().max()


def test_padding_matters_and_is_accounted_for():
    """Leaving the padded tokens out without their key would be wrong by far more than rounding."""
    config = EncoderConfig(32 * 4, 4, 24, 1, 3, 7, (), 8)
    plain = random_like_trained(SamImageEncoder(config))
    images = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = plain(images)
        for block in (without := faster(plain)).blocks:
            block.window_size = 0  # global attention over the real tokens
            block.attn.rel_pos_h = torch.nn.Parameter(block.attn.rel_pos_h[3:-3])
            block.attn.rel_pos_w = torch.nn.Parameter(block.attn.rel_pos_w[3:-3])
        assert (without(images) - expected).abs().max() > 1e-2


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_whole_networks_are_equal_and_the_original_is_left_alone(preset):
    plain = random_like_trained(build("scarnet", PRESETS[preset].to_dict()))
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    slices = torch.randn(2, 3, *[PRESETS[preset].input_size] * 2, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        quick = faster(plain)
        assert torch.allclose(quick(slices), plain(slices), atol=1e-4, rtol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in plain.state_dict().items())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in quick.modules())


@pytest.mark.slow
def test_the_paper_network_is_equal():
    plain = random_like_trained(build("scarnet", PRESETS["paper"].to_dict()))
    slices = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected, found = plain(slices).numpy(), faster(plain)(slices).numpy()
    assert np.abs(found - expected).max() < 1e-4
