"""Studies: who is trained on and judged, noise that is what it says, a queue that goes on, and the commands on data that is not EMIDEC."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT
from scarnet.errors import InputError, UsageError
from scarnet.evaluation.comparison import complete_study
from scarnet.evaluation.curves import points
from scarnet.evaluation.noise import RANGE_PERCENTILES, generator_of, with_noise
from scarnet.evaluation.page import is_page
from scarnet.evaluation.results import provenance
from scarnet.evaluation.study import bases_of, conditions_of, drawn, run_study, splits_of, trainings_of
from scarnet.evaluation.study_config import comparison_of, read_study, study_from
from scarnet.export import write_label_map
from scarnet.export.segmentation_file import write_volume
from scarnet.network import read_card
from scarnet.phantom import HeartParameters, PhantomParameters, ScarParameters, simulate
from scarnet.training.data import CaseFile, list_cases
from scarnet.training.loop import RunParameters, timed_factor
from scarnet.training.losses import LOSSES, PAPER, REGIONS
from scarnet.training.train import train_scarnet

STUDIES = sorted((ROOT / "Resources" / "Evaluation" / "studies").glob("*.toml"))


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    """Six simulated patients as a hospital might lay them down: NIfTI pairs, no cases.csv, two of them without scar."""
    folder = tmp_path_factory.mktemp("hospital")
    for n in range(6):
        scar = None if n % 3 == 2 else ScarParameters(transmurality=0.6 + 0.08 * n)
        phantom = simulate(
            PhantomParameters(heart=HeartParameters(scar=scar), size=96, pixel_mm=2.4, slices=5, gap_mm=8.0), seed=n
        )
        write_volume(folder / f"Patient{n}_image.nii.gz", phantom.series.image, phantom.series.geometry)
        write_label_map(folder / f"Patient{n}_labels.nii.gz", phantom.labels, phantom.series.geometry)
    return folder


def first_fold(folder):
    """A fold that leaves patients on both sides: names alone decide it here."""
    folds = [case.fold for case in list_cases(folder)]
    return next(fold for fold in sorted(set(folds)) if 0 < folds.count(fold) < len(folds) - 1)


# --- configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_shipped_studies_are_read(path, hearts):
    study = read_study(path, data=str(hearts), train_data=str(hearts) if path.stem == "other_data" else None)
    assert study.models and all(plan.trainer or plan.model for plan in study.models)
    assert all(plan.minutes for plan in study.models if plan.trainer)
    for plan in study.models:
        assert plan.options.get("loss", "regions") in LOSSES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "race"}, "No study is of kind 'race'"),
        ({"foldz": [0]}, "a study has no 'foldz'"),
        ({"models": {}}, "names no models"),
        ({"models": {"a": {"trainer": "gpt"}}}, "no trainer is called 'gpt'"),
        ({"models": {"a": {"trainer": "scarnet", "pre": 1, "minutes": 1}}}, "models.a has no 'pre'"),
        ({"models": {"a": {"trainer": "scarnet"}}}, "neither minutes nor epochs"),
        ({"models": {"a": {}}}, "neither how it is trained"),
        ({"models": {"a/b": {"model": "default"}}}, "names a folder too"),
        ({"models": {"a": {"model": "threshold:ewa", "myocardium": "b"}}}, "neither 'expert' nor one of the models"),
        ({"reference": "b"}, "none of the models"),
        ({"folds": None, "models": {"a": {"trainer": "scarnet", "minutes": 1}}}, "some patients must be left out"),
        ({"kind": "learning-curve"}, "needs sizes"),
        ({"kind": "noise", "noises": ["salt"]}, "gaussian or rician"),
        ({"clock": "sun"}, "wall or processor"),
        ({"models": {"a": {"model": "default", "clock": "sun"}}}, "wall or processor"),
        ({"data": 3}, "data must be a text; got 3"),
        ({"folds": 0}, "folds must be a list of whole numbers, such as \\[0, 1\\]; got 0"),
        ({"folds": ["0"]}, "folds must be a list"),
        ({"minutes": "long"}, "minutes must be a number above 0; got 'long'"),
        ({"minutes": float("nan")}, "minutes must be"),
        ({"threads": True}, "threads must be a whole number above 0"),
        ({"levels": 0.1, "kind": "noise"}, "levels must be a list of numbers"),
        ({"models": {"a": {"model": 5}}}, "In models.a, model must be a text"),
        ({"models": {"a": {"trainer": "scarnet", "epochs": "many"}}}, "epochs must be a whole number above 0"),
    ],
)
def test_what_a_study_cannot_mean_is_refused_in_one_line(change, words):
    values = {"kind": "comparison", "data": "x", "folds": [0], "models": {"a": {"model": "default"}}} | change
    with pytest.raises(UsageError, match=words) as caught:
        study_from({key: value for key, value in values.items() if value is not None})
    assert "\n" not in str(caught.value)


def test_files_that_are_no_study_are_refused(tmp_path):
    with pytest.raises(InputError, match="No study at"):
        read_study(tmp_path / "absent.toml")
    (tmp_path / "a.toml").write_text("kind = [", encoding="utf-8")
    with pytest.raises(UsageError, match="is not TOML"):
        read_study(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_text("[models.a]\nmodel = 'default'\n", encoding="utf-8")
    with pytest.raises(UsageError, match="names no data"):
        read_study(tmp_path / "b.toml")


def test_models_of_a_comparison_are_named_once_and_legibly(hearts):
    study = comparison_of(
        hearts, ["default", "mine=labels:/x/theirs", "threshold:ewa@default", "threshold:ewa"], folds=None, threads=1
    )
    assert [plan.name for plan in study.models] == ["default", "mine", "ewa on default", "ewa on expert"]
    with pytest.raises(UsageError, match="Two models are called"):
        comparison_of(hearts, ["default", "default"], folds=None, threads=1)
    with pytest.raises(UsageError, match="No model is named"):
        comparison_of(hearts, [], folds=None, threads=1)
    with pytest.raises(UsageError, match="'mine=' names no model"):
        comparison_of(hearts, ["mine="], folds=None, threads=1)


# --- splits -------------------------------------------------------------------------------------------------------


def cases(count):
    return tuple(
        CaseFile(f"C{n}", n % 5, "normal" if n % 3 == 0 else "pathological", Path(), Path(), None) for n in range(count)
    )


@given(st.integers(6, 60), st.integers(0, 1000), st.data())
def test_draws_are_nested_and_keep_the_groups_shares(count, seed, data):
    everyone = cases(count)
    size = data.draw(st.integers(1, count))
    chosen = drawn(everyone, size, seed)
    assert len(set(chosen)) == size and chosen == drawn(everyone, count, seed)[:size]
    normal = sum(case.group == "normal" for case in chosen)
    share = sum(case.group == "normal" for case in everyone) / count
    assert abs(normal - share * size) <= 1
    with pytest.raises(UsageError, match="more than"):
        drawn(everyone, count + 1, seed)


def test_nobody_is_trained_on_and_judged(hearts):
    folds = sorted({case.fold for case in list_cases(hearts)})
    values = {"data": hearts, "folds": folds, "minutes": 1, "models": {"a": {"trainer": "scarnet"}}}
    splits = splits_of(study_from(values))
    assert sorted(case.name for split in splits for case in split.test) == [f"Patient{n}" for n in range(6)]
    for split in splits:
        assert (
            not {c.name for c in split.train} & {c.name for c in split.test} and len(split.train) + len(split.test) == 6
        )
    curve = splits_of(study_from(values | {"kind": "learning-curve", "sizes": [1, 2], "draws": 3}))
    assert len(curve) == 6 * len(folds) and all(len(split.train) == split.size for split in curve)
    assert all(not {c.name for c in s.train} & {c.name for c in s.test} for s in curve)
    assert [(s.name, s.size) for s in bases_of(curve)] == [(s.name, 0) for s in splits]  # for what is not trained
    with pytest.raises(UsageError, match="do not exist"):
        splits_of(study_from(values | {"folds": [9]}))
    same = study_from({**values, "folds": None, "train_data": hearts})
    with pytest.raises(UsageError, match="trained on and judged"):
        splits_of(same)


def test_a_model_that_has_seen_a_judged_patient_is_left_out_and_named(hearts, tmp_path):
    parameters = RunParameters(epochs=1, samples_per_epoch=16, batch_size=4, accelerator="cpu")
    options = dict(name="m", preset_name="tiny", with_onnx=False, progress=False)
    train_scarnet(hearts, tmp_path / "m", run_parameters=parameters, **options)
    study = comparison_of(hearts, [f"seen={tmp_path / 'm'}", "threshold:5sd"], folds=None, threads=1)
    skipped = run_study(study, tmp_path / "out")
    assert list(skipped) == ["seen"] and "was trained on Patient0" in skipped["seen"]


# --- noise --------------------------------------------------------------------------------------------------------


def test_noise_has_the_spread_and_the_bias_that_its_name_says(phantom):
    series = phantom.series
    low, high = np.percentile(series.image, RANGE_PERCENTILES)
    sd = 0.1 * (high - low)
    rng = np.random.default_rng(0)
    gaussian = with_noise(series, "gaussian", 0.1, rng).image - series.image
    assert gaussian.std() == pytest.approx(sd, rel=0.01) and abs(gaussian.mean()) < 0.01 * sd
    rician = with_noise(series, "rician", 0.1, rng).image
    base = series.image.min()
    assert rician.min() >= base
    # Second moment of a Rician value, exact at every signal: S^2 + 2 sd^2 (Gudbjartsson and Patz 1995).
    expected = ((series.image - base).astype(float) ** 2).mean() + 2 * sd**2
    assert ((rician - base).astype(float) ** 2).mean() == pytest.approx(expected, rel=0.01)
    with pytest.raises(ValueError, match="gaussian or rician"):
        with_noise(series, "salt", 0.1, rng)


def test_every_model_meets_the_same_noise_and_every_draw_another(phantom):
    def made(*key):
        return with_noise(phantom.series, "gaussian", 0.1, generator_of(*key)).image

    first = made(1, "a", "gaussian", 0.1, 0)
    assert np.array_equal(first, made(1, "a", "gaussian", 0.1, 0))
    for other in ((2, "a", "gaussian", 0.1, 0), (1, "b", "gaussian", 0.1, 0), (1, "a", "gaussian", 0.1, 1)):
        assert not np.array_equal(first, made(*other))


def test_points_of_a_curve_by_hand():
    rows = [
        {"model": "m", "kind": "", "level": level, "draw": draw, "case": case, "found": True, "myocardium_dice": 0.9}
        | {"scar_dice": value, "scar_predicted_percent_lv": 10.0, "scar_truth_percent_lv": 8.0}
        for level in (0.0, 0.1)
        for case, values in (("a", (0.4, 0.6)), ("b", (0.8, 0.8)))
        for draw, value in enumerate(values)
    ]
    found = points(rows, "level")
    assert len(found) == 2 and found[0]["scar_dice"] == pytest.approx(0.65) and found[0]["pathological"] == 2
    assert found[0]["scar_dice_draw_sd"] == pytest.approx(np.std([0.4, 0.6], ddof=1) / 2, abs=1e-4)
    assert found[0]["percent_lv_absolute"] == 2


# --- time and blocks ----------------------------------------------------------------------------------------------


def test_the_rate_of_a_timed_run_climbs_and_falls_to_zero():
    shares = np.linspace(0, 1.2, 200)
    factors = np.array([timed_factor(share) for share in shares])
    assert factors[0] > 0 and factors.max() == pytest.approx(1, abs=0.01) and factors[shares >= 1].max() < 1e-9
    peak = int(factors.argmax())
    assert (np.diff(factors[:peak]) >= 0).all() and (np.diff(factors[peak:]) <= 1e-12).all()


@pytest.mark.parametrize("clock", ["wall", "processor"])
def test_a_timed_run_takes_its_time_and_counts_its_steps(hearts, tmp_path, clock):
    parameters = RunParameters(
        epochs=1, samples_per_epoch=16, batch_size=4, minutes=0.05, clock=clock, accelerator="cpu"
    )
    folder = train_scarnet(
        hearts,
        tmp_path / clock,
        name="m",
        preset_name="tiny",
        patients=["Patient0", "Patient1"],
        changes={"use_unet_branch": False},
        run_parameters=parameters,
        with_onnx=False,
        progress=False,
    )
    card = read_card(folder)
    assert card.training["cases"] == ["Patient0", "Patient1"] and card.config["use_unet_branch"] is False
    assert card.training["image_steps"] > 16 and card.training["changes"] == {"use_unet_branch": False}


def test_a_timed_run_that_is_killed_goes_on_counting(hearts, tmp_path):
    """The first run is stopped by an error in its third epoch; the second has only what is left of the time."""
    from scarnet.training import loop

    parameters = RunParameters(epochs=1, samples_per_epoch=8, batch_size=4, minutes=0.2, accelerator="cpu")
    train = dict(name="m", preset_name="tiny", run_parameters=parameters, with_onnx=False, progress=False)

    class Killed(Exception):
        pass

    budgets = []

    class Watched(loop.TimeBudget):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            budgets.append(self)

        def on_train_epoch_start(self, trainer, module):
            if len(budgets) == 1 and trainer.current_epoch == 3:
                raise Killed

    before = loop.TimeBudget
    loop.TimeBudget = Watched
    try:
        with pytest.raises(Killed):
            train_scarnet(hearts, tmp_path / "m", **train)
        assert not (tmp_path / "m" / "model.json").exists()
        folder = train_scarnet(hearts, tmp_path / "m", **train)
    finally:
        loop.TimeBudget = before
    assert budgets[1]._offset > 0.5 and read_card(folder).training["image_steps"] > 24


@pytest.mark.parametrize("minutes", [None, 0.03])
def test_a_run_that_is_killed_before_its_model_is_written_gives_the_same_weights(
    hearts, tmp_path, monkeypatch, minutes
):
    """The mean of the weights, that is, and not the last ones."""
    from scarnet.training import train as training

    parameters = RunParameters(epochs=2, samples_per_epoch=16, batch_size=4, minutes=minutes, accelerator="cpu")
    arguments = dict(name="m", preset_name="tiny", run_parameters=parameters, with_onnx=False, progress=False)
    kept = []

    def killed(module, samples, folder, parameters, **options):
        kept.append(run(module, samples, folder, parameters, **options))
        raise KeyboardInterrupt

    run = training.run
    monkeypatch.setattr(training, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        train_scarnet(hearts, tmp_path / "m", **arguments)
    monkeypatch.setattr(training, "run", lambda *a, **o: kept.append(run(*a, **o)) or kept[-1])
    train_scarnet(hearts, tmp_path / "m", **arguments)
    assert all(torch.equal(kept[0][key], kept[1][key]) for key in kept[0])


@pytest.mark.parametrize(("family", "terms"), [("paper", PAPER), ("regions", REGIONS)])
def test_terms_of_a_loss_add_up_to_it_and_each_is_missed(family, terms):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 16, 16, generator=generator)
    labels = torch.randn(2, 5, 16, 16, generator=generator).softmax(1)
    whole = LOSSES[family](logits, labels)
    parts = [whole - LOSSES[name](logits, labels) for name in LOSSES if name.startswith(f"{family}-without-")]
    assert len(parts) == len(terms) and all(part > 0 for part in parts)
    assert torch.allclose(sum(parts), whole, atol=1e-5)


# --- the queue ----------------------------------------------------------------------------------------------------


def test_a_study_trains_compares_and_goes_on_where_it_ended(hearts, tmp_path):
    quick = {"trainer": "scarnet", "preset": "tiny", "samples_per_epoch": 16, "batch_size": 4, "accelerator": "cpu"}
    study = study_from(
        {
            "data": hearts,
            "folds": [first_fold(hearts)],
            "minutes": 0.03,
            "models": {
                "tiny": quick,
                "ewa on tiny": {"model": "threshold:ewa", "myocardium": "tiny"},
                "fwhm": {"model": "threshold:fwhm"},
                "nowhere": {"model": "no-such-model"},
            },
        }
    )
    said: list[str] = []
    assert complete_study(study, tmp_path, only=["tiny"], on_step=said.append)[0] == []
    assert all(training.done for training in trainings_of(study, tmp_path)) and not (tmp_path / "README.md").exists()
    card = (tmp_path / "models" / "tiny").glob("*/model.json")
    trained_at = next(card).stat().st_mtime_ns
    removed = next((tmp_path / "predictions" / "tiny").glob("*/clean/*.nii.gz"))
    removed.unlink()
    said.clear()
    tables, skipped = complete_study(study, tmp_path, on_step=said.append)
    assert removed.exists() and not any("train tiny" in line for line in said)
    assert next((tmp_path / "models" / "tiny").glob("*/model.json")).stat().st_mtime_ns == trained_at
    assert list(skipped) == ["nowhere"] and [row[0] for row in tables[0].rows] == ["tiny", "ewa on tiny", "fwhm"]
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    for words in (
        "minutes of wall-clock time",
        "the muscle that tiny draws",
        "the expert's muscle",
        "not run. No model 'no-such",
    ):
        assert words in page, words
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["provenance"]["computer"]["processor"] and summary["left_out"]
    assert str(tmp_path) not in page and str(hearts.parent) not in page


def test_a_noise_study_gives_a_point_for_every_level_and_model(hearts, tmp_path):
    study = study_from(
        {
            "kind": "noise",
            "data": hearts,
            "levels": [0.05, 0.4],
            "draws": 2,
            "limit": 2,
            "models": {"5sd": {"model": "threshold:5sd"}, "ewa": {"model": "threshold:ewa"}},
        }
    )
    assert len(conditions_of(study)) == 1 + 2 * 2 * 2
    tables, skipped = complete_study(study, tmp_path)
    assert not skipped and len(tables[0].rows) == 2 * (1 + 2 * 2)
    text = (tmp_path / "curve.csv").read_text(encoding="utf-8")
    assert "rician" in text and "gaussian" in text
    dices = {(row[0], row[1], row[2]): float(row[3].split()[0]) for row in tables[0].rows}
    assert dices["5sd", "gaussian", "0.4"] < dices["5sd", "–", "0"]


@pytest.mark.slow
def test_a_learning_curve_trains_every_size_and_draw(hearts, tmp_path):
    quick = {"trainer": "scarnet", "preset": "tiny", "samples_per_epoch": 16, "batch_size": 4, "accelerator": "cpu"}
    study = study_from(
        {
            "kind": "learning-curve",
            "data": hearts,
            "folds": [first_fold(hearts)],
            "sizes": [1, 2],
            "draws": 2,
            "minutes": 0.02,
            "models": {"tiny": quick, "5sd": {"model": "threshold:5sd"}},
        }
    )
    tables, skipped = complete_study(study, tmp_path)
    assert not skipped and [(row[0], row[2]) for row in tables[0].rows] == [("5sd", "0"), ("tiny", "1"), ("tiny", "2")]


# --- the command line ---------------------------------------------------------------------------------------------


def scarnet(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "scarnet.cli", *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )


def test_compare_runs_on_a_folder_of_pairs_that_is_not_emidec(hearts, tmp_path):
    done = scarnet(
        "compare",
        hearts,
        "-o",
        tmp_path / "out",
        "--models",
        "default,threshold:ewa@default,threshold:5sd",
        "--publish",
        tmp_path / "shown",
    )
    assert not list((tmp_path / "shown").rglob("*.nii.gz")) and is_page(tmp_path / "shown" / "README.md")
    assert done.returncode == 0, done.stderr
    assert "Scar, in the layout of the paper" in done.stdout and "ewa on default" in done.stdout
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {
        "README.md",
        "tables.md",
        "tables.tex",
        "tests.csv",
        "patients.csv",
        "slices.csv",
        "measures.csv",
    } <= written
    # What it kept can be judged as anybody's label maps can.
    maps = tmp_path / "out" / "predictions" / "default" / "all" / "clean"
    again = scarnet("evaluate", maps, hearts, "-o", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    summaries = [
        json.loads((tmp_path / name / "summary.json").read_text(encoding="utf-8"))["models"]
        for name in ("out", "again")
    ]
    assert summaries[0]["default"] == summaries[1]["clean"]
    other = scarnet("compare", hearts, "-o", tmp_path / "other", "--models", f"a=labels:{maps},default")
    assert other.returncode == 0 and "a − default" in other.stdout


def test_commands_refuse_in_one_line(hearts, tmp_path):
    for arguments, code, words in (
        (("compare", hearts, "-o", tmp_path / "o", "--models", "no-such-model"), 3, "No model could be run"),
        (("compare", hearts, "-o", tmp_path / "o", "--models", "threshold:8sd"), 3, "known are 2sd"),
        (("study", tmp_path / "no.toml", "-o", tmp_path / "o"), 3, "No study at"),
        (("evaluate", tmp_path, hearts, "-o", tmp_path / "o2"), 3, "no label maps"),
    ):
        done = scarnet(*arguments)
        assert done.returncode == code and words in done.stderr.splitlines()[-1], done.stderr


def test_provenance_names_no_folder_of_this_computer(tmp_path):
    made = provenance(["compare", str(tmp_path / "secret" / "patients"), "--folds", "0"])
    assert made["command"] == "scarnet compare patients --folds 0" and str(tmp_path) not in json.dumps(made)
