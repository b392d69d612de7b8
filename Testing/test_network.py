"""The networks: the paper's sizes, every layer trained, the same numbers from torch and ONNX Runtime, checked files."""

import json
import shutil
import zlib
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: networks were not tested")

from scarnet.errors import ModelError, UsageError  # noqa: E402
from scarnet.network import find_model, list_models, load_network, read_card, verify  # noqa: E402
from scarnet.network.blocks import ScarAttention  # noqa: E402
from scarnet.network.build import load_weights, rounded, save_weights  # noqa: E402
from scarnet.network.config import PRESETS, VIT_B, EncoderConfig, FinderConfig, ScarNetConfig, preset  # noqa: E402
from scarnet.network.encoder import SamImageEncoder, load_medsam_encoder  # noqa: E402
from scarnet.network.registry import ModelCard, add_folder  # noqa: E402
from scarnet.network.scarnet import ScarNet, count_parameters  # noqa: E402
from scarnet.network.shared_weights import SMALLEST  # noqa: E402
from scarnet.resources import user_models_folder  # noqa: E402
from scarnet.training.train import write_model  # noqa: E402

SMALL_ENCODER = EncoderConfig(128, 16, 32, 2, 2, 3, (1,), 16)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    """A model folder of random weights, written as training writes it."""
    torch.manual_seed(3)
    network = ScarNet(PRESETS["tiny"])
    config = network.config
    card = ModelCard(
        name="tiny",
        version="1",
        kind="scarnet",
        preset="tiny",
        config=config.to_dict(),
        classes=["background", "blood pool", "myocardium", "scar", "microvascular obstruction"],
        input={"pixel_mm": 1.5, "side": config.input_size, "in_slices": config.in_slices, "normalisation": ""},
        files={},
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return write_model(network, card, folder, channels=config.in_slices, side=config.input_size)


def test_the_paper_size_network_has_about_122_million_parameters():
    with torch.device("meta"):
        network = ScarNet(PRESETS["paper"])
    encoder_branch, unet = count_parameters(network.encoder_branch), count_parameters(network.unet_branch)
    assert (encoder_branch, unet) == (90_075_398, 31_698_343)
    assert count_parameters(network) == 121_776_241
    # ViT-B as published: 86.9 M with its position embedding for 1024 pixels, and the neck.
    assert 89.0e6 < count_parameters(network.encoder_branch.encoder) < 90.0e6


def test_the_small_network_is_the_same_class_below_five_million():
    assert count_parameters(ScarNet(PRESETS["small"])) < 5_000_000


@pytest.mark.parametrize("name", ["small", "tiny"])
@pytest.mark.parametrize("batch", [1, 2])
def test_output_has_the_size_of_the_input_even_for_a_batch_of_one(name, batch):
    config = PRESETS[name]
    network = ScarNet(config).train()
    side = config.input_size
    out = network.branches(torch.randn(batch, config.in_slices, side, side))
    assert all(logits.shape == (batch, config.num_classes, side, side) for logits in out)
    assert all(torch.isfinite(logits).all() for logits in out)


def paper_form(**switches):
    """The paper's architecture, narrow enough for a test."""
    return replace(
        PRESETS["paper"],
        input_size=64,
        encoder=SMALL_ENCODER,
        decoder_channels=(16, 8, 8),
        reduced_channels=8,
        unet_channels=(4, 8, 8, 16),
        **switches,
    )


@pytest.mark.parametrize("config", [paper_form(), PRESETS["tiny"]], ids=["paper form", "tiny"])
def test_every_parameter_is_registered_and_trained(config):
    """The released code left layers out of the optimiser; here a loss on the outputs reaches each of them."""
    still = None
    for seed in range(4):  # the four hidden units of a narrow gate may all start dead, but not every time
        torch.manual_seed(seed)
        network = ScarNet(config).train()
        x = torch.randn(3, config.in_slices, config.input_size, config.input_size)
        target = torch.randint(0, config.num_classes, (3, config.input_size, config.input_size))
        sum(torch.nn.functional.cross_entropy(logits, target) for logits in network.branches(x)).backward()
        silent = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
        still = silent if still is None else still & silent
    assert not still


def test_the_paper_form_works_at_token_resolution_and_ours_climbs():
    coarse = ScarNet(paper_form()).encoder_branch
    fine = ScarNet(paper_form(progressive_decoder=True)).encoder_branch
    sizes = {}
    for name, branch in (("coarse", coarse), ("fine", fine)):
        branch.decoder[2].register_forward_hook(lambda m, i, out, name=name: sizes.__setitem__(name, out.shape[-1]))
        branch(torch.randn(1, 3, 64, 64))
    assert sizes == {"coarse": 4, "fine": 32}


def test_reducing_before_upsampling_equals_the_papers_order():
    """Upsample each block to full size, concatenate, reduce: the paper's figure, computed as drawn."""
    torch.manual_seed(1)
    branch = ScarNet(paper_form()).encoder_branch.eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features, parts = branch.encoder(x), []
        for block in branch.decoder:
            features = block(features)
            parts.append(torch.nn.functional.interpolate(features, size=(64, 64), mode="bilinear", align_corners=False))
        drawn = branch.head(branch.attention(branch.reducer(torch.cat(parts, dim=1))))
        assert torch.allclose(branch(x), drawn, atol=1e-5)


def test_switches_take_parts_away():
    full = count_parameters(ScarNet(PRESETS["tiny"]))
    for switch in ("use_encoder_branch", "use_unet_branch", "use_scar_attention", "use_squeeze_excite"):
        network = ScarNet(replace(PRESETS["tiny"], **{switch: False}))
        assert count_parameters(network) < full
        assert network(torch.randn(1, 3, 80, 80)).shape == (1, 5, 80, 80)
    with pytest.raises(UsageError, match="at least one of its two branches"):
        ScarNet(replace(PRESETS["tiny"], use_encoder_branch=False, use_unet_branch=False))
    with pytest.raises(UsageError, match="1 or 3 slices"):
        ScarNet(replace(PRESETS["tiny"], in_slices=2))
    with pytest.raises(UsageError, match="small"):
        preset("huge")


def test_scar_attention_can_be_kept_to_coarse_blocks():
    def attends(block):
        return any(isinstance(module, ScarAttention) for module in block.modules())

    everywhere, coarse = ScarNet(replace(PRESETS["small"], scar_attention_stride=1)), ScarNet(PRESETS["small"])
    for network, expected in ((everywhere, [True] * 4), (coarse, [False, False, True, True])):
        assert [attends(block) for block in network.unet_branch.down] == expected
        assert [attends(block) for block in network.unet_branch.merge] == expected[::-1]
        assert attends(network.unet_branch.center) and attends(network.encoder_branch.decoder[0])
        assert attends(network.encoder_branch.attention) == expected[0]


@pytest.mark.parametrize("name", PRESETS)
def test_configurations_survive_json(name):
    assert ScarNetConfig.from_dict(json.loads(json.dumps(PRESETS[name].to_dict()))) == PRESETS[name]


def test_finder_configuration_survives_json():
    assert FinderConfig.from_dict(json.loads(json.dumps(FinderConfig().to_dict()))) == FinderConfig()


# --- MedSAM's checkpoint ------------------------------------------------------------------------------------------


def medsam_like(encoder, prefix="image_encoder."):
    """A checkpoint as MedSAM's: the whole SAM under its prefixes."""
    state = {prefix + key: torch.randn_like(value) for key, value in encoder.state_dict().items()}
    return state | {"mask_decoder.iou_token.weight": torch.zeros(1, 256)}


@pytest.mark.parametrize("prefix", ["image_encoder.", "module.image_encoder.", ""])
def test_a_medsam_checkpoint_fills_the_encoder_and_says_so(tmp_path, prefix):
    encoder = SamImageEncoder(SMALL_ENCODER)
    state = medsam_like(encoder, prefix)
    torch.save(state, tmp_path / "medsam.pth")
    report = load_medsam_encoder(encoder, tmp_path / "medsam.pth")
    assert len(report.loaded) == len(encoder.state_dict()) and not report.missing and not report.misshapen
    assert report.ignored == ("mask_decoder.iou_token.weight",)
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, state[prefix + key])


