"""The browser app's parts without a browser: undo, uploads, graphics, passwords, and the bounds on visitors."""

import asyncio
import io
import json
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scarnet.app import graphics
from scarnet.app.history import MAXIMUM_STEPS, History
from scarnet.app.mosaic import TILE_PIXELS, mosaic
from scarnet.app.opened import Opened, usable
from scarnet.app.serve import is_loopback, listen, read_password
from scarnet.app.uploads import Upload, UploadLimits
from scarnet.errors import InputError, ScarNetError, UsageError
from scarnet.export import write_label_map
from scarnet.phantom import write_dicom


def masks(*values):
    """Two structures that follow a list of numbers."""
    return {"LVMyocardium": np.array(values) > 0, "Scar": np.array(values) > 1}


def test_undo_and_redo_give_back_what_was_seen():
    history = History()
    first, second, third = masks(0, 1, 2), masks(1, 1, 2), masks(2, 2, 2)
    for state in (first, first, second, third):
        history.see(state)
    assert history.can_undo and not history.can_redo
    assert np.array_equal(history.undo()["Scar"], second["Scar"])
    assert np.array_equal(history.undo()["LVMyocardium"], first["LVMyocardium"])
    assert not history.can_undo
    assert np.array_equal(history.redo()["LVMyocardium"], second["LVMyocardium"])
    history.see(second)  # what was restored is seen again: no step
    assert history.can_redo
    history.see(masks(0, 0, 0))  # another way from here
    assert not history.can_redo
    assert np.array_equal(history.undo()["LVMyocardium"], second["LVMyocardium"])


@given(st.lists(st.lists(st.integers(0, 2), min_size=24, max_size=24), min_size=1, max_size=12))
def test_any_strokes_can_all_be_undone(strokes):
    history, seen = History(), []
    for values in strokes:
        state = {name: mask.reshape(2, 3, 4) for name, mask in masks(*values).items()}
        history.see(state)
        if not seen or any((state[name] != seen[-1][name]).any() for name in state):
            seen.append(state)
    for expected in seen[-2::-1]:
        found = history.undo()
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert not history.can_undo


def test_what_was_saved_is_known_again_after_undo():
    history, first, second = History(), masks(0, 1, 2), masks(1, 1, 2)
    assert history.now is None
    history.see(first)
    saved = history.now
    history.see(second)
    assert history.now != saved
    history.undo()
    assert history.now == saved
    history.clear()
    assert history.now is None


def test_undo_is_bounded_and_small(phantom):
    history, rng = History(), np.random.default_rng(0)
    muscle, scar = phantom.labels >= 2, phantom.labels >= 3
    for _ in range(MAXIMUM_STEPS + 50):
        k, r, c = (rng.integers(0, n - 8) if n > 8 else rng.integers(n) for n in muscle.shape)
        scar = scar.copy()
        scar[k, r : r + 8, c : c + 8] ^= True
        history.see({"LVMyocardium": muscle, "Scar": scar})
    size = sum(len(part) for state in history._states for part in state.packed.values())
    assert len(history._states) == MAXIMUM_STEPS + 1
    assert size < 10e6  # two copies of each segment for every step would be 350 MB


def test_uploads_stay_where_they_are_put(tmp_path):
    upload = Upload(tmp_path, UploadLimits())
    for name in (
        "../../etc/passwd",
        "C:\\Windows\\x.dcm",
        "a/b/../../../c.nii.gz",
        "",
        "..",
        "a\0b",
        "Müller^Anna/1.dcm",
    ):
        with upload.new_file(name) as file:
            upload.write(file, b"x")
    files = upload.files()
    assert len(files) == 7 and all(path.resolve().is_relative_to(upload.folder.resolve()) for path in files)
    assert any(path.name.endswith("c.nii.gz") for path in files)
    assert stat.S_IMODE(upload.folder.stat().st_mode) == 0o700
    upload.remove()
    assert not list(tmp_path.iterdir())


