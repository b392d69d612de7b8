"""Temporary files: private, and gone after every end, a kill included."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

import scarnet
from scarnet import temporary
from scarnet.errors import UsageError
from scarnet.export import outputs, write_outputs
from scarnet.panel.job import SegmentationJob
from scarnet.phantom.study import small_hearts, write_study
from scarnet.phantom.zoo import JPEG_2000, Variant
from scarnet.quantification import quantify
from scarnet.series import pixels, read_lge
from scarnet.temporary import PrivateFolder, remove_stale

ENGINE = Path(scarnet.__file__).parent.parent


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Temporary files of this process and of those that it starts go here."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def started(code, folder):
    """A process that says a line once it has made its folder, and then waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ENGINE)!r})\n{code}"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    return process, process.stdout.readline().strip()


HOLD = """
from scarnet.temporary import PrivateFolder
f = PrivateFolder()
open(f.name + "/image", "w").write("a patient")
print(f.name, flush=True)
"""


def test_it_is_its_owners_alone_and_gone_with_the_context(place):
    with PrivateFolder() as folder:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700 and Path(folder).parent == place
        (Path(folder) / "deep").mkdir()
        (Path(folder) / "deep" / "file").write_text("x")
        assert remove_stale() == []  # this process lives
        assert all(stat.S_IMODE(p.stat().st_mode) & 0o077 == 0 for p in place.iterdir())
    assert list(place.iterdir()) == []


def test_an_error_or_the_end_of_the_program_removes_it(place):
    with pytest.raises(ZeroDivisionError), PrivateFolder():
        1 / 0  # noqa: B018
    assert list(place.iterdir()) == []
    for end in ("", "1 / 0", "import os, signal; os.kill(os.getpid(), signal.SIGINT)"):
        process, folder = started(HOLD + end, place)
        process.wait(20)
        assert folder and list(place.iterdir()) == [], end


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_after_a_kill_the_next_start_removes_it(how, place):
    process, folder = started(HOLD + "import time; time.sleep(60)", place)
    assert Path(folder, "image").is_file() and remove_stale() == []  # it is in use
    assert Path(folder, "image").is_file()
    process.send_signal(how)
    process.wait(20)
    assert Path(folder, "image").is_file()
    with PrivateFolder() as mine:
        assert not Path(folder).exists() and [p.name for p in place.iterdir() if p.is_dir()] == [Path(mine).name]
    assert list(place.iterdir()) == []


def test_what_is_not_ours_stays(place):
    (place / "scarnet-notes").mkdir()
    (place / "scarnet-notes" / "file").write_text("mine")
    outside = place.parent / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (place / "scarnet-0000").symlink_to(outside)
    (place / "scarnet-0000.lock").write_text("")  # as if a stale folder were a link to elsewhere
    (place / "other.lock").write_text("")
    remove_stale()
    assert (outside / "file").is_file() and (place / "scarnet-notes" / "file").is_file()
    assert (place / "other.lock").is_file()


def test_without_locks_nothing_is_taken_for_stale(place, monkeypatch):
    monkeypatch.setattr(temporary, "_lock", lambda handle: False)
    first = PrivateFolder()
    with PrivateFolder():
        assert Path(first.name).is_dir()
    first.cleanup()
    assert list(place.iterdir()) == []


def test_many_at_a_time_do_not_remove_one_another(place):
    code = """
from scarnet.temporary import PrivateFolder
import os
for _ in range(60):
    with PrivateFolder() as f:
        open(f + "/a", "w").close()
        assert os.listdir(f) == ["a"]
print("done", flush=True)
"""
    processes = [started(code, place) for _ in range(4)]
    assert [line for _, line in processes] == ["done"] * 4
    assert all(process.wait(20) == 0 for process, _ in processes) and list(place.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_worker_and_the_program_that_started_it_are_killed(phantom, place):
    """Slicer and its worker die at once: the images that lay in the job's folder are gone at the next job."""
    code = """
import time
from scarnet.panel.job import SegmentationJob
from scarnet.phantom import simulate
job = SegmentationJob(simulate(seed=20).series, device="cpu")
print(job._process._process.pid, job._folder.name, flush=True)
time.sleep(60)
"""
    process, line = started(code, place)
    pid, folder = line.split(" ", 1)
    assert Path(folder, "image.npy").is_file()
    os.kill(int(pid), signal.SIGKILL)
    process.kill()
    process.wait(20)
    assert Path(folder, "image.npy").is_file()
    job = SegmentationJob(phantom.series, device="cpu")
    assert not Path(folder).exists()
    job.cancel()
    assert list(place.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_half_of_a_report_is_gone_at_the_next_one(small_phantom, place, tmp_path, monkeypatch):
    out = tmp_path / "out"
    code = f"""
import time
from scarnet.export import outputs
from scarnet.phantom import HeartParameters, PhantomParameters, simulate
from scarnet.quantification import quantify
p = simulate(PhantomParameters(heart=HeartParameters(), size=96, pixel_mm=3.0, slices=5, gap_mm=8.0), seed=1)
def slow(path, *rest, **more):
    print(path, flush=True)
    time.sleep(60)
outputs.write_html = slow
outputs.write_outputs({str(out)!r}, p.series, p.labels, quantify(p.series, p.labels))
"""
    process, path = started(code, place)
    assert Path(path).parent.joinpath("report.json").is_file()
    process.kill()
    process.wait(20)
    report = quantify(small_phantom.series, small_phantom.labels)
    paths = write_outputs(out, small_phantom.series, small_phantom.labels, report, with_report=False)
    assert sorted(p.name for p in out.iterdir()) == sorted(paths)


def test_what_gdcm_is_given_holds_nothing_of_the_patient(place, tmp_path, monkeypatch):
    """Where no plugin decodes a picture a file is written: of the picture alone."""
    truth = write_study(Variant("j", syntax=JPEG_2000, others=()), tmp_path / "s", small_hearts())
    for file in truth.path.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.PatientName, dataset.PatientID = "Zebedee^Quentin", "HOSP-778812"
        dataset.save_as(file)
    expected = read_lge(truth.path).image
    seen = []

    def none_fits(*args, **options):
        raise NotImplementedError

    class Watched(PrivateFolder):
        def __exit__(self, *rest):
            seen.append(Path(self.name, "image").read_bytes())
            super().__exit__(*rest)

    monkeypatch.setattr(pixels, "pixel_array", none_fits)
    monkeypatch.setattr(pixels, "PrivateFolder", Watched)
    series = read_lge(truth.path)
    assert np.array_equal(series.image, expected) and np.array_equal(series.image, truth.series.image)
    assert len(seen) == len(series.image)
    for content in seen:
        assert b"Zebedee" not in content and b"HOSP-778812" not in content
        assert series.source.study_instance_uid.encode() not in content
    assert list(place.iterdir()) == []


def test_an_output_without_room_leaves_nothing(small_phantom, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs, "write_json", full)
    with pytest.raises(UsageError):
        write_outputs(
            tmp_path / "out",
            small_phantom.series,
            small_phantom.labels,
            quantify(small_phantom.series, small_phantom.labels),
        )
    assert not (tmp_path / "out").exists()
