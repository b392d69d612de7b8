"""Measures against numbers known by hand, choices against predictions made for the purpose, and the published table."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from typer.testing import CliRunner

from conftest import ROOT
from scarnet.cli import app
from scarnet.errors import InputError
from scarnet.evaluation import stress
from scarnet.evaluation.agreement import auroc, bootstrap_interval, concordance
from scarnet.evaluation.cross_validation import judge, summarise_patients, summarise_slices
from scarnet.evaluation.decisions import choose, tabulate
from scarnet.evaluation.ends import evaluate_ends, summarise_ends
from scarnet.evaluation.evaluate import evaluate_stressed
from scarnet.evaluation.overlap import compare, hausdorff_mm
from scarnet.evaluation.predictions import Prediction, load, save
from scarnet.export.segmentation_file import write_volume
from scarnet.network import find_model, read_card
from scarnet.phantom import PhantomParameters, simulate
from scarnet.segmentation.doubt import FEATURES, fit, slice_features, slice_scar_doubt
from scarnet.segmentation.interval import calibrate, percent_lv_interval
from scarnet.segmentation.segment import expected_threshold, labels_of
from scarnet.series import StackGeometry, read_lge

TABLE = ROOT / "Resources" / "Evaluation" / "cross_validation"


def geometry(shape, pixel_mm=(1.5, 1.5), slice_mm=10.0):
    origins = np.zeros((shape[0], 3))
    origins[:, 2] = slice_mm * np.arange(shape[0])
    return StackGeometry(shape, pixel_mm, [1, 0, 0], [0, 1, 0], origins)


def heart(scar_degrees=90.0, mvo=False, slices=5, size=64):
    """A ring of muscle about a cavity, with a sector of scar in the middle slices."""
    rows, columns = np.indices((size, size)) - size / 2
    radius, angle = np.hypot(rows, columns), np.degrees(np.arctan2(rows, columns)) % 360
    plane = np.where(radius < 12, 1, np.where(radius < 18, 2, 0)).astype(np.uint8)
    labels = np.repeat(plane[None], slices, axis=0)
    labels[1:-1][:, (plane == 2) & (angle < scar_degrees)] = 3
    if mvo:
        labels[1:-1][:, (plane == 2) & (angle > 20) & (angle < 60) & (radius < 15)] = 4
    return labels


def prediction(case, truth, *, fold=0, seed=0, speck=0, scar=0.8):
    """What a network might say of `truth`: sure of all but scar, with a faint false region of `speck` pixels."""
    labels = np.array(truth)
    probabilities = np.stack([(labels == n) * 0.9 + 0.02 for n in range(5)]).astype(np.float32)
    ill = labels >= 3
    rng = np.random.default_rng(seed)
    probabilities[3][ill], probabilities[2][ill] = scar + 0.05 * rng.random(int(ill.sum())), 1 - scar
    if speck:
        k, rows, columns = np.nonzero(labels == 2)
        chosen = tuple(axis[(k == 0)][:speck] for axis in (k, rows, columns))
        probabilities[3][chosen], probabilities[2][chosen] = 0.62, 0.36
    probabilities /= probabilities.sum(axis=0)
    group = "pathological" if ill.any() else "normal"
    return Prediction(case, group, fold, geometry(labels.shape), probabilities.astype(np.float16), labels, "")


def test_concordance_is_one_on_the_line_of_identity_alone():
    a = np.array([0.0, 5.0, 12.0, 30.0])
    assert concordance(a, a) == pytest.approx(1)
    assert concordance(a, a + 5) < 1 and concordance(a, 2 * a) < 1
    # By hand: means 1 and 2, variances 2/3, covariance 2/3, so 2 * 2/3 / (4/3 + 1).
    assert concordance([0, 1, 2], [1, 2, 3]) == pytest.approx(4 / 7)


def test_auroc_is_the_chance_of_the_right_order():
    assert auroc([0.1, 0.2, 0.9], [False, False, True]) == 1
    assert auroc([0.9, 0.2, 0.1], [False, False, True]) == 0
    assert auroc([1, 1, 1, 1], [True, False, True, False]) == 0.5
    assert np.isnan(auroc([1, 2], [True, True]))


def test_the_bootstrap_holds_the_mean_and_narrows_with_more_patients():
    few, many = np.random.default_rng(0).normal(0.7, 0.1, 20), np.random.default_rng(0).normal(0.7, 0.1, 2000)
    for values in (few, many):
        low, high = bootstrap_interval(values)
        assert low < values.mean() < high
    width = [np.diff(bootstrap_interval(values))[0] for values in (few, many)]
    assert width[1] < width[0] / 5


def test_hausdorff_of_moved_boxes_is_how_far_they_moved():
    a = np.zeros((6, 40, 40), bool)
    a[1:4, 10:20, 10:20] = True
    g = geometry(a.shape, (1.5, 2.0), 8.0)
    for axis, step, expected in ((1, 4, 6.0), (2, 3, 6.0), (0, 1, 8.0)):
        assert hausdorff_mm(a, np.roll(a, step, axis), g) == pytest.approx(expected)
    assert hausdorff_mm(a, a, g) == 0 and np.isnan(hausdorff_mm(a, a & False, g))


def test_a_patients_row_by_hand():
    truth = heart(90)
    found = np.where(truth == 3, 2, truth).astype(np.uint8)
    found[1:3][truth[1:3] == 3] = 3
    row = compare(found, truth, geometry(truth.shape))
    scar_ml = (truth[1] == 3).sum() * 1.5**2 * 10 / 1000
    muscle_ml = (truth >= 2).sum() * 1.5**2 * 10 / 1000
    assert row["scar_dice"] == pytest.approx(2 * 2 / (2 + 3)) and row["mvo_dice"] == 1
    assert row["scar_difference_to_myocardium"] == pytest.approx(scar_ml / muscle_ml)
    assert row["myocardium_hausdorff_mm"] == 0


@given(st.integers(0, 10_000), st.sampled_from([30, 60, 81, 200]))
def test_the_interval_holds_at_least_its_level_of_the_patients_it_was_made_of(seed, patients):
    rng = np.random.default_rng(seed)
    truth = np.where(rng.random(patients) < 0.3, 0, rng.gamma(3, 6, patients))
    predicted = np.clip(truth + rng.normal(0, 3, patients), 0, 100)
    calibration = calibrate(predicted, truth)
    held = []
    for p, t in zip(predicted, truth, strict=True):
        low, high = percent_lv_interval(p, calibration)
        assert 0 <= low <= p + 0.01 and p - 0.01 <= high <= 100
        held.append(low - 0.01 <= t <= high + 0.01)
    assert np.mean(held) >= 0.88  # ranks of either side are whole patients


def test_a_model_without_calibration_states_no_interval_and_no_doubt():
    assert percent_lv_interval(12.0, {}) is None
    p = prediction("a", heart(60))
    assert slice_scar_doubt(p.probabilities.astype(np.float32), p.truth, 2.25, {}) is None


def test_doubt_finds_the_weights_that_made_the_errors_and_means_their_share():
    rng = np.random.default_rng(0)
    count = len(FEATURES)
    features = rng.normal(0, 1, (6000, count)) * np.linspace(0.5, 2, count) + np.arange(count) % 3
    weights = np.linspace(-1, 1, count)
    poor = rng.random(6000) < 1 / (1 + np.exp(-(features @ weights - 0.5)))
    found = fit(features, poor)
    assert np.allclose(found["weights"], weights, atol=0.25)
    doubt = 1 / (1 + np.exp(-(features @ found["weights"] + found["intercept"])))
    assert doubt.mean() == pytest.approx(poor.mean(), abs=0.01) and auroc(doubt, poor) > 0.85


def test_features_of_a_slice_by_hand_do_not_depend_on_the_size_of_pixels():
    p = prediction("a", heart(120))
    probabilities, labels = p.probabilities.astype(np.float32), p.truth
    features = {
        name: column for name, column in zip(FEATURES, slice_features(probabilities, labels, 2.25).T, strict=True)
    }
    k = 2  # with scar; slice 0 has none
    drawn, expected = (labels[k] >= 3).sum(), probabilities[3:, k].sum()
    inside = (probabilities[3:, k] * (labels[k] >= 3)).sum()
    assert features["scar drawn"][k] == 1 and features["scar drawn"][0] == 0
    assert features["expected overlap, scar drawn"][k] == pytest.approx(2 * inside / (drawn + expected), rel=1e-3)
    assert features["drawn area, scar drawn"][k] == pytest.approx(np.log1p(drawn * 2.25 / 100))
    assert features["muscle area, scar drawn"][0] == features["muscle area, no scar drawn"][k] == 0
    assert features["muscle area, no scar drawn"][0] == pytest.approx(np.log1p((labels[0] >= 2).sum() * 2.25 / 100))
    finer = slice_features(probabilities.repeat(2, 2).repeat(2, 3), labels.repeat(2, 1).repeat(2, 2), 2.25 / 4)
    assert np.allclose(finer, slice_features(probabilities, labels, 2.25), rtol=1e-3)


def patients():
    return [
        prediction(
            f"{'PN'[n % 2]}{n}", heart(0 if n % 2 else 60 + 10 * n), fold=n % 3, seed=n, speck=20 if n % 2 else 0
        )
        for n in range(9)
    ]


def test_false_specks_of_scar_free_patients_are_decided_away_and_infarcts_are_not():
    found = patients()
    decision = choose(tabulate(found), [p.case for p in found])
    for p in found:
        labels = labels_of(p.probabilities.astype(np.float32), p.geometry, decision)
        assert (labels >= 3).any() == (p.group == "pathological"), (p.case, decision)


def test_as_much_scar_is_drawn_as_leaves_no_bias():
    """Much muscle beside the infarct that looks like scar with 0.5 to 0.64: log odds are moved down until no more is drawn than there is."""
    found = patients()
    doubtful = []
    for p in found:
        probabilities = p.probabilities.copy()
        beside = ndimage.binary_dilation(p.truth == 3, iterations=8) & (p.truth == 2)
        share = np.random.default_rng(0).uniform(0.5, 0.64, int(beside.sum()))
        probabilities[:, beside], probabilities[2, beside], probabilities[3, beside] = 0, 1 - share, share
        doubtful.append(replace(p, probabilities=probabilities))
    names = [p.case for p in found]
    for these in (found, doubtful):
        shift = choose(tabulate(these), names)["scar_log_odds"]
        drawn = {s: _percents_drawn(these, s) for s in (shift, 0.0, -0.9)}
        bias = {s: abs((percents - _percents_drawn(found, None)).mean()) for s, percents in drawn.items()}
        assert bias[shift] == min(bias.values())
    assert choose(tabulate(doubtful), names)["scar_log_odds"] < choose(tabulate(found), names)["scar_log_odds"]


def _percents_drawn(predictions, shift):
    """Percent of LV by labels at a shift of log odds; None: the expert's."""
    labels = [
        p.truth
        if shift is None
        else labels_of(p.probabilities.astype(np.float32), p.geometry, {"scar_log_odds": shift})
        for p in predictions
    ]
    return np.array([100 * (these >= 3).sum() / (these >= 2).sum() for these in labels])


