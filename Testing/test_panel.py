"""The panel's presenter on real MRML: what a user may do, what they are told, and what happens to the scene."""

import functools
import json
import time

import numpy as np
import pydicom
import pytest
from threadpoolctl import threadpool_limits

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: the Slicer panel was not tested")

from scarnet import worker  # noqa: E402
from scarnet.export import read_segmentation  # noqa: E402
from scarnet.panel import PanelParameters, Presenter  # noqa: E402
from scarnet.panel.job import JobState, SegmentationJob  # noqa: E402
from scarnet.panel.record import recall  # noqa: E402
from scarnet.quantification import quantify  # noqa: E402
from scarnet.quantification.frame import heart_frame  # noqa: E402
from scarnet.scene import correction, nodes, views  # noqa: E402
from scarnet.scene.host import scene_files, start_scene  # noqa: E402
from scarnet.scene.points import point_lps_mm  # noqa: E402
from scarnet.segmentation import ScarSegmentation, segment  # noqa: E402
from scarnet.segments import ALGORITHM_TYPE_TAG  # noqa: E402
from scarnet.series import read_lge  # noqa: E402


@pytest.fixture
def scene():
    return start_scene()


@pytest.fixture
def volume(scene, phantom):
    return nodes.volume_from_series(phantom.series, "LGE Señor")


def parameter_node():
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "ScarNetSegment")


@pytest.fixture
def known(phantom):
    """What a perfect model would give."""
    return ScarSegmentation(
        labels=phantom.labels,
        probabilities=np.zeros((5, 1, 1, 1), np.float16),
        lv_center_lps_mm=np.zeros(3),
        slice_doubt=np.linspace(0, 0.5, 10),
        model={"name": "m", "version": "1", "sha256": "ab" * 32, "runtime": "r", "device": "cpu", "licence": ""},
        parameters={"test_time_flips": True},
        percent_lv_interval=(9.0, 17.5),
        slice_scar_doubt=np.linspace(0.7, 0, 10),
    )


@pytest.fixture
def make(known, tmp_path):
    """A presenter whose worker is a script: three slices of progress, then the known result (or `ending`)."""
    made = []

    def build(ending="", *, result=known, pause=0.0):
        ready = tmp_path / f"ready{len(made)}"
        ready.mkdir()
        worker._write_result(ready, result)
        text = (
            "import json, shutil, sys, time\n"
            "for k in (1, 2, 3):\n"
            "    print(json.dumps({'event': 'progress', 'done': k, 'total': 3, 'text': f'Slice {k} of 3'}), flush=True)\n"
            f"    time.sleep({pause})\n"
            f"{ending}\n"
            f"shutil.copytree({str(ready / 'result')!r}, sys.argv[1] + '/result')\n"
        )
        script = tmp_path / f"worker{len(made)}.py"
        script.write_text(text, encoding="utf-8")
        presenter = Presenter(
            PanelParameters(parameter_node()), start_job=functools.partial(SegmentationJob, worker=script)
        )
        made.append(presenter)
        return presenter

    yield build
    for presenter in made:
        presenter.close()


def finish(presenter, seconds=60):
    deadline = time.monotonic() + seconds
    while presenter.running and time.monotonic() < deadline:
        presenter.tick()
        time.sleep(0.01)
    assert not presenter.running


def settle(presenter):
    time.sleep(0.06)
    presenter.tick()


def set_mask(presenter, segment_id, mask):
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        np.ascontiguousarray(mask, np.uint8), presenter.parameters.segmentation, segment_id, presenter.parameters.volume
    )


def get_mask(presenter, segment_id):
    p = presenter.parameters
    return np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(p.segmentation, segment_id, p.volume)) > 0


def count_nodes():
    return slicer.mrmlScene.GetNumberOfNodes()


def segmentations():
    return slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")


# --- before ---------------------------------------------------------------------------------------------------------


def test_nothing_chosen_says_what_to_do(make, scene):
    presenter = make()
    assert not presenter.segment_button.enabled and "Choose the LGE" in presenter.segment_button.tooltip
    assert not presenter.export_button.enabled and "no report yet" in presenter.export_button.tooltip
    presenter.segment()
    assert presenter.message.kind == "error" and segmentations() == 0


def test_an_unusable_volume_says_why(make, scene):
    presenter = make()
    flat = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "flat")
    slicer.util.updateVolumeFromArray(flat, np.full((5, 90, 90), 3.0))
    presenter.choose_volume(flat)
    assert not presenter.segment_button.enabled and presenter.segment_button.tooltip.count("\n") == 0


