"""Many patients: found, spread over workers that may die, taken up again, corrected; the same bits whichever way.

Where the network is not the point a ring stands for its outlines: drawn by `draw_ring`, which is fast and deterministic.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from scarnet import cli
from scarnet.cohort import work as work_module
from scarnet.cohort.page import write_page
from scarnet.cohort.patients import find_patients
from scarnet.cohort.processes import Failure, attempt, run_in_processes
from scarnet.cohort.run import _alone, run_cohort
from scarnet.cohort.settings import resolve
from scarnet.cohort.store import CHANGE_COLUMNS, ROW_COLUMNS, PatientState, read_state
from scarnet.cohort.tables import write_parquet
from scarnet.cohort.work import run_patient
from scarnet.errors import InputError, ModelError, UsageError
from scarnet.export import write_label_map
from scarnet.network.runtime import thread_count
from scarnet.phantom import write_dicom
from scarnet.segmentation import ScarSegmentation
from scarnet.series import read_lge

DRAWN_LOG = "SCARNET_TEST_DRAWN"


def draw_ring(series, **_):
    """Myocardium is a ring about the middle of the image, scar its brightest tenth."""
    rows, columns = np.indices(series.image.shape[1:])
    radius = np.hypot(rows - series.image.shape[1] / 2, columns - series.image.shape[2] / 2)
    labels = np.zeros(series.image.shape, np.uint8)
    labels[:, radius < 14] = 2
    labels[:, radius < 9] = 1
    bright = series.image > np.percentile(series.image[labels == 2], 90)
    labels[(labels == 2) & bright] = 3
    if name := os.environ.get(DRAWN_LOG):
        with open(name, "a") as log:
            log.write(series.source.name + "\n")
    doubt = (series.image.std(axis=(1, 2)) % 1).astype(float)
    model = {"name": "ring", "version": "1", "sha256": "0" * 64, "runtime": "numpy", "device": "cpu", "licence": ""}
    return ScarSegmentation(labels, None, np.zeros(3), doubt, model=model | {"interval": {}})


def work(item):
    return run_patient(item, segment=draw_ring)


def die_once(item):
    """The worker is killed in the middle of its second patient, the first time."""
    marker = item.folder.parent.parent / "died"
    if item.key == "B" and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return work(item)


def die_on_b(item):
    if item.key == "B":
        os._exit(9)
    return work(item)


def kill_the_parent_once(item):
    """As a whole computer may be switched off: after one patient, while the next one's files are half replaced."""
    marker = item.folder.parent.parent / "died"
    if item.key != "B" or marker.exists():
        return work(item)
    marker.touch()

    def killed(*_):
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()

    work_module.write_thumbnail = killed
    return work(item)


def write_image(path, image, spacing=(2.0, 2.0, 8.0)):
    picture = sitk.GetImageFromArray(image.astype(np.float32))
    picture.SetSpacing(spacing)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(picture, str(path))


@pytest.fixture
def patients(tmp_path):
    """Three images and one that is none."""
    folder = tmp_path / "in"
    for number, name in enumerate("ABC"):
        write_image(folder / f"{name}.nii.gz", np.random.default_rng(number).normal(100, 20, (3, 48, 50)))
    (folder / "D.nii.gz").write_bytes(b"\x1f\x8b no image")
    return folder


@pytest.fixture
def settings():
    return resolve(with_report=False)


@pytest.fixture
def cohort(patients, tmp_path, settings):
    def call(out="out", work=work, jobs=1, settings=settings, **options):
        return run_cohort(patients, tmp_path / out, settings, jobs=jobs, work=work, **options)

    return call


@pytest.fixture
def here(monkeypatch):
    """No processes: for tests of what is done, not of where."""

    def run(work, items, jobs):
        for item in items:
            yield item, attempt(work, item)

    monkeypatch.setattr("scarnet.cohort.run.run_in_processes", run)


def rows_of(folder):
    with (folder / "cohort.csv").open(encoding="utf-8", newline="") as file:
        return {row["patient"]: row for row in csv.DictReader(file)}


