"""Statistics and distances against truths known by hand, by closed form or from the literature."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scarnet.errors import InputError
from scarnet.evaluation.agreement import (
    bootstrap_statistic,
    concordance,
    intraclass_correlation,
    limits_of_agreement,
    myosaiq_crps,
    proportion_interval,
    variation_percent,
)
from scarnet.evaluation.detection import DetectionRule, detection
from scarnet.evaluation.folders import label_maps, pairs
from scarnet.evaluation.judge import Judged, judge, judge_case, number_agreement, spread, summarise_judged
from scarnet.evaluation.paired import holm, paired_test
from scarnet.evaluation.results import write_results
from scarnet.evaluation.rivals import paired_against
from scarnet.evaluation.surfaces import surface_distances
from scarnet.evaluation.tables import Table
from scarnet.export import write_label_map
from test_evaluation import geometry, heart

# --- surfaces -----------------------------------------------------------------------------------------------------


def ball(radius_mm, geometry, center_mm=(0.0, 0.0, 0.0)):
    shape, (row_mm, column_mm) = geometry.shape, geometry.pixel_spacing_mm
    slice_mm = geometry.slice_steps_mm[0]
    k, r, c = np.indices(shape)
    z, y, x = ((i - (n - 1) / 2) * mm for i, n, mm in zip((k, r, c), shape, (slice_mm, row_mm, column_mm), strict=True))
    return np.sqrt((z - center_mm[0]) ** 2 + (y - center_mm[1]) ** 2 + (x - center_mm[2]) ** 2) <= radius_mm


@given(st.floats(6, 12), st.floats(0.5, 5.0))
def test_balls_about_one_centre_are_the_difference_of_their_radii_apart(radius, more):
    g = geometry((41, 41, 41), (1.0, 1.0), 1.0)
    found = surface_distances(ball(radius, g), ball(radius + more, g), g)
    pixel = 1.0  # neither surface is known better than that
    assert found.mean_mm == pytest.approx(more, abs=pixel) and found.hd95_mm == pytest.approx(more, abs=1.5 * pixel)
    assert found.mean_mm <= found.hausdorff_mm and found.hd95_mm <= found.hausdorff_mm


@given(st.integers(1, 6), st.sampled_from([(1.0, 1.0, 8.0), (1.4, 2.0, 10.0)]), st.integers(0, 2))
def test_a_slab_moved_along_an_axis_lies_as_far_as_it_moved(steps, spacing, axis):
    """A box as wide as the array moves along one axis alone: both its faces move by exactly that."""
    g = geometry((20, 30, 30), spacing[:2], spacing[2])
    a, b = np.zeros(g.shape, bool), np.zeros(g.shape, bool)
    rows = [slice(None)] * 3
    rows[axis] = slice(4, 9)
    a[tuple(rows)] = True
    rows[axis] = slice(4 + steps, 9 + steps)
    b[tuple(rows)] = True
    moved_mm = steps * (spacing[2], spacing[0], spacing[1])[axis]
    found = surface_distances(a, b, g)
    assert found.hausdorff_mm == pytest.approx(moved_mm) and 0 < found.mean_mm <= moved_mm


def test_surfaces_of_voxels_by_hand():
    g = geometry((3, 9, 9), (2.0, 3.0), 10.0)
    a, b = np.zeros(g.shape, bool), np.zeros(g.shape, bool)
    a[1, 4, 4] = b[1, 4, 6] = True
    assert surface_distances(a, b, g).hausdorff_mm == pytest.approx(6.0)
    b[1, 4, 4] = True  # now one of b's two voxels lies on a's only one
    found = surface_distances(a, b, g)
    assert found.hausdorff_mm == pytest.approx(6.0) and found.mean_mm == pytest.approx((0 + 0 + 6) / 3)
    assert found.hd95_mm == pytest.approx(0.95 * 6)  # linear between the two distances 0 and 6
    assert surface_distances(a, a, g).hausdorff_mm == 0
    assert np.isnan(surface_distances(a, a & False, g).mean_mm)


def test_surfaces_are_those_of_a_well_kept_library():
    monai = pytest.importorskip("monai.metrics", reason="MONAI IS NOT INSTALLED: distances were not held against its")
    import torch
    from scipy import ndimage

    rng = np.random.default_rng(0)
    g = geometry((8, 48, 40), (1.5, 1.25), 8.0)
    common, own = (ndimage.gaussian_filter(rng.normal(size=g.shape), (0.7, 3, 3)) for _ in range(2))
    a, b = common > 0.05, common + 0.7 * own > 0.06
    found = surface_distances(a, b, g)
    theirs = [torch.tensor(mask)[None, None].float() for mask in (a, b)]
    options = {"include_background": True, "spacing": (8.0, 1.5, 1.25)}
    assert found.hausdorff_mm == pytest.approx(monai.compute_hausdorff_distance(*theirs, **options).item(), abs=1e-3)
    hd95 = monai.compute_hausdorff_distance(*theirs, percentile=95, **options).item()
    mean = monai.compute_average_surface_distance(*theirs, symmetric=True, **options).item()
    assert found.hd95_mm == pytest.approx(hd95, abs=1e-3) and found.mean_mm == pytest.approx(mean, abs=1e-3)


# --- numbers ------------------------------------------------------------------------------------------------------


def test_intraclass_correlations_are_those_of_shrout_and_fleiss():
    """Table 2 and 4 of the paper: six targets, four judges; .17, .29, .71."""
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    found = [intraclass_correlation(np.array(ratings), kind) for kind in ("1,1", "2,1", "3,1")]
    assert np.round(found, 2).tolist() == [0.17, 0.29, 0.71]


@given(st.integers(0, 10_000), st.floats(0.1, 3.0), st.floats(-5, 5))
def test_correlations_of_two_raters_meet_their_closed_forms(seed, noise, shift):
    """With many targets ICC(3,1) is the between share of variance and ICC(2,1) loses what a constant shift costs."""
    rng = np.random.default_rng(seed)
    true = rng.normal(20, 4, 20_000)
    a, b = true + rng.normal(0, noise, true.size), true + shift + rng.normal(0, noise, true.size)
    pair = np.stack([a, b], axis=1)
    between, within = 16.0, noise**2
    assert intraclass_correlation(pair, "3,1") == pytest.approx(between / (between + within), abs=0.02)
    expected = between / (between + within + shift**2 / 2)
    assert intraclass_correlation(pair, "2,1") == pytest.approx(expected, abs=0.02)
    assert concordance(a, b) == pytest.approx(expected, abs=0.02)  # Lin's tends to the same limit


@given(st.lists(st.floats(0, 50), min_size=3, max_size=30), st.floats(-5, 5), st.floats(0.01, 100))
def test_agreement_follows_shifts_and_units(values, shift, unit):
    true = np.array(values)
    limits = limits_of_agreement(true + shift, true)
    assert limits.bias == pytest.approx(shift, abs=1e-9) and limits.sd == pytest.approx(0, abs=1e-6)
    rng = np.random.default_rng(0)
    measured = true + rng.normal(0, 2, len(true))
    if np.abs(true).sum() > 1:
        assert variation_percent(unit * measured, unit * true) == pytest.approx(
            variation_percent(measured, true), rel=1e-6
        )
        assert concordance(unit * measured, unit * true) == pytest.approx(
            concordance(measured, true), rel=1e-6, abs=1e-9
        )


def test_variation_gives_the_papers_own_figures_back():
    """From its Bland-Altman figure: limits over 3.92 is the SD; mean burden about 13.4, the average half the bias below."""
    for low, high, bias, printed in (
        (-1.72, 0.46, -0.63, 4.3),
        (-7.29, 2.36, -2.46, 20.3),
        (-30.45, 3.84, -13.31, 130.3),
    ):
        sd, mean_true = (high - low) / 3.92, 13.4
        rng = np.random.default_rng(1)
        difference = rng.normal(0, 1, 5000)
        difference = bias + sd * (difference - difference.mean()) / difference.std(ddof=1)
        true = np.full(5000, mean_true)
        assert variation_percent(true + difference, true) == pytest.approx(printed, rel=0.02)


@given(st.floats(0, 590), st.floats(0, 590))
def test_a_volume_stated_as_certain_scores_the_millilitres_between(volume, true):
    between = abs(np.ceil(volume) - np.ceil(true))
    assert myosaiq_crps([volume], [true])[0] == pytest.approx(between / 600)


@given(st.floats(100, 400), st.floats(3, 30), st.floats(-40, 40))
def test_a_normal_forecast_scores_its_closed_form(volume, sd, off):
    """Gneiting and Raftery, JASA 2007, section 4.2, within what a sum over whole millilitres gives up."""
    z = off / sd
    expected = sd * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert 600 * myosaiq_crps([volume], [volume + off], sd)[0] == pytest.approx(expected, abs=0.6)


# --- decisions ----------------------------------------------------------------------------------------------------


def test_sensitivity_and_specificity_by_hand():
    found = detection([1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 0, 0])
    assert found["sensitivity"] == pytest.approx(2 / 3) and found["specificity"] == pytest.approx(2 / 3)
    assert found["sensitivity_of"] == found["specificity_of"] == 3
    assert np.isnan(detection([1, 0], [1, 1])["specificity"]) and "10 mm2" in str(DetectionRule())


def test_wilsons_interval_is_wilsons():
    """Brown, Cai and DasGupta 2001: the centre is (x + z^2 / 2) / (n + z^2)."""
    low, high = proportion_interval(7, 10)
    z2 = stats.norm.ppf(0.975) ** 2
    assert (low + high) / 2 == pytest.approx((7 + z2 / 2) / (10 + z2)) and proportion_interval(0, 5)[0] == 0


def test_holm_by_hand_and_in_any_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


@given(st.lists(st.floats(0.0001, 1), min_size=1, max_size=8))
def test_holm_never_lowers_and_keeps_the_order(values):
    adjusted = np.array(holm(values))
    assert (adjusted >= np.array(values) - 1e-12).all() and (adjusted <= 1).all()
    order = np.argsort(values)
    assert (np.diff(adjusted[order]) >= -1e-12).all()


def test_paired_tests_keep_their_level_where_nothing_differs_and_see_what_does():
    rng = np.random.default_rng(0)
    false = np.array(
        [
            [r["wilcoxon_p"], r["bootstrap_p"]]
            for r in (paired_test(*rng.normal(0, 1, (2, 40)), draws=400) for _ in range(200))
        ]
    )
    assert (false < 0.05).mean(axis=0) == pytest.approx([0.05, 0.05], abs=0.045)
    a = rng.normal(0, 1, 40)
    seen = paired_test(a + 0.5 + rng.normal(0, 0.3, 40), a)
    assert seen["low"] > 0 and seen["wilcoxon_p"] < 0.001 and seen["bootstrap_p"] < 0.001
    assert seen["bootstrap_p"] > 0 and paired_test(a, a)["wilcoxon_p"] == 1 == paired_test(a, a)["bootstrap_p"]
    with pytest.raises(ValueError, match="finite"):
        paired_test([np.nan], [1.0])


def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_says():
    values = np.random.default_rng(3).normal(0.7, 0.1, 400)
    low, high = bootstrap_statistic(lambda x: x.mean(axis=-1), values)
    assert (high - low) == pytest.approx(3.92 * values.std() / np.sqrt(400), rel=0.1)
    assert np.isnan(bootstrap_statistic(lambda x: x.mean(axis=-1), [1.0])).all()


# --- patients -----------------------------------------------------------------------------------------------------


def patients(change=lambda labels: labels):
    for n in range(6):
        truth = heart(0 if n % 3 == 0 else 40 + 20 * n, mvo=n == 5)
        yield (
            f"P{n}",
            change(truth).astype(np.uint8),
            truth,
            geometry(truth.shape),
            {"group": "", "fold": 0, "error": ""},
        )


def without_scar(labels):
    return np.where(labels >= 3, 2, labels)


def test_both_conventions_for_nothing_drawn_are_stated():
    truth = heart(0)
    row, slices = judge_case("a", truth, truth, geometry(truth.shape))
    assert row["scar_dice"] == 1 and np.isnan(row["scar_dice_where_any"]) and np.isnan(row["scar_hd95_mm"])
    false = truth.copy()
    false[2, 32, 46:49] = 3
    row, slices = judge_case("a", false, truth, geometry(truth.shape))
    assert row["scar_dice"] == row["scar_dice_where_any"] == 0
    assert sum(s["scar_predicted_mm2"] > 0 for s in slices) == 1 and len(slices) == len(truth)


def test_a_perfect_model_is_perfect_in_every_measure_and_one_that_finds_nothing_is_not():
    perfect, blind = judge(patients()), judge(patients(without_scar))
    best = summarise_judged(perfect, draws=50)
    assert best["all"]["measures"]["scar_dice"]["mean"] == 1 and best["all"]["measures"]["scar_hd95_mm"]["mean"] == 0
    assert best["pathological"]["patients"] == 4 and best["normal"]["patients"] == 2
    percent = best["all"]["agreement"]["scar_percent_lv"]
    assert percent["concordance"] == percent["icc_2_1"] == pytest.approx(1) and percent["bias"] == 0
    assert percent["slope"] == pytest.approx(1) and best["all"]["agreement"]["scar_ml"]["myosaiq_crps"] == 0
    seen = best["all"]["detection"]
    assert seen["patient"]["sensitivity"] == seen["slice"]["specificity"] == 1
    worst = summarise_judged(blind, draws=50)
    assert (
        worst["all"]["detection"]["patient"]["sensitivity"]
        == 0
        == worst["pathological"]["measures"]["scar_dice"]["mean"]
    )
    assert worst["all"]["measures"]["scar_dice"]["mean"] == pytest.approx(2 / 6)  # the challenge counts empty on empty
    assert worst["all"]["measures"]["scar_dice_where_any"]["mean"] == 0
    rows = paired_against("perfect", {"perfect": perfect, "blind": blind})
    assert rows[0]["difference"] == 1 and rows[0]["better"] == 4 and {row["rival"] for row in rows} == {"blind"}
    assert (
        rows[-1]["measure"].startswith("scar_percent_lv") and rows[-1]["better"] == 4
    )  # a smaller error is the better one


def test_spread_of_nothing_says_so():
    assert spread([float("nan")])["n"] == 0 and spread([0.5])["mean"] == 0.5 and np.isnan(spread([0.5])["sd"])
    assert np.isnan(number_agreement(np.array([1.0]), np.array([1.0]), draws=10)["slope"])


def test_results_are_written_whole_and_readable(tmp_path):
    judged = {"a": judge(patients()), "b %": judge(patients(without_scar))}
    summaries, tables = write_results(tmp_path / "out", judged)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["models"]) == {"a", "b %"} and len(tables) == 8
    with (tmp_path / "out" / "measures.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    chosen = [
        r for r in rows if (r["model"], r["group"], r["measure"], r["statistic"]) == ("a", "all", "scar_dice", "mean")
    ]
    assert len(chosen) == 1 and float(chosen[0]["value"]) == 1 and float(chosen[0]["low"]) == 1
    latex = (tmp_path / "out" / "tables.tex").read_text(encoding="utf-8")
    assert latex.count("\\begin{table}") == latex.count("\\end{table}") == 8 and "b \\%" in latex
    pytest.importorskip("matplotlib")
    assert {p.name for p in (tmp_path / "out" / "figures").iterdir()} == {
        "agreement.svg",
        "box.svg",
        "regression.svg",
        "violin.svg",
    }


def test_tables_keep_what_would_break_them():
    table = Table("T_1", ["a|b", "c"], [["1 & 2", "5 %"]])
    assert "| a/b | c |" in table.markdown() and "1 \\& 2 & 5 \\% \\\\" in table.latex()


# --- folders of label maps ----------------------------------------------------------------------------------------


def test_label_maps_are_matched_by_name_in_every_layout(tmp_path):
    labels = heart(60)
    g = geometry(labels.shape)
    for path in (
        "truth/A_labels.nii.gz",
        "truth/B.nii.gz",
        "flat/A.nii.gz",
        "flat/B_seg.nrrd",
        "runs/A/labels.nii.gz",
        "runs/B/labels.nii.gz",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        write_label_map(tmp_path / path, labels, g)
    write_label_map(tmp_path / "truth" / "A_image.nii.gz", labels, g)
    for folder in ("truth", "flat", "runs"):
        assert set(label_maps(tmp_path / folder)) == {"A", "B"}
    assert judge(pairs(tmp_path / "flat", tmp_path / "truth")).cases[0]["scar_dice"] == 1
    assert isinstance(judge(pairs(tmp_path / "runs", tmp_path / "truth")), Judged)
    (tmp_path / "flat" / "A.nii.gz").unlink()
    with pytest.raises(InputError, match="lacks 1 of 2 patients"):
        list(pairs(tmp_path / "flat", tmp_path / "truth"))
    write_label_map(tmp_path / "flat" / "A.nii.gz", labels[:, :-1], geometry(labels[:, :-1].shape))
    with pytest.raises(InputError, match="another grid"):
        list(pairs(tmp_path / "flat", tmp_path / "truth"))
    write_label_map(tmp_path / "flat" / "A.nii.gz", labels + 3 * (labels == 4) + 2 * (labels == 3), g)
    with pytest.raises(InputError, match="holds the value 5"):
        list(pairs(tmp_path / "flat", tmp_path / "truth"))
    with pytest.raises(InputError, match="holds no label maps"):
        label_maps(tmp_path)
