"""Other people's networks behind our door: real packages where they are, one-line errors where they are not."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scarnet.conventions import Label, dice
from scarnet.errors import InputError, ModelError, UsageError
from scarnet.export.segmentation_file import write_volume
from scarnet.peers import Request, back_end
from scarnet.peers.finish import class_probabilities
from scarnet.peers.medsam import box_in_grid, boxes_of, medsam_checkpoint, pixel_of
from scarnet.peers.medsam_network import PRESETS, MedSam, load_checkpoint, medsam_preset
from scarnet.peers.medsam_training import boxes_about, train_medsam
from scarnet.peers.nnunet import export_dataset, label_map_of, trained_folder
from scarnet.peers.nnunet_environment import VARIABLE, NnUNet, find_nnunet
from scarnet.phantom import HeartParameters, PhantomParameters, simulate
from scarnet.segmentation.crop import CropGrid
from scarnet.series import read_label_map, read_lge
from scarnet.training.data import list_cases
from scarnet.training.loop import RunParameters
from test_training import data  # noqa: F401 - the fixture: two simulated patients on disk


def nnunet_or_skip() -> NnUNet:
    try:
        return find_nnunet()
    except UsageError as error:
        pytest.skip(f"NNU-NET IS NOT HERE, nothing of it was run: {error}")


@pytest.fixture(scope="module")
def heart():
    return simulate(PhantomParameters(heart=HeartParameters(), size=96, pixel_mm=3.0, slices=5, gap_mm=8.0), seed=1)


# --- the door -----------------------------------------------------------------------------------------------------


def test_what_is_no_model_is_refused_in_one_line(tmp_path):
    for spec, error, words in (
        ("threshold:8sd", UsageError, "known are 2sd"),
        ("no-such-model", ModelError, "No model 'no-such-model'"),
        (tmp_path, ModelError, "neither model.json nor an nnU-Net"),
        (tmp_path / "absent.pth", ModelError, "No checkpoint at"),
    ):
        with pytest.raises(error, match=words) as caught:
            back_end(spec)
        assert "\n" not in str(caught.value)


def test_an_absent_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "myopari", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install"):
        back_end("myopari")
    monkeypatch.setenv(VARIABLE, "/nowhere")
    with pytest.raises(UsageError, match="pip install nnunetv2"):
        find_nnunet()


def test_scarnet_itself_comes_through_the_same_door(heart):
    from scarnet.segmentation import segment

    model = back_end("default", device="cpu")
    assert model.kind == "scarnet" and model.trained_on
    assert np.array_equal(model.segment(Request(heart.series)).labels, segment(heart.series, device="cpu").labels)


def test_class_probabilities_of_nested_regions_sum_to_one_and_keep_the_regions():
    rng = np.random.default_rng(0)
    nested = rng.random((4, 3, 5, 5))
    found = class_probabilities(nested)
    assert np.allclose(found.sum(axis=0), 1) and (found >= -1e-6).all()
    inside = np.minimum.accumulate(nested, axis=0)
    assert np.allclose(found[2:].sum(axis=0), inside[1]) and np.allclose(found[4], inside[3])


# --- thresholds ---------------------------------------------------------------------------------------------------


def test_a_threshold_method_sees_the_muscle_and_not_the_scar_drawn_in_it(phantom):
    model = back_end("threshold:ewa")
    blind = np.minimum(phantom.labels, Label.MYOCARDIUM)
    found = model.segment(Request(phantom.series, myocardium=phantom.labels)).labels
    assert np.array_equal(found, model.segment(Request(phantom.series, myocardium=blind)).labels)
    assert np.array_equal(np.minimum(found, Label.MYOCARDIUM), blind)
    assert dice(found >= Label.SCAR, phantom.labels >= Label.SCAR) > 0.6
    with pytest.raises(UsageError, match="--myocardium"):
        model.segment(Request(phantom.series))
    with pytest.raises(InputError, match="no myocardium"):
        model.segment(Request(phantom.series, myocardium=np.zeros_like(blind)))


# --- MedSAM -------------------------------------------------------------------------------------------------------


def test_the_network_is_segment_anythings_key_for_key():
    """On no memory: shapes alone. What `_build_sam` makes is what MedSAM publishes its weights for."""
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        published = sam_model_registry["vit_b"]().state_dict()
        ours = MedSam(medsam_preset("medsam")).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in published.items()}


def test_a_checkpoint_is_loaded_whole_or_not_at_all(tmp_path):
    torch.manual_seed(1)
    network, other = MedSam(PRESETS["medsam-tiny"]), MedSam(PRESETS["medsam-tiny"])
    state = {f"module.{key}": value for key, value in other.state_dict().items()}
    torch.save({"model": state}, tmp_path / "whole.pth")
    load_checkpoint(network, tmp_path / "whole.pth")
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), other.state_dict().values(), strict=True)
    )
    state.pop("module.mask_decoder.iou_token.weight")
    torch.save(state, tmp_path / "part.pth")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ModelError, match="1 of .* tensors are missing.*iou_token"):
        load_checkpoint(network, tmp_path / "part.pth")
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    (tmp_path / "no.pth").write_bytes(b"no pickle")
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(network, tmp_path / "no.pth")


def test_every_image_is_decoded_with_its_own_box():
    torch.manual_seed(0)
    network = MedSam(PRESETS["medsam-tiny"]).eval()
    images, boxes = torch.rand(3, 1, 64, 64), torch.tensor([[5.0, 5, 30, 30], [20, 10, 60, 50], [0, 0, 63, 63]])
    with torch.inference_mode():
        together = network(images, boxes)
        alone = torch.cat([network(images[n : n + 1], boxes[n : n + 1]) for n in range(3)])
        other = network(images, boxes.roll(1, 0))
    assert together.shape == (3, 4, 64, 64) and torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(together, other, atol=1e-4)


def test_the_network_agrees_with_segment_anythings_own_forward():
    from segment_anything.modeling import Sam

    torch.manual_seed(0)
    network = MedSam(PRESETS["medsam-tiny"]).eval()
    sam = Sam(network.image_encoder, network.prompt_encoder, network.mask_decoder, [0.0] * 3, [1.0] * 3).eval()
    image, box = torch.rand(1, 64, 64), torch.tensor([[8.0, 12, 40, 50]])
    asked = {"image": image.expand(3, -1, -1), "boxes": box, "original_size": (64, 64)}
    network.image_encoder.img_size = 64
    theirs = sam([asked], multimask_output=False)[0]["masks"]
    with torch.inference_mode():
        ours = network(image[None], box)[:, :1] > 0
    assert torch.equal(ours, theirs)


def test_boxes_in_training_hold_the_ventricle_but_for_their_jitter():
    lv = torch.zeros(40, 64, 64, dtype=torch.bool)
    lv[:30, 20:40, 10:30] = True
    boxes = boxes_about(lv, 2.0, torch.Generator().manual_seed(0))
    assert torch.equal(boxes, boxes_about(lv, 2.0, torch.Generator().manual_seed(0)))
    drawn = torch.tensor([10.0, 20, 29, 39])
    outside_mm = 2.0 * (boxes[:30] - drawn) * torch.tensor([-1.0, -1, 1, 1])
    assert outside_mm.min() >= -4 and outside_mm.max() <= 15 and 3 < outside_mm.mean() < 8
    assert (boxes[:, 2:] >= boxes[:, :2]).all() and boxes.min() >= 0 and boxes.max() <= 63


def test_boxes_are_laid_about_the_ventricle_and_carried_between_grids(phantom):
    boxes, center = boxes_of(Request(phantom.series), "default")
    grid = CropGrid(phantom.series.geometry, center, 128, 1.5)
    lv, _ = grid.extract((phantom.labels > 0).astype(np.float32))
    held = []
    for k, corners in enumerate(boxes):
        if corners is None or not (lv[k] > 0.5).any():
            continue
        x0, y0, x1, y1 = box_in_grid(grid, k, corners)
        rows, columns = np.nonzero(lv[k] > 0.5)
        held.append(np.mean((rows >= y0) & (rows <= y1) & (columns >= x0) & (columns <= x1)))
        assert (x1 - x0) * 1.5 < 140 and (y1 - y0) * 1.5 < 140
    assert len(held) > 5 and np.mean(held) > 0.97
    assert np.allclose(pixel_of(grid, grid.pixel_to_lps(3, 17, 40), 3), (17, 40), atol=1e-6)
    given = np.array([center - 30, center + 30])
    assert all(np.array_equal(box, given) for box in boxes_of(Request(phantom.series, box_lps_mm=given), "default")[0])
    with pytest.raises(UsageError, match="two corners"):
        boxes_of(Request(phantom.series, box_lps_mm=np.zeros(6)), "default")


@pytest.fixture(scope="module")
def tuned(data, tmp_path_factory):  # noqa: F811
    parameters = RunParameters(epochs=2, samples_per_epoch=32, batch_size=4, accelerator="cpu", learning_rate=3e-3)
    folder = tmp_path_factory.mktemp("medsam")
    return train_medsam(
        data, folder / "m", name="m", preset_name="medsam-tiny", folds=[1], run_parameters=parameters, progress=False
    )


def test_a_tuned_medsam_is_a_model_like_any_other_and_says_what_it_is(tuned, heart):
    model = back_end(tuned, device="cpu")
    card = json.loads((tuned / "model.json").read_text(encoding="utf-8"))
    assert model.kind == "medsam" and "not the published MedSAM" in model.remark
    assert set(card["training"]["cases"]) <= model.trained_on and card["training"]["image_steps"] == 64
    sure = Request(heart.series, box_lps_mm=np.array([[-200.0, -200, -200], [200, 200, 200]]))
    try:
        found = model.segment(sure)
    except InputError as error:  # two epochs may find nothing; that is an answer too
        assert "found no myocardium" in str(error)
    else:
        assert found.labels.shape == heart.labels.shape and found.probabilities.shape[0] == 5


def test_only_what_is_to_be_tuned_moves(data, tmp_path):  # noqa: F811
    torch.manual_seed(3)
    start = MedSam(PRESETS["medsam-tiny"])
    torch.save(start.state_dict(), tmp_path / "start.pth")
    parameters = RunParameters(epochs=1, samples_per_epoch=16, batch_size=4, accelerator="cpu", learning_rate=3e-3)
    options = dict(preset_name="medsam-tiny", folds=[1], run_parameters=parameters, progress=False, name="m")
    folder = train_medsam(data, tmp_path / "m", tune="decoder", checkpoint=tmp_path / "start.pth", **options)
    from safetensors.torch import load_file

    after = load_file(folder / "weights.safetensors")
    moved = {
        key.split(".")[0] for key, value in start.state_dict().items() if not torch.equal(value.half(), after[key])
    }
    assert moved == {"mask_decoder"}
    assert "fine-tuned (decoder) from a published checkpoint" in back_end(folder, device="cpu").remark
    with pytest.raises(UsageError, match="trained image encoder"):
        train_medsam(data, tmp_path / "n", tune="decoder", **options)


def test_zero_shot_gives_one_mask_for_the_box_and_calls_it_what_it_is(heart, tmp_path, monkeypatch):
    torch.manual_seed(5)
    torch.save(MedSam(PRESETS["medsam-tiny"]).state_dict(), tmp_path / "medsam_vit_b.pth")
    monkeypatch.setitem(PRESETS, "medsam", replace(PRESETS["medsam-tiny"], pixel_mm=0.0))
    model = medsam_checkpoint(tmp_path / "medsam_vit_b.pth", device="cpu")
    assert "zero-shot" in model.name and "taken as scar" in model.remark
    corners = np.array(
        [heart.series.geometry.index_to_lps([2, 20, 20]), heart.series.geometry.index_to_lps([2, 70, 70])]
    )
    try:
        found = model.segment(Request(heart.series, box_lps_mm=corners))
        assert set(np.unique(found.labels)) <= {0, Label.SCAR} and found.parameters["box_given"]
    except InputError as error:
        assert "no myocardium" in str(error)


# --- nnU-Net ------------------------------------------------------------------------------------------------------


def test_labels_of_anybodys_nnunet_are_matched_by_name():
    ours = {"background": 0, "blood pool": 1, "healthy myocardium": 2, "scar": 3, "microvascular obstruction": 4}
    assert label_map_of({"labels": ours}) == ({n: Label(n) for n in range(1, 5)}, [])
    theirs = {"background": 0, "RV": 1, "MYO": 2, "LV cavity": 3, "Infarct": 4, "No-Reflow": 5}
    values, unknown = label_map_of({"labels": theirs})
    assert values == {2: Label.MYOCARDIUM, 3: Label.BLOOD_POOL, 4: Label.SCAR, 5: Label.MVO} and unknown == ["RV"]
    regions = {"background": 0, "myocardium": [1, 2], "scar": [2]}
    assert label_map_of({"labels": regions, "regions_class_order": [1, 2]})[0] == {1: Label.MYOCARDIUM, 2: Label.SCAR}
    with pytest.raises(ModelError, match="no myocardium"):
        label_map_of({"labels": {"background": 0, "liver": 1}})


def test_a_data_set_is_exported_in_nnunets_layout_with_the_same_places(data, tmp_path):  # noqa: F811
    cases = list_cases(data)
    folder = export_dataset(cases, tmp_path)
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert description["numTraining"] == len(cases) and description["channel_names"] == {"0": "LGE"}
    for case in cases:
        image = read_lge(folder / "imagesTr" / f"{case.name}_0000.nii.gz")
        labels, geometry = read_label_map(folder / "labelsTr" / f"{case.name}.nii.gz")
        original = read_lge(case.image, spacing_mm=case.spacing_mm)
        assert np.array_equal(image.image, original.image) and image.geometry.matches(original.geometry)
        assert geometry.matches(original.geometry) and labels.max() <= 4
    kept = (folder / "dataset.json").stat().st_mtime_ns
    assert export_dataset(cases, tmp_path) == folder and (folder / "dataset.json").stat().st_mtime_ns == kept


def test_a_trained_folder_is_found_where_nnunet_leaves_it(tmp_path):
    inside = tmp_path / "Dataset501_LGE" / "nnUNetTrainer__nnUNetPlans__2d"
    (inside / "fold_0").mkdir(parents=True)
    assert trained_folder(tmp_path) is None
    for name in ("plans.json", "dataset.json"):
        (inside / name).write_text("{}", encoding="utf-8")
    assert trained_folder(tmp_path) is None
    (inside / "fold_0" / "checkpoint_final.pth").touch()
    assert trained_folder(tmp_path) == trained_folder(inside) == inside
    other = tmp_path / "Dataset501_LGE" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (other / "fold_0").mkdir(parents=True)
    for name in ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth"):
        (other / name).touch()
    with pytest.raises(UsageError, match="holds 2 nnU-Nets"):
        trained_folder(tmp_path)


class Program:
    def __reduce__(self):
        return os.system, ("echo this must never run",)


def test_a_checkpoint_that_holds_a_program_is_not_opened(tmp_path):
    here = NnUNet(Path(sys.executable).parent)  # any environment with torch can look
    torch.save({"network_weights": {"a": torch.zeros(2)}, "logging": {"x": [np.float64(1.0)]}}, tmp_path / "good.pth")
    here.check_checkpoint(tmp_path / "good.pth")
    torch.save({"network_weights": Program()}, tmp_path / "bad.pth")
    with pytest.raises(ModelError, match="system.*not opened"):
        here.check_checkpoint(tmp_path / "bad.pth")


@pytest.mark.slow
def test_nnunet_is_planned_trained_and_asked_through_its_own_commands(data, heart, tmp_path):  # noqa: F811
    nnunet_or_skip()
    from scarnet.peers.nnunet import train_nnunet

    folder = train_nnunet(
        list_cases(data), tmp_path / "nn", minutes=0.05, batch_size=2, patch_pixels=64, features=4, device="cpu"
    )
    facts = json.loads((folder / "scarnet.json").read_text(encoding="utf-8"))
    assert facts["spent"]["steps"] >= 1 and facts["batch_size"] == 2 and len(facts["cases"]) == 4
    assert facts["patch_size"] == [64, 64] and facts["features_per_stage"][:3] == [4, 8, 16]
    assert not (folder / "run").exists() and train_nnunet([], folder, minutes=0.05) == folder
    model = back_end(folder, device="cpu")
    found = model.segment_many({"a": heart.series, "b": heart.series})
    assert found["a"].shape == heart.labels.shape and np.array_equal(found["a"], found["b"])
    write_volume(tmp_path / "lge.nii.gz", heart.series.image, heart.series.geometry)
    command = [
        sys.executable,
        "-m",
        "scarnet.cli",
        "segment",
        str(tmp_path / "lge.nii.gz"),
        "-o",
        str(tmp_path / "out"),
    ]
    done = subprocess.run([*command, "--model", str(folder), "--no-report"], capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr  # 3: seconds of training may find no muscle
    assert done.returncode == 0 or "found no myocardium" in done.stderr


def test_myopari_is_run_with_its_own_network_where_it_is_installed(phantom):
    try:
        model = back_end("myopari")
    except UsageError as error:
        pytest.skip(f"MYOPARI IS NOT HERE, its network was not run: {error}")
    found = model.segment(Request(phantom.series))
    assert model.trained_on is None and dice(found.labels > 1, phantom.labels > 1) > 0.5