def test_an_empty_lv_center_says_what_to_do(make, volume):
    presenter = make()
    presenter.choose_volume(volume)
    presenter.parameters.lv_center = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    assert "no point" in presenter.segment_button.tooltip
    presenter.parameters.lv_center.AddControlPoint(1.0, 2.0, 3.0)
    assert presenter.segment_button.enabled
    assert point_lps_mm(presenter.parameters.lv_center) == (-1, -2, 3)


# --- a run ----------------------------------------------------------------------------------------------------------


def test_success_fills_the_scene_and_the_numbers(make, volume, phantom, known):
    presenter = make()
    presenter.choose_volume(volume)
    assert presenter.segment_button.text == "Segment scar" and presenter.segment_button.enabled
    presenter.segment_or_cancel()
    assert presenter.segment_button.text == "Cancel"
    finish(presenter)
    p = presenter.parameters
    expected = quantify(phantom.series, phantom.labels, segmentation=known)
    assert (presenter.report.scar, presenter.report.lv) == (expected.scar, expected.lv)
    assert p.table.GetNumberOfRows() > 4 and p.segmentation.GetName() == "LGE Señor scar"
    assert presenter.message.kind in ("info", "warning") and presenter.export_button.enabled
    assert presenter.report.provenance["edits"] is None
    concerns = [row.concern for row in presenter.slices]
    assert concerns == sorted(concerns, reverse=True) and presenter.slices[0].review
    assert presenter.segment_button.text == "Segment scar"


def test_progress_is_shown_with_time_left(make, volume):
    presenter = make(pause=0.15)
    presenter.choose_volume(volume)
    presenter.segment()
    seen = set()
    while presenter.running:
        presenter.tick()
        seen.add(presenter.progress_text)
        time.sleep(0.01)
    assert "Slice 1 of 3" in seen and any("s left" in text for text in seen)


def test_the_real_worker_through_the_presenter(volume, phantom):
    presenter = Presenter(PanelParameters(parameter_node()))
    presenter.choose_volume(volume)
    presenter.parameters.device = "cpu"
    presenter.segment()
    finish(presenter)
    expected = segment(nodes.series_from_volume(volume), device="cpu")
    there = quantify(phantom.series, expected.labels, segmentation=expected)
    assert presenter.report.scar == there.scar and there.scar.percent_lv_interval is not None
    assert [s.scar_doubt for s in presenter.report.slices] == pytest.approx(
        [s.scar_doubt for s in there.slices], abs=1e-4
    )
    assert presenter.report.provenance["model"]["sha256"] == expected.model["sha256"]
    presenter.close()


@pytest.mark.parametrize("after", [0, 1, 2])
def test_cancel_leaves_the_scene_as_it_was(make, volume, after):
    presenter = make("time.sleep(30)", pause=0.05)
    presenter.choose_volume(volume)
    before = count_nodes()
    presenter.segment()
    while presenter.progress.done < after:
        presenter.tick()
    presenter.segment_or_cancel()
    assert not presenter.running and count_nodes() == before and segmentations() == 0
    assert presenter.message.text.startswith("Cancelled")
    presenter.segment()  # and again
    assert presenter.running


@pytest.mark.parametrize(
    "ending, words",
    [
        ("raise RuntimeError('bang')", "bang"),
        ("print(json.dumps({'event': 'error', 'text': 'No LV.', 'exit_code': 3})); sys.exit(3)", "No LV."),
        ("sys.exit(0)", "without a usable result"),
        ("print('null'); print('{'); print('\\udce9'.encode('utf-8', 'surrogateescape')); sys.exit(1)", "unexpectedly"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "unexpectedly"),
    ],
    ids=["crash", "error", "no result", "garbage", "killed"],
)
def test_failures_are_one_sentence_and_leave_the_scene_as_it_was(make, volume, ending, words):
    presenter = make(ending)
    presenter.choose_volume(volume)
    before = count_nodes()
    presenter.segment()
    finish(presenter)
    assert presenter.message.kind == "error" and words in presenter.message.text
    assert "\n" not in presenter.message.text and count_nodes() == before
    assert presenter.segment_button.enabled


def test_a_worker_that_cannot_be_started_is_said(make, volume):
    presenter = make()
    presenter._python = "/nowhere/python"
    presenter.choose_volume(volume)
    presenter.segment()
    assert presenter.message.kind == "error" and not presenter.running


