"""The benchmark: what it times, that it adds up, and how it is shown."""

import json
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from scarnet import cli
from scarnet.evaluation.benchmark import STEPS, finer, run_steps, spread, with_slices
from scarnet.evaluation.benchmark_peers import PEERS, _peer, in_turn
from scarnet.evaluation.benchmark_report import markdown, plot


def test_spread_is_median_and_ends():
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "n": 3}


def test_what_is_compared_runs_in_turn():
    calls = []
    found = in_turn(lambda: calls.append("a"), lambda: calls.append("b"), 3)
    assert "".join(calls) == "abababab" and found["theirs_over_ours"]["n"] == 3


def test_what_is_not_installed_is_said(tmp_path):
    def prepare(path, model, repeats):
        import no_such_package  # noqa: F401

    assert _peer(prepare)(tmp_path, "default", 1) == {"skipped": "no_such_package is not installed"}


def test_grown_stacks_are_the_same_heart(small_phantom):
    series = small_phantom.series
    volume = np.prod(series.geometry.pixel_spacing_mm) * series.geometry.slice_weights_mm.sum()
    grown = finer(with_slices(series, 9), 2)
    assert grown.image.shape == (9, 192, 192)
    geometry = grown.geometry
    assert np.prod(geometry.pixel_spacing_mm) * 4 * np.ptp(geometry.slice_positions_mm) == pytest.approx(
        volume * np.ptp(series.geometry.slice_positions_mm) / series.geometry.slice_weights_mm.sum()
    )
    middle = series.geometry.index_to_lps(np.array([0.0, 40.0, 50.0]))  # a pixel's centre lies between its four
    assert np.allclose(geometry.index_to_lps(np.array([0.0, 80.5, 100.5])), middle)
    assert grown.image[0, 80, 100] == series.image[0, 40, 50]


def test_steps_are_those_of_the_main_job(sample_folder, monkeypatch):
    """What is timed ends in the labels that `segment` gives."""
    import scarnet.quantification
    from scarnet.segmentation import segment
    from scarnet.series import read_lge

    measured = []
    real = scarnet.quantification.quantify
    monkeypatch.setattr(
        scarnet.quantification,
        "quantify",
        lambda s, labels, **k: (measured.append(k["segmentation"]), real(s, labels, **k))[1],
    )
    seconds = run_steps(sample_folder, "default")
    assert tuple(seconds) == STEPS and min(seconds.values()) > 0
    found = measured[0]
    expected = segment(read_lge(sample_folder), device="cpu", lv_center_lps_mm=found.lv_center_lps_mm)
    assert np.array_equal(found.labels, expected.labels)


RESULT = {
    "schema": "scarnet-benchmark/1",
    "software": "1",
    "repeats": 2,
    "model": {"name": "m", "version": "1"},
    "computer": {"processor": "A & B", "threads": 2, "system": "Linux", "load_at_start": 0.1},
    "input": {"kind": "dicom", "shape": [10, 20, 30]},
    "case": {
        "first_s": dict.fromkeys(STEPS, 2.0),
        "first_total_s": 12.0,
        "warm_s": {step: spread([1.0, 1.5]) for step in STEPS},
        "warm_total_s": spread([6.0, 9.0]),
        "peak_memory_mb": 500.0,
    },
    "command": {name: spread([1.0]) for name in ("whole_s", "import_of_libraries_s", "own_s")},
    "growth": {"slices": [{"slices": 5, "seconds": spread([1.0])}]},
    "cohort": {
        "patients": 16,
        "processes": 2,
        "one_process_s": spread([18.0]),
        "all_processes_s": spread([10.0]),
        "times_faster": spread([1.8]),
    },
    "peers": {"absent": {"skipped": "x is not installed"}},
}


def test_tables_and_plot_show_every_step():
    text = markdown(RESULT)
    assert all(f"| {step} |" in text for step in STEPS)
    assert "1.25 (1.00 to 1.50)" in text and "not timed: x is not installed" in text and "500 MB" in text
    assert "1.80 (1.80 to 1.80) times faster" in text
    from scarnet.export.figure import to_svg

    root = ElementTree.fromstring(to_svg(plot(RESULT)))
    words = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert set(STEPS) <= set(words) and "A & B, 2 threads" in words