@given(st.integers(0, 1000), st.floats(-1.5, 0.5))
def test_the_volume_drawn_is_the_volume_expected(seed, log_odds):
    """Also where slices stand for different volumes."""
    rng, truth = np.random.default_rng(seed), heart(120, slices=4)
    share = rng.beta(0.8, 0.8, truth.shape).astype(np.float32)
    probabilities = np.zeros((5, *truth.shape), np.float32)
    probabilities[0], probabilities[1] = truth == 0, truth == 1
    probabilities[2], probabilities[3] = (truth >= 2) * (1 - share), (truth >= 2) * share
    origins = np.zeros((4, 3))
    origins[:, 2] = [0, 8, 24, 30]
    uneven = StackGeometry(truth.shape, (1.5, 1.5), [1, 0, 0], [0, 1, 0], origins)
    threshold = expected_threshold(probabilities, truth, uneven, log_odds)
    volumes = np.broadcast_to(uneven.voxel_volumes_ml[:, None, None], truth.shape)[truth >= 2]
    inside = share[truth >= 2].astype(float)
    moved = inside * np.exp(log_odds)
    expected = (volumes * moved / (1 - inside + moved)).sum()  # some are 1 for certain
    drawn = volumes[inside > threshold].sum()
    if 0.2 < threshold < 0.8:
        assert drawn == pytest.approx(expected, abs=2 * volumes.max())
    else:
        assert (drawn < expected) == (threshold == 0.2)


