"""The Slicer scene, on slicer-core: real MRML nodes, real files."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: the Slicer scene was not tested")
import vtk  # noqa: E402

from scarnet.errors import InputError  # noqa: E402
from scarnet.export import read_segmentation  # noqa: E402
from scarnet.quantification import quantify  # noqa: E402
from scarnet.scene import nodes  # noqa: E402
from scarnet.scene.host import scene_files, start_scene  # noqa: E402
from scarnet.segments import ALGORITHM_NAME_TAG, ALGORITHM_TYPE_TAG, SEGMENTS  # noqa: E402

MODEL = {"name": "compact-emidec", "version": "1", "sha256": "0123456789abcdef" * 4}


@pytest.fixture
def scene():
    return start_scene()


@pytest.fixture
def volume(scene, phantom):
    return nodes.volume_from_series(phantom.series, "LGE")


def same(a, b):
    return (a.lv, a.scar, a.mvo, a.slices) == (b.lv, b.scar, b.mvo, b.slices)


def tag(segment, name):
    value = vtk.mutable("")
    return str(value) if segment.GetTag(name, value) else None


def test_a_volume_is_the_series_it_came_from(volume, phantom):
    series = nodes.series_from_volume(volume)
    assert np.array_equal(series.image, phantom.series.image)
    assert series.geometry.matches(phantom.series.geometry, tolerance_mm=1e-4)
    assert series.geometry.slice_positions_mm == pytest.approx(phantom.series.geometry.slice_positions_mm, abs=1e-4)


def test_the_same_numbers_from_labels_and_from_the_scene(volume, phantom):
    node = nodes.new_segmentation(phantom.labels, volume, "S", model=MODEL)
    labels = nodes.labels_from_segmentation(node, volume)
    assert np.array_equal(labels, phantom.labels)
    assert same(quantify(nodes.series_from_volume(volume), labels), quantify(phantom.series, phantom.labels))


def test_the_same_numbers_after_seg_nrrd(volume, phantom, tmp_path):
    node = nodes.new_segmentation(phantom.labels, volume, "S", model=MODEL)
    path = tmp_path / "saved by Slicer.seg.nrrd"
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    again = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "again")
    reader = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    reader.SetFileName(str(path))
    assert reader.ReadData(again)
    expected = quantify(phantom.series, phantom.labels)
    assert same(quantify(phantom.series, nodes.labels_from_segmentation(again, volume)), expected)
    labels, notes = read_segmentation(path, phantom.series)  # the command line reads what Slicer saved
    assert same(quantify(phantom.series, labels), expected) and notes == ()


def test_slicer_reads_what_the_command_line_wrote(volume, phantom, tmp_path):
    from scarnet.export import write_segmentation

    write_segmentation(tmp_path / "ours.seg.nrrd", phantom.labels, phantom.series.geometry, model=MODEL)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "ours")
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "ours.seg.nrrd"))
    assert storage.ReadData(node)
    assert np.array_equal(nodes.labels_from_segmentation(node, volume), phantom.labels)
    segment = node.GetSegmentation().GetSegment("Scar")
    assert segment.GetName() == "Scar" and tag(segment, ALGORITHM_TYPE_TAG) == "AUTOMATIC"
    assert tag(segment, slicer.vtkSegment.GetTerminologyEntryTagName()) == SEGMENTS[1].terminology_entry


def test_the_same_numbers_after_a_saved_scene(scene, volume, phantom, tmp_path):
    nodes.new_segmentation(phantom.labels, volume, "S", model=MODEL)
    keep = [scene_files(scene)]
    path = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(path))
    other = start_scene()
    keep.append(scene_files(other))
    messages = slicer.vtkMRMLMessageCollection()
    assert other.ReadFromMRB(str(path), True, messages)
    volume_2 = other.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    node_2 = other.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    report = quantify(nodes.series_from_volume(volume_2), nodes.labels_from_segmentation(node_2, volume_2))
    assert same(report, quantify(phantom.series, phantom.labels))


def test_segments_carry_names_colours_codes_and_who_drew_them(volume, phantom):
    node = nodes.new_segmentation(phantom.labels, volume, "S", model=MODEL)
    segmentation = node.GetSegmentation()
    assert list(segmentation.GetSegmentIDs()) == [s.segment_id for s in SEGMENTS]
    for definition in SEGMENTS:
        segment = segmentation.GetSegment(definition.segment_id)
        assert segment.GetName() == definition.name
        assert segment.GetColor() == pytest.approx(definition.color)
        assert tag(segment, ALGORITHM_TYPE_TAG) == "AUTOMATIC"
        assert tag(segment, ALGORITHM_NAME_TAG) == "ScarNet compact-emidec 1 0123456789ab"
    manual = nodes.new_segmentation(phantom.labels, volume, "M")
    assert tag(manual.GetSegmentation().GetSegment("Scar"), ALGORITHM_TYPE_TAG) == "MANUAL"
    assert tag(manual.GetSegmentation().GetSegment("Scar"), ALGORITHM_NAME_TAG) is None


def test_scar_lies_inside_the_whole_muscle(volume, phantom):
    node = nodes.new_segmentation(phantom.labels, volume, "S")
    muscle, scar, mvo = (
        np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(node, i, volume)) > 0
        for i in ("LVMyocardium", "Scar", "MVO")
    )
    assert scar.any() and not (scar & ~muscle).any() and not (mvo & ~scar).any()


def test_reference_geometry_and_place_in_the_subject_hierarchy(volume, phantom):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy.GetItemByDataNode(volume) == 0:
        hierarchy.CreateItem(hierarchy.GetSceneItemID(), volume)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), study)
    node = nodes.new_segmentation(phantom.labels, volume, "S")
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study


def test_empty_and_foreign_segments(volume, phantom):
    node = nodes.new_segmentation(np.minimum(phantom.labels, 2), volume, "S")
    report = quantify(phantom.series, nodes.labels_from_segmentation(node, volume))
    assert report.scar.volume_ml == 0
    node.GetSegmentation().AddEmptySegment("", "Stent")
    assert same(report, quantify(phantom.series, nodes.labels_from_segmentation(node, volume)))
    node.GetSegmentation().RemoveSegment("LVMyocardium")
    with pytest.raises(InputError, match="no segment of the LV myocardium"):
        nodes.labels_from_segmentation(node, volume)


def test_a_second_result_never_touches_the_first(volume, phantom):
    first = nodes.new_segmentation(phantom.labels, volume, "S")
    second = nodes.new_segmentation(phantom.labels * 0, volume, "S")
    assert first is not second and first.GetName() != "" and second.GetSegmentation().GetNumberOfSegments() == 4
    assert np.array_equal(nodes.labels_from_segmentation(first, volume), phantom.labels)


def transform(kind):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    if kind == "linear":
        matrix = vtk.vtkTransform()
        matrix.RotateWXYZ(33, 0.3, 0.5, 0.8)
        matrix.Translate(10, -20, 30)
        node.SetMatrixTransformToParent(matrix.GetMatrix())
    else:
        warp = vtk.vtkThinPlateSplineTransform()
        points = [vtk.vtkPoints(), vtk.vtkPoints()]
        for corner in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50)):
            points[0].InsertNextPoint(corner)
            points[1].InsertNextPoint([c + 3 * (i == 0) for i, c in enumerate(corner)])
        warp.SetBasisToR()
        warp.SetSourceLandmarks(points[0])
        warp.SetTargetLandmarks(points[1])
        node.SetAndObserveTransformToParent(warp)
    return node


def test_a_rotated_volume_measures_the_same_and_its_segments_follow(volume, phantom):
    volume.SetAndObserveTransformNodeID(transform("linear").GetID())
    series = nodes.series_from_volume(volume)
    assert not series.geometry.matches(phantom.series.geometry, tolerance_mm=1)
    node = nodes.new_segmentation(phantom.labels, volume, "S")
    assert node.GetTransformNodeID() == volume.GetTransformNodeID()
    labels = nodes.labels_from_segmentation(node, volume)
    assert np.array_equal(labels, phantom.labels)
    assert quantify(series, labels).scar.volume_ml == pytest.approx(
        quantify(phantom.series, phantom.labels).scar.volume_ml, rel=1e-6
    )


def test_a_warped_volume_is_refused(volume):
    volume.SetAndObserveTransformNodeID(transform("warp").GetID())
    with pytest.raises(InputError, match="warping transform"):
        nodes.series_from_volume(volume)


@pytest.mark.parametrize("kind", ["none", "empty", "constant", "one slice"])
def test_volumes_that_hold_no_stack_are_refused(scene, kind):
    node = None
    if kind != "none":
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    if kind == "constant":
        slicer.util.updateVolumeFromArray(node, np.full((5, 90, 90), 3.0))
    if kind == "one slice":
        slicer.util.updateVolumeFromArray(node, np.random.default_rng(0).normal(size=(1, 90, 90)))
    with pytest.raises(InputError):
        nodes.series_from_volume(node)


def test_the_table_shows_the_reports_numbers(volume, phantom):
    report = quantify(phantom.series, phantom.labels)
    table = nodes.fill_table(report)
    rows = {
        table.GetCellText(k, 0): (float(table.GetTable().GetValue(k, 1).ToDouble()), table.GetCellText(k, 2))
        for k in range(table.GetNumberOfRows())
    }
    assert rows["Scar volume"] == (report.scar.volume_ml, "mL")
    assert rows["Scar"] == (report.scar.percent_lv, "% of LV")
    before = table.GetNumberOfRows()
    assert nodes.fill_table(report, table) is table and table.GetNumberOfRows() == before


def test_segment_statistics_agree_with_the_report(volume, phantom):
    from scarnet.scene.statistics import segment_burden

    node = nodes.new_segmentation(phantom.labels, volume, "S")
    report = quantify(phantom.series, phantom.labels)
    scar = segment_burden(node, "Scar")
    assert scar["mass_g"] == pytest.approx(report.scar.mass_g, rel=1e-9)
    assert scar["percent_lv"] == pytest.approx(report.scar.percent_lv, rel=1e-9)
    assert segment_burden(node, "LVMyocardium", volume)["percent_lv"] == pytest.approx(100)
    assert segment_burden(node, "LVBloodPool") == {}
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    with pytest.raises(InputError, match="names none"):
        segment_burden(other, "x")
