"""Label maps and Slicer segmentations on disk.

slicerio is imported where it is used: Slicer installs it only when something is exported.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scarnet.conventions import Label
from scarnet.errors import InputError
from scarnet.files import replacing
from scarnet.segments import (
    ALGORITHM_NAME_TAG,
    ALGORITHM_TYPE_TAG,
    SEGMENTS,
    algorithm_name,
    algorithm_type,
    labels_from_masks,
    match_segment,
)
from scarnet.series import LgeSeries, StackGeometry, read_label_map


def write_label_map(path: Path, labels: np.ndarray, geometry: StackGeometry) -> None:
    """`labels` uint8 `[slice, row, column]` as NIfTI, NRRD or MetaImage on the input's own grid.

    These formats know equidistant slices alone: an irregular stack is written with its mean slice step.
    """
    image = sitk.GetImageFromArray(np.ascontiguousarray(labels, np.uint8))
    affine = geometry.affine_lps
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin([float(v) for v in affine[:3, 3]])
    with replacing(path) as part:
        sitk.WriteImage(image, str(part), True)


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
        tags[ALGORITHM_TYPE_TAG] = algorithm_type(model, definition.name in edited)
        if model:
            tags[ALGORITHM_NAME_TAG] = algorithm_name(model)
        slicerio.add_segment(
            segmentation,
            definition.mask(labels).transpose(2, 1, 0),
            {"id": definition.segment_id, "name": definition.name, "color": list(definition.color), "tags": tags},
        )
    with replacing(path) as part:
        slicerio.write_segmentation(str(part), segmentation)


def read_segmentation(
    path: Path, series: LgeSeries, *, scar: str | None = None, myocardium: str | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels uint8 on the grid of `series` from a label map or a `.seg.nrrd`, and notes for the report.

    Segments are matched by terminology, then by name, or by the names given. Raises InputError for another grid, unknown
    label values, or a segmentation without myocardium.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a label map or a .seg.nrrd file.")
    if path.name.lower().endswith(".seg.nrrd"):
        labels, geometry, notes = _read_seg_nrrd(path, scar, myocardium)
    else:
        labels, geometry = read_label_map(path)
        notes = ()
        if labels.max() > Label.MVO:
            raise InputError(
                f"{path.name} holds label {labels.max()}; 0 background, 1 blood pool, 2 myocardium, 3 scar and 4 MVO are known."
            )
    _check_grid(path, geometry, series)
    return labels, notes


def _check_grid(path: Path, geometry: StackGeometry, series: LgeSeries) -> None:
    if geometry.shape != series.geometry.shape:
        raise InputError(
            f"{path.name} has shape {geometry.shape} (slices, rows, columns), the image has {series.geometry.shape}: "
            "it belongs to another image, or must be resampled to this one first."
        )
    expected = StackGeometry.from_affine_lps(series.geometry.affine_lps, series.geometry.shape)
    if series.spacing_source != "file":
        return  # both files may state the same wrong spacing, or ours be written with the right one
    if not geometry.matches(expected, tolerance_mm=0.05):
        raise InputError(
            f"{path.name} lies elsewhere than the image (other origin, spacing or axes); resample it to the image first."
        )


def _read_seg_nrrd(path: Path, scar: str | None, myocardium: str | None):
    import slicerio

    try:
        stored = slicerio.read_segmentation(str(path))
    except Exception as error:
        raise InputError(
            f"{path.name} cannot be read as a segmentation ({type(error).__name__}); save it again in Slicer."
        ) from error
    voxels = stored["voxels"]
    layers = voxels if voxels.ndim == 4 else voxels[None]
    asked = {name: segment_id for name, segment_id in ((scar, "Scar"), (myocardium, "LVMyocardium")) if name}
    masks: dict[str, np.ndarray] = {}
    unknown = []
    for segment in stored["segments"]:
        name = segment.get("name", "")
        entry = _terminology(segment)
        definition = match_segment(name, entry)
        segment_id = asked.get(name) or (definition.segment_id if definition else None)
        if segment_id is None:
            unknown.append(name)
            continue
        mask = (layers[segment.get("layer", 0)] == segment["labelValue"]).transpose(2, 1, 0)
        masks[segment_id] = masks[segment_id] | mask if segment_id in masks else mask
    for name in asked:
        if name not in [s.get("name") for s in stored["segments"]]:
            raise InputError(
                f"{path.name} has no segment '{name}'; it has: {', '.join(s.get('name', '') for s in stored['segments'])}."
            )
    if "LVMyocardium" not in masks:
        raise InputError(
            f"{path.name} has no myocardium among its segments ({', '.join(unknown)}); name it with --myocardium."
        )
    notes = (f"Segments left out of the report: {', '.join(unknown)}.",) if unknown else ()
    if "Scar" in masks and (outside := int((masks["Scar"] & ~masks["LVMyocardium"]).sum())):
        notes += (f"{outside} scar voxels lay outside the myocardium; they were counted as scar and as myocardium.",)
    affine = np.asarray(stored["ijkToLPS"])
    geometry = StackGeometry.from_affine_lps(affine, layers.shape[:0:-1])
    return labels_from_masks(masks), geometry, notes


def _terminology(segment: dict) -> str:
    terminology = segment.get("terminology")
    if not terminology:
        return segment.get("tags", {}).get("TerminologyEntry", "")
    import slicerio

    return slicerio.segmentation.terminology_entry_to_string(terminology)
