"""Numbers against what can be worked out by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scarnet.conventions import Label
from scarnet.errors import InputError
from scarnet.phantom import PhantomParameters, simulate
from scarnet.quantification import QuantificationParameters, quantify
from scarnet.segmentation import ScarSegmentation
from scarnet.series import LgeSeries, StackGeometry


def stack(labels, *, positions=None, spacing=(2.0, 2.0)):
    positions = 10.0 * np.arange(len(labels)) if positions is None else np.asarray(positions, float)
    origins = np.zeros((len(labels), 3))
    origins[:, 2] = positions
    geometry = StackGeometry(labels.shape, spacing, [1, 0, 0], [0, 1, 0], origins)
    return LgeSeries(np.zeros(labels.shape, np.float32), geometry)


@pytest.fixture
def labels():
    """4 slices; in the middle two 100 blood, 50 healthy, 30 scar, 20 MVO pixels each."""
    result = np.zeros((4, 20, 20), np.uint8)
    flat = result.reshape(4, -1)
    for k in (1, 2):
        flat[k, :100], flat[k, 100:150] = Label.BLOOD_POOL, Label.MYOCARDIUM
        flat[k, 150:180], flat[k, 180:200] = Label.SCAR, Label.MVO
    return result


def test_volumes_masses_and_percent(labels):
    """A pixel is 2 x 2 mm, a slice stands for 10 mm: 0.04 mL."""
    report = quantify(stack(labels), labels)
    assert report.lv.myocardium_volume_ml == pytest.approx(200 * 0.04, rel=1e-12)
    assert report.lv.mass_g == pytest.approx(200 * 0.04 * 1.05, rel=1e-12)
    assert report.lv.blood_pool_volume_ml == pytest.approx(200 * 0.04, rel=1e-12)
    assert report.scar.volume_ml == pytest.approx(100 * 0.04, rel=1e-12)  # MVO included
    assert report.scar.percent_lv == pytest.approx(50, rel=1e-12)
    assert (report.mvo.volume_ml, report.mvo.percent_lv) == (pytest.approx(1.6), pytest.approx(20))
    assert report.scar.enhanced_slices == 2
    assert [s.scar_percent for s in report.slices] == [None, pytest.approx(50), pytest.approx(50), None]


def test_density_changes_masses_alone(labels):
    a, b = (quantify(stack(labels), labels, parameters=QuantificationParameters(d)) for d in (1.05, 1.0))
    assert b.lv.mass_g == pytest.approx(a.lv.mass_g / 1.05) and b.scar.volume_ml == a.scar.volume_ml
    assert "1 g/mL" in b.rules["mass"]
    for density in (0.5, 2, math.nan):
        with pytest.raises(InputError, match="between 0.9 and 1.2"):
            QuantificationParameters(density)


def test_unequal_slices_weigh_half_the_way_to_their_neighbours(labels):
    """Slices at 0, 8, 24, 32 mm: the inner ones stand for 12 mm each."""
    report = quantify(stack(labels, positions=[0, 8, 24, 32]), labels)
    assert [s.weight_mm for s in report.slices] == [8, 12, 12, 8]
    assert report.scar.volume_ml == pytest.approx(100 * 4 * 12 / 1000)
    assert [s.position_mm for s in report.slices] == [0, 8, 24, 32]


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(4, 14), st.floats(0.7, 2.0))
def test_the_sum_of_slices_is_the_whole_and_parts_lie_inside(seed, step, pixel):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, (5, 12, 12)).astype(np.uint8)
    report = quantify(stack(labels, positions=step * np.arange(5), spacing=(pixel, pixel)), labels)
    assert math.fsum(s.scar_volume_ml for s in report.slices) == report.scar.volume_ml
    assert report.mvo.volume_ml <= report.scar.volume_ml <= report.lv.myocardium_volume_ml
    assert report.scar.percent_lv == pytest.approx(100 * (labels >= 3).sum() / (labels >= 2).sum())


@pytest.mark.parametrize("reverse", [False, True])
def test_the_order_of_slices_does_not_matter(labels, reverse):
    labels = labels.copy()
    labels[0] = labels[1]
    series = stack(labels, positions=[0, 9, 20, 30])
    other = StackGeometry(labels.shape, (2, 2), [1, 0, 0], [0, 1, 0], series.geometry.slice_origins_mm[::-1])
    a = quantify(series, labels)
    b = quantify(replace(series, geometry=other), labels[::-1])
    assert a.scar.volume_ml == pytest.approx(b.scar.volume_ml, rel=1e-12)
    assert [s.weight_mm for s in b.slices] == [s.weight_mm for s in a.slices][::-1]


def test_no_myocardium_and_another_grid_are_refused(labels):
    with pytest.raises(InputError, match="no left-ventricular myocardium"):
        quantify(stack(labels), np.zeros_like(labels))
    with pytest.raises(InputError, match="must match"):
        quantify(stack(labels), labels[:3])


def test_a_heart_without_scar_has_zero_not_nothing(labels):
    report = quantify(stack(labels), np.minimum(labels, Label.MYOCARDIUM))
    assert (report.scar.volume_ml, report.scar.percent_lv, report.mvo.volume_ml) == (0, 0, 0)


def test_doubt_is_shown_and_names_slices(labels):
    segmentation = ScarSegmentation(
        labels=labels,
        probabilities=np.zeros((5, *labels.shape), np.float16),
        lv_center_lps_mm=np.zeros(3),
        slice_doubt=np.array([0, 0.9, 0.1, 0]),
        model={"name": "m", "version": "1", "sha256": "ab"},
        warnings=("Careful.",),
    )
    report = quantify(stack(labels), labels, segmentation=segmentation)
    assert report.quality.review[0].startswith("Slice 2:") and "Careful." in report.quality.warnings
    assert report.provenance["model"]["name"] == "m"
    alone = labels.copy()
    alone[2][alone[2] >= 3] = Label.MYOCARDIUM
    assert any("Slice 2: scar without any" in line for line in quantify(stack(alone), alone).quality.review)


def test_a_stack_that_does_not_reach_the_apex_is_said(labels):
    def said(part):
        return any("does not reach its apex" in w for w in quantify(stack(part), part).quality.warnings)

    assert not said(labels)
    assert not said(labels[1:])  # one end is the base
    assert said(labels[1:3])


def test_the_report_is_strict_json_with_the_agreed_keys(labels):
    values = json.loads(json.dumps(quantify(stack(labels), labels).to_dict(), allow_nan=False))
    assert values["schema"] == "scarnet-report/1"
    assert {"lv", "scar", "mvo", "slices", "quality", "provenance"} <= set(values)
    assert {"myocardium_volume_ml", "mass_g", "blood_pool_volume_ml"} <= set(values["lv"])
    assert {"volume_ml", "mass_g", "percent_lv"} <= set(values["scar"])
    assert {"warnings", "review"} <= set(values["quality"])


def test_the_phantoms_truth_is_measured(phantom):
    report = quantify(phantom.series, phantom.labels)
    assert report.lv.myocardium_volume_ml == pytest.approx(phantom.truth_ml["myocardium_volume_ml"], rel=0.02)
    assert report.scar.volume_ml == pytest.approx(phantom.truth_ml["scar_volume_ml"], rel=0.04)


def test_a_report_follows_every_stroke_of_the_brush():
    """256 x 256 x 12 well within the panel's 300 ms; the least of five, so that a busy machine does not fail it."""
    import time

    made = simulate(PhantomParameters(slices=12, size=256, pixel_mm=1.4, thickness_mm=7.5, gap_mm=0.0), seed=1)
    took = []
    for _ in range(5):
        start = time.process_time()
        quantify(made.series, made.labels)
        took.append(time.process_time() - start)
    assert min(took) < 0.2, took