def damaged(state, how):
    key = next(k for k in state if k.endswith("blocks.0.attn.qkv.weight"))
    if how == "missing":
        del state[key]
    elif how == "misshapen":
        state[key] = state[key][:5]
    elif how == "another network":
        state = {"conv1.weight": torch.zeros(3)}
    return state


@pytest.mark.parametrize("how", ["missing", "misshapen", "another network"])
def test_a_partial_checkpoint_is_refused_and_changes_nothing(tmp_path, how):
    encoder = SamImageEncoder(SMALL_ENCODER)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    torch.save(damaged(medsam_like(encoder), how), tmp_path / "m.pth")
    with pytest.raises(ModelError, match="does not fit|no image encoder"):
        load_medsam_encoder(encoder, tmp_path / "m.pth")
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_a_checkpoint_with_code_in_it_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"image_encoder.patch_embed.proj.weight": Trap()}, tmp_path / "m.pth")
    with pytest.raises(ModelError, match="cannot be read"):
        load_medsam_encoder(SamImageEncoder(SMALL_ENCODER), tmp_path / "m.pth")
    assert not (tmp_path / "sprung").exists()


def test_positions_are_resized_to_the_input():
    encoder = SamImageEncoder(SMALL_ENCODER).eval()
    assert encoder(torch.randn(1, 3, 64, 64)).shape == (1, 16, 4, 4)
    assert encoder(torch.randn(1, 3, 128, 128)).shape == (1, 16, 8, 8)


