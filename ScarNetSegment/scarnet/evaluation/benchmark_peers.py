"""What the shipped model is timed against, where it is installed: each timed in turn with it, in one process.

Weights of the peers are random: time does not depend on them. What is not installed is said, not left out.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scarnet.errors import UsageError
from scarnet.evaluation.benchmark import peak_memory_mb, spread, whole_job
from scarnet.network import find_model, load_network
from scarnet.network.runtime import thread_count
from scarnet.segmentation.crop import normalise, with_neighbours
from scarnet.segmentation.finder import find_lv
from scarnet.segmentation.viewer import crop_grid, look
from scarnet.series import LgeSeries, read_lge

#: Slices that the rewritten paper network is timed on.
REWRITTEN_SLICES = 3


class _NotHere(Exception):
    """Why a peer cannot be timed."""


def _peer(prepare: Callable[..., dict[str, Any]]) -> Callable[[Path, str, int], dict[str, Any]]:
    def timed(path: Path, model: str, repeats: int) -> dict[str, Any]:
        try:
            return prepare(path, model, repeats) | {"peak_memory_mb": peak_memory_mb()}
        except _NotHere as missing:
            return {"skipped": str(missing)}
        except ImportError as missing:
            return {"skipped": f"{missing.name or missing} is not installed"}

    return timed


def in_turn(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Seconds of both and how many times longer theirs takes, each warmed up once."""
    ours(), theirs()
    pairs = []
    for _ in range(repeats):
        start = time.perf_counter()
        ours()
        middle = time.perf_counter()
        theirs()
        pairs.append((middle - start, time.perf_counter() - middle))
    return {
        "ours_s": spread([a for a, _ in pairs]),
        "theirs_s": spread([b for _, b in pairs]),
        "theirs_over_ours": spread([b / a for a, b in pairs]),
    }


def _ours(path: Path, model: str) -> tuple[LgeSeries, Any, np.ndarray, np.ndarray]:
    """Series, network, centre and the network's input for a case `[slice, in_slices, side, side]`, one view of each slice."""
    series = read_lge(path)
    center = find_lv(series, load_network(find_model(kind="finder"), device="cpu"))
    network = load_network(find_model(model), device="cpu")
    crops = crop_grid(series, network, center).extract(series.image)
    return series, network, center, with_neighbours(normalise(*crops), network.card.input["in_slices"])


def _torch():
    import torch

    torch.set_num_threads(thread_count())
    return torch


def _eager(path: Path, model: str, repeats: int) -> dict[str, Any]:
    """The same network and weights in plain eager torch: one pass over all slices, without orientations, as one batch each."""
    torch = _torch()
    from torch.utils.flop_counter import FlopCounterMode

    from scarnet.network.build import build, load_weights
    from scarnet.network.registry import WEIGHTS_NAME

    _, network, _, inputs = _ours(path, model)
    if network.runtime != "onnxruntime":
        raise _NotHere("this model runs in torch alone")
    plain = build(network.card.kind, network.card.config).eval()
    load_weights(plain, find_model(model) / WEIGHTS_NAME)
    batch = torch.from_numpy(np.ascontiguousarray(inputs, np.float32))

    def theirs() -> np.ndarray:
        with torch.inference_mode():
            return plain(batch).numpy()

    result = in_turn(lambda: network.logits(inputs), theirs, repeats)
    difference = float(np.abs(network.logits(inputs) - theirs()).max())
    with FlopCounterMode(display=False) as counter:
        theirs()
    gflop = counter.get_total_flops() / 1e9
    limit = _matrix_gflops(torch)
    reached = gflop / result["ours_s"]["median"]
    return result | {
        "largest_difference_of_a_logit": round(difference, 6),
        "gflop": round(gflop, 3),
        "reached_gflops": round(reached, 1),
        "matrix_gflops": round(limit, 1),
        "share_of_matrix_speed": round(reached / limit, 3),
    }


def _openvino(path: Path, model: str, repeats: int) -> dict[str, Any]:
    """The same network in OpenVINO at the same precision and number of threads: all slices as one batch each."""
    _, network, _, inputs = _ours(path, model)
    if network.runtime != "onnxruntime":
        raise _NotHere(f"this model runs in {network.runtime}")
    try:
        other = load_network(find_model(model), device="cpu", runtime="openvino")
    except UsageError:
        raise _NotHere("openvino is not installed") from None
    result = in_turn(lambda: network.logits(inputs), lambda: other.logits(inputs), repeats)
    difference = float(np.abs(network.logits(inputs) - other.logits(inputs)).max())
    return result | {"largest_difference_of_a_logit": round(difference, 6)}


