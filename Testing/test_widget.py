"""The module's own widget and .ui file, used as a user would, on the stand-in host of panel_host.py (not Slicer).

Set SCARNET_SCREENSHOTS to a folder to keep pictures of the panel.
"""

import functools
import json
import os
import shutil
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
from scarnet.scene.host import scene_files  # noqa: E402
from scarnet.segmentation import ScarSegmentation  # noqa: E402


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: sys.executable)
    application = panel_host.Application()
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


def shown(host, measure, column=1):
    """Number in front of its unit, as the reader sees it; None where the cell is empty."""
    table = host.panel.ui.reportTable._q
    text = next(table.item(r, column).text() for r in range(table.rowCount()) if table.item(r, 0).text() == measure)
    return float(text.split()[0]) if text else None


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
    assert shown(host, "Scar volume") == pytest.approx(report.scar.volume_ml, abs=0.05)
    assert ui.summaryLabel.text == report.summary and "scar" in report.summary
    assert slice_numbers(host)[0] == 1 + host.panel.presenter.slices[0].index
    assert ui.bullseyeLabel._q.pixmap().width() >= 200
    picture(host, "3 done")
    ui.exportDirectory.directory = str(tmp_path / "Bericht Ä")
    click(host, "exportButton")
    (folder,) = (tmp_path / "Bericht Ä").iterdir()
    assert (folder / "report.html").is_file() and str(folder) in ui.messageLabel.text
    assert "Open folder" in ui.messageLabel.text and ui.messageLabel.openExternalLinks
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
    ui.advancedSection.collapsed = False
    picture(host, "7 advanced")
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


def test_doubt_is_flagged_and_a_review_lasts_until_the_next_correction(host, volume, worker_script):
    choose(host, "volumeSelector", volume)
    assert not host.panel.ui.reviewedButton.enabled
    click(host, "segmentButton")
    until(host, done(host))
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    node = host.panel.presenter.parameters.segmentation

    def states():
        segmentation = node.GetSegmentation()
        return {logic.GetSegmentStatus(segmentation.GetSegment(i)) for i in segmentation.GetSegmentIDs()}

    assert states() == {logic.Flagged}
    ui = host.panel.ui
    click(host, "reviewedButton")
    assert states() == {logic.Completed} and ui.reviewedButton.text == "Reviewed"
    assert host.panel.presenter.report.provenance["reviewed"] is True
    picture(host, "6 reviewed")
    mask = np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(node, "Scar", volume)).copy()
    mask[int(np.argmax(mask.sum(axis=(1, 2))))] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "Scar", volume)
    until(host, lambda: ui.reviewedButton.text == "Mark as reviewed")
    assert states() == {logic.InProgress}
    told = [(entry["who"], entry["what"]) for entry in host.panel.presenter.report.provenance["history"]]
    assert told == [("model", "segmented by ScarNet m 1 abababababab"), ("reader", "reviewed"), ("reader", "corrected")]


def test_a_point_is_picked_in_a_view(host, volume):
    choose(host, "volumeSelector", volume)
    interaction = host.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    click(host, "pickCenterButton")
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    ui, parameters = host.panel.ui, host.panel.presenter.parameters
    assert ui.centerSelector.currentNode() is parameters.lv_center is not None
    assert not ui.segmentButton.enabled and "no point" in ui.segmentButton.toolTip
    parameters.lv_center.AddControlPoint(1, 2, 3)  # what a click does
    until(host, lambda: ui.segmentButton.enabled)
    click(host, "pickCenterButton")  # again: the same node, its point taken away
    assert parameters.lv_center.GetNumberOfControlPoints() == 0
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 1
    landmarks = host.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "the user's own")
    for k in range(3):
        landmarks.AddControlPoint(k, 0, 0)
    choose(host, "remoteSelector", landmarks)
    click(host, "pickRemoteButton")
    assert landmarks.GetNumberOfControlPoints() == 3 and parameters.remote is not landmarks


def test_an_intensity_method_is_listed_beside_the_scar(host, volume, worker_script):
    choose(host, "volumeSelector", volume)
    click(host, "segmentButton")
    until(host, done(host))
    rows = host.panel.ui.reportTable._q.rowCount()
    host.panel.ui.methodSelector._q.setCurrentIndex(host.panel._methods.index("5sd"))
    host.process()
    expected = host.panel.presenter.report.thresholds["5sd"].percent_lv
    assert shown(host, "5 SD, to compare") == pytest.approx(expected, abs=0.05)
    assert host.panel.ui.reportTable._q.rowCount() == rows + 1


def test_choices_come_back_in_a_new_scene_and_a_scenes_own_go_before_them(host, volume):
    ui = host.panel.ui
    ui.densitySpinBox._q.setValue(1.02)
    ui.methodSelector._q.setCurrentIndex(1)
    ui.exportDirectory.directory = "/somewhere/else"
    ui.packagesPath.currentPath = "/wheels"
    host.scene.Clear(0)
    host.process()
    assert (ui.densitySpinBox.value, ui.methodSelector.currentIndex) == (1.02, 1)
    assert (ui.exportDirectory.directory, ui.packagesPath.currentPath) == ("/somewhere/else", "/wheels")
    host.panel.stop()
    host.panel.logic.getParameterNode().SetParameter("MyocardialDensity", "1.07")
    host.panel.start()
    assert ui.densitySpinBox.value == 1.07