def test_uploads_are_limited(tmp_path):
    upload = Upload(tmp_path, UploadLimits(megabytes=1, files=2))
    with upload.new_file("a") as file:
        upload.write(file, bytes(900_000))
        with pytest.raises(InputError, match="More than 1 MB"):
            upload.write(file, bytes(200_000))
    upload.new_file("b").close()
    with pytest.raises(InputError, match="More than 2 files"):
        upload.new_file("c")


def test_an_archive_counts_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.dcm", bytes(5_000_000))
    assert (tmp_path / "bomb.zip").stat().st_size < 10_000
    upload = Upload(tmp_path, UploadLimits(megabytes=1))
    with upload.new_file("bomb.zip") as file:
        upload.write(file, (tmp_path / "bomb.zip").read_bytes())
    with pytest.raises(InputError, match="More than 1 MB"):
        upload.files()


def zipped(*names):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, bytes(range(256)) * 40)
    return packed.getvalue()


def sent(upload, name, content):
    with upload.new_file(name) as file:
        upload.write(file, content)


def test_a_file_and_a_folder_of_one_name_are_both_unpacked(tmp_path):
    upload = Upload(tmp_path, UploadLimits())
    sent(upload, "LGE", zipped("DICOM", "DICOM/1", "DICOM/2", "LGE/3", "DICOM/1/4", "LGE"))  # the archive is an LGE too
    files = upload.files()
    assert sorted(path.name.split("-")[-1] for path in files) == ["1", "2", "3", "4", "DICOM", "LGE"]
    assert all(path.stat().st_size == 256 * 40 for path in files)
    first, second = (next(path for path in files if path.name == name) for name in "12")
    assert first.parent == second.parent  # a header of MetaImage names the file beside it


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NO DISK THAT IS ALWAYS FULL HERE (/dev/full)")
def test_a_full_disk_is_not_called_a_damaged_archive(tmp_path, monkeypatch):
    upload = Upload(tmp_path, UploadLimits())
    sent(upload, "study.zip", zipped("1.dcm"))
    monkeypatch.setattr(upload, "new_file", lambda name: open("/dev/full", "wb"))
    with pytest.raises(InputError, match="no room"):
        upload.files()


