"""One visitor's work: Slicer's scene, its slice view and segment editor, and the presenter that the Slicer module has too.

No page here: `page` shows what this says and passes on what the visitor does. Everything is called on one thread.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from trame_slicer.core import SlicerApp
from trame_slicer.segmentation import (
    SegmentationEffectDraw,
    SegmentationEffectErase,
    SegmentationEffectNoTool,
    SegmentationEffectPaint,
    SegmentationEffectThreshold,
)
from trame_slicer.segmentation.paint_effect_parameters import BrushDiameterMode
from trame_slicer.segmentation.segment_modifier import ModificationMode

from scarnet.app.history import History
from scarnet.app.mosaic import Mosaic, mosaic
from scarnet.errors import InputError
from scarnet.export.overlays import heart_box
from scarnet.panel import PanelParameters, Presenter
from scarnet.panel.presenter import POINTS
from scarnet.scene.correction import apply_editing_rules, mark_dark_cores, restore_masks
from scarnet.scene.dicom_volume import dicom_volume
from scarnet.scene.host import share_globals
from scarnet.scene.nodes import segment_ids, series_from_volume, volume_from_series
from scarnet.scene.points import point_lps_mm, stop_placing
from scarnet.scene.views import drag_changes_window, jump_to_slice, set_plain_window, show_in_plane
from scarnet.segments import SEGMENTS, labels_from_masks
from scarnet.series import LgeSeries

#: What a visitor can hold in the hand: name on the page to trame-slicer's effect.
TOOLS = {
    "view": SegmentationEffectNoTool,
    "window": SegmentationEffectNoTool,
    "paint": SegmentationEffectPaint,
    "erase": SegmentationEffectErase,
    "draw": SegmentationEffectDraw,
    "threshold": SegmentationEffectThreshold,
}
_BRUSHES = ("paint", "erase")
#: Diameter of the brush in mm: from one pixel to a whole wall.
BRUSH_MM, DEFAULT_BRUSH_MM = (1.0, 30.0), 5.0


class Workbench:
    """Attributes
    presenter: state and decisions, as in the Slicer module.
    app: trame-slicer's scene, logics and editor.
    """

    def __init__(self, *, on_change: Callable[[], None] = lambda: None, environment: dict | None = None):
        self.app = app = SlicerApp()
        share_globals(
            app.scene,
            app.app_logic,
            {
                "segmentations": app.segmentations_logic,
                "volumes": app.volumes_logic,
                "terminologies": app.terminologies_logic,
                "subjecthierarchy": app.subject_hierarchy_logic,
                "colors": app.color_logic,
            },
        )
        self._on_change = on_change
        self._files: dict[str, str] = {}
        self._view = None
        self._edited_node = None
        self._series: LgeSeries | None = None
        self._seen_report = None
        self.history = History()
        self.saved = None  # what `work` was when it was last kept elsewhere, for whoever keeps it to say
        self.tool, self.segment, self.brush_mm = "view", "Scar", DEFAULT_BRUSH_MM
        self.overlay_visible, self.overlay_opacity = True, 1.0
        self.threshold: tuple[float, float] = (0.0, 1.0)
        self.dicom = False
        node = app.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "ScarNetSegment")
        self.presenter: Presenter | None = None
        self.presenter = Presenter(
            PanelParameters(node),
            on_change=self._presented,
            python=sys.executable,
            environment=environment,
            dicom_files=lambda uids: [self._files[uid] for uid in uids if uid in self._files],
        )

    # --- what is opened ----------------------------------------------------------------------------------------------

    def attach_view(self, view) -> None:
        """The slice view on which the stack is shown and corrected."""
        view.render_window().SetMultiSamples(
            0
        )  # eight samples a pixel take three times as long without a graphics card
        self._view = view

    def show(self, series: LgeSeries, name: str, *, files: dict[str, str] | None = None) -> None:
        """Put `series` into the scene in place of what was there. `files`: DICOM images by SOP instance UID."""
        self.presenter.cancel()
        self.set_tool("view")
        self._leave()
        self._files = files or {}
        self.dicom = series.source.kind == "dicom" and bool(self._files)
        volume = dicom_volume(series, name) if self.dicom else volume_from_series(series, name)
        self.reset_window(volume)
        self._series = series_from_volume(volume)
        self.presenter.choose_volume(volume)
        self.hang()

    def _leave(self) -> None:
        """What was open goes away, with what was drawn on it."""
        parameters = self.presenter.parameters
        old = [node for node in (parameters.segmentation, parameters.volume) if node is not None]
        self.presenter.choose_segmentation(None)
        self.presenter.choose_volume(None)
        self._let_go()
        self.app.segmentation_editor.clear()
        self._edited_node, self._seen_report, self._series = None, None, None
        self.history.clear()
        self.saved = None
        for node in old:
            self.app.scene.RemoveNode(node)
        self.forget_points()
        for name in ("vtkMRMLSegmentationNode", "vtkMRMLScalarVolumeNode"):
            for node in list(self.app.scene.GetNodesByClass(name)):
                self.app.scene.RemoveNode(node)

    def _let_go(self) -> None:
        """Call before the editor takes another segmentation, or none: trame-slicer's wrapper of the one it had observes the
        node until its own end, and after that the node's next event would call what is no longer there."""
        held = self.app.segmentation_editor.active_segmentation
        tag = getattr(held, "_node_obs", None)  # trame-slicer's own affair, and the only handle on it
        if tag is not None and held.segmentation_node is not None:
            held.segmentation_node.RemoveObserver(tag)

    def hang(self) -> None:
        """The stack in its own plane, its middle slice, as large as the view."""
        volume = self.presenter.parameters.volume
        if self._view is None or volume is None:
            return
        self._view.set_background_volume_id(volume.GetID())
        show_in_plane(self._view.get_view_node(), volume)
        self._view.fit_view_to_content()
        self.go_to_slice(self.slice_count // 2)

    def zoom_to_heart(self) -> None:
        """What is labelled fills the view; the slice stays."""
        masks = self.presenter.masks
        labels = labels_from_masks(masks) if masks else None
        if self._view is None or self._series is None or labels is None or not labels.any():
            return
        geometry, index = self._series.geometry, self.slice_index
        rows, columns = heart_box(labels, geometry)
        middle = np.array([index, (rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2])
        x, y, z = geometry.index_to_lps(middle)
        spacing = geometry.pixel_spacing_mm
        side_mm = max((rows.stop - rows.start) * spacing[0], (columns.stop - columns.start) * spacing[1])
        node = self._view.get_view_node()
        node.JumpSliceByCentering(-float(x), -float(y), float(z))
        width, height, depth = node.GetFieldOfView()
        scale = side_mm / min(width, height)
        node.SetFieldOfView(width * scale, height * scale, depth)
        self._view.schedule_render()

    @property
    def series(self) -> LgeSeries | None:
        """What is open, as the engine sees it."""
        return self._series

    # --- slices ------------------------------------------------------------------------------------------------------

    @property
    def slice_count(self) -> int:
        return 0 if self._series is None else self._series.image.shape[0]

    @property
    def slice_index(self) -> int:
        """Of the slice that the view shows, from 0."""
        if self._series is None or self._view is None:
            return 0
        geometry = self._series.geometry
        matrix = self._view.get_view_node().GetSliceToRAS()
        shown = np.array([-matrix.GetElement(0, 3), -matrix.GetElement(1, 3), matrix.GetElement(2, 3)])
        along = geometry.slice_origins_mm @ geometry.normal
        return int(np.argmin(np.abs(along - shown @ geometry.normal)))

    def go_to_slice(self, index: int) -> None:
        if self._series is not None and self._view is not None:
            index = min(max(int(index), 0), self.slice_count - 1)
            jump_to_slice([self._view.get_view_node()], self.presenter.parameters.volume, index)
            self._view.schedule_render()

    # --- how it looks ------------------------------------------------------------------------------------------------

    @property
    def intensity_range(self) -> tuple[float, float]:
        if self._series is None:
            return (0.0, 1.0)
        return float(self._series.image.min()), float(self._series.image.max())

    @property
    def window(self) -> tuple[float, float]:
        """The values shown black and white."""
        volume = self.presenter.parameters.volume
        display = None if volume is None else volume.GetDisplayNode()
        return (0.0, 1.0) if display is None else (display.GetWindowLevelMin(), display.GetWindowLevelMax())

    def set_window(self, low: float, high: float) -> None:
        volume = self.presenter.parameters.volume
        if volume is not None and high > low:
            volume.GetDisplayNode().AutoWindowLevelOff()
            volume.GetDisplayNode().SetWindowLevelMinMax(float(low), float(high))

    def reset_window(self, volume=None) -> None:
        """From the image alone; once there is a heart, `scarnet.scene.views.set_window` takes it from there."""
        volume = volume or self.presenter.parameters.volume
        if volume is None:
            return
        set_plain_window(volume)
        if not self.can_correct:
            volume.GetDisplayNode().AutoWindowLevelOn()  # nobody has chosen it: the heart may change it

    def show_overlay(self, visible: bool, opacity: float | None = None) -> None:
        self.overlay_visible = visible
        self.overlay_opacity = self.overlay_opacity if opacity is None else float(opacity)
        node = self.presenter.parameters.segmentation
        if node is not None and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(visible)
            node.GetDisplayNode().SetOpacity(self.overlay_opacity)

    def picture(self) -> Mosaic | None:
        """All slices, with what is drawn on them where that is shown."""
        if self._series is None:
            return None
        masks = self.presenter.masks if self.can_correct else {}
        return mosaic(
            self._series.image,
            labels_from_masks(masks) if masks else None,
            self._series.geometry,
            window=self.window,
            columns=4 if self.slice_count > 6 else 3,
            outlined=self.overlay_visible,
        )

    # --- correcting --------------------------------------------------------------------------------------------------

    @property
    def segments(self) -> list[dict]:
        """Those that can be corrected: id, name and colour."""
        return [
            {
                "id": s.segment_id,
                "name": s.name,
                "short": {"LVMyocardium": "Muscle", "LVBloodPool": "Blood"}.get(s.segment_id, s.segment_id),
                "color": "#" + "".join(f"{round(255 * c):02x}" for c in s.color),
            }
            for s in SEGMENTS
        ]

    @property
    def can_correct(self) -> bool:
        return self.presenter.parameters.segmentation is not None

    @property
    def work(self) -> tuple:
        """How the segments are, and whether a reader has reviewed them: to be compared."""
        return self.history.now, self.presenter.reviewed

    @property
    def unsaved(self) -> bool:
        """Whether there are corrections, or a review, that were not exported as they are now."""
        self.settle()
        (now, reviewed), report = self.work, self.presenter.report
        if now is None:
            return False
        if report is None:  # there was one: so much was erased that nothing can be measured
            return True
        return bool(reviewed or report.provenance.get("edits")) and self.work != self.saved

    def segment_scar(self) -> None:
        """Asked for twice, it runs once. No tool corrects meanwhile: the result takes the place of what is drawn."""
        if not self.presenter.running:
            self.set_tool("view")
            self.presenter.segment()

    def set_segment(self, definition: str) -> None:
        """Which structure is painted. Raises InputError for a name that is none."""
        if definition not in [s.segment_id for s in SEGMENTS]:
            raise InputError(f"There is no structure {definition!r} to correct.")
        self.segment = definition
        self._apply_rules()

    def set_tool(self, tool: str) -> None:
        """One of TOOLS. Raises InputError for another name."""
        if tool not in TOOLS:
            raise InputError(f"There is no tool {tool!r}.")
        editor = self.app.segmentation_editor
        if (not self.can_correct or self.presenter.running) and tool not in ("view", "window"):
            tool = "view"
        self.tool = tool
        # Effects are asked for late: one that is made before its view is shown nowhere.
        editor.set_active_effect_type(TOOLS[tool])
        drag_changes_window(tool == "window")
        self._apply_rules()
        if tool == "threshold":
            # As in Slicer: the segment becomes what lies between the thresholds.
            editor.active_effect.set_mode(ModificationMode.Set)
            self.set_threshold(*self.threshold)
        elif tool in _BRUSHES:
            editor.active_effect.set_brush_diameter(self.brush_mm, BrushDiameterMode.Absolute)

    def set_brush_mm(self, diameter_mm: float) -> None:
        self.brush_mm = min(max(float(diameter_mm), BRUSH_MM[0]), BRUSH_MM[1])
        if self.tool in _BRUSHES:
            effect = self.app.segmentation_editor.active_effect
            effect.set_brush_diameter(self.brush_mm, BrushDiameterMode.Absolute)

    def set_threshold(self, low: float, high: float) -> None:
        self.threshold = (float(low), float(high))
        if self.tool == "threshold":
            self.app.segmentation_editor.active_effect.set_threshold_min_max_values(self.threshold)

    def apply_threshold(self) -> None:
        """The chosen structure becomes what lies between the thresholds, where it may be."""
        if self.tool == "threshold" and self.can_correct:
            self.app.segmentation_editor.active_effect.apply()
            self.set_tool("view")

    @property
    def points(self) -> list[dict]:
        """Landmarks that a reader may give: parameter, name, and whether it is placed."""
        parameters = self.presenter.parameters
        return [
            {"which": which, "name": name, "placed": point_lps_mm(getattr(parameters, which)) is not None}
            for which, name in POINTS.items()
        ]

    def pick(self, which: str) -> None:
        """The next click in the slice view places one of POINTS."""
        if which in POINTS and self._series is not None:
            self.set_tool("view")
            self.presenter.pick(which)

    def forget_points(self) -> None:
        """All are found by the program again."""
        stop_placing()
        for which in POINTS:
            node = getattr(self.presenter.parameters, which)
            setattr(self.presenter.parameters, which, None)
            if node is not None:
                self.app.scene.RemoveNode(node)
        self.presenter.refresh()

    def mark_cores(self) -> int:
        """Muscle that scar encloses becomes MVO; returns how many pixels."""
        parameters = self.presenter.parameters
        return 0 if parameters.segmentation is None else mark_dark_cores(parameters.segmentation, parameters.volume)

    def undo(self) -> None:
        self.settle()
        if self.history.can_undo:
            self._restore(self.history.undo())

    def redo(self) -> None:
        self.settle()
        if self.history.can_redo:
            self._restore(self.history.redo())

    def settle(self) -> None:
        """Take in now what was drawn just now."""
        if self.presenter.edited:
            self.presenter.refresh()

    def _restore(self, masks: dict[str, np.ndarray]) -> None:
        parameters = self.presenter.parameters
        restore_masks(parameters.segmentation, parameters.volume, masks, self.presenter.masks)
        self.presenter.refresh()

    # --- what follows ------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Call every few hundredths of a second."""
        self.presenter.tick()
        if self.tool in _BRUSHES:  # turned with the wheel, in the view
            self.brush_mm = float(self.app.segmentation_editor.active_effect.get_brush_diameter())

    def export(self, parent: Path, *, dicom: bool, scene: bool) -> Path:
        """What the command line writes, in a new folder in `parent`; returns it. Raises ScarNetError."""
        self.settle()
        written = self.presenter.export(parent, dicom=dicom and self.dicom, scene=scene)
        return next(iter(written.values())).parent

    def close(self) -> None:
        self.presenter.close()

    def _presented(self) -> None:
        """The presenter has something new: the editor and the history follow, then whoever shows it."""
        if self.presenter is None:
            return  # its first word, while it is made
        node, volume = self.presenter.parameters.segmentation, self.presenter.parameters.volume
        if node is not None and volume is not None and node is not self._edited_node:
            self._edited_node = node
            self.history.clear()
            self.saved = None
            self._let_go()
            self.app.segmentation_editor.set_active_segmentation(node, volume)
            self.set_tool("view")
            self.zoom_to_heart()
            self.show_overlay(self.overlay_visible)
            low, high = self.window
            self.threshold = ((low + high) / 2, self.intensity_range[1])
        if self.presenter.report is not None and self.presenter.report is not self._seen_report:
            self._seen_report = self.presenter.report
            self.history.see(self.presenter.masks)
        self._on_change()

    def _apply_rules(self) -> None:
        node = self.presenter.parameters.segmentation
        if node is None:
            return
        ids = segment_ids(node).get(self.segment)
        if not ids:
            return
        editor = self.app.segmentation_editor
        editor.set_active_segment_id(ids[0])
        editor.editor_node.SetSelectedSegmentID(ids[0])
        apply_editing_rules(editor.editor_node, node)
