"""Label maps and Slicer segmentations on disk, and the door through which any segmentation is read.

slicerio is imported where it is used: Slicer installs it only when something is exported.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scarnet.conventions import Label
from scarnet.errors import InputError
from scarnet.export.regrid import in_order, onto_grid
from scarnet.export.stored import StoredSegment, choose_segments
from scarnet.files import readable, replacing
from scarnet.segments import (
    ALGORITHM_NAME_TAG,
    ALGORITHM_TYPE_TAG,
    SEGMENTS,
    SegmentOrigin,
    labels_from_masks,
    match_segment,
    origin_of,
    stated_origin,
)
from scarnet.series import LgeSeries, StackGeometry, read_label_map
from scarnet.series.dicom import is_dicom
from scarnet.series.image_file import kind_of
from scarnet.series.nifti import is_sheared, write_sform


def write_label_map(path: Path, labels: np.ndarray, geometry: StackGeometry) -> None:
    """`labels` uint8 `[slice, row, column]` as NIfTI, NRRD or MetaImage on the input's own grid.

    These formats know equidistant slices alone: an irregular stack is written with its mean slice step.
    """
    write_volume(path, np.asarray(labels, np.uint8), geometry)


def write_volume(path: Path, values: np.ndarray, geometry: StackGeometry) -> None:
    """`values` `[slice, row, column]`, of any type, as they are; an irregular stack with its mean slice step."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(values))
    affine = geometry.affine_lps
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing([float(s) for s in spacing])
    drifting = kind_of(path) == "nifti" and is_sheared(
        affine
    )  # slice by slice: ITK would straighten them, with a warning
    if not drifting:
        image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin([float(v) for v in affine[:3, 3]])
    with replacing(path) as part:
        sitk.WriteImage(image, str(part), True)
        if drifting:
            write_sform(part, affine)


def write_segmentation(
    path: Path,
    labels: np.ndarray,
    geometry: StackGeometry,
    *,
    model: dict | None = None,
    edited: Collection[str] = (),
) -> None:
    """`.seg.nrrd` for Slicer's Segment Editor: overlapping segments with names, colours, codes and algorithm tags.

    `model`: the description of the model that drew them; None marks them as manual. `edited`: names of segments that a
    hand has corrected.
    """
    import slicerio

    segmentation = slicerio.create_segmentation(labels.shape[::-1], geometry.affine_lps)
    segmentation["containedRepresentationNames"] = ["Binary labelmap"]
    for definition in SEGMENTS:
        tags = {"TerminologyEntry": definition.terminology_entry, "Segmentation.Status": "inprogress"}
        origin = origin_of(model, definition.name, definition.name in edited)
        tags[ALGORITHM_TYPE_TAG] = origin.algorithm_type
        if origin.algorithm_name:
            tags[ALGORITHM_NAME_TAG] = origin.algorithm_name
        slicerio.add_segment(
            segmentation,
            definition.mask(labels).transpose(2, 1, 0),
            {"id": definition.segment_id, "name": definition.name, "color": list(definition.color), "tags": tags},
        )
    with replacing(path) as part:
        slicerio.write_segmentation(str(part), segmentation)


@dataclass(frozen=True, eq=False)
class ReadSegmentation:
    """Labels of a file on the image's grid.

    Attributes
        labels: uint8 `[slice, row, column]` on the grid of the image, values of `scarnet.conventions.Label`.
        notes: sentences for the report.
        origins: by segment name, who drew it, where the file says so.
    """

    labels: np.ndarray
    notes: tuple[str, ...] = ()
    origins: dict[str, SegmentOrigin] = field(default_factory=dict)