def test_cross_validation_reports_every_patient_once_with_its_own_folds_choice():
    found = patients()
    cases, slices, chosen = judge(found)
    assert [row["case"] for row in cases] == [p.case for p in found]
    assert set(chosen["without_fold"]) == {"0", "1", "2"} and chosen["interval"]["patients"] == 9
    summary = summarise_patients(cases)
    assert summary["all"]["patients"] == 9 and summary["normal"]["scar_free_left_empty"] == 1
    assert summary["pathological"]["any_scar_found"] == 1
    assert json.dumps(summary | summarise_slices(slices), allow_nan=False)


def test_the_choice_for_a_fold_is_blind_to_its_patients():
    """A fold whose experts would call the false specks scar changes the others' choice and nothing for itself."""
    found = patients()
    changed = [
        replace(p, truth=np.where(p.probabilities[3] > 0.5, 3, p.truth).astype(np.uint8)) if p.fold == 1 else p
        for p in found
    ]
    before, after = (judge(these)[2]["without_fold"] for these in (found, changed))
    assert before["1"] == after["1"] and before["0"]["doubt"] != after["0"]["doubt"]


def test_predictions_survive_the_disk(tmp_path):
    p = prediction("a", heart(60, mvo=True))
    save(p, tmp_path / "a.npz")
    again = load(tmp_path / "a.npz")
    assert np.array_equal(again.probabilities, p.probabilities) and np.array_equal(again.truth, p.truth)
    assert again.geometry.matches(p.geometry) and (again.case, again.group, again.fold) == (p.case, p.group, p.fold)


