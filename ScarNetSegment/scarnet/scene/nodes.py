"""Between MRML nodes and the engine's types. Call on the thread that owns the scene."""

import json
from dataclasses import replace

import numpy as np
import slicer
import vtk

from scarnet.errors import InputError
from scarnet.quantification import ScarReport
from scarnet.segments import (
    ALGORITHM_NAME_TAG,
    ALGORITHM_TYPE_TAG,
    SEGMENTS,
    labels_from_masks,
    match_segment,
    origin_of,
)
from scarnet.series import LgeSeries, Reconstruction, SeriesSource, StackGeometry
from scarnet.series.checks import NO_ORIENTATION, check_geometry, check_pixels, check_slices, content_sha256
from scarnet.series.reconstruction import is_signed

#: RAS (Slicer) to LPS (DICOM, the engine) and back.
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def series_from_volume(volume) -> LgeSeries:
    """The stack of a `vtkMRMLScalarVolumeNode`, in world coordinates.

    A linear parent transform is applied to the geometry. Raises InputError under a warping transform, such as the one
    that Slicer's DICOM import puts on irregular slices, since the voxels would not be where the geometry says.
    """
    if volume is None or volume.GetImageData() is None:
        raise InputError("Choose an LGE volume that is loaded; this one holds no image.")
    name = "The volume"
    if volume.GetImageData().GetNumberOfScalarComponents() != 1:
        raise InputError(f"{name} is a colour or vector volume; choose the LGE series itself.")
    array = np.array(slicer.util.arrayFromVolume(volume), np.float32)
    check_slices(array.shape[0], name)
    check_pixels(array, name)
    try:
        geometry = grid_of(volume)
    except ValueError as error:
        raise InputError(f"{name} cannot be used: {error}") from error
    geometry, notes = _as_acquired(volume, geometry)
    check_geometry(geometry, name)
    if not geometry.states_orientation:
        notes.append(NO_ORIENTATION)
    uids = tuple((volume.GetAttribute(INSTANCE_UIDS_ATTRIBUTE) or "").split())
    noted = json.loads(volume.GetAttribute(WARNINGS_ATTRIBUTE) or "[]")
    return LgeSeries(
        image=array,
        geometry=geometry,
        reconstruction=_reconstruction(volume, array),
        warnings=tuple(dict.fromkeys([*noted, *notes])),
        source=SeriesSource(kind="slicer", sop_instance_uids=uids, content_sha256=content_sha256(array, geometry)),
        spacing_source=volume.GetAttribute(SPACING_ATTRIBUTE) or "file",
    )


#: Node attributes of a stack that one affine does not describe, or whose pixels do not say what they are; and of what was
#: said when it was read.
SLICE_ORIGINS_ATTRIBUTE, RECONSTRUCTION_ATTRIBUTE = "ScarNet.sliceOriginsLPS", "ScarNet.reconstruction"
WARNINGS_ATTRIBUTE, SPACING_ATTRIBUTE = "ScarNet.warnings", "ScarNet.spacingSource"
#: Slicer's own, for the images in the order of the slices, by which exports refer to them.
INSTANCE_UIDS_ATTRIBUTE = "DICOM.instanceUIDs"
#: All that `series_from_volume` reads beside pixels and geometry.
READ_ATTRIBUTES = (
    SLICE_ORIGINS_ATTRIBUTE,
    RECONSTRUCTION_ATTRIBUTE,
    WARNINGS_ATTRIBUTE,
    SPACING_ATTRIBUTE,
    INSTANCE_UIDS_ATTRIBUTE,
)


def reading_key(volume) -> tuple:
    """Equal for two moments between which `series_from_volume` would read the same from `volume`.

    The node's own modification time says too much: reading a segment onto the volume's grid touches it. Times of VTK are
    never given twice, so that they tell objects apart as well; the id() of a wrapper does not last.
    """
    if volume is None:
        return ()
    image, parent = volume.GetImageData(), volume.GetParentTransformNode()
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return (
        volume.GetID(),
        None if image is None else image.GetMTime(),
        None if parent is None else (parent.GetMTime(), parent.GetTransformToWorldMTime()),
        tuple(matrix.GetElement(r, c) for r in range(4) for c in range(4)),
        tuple(volume.GetAttribute(name) for name in READ_ATTRIBUTES),
    )