def test_a_model_that_is_not_here_can_be_left(host, volume):
    """Of the settings it is forgotten, of a scene it is shown as it is; choosing another works either way."""
    host.settings.setValue("ScarNet/model", "deleted")
    host.panel.stop()
    host.panel.start()
    ui, parameters = host.panel.ui, host.panel.presenter.parameters
    assert parameters.model == "default"
    parameters.model = "a colleague's"
    host.panel.presenter.refresh()
    assert ui.modelSelector._q.currentText() == "a colleague's (not on this computer)"
    ui.modelSelector._q.setCurrentIndex(0)
    host.process()
    assert host.panel.presenter.parameters.model == "default"


@pytest.fixture
def saved(host, volume, worker_script, tmp_path):
    """A scene on disk with a volume and its segmentation, both chosen."""
    choose(host, "volumeSelector", volume)
    click(host, "segmentButton")
    until(host, done(host))
    keep = scene_files(host.scene)
    assert host.scene.WriteToMRB(str(tmp_path / "s.mrb"))
    yield str(tmp_path / "s.mrb")
    del keep


def open_scene(host, path, clear):
    assert host.scene.ReadFromMRB(path, clear, slicer.vtkMRMLMessageCollection())
    host.process()


@pytest.mark.parametrize("clear", [True, False], ids=["opened", "added"])
def test_a_scene_comes_with_its_choices_and_can_be_corrected(host, saved, phantom, clear):
    """Slicer's selectors forget what they show while a scene is read, and its editor shows nothing before the end."""
    host.scene.Clear(0)
    other = nodes.volume_from_series(phantom.series, "another patient")
    choose(host, "volumeSelector", other)
    open_scene(host, saved, clear)
    ui, parameters = host.panel.ui, host.panel.presenter.parameters
    assert parameters.volume.GetName() == "LGE short axis" and host.panel.presenter.report is not None
    assert parameters.segmentation is ui.editor.segmentationNode() is host.panel._editorNode.GetSegmentationNode()
    assert ui.volumeSelector.currentNode() is parameters.volume and ui.correctionSection.enabled


def test_a_scene_added_while_it_runs_changes_nothing(host, saved, worker_script, phantom):
    host.scene.Clear(0)
    worker_script("time.sleep(0.05)")
    other = nodes.volume_from_series(phantom.series, "another patient")
    choose(host, "volumeSelector", other)
    click(host, "segmentButton")
    assert host.panel.presenter.running
    open_scene(host, saved, False)
    until(host, done(host))
    assert host.panel.presenter.parameters.volume is other is host.panel.ui.volumeSelector.currentNode()
    assert host.panel.presenter.report is not None


def test_the_next_patient_is_shown_in_its_plane_too(host, volume, phantom):
    def normal():
        matrix = host.red.GetSliceNode().GetSliceToRAS()
        return np.array([matrix.GetElement(row, 2) for row in range(3)])

    choose(host, "volumeSelector", volume)
    expected = normal()
    host.scene.Clear(0)
    host.process()
    host.red.GetSliceNode().GetSliceToRAS().Identity()
    host.red.GetSliceNode().UpdateMatrices()
    assert not np.allclose(normal(), expected)
    again = nodes.volume_from_series(phantom.series, "next")
    choose(host, "volumeSelector", again)
    assert np.allclose(normal(), expected)
    assert host.red.GetSliceCompositeNode().GetBackgroundVolumeID() == again.GetID()


def test_the_scene_is_exported_too_and_dicom_says_why_not(host, volume, worker_script, tmp_path, monkeypatch):
    choose(host, "volumeSelector", volume)
    click(host, "segmentButton")
    until(host, done(host))
    ui = host.panel.ui
    assert not ui.dicomCheckBox.enabled and "DICOM module" in ui.dicomCheckBox.toolTip
    ui.sceneCheckBox.checked = True
    ui.exportDirectory.directory = str(tmp_path)
    keep = scene_files(host.scene)
    click(host, "exportButton")
    assert host.dialogs == []
    (folder,) = tmp_path.glob("ScarNet*")
    assert (folder / "scene.mrb").stat().st_size > 100_000 and "scene.mrb" in ui.messageLabel.text
    assert not list(folder.glob(".part*"))
    del keep


# --- what Slicer lacks ----------------------------------------------------------------------------------------------