@pytest.mark.parametrize("name", stress.CHANGES)
def test_changed_patients_keep_their_heart(name, phantom):
    series, labels = stress.CHANGES[name]((phantom.series, phantom.labels))
    assert series.image.shape == labels.shape == series.geometry.shape and labels.dtype == np.uint8
    assert np.isfinite(series.image).all()
    before = (phantom.labels >= 2).sum(axis=(1, 2)) @ phantom.series.geometry.voxel_volumes_ml
    after = (labels >= 2).sum(axis=(1, 2)) @ series.geometry.voxel_volumes_ml
    assert after == pytest.approx(before, rel=0.12 if name == "every second slice" else 0.02)
    for array in (phantom.labels, labels):  # the bright cavity stays where the labels say it is
        assert (array == 1).any()
    assert series.image[labels == 1].mean() > series.image[labels == 2].mean()


@pytest.mark.parametrize(("name", "share"), [("blood brighter by a half", 1.5), ("blood darker by a half", 0.5)])
def test_blood_is_changed_against_healthy_muscle(name, share, phantom):
    def contrast(series):
        cavity, healthy = (np.median(series.image[phantom.labels == label]) for label in (1, 2))
        return cavity - healthy

    series, _ = stress.CHANGES[name]((phantom.series, phantom.labels))
    assert contrast(series) == pytest.approx(share * contrast(phantom.series), rel=0.1)


@pytest.mark.parametrize("above", [0.25, -0.25])
def test_magnitude_shows_muscle_as_far_from_black_as_asked_and_air_black(above, phantom):
    labels, before = phantom.labels, phantom.series.image
    after = stress.as_magnitude((phantom.series, labels), above)[0].image
    k = int(np.argmax((labels == 1).sum(axis=(1, 2))))
    healthy, cavity = (labels[k] == label for label in (2, 1))
    level, blood = (float(np.median(before[k][of])) for of in (healthy, cavity))
    zero = level - above * (blood - level)
    assert after[k].min() >= zero - 1e-3 * (blood - level)  # magnitude is never negative
    signal = (after[k] - zero) / (blood - level)
    assert np.median(signal[healthy]) == pytest.approx(abs(above), abs=0.02)
    assert np.median(signal[cavity]) == pytest.approx(1 + above, abs=0.02)
    darkest = before[k] < np.percentile(before[k], 10)
    assert np.median(signal[darkest]) < 0.08