def voxels(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def same_results(one, other):
    """Tables to the byte, labels to the voxel."""
    assert (one / "cohort.csv").read_bytes() == (other / "cohort.csv").read_bytes()
    found = sorted(p.relative_to(one) for p in one.glob("patients/*/labels.nii.gz"))
    assert found == sorted(p.relative_to(other) for p in other.glob("patients/*/labels.nii.gz")) and found
    for path in found:
        assert np.array_equal(voxels(one / path), voxels(other / path))
    assert not list(one.rglob(".part-*")) and not list(other.rglob(".part-*"))


# --- who is there ---------------------------------------------------------------------------------------------------


def write_dicom_image(path, study):
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.StudyInstanceUID = study
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def found_in(folder, **options):
    return {p.key: p.path.relative_to(folder).as_posix() for p in find_patients(folder, **options)}


def test_a_patient_is_the_highest_folder_of_one_study(tmp_path):
    write_dicom_image(tmp_path / "P1/cine/1.dcm", "1.1")
    write_dicom_image(tmp_path / "P1/lge/1.dcm", "1.1")
    write_dicom_image(tmp_path / "site/P2/1.dcm", "1.2")
    write_dicom_image(tmp_path / "site/P3/before/1.dcm", "1.3")
    write_dicom_image(tmp_path / "site/P3/after/1.dcm", "1.4")
    (tmp_path / "P4").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "site/P2/back").symlink_to(tmp_path / "site")
    write_dicom_image(tmp_path / "out/x/1.dcm", "1.5")
    assert found_in(tmp_path, leave_out=tmp_path / "out") == {
        "P1": "P1",
        "P4": "P4",
        "site__P2": "site/P2",
        "site__P3__after": "site/P3/after",
        "site__P3__before": "site/P3/before",
    }
    assert "out__x" not in found_in(tmp_path) and found_in(tmp_path)["out"] == "out"
    assert [p.path for p in find_patients(tmp_path / "P1" / "lge")] == [tmp_path / "P1" / "lge"]
    write_dicom_image(tmp_path / "loose.dcm", "1.1")
    with pytest.raises(InputError, match="lie loose"):
        find_patients(tmp_path)


def test_folders_whose_images_name_no_study_are_not_taken_together(tmp_path):
    for name in ("A", "B"):
        write_dicom_image(tmp_path / "site" / name / "1.dcm", "")
    assert set(found_in(tmp_path)) == {"site__A", "site__B"}


def test_image_files_are_patients_and_outlines_are_not(tmp_path):
    for name in "a/x.nii.gz a/x.seg.nrrd a/x_labels.nii.gz b/Case_1_image.nii.gz b/Case_1_other.nrrd c/y.mha".split():
        write_image(tmp_path / name, np.zeros((2, 4, 4)))
    write_image(tmp_path / "case/Images/z.nii.gz", np.zeros((2, 4, 4)))
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.writestr("1.dcm", b"")
    write_image(tmp_path / "case/Contours/z.nii.gz", np.zeros((2, 4, 4)))
    assert found_in(tmp_path) == {
        "a__x": "a/x.nii.gz",
        "b__Case_1": "b/Case_1_image.nii.gz",
        "c__y": "c/y.mha",
        "case__Images__z": "case/Images/z.nii.gz",
        "study": "study.zip",
    }


def test_names_are_safe_and_never_shared(tmp_path):
    for name in ("u/é ü.nii.gz", "u/é_ü.nii.gz", "v/K.nii.gz", "v/K.mha", "w__q.mha", "w/q.mha"):
        write_image(tmp_path / name, np.zeros((2, 4, 4)))
    keys = [p.key for p in find_patients(tmp_path)]
    assert len({key.lower() for key in keys}) == 6
    assert all(key.isascii() and not set(key) & set('/\\: <>"|?*') for key in keys)
    assert keys == [p.key for p in find_patients(tmp_path)]


def test_nobody_there_is_said(tmp_path):
    with pytest.raises(InputError, match="not a folder"):
        find_patients(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no patient"):
        find_patients(tmp_path)


# --- running ---------------------------------------------------------------------------------------------------------


def test_every_patient_gets_a_row_and_the_broken_one_its_reason(here, cohort, tmp_path):
    seen = []
    result = cohort(on_patient=lambda done, total, state: seen.append((done, total)))
    rows = rows_of(tmp_path / "out")
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)] and set(result.done) == set("ABCD") == set(rows)
    assert {k: r["status"] for k, r in rows.items()} == {**dict.fromkeys("ABC", "segmented"), "D": "refused"}
    assert "cannot be read" in rows["D"]["reason"] and not rows["D"]["scar_volume_ml"]
    report = json.loads((tmp_path / "out/patients/A/report.json").read_text(encoding="utf-8"))
    assert float(rows["A"]["scar_volume_ml"]) == report["scar"]["volume_ml"] > 0
    ring = voxels(tmp_path / "out/patients/A/labels.nii.gz")
    assert float(rows["A"]["myocardium_volume_ml"]) == pytest.approx((ring >= 2).sum() * 0.032)
    assert tuple(next(iter(rows.values()))) == ROW_COLUMNS


