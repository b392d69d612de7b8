"""How the scene is looked at: the stack in its own plane, a window that shows enhancement, one slice brought up."""

import numpy as np
import slicer

from scarnet.scene.nodes import series_from_volume
from scarnet.segmentation.crop import patient_axes

#: Display window between these percentiles of the heart: blood and scar below white, nulled muscle just above black.
WINDOW_PERCENTILES = (1.0, 99.5)
HEART_MARGIN_PIXELS = 12


def show_in_plane(slice_node, volume) -> None:
    """Turn a `vtkMRMLSliceNode` into the plane in which the stack was acquired: no interpolated stripes.

    Patient left on the right and head or front up, however the array is stored, as readers hang short-axis images.
    """
    geometry = series_from_volume(volume).geometry
    transpose, flip_rows, flip_columns = patient_axes(geometry)
    right, down = geometry.column_direction, geometry.row_direction
    right, down = (down, right) if transpose else (right, down)
    right, down = (-right if flip_columns else right), (-down if flip_rows else down)
    axes = np.stack([right, -down, np.cross(right, -down)], axis=1)
    matrix = slice_node.GetSliceToRAS()
    for row, sign in enumerate((-1.0, -1.0, 1.0)):  # LPS to RAS
        for column in range(3):
            matrix.SetElement(row, column, sign * axes[row, column])
    slice_node.UpdateMatrices()


def jump_to_slice(slice_nodes, volume, index: int) -> None:
    """Bring slice `index` (from 0) of `volume` up in every slice view that shows its plane."""
    geometry = series_from_volume(volume).geometry
    center = geometry.index_to_lps(np.array([index, (geometry.shape[1] - 1) / 2, (geometry.shape[2] - 1) / 2]))
    ras = [-float(center[0]), -float(center[1]), float(center[2])]
    for node in slice_nodes:
        across = np.array([node.GetSliceToRAS().GetElement(i, 2) for i in range(3)])
        normal = geometry.normal * [-1, -1, 1]
        if abs(across @ normal) > 0.99:
            node.JumpSliceByOffsetting(*ras)


def set_window(volume, labels: np.ndarray) -> None:
    """A display window taken from the heart alone, unless the user has set one."""
    display = volume.GetDisplayNode()
    if display is None or not display.GetAutoWindowLevel() or not labels.any():
        return
    box = tuple(
        slice(max(int(i.min()) - HEART_MARGIN_PIXELS, 0), int(i.max()) + HEART_MARGIN_PIXELS + 1)
        for i in np.nonzero(labels.any(axis=0))
    )
    low, high = np.percentile(slicer.util.arrayFromVolume(volume)[(slice(None), *box)], WINDOW_PERCENTILES)
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(float(low), float(high))


def set_plain_window(volume) -> None:
    """A display window taken from the whole image, before there is a heart to take it from; `set_window` may follow."""
    array = slicer.util.arrayFromVolume(volume)
    low, high = np.percentile(array, WINDOW_PERCENTILES)
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(float(low), float(high))


def drag_changes_window(on: bool) -> None:
    """Dragging in a slice view changes window and level, as Slicer's tool bar offers it; or it does what it usually does."""
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    if interaction is not None:
        interaction.SetCurrentInteractionMode(interaction.AdjustWindowLevel if on else interaction.ViewTransform)