def read_segmentation(
    path: Path, series: LgeSeries, *, scar: str | None = None, myocardium: str | None = None, resample: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels and notes of `read_segmentation_file`."""
    read = read_segmentation_file(path, series, scar=scar, myocardium=myocardium, resample=resample)
    return read.labels, read.notes


def read_segmentation_file(
    path: Path, series: LgeSeries, *, scar: str | None = None, myocardium: str | None = None, resample: bool = False
) -> ReadSegmentation:
    """Labels on the grid of `series` from a label map, a `.seg.nrrd` or a DICOM SEG.

    Segments are matched by terminology, then by name, or by the names given; in a label map, `scar` and `myocardium` are
    the values that stand for these. A file on another grid is refused unless `resample`. Raises InputError for that,
    unknown label values, or a segmentation without myocardium; UsageError for a DICOM SEG without highdicom.
    """
    path = Path(path)
    with readable(path):
        there = path.exists()
    if not there:
        raise InputError(f"{path} does not exist; give a label map, a .seg.nrrd file or a DICOM SEG.")
    if path.is_dir():
        raise InputError(f"{path.name} is a folder; give the segmentation's file (a DICOM SEG is one file).")
    notes, origins, target = (), {}, series.geometry
    dicom = kind_of(path) is None and is_dicom(path)
    values = False  # of a label map stand for the segments
    if path.name.lower().endswith(".seg.nrrd"):
        stored, geometry = _read_seg_nrrd(path)
    elif dicom:
        from scarnet.export.dicom.read import read_dicom_segmentation

        stored, geometry, notes = read_dicom_segmentation(path, series)
    else:
        labels, geometry = _label_map(path, series)
        values = scar is not None or myocardium is not None
        stored = _values(labels) if values else None
        if stored is None and labels.max() > Label.MVO:
            raise InputError(
                f"{path.name} holds label {labels.max()}; 0 background, 1 blood pool, 2 myocardium, 3 scar and 4 MVO are "
                "known. For other values name them: --scar VALUE --myocardium VALUE."
            )
    if stored is not None:
        masks, origins, more = choose_segments(
            stored, path.name, scar=scar, myocardium=myocardium, overlapping=not values
        )
        labels, notes = labels_from_masks(masks), notes + more
    if not dicom:
        # Files of one affine know equidistant slices alone: so was an irregular stack written.
        target = StackGeometry.from_affine_lps(series.geometry.affine_lps, series.geometry.shape)
        # Both files may state the same wrong spacing, or ours be written with the right one; axes and origin are their own.
        if series.spacing_source != "file" and (ordered := in_order(labels, geometry, target)) is not None:
            return ReadSegmentation(ordered, notes, origins)
    labels, moved = onto_grid(labels, geometry, target, name=path.name, resample=resample)
    return ReadSegmentation(labels, notes + moved, origins)


def _label_map(path: Path, series: LgeSeries) -> tuple[np.ndarray, StackGeometry]:
    """A header whose spacing cannot be used takes the image's, where that does not come from a header either."""
    try:
        return read_label_map(path)
    except InputError:
        if series.spacing_source == "file":
            raise
    rows, columns = series.geometry.pixel_spacing_mm
    return read_label_map(path, spacing_mm=(columns, rows, float(series.geometry.slice_weights_mm[0])))


def _values(labels: np.ndarray) -> list[StoredSegment]:
    """The values of a label map as segments that only a name given by the user can match."""
    return [StoredSegment(str(value), None, labels == value) for value in np.unique(labels) if value]


def _read_seg_nrrd(path: Path) -> tuple[list[StoredSegment], StackGeometry]:
    import slicerio

    try:
        stored = slicerio.read_segmentation(str(path))
    except Exception as error:
        raise InputError(
            f"{path.name} cannot be read as a segmentation ({type(error).__name__}); save it again in Slicer."
        ) from error
    voxels = stored["voxels"]
    layers = voxels if voxels.ndim == 4 else voxels[None]
    segments = [
        StoredSegment(
            name=segment.get("name", ""),
            definition=match_segment(segment.get("name", ""), _terminology(segment)),
            mask=(layers[segment.get("layer", 0)] == segment["labelValue"]).transpose(2, 1, 0),
            origin=stated_origin(
                segment.get("tags", {}).get(ALGORITHM_TYPE_TAG), segment.get("tags", {}).get(ALGORITHM_NAME_TAG)
            ),
        )
        for segment in stored["segments"]
    ]
    return segments, StackGeometry.from_affine_lps(np.asarray(stored["ijkToLPS"]), layers.shape[:0:-1])


def _terminology(segment: dict) -> str:
    terminology = segment.get("terminology")
    if not terminology:
        return segment.get("tags", {}).get("TerminologyEntry", "")
    import slicerio

    return slicerio.segmentation.terminology_entry_to_string(terminology)