def test_one_process_or_two_give_the_same_bits(cohort, tmp_path):
    cohort("one", jobs=1)
    cohort("two", jobs=2)
    same_results(tmp_path / "one", tmp_path / "two")


def test_a_worker_that_dies_is_replaced_and_its_patient_done_again(cohort, tmp_path):
    cohort("plain")
    cohort("died", work=die_once)
    assert (tmp_path / "died/died").exists()
    same_results(tmp_path / "plain", tmp_path / "died")


def test_a_patient_that_kills_its_workers_is_marked_and_tried_again_next_time(cohort, tmp_path):
    result = cohort(work=die_on_b)
    row = rows_of(tmp_path / "out")["B"]
    assert row["status"] == "failed" and "died 2 times" in row["reason"] and result.count("segmented") == 2
    assert set(cohort().done) == {"B"}
    cohort("plain")
    same_results(tmp_path / "plain", tmp_path / "out")
    changes = list(csv.DictReader((tmp_path / "out/changes.csv").open(encoding="utf-8")))
    assert [(c["patient"], c["column"], c["before"], c["after"]) for c in changes][0] == (
        "B",
        "status",
        "failed",
        "segmented",
    )


SCRIPT = """
import sys, test_cohort
from pathlib import Path
from scarnet.cohort import run
from scarnet.cohort.settings import resolve
if __name__ == "__main__":
    root, out = map(Path, sys.argv[1:3])
    run.TABLE_SECONDS = 600  # no table before the end, however slow the machine is
    run.run_cohort(root, out, resolve(with_report=False), jobs=int(sys.argv[3]), work=getattr(test_cohort, sys.argv[4]))
"""


def start_script(tmp_path, patients, out, jobs, name):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, script, patients, tmp_path / out, str(jobs), name]
    return subprocess.Popen([*map(str, command)], env={**os.environ, "PYTHONPATH": paths})


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL: ending a run by force was not tested")
def test_a_run_that_is_killed_goes_on_where_it_was(cohort, patients, tmp_path):
    killed = start_script(tmp_path, patients, "out", 1, "kill_the_parent_once")
    assert killed.wait(60) == -signal.SIGKILL
    assert not (tmp_path / "out/cohort.csv").exists() and not read_state(tmp_path / "out/patients/B").complete
    assert (tmp_path / "out/patients/B/labels.nii.gz").is_file()
    assert set(cohort().done) == set("BCD")  # A was done, and what B's worker had left is not taken for a correction
    cohort("plain")
    same_results(tmp_path / "plain", tmp_path / "out")


def test_only_one_run_writes_to_an_output(here, cohort, tmp_path):
    cohort()
    with _alone(tmp_path / "out"), pytest.raises(UsageError, match="Another scarnet cohort"):
        cohort()


def threads_here(_):
    return thread_count(), os.environ["OMP_NUM_THREADS"]


def test_each_process_uses_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert [result for _, result in run_in_processes(threads_here, [1], 1)] == [(1, "1")]
    assert os.environ["OMP_NUM_THREADS"] == "7" and "SCARNET_THREADS" not in os.environ


def test_leaving_early_ends_the_processes():
    running = run_in_processes(os.path.basename, ["a/1", "a/2", "a/3"], 1)
    assert next(running)[1] == "1"
    running.close()


def test_a_failure_is_told_in_one_piece():
    (_, result), *_ = run_in_processes(int, ["no number"], 1)
    assert result == Failure("ValueError: invalid literal for int() with base 10: 'no number'")


# --- again ------------------------------------------------------------------------------------------------------------