@pytest.fixture
def lacking(host, monkeypatch):
    """A Slicer without one of the packages, as after a first installation; what pip is told is kept."""
    from scarnet.panel import requirements

    calls, state = [], {"there": False}
    real = requirements.missing_requirements
    monkeypatch.setattr(
        requirements,
        "missing_requirements",
        lambda needed: real(needed) + ([] if state["there"] else [r for r in needed if r.startswith("jinja2")]),
    )

    def install(arguments, **options):
        calls.append(arguments)
        if state.get("fails"):
            raise RuntimeError("pip failed") if state["fails"] == "runtime" else OSError("no network")
        state["there"] = True

    monkeypatch.setattr(slicer.util, "pip_install", install, raising=False)
    return calls, state


def test_missing_packages_are_installed_after_asking(host, volume, worker_script, lacking):
    calls, _ = lacking
    choose(host, "volumeSelector", volume)
    host.agrees = False
    click(host, "segmentButton")
    assert not host.panel.presenter.running and calls == []
    assert "jinja2" in host.questions[0] and "nothing was changed" in host.dialogs[0]
    host.agrees = True
    click(host, "segmentButton")
    until(host, done(host))
    assert calls == [["jinja2>=3.1"]] and host.panel.presenter.report is not None


def test_packages_come_from_a_folder_where_there_is_no_network(host, volume, worker_script, lacking, tmp_path):
    calls, state = lacking
    choose(host, "volumeSelector", volume)
    state["fails"] = "network"
    click(host, "segmentButton")
    assert "Package folder" in host.dialogs[-1] and not host.panel.presenter.running
    host.panel.ui.packagesPath.currentPath = str(tmp_path / "not there")
    click(host, "segmentButton")
    assert "no package folder" in host.dialogs[-1]
    wheels = tmp_path / "wheels ü"
    wheels.mkdir()
    host.panel.ui.packagesPath.currentPath = str(wheels)
    click(host, "segmentButton")
    assert "does not hold all" in host.dialogs[-1]
    state.pop("fails")
    click(host, "segmentButton")
    until(host, done(host))
    assert calls[-1] == ["--no-index", "--find-links", str(wheels), "jinja2>=3.1"]


def test_newer_slicers_ask_and_install_by_themselves(host, volume, worker_script, lacking, monkeypatch):
    import types

    calls, state = lacking
    packaging = types.ModuleType("slicer.packaging")
    packaging.answers = [RuntimeError("User declined package installation"), None]

    def pip_ensure(needed, requester=None):
        calls.append((needed, requester))
        answer = packaging.answers.pop(0)
        if answer is not None:
            raise answer
        state["there"] = True

    packaging.pip_ensure = pip_ensure
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    monkeypatch.setattr(slicer, "packaging", packaging, raising=False)
    choose(host, "volumeSelector", volume)
    click(host, "segmentButton")
    assert "nothing was changed" in host.dialogs[-1] and host.questions == []
    click(host, "segmentButton")
    until(host, done(host))
    assert calls == [(["jinja2>=3.1"], "ScarNet")] * 2 and host.panel.presenter.report is not None


def test_a_gpu_takes_pytorch_from_its_extension_and_nowhere_else(host, volume, worker_script, monkeypatch):
    import importlib.util
    import types

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "torch" else real(name, *a))
    choose(host, "volumeSelector", volume)
    ui = host.panel.ui
    ui.deviceSelector._q.setCurrentIndex(2)
    click(host, "segmentButton")
    assert "PyTorch extension" in host.dialogs[-1] and not host.panel.presenter.running
    asked = []
    extension = types.ModuleType("PyTorchUtils")
    extension.PyTorchUtilsLogic = lambda: types.SimpleNamespace(
        installTorch=lambda askConfirmation: asked.append(askConfirmation)
    )
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    click(host, "segmentButton")
    assert asked == [True] and "PyTorch was not installed" in host.dialogs[-1]
    ui.deviceSelector._q.setCurrentIndex(1)
    click(host, "segmentButton")
    until(host, done(host))
    assert asked == [True] and host.panel.presenter.report is not None


def test_a_model_folder_is_added_and_a_bad_one_is_refused(host, tmp_path):
    from scarnet.resources import shipped

    shipped_model = next(shipped("Models").glob("compact*"))
    folder = tmp_path / "mine"
    shutil.copytree(shipped_model, folder)
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(card | {"name": "mine"}), encoding="utf-8")
    click(host, "addModelButton")  # the user closes the dialog
    before = host.panel.ui.modelSelector._q.count()
    host.chosen_file = str(folder / "model.json")
    click(host, "addModelButton")
    combo = host.panel.ui.modelSelector._q
    assert combo.count() == before + 1 and combo.currentText() == "mine"
    assert host.panel.presenter.parameters.model == "mine"
    click(host, "addModelButton")
    assert "there already" in host.dialogs[-1] and combo.count() == before + 1


def test_missing_requirements_are_told_from_met_ones(tmp_path):
    from scarnet.panel import requirements

    path = tmp_path / "requirements.txt"
    path.write_text("numpy>=1\nnumpy>=999  # too new\nno-such-package-anywhere>=1\n\n# comment\n")
    needed = requirements.read_requirements(path)
    assert needed == ["numpy>=1", "numpy>=999", "no-such-package-anywhere>=1"]
    assert requirements.missing_requirements(needed) == needed[1:]
