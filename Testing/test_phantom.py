"""The simulated heart against what it is known to be."""

import json

import numpy as np
import pytest

from scarnet.phantom import HeartParameters, PhantomParameters, ScarParameters, simulate, write_sample
from scarnet.phantom.physics import T1_MS, Tissue, null_time_ms, recovered
from scarnet.series import Reconstruction


def test_nulled_tissue_gives_no_signal():
    for t1 in (300.0, 450.0, 620.0):
        assert recovered(t1, null_time_ms(t1, 1700.0), 1700.0) == pytest.approx(0, abs=1e-12)
    ti = null_time_ms(T1_MS[Tissue.MYOCARDIUM], 1700.0)
    assert recovered(T1_MS[Tissue.SCAR], ti, 1700.0) > recovered(T1_MS[Tissue.BLOOD], ti, 1700.0) > 0
    assert recovered(T1_MS[Tissue.MVO], ti, 1700.0) < 0


def test_blood_pool_is_the_ellipsoid_it_was_made_of():
    """Sum over slices of the mean area within each slice, from the formula of the ellipsoid."""
    heart = HeartParameters(scar=None)
    p = PhantomParameters(heart=heart, slices=8, size=96, pixel_mm=1.6)
    made = simulate(p, seed=4)
    depths = p.first_depth_mm + 10 * np.arange(8)[:, None] + (np.arange(400) + 0.5) / 400 * 8 - 4
    share = np.clip(1 - np.clip(depths, 0, None) ** 2 / heart.endocardial_length_mm**2, 0, None)
    area = np.pi * heart.endocardial_radius_mm**2 * share.mean(axis=1) / 1.03  # slightly flattened
    assert made.truth_ml["blood_pool_volume_ml"] == pytest.approx(area.sum() * 10 / 1000, rel=0.03)
    assert made.truth_ml["scar_volume_ml"] == 0


def test_labels_agree_with_the_exact_volumes(phantom):
    volumes = phantom.series.geometry.voxel_volumes_ml
    counted = (phantom.labels >= 2).sum(axis=(1, 2)) @ volumes
    assert counted == pytest.approx(phantom.truth_ml["myocardium_volume_ml"], rel=0.01)
    scar = (phantom.labels >= 3).sum(axis=(1, 2)) @ volumes
    assert scar == pytest.approx(phantom.truth_ml["scar_volume_ml"], rel=0.03)


def test_contrast_is_that_of_lge(phantom):
    image, labels = phantom.series.image, phantom.labels
    means = [image[labels == value].mean() for value in range(5)]
    assert means[3] > means[1] > means[2] > means[4] - 60  # scar over blood over nulled muscle; MVO darkest but blurred


def test_magnitude_has_no_sign_and_psir_does(phantom):
    small = dict(size=64, pixel_mm=4.0, slices=3)
    assert simulate(PhantomParameters(reconstruction=Reconstruction.MAGNITUDE, **small)).series.image.min() >= 0
    assert simulate(PhantomParameters(**small)).series.image.min() < 0


def test_more_transmurality_more_scar():
    small = dict(size=96, pixel_mm=3.0, slices=5, gap_mm=8.0)
    volumes = [
        simulate(PhantomParameters(heart=HeartParameters(scar=ScarParameters(transmurality=t)), **small)).truth_ml[
            "scar_volume_ml"
        ]
        for t in (0.3, 0.6, 1.0)
    ]
    assert volumes[0] < volumes[1] < volumes[2]


def test_the_shipped_sample_is_what_the_command_makes(tmp_path, sample_folder):
    write_sample(tmp_path)
    for path in sorted(sample_folder.iterdir()):
        assert (tmp_path / "LGEShortAxis" / path.name).read_bytes() == path.read_bytes(), path.name
    shipped_truth = json.loads((sample_folder.parent / "truth.json").read_text())["truth"]
    assert json.loads((tmp_path / "truth.json").read_text())["truth"] == pytest.approx(shipped_truth)
    size = sum(p.stat().st_size for p in sample_folder.parent.rglob("*") if p.is_file())
    assert size < 3_000_000