def test_again_only_what_changed_is_done(here, cohort, patients, tmp_path, monkeypatch):
    log = tmp_path / "drawn.txt"
    monkeypatch.setenv(DRAWN_LOG, str(log))
    cohort()
    assert sorted(log.read_text().split()) == ["A.nii.gz", "B.nii.gz", "C.nii.gz"]
    assert cohort().done == ()
    before = (tmp_path / "out/cohort.csv").read_bytes()
    os.utime(patients / "A.nii.gz", (1, 1))  # copied, say: looked at, and not drawn again
    assert cohort().done == ("A",) and len(log.read_text().split()) == 3
    assert (tmp_path / "out/cohort.csv").read_bytes() == before
    write_image(patients / "B.nii.gz", np.random.default_rng(9).normal(100, 20, (3, 48, 50)))
    (tmp_path / "out/patients/C/report.json").unlink()
    assert set(cohort().done) == {"B", "C"} and len(log.read_text().split()) == 5
    changes = list(csv.DictReader((tmp_path / "out/changes.csv").open(encoding="utf-8")))
    assert tuple(changes[0]) == tuple(CHANGE_COLUMNS)
    assert {c["patient"] for c in changes} == {"B"} and {c["because"] for c in changes} == {"input"}
    assert {"input_sha256", "doubt_max", "scar_percent_lv_otsu"} <= {c["column"] for c in changes}
    (patients / "C.nii.gz").unlink()
    result = cohort()
    assert result.missing == ("C",) and "C" in rows_of(tmp_path / "out")


def test_another_density_is_another_result(here, cohort, tmp_path):
    cohort()
    result = cohort(settings=resolve(with_report=False, density_g_per_ml=1.0))
    assert set(result.done) == set("ABCD")
    changes = list(csv.DictReader((tmp_path / "out/changes.csv").open(encoding="utf-8")))
    assert {c["because"] for c in changes} == {"parameters"}
    assert {c["column"] for c in changes} == {"lv_mass_g", "scar_mass_g"}  # no obstruction here
    row = rows_of(tmp_path / "out")["A"]
    assert float(row["lv_mass_g"]) == pytest.approx(float(row["myocardium_volume_ml"]))


def corrected(patients, source, target):
    """Without scar in the first slice."""
    series = read_lge(patients / "A.nii.gz")
    labels = voxels(source)
    labels[0][labels[0] == 3] = 2
    write_label_map(target, labels, series.geometry)
    return target.read_bytes()


def test_a_correction_is_measured_kept_and_given_up_again(here, cohort, patients, tmp_path, settings):
    cohort()
    folder = tmp_path / "out/patients/A"
    first = rows_of(tmp_path / "out")["A"]
    drawn = (folder / "labels.nii.gz").read_bytes()
    hand = corrected(patients, folder / "labels.nii.gz", folder / "corrected.nii.gz")
    assert cohort().done == ("A",)
    row = rows_of(tmp_path / "out")["A"]
    assert row["status"] == "corrected" and row["edited"] == "True"
    assert float(row["model_scar_volume_ml"]) == pytest.approx(float(first["scar_volume_ml"]), rel=1e-12)
    assert float(row["scar_volume_ml"]) < 0.9 * float(first["scar_volume_ml"])
    assert (folder / "labels.nii.gz").read_bytes() == drawn  # what the model drew was not drawn again
    assert json.loads((folder / "corrected/report.json").read_text(encoding="utf-8"))["provenance"]["edits"]
    assert cohort().done == ()

    with pytest.MonkeyPatch.context() as patch:  # a new model: its own is drawn anew, the hand's stays
        patch.setattr(work_module, "check_networks", lambda settings: None)
        item_settings = replace(settings, model_sha256="f" * 64)
        item = work_module.WorkItem("A", patients / "A.nii.gz", folder, "f", item_settings)
        state = run_patient(item, segment=draw_ring)
    assert state.row["status"] == "corrected" and state.changes[-1]["because"] in ("model", "correction")
    assert (folder / "corrected.nii.gz").read_bytes() == hand

    (folder / "corrected.nii.gz").unlink()
    cohort()
    assert rows_of(tmp_path / "out")["A"] == first and not (folder / "corrected").exists()


def test_what_a_hand_saved_over_the_models_becomes_the_correction(here, cohort, patients, tmp_path):
    cohort()
    folder = tmp_path / "out/patients/A"
    drawn = voxels(folder / "labels.nii.gz")
    hand = corrected(patients, folder / "labels.nii.gz", folder / "labels.nii.gz")
    assert cohort().done == ("A",)
    assert (folder / "corrected.nii.gz").read_bytes() == hand
    assert np.array_equal(voxels(folder / "labels.nii.gz"), drawn)
    assert rows_of(tmp_path / "out")["A"]["status"] == "corrected"
    corrected(patients, folder / "labels.nii.gz", folder / "labels.nii.gz")  # and another one: neither is lost
    cohort()
    assert (folder / "earlier-1-corrected.nii.gz").read_bytes() == hand and (folder / "corrected.nii.gz").exists()


