"""Other runtimes give what ONNX Runtime gives; a GPU's memory is never asked for more than there is."""

import json
import shutil
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scarnet.cohort.settings import resolve
from scarnet.errors import UsageError
from scarnet.network import find_model, load_network, read_card, runtime
from scarnet.network.batches import Batches, DeviceMemory
from scarnet.segmentation import segment
from scarnet.segmentation.viewer import choose_views, predict

#: Of a logit; the same sums in another order.
TOLERANCE = 1e-3


@pytest.fixture
def openvino():
    return pytest.importorskip("openvino", reason="OPENVINO IS NOT INSTALLED: the other runtime was not tested")


@pytest.mark.parametrize("kind", ["scarnet", "finder"])
def test_openvino_gives_the_logits_of_onnx_runtime(openvino, kind):
    folder = find_model(kind=kind)
    card = read_card(folder)
    side = card.input.get("side", 96)
    for count in (1, 3):
        inputs = np.random.default_rng(count).normal(size=(count, card.input.get("in_slices", 1), side, side))
        a, b = (load_network(folder, device="cpu", runtime=r) for r in ("onnxruntime", "openvino"))
        assert (a.runtime, b.runtime, b.device) == ("onnxruntime", "openvino", "cpu")
        assert np.abs(a.logits(inputs) - b.logits(inputs)).max() < TOLERANCE
    first = b.logits(inputs)
    b.logits(inputs + 1)
    assert np.array_equal(first, b.logits(inputs))  # a result is its own, not the runtime's buffer


def test_openvino_draws_the_same_outlines(openvino, small_phantom):
    a, b = (segment(small_phantom.series, device="cpu", test_time_flips=False, runtime=r) for r in (None, "openvino"))
    assert (a.model["runtime"], b.model["runtime"]) == ("onnxruntime", "openvino")
    assert (a.labels != b.labels).sum() <= 2  # a pixel may lie on a threshold
    assert np.abs(a.probabilities.astype(float) - b.probabilities.astype(float)).max() < 2e-3


def with_card(tmp_path, **changes):
    folder = tmp_path / "model"
    shutil.copytree(find_model(), folder)
    card = json.loads((folder / "model.json").read_text(encoding="utf-8")) | changes
    (folder / "model.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def test_the_card_chooses_and_the_option_overrides(openvino, tmp_path):
    folder = with_card(tmp_path, runtime="openvino")
    assert load_network(folder, device="cpu").runtime == "openvino"
    assert load_network(folder, device="cpu", runtime="auto").runtime == "openvino"
    assert load_network(folder, device="cpu", runtime="onnxruntime").runtime == "onnxruntime"
    assert load_network(find_model(), device="cpu").runtime == "onnxruntime"


def test_where_the_cards_runtime_is_not_installed_the_usual_one_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda name: None)
    assert load_network(with_card(tmp_path, runtime="openvino"), device="cpu").runtime == "onnxruntime"


def test_a_runtime_that_is_not_there_is_said(tmp_path, monkeypatch):
    import sys

    with pytest.raises(UsageError, match="Unknown runtime 'tensorrt'; use one of auto, onnxruntime"):
        load_network(find_model(), runtime="tensorrt")
    with pytest.raises(UsageError, match="runs on the processor"):
        load_network(find_model(), device="cuda", runtime="onnxruntime")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError, match="pip install slicer-scarnet\\[openvino\\]"):
        load_network(with_card(tmp_path), device="cpu", runtime="openvino")


def test_what_a_card_says_of_doubt_or_runtime_makes_a_cohort_anew(tmp_path):
    """A patient is done again when anything that a result rests on has changed."""
    same = resolve(model=str(with_card(tmp_path / "a"))).model_sha256
    assert same == resolve().model_sha256
    for n, change in enumerate(
        ({"doubt": {"x": 1}}, {"runtime": "openvino"}, {"decision": {}}, {"interval": {}}, {"input": {}})
    ):
        assert resolve(model=str(with_card(tmp_path / str(n), **change))).model_sha256 != same, change
    assert resolve(model=str(with_card(tmp_path / "b", citation="another"))).model_sha256 == same


