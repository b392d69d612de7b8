"""Points that a user places in a view: the LV centre, the RV insertion, remote muscle."""

import slicer


def start_placing(name: str, node=None):
    """A `vtkMRMLMarkupsFiducialNode` whose one point the next click in a view sets: `node` where it is for one point alone,
    else a new one called `name`. A list of landmarks of the user's is left as it is.

    Slicer's own place mode, left by itself after the click; Escape leaves it without a point.
    """
    scene = slicer.mrmlScene
    if node is None or node.GetMaximumNumberOfControlPoints() != 1:
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", scene.GenerateUniqueName(name))
        node.SetMaximumNumberOfControlPoints(1)
        node.CreateDefaultDisplayNodes()
    node.RemoveAllControlPoints()
    selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
    selection.SetActivePlaceNodeID(node.GetID())
    interaction.SetPlaceModePersistence(0)
    interaction.SetCurrentInteractionMode(interaction.Place)
    return node


def stop_placing() -> None:
    """Leave place mode, wherever it came from."""
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    if interaction is not None and interaction.GetCurrentInteractionMode() == interaction.Place:
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)


def point_lps_mm(node) -> tuple[float, float, float] | None:
    """First point of a markups node in LPS, mm; None without node or point."""
    if node is None or node.GetNumberOfDefinedControlPoints() == 0:
        return None
    ras = [0.0, 0.0, 0.0]
    node.GetNthControlPointPositionWorld(0, ras)
    return (-ras[0], -ras[1], ras[2])