@pytest.mark.parametrize("pseudonyms", [False, True])
def test_a_namesake_takes_nobodys_place(here, patients, tmp_path, pseudonyms):
    settings, out = resolve(with_report=False, pseudonyms=pseudonyms), tmp_path / "out"
    write_image(patients / "E.mha", np.random.default_rng(5).normal(100, 20, (3, 48, 50)))
    run_cohort(patients, out, settings, jobs=1, work=work)
    first = "A"
    if pseudonyms:
        known = json.loads((out / "pseudonyms.json").read_text(encoding="utf-8"))["patients"]
        first = next(key for key, path in known.items() if Path(path).name.startswith("A"))
    corrected(patients, out / "patients" / first / "labels.nii.gz", out / "patients" / first / "corrected.nii.gz")
    run_cohort(patients, out, settings, jobs=1, work=work)
    for row in out.glob("patients/*/row.json"):  # as an earlier version left them
        values = json.loads(row.read_text(encoding="utf-8"))
        assert bool(values.pop("source")) is not pseudonyms
        row.write_text(json.dumps(values), encoding="utf-8")
    assert run_cohort(patients, out, settings, jobs=1, work=work).done == ()
    for name in ("A.nrrd", "e.nii.gz"):
        write_image(patients / name, np.random.default_rng(7).normal(100, 20, (3, 48, 50)))
    result = run_cohort(patients, out, settings, jobs=1, work=work)
    assert len(result.done) == 2 and not result.missing and len(rows_of(out)) == 7
    if not pseudonyms:
        assert {"A", "E"} < set(rows_of(out)) and rows_of(out)["A"]["status"] == "corrected"
    assert result.count("corrected") == 1
    (patients / "A.nii.gz").unlink()  # whoever is left keeps the folder too
    result = run_cohort(patients, out, settings, jobs=1, work=work)
    assert result.done == () and len(result.missing) == 1


def test_corrections_from_a_folder_and_one_that_does_not_fit(here, cohort, patients, tmp_path):
    cohort()
    hands = tmp_path / "hands"
    hands.mkdir()
    corrected(patients, tmp_path / "out/patients/A/labels.nii.gz", hands / "A.nii.gz")
    write_image(hands / "B.nii.gz", np.full((3, 48, 50), 2), spacing=(1.7, 1.7, 8.0))
    result = cohort(corrections=hands)
    assert set(result.done) == {"A", "B"}
    rows = rows_of(tmp_path / "out")
    assert rows["A"]["status"] == "corrected"
    assert rows["B"]["status"] == "refused" and "B.nii.gz" in rows["B"]["reason"]  # never the model's in its place
    with pytest.raises(UsageError, match="not a folder"):
        cohort(corrections=tmp_path / "absent")


def test_a_hand_may_outline_what_the_model_did_not_find(patients, tmp_path, settings):
    def find_nothing(series, **_):
        raise InputError("No left ventricle was found.")

    folder = tmp_path / "A"
    series = read_lge(patients / "A.nii.gz")
    folder.mkdir()
    write_label_map(folder / "corrected.nii.gz", draw_ring(series).labels, series.geometry)
    item = work_module.WorkItem("A", patients / "A.nii.gz", folder, "f", settings)
    state = run_patient(item, segment=find_nothing)
    assert state.row["status"] == "corrected" and state.row["model"] == "" and state.row["scar_volume_ml"] > 0
    report = json.loads((folder / "corrected/report.json").read_text(encoding="utf-8"))
    assert any("The model drew nothing here" in line for line in report["quality"]["warnings"])


def test_a_worker_with_another_model_refuses(patients, tmp_path, settings):
    wrong = replace(settings, model_sha256="0" * 64)
    item = work_module.WorkItem("A", patients / "A.nii.gz", tmp_path / "A", "f", wrong)
    with pytest.raises(ModelError, match="another model"):
        run_patient(item, segment=draw_ring)


# --- what is written --------------------------------------------------------------------------------------------------