def test_jobs_leave_no_files_behind(make, volume, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    for ending in ("", "sys.exit(1)"):
        presenter = make(ending)
        presenter.choose_volume(volume)
        presenter.segment()
        assert list((tmp_path / "temp").iterdir())
        finish(presenter)
        assert not list((tmp_path / "temp").iterdir())
    presenter = make("time.sleep(30)")
    presenter.choose_volume(volume)
    presenter.segment()
    presenter.close()
    assert not list((tmp_path / "temp").iterdir())


def test_the_scene_closes_while_it_runs(make, volume):
    presenter = make("time.sleep(30)")
    presenter.choose_volume(volume)
    presenter.segment()
    process = presenter._job._process._process
    presenter.close()
    slicer.mrmlScene.Clear(0)
    assert process.poll() is not None and not presenter.running
    presenter.tick()


def test_the_volume_goes_while_it_runs(make, volume):
    presenter = make(pause=0.05)
    presenter.choose_volume(volume)
    presenter.segment()
    slicer.mrmlScene.RemoveNode(volume)
    finish(presenter)
    assert presenter.message.kind == "warning" and segmentations() == 0


def test_the_volume_changes_while_it_runs(make, volume):
    presenter = make(pause=0.05)
    presenter.choose_volume(volume)
    presenter.segment()
    slicer.util.updateVolumeFromArray(volume, slicer.util.arrayFromVolume(volume)[:, ::-1].copy())
    finish(presenter)
    assert "was changed" in presenter.message.text and segmentations() == 0


def test_another_volume_chosen_while_it_runs_gets_nothing_of_it(make, volume, small_phantom):
    presenter = make(pause=0.05)
    presenter.choose_volume(volume)
    presenter.segment()
    other = nodes.volume_from_series(small_phantom.series, "other")
    presenter.choose_volume(other)
    finish(presenter)
    node = presenter.parameters.segmentation
    assert presenter.parameters.volume is volume  # the result is shown on what it was made from
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume


# --- correcting -----------------------------------------------------------------------------------------------------


@pytest.fixture
def done(make, volume):
    presenter = make()
    presenter.choose_volume(volume)
    presenter.segment()
    finish(presenter)
    return presenter


def tag(presenter, segment_id):
    import vtk

    value = vtk.mutable("")
    presenter.parameters.segmentation.GetSegmentation().GetSegment(segment_id).GetTag(ALGORITHM_TYPE_TAG, value)
    return str(value)


def test_the_models_interval_is_shown_until_a_hand_changes_its_labels(done):
    assert done.report.scar.percent_lv_interval == (9.0, 17.5) and "(9 to 18 %)" in done.rows[0].value
    assert {row.index for row in done.slices if row.review} == {0, 1, 2, 5, 6, 7, 8, 9} & {r.index for r in done.slices}
    scar = get_mask(done, "Scar")
    scar[int(np.argmax(scar.sum(axis=(1, 2))))] = False
    set_mask(done, "Scar", scar)
    settle(done)
    assert done.report.scar.percent_lv_interval is None and "to" not in done.rows[0].value


def test_numbers_follow_an_edit(done, phantom):
    before = done.report.scar.volume_ml
    scar = get_mask(done, "Scar")
    k = int(np.argmax(scar.sum(axis=(1, 2))))
    cleared = scar.copy()
    cleared[k] = False
    set_mask(done, "Scar", cleared)
    mvo = get_mask(done, "MVO")
    mvo[k] = False
    set_mask(done, "MVO", mvo)
    settle(done)
    lost = scar[k].sum() * phantom.series.geometry.voxel_volumes_ml[k]
    assert done.report.scar.volume_ml == pytest.approx(before - lost)
    shown = {done.parameters.table.GetCellText(r, 0): r for r in range(done.parameters.table.GetNumberOfRows())}
    value = done.parameters.table.GetTable().GetValue(shown["Scar volume"], 1).ToDouble()
    assert value == done.report.scar.volume_ml
    edits = done.report.provenance["edits"]
    assert edits["Scar"]["slices"] == [k] and edits["Scar"]["model_ml"] == pytest.approx(before)
    assert "LV myocardium" not in edits and edits["Scar"]["dice"] < 1
    assert (tag(done, "Scar"), tag(done, "LVMyocardium")) == ("SEMIAUTOMATIC", "AUTOMATIC")


def test_segments_follow_a_dragged_insertion_point(done, phantom):
    """Turned by a right angle about the heart, the scar's wall becomes another."""
    found = done.report.provenance["regions"]["anterior_rv_insertion"]
    before = [s.scar_percent for s in done.report.aha17[6:12]]
    frame = heart_frame(phantom.labels, phantom.series.geometry)
    k = int(np.flatnonzero(frame.ring)[3])
    markup = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    for turn, expected in ((0, before), (60, before[1:] + before[:1])):
        angle = np.radians(found["angle_deg"] + turn)
        point = frame.centers_mm[k] + 35 * (np.cos(angle) * frame.right + np.sin(angle) * frame.up)
        markup.RemoveAllControlPoints()
        markup.AddControlPoint(-point[0], -point[1], point[2])
        done.parameters.rv_insertion = markup
        done.tick()
        settle(done)
        regions = done.report.provenance["regions"]["anterior_rv_insertion"]
        assert regions["source"] == "user" and regions["angle_deg"] == pytest.approx(found["angle_deg"] + turn, abs=0.5)
        assert [s.scar_percent for s in done.report.aha17[6:12]] == pytest.approx(expected, abs=1.5)
    done.parameters.rv_insertion = None
    done.tick()
    settle(done)
    assert done.report.provenance["regions"]["anterior_rv_insertion"] == found


def test_erasing_muscle_takes_its_scar_along_and_nothing_else(done):
    muscle, scar, mvo = (get_mask(done, i) for i in ("LVMyocardium", "Scar", "MVO"))
    k = int(np.argmax(mvo.sum(axis=(1, 2))))
    rows = np.nonzero(mvo[k].any(axis=1))[0]
    erased = np.zeros_like(muscle)
    erased[k, rows[0] : rows[-1] + 1] = True
    set_mask(done, "LVMyocardium", muscle & ~erased)
    settle(done)
    assert np.array_equal(get_mask(done, "Scar"), scar & ~(erased & muscle))
    assert np.array_equal(get_mask(done, "MVO"), mvo & ~(erased & muscle))
    assert (scar & erased).any() and (mvo & erased).any()


def test_scar_a_reader_draws_outside_muscle_is_kept_and_counted(done):
    scar = get_mask(done, "Scar")
    drawn = scar.copy()
    drawn[4, 2:6, 2:6] = True
    set_mask(done, "Scar", drawn)
    settle(done)
    assert np.array_equal(get_mask(done, "Scar"), drawn)


def test_editing_rules_limit_scar_to_muscle_and_never_overwrite(done):
    editor = slicer.vtkMRMLSegmentEditorNode()
    slicer.mrmlScene.AddNode(editor)
    everywhere = slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere
    inside = slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment
    for segment_id, mode, host in (
        ("Scar", inside, "LVMyocardium"),
        ("MVO", inside, "Scar"),
        ("LVMyocardium", everywhere, None),
        ("LVBloodPool", everywhere, None),
    ):
        editor.SetSelectedSegmentID(segment_id)
        correction.apply_editing_rules(editor, done.parameters.segmentation)
        assert editor.GetMaskMode() == mode and editor.GetOverwriteMode() == editor.OverwriteNone
        if host:
            assert editor.GetMaskSegmentID() == host


def test_the_segment_editor_keeps_scar_inside_and_undoes(done):
    """Slicer's own editing logic under our rules: a brush over everything fills the muscle and no more."""
    p = done.parameters
    editor = slicer.vtkMRMLSegmentEditorNode()
    slicer.mrmlScene.AddNode(editor)
    editor.SetAndObserveSegmentationNode(p.segmentation)
    editor.SetAndObserveSourceVolumeNode(p.volume)
    editor.SetSelectedSegmentID("Scar")
    correction.apply_editing_rules(editor, p.segmentation)
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetSegmentationHistory(slicer.vtkSegmentationHistory())
    logic.SetSegmentEditorNode(editor)
    logic.UpdateReferenceGeometryImage()
    muscle, scar = get_mask(done, "LVMyocardium"), get_mask(done, "Scar")
    logic.SaveStateForUndo()
    logic.ResetModifierLabelmapToDefault()
    brush = logic.GetModifierLabelmap()
    brush.GetPointData().GetScalars().Fill(1)
    logic.ModifySegmentByLabelmap(p.segmentation, "Scar", brush, logic.ModificationModeAdd, False, False)
    settle(done)
    assert np.array_equal(get_mask(done, "LVMyocardium"), muscle)
    painted = get_mask(done, "Scar")
    assert not (painted & ~muscle).any() and painted.sum() > scar.sum()
    logic.Undo()
    settle(done)
    assert np.array_equal(get_mask(done, "Scar"), scar)
    assert done.report.provenance["edits"] is None


def test_a_second_run_never_touches_what_was_edited(done):
    first = done.parameters.segmentation
    scar = get_mask(done, "Scar")
    scar[0] = False
    scar[5, 60:64, 60:64] = True
    set_mask(done, "Scar", scar)
    settle(done)
    done.segment()
    finish(done)
    second = done.parameters.segmentation
    assert second is not first and segmentations() == 2 and second.GetName() != first.GetName()
    kept = np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(first, "Scar", done.parameters.volume)) > 0
    assert np.array_equal(kept, scar)
    assert not first.GetDisplayNode().GetVisibility() and second.GetDisplayNode().GetVisibility()
    assert done.report.provenance["edits"] is None
    done.choose_segmentation(first)
    assert done.report.provenance["edits"] is not None


