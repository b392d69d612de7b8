"""Intensity methods on hearts whose scar is known: what noise does to each, and what must not matter."""

import csv
import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from conftest import ROOT
from scarnet import cli
from scarnet.conventions import Label
from scarnet.evaluation.methods import (
    CurveParameters,
    as_markdown,
    concordance,
    contrast_curve,
    draw_contrast_curve,
    evaluate_methods,
    methods_on,
    summarise_methods,
)
from scarnet.quantification import QuantificationParameters, quantify, remote_region
from scarnet.quantification.regional import signal_of
from scarnet.quantification.thresholds import METHODS, compare_methods
from scarnet.quantification.weighted import fit_means, weighted_infarct
from scarnet.series import LgeSeries, Reconstruction
from test_segments import display_axes, drawn_heart

COMMITTED = ROOT / "Resources" / "Evaluation" / "ThresholdMethods"
REMOTE, BLOOD, SCAR = 100.0, 300.0, 400.0


def drawn_series(*, noise=5.0, reconstruction=Reconstruction.UNKNOWN, seed=0, **heart):
    labels, geometry, angles = drawn_heart(pixel_mm=1.2, **heart)
    image = np.select([labels == Label.SCAR, labels == Label.BLOOD_POOL, labels > 0], [SCAR, BLOOD, REMOTE], 20.0)
    image = image + np.random.default_rng(seed).normal(0, noise, image.shape)
    return LgeSeries(image.astype(np.float32), geometry, reconstruction), labels, angles


def by_method(series, labels):
    return {result.method: result for result in methods_on(series, labels)}


@pytest.fixture(scope="module")
def curve():
    phantom = replace(CurveParameters().phantom, size=104, pixel_mm=2.0, slices=6, gap_mm=6.0)
    return list(contrast_curve(CurveParameters((4.0, 10.0, 30.0), (5,), phantom)))


def errors(curve, method, ratio):
    return [r["error"] for r in curve if r["method"] == method and r["contrast_to_noise"] == ratio]


def test_noise_sets_the_bounds_of_every_method(curve):
    """From one end to the other of published contrast-to-noise, magnitude and PSIR."""
    assert {r["reconstruction"] for r in curve} == {"psir", "magnitude"} and len(curve) == 2 * 3 * len(METHODS)
    for ratio in (4.0, 10.0, 30.0):
        assert np.abs(errors(curve, "ewa", ratio)).max() < 2.5, ratio
    for method, bound in (("3sd", 3.5), ("4sd", 3), ("5sd", 4), ("fwhm", 2), ("otsu", 3)):
        assert np.abs(errors(curve, method, 30.0)).max() < bound, method
    # A threshold above the scar's own contrast finds next to nothing.
    assert max(errors(curve, "6sd", 4.0)) < -8 and max(errors(curve, "5sd", 4.0)) < -6
    for method in ("2sd", "3sd", "4sd", "5sd"):
        assert np.mean(errors(curve, method, 30.0)) > np.mean(errors(curve, method, 4.0))
    truths = {r["truth_percent_lv"] for r in curve}
    assert all(5 < truth < 30 for truth in truths)


def test_the_curve_is_drawn(curve, tmp_path):
    draw_contrast_curve(curve, tmp_path / "c")
    text = (tmp_path / "c").read_text(encoding="utf-8")
    assert text.startswith("<?xml") and len(text) > 10_000


def test_scale_and_offset_of_a_slice_do_not_matter_where_zero_means_nothing():
    series, labels, _ = drawn_series()
    rng = np.random.default_rng(1)
    scale, offset = rng.uniform(0.5, 3, (2, len(labels), 1, 1)) * np.array([1, 500])[:, None, None, None]
    scale[-1], offset[-1] = (
        scale[-2],
        offset[-2],
    )  # the cap shows no cavity: it refers to its neighbour's remote myocardium
    other = replace(series, image=(series.image * scale + offset).astype(np.float32))
    before, after = by_method(series, labels), by_method(other, labels)
    for method in METHODS:
        assert after[method].percent_lv == pytest.approx(before[method].percent_lv, abs=0.3), method