# --- a device with little memory --------------------------------------------------------------------------------------


class Exhausted(RuntimeError):
    pass


@dataclass
class SmallDevice:
    """Holds `limit` bytes, of which `others` are taken. An item takes `each`, once `steps` pieces are run something else comes."""

    limit: int
    each: int
    weights: int = 0
    others: int = 0
    overhead: float = 1.0  # what allocators take beyond what a single item shows
    most: int = 0
    sizes: list = field(default_factory=list)
    failures: int = 0
    released: int = 0

    def memory(self) -> DeviceMemory:
        return DeviceMemory(
            free=lambda: self.limit - self.weights - self.others,
            used=lambda: self.weights,
            peak=lambda: self.most,
            reset_peak=lambda: setattr(self, "most", self.weights),
            release=lambda: setattr(self, "released", self.released + 1),
            is_exhausted=lambda error: isinstance(error, Exhausted),
        )

    def run(self, items):
        need = len(items) * self.each * (self.overhead if len(items) > 1 else 1)
        if self.weights + self.others + need > self.limit:
            self.failures += 1
            raise Exhausted
        self.most = max(self.most, self.weights + int(need))
        self.sizes.append(len(items))
        return 2 * items


@given(
    n=st.integers(1, 40),
    limit=st.integers(1, 1000),
    each=st.integers(1, 50),
    weights=st.integers(0, 300),
    others=st.integers(0, 300),
    overhead=st.floats(1, 3),
)
def test_all_items_come_back_whatever_the_memory(n, limit, each, weights, others, overhead):
    device = SmallDevice(limit, each, weights, others, overhead)
    batches, items = Batches(device.run, device.memory()), np.arange(n * 6, dtype=np.float32).reshape(n, 2, 3)
    if weights + others + each > limit:
        with pytest.raises(MemoryError, match="too little memory"):
            batches(items)
        assert device.failures == 1
        return
    assert np.array_equal(batches(items), 2 * items)
    assert sum(device.sizes) == n and device.released == device.failures <= 6
    if overhead == 1.0:
        assert device.failures == 0


def test_a_large_device_takes_all_the_rest_at_once():
    device = SmallDevice(limit=10**9, each=10)
    batches, items = Batches(device.run, device.memory()), np.zeros((30, 2), np.float32)
    batches(items)
    assert device.sizes == [1, 29]  # the first tells what one takes
    batches(items)
    assert device.sizes == [1, 29, 30]


def test_it_adapts_when_others_take_the_memory_between_calls():
    device = SmallDevice(limit=1000, each=10)
    batches, items = Batches(device.run, device.memory()), np.zeros((50, 2), np.float32)
    batches(items)
    device.others, device.sizes = 900, []
    assert len(batches(items)) == 50 and device.failures == 0 and max(device.sizes) <= 7


def test_other_errors_are_not_taken_for_little_memory():
    def broken(items):
        raise ValueError("shape")

    with pytest.raises(ValueError, match="shape"):
        Batches(broken, SmallDevice(100, 1).memory())(np.zeros((4, 2)))


def test_the_network_under_a_limit_gives_what_it_gives_at_once():
    """The real network, and the code that a GPU is given; only the memory is made up."""
    network = load_network(find_model(), device="cpu")
    crops = np.random.default_rng(0).normal(size=(5, *[network.card.input["side"]] * 2)).astype(np.float32)
    inside = np.ones(crops.shape, bool)
    device = SmallDevice(limit=30, each=10, overhead=1.4)

    def run(items):
        device.run(items)
        return network.logits(items)

    small = type(network)(network.card, Batches(run, device.memory()), "torch", "cuda")
    views = choose_views(network, crops, inside)
    assert choose_views(small, crops, inside) == views
    found, expected = (predict(one, [(crops, inside)], views) for one in (small, network))
    assert np.allclose(found, expected, atol=1e-5)
    assert max(device.sizes) == 2