class Counted:
    """Stands before a function and notes whom it is called for."""

    def __init__(self, function):
        self.function, self.volumes = function, []

    def __call__(self, volume, *arguments):
        self.volumes.append(volume)
        return self.function(volume, *arguments)


def test_numbers_follow_within_a_third_of_a_second(phantom, scene, known, monkeypatch):
    """256 x 256 x 12 voxels; measured from the end of the pause after a stroke."""
    labels = np.zeros((12, 256, 256), np.uint8)
    labels[:10, 20:228, 20:228] = phantom.labels
    volume = slicer.util.addVolumeFromArray(np.random.default_rng(0).normal(100, 20, labels.shape).astype(np.float32))
    volume.SetSpacing(1.4, 1.4, 10)
    presenter = Presenter(PanelParameters(parameter_node()))
    presenter.choose_volume(volume)
    presenter.choose_segmentation(nodes.new_segmentation(labels, volume, "S"))
    times = []
    # Processor time of this process alone, on one thread: what else runs is not our doing, nor that numpy's second thread
    # turns round and round while it waits for its share of a small matrix.
    monkeypatch.setattr(nodes.slicer.util, "arrayFromVolume", read := Counted(slicer.util.arrayFromVolume))
    with threadpool_limits(1):
        for n in range(5):
            mask = get_mask(presenter, "Scar")
            mask[4, 100 + n] ^= True
            set_mask(presenter, "Scar", mask)
            started = time.process_time()
            presenter.refresh()
            times.append(time.process_time() - started)
    assert min(times) < 0.25, times
    assert read.volumes.count(volume) == 0, "the image is read again after every stroke"
    presenter.close()