def test_half_of_the_maximum_is_the_signals_own_on_magnitude_and_above_remote_on_psir():
    """Remote 100, scar 400: a rim of 225 passes half of 400 but not halfway between the two."""
    series, labels, angles = drawn_series(noise=1.0)
    rim = (labels == Label.MYOCARDIUM) & (angles > 290) & (angles < 330)
    image = series.image.copy()
    image[rim] += 225 - REMOTE
    found = {
        r: by_method(replace(series, image=image, reconstruction=r), labels)["fwhm"]
        for r in (Reconstruction.MAGNITUDE, Reconstruction.PSIR, Reconstruction.UNKNOWN)
    }
    scar, ring = labels == Label.SCAR, heart_ring(labels)
    assert (found[Reconstruction.MAGNITUDE].scar[ring] > 0).sum() > 0.98 * (scar | rim)[ring].sum()
    for reconstruction in (Reconstruction.PSIR, Reconstruction.UNKNOWN):
        assert not (found[reconstruction].scar[rim] > 0).any() and (found[reconstruction].scar[scar] > 0).mean() > 0.98
    assert (
        "(PSIR)" in found[Reconstruction.PSIR].definition
        and "magnitude images" in found[Reconstruction.MAGNITUDE].definition
    )
    assert "not known" in found[Reconstruction.UNKNOWN].definition


def heart_ring(labels):
    return np.broadcast_to((labels == Label.BLOOD_POOL).any(axis=(1, 2))[:, None, None], labels.shape)


def test_the_report_says_how_reconstruction_was_taken():
    for reconstruction, words in (
        (Reconstruction.MAGNITUDE, "are magnitude"),
        (Reconstruction.PSIR, "(PSIR): shares"),
        (Reconstruction.UNKNOWN, "is not known"),
    ):
        series, labels, _ = drawn_series(reconstruction=reconstruction)
        assert words in quantify(series, labels).rules["thresholds"]


def test_methods_do_not_see_the_outlined_scar_but_labelled_obstruction_counts():
    series, labels, _ = drawn_series()
    blind = np.minimum(labels, Label.MYOCARDIUM).astype(np.uint8)
    a, b = quantify(series, labels).thresholds, quantify(series, blind).thresholds
    assert a == b and list(a) == list(METHODS)
    marked = np.where(labels == Label.SCAR, Label.MVO, labels).astype(np.uint8)
    dark = replace(series, image=np.where(labels == Label.SCAR, 20, series.image).astype(np.float32))
    mvo = quantify(dark, marked)
    for measures in mvo.thresholds.values():
        assert measures.volume_ml >= mvo.mvo.volume_ml > 10


def test_partial_volume_is_weighed():
    """Pixels a third scar around the infarct: the weighted volume is that of the tissue, not of the pixels."""
    series, labels, angles = drawn_series(noise=1.0, wedge=(200.0, 290.0))
    beside = (labels == Label.MYOCARDIUM) & heart_ring(labels) & (angles > 290) & (angles < 293)
    image = series.image.copy()
    image[beside] = REMOTE + (SCAR - REMOTE) / 3
    muscle, (rows, columns) = signal_of(replace(series, image=image), np.minimum(labels, 2).astype(np.uint8))
    weights = weighted_infarct(muscle)
    inside = beside[:, rows, columns] & (weights > 0)
    assert inside.any() and weights[inside].mean() == pytest.approx(1 / 3, abs=0.05)
    expected = (labels == Label.SCAR)[:, rows, columns].sum() + inside.sum() / 3
    assert weights.sum() == pytest.approx(expected, rel=0.02)


def test_dark_muscle_within_an_infarct_is_obstruction_and_a_ring_of_scar_is_not_filled():
    series, labels, angles = drawn_series(depth=1.0)
    distance = np.abs((angles - 245 + 180) % 360 - 180)
    frame_ring = heart_ring(labels)
    core = (labels == Label.SCAR) & (distance < 18) & frame_ring
    core &= eroded(labels > 1, 2)
    image = np.where(core, 60.0, series.image).astype(np.float32)
    result = by_method(replace(series, image=image), labels)["ewa"]
    assert core.sum() > 100 and (result.scar[core] >= 0.99).mean() > 0.7
    outer = (labels >= 2) & frame_ring & ~eroded(labels > 0, 4)
    ring = np.where(outer, SCAR, np.where(labels >= 2, REMOTE, series.image)).astype(np.float32)
    whole = by_method(replace(series, image=ring), labels)["ewa"]
    assert (whole.scar[(labels >= 2) & frame_ring & eroded(labels > 0, 6)] > 0.5).mean() < 0.1