def _matrix_gflops(torch, size: int = 1024, repeats: int = 5) -> float:
    """What a large float32 matrix product reaches with the same number of threads: what the processor allows."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9


def _paper(path: Path, model: str, repeats: int) -> dict[str, Any]:
    """Inference of a case as shipped, orientations included, beside the plain paper network, one slice at a time without."""
    return _beside_paper(path, model, repeats, rewritten=False)


def _paper_faster(path: Path, model: str, repeats: int) -> dict[str, Any]:
    """The paper network rewritten exactly, beside the plain one, on the same few slices: here `ours` is the rewritten one."""
    return _beside_paper(path, model, repeats, rewritten=True)


def _beside_paper(path: Path, model: str, repeats: int, *, rewritten: bool) -> dict[str, Any]:
    torch = _torch()
    from scarnet.network.build import build
    from scarnet.network.config import PRESETS

    series, network, center, inputs = _ours(path, model)
    torch.manual_seed(0)
    plain = build("scarnet", PRESETS["paper"].to_dict()).eval()
    side = PRESETS["paper"].input_size
    # Rewritten beside plain needs no whole case.
    slices = torch.randn(min(len(inputs), REWRITTEN_SLICES) if rewritten else len(inputs), 1, side, side)

    def run(whole: Any) -> np.ndarray:
        with torch.inference_mode():
            return np.concatenate([whole(one[None]).numpy() for one in slices])

    if not rewritten:
        flips = network.card.decision.get("test_time_flips", False)

        def whole() -> np.ndarray:
            return look(series, network, crop_grid(series, network, center), flips=flips)

        return in_turn(whole, lambda: run(plain), repeats)
    from scarnet.network.faster import faster

    quick = faster(plain)
    result = in_turn(lambda: run(quick), lambda: run(plain), repeats)
    return result | {"largest_difference_of_a_logit": float(np.abs(run(quick) - run(plain)).max())}


def _nnunet(path: Path, model: str, repeats: int) -> dict[str, Any]:
    """The whole of `scarnet segment`, from files to report, beside nnU-Net v2's own prediction of the same stack as an array, at
    its defaults.

    Half-overlapping tiles, Gaussian weights, mirroring on both axes; its usual 2D network for 256x256 pixels (33 million
    parameters); the plan's spacing is the image's own, which spares it the resampling.
    """
    torch = _torch()
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    series = read_lge(path)
    plans = PlansManager(_nnunet_plans(series))
    configuration = plans.get_configuration("2d")
    torch.manual_seed(0)
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        1,
        5,
        deep_supervision=False,
    )
    labels = {"background": 0, "blood": 1, "myocardium": 2, "scar": 3, "mvo": 4}
    dataset = {"channel_names": {"0": "LGE"}, "labels": labels, "file_ending": ".nii.gz", "numTraining": 1}
    predictor = nnUNetPredictor(
        perform_everything_on_device=False, device=torch.device("cpu"), verbose=False, allow_tqdm=False
    )
    predictor.manual_initialization(
        network, plans, configuration, [network.state_dict()], dataset, "nnUNetTrainer", (0, 1)
    )
    properties = {"spacing": _spacing(series)}
    image = series.image[None].astype(np.float32)
    result = in_turn(
        lambda: whole_job(path, model),
        lambda: predictor.predict_single_npy_array(image, dict(properties), None, None, False),
        repeats,
    )
    return result | {"parameters": sum(p.numel() for p in network.parameters())}


def _spacing(series: LgeSeries) -> list[float]:
    geometry = series.geometry
    return [float(np.median(geometry.slice_steps_mm)), *(float(s) for s in geometry.pixel_spacing_mm)]


def _nnunet_plans(series: LgeSeries) -> dict[str, Any]:
    """What nnU-Net v2's planner writes for short-axis stacks of about 256x256 pixels, in its own format."""
    resampling = {"order_z": 0, "force_separate_z": None}
    stages = 7
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": [32, 64, 128, 256, 512, 512, 512],
            "conv_op": "torch.nn.modules.conv.Conv2d",
            "kernel_sizes": [[3, 3]] * stages,
            "strides": [[1, 1], *[[2, 2]] * (stages - 1)],
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {
        "data_identifier": "nnUNetPlans_2d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 12,
        "patch_size": [256, 256],
        "median_image_size_in_voxels": list(series.geometry.shape[1:]),
        "spacing": _spacing(series)[1:],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **resampling},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **resampling},
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **resampling},
        "batch_dice": True,
        "architecture": architecture,
    }
    statistics = {name: 1.0 for name in ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std")}
    return {
        "dataset_name": "Dataset001_LGE",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": _spacing(series),
        "original_median_shape_after_transp": list(series.geometry.shape),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"2d": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": statistics},
    }


def eager(path: Path, model: str, repeats: int) -> dict[str, Any]:
    return _peer(_eager)(path, model, repeats)


def openvino(path: Path, model: str, repeats: int) -> dict[str, Any]:
    return _peer(_openvino)(path, model, repeats)


def paper(path: Path, model: str, repeats: int) -> dict[str, Any]:
    return _peer(_paper)(path, model, repeats)


def paper_faster(path: Path, model: str, repeats: int) -> dict[str, Any]:
    return _peer(_paper_faster)(path, model, repeats)


def nnunet(path: Path, model: str, repeats: int) -> dict[str, Any]:
    return _peer(_nnunet)(path, model, repeats)


#: Name to what times it; plain functions, which a process of its own can be given.
PEERS: dict[str, Callable[[Path, str, int], dict[str, Any]]] = {
    "the same network in plain eager torch": eager,
    "the same network in OpenVINO": openvino,
    "the plain eager paper network": paper,
    "the paper network: plain beside rewritten": paper_faster,
    "nnU-Net v2 at its defaults, beside all of ours": nnunet,
}