def test_a_segmentation_from_elsewhere_is_measured(make, volume, phantom):
    presenter = make()
    presenter.choose_volume(volume)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "from disk")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, first in (("Myocardium", 2), ("Infarct", 3), ("Stent", 9)):
        segment_id = node.GetSegmentation().AddEmptySegment("", name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            (phantom.labels >= first).astype(np.uint8), node, segment_id, volume
        )
    presenter.choose_segmentation(node)
    assert presenter.report.scar.volume_ml == quantify(phantom.series, phantom.labels).scar.volume_ml
    assert presenter.report.provenance["model"] is None and recall(node, volume) is None
    assert [row.index for row in presenter.slices] == sorted(row.index for row in presenter.slices)
    node.GetSegmentation().RemoveSegment(node.GetSegmentation().GetSegmentIdBySegmentName("Myocardium"))
    settle(presenter)
    assert presenter.report is None and "LV myocardium" in presenter.message.text
    assert not presenter.export_button.enabled


def point(presenter, which, lps):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", which)
    node.AddControlPoint(-lps[0], -lps[1], lps[2])
    setattr(presenter.parameters, which, node)
    presenter.refresh()


@pytest.mark.parametrize("deleted", [False, True])
def test_points_of_one_patient_are_not_the_nexts(done, phantom, deleted):
    inside = phantom.series.geometry.index_to_lps(np.array([5, 60, 60]))
    for which in ("lv_center", "rv_insertion", "remote"):
        point(done, which, inside)
    assert done.report is not None
    if deleted:
        slicer.mrmlScene.RemoveNode(done.parameters.volume)
    done.choose_volume(nodes.volume_from_series(phantom.series, "the next"))
    p = done.parameters
    assert (p.lv_center, p.rv_insertion, p.remote) == (None, None, None)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 3


@pytest.mark.parametrize("which", ["rv_insertion", "remote"])
def test_a_point_outside_the_images_is_refused(done, phantom, which):
    point(done, which, phantom.series.geometry.index_to_lps(np.array([5, 60, 600])))
    assert done.report is None and "outside the images" in done.message.text


