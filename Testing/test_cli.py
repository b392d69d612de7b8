"""The command line: what it writes, what it refuses, and with which exit code."""

import errno
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

import scarnet
from scarnet import cli
from scarnet.cohort.processes import Failure
from scarnet.evaluation.page import ENDING
from scarnet.export import read_segmentation, write_label_map
from scarnet.export.segmentation_file import write_volume
from scarnet.segmentation import ScarSegmentation
from scarnet.series import read_label_map, read_lge


@pytest.fixture
def run(capsys, monkeypatch):
    """Run `scarnet ...` in this process: exit code, standard output, standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["scarnet", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return stopped.value.code or 0, captured.out, captured.err

    return call


def refused(result, code, *words):
    status, _, error = result
    assert status == code, result
    assert len(error.strip().splitlines()) == 1 and "Traceback" not in error, error
    for word in words:
        assert word in error


def test_segment_writes_the_agreed_files(run, sample_folder, tmp_path):
    code, out, error = run("segment", sample_folder, "-o", tmp_path / "out", "--device", "cpu")
    assert code == 0, error
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {
        "labels.nii.gz",
        "segmentation.seg.nrrd",
        "report.json",
        "report.csv",
        "slices.csv",
        "segments.csv",
        "methods.csv",
        "report.html",
        "report.pdf",
    }
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert f"{report['scar']['volume_ml']:.1f} mL" in out and "research use only" in out.lower()
    assert report["provenance"]["model"]["name"] == "compact-emidec"
    assert report["provenance"]["software"]["version"] == scarnet.__version__
    truth = json.loads((sample_folder.parent / "truth.json").read_text(encoding="utf-8"))["truth"]
    assert report["lv"]["myocardium_volume_ml"] == pytest.approx(truth["myocardium_volume_ml"], rel=0.3)


def test_measure_of_what_segment_wrote_gives_the_same_numbers(run, sample_folder, tmp_path):
    assert run("segment", sample_folder, "-o", tmp_path / "a", "--device", "cpu", "--no-flips", "--no-report")[0] == 0
    assert not (tmp_path / "a" / "report.html").exists()
    first = json.loads((tmp_path / "a" / "report.json").read_text(encoding="utf-8"))
    interval = first["scar"].pop("percent_lv_interval")
    for name in ("labels.nii.gz", "segmentation.seg.nrrd"):
        before = (tmp_path / "a" / name).read_bytes()
        code, _, error = run("measure", tmp_path / "a" / name, "--volume", sample_folder, "-o", tmp_path / name)
        assert code == 0, error
        again = json.loads((tmp_path / name / "report.json").read_text(encoding="utf-8"))
        assert again["scar"].pop("percent_lv_interval") is None  # it is the model's, whose run was not named
        assert (again["lv"], again["scar"], again["mvo"]) == (first["lv"], first["scar"], first["mvo"])
        assert (tmp_path / "a" / name).read_bytes() == before
        assert not (tmp_path / name / name).exists()
    options = ("--volume", sample_folder, "-o", tmp_path / "b", "--ai", tmp_path / "a")
    assert run("measure", tmp_path / "a" / "labels.nii.gz", *options)[0] == 0
    again = json.loads((tmp_path / "b" / "report.json").read_text(encoding="utf-8"))
    assert again["scar"]["percent_lv_interval"] == interval and interval[0] < first["scar"]["percent_lv"] < interval[1]


def test_measure_shows_the_models_values_beside_the_corrected_ones(run, sample_folder, tmp_path):
    import pypdf

    options = ("--device", "cpu", "--no-flips", "--no-report")
    assert run("segment", sample_folder, "-o", tmp_path / "ai", *options)[0] == 0
    image = sitk.ReadImage(str(tmp_path / "ai" / "labels.nii.gz"))
    labels = sitk.GetArrayFromImage(image)
    labels[np.argmax((labels >= 3).sum(axis=(1, 2)))] = 0
    corrected = sitk.GetImageFromArray(labels)
    corrected.CopyInformation(image)
    sitk.WriteImage(corrected, str(tmp_path / "corrected.nii.gz"))
    options = ("--volume", sample_folder, "-o", tmp_path / "out", "--ai", tmp_path / "ai", "--paper", "letter")
    code, _, error = run("measure", tmp_path / "corrected.nii.gz", *options)
    assert code == 0, error
    before, after = (
        json.loads((tmp_path / name / "report.json").read_text(encoding="utf-8")) for name in ("ai", "out")
    )
    assert after["provenance"]["edits"]["Scar"]["model_ml"] == pytest.approx(before["scar"]["volume_ml"], rel=1e-9)
    assert after["provenance"]["model"] == before["provenance"]["model"]
    page = pypdf.PdfReader(tmp_path / "out" / "report.pdf").pages[0]
    assert round(float(page.mediabox.width)) == 612  # points: letter
    assert f"AI {before['scar']['percent_lv']:.1f} %" in page.extract_text()
    options = ("--volume", sample_folder, "-o", tmp_path / "no", "--ai", tmp_path / "out")
    refused(run("measure", tmp_path / "corrected.nii.gz", *options), 3, "not what a model drew alone")
    assert not (tmp_path / "no").exists()


@pytest.fixture
def patient(small_phantom, tmp_path, monkeypatch):
    """An image file, and a model that draws its truth at once."""
    labels = small_phantom.labels
    model = {"name": "truth", "version": "1", "sha256": "0" * 64, "runtime": "numpy", "device": "cpu", "licence": ""}

    class Truth:
        def segment(self, request, on_progress):
            doubt = np.zeros(len(labels))
            return ScarSegmentation(labels, None, np.zeros(3), doubt, model=model | {"interval": {}})

    monkeypatch.setattr("scarnet.peers.back_end", lambda *_, **__: Truth())
    write_volume(tmp_path / "lge.nii.gz", small_phantom.series.image, small_phantom.series.geometry)
    return tmp_path / "lge.nii.gz"


def test_what_a_hand_saved_over_the_models_is_kept(run, patient, small_phantom, tmp_path):
    out = tmp_path / "out"
    options = (patient, "-o", out, "--no-report")
    for _ in range(2):
        code, _, error = run("segment", *options)
        assert code == 0 and "Kept" not in error
    drawn, names = (out / "labels.nii.gz").read_bytes(), {p.name for p in out.iterdir()}
    hands = []
    for value in (0, 2):
        labels = small_phantom.labels.copy()
        labels[labels >= 3] = value
        write_label_map(out / "labels.nii.gz", labels, small_phantom.series.geometry)
        hands.append((out / "labels.nii.gz").read_bytes())
        code, _, error = run("segment", *options)
        assert code == 0 and len(error.strip().splitlines()) == 1 and "labels.nii.gz as corrected.nii.gz" in error
    assert (out / "earlier-1-corrected.nii.gz").read_bytes() == hands[0]
    assert (out / "corrected.nii.gz").read_bytes() == hands[1]
    assert read_label_map(out / "labels.nii.gz")[0].max() == 4 and drawn not in hands
    assert {p.name for p in out.iterdir()} == names | {"corrected.nii.gz", "earlier-1-corrected.nii.gz"}
    assert "Kept" not in run("segment", *options)[2]


def test_measure_does_not_take_what_it_needs_away(run, patient, tmp_path):
    out = tmp_path / "out"
    assert run("segment", patient, "-o", out, "--no-report")[0] == 0
    before = (out / "report.json").read_bytes()
    options = ("--volume", patient, "-o", tmp_path / "x" / ".." / "out")
    (tmp_path / "x").mkdir()
    refused(
        run("measure", out / "labels.nii.gz", *options, "--ai", out), 2, "what scarnet segment drew", "another --output"
    )
    refused(run("measure", out / "segmentation.dcm", *options), 2, "another --output")
    refused(run("measure", out / "labels.nii.gz", *options), 2, "what scarnet segment drew", "--ai", "another --output")
    assert (out / "report.json").read_bytes() == before
    measured = (out / "labels.nii.gz", "--volume", patient, "-o", tmp_path / "measured", "--ai", out)
    assert run("measure", *measured)[0] == run("measure", *measured)[0] == 0  # its own report it replaces


def test_measure_takes_segments_by_any_name(run, phantom, tmp_path):
    import slicerio

    geometry = phantom.series.geometry
    write_label_map(tmp_path / "image.nrrd", phantom.labels, geometry)
    image = sitk.ReadImage(str(tmp_path / "image.nrrd"))
    picture = sitk.GetImageFromArray(phantom.series.image)
    picture.CopyInformation(image)
    sitk.WriteImage(picture, str(tmp_path / "lge.nrrd"))
    segmentation = slicerio.create_segmentation(phantom.labels.shape[::-1], geometry.affine_lps)
    for name, first in (("Herzmuskel", 2), ("Narbe", 3)):
        mask = (phantom.labels >= first).transpose(2, 1, 0)
        slicerio.add_segment(segmentation, mask, {"id": name, "name": name, "color": [1, 0, 0]})
    slicerio.write_segmentation(str(tmp_path / "s.seg.nrrd"), segmentation)
    options = ("--volume", tmp_path / "lge.nrrd", "-o", tmp_path / "out")
    refused(run("measure", tmp_path / "s.seg.nrrd", *options), 3, "no myocardium", "--myocardium")
    code, _, error = run("measure", tmp_path / "s.seg.nrrd", *options, "--myocardium", "Herzmuskel", "--scar", "Narbe")
    assert code == 0, error
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    weights = geometry.voxel_volumes_ml[:, None, None] * np.ones(phantom.labels.shape)
    assert report["scar"]["volume_ml"] == pytest.approx(weights[phantom.labels >= 3].sum(), rel=1e-9)


def test_dicom_segmentation_is_written_when_asked_for(run, sample_folder, tmp_path):
    pytest.importorskip("highdicom", reason="highdicom is not installed: DICOM SEG was not tested")
    truth = sample_folder.parent / "truth.nii.gz"
    code, _, error = run("measure", truth, "--volume", sample_folder, "-o", tmp_path / "out", "--dicom")
    assert code == 0, error
    assert (tmp_path / "out" / "segmentation.dcm").stat().st_size > 10_000
    write_label_map(tmp_path / "lge.nii.gz", read_lge(truth).image.astype(np.uint8), read_lge(truth).geometry)
    result = run("measure", truth, "--volume", tmp_path / "lge.nii.gz", "-o", tmp_path / "none", "--dicom")
    refused(result, 3, "refer to DICOM images")
    assert not (tmp_path / "none").exists()


def test_phantom_writes_a_series_with_its_truth(run, tmp_path):
    code, out, _ = run("phantom", "-o", tmp_path / "p", "--magnitude", "--transmurality", "0", "--seed", "3")
    assert code == 0 and "scar_volume_ml 0.00" in out
    series = read_lge(tmp_path / "p" / "LGEShortAxis")
    labels, _ = read_segmentation(tmp_path / "p" / "truth.nii.gz", series)
    assert series.image.min() >= 0 and labels.max() == 2


def test_unusable_inputs_end_with_3_and_one_line_and_leave_nothing(run, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("hello")
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8b not really")
    noise = np.random.default_rng(0).normal(100, 20, (6, 90, 80)).astype(np.float32)
    images = {
        "flat": noise * 0,
        "one": noise[:1],
        "four": np.stack([noise, noise]),
        "nan": np.where(noise > 140, np.nan, noise),
    }
    for name, array in images.items():
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((1.5, 1.5, 10.0, 1.0)[: array.ndim])
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    for name in ("absent", "empty", "note.txt", "broken.nii.gz", *(f"{n}.nii.gz" for n in images)):
        refused(run("segment", tmp_path / name, "-o", out), 3)
        assert not out.exists(), name


def test_no_ventricle_ends_with_3(run, tmp_path):
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(100, 20, (6, 150, 140)).astype(np.float32))
    image.SetSpacing((1.5, 1.5, 10.0))
    sitk.WriteImage(image, str(tmp_path / "noise.nii.gz"))
    refused(run("segment", tmp_path / "noise.nii.gz", "-o", tmp_path / "out", "--device", "cpu"), 3, "--lv-center")
    assert not (tmp_path / "out").exists()


def test_wrong_usage_ends_with_2_and_one_line(run, sample_folder, tmp_path):
    out = ("-o", tmp_path / "out")
    refused(run("segment", sample_folder, *out, "--lv-center", "1,2"), 2, "--lv-center takes 3 numbers")
    refused(run("segment", sample_folder, *out, "--device", "abacus"), 2, "Unknown device")
    refused(run("train", sample_folder, *out, "--folds", "a"), 2, "--folds")
    assert run("phantom", *out, "--seed", "-1")[0] == 2
    refused(run("compare", sample_folder, *out, "--models", ","), 2, "No model is named")
    for density in ("nan", "-1", "inf"):
        for command in ("segment", "cohort"):
            refused(run(command, sample_folder, *out, "--density", density), 2, "density must lie between")
    for option in ("--lv-center", "--remote", "--rv-insertion"):
        refused(run("segment", sample_folder, *out, option, "1,nan,3"), 2, f"{option} takes finite numbers")
    refused(run("segment", "", *out), 2, "What follows 'segment' is empty")
    refused(run("segment", sample_folder, "-o", ""), 2, "What follows '-o' is empty")
    refused(run("segment", sample_folder, "--output="), 2, "What follows '--output' is empty")
    refused(run("train", sample_folder, *out, "--licence", "", "--devices", "two"), 2, "--devices takes")
    (tmp_path / "file").write_text("x")
    refused(run("segment", sample_folder, "-o", tmp_path / "file"), 2, "another output folder")
    refused(run("segment", sample_folder, "-o", tmp_path / "file" / "deep"), 2, "another output folder")
    assert not (tmp_path / "out").exists() and (tmp_path / "file").read_text() == "x"
    assert run("segment")[0] == 2 and run("fly")[0] == 2


def _wrapped(error):
    """As pydicom does: without the number."""
    wrapped = OSError(f"With tag (7FE0,0010) got exception: {error}\nTraceback")
    wrapped.__cause__ = error
    return wrapped


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "No space left on device); free space or choose another"),
        (_wrapped(OSError(errno.ENOSPC, "No space left on device")), 2, "Nothing more can be written (No space left"),
        (OSError(errno.EROFS, "Read-only file system"), 2, "Nothing more can be written (Read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "x/cases.csv"), 2, "x/cases.csv cannot be opened"),
        (OSError(errno.EIO, "Input/output error"), 1, "internal failure (OSError"),
        (ValueError("two\n  lines"), 1, "internal failure (ValueError: two lines)"),
        (KeyboardInterrupt(), 1, "scarnet: stopped; it was not done."),
    ],
)
def test_what_ends_a_command_is_one_line(run, tmp_path, monkeypatch, problem, code, words):
    def fail(*_, **__):
        raise problem

    monkeypatch.setattr("scarnet.phantom.write_sample", fail)
    refused(run("phantom", "-o", tmp_path / "p"), code, words)


def test_a_full_disk_is_said_when_not_even_a_row_fits(run, patient, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("scarnet.cohort.work.write_state", full)
    monkeypatch.setattr(
        "scarnet.cohort.run.run_in_processes", lambda _, items, __: (yield from ((i, Failure("full")) for i in items))
    )
    result = run("cohort", patient.parent, "-o", tmp_path / "out", "--no-report")
    assert result[0] == 2 and "free space" in result[2].splitlines()[-1] and "internal" not in result[2]


@pytest.mark.parametrize("leave", [KeyboardInterrupt, lambda: _stopped_by_lightning()])
def test_commands_that_go_on_say_so_when_they_are_stopped(run, patient, tmp_path, monkeypatch, leave):
    def stopped(*_, **__):
        raise leave()

    monkeypatch.setattr("scarnet.evaluation.comparison.complete_study", stopped)
    refused(
        run("compare", patient.parent, "-o", tmp_path / "out"), 1, "stopped; what is done is kept: the same command"
    )


def test_somebodys_readme_is_not_replaced(run, patient, tmp_path, monkeypatch):
    monkeypatch.setattr("scarnet.evaluation.comparison.complete_study", lambda *_, **__: pytest.fail("it began"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    for options in (("-o", "."), ("-o", "out", "--publish", tmp_path)):
        refused(run("compare", patient.parent, *options), 2, "README.md is not a page of ours")
    refused(run("compare", patient.parent, "-o", "out", "--publish", "README.md"), 2, "choose another output folder")
    assert (tmp_path / "README.md").read_text() == "mine"
    (tmp_path / "README.md").write_text(f"# Models compared\n\n{ENDING}\n")
    monkeypatch.setattr("scarnet.evaluation.comparison.complete_study", lambda *_, **__: ([], {}))
    assert run("compare", patient.parent, "-o", "out", "--publish", tmp_path)[0] == 0


def _stopped_by_lightning():
    """As its trainer does: SystemExit while an interruption is handled."""
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(1)


def test_a_model_that_is_not_there_is_named(run, sample_folder, tmp_path):
    status, _, error = run("segment", sample_folder, "-o", tmp_path / "out", "--model", "nonesuch")
    assert status == 2 and "nonesuch" in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_help_says_what_to_install(run):
    for arguments in (["--help"], ["app", "--help"]):
        words = re.sub(r"[\s│]+", "", run(*arguments)[1])
        assert 'pipinstall"slicer-scarnet[app]"' in words


def test_models_are_listed_and_verified(run):
    code, out, _ = run("models", "list")
    assert code == 0 and "compact-emidec" in out and "lv-finder" in out
    code, out, _ = run("models", "verify")
    assert code == 0 and "as its card says" in out
    refused(run("models", "verify", "nonesuch"), 2, "nonesuch")


def test_demo_shows_the_result_beside_the_truth(run, tmp_path):
    code, out, error = run("demo", "-o", tmp_path / "demo")
    assert code == 0, error
    assert "Simulated truth" in out and (tmp_path / "demo" / "report.html").stat().st_size > 50_000


def test_the_installed_command_starts_without_torch(tmp_path):
    """Help, and the whole of `segment`, in a fresh interpreter in which torch and lightning cannot be imported."""
    code = (
        "import sys\n"
        "for name in ('torch', 'lightning', 'slicer', 'vtk', 'pandas', 'matplotlib'): sys.modules[name] = None\n"
        "from scarnet import cli\n"
        "cli.main()\n"
    )
    from scarnet.resources import shipped

    sample = shipped("SampleData/LGEShortAxis")
    done = subprocess.run(
        [sys.executable, "-c", code, "segment", str(sample), "-o", str(tmp_path / "out"), "--no-flips"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()