@pytest.mark.slow
def test_vit_b_takes_a_checkpoint_of_the_published_shape(tmp_path):
    """Key for key what `segment_anything` itself builds, at its 1024 pixels; then run at 128."""
    from segment_anything import sam_model_registry

    torch.save(sam_model_registry["vit_b"]().state_dict(), tmp_path / "medsam_vit_b.pth")
    encoder = SamImageEncoder(VIT_B)
    report = load_medsam_encoder(encoder, tmp_path / "medsam_vit_b.pth")
    assert len(report.loaded) == 177 and len(report.ignored) > 100
    assert encoder.eval()(torch.randn(1, 3, 128, 128)).shape == (1, 256, 8, 8)


@pytest.mark.slow
def test_the_paper_size_network_runs_and_trains_on_a_batch_of_one():
    network = ScarNet(PRESETS["paper"]).train()
    logits = network(torch.randn(1, 1, 128, 128))
    assert logits.shape == (1, 4, 128, 128) and torch.isfinite(logits).all()
    logits.square().mean().backward()
    assert network.encoder_branch.encoder.blocks[0].attn.qkv.weight.grad.abs().sum() > 0


# --- model folders ------------------------------------------------------------------------------------------------


def test_onnx_runtime_gives_what_torch_gives(tiny_folder):
    x = np.random.default_rng(0).normal(size=(3, 3, 80, 80)).astype(np.float32)
    onnx = load_network(tiny_folder, device="cpu")
    torch_ = load_network(tiny_folder, device="cpu", runtime="torch")
    assert (onnx.runtime, torch_.runtime) == ("onnxruntime", "torch")
    assert np.abs(onnx.logits(x) - torch_.logits(x)).max() < 1e-4
    assert np.allclose(onnx.logits(x[:1]), onnx.logits(x)[:1], atol=1e-5)
    assert np.array_equal(onnx.logits(x), onnx.logits(x))


@pytest.mark.parametrize("kind", ["scarnet", "finder"])
def test_the_shipped_networks_are_the_same_in_both_runtimes(kind):
    folder = find_model(kind=kind)
    card = read_card(folder)
    side = card.input.get("side", 96)
    x = np.random.default_rng(1).normal(size=(2, card.input.get("in_slices", 1), side, side)).astype(np.float32)
    a, b = (load_network(folder, device="cpu", runtime=runtime).logits(x) for runtime in ("onnxruntime", "torch"))
    # Written before weights were shared: these ONNX files hold convolution and batch norm as one, rounded once more to 16 bits.
    assert np.abs(1 / (1 + np.exp(-a)) - 1 / (1 + np.exp(-b))).max() < 5e-3