def test_a_segmentation_brings_its_own_volume(done, small_phantom):
    """Slicer's selector takes the next segmentation when one is deleted: it may be another patient's."""
    first, own = done.parameters.segmentation, done.parameters.volume
    expected = done.report.lv
    done.choose_volume(nodes.volume_from_series(small_phantom.series, "another"))
    assert done.parameters.segmentation is None
    done.choose_segmentation(first)
    assert done.parameters.volume is own and done.report.lv == expected
    assert own.GetName() in done.message.text and done.report.provenance["edits"] is None


def test_a_twin_of_the_volume_may_be_measured_too(done, phantom):
    """Magnitude beside PSIR: the same field of view."""
    node, expected = done.parameters.segmentation, done.report.lv
    twin = nodes.volume_from_series(phantom.series, "magnitude")
    done.choose_volume(twin)
    done.choose_segmentation(node)
    assert done.parameters.volume is twin and done.report.lv == expected and done.message is None


def test_moving_the_volume_alone_is_said_and_is_no_correction(done):
    import vtk

    done.toggle_reviewed()
    node, before = done.parameters.segmentation, len(done.report.provenance["history"])
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkTransform()
    matrix.Translate(12, 0, 0)
    transform.SetMatrixTransformToParent(matrix.GetMatrix())
    volume = done.parameters.volume
    volume.SetAndObserveTransformNodeID(transform.GetID())
    done.refresh()
    assert done.message.kind == "warning" and "moved" in done.message.text
    assert any("moved" in text for text in done.report.quality.warnings)
    assert done.report.provenance["edits"] is None and len(done.report.provenance["history"]) == before
    assert {tag(done, name) for name in ("LVMyocardium", "Scar")} == {"AUTOMATIC"}
    node.SetAndObserveTransformNodeID(transform.GetID())  # now both are
    done.refresh()
    assert done.message is None and done.report.provenance["history"][-1]["what"] == "reviewed" and done.reviewed


@pytest.mark.parametrize("where", ["another is chosen", "the module is closed"])
def test_what_is_drawn_elsewhere_ends_a_review_too(done, where):
    done.toggle_reviewed()
    node, volume = done.parameters.segmentation, done.parameters.volume
    scar = get_mask(done, "Scar")
    scar[4] = False
    if where == "another is chosen":
        done.choose_segmentation(None)
    else:
        done.close()
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.ascontiguousarray(scar, np.uint8), node, "Scar", volume)
    if where == "another is chosen":
        done.choose_segmentation(node)
        again = done
    else:
        again = Presenter(PanelParameters(done.parameters.node))
    assert not again.reviewed and not again.report.provenance["reviewed"]
    last = again.report.provenance["history"][-1]
    assert last["what"] == "corrected" and last["changed_ml"]["Scar"] < 0
    again.close()


def test_dark_cores_need_a_segment(done):
    assert done.core_button.enabled
    done.parameters.segmentation.GetSegmentation().RemoveSegment("MVO")
    settle(done)
    assert not done.core_button.enabled and "Microvascular" in done.core_button.tooltip


def test_measuring_is_no_correction(make, volume, phantom):
    """Numbers come to rest: what a measurement itself touches does not ask for the next one."""
    presenter = make()
    presenter.choose_volume(volume)
    presenter.choose_segmentation(nodes.new_segmentation(phantom.labels, volume, "by hand"))
    set_mask(presenter, "Scar", get_mask(presenter, "MVO"))
    settle(presenter)
    assert presenter._edited_at is None


def test_a_removed_segmentation_leaves_no_report_and_no_hidden_labels(done):
    slicer.mrmlScene.RemoveNode(done.parameters.segmentation)
    settle(done)
    assert done.report is None and done.parameters.segmentation is None
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLLabelMapVolumeNode") == 0


def test_an_oblique_volume_under_a_linear_transform(make, volume, phantom):
    import vtk

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkTransform()
    matrix.RotateWXYZ(25, 1, 2, 3)
    matrix.Translate(5, 6, 7)
    transform.SetMatrixTransformToParent(matrix.GetMatrix())
    volume.SetAndObserveTransformNodeID(transform.GetID())
    presenter = make()
    presenter.choose_volume(volume)
    presenter.segment()
    finish(presenter)
    assert presenter.report.scar.volume_ml == pytest.approx(quantify(phantom.series, phantom.labels).scar.volume_ml)


# --- leaving and coming back ----------------------------------------------------------------------------------------