@pytest.fixture(scope="module")
def longer_than_the_ventricle(tmp_path_factory):
    """A simulated heart whose stack goes on beyond the apex, as a cine volume; and one that ends with it, which says nothing."""
    folder = tmp_path_factory.mktemp("cine")
    long = simulate(PhantomParameters(slices=12, pixel_mm=1.5), seed=3)
    as_cine = np.array([0, 3, 2, 2, 2], np.uint8)[long.labels]
    assert not long.labels[-1].any() or not long.labels[0].any()
    held = long.labels.any(axis=(1, 2))
    np.savez(folder / "patient005_frame01.npz", image=long.series.image, labels=as_cine)
    np.savez(folder / "patient010_frame01.npz", image=long.series.image[held], labels=as_cine[held])
    return folder, held


def test_what_is_outlined_beyond_the_ventricle_is_counted(longer_than_the_ventricle):
    folder, held = longer_than_the_ventricle
    rows = evaluate_ends(folder, folds=[0], device="cpu")
    assert [(row["heart"], row["light"]) for row in rows] == [
        ("patient005_frame01", "cine"),
        ("patient005_frame01", "LGE"),
    ]
    for row in rows:
        assert row["held"] == held.sum() and row["beyond_base"] + row["beyond_apex"] == (~held).sum()
        assert row["beyond_base"] == 0 and row["outlined_beyond_apex"] <= row["beyond_apex"]
        assert not row["refused"] and row["myocardium_dice"] > 0.6 and row["left_empty"] <= 1
    summary = summarise_ends(rows)
    assert summary["LGE"]["hearts"] == summary["cine"]["hearts"] == 1
    assert summary["LGE"]["held"] == held.sum()


@pytest.mark.parametrize(("option", "asked"), [([], None), (["--flips"], True), (["--no-flips"], False)])
def test_stressed_patients_and_cine_hearts_are_looked_at_as_asked(
    option, asked, longer_than_the_ventricle, phantom, tmp_path, monkeypatch
):
    """What is left out of three calls would be measured in another way than the file says."""
    seen = []

    def segment(series, **how):
        seen.append(how["test_time_flips"])
        raise InputError("Nothing is found here.")

    (tmp_path / "data").mkdir()
    write_volume(tmp_path / "data" / "A_image.nii.gz", phantom.series.image, phantom.series.geometry)
    write_volume(tmp_path / "data" / "A_labels.nii.gz", phantom.labels, phantom.series.geometry)
    monkeypatch.setitem(evaluate_ends.__globals__, "segment", segment)
    monkeypatch.setitem(evaluate_stressed.__globals__, "segment", segment)
    monkeypatch.setitem(evaluate_stressed.__globals__, "CHANGES", {"as acquired": lambda case: case})
    cine, _ = longer_than_the_ventricle
    arguments = ["evaluate", str(tmp_path / "data"), "-o", str(tmp_path / "out"), "--stress", "--cine", str(cine)]
    result = CliRunner().invoke(app, [*arguments, *option])
    assert result.exit_code == 0, result.output
    assert len(seen) == 1 + 1 + 2 and set(seen) == {asked}


# --- the published table ------------------------------------------------------------------------------------------