def test_weights_are_stored_once_and_packed_to_half_their_size(tiny_folder):
    """The ONNX file reads kernels and matrices from the safetensors file, also those that the exporter transposed or scaled."""
    import onnx

    network = ScarNet(PRESETS["tiny"])
    load_weights(network, tiny_folder / "weights.safetensors")
    graph = onnx.load(tiny_folder / "network.onnx", load_external_data=False).graph
    outside = [t for t in graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert {entry.value for t in outside for entry in t.external_data if entry.key == "location"} == {
        "weights.safetensors"
    }
    large = sum(p.numel() for p in network.parameters() if p.numel() >= SMALLEST)
    assert sum(np.prod(t.dims) for t in outside) >= large > 0.9 * count_parameters(network)
    packed = zlib.compress((tiny_folder / "weights.safetensors").read_bytes())
    assert len(packed) < 0.7 * (tiny_folder / "weights.safetensors").stat().st_size


@pytest.mark.parametrize("axis", (1, -1))
def test_a_softmax_over_channels_is_spelt_out_and_no_other(tmp_path, axis):
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    from scarnet.network.channel_softmax import spell_out_softmax

    shape = ["batch", 5, 6, 7]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("given", "result")]
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["given"], ["result"], axis=axis)], "one", ends[:1], ends[1:]
    )
    path = tmp_path / "one.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    values = 200 * np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)  # exponentials overflow
    before, after = [], []
    for answers in (before, after):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        answers.append(session.run(None, {"given": values})[0])
        spell_out_softmax(path)
    assert np.allclose(after, before, atol=1e-6)
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert ("Softmax" in kinds) == (axis == -1)


def test_networks_are_written_and_shipped_without_a_softmax_over_channels(tiny_folder):
    import onnx

    for folder in (tiny_folder, find_model()):
        nodes = onnx.load(folder / "network.onnx", load_external_data=False).graph.node
        axes = [a.i for node in nodes if node.op_type == "Softmax" for a in node.attribute if a.name == "axis"]
        assert axes and 1 not in axes  # attention's are left


def test_stored_numbers_are_those_of_the_network_but_for_a_hundredth():
    torch.manual_seed(0)
    before = ScarNet(PRESETS["tiny"])
    after = rounded(deepcopy(before))
    for (name, a), b in zip(before.named_parameters(), after.parameters(), strict=True):
        a, b = a.detach(), b.detach()
        error = float(((a - b).square().mean() / a.square().mean().clamp(min=1e-12)).sqrt())
        assert error < (0.02 if a.ndim > 1 and a.numel() >= 1024 else 1e-3), name
    again = rounded(deepcopy(after))  # a model that is read and written again stays what it is
    assert all(torch.equal(a, b) for a, b in zip(after.parameters(), again.parameters(), strict=True))


def test_weights_that_do_not_fit_are_refused(tmp_path):
    save_weights(ScarNet(PRESETS["tiny"]), tmp_path / "w.safetensors")
    other = ScarNet(replace(PRESETS["tiny"], num_classes=4))
    with pytest.raises(ModelError, match="does not fit its configuration"):
        load_weights(other, tmp_path / "w.safetensors")


def test_a_changed_or_missing_file_is_refused(tiny_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    assert verify(copy).name == "tiny"
    data = bytearray((copy / "network.onnx").read_bytes())
    data[1000] ^= 1
    (copy / "network.onnx").write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_network(copy, device="cpu")
    (copy / "network.onnx").unlink()
    with pytest.raises(ModelError, match="is missing"):
        load_network(copy, device="cpu")


@pytest.mark.parametrize(
    "change",
    [
        {"files": {}},
        {"files": {"../x": "0"}},
        {"files": ["network.onnx"]},
        {"files": {"network.onnx": 5}},
        {"schema": "other/1"},
        {"kind": "cat"},
        {"name": "a/b"},
        {"name": ".."},
        {"name": 5},
    ],
)
def test_a_card_that_cannot_be_trusted_is_refused(tiny_folder, tmp_path, change):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    card = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(card | change))
    with pytest.raises(ModelError):
        verify(copy)
    there = sorted(user_models_folder().rglob("*"))
    with pytest.raises(ModelError):
        add_folder(copy)
    assert sorted(user_models_folder().rglob("*")) == there


def test_adding_copies_once_and_finds_again(tiny_folder):
    added = add_folder(tiny_folder)
    try:
        assert find_model("tiny") == added
        assert "tiny" in [card.name for card, _ in list_models()]
        with pytest.raises(ModelError, match="is there already"):
            add_folder(tiny_folder)
    finally:
        shutil.rmtree(added)
    with pytest.raises(ModelError, match="No model 'tiny'"):
        find_model("tiny")


def test_devices_that_are_not_there_are_named(tiny_folder):
    with pytest.raises(UsageError, match="Unknown device"):
        load_network(tiny_folder, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no usable 'cuda'"):
            load_network(tiny_folder, device="cuda")