def test_export_is_what_the_command_line_writes(done, tmp_path, phantom):
    parent = tmp_path / "Ergebnis für Müller"
    written = done.export(parent)
    folder = written["report.json"].parent
    assert folder.parent == parent and folder.name.startswith("ScarNet 20") and done.message.folder == str(folder)
    assert {"report.html", "report.json", "report.csv", "segmentation.seg.nrrd", "labels.nii.gz"} <= set(written)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["scar"]["volume_ml"] == done.report.scar.volume_ml
    assert "Señor" not in (folder / "report.json").read_text(encoding="utf-8")
    assert str(folder) in done.message.text


def test_an_exported_segmentation_says_which_segments_a_hand_has_touched(done, tmp_path):
    scar = get_mask(done, "Scar")
    scar[3] = False
    set_mask(done, "Scar", scar)
    settle(done)
    header = done.export(tmp_path)["segmentation.seg.nrrd"].read_bytes().split(b"\n\n", 1)[0].decode()
    kinds = [line for line in header.splitlines() if "_Tags:=" in line]
    names = [line.split(":=")[1] for line in header.splitlines() if "_Name:=" in line]
    edited = {n for n, k in zip(names, kinds, strict=True) if "DICOM.SegmentAlgorithmType:SEMIAUTOMATIC" in k}
    assert "Scar" in edited and "LV myocardium" not in edited


@pytest.fixture
def from_dicom(scene, known, dicom_folder, phantom, tmp_path):
    """A presenter on a volume that Slicer loaded from its DICOM database, and that database as a dictionary."""
    files = {str(pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID): str(f) for f in dicom_folder.iterdir()}
    volume = nodes.volume_from_series(read_lge(dicom_folder), "3: PSIR SA")
    volume.SetAttribute("DICOM.instanceUIDs", " ".join(reversed(files)))  # in whatever order
    worker._write_result(tmp_path, known)
    script = tmp_path / "worker.py"
    script.write_text(f"import shutil, sys; shutil.copytree({str(tmp_path / 'result')!r}, sys.argv[1] + '/result')\n")
    presenter = Presenter(
        PanelParameters(parameter_node()),
        start_job=functools.partial(SegmentationJob, worker=script),
        dicom_files=lambda uids: [files[uid] for uid in uids if uid in files],
    )
    presenter.choose_volume(volume)
    presenter.segment()
    finish(presenter)
    yield presenter, files
    presenter.close()


def test_a_volume_from_the_database_is_measured_as_its_files_are(from_dicom, dicom_folder, phantom, known):
    """Reconstruction and acquisition are known from the images, as on the command line."""
    presenter, _ = from_dicom
    there, here = quantify(read_lge(dicom_folder), phantom.labels, segmentation=known), presenter.report
    facts = ("kind", "content_sha256", "reconstruction", "shape", "acquisition")
    assert [here.provenance["input"][f] for f in facts] == [there.provenance["input"][f] for f in facts]
    assert here.provenance["input"]["reconstruction"] == "psir" and here.scar == there.scar
    for name, method in there.thresholds.items():
        assert here.thresholds[name].definition == method.definition
        assert here.thresholds[name].volume_ml == pytest.approx(method.volume_ml, rel=1e-6)


def test_dicom_results_refer_to_the_right_images(from_dicom, dicom_folder, tmp_path):
    presenter, files = from_dicom
    assert presenter.dicom_button.enabled
    written = presenter.export(tmp_path / "out", dicom=True)
    referred = {
        str(item.ReferencedSOPInstanceUID)
        for series in pydicom.dcmread(written["segmentation.dcm"]).ReferencedSeriesSequence
        for item in series.ReferencedInstanceSequence
    }
    assert referred and referred <= set(files)
    labels, _ = read_segmentation(written["segmentation.dcm"], read_lge(dicom_folder))
    assert np.array_equal(labels, presenter._labels)
    assert pydicom.dcmread(written["report.dcm"]).Modality == "SR"


def test_a_moved_volume_has_no_dicom_results(from_dicom, tmp_path):
    import vtk

    presenter, _ = from_dicom
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = vtk.vtkTransform()
    shift.Translate(3, 0, 0)
    transform.SetMatrixTransformToParent(shift.GetMatrix())
    presenter.parameters.volume.SetAndObserveTransformNodeID(transform.GetID())
    assert not presenter.dicom_button.enabled and "without a transform" in presenter.dicom_button.tooltip
    presenter.parameters.volume.SetAndObserveTransformNodeID(None)
    assert presenter.dicom_button.enabled


