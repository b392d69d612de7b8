"""The module's own widget and .ui file, used as a user would, on the stand-in host of panel_host.py (not Slicer).

Set SCARNET_SCREENSHOTS to a folder to keep pictures of the panel.
"""

import functools
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip(
    "PySide6.QtWidgets",
    reason="PySide6 is not installed, or lacks a system library: the Slicer panel's widget was not tested",
    exc_type=ImportError,
)
slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: the Slicer panel was not tested")

import panel_host  # noqa: E402
from scarnet import worker  # noqa: E402
from scarnet.panel import job  # noqa: E402
from scarnet.scene import nodes  # noqa: E402
from scarnet.segmentation import ScarSegmentation  # noqa: E402


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: sys.executable)
    application = panel_host.Application()
    monkeypatch.setattr(application.module.ScarNetSegmentLogic, "ensureRequirements", lambda self: None)
    application.open_panel()
    yield application
    application.close()
    assert panel_host.errors == []


@pytest.fixture
def volume(host, phantom):
    return nodes.volume_from_series(phantom.series, "LGE short axis")


@pytest.fixture
def worker_script(host, phantom, tmp_path):
    """Make the panel's worker a script that gives the phantom's truth after `ending`."""
    result = ScarSegmentation(
        labels=phantom.labels,
        probabilities=np.zeros((5, 1, 1, 1), np.float16),
        lv_center_lps_mm=np.zeros(3),
        slice_doubt=np.linspace(0.05, 0.5, 10),
        model={"name": "m", "version": "1", "sha256": "ab" * 32, "runtime": "r", "device": "cpu", "licence": ""},
        parameters={},
    )
    worker._write_result(tmp_path, result)

    def use(ending=""):
        path = tmp_path / "worker.py"
        path.write_text(
            "import json, shutil, sys, time\n"
            "for k in range(1, 11):\n"
            "    print(json.dumps({'event': 'progress', 'done': k, 'total': 10, 'text': f'Slice {k} of 10'}), flush=True)\n"
            "    time.sleep(0.02)\n"
            f"    {ending}\n"
            f"shutil.copytree({str(tmp_path / 'result')!r}, sys.argv[1] + '/result')\n",
            encoding="utf-8",
        )
        host.panel.presenter._start_job = functools.partial(job.SegmentationJob, worker=path)

    use()
    return use


def picture(host, name):
    folder = os.environ.get("SCARNET_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        host.screenshot(Path(folder) / f"{name}.png")


def until(host, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        host.process()
        time.sleep(0.005)
    assert condition()
    host.process()


def click(host, name):
    getattr(host.panel.ui, name)._q.click()
    host.process()


def choose(host, selector, node):
    combo = getattr(host.panel.ui, selector)._q
    combo.setCurrentIndex(combo._nodes.index(node))
    combo.activated.emit(combo.currentIndex())
    host.process()


def done(host):
    return lambda: not host.panel.presenter.running


def slice_numbers(host):
    table = host.panel.ui.sliceTable._q
    return [int(table.item(r, 0).text()) for r in range(table.rowCount())]


def shown(host, measure):
    table = host.panel.ui.reportTable._q
    return next(float(table.item(r, 1).text()) for r in range(table.rowCount()) if table.item(r, 0).text() == measure)


def test_an_empty_panel_says_what_to_do_first(host):
    ui = host.panel.ui
    assert not ui.segmentButton.enabled and "Choose the LGE" in ui.segmentButton.toolTip
    assert not ui.exportButton.enabled and not ui.correctionSection.enabled
    assert ui.progressBar.visible is False
    picture(host, "1 idle")


def test_the_whole_job_in_four_clicks(host, volume, worker_script, tmp_path, phantom):
    ui = host.panel.ui
    choose(host, "volumeSelector", volume)
    assert ui.segmentButton.enabled and ui.segmentButton.text == "Segment scar"
    click(host, "segmentButton")
    assert ui.segmentButton.text == "Cancel" and not ui.volumeSelector.enabled
    until(host, lambda: ui.progressBar.value >= 3)
    assert "Slice" in ui.messageLabel.text
    picture(host, "2 running")
    until(host, done(host))
    assert ui.segmentButton.text == "Segment scar" and ui.segmentationSelector.currentNode() is not None
    report = host.panel.presenter.report
    assert shown(host, "Scar volume") == pytest.approx(report.scar.volume_ml, rel=1e-5)
    assert slice_numbers(host)[0] == 1 + host.panel.presenter.slices[0].index
    assert ui.bullseyeLabel._q.pixmap().width() >= 200
    picture(host, "3 done")
    ui.exportDirectory.directory = str(tmp_path / "Bericht Ä")
    click(host, "exportButton")
    assert (tmp_path / "Bericht Ä" / "report.html").is_file() and "Exported" in ui.messageLabel.text
    assert host.dialogs == []


def test_the_slice_view_shows_the_stack_in_its_plane_and_a_click_goes_to_a_slice(host, volume, worker_script, phantom):
    choose(host, "volumeSelector", volume)
    node = host.red.GetSliceNode()
    across = np.array([node.GetSliceToRAS().GetElement(i, 2) for i in range(3)])
    normal = phantom.series.geometry.normal * [-1, -1, 1]
    assert abs(across @ normal) == pytest.approx(1, abs=1e-4)
    assert host.red.GetSliceCompositeNode().GetBackgroundVolumeID() == volume.GetID()
    click(host, "segmentButton")
    until(host, done(host))
    index = host.panel.presenter.slices[2].index
    host.panel.ui.sliceTable._q.cellClicked.emit(2, 0)
    origin = np.array([node.GetSliceToRAS().GetElement(i, 3) for i in range(3)]) * [-1, -1, 1]
    assert origin @ phantom.series.geometry.normal == pytest.approx(
        phantom.series.geometry.slice_positions_mm[index], abs=0.01
    )


def test_cancel_leaves_everything_as_it_was(host, volume, worker_script):
    worker_script("time.sleep(20)")
    choose(host, "volumeSelector", volume)
    before = host.scene.GetNumberOfNodes()
    click(host, "segmentButton")
    until(host, lambda: host.panel.ui.progressBar.value >= 1)
    click(host, "segmentButton")
    assert host.panel.ui.segmentButton.text == "Segment scar" and "Cancelled" in host.panel.ui.messageLabel.text
    assert host.scene.GetNumberOfNodes() == before


def test_an_error_is_shown_in_the_panel(host, volume, worker_script):
    worker_script(
        "print(json.dumps({'event': 'error', 'text': 'No left ventricle was found in the images.'})); sys.exit(3)"
    )
    choose(host, "volumeSelector", volume)
    click(host, "segmentButton")
    until(host, done(host))
    assert "No left ventricle" in host.panel.ui.messageLabel.text
    picture(host, "5 error")


def test_numbers_follow_a_correction_and_a_second_run_keeps_it(host, volume, worker_script):
    choose(host, "volumeSelector", volume)
    click(host, "segmentButton")
    until(host, done(host))
    before = shown(host, "Scar volume")
    node = host.panel.presenter.parameters.segmentation
    mask = np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(node, "Scar", volume)).copy()
    k = int(np.argmax(mask.sum(axis=(1, 2))))
    mask[k] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "Scar", volume)
    until(host, lambda: shown(host, "Scar volume") < before)
    picture(host, "4 corrected")
    click(host, "segmentButton")
    until(host, done(host))
    assert host.panel.presenter.parameters.segmentation is not node
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, "Scar", volume), mask)
    choose(host, "segmentationSelector", node)
    assert host.panel.presenter.report.provenance["edits"]["Scar"]["slices"] == [k]