def eroded(mask, pixels):
    from scipy import ndimage

    return ndimage.binary_erosion(mask, np.ones((1, 3, 3)), iterations=pixels)


def test_a_heart_without_scar_keeps_its_threshold_between_muscle_and_blood():
    rng = np.random.default_rng(0)
    healthy, scar = fit_means(rng.normal(0, 0.2, 20_000))
    assert abs(healthy) < 0.05 and scar == pytest.approx(1, abs=0.1)
    healthy, scar = fit_means(np.concatenate([rng.normal(0, 0.2, 15_000), rng.normal(1.8, 0.2, 5_000)]))
    assert abs(healthy) < 0.05 and 1.5 < scar < 1.8
    series, labels, _ = drawn_series(noise=40.0, depth=0.0)
    assert by_method(series, labels)["ewa"].percent_lv < 1


def point_towards(series, labels, degrees):
    """LPS of a point in the wall of the middle slice at this display angle."""
    right, up = display_axes()
    center = series.geometry.index_to_lps(np.array([4.0, *np.argwhere(labels[4] == 1).mean(axis=0)]))
    return tuple(center + 30 * (np.cos(np.radians(degrees)) * right + np.sin(np.radians(degrees)) * up))


@pytest.mark.parametrize("begins", [30, 130, 340])
def test_remote_myocardium_is_the_darkest_sector_and_no_more(begins):
    series, labels, angles = drawn_series(noise=2.0)
    dark = (labels > 1) & ((angles - begins) % 360 < 60)
    series = replace(series, image=np.where(dark, series.image - 60, series.image))
    for entry in quantify(series, labels).provenance["regions"]["remote_region"]["slices"]:
        assert entry["sector_deg"] == [begins, begins + 60]
        assert entry["mean"] == pytest.approx(REMOTE - 60, abs=1) and entry["sd"] < 4


def test_remote_myocardium_goes_where_it_is_put():
    series, labels, angles = drawn_series(noise=10.0)

    def towards(degrees):
        return point_towards(series, labels, degrees)

    placed = quantify(series, labels, parameters=QuantificationParameters(remote_lps_mm=towards(45)))
    region = placed.provenance["regions"]["remote_region"]
    assert region["source"] == "user" and "given point" in placed.rules["thresholds"]
    assert placed.provenance["quantification"]["remote_lps_mm"] == towards(45)
    for entry in region["slices"]:
        first, last = entry["sector_deg"]
        assert last - first == pytest.approx(60) and abs((first + 30 - 45 + 180) % 360 - 180) < 3
        assert entry["mean"] == pytest.approx(REMOTE, abs=5) and entry["sd"] == pytest.approx(10, abs=4)
    mask = remote_region(series, labels, remote_lps_mm=towards(45))
    assert mask.shape == labels.shape and int(mask.sum()) == region["pixels"] and (labels[mask] == 2).all()
    assert (np.abs((angles[mask] - 45 + 180) % 360 - 180) < 33).all()
    # In the scar nothing is brighter than "remote"; found by itself, it lies outside the scar.
    wrong = quantify(series, labels, parameters=QuantificationParameters(remote_lps_mm=towards(245)))
    assert wrong.thresholds["5sd"].volume_ml < 0.2 * placed.thresholds["5sd"].volume_ml
    found = quantify(series, labels).provenance["regions"]["remote_region"]
    automatic = remote_region(series, labels)
    assert found["source"] == "image" and int(automatic.sum()) == found["pixels"] and (labels[automatic] == 2).all()


def test_core_and_grey_zone_by_their_definitions():
    """Beside the scar (400, remote 100) a sector at 235: 45 % of the way; elsewhere one speck of it, which is no grey zone."""
    series, labels, angles = drawn_series(noise=8.0)
    muscle = (labels == Label.MYOCARDIUM) & heart_ring(labels)
    grey = muscle & (angles > 290) & (angles < 320)
    speck = muscle & (angles > 80) & (angles < 84)
    image = series.image.copy()
    image[grey | speck] += 0.45 * (SCAR - REMOTE)
    parameters = QuantificationParameters(remote_lps_mm=point_towards(series, labels, 150))
    report = quantify(replace(series, image=image), labels, parameters=parameters)
    volumes = series.geometry.voxel_volumes_ml
    scar_ml, grey_ml = (float(m.sum(axis=(1, 2)) @ volumes) for m in ((labels == 3) & heart_ring(labels), grey))
    assert list(report.zones) == ["roes", "schmidt", "yan"]
    for name in ("roes", "schmidt"):
        zone = report.zones[name]
        assert zone.core_volume_ml == pytest.approx(scar_ml, rel=0.03), name
        assert zone.grey_volume_ml == pytest.approx(grey_ml, rel=0.1), name
        assert zone.grey_mass_g == pytest.approx(zone.grey_volume_ml * 1.05)
        assert zone.core_percent_lv == pytest.approx(100 * zone.core_volume_ml / report.lv.myocardium_volume_ml)
    yan = report.zones["yan"]  # everything that bright lies beyond 3 standard deviations
    assert yan.core_volume_ml == pytest.approx(scar_ml + grey_ml, rel=0.15)
    assert "Roes" in report.zones["roes"].definition and "from remote" in report.zones["roes"].definition