def test_the_report_says_what_was_done_and_whether_a_reader_accepts_it(done, tmp_path):
    scar = get_mask(done, "Scar")
    k = int(np.argmax(scar.sum(axis=(1, 2))))
    for _n in range(3):
        scar[k, np.nonzero(scar[k].any(axis=1))[0][0]] = False
        set_mask(done, "Scar", scar)
        settle(done)
    before = done.report.provenance["history"]
    assert [e["what"] for e in before][1:] == ["corrected"] and before[-1]["steps"] == 3
    change = before[-1]["changed_ml"]["Scar"]
    edit = done.report.provenance["edits"]["Scar"]
    assert change == pytest.approx(edit["corrected_ml"] - edit["model_ml"], abs=0.01) and change < 0
    page = done.export(tmp_path)["report.html"].read_text(encoding="utf-8")
    assert "not yet accepted by a reader" in page and "corrected by the reader in 3 steps (Scar " in page
    done.toggle_reviewed()
    page = done.export(tmp_path)["report.html"].read_text(encoding="utf-8")
    assert "accepted by a reader" in page and "not yet accepted" not in page
    done.toggle_reviewed()
    assert [e["what"] for e in done.report.provenance["history"]][-2:] == ["reviewed", "review withdrawn"]


def test_every_export_has_a_folder_of_its_own(done, tmp_path):
    """One patient's report never replaces another's, however fast one follows the other."""
    folders = {done.export(tmp_path)["report.json"].parent for _ in range(3)}
    assert len(folders) == 3 and all((folder / "report.html").is_file() for folder in folders)


def test_export_to_where_nothing_can_be_written_is_an_error(done, tmp_path):
    from scarnet.errors import UsageError

    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="another output folder"):
        done.export(tmp_path / "file")


def test_a_saved_scene_brings_the_whole_state_back(done, tmp_path):
    scar = get_mask(done, "Scar")
    scar[2:4] = False
    set_mask(done, "Scar", scar)
    settle(done)
    done.parameters.density_g_per_ml = 1.06
    done.refresh()
    expected, rows = done.report, done.rows
    concerns = [row.concern for row in done.slices]

    keep = scene_files(slicer.mrmlScene)
    assert slicer.mrmlScene.WriteToMRB(str(tmp_path / "s.mrb"))
    done.close()
    del keep
    scene = start_scene()
    keep = scene_files(scene)
    assert scene.ReadFromMRB(str(tmp_path / "s.mrb"), True, slicer.vtkMRMLMessageCollection())
    node = scene.GetFirstNodeByClass("vtkMRMLScriptedModuleNode")
    again = Presenter(PanelParameters(node))
    assert (again.report.lv, again.report.scar, again.report.mvo) == (expected.lv, expected.scar, expected.mvo)
    assert again.report.slices == expected.slices
    assert again.report.provenance["edits"] == expected.provenance["edits"]
    assert again.report.provenance["model"] == expected.provenance["model"]
    assert again.rows == rows and [row.concern for row in again.slices] == concerns
    again.close()
    del keep


# --- looking --------------------------------------------------------------------------------------------------------


def test_the_stack_is_shown_in_its_own_plane(volume, phantom):
    slice_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    views.show_in_plane(slice_node, volume)
    across = np.array([slice_node.GetSliceToRAS().GetElement(i, 2) for i in range(3)])
    normal = phantom.series.geometry.normal * [-1, -1, 1]
    assert abs(across @ normal) == pytest.approx(1, abs=1e-4)
    views.jump_to_slice([slice_node], volume, 6)
    origin = np.array([slice_node.GetSliceToRAS().GetElement(i, 3) for i in range(3)])
    expected = phantom.series.geometry.slice_positions_mm[6]
    assert origin * [-1, -1, 1] @ phantom.series.geometry.normal == pytest.approx(expected, abs=0.01)


def test_the_window_shows_enhancement_and_respects_the_users(volume, phantom):
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOn()
    views.set_window(volume, phantom.labels)
    values = phantom.series.image
    scar, muscle = values[phantom.labels == 3].mean(), values[phantom.labels == 2].mean()
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    assert low < muscle < low + 0.5 * (high - low) < scar
    display.SetWindowLevelMinMax(1, 2)
    views.set_window(volume, phantom.labels)
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (1, 2)


def test_job_states_are_told_apart(phantom, tmp_path):
    script = tmp_path / "w.py"
    script.write_text("import time; time.sleep(30)")
    job = SegmentationJob(phantom.series, worker=script)
    assert job.state == JobState.RUNNING
    job.cancel()
    assert job.state == JobState.CANCELLED and not job.poll() and job.wait() is None
