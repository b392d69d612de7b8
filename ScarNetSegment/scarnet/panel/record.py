"""What a model drew and how, and what was done since, kept with the segmentation in the scene.

Corrections can so be told from the model's own outline. Times and roles are kept, never names.
"""

import json
from datetime import datetime, timedelta, timezone

import numpy as np
import slicer

from scarnet.segmentation import ScarSegmentation

RUN_ATTRIBUTE = "ScarNet.Run"
MODEL_LABELS_ROLE = "scarnetModelLabels"
MODEL_LABELS_ATTRIBUTE = "ScarNet.ModelLabels"
HISTORY_ATTRIBUTE = "ScarNet.History"
MODEL, READER = "model", "reader"
#: Corrections that follow one another within this are one entry of the history: strokes are many, sittings few.
SAME_SITTING = timedelta(minutes=10)


def remember(node, volume, result: ScarSegmentation) -> None:
    """Keep `result` with the segmentation node: facts as an attribute, labels as a hidden label map."""
    facts = {
        "model": result.model,
        "parameters": result.parameters,
        "warnings": list(result.warnings),
        "slice_doubt": [round(float(d), 4) for d in result.slice_doubt],
        "slice_scar_doubt": None
        if result.slice_scar_doubt is None
        else [round(float(d), 4) for d in result.slice_scar_doubt],
        "percent_lv_interval": result.percent_lv_interval,
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
            slice_scar_doubt=_array(facts.get("slice_scar_doubt")),
            percent_lv_interval=None
            if facts.get("percent_lv_interval") is None
            else tuple(facts["percent_lv_interval"]),
            model=facts["model"],
            parameters=facts["parameters"],
            warnings=tuple(facts["warnings"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _array(values: list[float] | None) -> np.ndarray | None:
    return None if values is None else np.array(values, float)


def history(node) -> list[dict]:
    """What happened to a segmentation, oldest first: `when_utc`, `until_utc`, `who` (MODEL or READER), `what`, `steps`,
    and for corrections `changed_ml`, the net change of each structure. Empty for one that we know nothing of."""
    try:
        entries = json.loads(node.GetAttribute(HISTORY_ATTRIBUTE) or "[]")
    except ValueError:
        return []
    return entries if isinstance(entries, list) else []


def note(node, who: str, what: str, changed_ml: dict[str, float] | None = None) -> None:
    """Add to the history; corrections of one sitting are added up in one entry."""
    entries, now = history(node), datetime.now(timezone.utc)
    stamp = now.isoformat(timespec="seconds")
    last = entries[-1] if entries else None
    if changed_ml is not None and last is not None and last.get("changed_ml") is not None and last["who"] == who:
        if now - datetime.fromisoformat(last["until_utc"]) < SAME_SITTING:
            total = last["changed_ml"]
            for name, change in changed_ml.items():
                total[name] = round(total.get(name, 0.0) + change, 3)
            last |= {"until_utc": stamp, "steps": last["steps"] + 1}
            node.SetAttribute(HISTORY_ATTRIBUTE, json.dumps(entries))
            return
    entry = {"when_utc": stamp, "until_utc": stamp, "who": who, "what": what, "steps": 1}
    if changed_ml is not None:
        entry["changed_ml"] = {name: round(change, 3) for name, change in changed_ml.items()}
    node.SetAttribute(HISTORY_ATTRIBUTE, json.dumps([*entries, entry]))


def remove_orphans() -> None:
    """Remove hidden label maps whose segmentation is gone."""
    scene = slicer.mrmlScene
    kept = {node.GetNodeReferenceID(MODEL_LABELS_ROLE) for node in scene.GetNodesByClass("vtkMRMLSegmentationNode")}
    for node in list(scene.GetNodesByClass("vtkMRMLLabelMapVolumeNode")):
        if node.GetAttribute(MODEL_LABELS_ATTRIBUTE) and node.GetID() not in kept:
            scene.RemoveNode(node)