def with_scar_in_its_cap(**heart):
    """The last slice shows no cavity: half of its muscle is scar."""
    series, labels, _ = drawn_series(**heart)
    cap = 0 if heart.get("apex_first") else -1
    assert not (labels[cap] == Label.BLOOD_POOL).any()
    half = (labels[cap] == Label.MYOCARDIUM) & (np.arange(labels.shape[2]) < labels.shape[2] / 2)
    series.image[cap][half] += SCAR - REMOTE
    labels[cap][half] = Label.SCAR
    return series, labels, float(half.sum() * series.geometry.voxel_volumes_ml[cap])


@pytest.mark.parametrize("reconstruction", [Reconstruction.MAGNITUDE, Reconstruction.PSIR])
@pytest.mark.parametrize("apex_first", [False, True])
def test_muscle_without_a_cavity_is_muscle_to_every_method(apex_first, reconstruction):
    """Its scar counted in the denominator alone: a percentage beside the outlined one that no method had measured."""
    series, labels, cap_ml = with_scar_in_its_cap(apex_first=apex_first, reconstruction=reconstruction)
    report = quantify(series, labels)
    assert cap_ml > 0.08 * report.scar.volume_ml
    for name, method in report.thresholds.items():
        if name != "2sd":  # two percent of healthy muscle lie above it
            assert method.percent_lv == pytest.approx(report.scar.percent_lv, rel=0.03), name
    for name, zone in report.zones.items():
        assert zone.core_percent_lv == pytest.approx(report.scar.percent_lv, rel=0.03), name
    muscle, _ = signal_of(series, labels)
    assert np.array_equal(muscle.known, muscle.mask) and muscle.remote_of.tolist() == (
        [1, *range(1, 9)] if apex_first else [*range(8), 7]
    )