def published():
    with (TABLE / "cases.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    text = {"case", "group", "error"}
    return [{key: value if key in text else float(value) for key, value in row.items()} for row in rows]


def test_the_published_means_follow_from_the_table_of_patients():
    rows, summary = published(), json.loads((TABLE / "summary.json").read_text(encoding="utf-8"))
    assert len(rows) == len({row["case"] for row in rows}) == 81
    for group, values in summarise_patients(rows).items():
        for name, value in values.items():
            stated = summary[group][name]
            if isinstance(value, dict):
                for key, number in value.items():
                    assert stated[key] == pytest.approx(number, abs=2e-3), (group, name, key)
            else:
                assert stated == pytest.approx(value, rel=1e-3, abs=0.1), (group, name)
    predicted, truth = (np.array([row[f"scar_{which}_percent_lv"] for row in rows]) for which in ("predicted", "truth"))
    assert calibrate(predicted, truth) == pytest.approx(summary["interval"])


#: What the shipped recipe must reach on patients that its models had not seen.
FLOORS = {"myocardium_dice": 0.85, "scar_dice": 0.71, "mvo_dice": 0.72}
SCAR_DICE_PATHOLOGICAL = 0.60


def test_the_shipped_model_decides_and_doubts_as_cross_validation_chose_and_states_its_figures():
    card = read_card(find_model())
    summary = json.loads((TABLE / "summary.json").read_text(encoding="utf-8"))
    assert card.training["folds"] == "all" and len(card.training["cases"]) == 81
    for name in ("decision", "interval", "doubt"):
        assert getattr(card, name) == summary[name]
    figures = card.figures["five-fold cross-validation"]
    assert all(figures[group] == summary[group] for group in ("all", "pathological", "normal", "slices"))
    assert all(summary["all"][name]["mean"] >= floor for name, floor in FLOORS.items())
    assert summary["pathological"]["scar_dice"]["mean"] >= SCAR_DICE_PATHOLOGICAL
    assert summary["all"]["lv_found"] == 81 and summary["pathological"]["any_scar_found"] >= 0.95
    assert summary["normal"]["scar_free_below_1_percent"] >= 0.9
    ends = summary["ends"]["LGE"]
    assert ends["outlined_beyond_base"] + ends["outlined_beyond_apex"] <= 0.15 * (
        ends["beyond_base"] + ends["beyond_apex"]
    )
    assert ends["left_empty"] <= 0.02 * ends["held"]
    assert summary["slices"]["auroc_poor_scar_by_scar_doubt"] >= 0.8
    assert 0.85 <= summary["all"]["interval"]["coverage"] <= 0.95


def test_what_ships_stays_small():
    sizes = [file.stat().st_size for file in find_model().parent.glob("*/*")]
    assert sum(sizes) <= 15e6


def test_the_gallery_shows_the_best_the_worst_and_false_alarms(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: the gallery was not drawn")
    from PIL import Image

    from scarnet.evaluation.gallery import pick, write_gallery
    from scarnet.training.data import CaseFile

    rows = [{"case": f"P{n}", "scar_truth_ml": 5.0, "scar_predicted_ml": 1.0, "scar_dice": n / 10} for n in range(9)]
    rows += [{"case": f"N{n}", "scar_truth_ml": 0.0, "scar_predicted_ml": float(n), "scar_dice": 0.0} for n in range(4)]
    chosen = pick(rows)
    assert chosen["worst"] == ["P0", "P1", "P2"] and chosen["best"] == ["P6", "P7", "P8"]
    assert chosen["median"] == ["P3", "P4", "P5"] and chosen["scar_free"] == ["N3", "N2", "N1"]
    assert "worst" not in pick(rows[9:])

    found = patients()
    folder, cases = tmp_path / "data", []
    folder.mkdir()
    for n, p in enumerate(found):
        image = sitk.GetImageFromArray((100 * p.truth + 50).astype(np.float32))
        image.SetSpacing((1.5, 1.5, 10.0))
        file = folder / f"{p.case}.nii.gz"
        sitk.WriteImage(image, str(file))
        sitk.WriteImage(sitk.GetImageFromArray(p.truth), str(folder / f"{p.case}_labels.nii.gz"))
        cases.append(CaseFile(p.case, p.fold, p.group, file, folder / f"{p.case}_labels.nii.gz", None))
        # In one frame; and the expert lies beside, so that no line hides another.
        found[n] = replace(p, geometry=read_lge(file).geometry, truth=np.roll(p.truth, 3, axis=2))
    results, _, chosen = judge(found)
    decisions = {int(fold): choice["decision"] for fold, choice in chosen["without_fold"].items()}
    files = write_gallery(tmp_path / "out", cases, found, results, decisions)
    assert {file.name for file in files} == {"worst.png", "median.png", "best.png", "scar_free.png"}
    picture = np.asarray(Image.open(tmp_path / "out" / "best.png").convert("RGB")).reshape(-1, 3).astype(int)
    for color in ((0, 255, 0), (255, 255, 0), (255, 0, 0), (255, 0, 255)):  # walls and scar, expert and model
        assert (np.abs(picture - color).max(axis=1) < 60).sum() > 20, color