def test_a_damaged_archive_is_called_one(tmp_path):
    whole = zipped("1.dcm", "2.dcm")
    spoilt = whole[:45] + b"\xff" * 8 + whole[53:]
    for content in (whole[: len(whole) // 2], b"PK\x03\x04" + b"x" * 100, spoilt):
        upload = Upload(tmp_path, UploadLimits())
        sent(upload, "study.zip", content)
        with pytest.raises(InputError, match="archive is (cut off or )?damaged"):
            upload.files()


def test_what_was_brought_is_a_choice_of_stacks(phantom, tmp_path):
    write_dicom(phantom, tmp_path / "LGE")
    files = list((tmp_path / "LGE").iterdir())
    opened = Opened(files)
    assert opened.dicom and opened.best == 1 and len(usable(opened)) == 1
    series = opened.read(1)
    assert np.array_equal(series.image.shape, phantom.labels.shape)
    assert set(opened.files) == set(series.source.sop_instance_uids)
    write_label_map(tmp_path / "image.nii.gz", phantom.labels, phantom.series.geometry)
    assert not Opened([tmp_path / "image.nii.gz"]).dicom
    with pytest.raises(InputError, match="no file"):
        Opened([])


def test_all_slices_hang_as_in_the_slice_view(phantom):
    from PIL import Image

    series, labels = phantom.series, phantom.labels
    picture = mosaic(series.image, labels, series.geometry, window=(-200.0, 1500.0), columns=4)
    image = np.asarray(Image.open(io.BytesIO(picture.jpeg)).convert("RGB")).astype(int)
    assert image.shape == (picture.rows * TILE_PIXELS, 4 * TILE_PIXELS, 3)
    plain = mosaic(series.image, labels, series.geometry, window=(-200.0, 1500.0), columns=4, outlined=False)
    bare = np.asarray(Image.open(io.BytesIO(plain.jpeg)).convert("RGB")).astype(int)
    drawn = np.abs(image - bare).sum(axis=2) > 60
    for k in range(labels.shape[0]):
        row, column = divmod(k, 4)
        tile = drawn[row * TILE_PIXELS : (row + 1) * TILE_PIXELS, column * TILE_PIXELS : (column + 1) * TILE_PIXELS]
        assert (tile.sum() > 20) == bool((labels[k] >= 2).any())


def test_a_computer_that_cannot_draw_is_told_what_to_install(monkeypatch):
    """VTK without a GL library ends the process it is in: here as there that is a child's."""
    monkeypatch.setattr(graphics, "_PROBE", "import os; os.abort()")
    monkeypatch.delenv(graphics.WINDOW_VARIABLE, raising=False)
    with pytest.raises(ScarNetError, match="apt install libegl1") as caught:
        graphics.check_graphics()
    assert "\n" not in str(caught.value)


def test_another_interface_needs_a_password(tmp_path, monkeypatch):
    monkeypatch.delenv("SCARNET_APP_PASSWORD", raising=False)
    assert read_password("127.0.0.1", None) == ""
    for host in ("0.0.0.0", "::", "192.168.1.7", "hospital.example"):
        assert not is_loopback(host)
        with pytest.raises(UsageError, match="password"):
            read_password(host, None)
    (tmp_path / "short").write_text("1234567\n")
    with pytest.raises(UsageError, match="fewer than 8"):
        read_password("127.0.0.1", tmp_path / "short")
    with pytest.raises(UsageError, match="cannot be read"):
        read_password("0.0.0.0", tmp_path / "none")
    (tmp_path / "long").write_text("correct horse\n")
    assert read_password("0.0.0.0", tmp_path / "long") == "correct horse"
    monkeypatch.setenv("SCARNET_APP_PASSWORD", "battery staple")
    assert read_password("0.0.0.0", None) == "battery staple"


def test_a_port_that_is_taken_is_said():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=str(port)):
            listen("127.0.0.1", port)
        assert taken.getsockname()[0] == "127.0.0.1"


# --- visitors: real processes that keep to the session's protocol, without Slicer's libraries ---------------------------

SESSION = """
import json, os, sys
job = json.loads(sys.stdin.buffer.readline())
print("chat", flush=True)
open(os.path.join(job["folder"], "patient.dcm"), "w").write("image")
hog = bytearray(int(job.get("megabytes", 1)) * 10**6)
print(json.dumps({"port": 9}), flush=True)
os.read(0, 1)
"""


@pytest.fixture
def visitors_of(monkeypatch):
    pytest.importorskip("psutil", reason="PSUTIL IS NOT INSTALLED (.[app]): BOUNDS ON VISITORS WERE NOT TESTED")
    from scarnet.app import visitors

    monkeypatch.setattr(visitors, "WATCH_SECONDS", 0.05)

    def run(scenario, *, job=None, program=SESSION, **limits):
        async def whole():
            everyone = visitors.Visitors(visitors.Limits(**limits), job=job, command=(sys.executable, "-c", program))
            everyone.start()
            try:
                await asyncio.wait_for(scenario(everyone), 30)
            finally:
                left = list(everyone._all)
                await everyone.stop()
                assert all(not v.folder.exists() for v in left)
                assert all(v.process.returncode is not None for v in left if v.process)

        asyncio.run(whole())

    return run


async def ended(visitor):
    while not visitor.ended:
        await asyncio.sleep(0.02)
    while visitor.folder.exists():
        await asyncio.sleep(0.02)
    return visitor.ended


def test_visitors_are_bounded_in_number(visitors_of):
    from scarnet.app.visitors import Full

    async def scenario(everyone):
        first, second = everyone.admit(), everyone.admit()
        await asyncio.gather(first.started.wait(), second.started.wait())
        assert first.folder != second.folder and first.key != second.key
        assert (first.folder / "patient.dcm").exists()
        assert stat.S_IMODE(first.folder.stat().st_mode) == 0o700
        with pytest.raises(Full, match="as many as may"):
            everyone.admit()
        await everyone.end(first, "left")
        assert not first.folder.exists() and first.process.returncode is not None
        assert second.ready
        third = everyone.admit()
        await third.started.wait()
        assert third.ready

    visitors_of(scenario, visitors=2)


def test_one_more_than_are_taken_is_kept_ready(visitors_of):
    async def scenario(everyone):
        while len(everyone._all) != 1 or not everyone._all[0].ready:
            await asyncio.sleep(0.02)
        spare = everyone._all[0]
        assert everyone.admit() is spare
        while len(everyone._all) != 2 or not everyone._all[1].ready:
            await asyncio.sleep(0.02)

    visitors_of(scenario, visitors=2)


def test_the_idle_are_ended_and_their_images_removed(visitors_of):
    async def scenario(everyone):
        idle, busy = everyone.admit(), everyone.admit()
        await asyncio.gather(idle.started.wait(), busy.started.wait())
        since = time.monotonic()
        while not idle.ended:
            busy.touch()
            assert time.monotonic() - since < 10
            await asyncio.sleep(0.05)
        assert "idle" in await ended(idle)
        assert not busy.ended

    visitors_of(scenario, visitors=2, idle_minutes=1.0 / 60)


def test_who_needs_too_much_memory_is_ended(visitors_of):
    async def scenario(everyone):
        large = everyone.admit()
        assert "more than 150 MB" in await ended(large)

    visitors_of(scenario, job={"megabytes": 300}, visitors=1, memory_mb=150)


def test_a_session_that_stops_is_cleaned_up_after(visitors_of):
    async def scenario(everyone):
        visitor = everyone.admit()
        await visitor.started.wait()
        visitor.process.kill()
        assert "unexpectedly" in await ended(visitor)

    visitors_of(scenario, visitors=1)


def test_a_session_that_cannot_start_says_why(visitors_of):
    async def scenario(everyone):
        assert "A package is missing" in await ended(everyone.admit())

    program = SESSION.replace('{"port": 9}', '{"error": "A package is missing."}')
    visitors_of(scenario, program=program, visitors=1)


def test_a_server_that_is_killed_leaves_no_images_to_the_next(tmp_path, monkeypatch):
    pytest.importorskip("psutil", reason="PSUTIL IS NOT INSTALLED (.[app]): VISITORS' FOLDERS WERE NOT TESTED")
    from scarnet.app.visitors import Visitor

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine = Visitor()
    killed = """
import os
from scarnet.app.visitors import Visitor
visitor = Visitor()
(visitor.folder / "patient.dcm").write_text("image")
print(visitor.folder, flush=True)
os._exit(9)
"""
    run = subprocess.run([sys.executable, "-c", killed], capture_output=True, text=True, timeout=60)
    assert (Path(run.stdout.strip()) / "patient.dcm").exists()
    following = Visitor()
    assert not Path(run.stdout.strip()).exists()
    assert mine.folder.exists()  # its server is alive
    mine.remove_folder()
    following.remove_folder()
    assert not list(tmp_path.iterdir())


def test_a_session_without_a_door_removes_its_images(tmp_path):
    pytest.importorskip("aiohttp", reason="AIOHTTP IS NOT INSTALLED (.[app]): THE SESSION'S END WAS NOT TESTED")
    folder = tmp_path / "session"
    (folder / "upload-1").mkdir(parents=True)
    (folder / "upload-1" / "patient.dcm").write_text("image")
    job = json.dumps({"key": "key", "folder": str(folder)}) + "\n"
    command = [sys.executable, "-m", "scarnet.app.session"]
    run = subprocess.run(command, input=job, capture_output=True, text=True, timeout=60)  # input ends, as with the door
    assert run.returncode == 0 and not folder.exists()
