"""Segment status in Slicer's own words: Flagged where the model doubts, In progress until a reader has looked, Completed after.

Slicer shows the status in its segment table, where a reader can change it too; it is saved with the segmentation.
"""

import slicer

from scarnet.scene.nodes import segment_ids


def _set(node, status: int) -> None:
    segmentation = node.GetSegmentation()
    for ids in segment_ids(node).values():
        for segment_id in ids:
            segment = segmentation.GetSegment(segment_id)
            if slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus(segment) != status:
                slicer.vtkSlicerSegmentationsModuleLogic.SetSegmentStatus(segment, status)


def mark_unreviewed(node, *, flagged: bool = False) -> None:
    """Waiting for a reader; `flagged`: there is something to look at."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    _set(node, logic.Flagged if flagged else logic.InProgress)


def mark_reviewed(node) -> None:
    """A reader takes responsibility for the outlines as they are."""
    _set(node, slicer.vtkSlicerSegmentationsModuleLogic.Completed)


def is_reviewed(node) -> bool:
    """Every segment that is one of ours is Completed."""
    logic, segmentation = slicer.vtkSlicerSegmentationsModuleLogic, node.GetSegmentation()
    states = [
        logic.GetSegmentStatus(segmentation.GetSegment(segment_id))
        for ids in segment_ids(node).values()
        for segment_id in ids
    ]
    return bool(states) and all(state == logic.Completed for state in states)
