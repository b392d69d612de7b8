"""Rules of correcting by hand: segments overlap, scar stays in muscle and MVO in scar."""

import numpy as np
import slicer
from scipy import ndimage

from scarnet.scene.nodes import masks_from_segmentation, segment_ids

#: What lies inside what.
_INSIDE = {"Scar": "LVMyocardium", "MVO": "Scar"}


def apply_editing_rules(editor_node, segmentation_node) -> None:
    """Set a `vtkMRMLSegmentEditorNode` so that its selected segment can be drawn only where it may be.

    Scar inside myocardium, MVO inside scar, the rest everywhere; drawing one segment never takes from another.
    """
    editor_node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
    ids = segment_ids(segmentation_node)
    selected = editor_node.GetSelectedSegmentID()
    kind = next((definition for definition, found in ids.items() if selected in found), None)
    host = ids.get(_INSIDE.get(kind, ""), [])
    if host:
        editor_node.SetMaskSegmentID(host[0])
        editor_node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    else:
        editor_node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)


def follow_erasures(node, volume, before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> bool:
    """Where muscle was just erased take the scar in it away too, and MVO with erased scar; True if anything changed.

    `before`, `after`: masks as `masks_from_segmentation` gives them; `after` is brought up to date. Only pixels that
    left the outer segment since `before` are touched: what a reader drew elsewhere stays.
    """
    ids = segment_ids(node)
    changed = False
    for inner, outer in _INSIDE.items():
        if not all(name in masks for name in (inner, outer) for masks in (before, after)):
            continue
        erased = before[outer] & ~after[outer]
        if not (after[inner] & erased).any():
            continue
        after[inner] = after[inner] & ~erased
        for segment_id in ids[inner]:
            mask = np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume)) > 0
            slicer.util.updateSegmentBinaryLabelmapFromArray(
                np.ascontiguousarray(mask & ~erased, np.uint8), node, segment_id, volume
            )
        changed = True
    return changed


def restore_masks(node, volume, before: dict[str, np.ndarray], now: dict[str, np.ndarray]) -> None:
    """Give segments that differ the shape they had `before`; masks as `masks_from_segmentation` gives them."""
    ids = segment_ids(node)
    for name, mask in before.items():
        if name in now and not np.array_equal(now[name], mask):
            slicer.util.updateSegmentBinaryLabelmapFromArray(
                np.ascontiguousarray(mask, np.uint8), node, ids[name][0], volume
            )


def mark_dark_cores(node, volume) -> int:
    """Muscle that scar, or scar and cavity, enclose within a slice becomes MVO, and scar with it; returns how many pixels.

    A no-reflow core is dark inside bright infarct and is counted as infarct. The user asks for it and can undo it.
    """
    masks, ids = masks_from_segmentation(node, volume), segment_ids(node)
    if not all(name in masks for name in ("LVMyocardium", "Scar", "MVO")):
        return 0
    walls = masks["Scar"] | masks.get("LVBloodPool", False)
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in walls])
    core = filled & masks["LVMyocardium"] & ~masks["Scar"]
    if core.any():
        for name in ("Scar", "MVO"):
            slicer.util.updateSegmentBinaryLabelmapFromArray(
                np.ascontiguousarray(masks[name] | core, np.uint8), node, ids[name][0], volume
            )
    return int(core.sum())
