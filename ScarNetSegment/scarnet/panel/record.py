"""What a model drew and how, kept beside the segmentation in the scene, so that corrections can be told from it."""

import json

import numpy as np
import slicer

from scarnet.segmentation import ScarSegmentation

RUN_ATTRIBUTE = "ScarNet.Run"
MODEL_LABELS_ROLE = "scarnetModelLabels"
MODEL_LABELS_ATTRIBUTE = "ScarNet.ModelLabels"


def remember(node, volume, result: ScarSegmentation) -> None:
    """Keep `result` with the segmentation node: facts as an attribute, labels as a hidden label map."""
    facts = {
        "model": result.model,
        "parameters": result.parameters,
        "warnings": list(result.warnings),
        "slice_doubt": [round(float(d), 4) for d in result.slice_doubt],
        "lv_center_lps_mm": [float(c) for c in result.lv_center_lps_mm],
    }
    node.SetAttribute(RUN_ATTRIBUTE, json.dumps(facts))
    reference = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", f"{node.GetName()} model labels")
    reference.SetHideFromEditors(True)
    reference.SetAttribute(MODEL_LABELS_ATTRIBUTE, "1")
    reference.CopyOrientation(volume)
    slicer.util.updateVolumeFromArray(reference, result.labels)
    reference.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    node.SetNodeReferenceID(MODEL_LABELS_ROLE, reference.GetID())


def recall(node) -> ScarSegmentation | None:
    """What `remember` kept; None for a segmentation from elsewhere, or whose record was deleted or damaged."""
    text, reference = node.GetAttribute(RUN_ATTRIBUTE), node.GetNodeReference(MODEL_LABELS_ROLE)
    if not text or reference is None or reference.GetImageData() is None:
        return None
    try:
        facts = json.loads(text)
        return ScarSegmentation(
            labels=np.array(slicer.util.arrayFromVolume(reference), np.uint8),
            probabilities=None,
            lv_center_lps_mm=np.array(facts["lv_center_lps_mm"], float),
            slice_doubt=np.array(facts["slice_doubt"], float),
            model=facts["model"],
            parameters=facts["parameters"],
            warnings=tuple(facts["warnings"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def remove_orphans() -> None:
    """Remove hidden label maps whose segmentation is gone."""
    scene = slicer.mrmlScene
    kept = {node.GetNodeReferenceID(MODEL_LABELS_ROLE) for node in scene.GetNodesByClass("vtkMRMLSegmentationNode")}
    for node in list(scene.GetNodesByClass("vtkMRMLLabelMapVolumeNode")):
        if node.GetAttribute(MODEL_LABELS_ATTRIBUTE) and node.GetID() not in kept:
            scene.RemoveNode(node)