def test_pseudonyms_hide_every_name(here, patients, tmp_path, settings):
    (patients / "A.nii.gz").rename(patients / "MUELLER_Anna.nii.gz")
    (patients / "D.nii.gz").rename(patients / "SCHMIDT_Otto.nii.gz")
    hidden = resolve(with_report=False, pseudonyms=True)
    out = tmp_path / "out"
    result = run_cohort(patients, out, hidden, jobs=1, work=work)
    assert all(key.startswith("P-") for key in result.states) and len(result.states) == 4
    for path in out.rglob("*"):
        assert "MUELLER" not in path.name and "SCHMIDT" not in path.name
        if path.is_file() and path.name != "pseudonyms.json":
            assert b"MUELLER" not in path.read_bytes() and b"SCHMIDT" not in path.read_bytes(), path
    assert "(input)" in next(r["reason"] for r in rows_of(out).values() if r["reason"])
    who = json.loads((out / "pseudonyms.json").read_text(encoding="utf-8"))
    assert (out / "pseudonyms.json").stat().st_mode & 0o077 == 0
    assert "MUELLER" in " ".join(who["patients"].values()) and set(who["patients"]) == set(result.states)
    assert run_cohort(patients, out, hidden, jobs=1, work=work).done == ()
    with pytest.raises(UsageError, match="under pseudonyms"):
        run_cohort(patients, out, settings, jobs=1, work=work)


def test_the_page_puts_doubt_first_and_runs_nothing(tmp_path):
    def state(name, status, doubt=None, reason=""):
        numbers = {"scar_percent_lv": 1.0, "scar_volume_ml": 2.0, "lv_mass_g": 90.0, "mvo_volume_ml": 0.0}
        row = {"patient": name, "status": status, "reason": reason, "doubt_max": doubt}
        return PatientState(name, complete=True, row=row | (numbers if doubt is not None else {}))

    states = [
        state("certain", "segmented", 0.1),
        state("read", "corrected", 0.9),
        state("doubtful", "segmented", 0.5),
        state("broken", "refused", reason="<script>alert(1)</script> & more"),
    ]
    write_page(tmp_path / "index.html", states)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    places = [page.index(f"<h2>{name} ") for name in ("broken", "doubtful", "certain", "read")]
    assert places == sorted(places)
    assert "<script" not in page and "&lt;script&gt;" in page and "http" not in page
    assert "research use only" in page.lower()


def test_pages_links_lead_to_files(here, patients, tmp_path):
    import re

    out = tmp_path / "out"
    run_cohort(patients, out, resolve(), jobs=1, work=work)
    page = (out / "index.html").read_text(encoding="utf-8")
    links = set(re.findall(r'(?:href|src)="([^"]+)"', page))
    assert {"patients/A/report.html", "patients/A/thumbnail.png", "cohort.csv"} <= links
    assert all((out / link).is_file() for link in links)
    run_cohort(patients, out, resolve(with_report=False), jobs=1, work=work)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "patients/A/report.json" in page and "report.html" not in page and "report.pdf" not in page


def test_parquet_holds_what_csv_holds(here, cohort, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: Parquet was not tested")
    cohort()
    table = parquet.read_table(tmp_path / "out/cohort.parquet").to_pylist()
    rows = rows_of(tmp_path / "out")
    assert [row["patient"] for row in table] == list(rows)
    for row in table:
        for name, value in row.items():
            assert ("" if value is None else str(value)) == rows[row["patient"]][name], name
    assert write_parquet(tmp_path / "x.parquet", table)


def test_dask_gives_the_same_bits_though_workers_die(cohort, tmp_path):
    distributed = pytest.importorskip("distributed", reason="DASK IS NOT INSTALLED: a cluster was not tested")
    cohort("plain")
    options = {"processes": True, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(n_workers=2, silence_logs=50, **options) as cluster:
        cohort("cluster", work=die_once, cluster=cluster.scheduler_address)
        (tmp_path / "scheduler.json").write_text(json.dumps({"address": cluster.scheduler_address}))
        cohort("file", cluster=str(tmp_path / "scheduler.json"))
    assert (tmp_path / "cluster/died").exists()
    same_results(tmp_path / "plain", tmp_path / "cluster")
    same_results(tmp_path / "plain", tmp_path / "file")


def slow_work(item):
    time.sleep(0.3)  # so that kills meet patients
    return work(item)


@pytest.mark.slow
def test_workers_of_a_cluster_are_killed_at_random(tmp_path, settings):
    """From outside, while 30 patients are under way: nothing is lost, doubled or torn, and the bits are those of one process."""
    distributed = pytest.importorskip("distributed", reason="DASK IS NOT INSTALLED: a cluster was not tested")
    import dask

    rng, stop, kills = np.random.default_rng(5), threading.Event(), []
    for number in range(30):
        write_image(tmp_path / f"in/P{number:02d}.nii.gz", rng.normal(100, 20, (3, 48, 50)))
    run_cohort(tmp_path / "in", tmp_path / "plain", settings, jobs=1, work=work)
    options = {"processes": True, "threads_per_worker": 1, "dashboard_address": None}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 20}),
        distributed.LocalCluster(n_workers=2, silence_logs=50, **options) as cluster,
    ):

        def kill():
            while not stop.wait(float(rng.uniform(0.5, 1.5))) and len(kills) < 6:
                nanny = list(cluster.workers.values())[int(rng.integers(2))]
                try:
                    os.kill(nanny.pid, signal.SIGKILL)
                except (ProcessLookupError, TypeError):  # it is being started anew
                    continue
                kills.append(nanny.pid)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            result = run_cohort(
                tmp_path / "in", tmp_path / "out", settings, work=slow_work, cluster=cluster.scheduler_address
            )
        finally:
            stop.set()
            killer.join()
    assert len(kills) >= 2 and len(result.done) == 30
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 30 and {row["status"] for row in rows.values()} == {"segmented"}
    same_results(tmp_path / "plain", tmp_path / "out")
    assert not list((tmp_path / "out").rglob(".part-*"))