def _as_acquired(volume, geometry: StackGeometry) -> tuple[StackGeometry, list[str]]:
    """With the slices where `volume_from_series` noted that they were acquired, and a word on it.

    Raises InputError for a volume that was moved since: its slices are no longer there.
    """
    noted = volume.GetAttribute(SLICE_ORIGINS_ATTRIBUTE)
    if not noted:
        return geometry, []
    origins = np.array(json.loads(noted), float)
    if origins.shape != geometry.slice_origins_mm.shape or (
        np.abs(origins[[0, -1]] - geometry.slice_origins_mm[[0, -1]]).max() > 0.01
    ):
        raise InputError(
            "The volume's slices are not equidistant, and it was moved or cropped since it was loaded: load it again."
        )
    return replace(geometry, slice_origins_mm=origins), [
        "Slices are not equidistant; Slicer shows them at equal distances, and volumes are weighed by the distances as acquired."
    ]


def _reconstruction(volume, array: np.ndarray) -> Reconstruction:
    noted = volume.GetAttribute(RECONSTRUCTION_ATTRIBUTE)
    if noted in [r.value for r in Reconstruction]:
        return Reconstruction(noted)
    return Reconstruction.PSIR if is_signed(array) else Reconstruction.UNKNOWN


def grid_of(volume) -> StackGeometry:
    """Where the voxels of a volume node lie in the world. Raises InputError under a warping transform, ValueError for a sheared grid."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return StackGeometry.from_affine_lps(_FLIP @ _in_world(matrix, volume), volume.GetImageData().GetDimensions()[::-1])


def _in_world(matrix, node) -> np.ndarray:
    """4x4 of a `vtkMatrix4x4` in the coordinates of `node`, its transforms applied. Raises InputError where they warp."""
    parent = node.GetParentTransformNode()
    if parent is not None:
        if not parent.IsTransformToWorldLinear():
            raise InputError(
                "The volume lies under a warping transform (irregular slices on import): harden or remove it, or load the "
                "series so that its slices stay as acquired."
            )
        to_world = vtk.vtkMatrix4x4()
        parent.GetMatrixTransformToWorld(to_world)
        vtk.vtkMatrix4x4.Multiply4x4(to_world, matrix, matrix)
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])


def volume_from_series(series: LgeSeries, name: str):
    """A new `vtkMRMLScalarVolumeNode` with display node.

    One affine cannot say where slices lie that are not equidistant: the volume has the mean step, and notes each origin.
    """
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(_FLIP @ series.geometry.affine_lps))
    slicer.util.updateVolumeFromArray(volume, series.image)
    volume.CreateDefaultDisplayNodes()
    if not series.geometry.is_uniform:
        origins = np.round(series.geometry.slice_origins_mm, 6).tolist()
        volume.SetAttribute(SLICE_ORIGINS_ATTRIBUTE, json.dumps(origins))
    if series.reconstruction != Reconstruction.UNKNOWN:
        volume.SetAttribute(RECONSTRUCTION_ATTRIBUTE, series.reconstruction.value)
    if series.warnings:
        volume.SetAttribute(WARNINGS_ATTRIBUTE, json.dumps(series.warnings))
    if series.spacing_source != "file":
        volume.SetAttribute(SPACING_ATTRIBUTE, series.spacing_source)
    return volume


def new_segmentation(labels: np.ndarray, volume, name: str, *, model: dict | None = None):
    """A new `vtkMRMLSegmentationNode` on the grid of `volume`: never touches one that is there.

    Overlapping segments with terminology, colours and DICOM algorithm tags; placed beside the volume in the subject
    hierarchy. `model`: what drew the labels; None marks the segments as manual.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    segmentation = node.GetSegmentation()
    for definition in SEGMENTS:
        segment_id = segmentation.AddEmptySegment(definition.segment_id, definition.name, definition.color)
        mask = np.ascontiguousarray(definition.mask(labels), np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment_id, volume)
        segment = segmentation.GetSegment(segment_id)
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), definition.terminology_entry)
        origin = origin_of(model, definition.name, edited=False)
        segment.SetTag(ALGORITHM_TYPE_TAG, origin.algorithm_type)
        if origin.algorithm_name:
            segment.SetTag(ALGORITHM_NAME_TAG, origin.algorithm_name)
    _show(node)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is not None:
        volume_item = hierarchy.GetItemByDataNode(volume)
        parent = hierarchy.GetItemParent(volume_item) if volume_item else hierarchy.GetSceneItemID()
        item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(parent, node)
        hierarchy.SetItemParent(item, parent)
    return node


def _show(node) -> None:
    """Muscle as an outline, scar as a translucent fill, so that the enhancement stays visible below both."""
    display = node.GetDisplayNode()
    if display is None:
        return
    for definition in SEGMENTS:
        inner = definition.segment_id in ("Scar", "MVO")
        display.SetSegmentOpacity2DFill(definition.segment_id, 0.35 if inner else 0.0)
        display.SetSegmentOpacity2DOutline(definition.segment_id, 1.0)