def test_selecting_scar_limits_the_brush_to_muscle(host, volume, worker_script):
    choose(host, "volumeSelector", volume)
    click(host, "segmentButton")
    until(host, done(host))
    editor = host.panel.ui.editor._q.editorNode
    editor.SetSelectedSegmentID("Scar")
    assert editor.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment
    assert editor.GetMaskSegmentID() == "LVMyocardium" and editor.GetOverwriteMode() == editor.OverwriteNone
    editor.SetSelectedSegmentID("LVMyocardium")
    assert editor.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere


def test_dark_cores_become_mvo_in_one_click(host, volume, worker_script, phantom):
    choose(host, "volumeSelector", volume)
    click(host, "segmentButton")
    until(host, done(host))
    node = host.panel.presenter.parameters.segmentation
    mvo = np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(node, "MVO", volume)) > 0
    for segment_id, mask in (("MVO", mvo * 0), ("Scar", (phantom.labels == 3))):
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, segment_id, volume)
    click(host, "coreButton")
    found = np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(node, "MVO", volume)) > 0
    scar = np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(node, "Scar", volume)) > 0
    assert found.sum() >= 0.5 * mvo.sum() and not (found & ~scar).any()
    assert host.panel.ui.editor._q.undoStates == 1


def test_closing_the_scene_while_it_runs_and_working_on(host, volume, worker_script, phantom):
    worker_script("time.sleep(20)")
    choose(host, "volumeSelector", volume)
    click(host, "segmentButton")
    process = host.panel.presenter._job._process._process
    host.scene.Clear(0)
    host.process()
    assert process.poll() is not None
    ui = host.panel.ui
    assert not ui.segmentButton.enabled and ui.segmentButton.text == "Segment scar"
    worker_script()
    again = nodes.volume_from_series(phantom.series, "again")
    choose(host, "volumeSelector", again)
    click(host, "segmentButton")
    until(host, done(host))
    assert host.panel.presenter.report is not None


def test_leaving_and_reloading_the_module(host, volume, worker_script):
    choose(host, "volumeSelector", volume)
    click(host, "segmentButton")
    until(host, done(host))
    expected = host.panel.presenter.report.scar
    host.panel.exit()
    host.panel.cleanup()
    host.open_panel()
    assert host.panel.presenter.report.scar == expected
    assert host.panel.ui.volumeSelector.currentNode() is volume


def test_advanced_choices_are_kept(host, volume, worker_script):
    choose(host, "volumeSelector", volume)
    ui = host.panel.ui
    ui.densitySpinBox._q.setValue(1.0)
    ui.deviceSelector._q.setCurrentIndex(1)
    parameters = host.panel.presenter.parameters
    assert (parameters.density_g_per_ml, parameters.device) == (1.0, "cpu")
    click(host, "segmentButton")
    until(host, done(host))
    report = host.panel.presenter.report
    assert report.lv.mass_g == pytest.approx(report.lv.myocardium_volume_ml)


def test_the_logic_does_the_whole_job_without_a_gui(host, volume):
    """As from Slicer's Python console, with the real worker and the shipped model."""
    seen = []
    node, report = host.module.ScarNetSegmentLogic().segment(volume, device="cpu", onProgress=seen.append)
    assert node.GetSegmentation().GetNumberOfSegments() == 4 and report.scar.volume_ml > 3
    assert seen and seen[-1].total == 10


def test_the_sample_is_loaded_from_the_extensions_own_folder(host):
    volume = host.module.ScarNetSegmentLogic().loadSample()
    assert volume.GetImageData().GetDimensions() == (208, 208, 10)


def test_missing_requirements_are_told_from_met_ones(host, tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("numpy>=1\nnumpy>=999  # too new\nno-such-package-anywhere>=1\n\n# comment\n")
    assert host.module._missingRequirements(str(path)) == ["numpy>=999", "no-such-package-anywhere>=1"]