def test_no_scheduler_is_said(cohort):
    pytest.importorskip("distributed", reason="DASK IS NOT INSTALLED: a cluster was not tested")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scarnet.cohort.cluster.CONNECT_SECONDS", 1)
        with pytest.raises(UsageError, match="No Dask scheduler"):
            cohort(cluster="tcp://127.0.0.1:9")


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_with_the_shipped_model(phantom, sample_folder, tmp_path, capsys, monkeypatch):
    write_dicom(phantom, tmp_path / "in" / "P1" / "LGE")
    (tmp_path / "in" / "P2").symlink_to(sample_folder)
    (tmp_path / "in" / "P3").mkdir()
    options = ["-o", str(tmp_path / "out"), "--no-flips", "--no-report", "--jobs", "1", "--device", "cpu"]

    def run():
        monkeypatch.setattr(sys, "argv", ["scarnet", "cohort", str(tmp_path / "in"), *options])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0, capsys.readouterr()

    code, text = run()
    assert code == 0, text.err
    assert "3 patients, 3 of them done now: 2 segmented, 1 refused." in text.out and "research use only" in text.out
    assert "P3 refused" in text.err
    rows = rows_of(tmp_path / "out")
    assert rows["P1"]["scar_volume_ml"] == rows["P2"]["scar_volume_ml"]  # the sample is this phantom
    truth = json.loads((sample_folder.parent / "truth.json").read_text(encoding="utf-8"))["truth"]
    assert float(rows["P1"]["myocardium_volume_ml"]) == pytest.approx(truth["myocardium_volume_ml"], rel=0.3)
    code, text = run()
    assert code == 0 and "0 of them done now" in text.out


@pytest.mark.slow
def test_killed_at_random_nothing_is_lost_doubled_or_torn(tmp_path, settings):
    """Main process and workers; 40 patients, 20 kills."""
    rng = np.random.default_rng(4)
    for number in range(40):
        write_image(tmp_path / f"in/P{number:02d}.nii.gz", rng.normal(100, 20, (3, 48, 50)))
    run_cohort(tmp_path / "in", tmp_path / "plain", settings, jobs=2, work=work)
    for kill in range(20):
        process = start_script(tmp_path, tmp_path / "in", "out", 2, "work")
        try:
            process.wait(float(rng.uniform(2, 6)))
        except subprocess.TimeoutExpired:
            victims = [process.pid]
            if kill % 2:
                listing = subprocess.run(
                    ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True
                )
                victims = [int(pid) for pid in listing.stdout.split()] or victims
            try:
                os.kill(int(rng.choice(victims)), signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.kill()
            process.wait()
        if (tmp_path / "out/cohort.csv").exists():
            assert {len(row) for row in rows_of(tmp_path / "out").values()} == {len(ROW_COLUMNS)}
    run_cohort(tmp_path / "in", tmp_path / "out", settings, jobs=2, work=work)
    same_results(tmp_path / "plain", tmp_path / "out")