def reference_volume(node):
    """The volume on whose grid a segmentation was drawn; None where it is gone or was never known."""
    return node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())


def lies_on(node, volume) -> bool:
    """Whether a segmentation was drawn on the field of view of `volume`, to half a voxel; finer or coarser voxels are no matter.

    True for one that does not say where it was drawn.
    """
    converter = slicer.vtkSegmentationConverter
    text = node.GetSegmentation().GetConversionParameter(converter.GetReferenceImageGeometryParameterName())
    grid = slicer.vtkOrientedImageData()
    if not text or not converter.DeserializeImageGeometry(text, grid, False):
        return True
    matrix = vtk.vtkMatrix4x4()
    grid.GetImageToWorldMatrix(matrix)
    drawn = _corners(_in_world(matrix, node), grid.GetExtent())
    volume.GetIJKToRASMatrix(matrix)
    shown = _in_world(matrix, volume)
    size = volume.GetImageData().GetDimensions()
    corners = _corners(shown, [edge for n in size for edge in (0, n - 1)])
    half_voxel_mm = 0.5 * np.linalg.norm(shown[:3, :3], axis=0).min()
    return bool(np.linalg.norm(drawn[:, None] - corners, axis=2).min(axis=1).max() <= half_voxel_mm)


def _corners(ijk_to_world: np.ndarray, extent) -> np.ndarray:
    """`(8, 3)` outer corners of a box of voxels."""
    edges = [(extent[2 * axis] - 0.5, extent[2 * axis + 1] + 0.5) for axis in range(3)]
    index = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1).reshape(-1, 3)
    return index @ ijk_to_world[:3, :3].T + ijk_to_world[:3, 3]


def segment_ids(node) -> dict[str, list[str]]:
    """Which segments of a node are which of ours: definition id to segment ids, by terminology, then by name."""
    found: dict[str, list[str]] = {}
    segmentation = node.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        entry = vtk.mutable("")
        segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
        definition = match_segment(segment.GetName(), str(entry))
        if definition is not None:
            found.setdefault(definition.segment_id, []).append(segment_id)
    return found


def masks_from_segmentation(node, volume) -> dict[str, np.ndarray]:
    """bool `[slice, row, column]` on the grid of `volume` by definition id; segments that are none of ours are left out."""
    return {
        definition: np.any(
            [np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(node, i, volume)) > 0 for i in ids], axis=0
        )
        for definition, ids in segment_ids(node).items()
    }


def labels_from_segmentation(node, volume) -> np.ndarray:
    """Labels uint8 `[slice, row, column]` of a segmentation node on the grid of `volume`.

    Raises InputError without myocardium.
    """
    masks = masks_from_segmentation(node, volume)
    if "LVMyocardium" not in masks:
        raise InputError("The segmentation has no segment of the LV myocardium: name one 'LV myocardium'.")
    return labels_from_masks(masks)


#: Rows of the report table: what is shown, and how it is taken from a report.
TABLE_ROWS = (
    ("Scar", "% of LV", lambda r: r.scar.percent_lv),
    ("Scar volume", "mL", lambda r: r.scar.volume_ml),
    ("Scar mass", "g", lambda r: r.scar.mass_g),
    ("LV myocardial volume", "mL", lambda r: r.lv.myocardium_volume_ml),
    ("LV mass", "g", lambda r: r.lv.mass_g),
    ("Microvascular obstruction", "mL", lambda r: r.mvo.volume_ml),
    ("LV blood pool volume", "mL", lambda r: r.lv.blood_pool_volume_ml),
)


def fill_table(report: ScarReport, table=None):
    """The report as a `vtkMRMLTableNode` (a new one unless given): measure, value in full precision, unit."""
    if table is None:
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Scar report")
    was_modifying = table.StartModify()
    table.RemoveAllColumns()
    names, values, units = vtk.vtkStringArray(), vtk.vtkDoubleArray(), vtk.vtkStringArray()
    for array, title in ((names, "Measure"), (values, "Value"), (units, "Unit")):
        array.SetName(title)
    for name, unit, value in TABLE_ROWS:
        names.InsertNextValue(name)
        values.InsertNextValue(value(report))
        units.InsertNextValue(unit)
    for array in (names, values, units):
        table.AddColumn(array)
    table.SetUseColumnTitleAsColumnHeader(True)
    table.EndModify(was_modifying)
    return table