def test_scar_in_no_segment_is_said():
    series, labels, cap_ml = with_scar_in_its_cap()
    (warning,) = [w for w in quantify(series, labels).quality.warnings if "in no AHA segment" in w]
    assert f"{cap_ml:.1f} mL of scar" in warning
    healthy = np.minimum(labels, Label.MYOCARDIUM).astype(np.uint8)
    healthy[-1][: healthy.shape[1] // 2] = 0  # an apical cap as most have it
    assert not [w for w in quantify(series, healthy).quality.warnings if "in no AHA segment" in w]


def test_grey_zone_of_a_slice_without_a_cavity_begins_where_the_nearest_remote_ends():
    """Schmidt's begins at the brightest remote myocardium, and no slice is without one."""
    series, labels, _ = with_scar_in_its_cap(noise=8.0)
    grey = (labels[-1] == Label.MYOCARDIUM) & (np.arange(labels.shape[2]) < 0.56 * labels.shape[2])
    series.image[-1][grey] += 0.35 * (SCAR - REMOTE)
    before = quantify(series, np.where(np.arange(9)[:, None, None] == 8, 0, labels).astype(np.uint8)).zones["schmidt"]
    after = quantify(series, labels).zones["schmidt"]
    grey_ml = float(grey.sum() * series.geometry.voxel_volumes_ml[-1])
    assert after.grey_volume_ml - before.grey_volume_ml == pytest.approx(grey_ml, rel=0.25)


def test_spread_of_methods_and_readers_stands_in_the_report():
    series, labels, _ = drawn_series(noise=30.0)
    report = quantify(series, labels)
    percents = {name: m.percent_lv for name, m in report.thresholds.items()}
    context = report.context
    assert context["methods_low_percent_lv"] == min(percents.values()) == percents[context["methods_low"]]
    assert context["methods_high_percent_lv"] == max(percents.values()) == percents[context["methods_high"]]
    assert "10.1186/s12968-017-0378-y" in context["inter_reader"]
    assert context["inter_reader_sd_percent_lv"] == pytest.approx(0.144 * report.scar.percent_lv)


def test_too_little_muscle_compares_nothing():
    series, labels, _ = drawn_series()
    constant = replace(series, image=np.zeros_like(series.image))
    muscle, _ = signal_of(constant, labels)
    assert compare_methods(muscle) == ()  # no spread in remote: no units
    assert quantify(constant, labels).thresholds == {}


def test_concordance_is_lins():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert concordance(a, a) == pytest.approx(1)
    assert concordance(a, a + 1) == pytest.approx(2 * 1.25 / (1.25 + 1.25 + 1))
    assert concordance(a, -a + 5) == pytest.approx(-1)
    assert np.isnan(concordance(np.ones(3), np.ones(3)))


def committed_rows():
    with (COMMITTED / "methods.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.data
@pytest.mark.slow
def test_the_committed_table_is_what_the_command_gives(emidec):
    summary = summarise_methods(evaluate_methods(emidec))
    committed = committed_rows()
    assert [(r["patients"], r["method"]) for r in committed] == [(r["patients"], r["method"]) for r in summary]
    for row, kept in zip(summary, committed, strict=True):
        for name, value in row.items():
            if isinstance(value, float):
                assert float(kept[name]) == pytest.approx(value, abs=0.02), (row["patients"], row["method"], name)
    assert (COMMITTED / "methods.md").read_text(encoding="utf-8").splitlines()[:8] == as_markdown(summary).splitlines()[
        :8
    ]


@pytest.mark.data
def test_the_weighted_method_leads_on_the_held_out_fold(emidec):
    """Ahead of 5-SD and FWHM in Dice and in concordance, with a bias within 5 points, on fold 0."""
    rows = {r["method"]: r for r in summarise_methods(evaluate_methods(emidec, folds=[0]))}
    assert rows["ewa"]["with_infarct"] == 11 and rows["ewa"]["without"] == 6
    for other in ("5sd", "fwhm"):
        assert rows["ewa"]["dice_mean"] > rows[other]["dice_mean"] + 0.05
        assert rows["ewa"]["concordance"] > rows[other]["concordance"]
    assert abs(rows["ewa"]["bias"]) < 5
    committed = {r["method"]: r for r in committed_rows() if r["patients"].startswith("fold 0,")}
    for method, row in rows.items():
        assert float(committed[method]["dice_mean"]) == pytest.approx(row["dice_mean"], abs=0.005), method
        assert float(committed[method]["bias"]) == pytest.approx(row["bias"], abs=0.1), method


def test_the_command_compares_methods_on_any_labelled_folder(small_phantom, tmp_path, monkeypatch, capsys):
    """Three simulated patients, one of them without infarct, as a folder for training holds them."""
    data = tmp_path / "data"
    data.mkdir()
    for n, labels in enumerate((small_phantom.labels, small_phantom.labels, np.minimum(small_phantom.labels, 2))):
        image = sitk.GetImageFromArray(small_phantom.series.image)
        image.SetSpacing((3.0, 3.0, 16.0))
        sitk.WriteImage(image, str(data / f"P{n}_image.nii.gz"))
        labelled = sitk.GetImageFromArray(labels.astype(np.uint8))
        labelled.CopyInformation(image)
        sitk.WriteImage(labelled, str(data / f"P{n}_labels.nii.gz"))
    monkeypatch.setattr(sys, "argv", ["scarnet", "evaluate-methods", str(data), "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    with (tmp_path / "out" / "cases.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * len(METHODS) and {r["case"] for r in rows} == {"P0", "P1", "P2"}
    assert [r["dice"] for r in rows if r["case"] == "P2"] == [""] * len(METHODS)
    with (tmp_path / "out" / "methods.csv").open(newline="", encoding="utf-8") as file:
        summary = [r for r in csv.DictReader(file) if r["patients"] == "all folds"]
    assert {(r["with_infarct"], r["without"]) for r in summary} == {("2", "1")}
    page = (tmp_path / "out" / "methods.md").read_text(encoding="utf-8")
    assert page in capsys.readouterr().out and page.count("| ewa |") == page.count("| 5sd |") >= 1
