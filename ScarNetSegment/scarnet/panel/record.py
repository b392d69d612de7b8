"""What a model drew and how, and what was done since, kept with the segmentation in the scene.

Corrections can so be told from the model's own outline. Times and roles are kept, never names.
"""

import json
from datetime import datetime, timedelta, timezone

import numpy as np
import slicer

from scarnet.errors import InputError
from scarnet.quantification import summarise_edits
from scarnet.scene.nodes import grid_of
from scarnet.segmentation import ScarSegmentation
from scarnet.series import StackGeometry
from scarnet.series.checks import content_sha256

RUN_ATTRIBUTE = "ScarNet.Run"
MODEL_LABELS_ROLE = "scarnetModelLabels"
MODEL_LABELS_ATTRIBUTE = "ScarNet.ModelLabels"
HISTORY_ATTRIBUTE, MEASURED_ATTRIBUTE = "ScarNet.History", "ScarNet.Measured"
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


def recall(node, volume) -> ScarSegmentation | None:
    """What `remember` kept; None for a segmentation from elsewhere, whose record was deleted or damaged, or where the model's labels
    do not lie on the grid of `volume`: what is measured there cannot be told from them."""
    text, reference = node.GetAttribute(RUN_ATTRIBUTE), node.GetNodeReference(MODEL_LABELS_ROLE)
    if not text or reference is None or reference.GetImageData() is None:
        return None
    try:
        if not grid_of(reference).matches(grid_of(volume)):
            return None
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
    except (InputError, ValueError, KeyError, TypeError):
        return None


def remember_measured(node, labels: np.ndarray, geometry: StackGeometry) -> None:
    """Keep with the segmentation what it was when it was last measured, by which `changed_since_measured` tells."""
    facts = {
        "content": content_sha256(labels, geometry),
        "grid": content_sha256(labels[:0], geometry),
        "volumes_ml": _volumes_ml(labels, geometry),
    }
    node.SetAttribute(MEASURED_ATTRIBUTE, json.dumps(facts))


def changed_since_measured(node, labels: np.ndarray, geometry: StackGeometry) -> dict[str, float] | None:
    """Net change in mL of each structure since the segmentation was last measured, in whichever module or session it was drawn at.

    None where nothing has changed, and where that cannot be told: never measured, or on another grid.
    """
    try:
        facts = json.loads(node.GetAttribute(MEASURED_ATTRIBUTE) or "{}")
        if facts["grid"] != content_sha256(labels[:0], geometry) or facts["content"] == content_sha256(
            labels, geometry
        ):
            return None
        before, now = facts["volumes_ml"], _volumes_ml(labels, geometry)
        changes = {name: now.get(name, 0.0) - before.get(name, 0.0) for name in {**before, **now}}
    except (ValueError, KeyError, TypeError):
        return None
    return {name: change for name, change in changes.items() if abs(change) > 1e-9}


def _volumes_ml(labels: np.ndarray, geometry: StackGeometry) -> dict[str, float]:
    drawn = summarise_edits(np.zeros_like(labels), labels, geometry) or {}
    return {name: edit["corrected_ml"] for name, edit in drawn.items()}


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
