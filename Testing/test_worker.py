"""The subprocess in which Slicer runs the network: results, progress, failure, and being killed."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from scarnet import worker
from scarnet.process import WorkerProcess
from scarnet.segmentation import segment


def follow(process, *, until=None, seconds=60):
    """Poll as a timer would; returns the events. `until(event)`: stop early."""
    events, deadline = [], time.monotonic() + seconds
    while process.running and time.monotonic() < deadline:
        for event in process.poll():
            events.append(event)
            if until is not None and until(event):
                return events
        time.sleep(0.02)
    assert not process.running, "the worker did not end"
    return events


def script(tmp_path, text) -> Path:
    path = tmp_path / "other worker.py"
    path.write_text(text, encoding="utf-8")
    return path


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed child of a killed parent stays as a zombie until someone reaps it: that is not alive.
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z" if Path("/proc").is_dir() else True


def gone(pid: int, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


def test_the_worker_gives_what_the_engine_gives(phantom, tmp_path):
    folder = tmp_path / "Jörg's job"
    folder.mkdir()
    worker.write_job(folder, phantom.series, device="cpu")
    events = follow(WorkerProcess(folder))
    assert events[-2:] == [{"event": "done"}, {"event": "exit", "code": 0}]
    slices = [e for e in events if e["event"] == "progress" and e["text"].startswith("Slice")]
    assert [e["text"] for e in slices] == [f"Slice {k} of 10" for k in range(1, 11)]
    assert [e["done"] for e in slices] == list(range(1, 11)) and {e["total"] for e in slices} == {10}
    result, expected = worker.read_result(folder), segment(phantom.series, device="cpu")
    assert np.array_equal(result.labels, expected.labels)
    assert np.array_equal(result.probabilities, expected.probabilities)
    assert result.slice_doubt == pytest.approx(expected.slice_doubt)
    assert result.percent_lv_interval == expected.percent_lv_interval
    assert (result.model, result.parameters, result.warnings) == (
        expected.model,
        expected.parameters,
        expected.warnings,
    )


def test_a_job_tells_nothing_of_the_patient(phantom, tmp_path):
    worker.write_job(tmp_path, phantom.series)
    text = (tmp_path / "job.json").read_text()
    assert phantom.series.source.name not in text and set(p.name for p in tmp_path.iterdir()) == {
        "job.json",
        "image.npy",
    }


def test_an_unusable_image_is_an_error_event_not_a_traceback(phantom, tmp_path):
    from dataclasses import replace

    noise = np.random.default_rng(0).normal(0, 50, phantom.series.image.shape).astype(np.float32)
    worker.write_job(tmp_path, replace(phantom.series, image=noise), device="cpu")
    events = follow(WorkerProcess(tmp_path))
    (error,) = [e for e in events if e["event"] == "error"]
    assert error["exit_code"] == 3 and "ventricle" in error["text"]
    assert events[-1] == {"event": "exit", "code": 3} and not (tmp_path / "result").exists()
    with pytest.raises(FileNotFoundError):
        worker.read_result(tmp_path)


def test_garbage_on_the_output_is_log_text(tmp_path):
    other = script(
        tmp_path, "print('null'); print('3'); print('{broken'); print('\\xe9 plain')\nprint('{\"event\": \"done\"}')"
    )
    events = follow(WorkerProcess(tmp_path, worker=other))
    assert [e["event"] for e in events] == ["log", "log", "log", "log", "done", "exit"]
    assert events[0]["text"] == "null"


def test_a_crash_is_an_exit_code_and_the_traceback_is_log_text(tmp_path):
    events = follow(WorkerProcess(tmp_path, worker=script(tmp_path, "raise RuntimeError('sorry')")))
    assert events[-1]["event"] == "exit" and events[-1]["code"] != 0
    assert any("sorry" in e.get("text", "") for e in events)


@pytest.mark.parametrize("after", ["Loading the model", "Slice 1 of 10", "Slice 6 of 10"])
def test_cancel_at_any_moment_leaves_no_result_and_no_process(phantom, tmp_path, after):
    worker.write_job(tmp_path, phantom.series, device="cpu")
    process = WorkerProcess(tmp_path)
    follow(process, until=lambda e: e.get("text") == after)
    process.cancel()
    events = follow(process)
    assert process.cancelled and events[-1]["event"] == "exit" and events[-1]["code"] != 0
    assert not (tmp_path / "result").exists()


def test_cancel_kills_what_the_worker_started(tmp_path):
    other = script(
        tmp_path,
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        'print(\'{"event": "child", "pid": %d}\' % child.pid, flush=True)\n'
        "time.sleep(60)\n",
    )
    process = WorkerProcess(tmp_path, worker=other)
    pid = follow(process, until=lambda e: e["event"] == "child")[-1]["pid"]
    process.cancel()
    assert gone(pid)
    process.cancel()  # twice is no error


def test_the_worker_ends_when_its_parent_dies(phantom, tmp_path):
    """Slicer crashes: no orphan goes on using the computer."""
    worker.write_job(tmp_path, phantom.series, device="cpu")
    parent = script(
        tmp_path,
        "import os, sys, time\n"
        f"sys.path.insert(0, {str(Path(worker.__file__).parent.parent)!r})\n"
        "from scarnet.process import WorkerProcess\n"
        f"p = WorkerProcess({str(tmp_path)!r})\n"
        "print(p._process.pid, flush=True)\n"
        "os._exit(9)\n",
    )
    import subprocess

    out = subprocess.run([sys.executable, str(parent)], stdout=subprocess.PIPE, text=True).stdout
    assert gone(int(out))
    assert not (tmp_path / "result").exists()


def test_out_of_memory_on_a_gpu_is_repeated_on_the_processor(phantom, tmp_path, monkeypatch, capsys):
    """Without a GPU here the first try is made to fail; the second is real."""
    real = worker.segment

    def small_gpu(series, *, device, **options):
        if device != "cpu":
            raise MemoryError("The GPU has too little memory for this network.")
        return real(series, device=device, **options)

    monkeypatch.setattr(worker, "segment", small_gpu)
    worker.write_job(tmp_path, phantom.series, device="auto")
    assert worker.run_job(tmp_path) == 0
    assert '"event": "warning"' in capsys.readouterr().out
    assert any("processor was used" in w for w in worker.read_result(tmp_path).warnings)


def test_out_of_memory_everywhere_is_said(phantom, tmp_path, monkeypatch, capsys):
    def none_at_all(*args, **options):
        raise MemoryError

    monkeypatch.setattr(worker, "segment", none_at_all)
    worker.write_job(tmp_path, phantom.series, device="auto")
    assert worker.run_job(tmp_path) == 1
    assert "too little memory" in capsys.readouterr().out and not (tmp_path / "result").exists()
