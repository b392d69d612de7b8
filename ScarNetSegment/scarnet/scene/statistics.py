"""Mass and share of the ventricle of a single segment, for Slicer's Segment Statistics module."""

import numpy as np
import slicer

from scarnet.conventions import MYOCARDIAL_DENSITY_G_PER_ML
from scarnet.errors import InputError
from scarnet.scene.nodes import masks_from_segmentation, segment_ids, series_from_volume


def segment_burden(node, segment_id: str, volume=None) -> dict[str, float]:
    """`mass_g` and `percent_lv` of a segment of a `vtkMRMLSegmentationNode`; empty for segments that are no muscle.

    `volume`: the LGE volume; the segmentation's own reference volume unless given. Volumes are by slice distance, as in
    the report. Raises InputError without a volume or without myocardium.
    """
    volume = volume or node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    if volume is None:
        raise InputError("Choose the LGE volume as scalar volume: the segmentation names none.")
    ids = segment_ids(node)
    kind = next((definition for definition, found in ids.items() if segment_id in found), None)
    if kind not in ("LVMyocardium", "Scar", "MVO"):
        return {}
    if "LVMyocardium" not in ids:
        raise InputError("The segmentation has no segment of the LV myocardium: name one 'LV myocardium'.")
    weights = series_from_volume(volume).geometry.voxel_volumes_ml
    masks = masks_from_segmentation(node, volume)
    muscle = np.any([masks[name] for name in ("LVMyocardium", "Scar", "MVO") if name in masks], axis=0)
    mask = np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume)) > 0
    volume_ml, muscle_ml = (float(m.sum(axis=(1, 2)) @ weights) for m in (mask, muscle))
    return {
        "mass_g": volume_ml * MYOCARDIAL_DENSITY_G_PER_ML,
        "percent_lv": 100 * volume_ml / muscle_ml if muscle_ml else 0.0,
    }