def test_the_command_writes_what_it_says(sample_folder, tmp_path, capsys, monkeypatch):
    options = ["--repeats", "1", "--no-peers", "--no-growth", "--no-cohort", "-o", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["scarnet", "benchmark", *options])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    out = capsys.readouterr().out
    assert not stopped.value.code and "| infer |" in out
    result = json.loads((tmp_path / "out/benchmark.json").read_text(encoding="utf-8"))
    assert result["schema"] == RESULT["schema"] and "peers" not in result
    assert sum(result["case"]["first_s"].values()) == pytest.approx(result["case"]["first_total_s"], abs=1e-3)
    own = result["command"]["whole_s"]["median"] - result["command"]["import_of_libraries_s"]["median"]
    assert result["command"]["own_s"]["median"] == pytest.approx(own, abs=1e-3)
    assert (tmp_path / "out/benchmark.md").is_file() and (tmp_path / "out/benchmark.svg").is_file()


@pytest.mark.slow
def test_many_patients_are_timed(sample_folder, monkeypatch):
    from scarnet.evaluation import benchmark

    monkeypatch.setattr(benchmark, "PATIENTS_PER_PROCESS", 1)
    found = benchmark.time_cohort(sample_folder, "default", 1)
    if "skipped" in found:
        pytest.skip(f"NOT TIMED: {found['skipped']}")
    assert found["patients"] == found["processes"] and found["times_faster"]["n"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_every_peer_that_is_here_is_timed(name, sample_folder):
    found = PEERS[name](sample_folder, "default", 1)
    if "skipped" in found:
        pytest.skip(f"NOT TIMED: {found['skipped']}")
    assert found["theirs_over_ours"]["median"] > 0
    assert found.get("largest_difference_of_a_logit", 0) < 0.05  # fp16 weights on the one side


def test_simulated_patients_are_all_different_and_the_same_again(tmp_path):
    from scarnet.evaluation.benchmark_cohort import HEARTS, write_patients
    from scarnet.phantom import PhantomParameters
    from scarnet.series import read_lge

    small = PhantomParameters(size=64, pixel_mm=4.0, slices=4, gap_mm=16.0)
    for folder in "ab":
        write_patients(tmp_path / folder, HEARTS + 2, small)
    series = {f.name: read_lge(f) for f in sorted((tmp_path / "a").iterdir())}
    assert len({s.source.content_sha256 for s in series.values()}) == HEARTS + 2
    assert all(read_lge(tmp_path / "b" / n).source.content_sha256 == s.source.content_sha256 for n, s in series.items())


@pytest.mark.skipif(sys.platform != "linux", reason="memory of a tree of processes is read from /proc")
def test_the_memory_of_processes_below_is_counted(tmp_path):
    import os
    import subprocess

    from scarnet.evaluation.benchmark_cohort import tree_memory_mb

    hold = "import sys; block = bytearray(b'x') * (120 << 20); print('there', flush=True); sys.stdin.read()"
    parent = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {hold!r}], stdin=sys.stdin); p.wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "there"
    assert 120 < tree_memory_mb(process.pid) < 220
    process.communicate("")
    assert tree_memory_mb(process.pid) == 0 and tree_memory_mb(os.getpid()) > 10


@pytest.mark.slow
def test_runs_take_turns_and_nobody_is_lost(monkeypatch):
    from scarnet.evaluation import benchmark_cohort

    monkeypatch.setattr(benchmark_cohort, "TURN_PATIENTS", 4)
    found = benchmark_cohort.time_many(10)
    assert all(run["patients_done"] == 10 for run in found["runs"])
    assert found["processes"] == 1 or found["times_faster_by_turn"]["n"] == 3


MANY = {
    "patients": 300,
    "processes": 2,
    "times_faster": 1.83,
    "times_faster_by_turn": spread([1.7, 1.8, 1.9]),
    "runs": [
        {
            "processes": jobs,
            "seconds": 600.0 / jobs,
            "seconds_per_patient_by_quarter": [2.0 / jobs] * 4,
            "memory_mb_by_quarter": [spread([300.0 * jobs])] * 4,
        }
        for jobs in (1, 2)
    ],
}


def test_many_patients_are_told_by_quarter():
    text = markdown(RESULT | {"many": MANY})
    assert (
        "on 300 simulated patients, runs in turns: 1.83 times faster with 2 (turn by turn 1.80 (1.70 to 1.90))." in text
    )
    assert "| 2 | 300.0 | 1.00, 1.00, 1.00, 1.00 | 600, 600, 600, 600 |" in text
