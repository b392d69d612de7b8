"""State and decisions of the Slicer panel. No Qt: a widget shows what this says and passes on what the user does."""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
import vtk

from scarnet.errors import ScarNetError
from scarnet.export.bullseye import bullseye
from scarnet.panel.job import JobState, Progress, SegmentationJob
from scarnet.panel.parameters import PanelParameters
from scarnet.panel.record import recall, remember, remove_orphans
from scarnet.quantification import QuantificationParameters, ScarReport, quantify, summarise_edits
from scarnet.quantification.quantify import REVIEW_DOUBT
from scarnet.scene.correction import follow_erasures
from scarnet.scene.nodes import (
    fill_table,
    masks_from_segmentation,
    new_segmentation,
    segment_ids,
    series_from_volume,
)
from scarnet.scene.views import set_window
from scarnet.segments import ALGORITHM_TYPE_TAG, labels_from_masks
from scarnet.series import LgeSeries

#: Numbers follow an edit after this pause: a stroke in progress is not measured at every pixel.
SETTLE_SECONDS = 0.05


@dataclass(frozen=True)
class Button:
    text: str
    enabled: bool
    tooltip: str


@dataclass(frozen=True)
class Message:
    """`kind`: info, warning or error."""

    kind: str
    text: str


@dataclass(frozen=True)
class SliceRow:
    index: int
    scar_volume_ml: float
    scar_percent: float | None
    doubt: float | None
    review: bool


class Presenter:
    """One panel on one scene.

    `on_change`: called, on the caller's thread, after anything that is shown has changed. `start_job`: starts a
    segmentation; takes a series and the keywords of SegmentationJob. `translate`: Slicer's `_`.
    """

    def __init__(
        self,
        parameters: PanelParameters,
        *,
        on_change: Callable[[], None] = lambda: None,
        start_job: Callable[..., SegmentationJob] = SegmentationJob,
        translate: Callable[[str], str] = lambda text: text,
        python: str = sys.executable,
        environment: dict | None = None,
    ):
        self.parameters = parameters
        self.report: ScarReport | None = None
        self.message: Message | None = None
        self._changed = on_change
        self._start_job, self._python, self._environment = start_job, python, environment
        self._ = translate
        self._job: SegmentationJob | None = None
        self._job_volume_id, self._job_content = "", ""
        self._masks: dict[str, np.ndarray] = {}
        self._labels: np.ndarray | None = None
        self._edited_at: float | None = None
        self._own_edit = False
        self._insertion: tuple[float, float, float] | None = None
        self._observed: tuple | None = None
        self._series_cache: tuple[tuple, LgeSeries] | None = None
        self._scene_tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._on_node_removed)
        self.refresh()

    # --- what is shown ----------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._job is not None

    @property
    def progress(self) -> Progress | None:
        return None if self._job is None else self._job.progress

    @property
    def progress_text(self) -> str:
        progress = self.progress
        if progress is None:
            return ""
        if progress.seconds_left is None:
            return progress.text
        return self._("{text}, about {seconds} s left").format(
            text=progress.text, seconds=max(1, round(progress.seconds_left))
        )

    @property
    def problems(self) -> list[str]:
        """Why no segmentation can be started; empty when one can."""
        if self.parameters.volume is None:
            return [self._("Choose the LGE short-axis volume first.")]
        try:
            self._series()
        except ScarNetError as error:
            return [str(error)]
        center = self.parameters.lv_center
        if center is not None and center.GetNumberOfControlPoints() == 0:
            return [self._("The LV centre has no point: place one inside the ventricle, or choose none.")]
        return []

    @property
    def segment_button(self) -> Button:
        if self.running:
            return Button(self._("Cancel"), True, self._("Stop the segmentation; the scene stays as it was."))
        problems = self.problems
        tooltip = "\n".join(problems) or self._("Segment LV myocardium and scar in a new segmentation.")
        return Button(self._("Segment scar"), not problems, tooltip)

    @property
    def export_button(self) -> Button:
        if self.report is None:
            return Button(
                self._("Export report"), False, self._("There is no report yet: segment or draw the myocardium.")
            )
        return Button(self._("Export report"), True, self._("Write report, tables and segmentation into a folder."))

    @property
    def slices(self) -> list[SliceRow]:
        """Slices of the ventricle, the most doubtful first; without doubt, in order."""
        if self.report is None:
            return []
        rows = [
            SliceRow(s.index, s.scar_volume_ml, s.scar_percent, s.doubt, (s.doubt or 0) > REVIEW_DOUBT)
            for s in self.report.slices
            if s.myocardium_volume_ml + s.blood_pool_volume_ml > 0
        ]
        return sorted(rows, key=lambda row: (-(row.doubt or 0), row.index))

    @property
    def bullseye_svg(self) -> str:
        """Scar percent of the AHA segments; empty without a report or without segments."""
        return bullseye(self.report.aha17, show="scar_percent") if self.report and self.report.aha17 else ""

    # --- what the user does -----------------------------------------------------------------------------------------

    def choose_volume(self, volume) -> None:
        """Another LGE volume; a segmentation of another volume is let go of, not deleted."""
        if volume is self.parameters.volume:
            return
        self.parameters.volume = volume
        node = self.parameters.segmentation
        if node is not None and node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is not volume:
            self.parameters.segmentation = None
        self.message = None
        self.refresh()

    def choose_segmentation(self, node) -> None:
        """Show and measure another segmentation, ours or not."""
        if node is not self.parameters.segmentation:
            self.parameters.segmentation = node
            self.refresh()

    def segment_or_cancel(self) -> None:
        if self.running:
            self.cancel()
        else:
            self.segment()

    def segment(self) -> None:
        """Start a segmentation of the chosen volume; `tick` brings its end."""
        problems = self.problems
        if problems:
            self._say("error", problems[0])
            return
        volume, series = self.parameters.volume, self._series()
        try:
            self._job = self._start_job(
                series,
                model=self.parameters.model,
                device=self.parameters.device,
                lv_center_lps_mm=_point_lps_mm(self.parameters.lv_center),
                python=self._python,
                environment=self._environment,
            )
        except OSError as error:
            self._say("error", self._("The segmentation could not be started: {reason}").format(reason=error))
            return
        self._job_volume_id, self._job_content = volume.GetID(), series.source.content_sha256
        self.message = None
        self._changed()

    def cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._end_job()
            self._say("info", self._("Cancelled; nothing was changed."))

    def tick(self) -> None:
        """Call every tenth of a second or so: follows the worker, and measures what was edited."""
        if self._job is not None and self._job.poll():
            if self._job.state == JobState.RUNNING:
                self._changed()
            else:
                self._take_in()
        if self.report is not None and _point_lps_mm(self.parameters.rv_insertion) != self._insertion:
            self._edited_at = self._edited_at or time.monotonic()  # the landmark was dragged
        if self._edited_at is not None and time.monotonic() - self._edited_at >= SETTLE_SECONDS:
            self.refresh()

    def export(self, folder: Path) -> dict[str, Path]:
        """Write report, tables and segmentation as the command line does. Raises ScarNetError."""
        from scarnet.export import write_outputs  # needs packages that Slicer installs on demand

        self.refresh()
        if self.report is None:
            raise ScarNetError(self._("There is no report to export."))
        node = self.parameters.segmentation
        written = write_outputs(folder, self._series(), self._labels, self.report, segmentation=recall(node))
        self._say("info", self._("Exported to {folder}.").format(folder=folder))
        return written

    def refresh(self) -> None:
        """Measure the segmentation as it is now, and show it."""
        self._edited_at = None
        self._observe(self.parameters.segmentation)
        self.report, self._labels = None, None
        node, volume = self.parameters.segmentation, self.parameters.volume
        if node is not None and volume is not None:
            try:
                self._measure(node, volume)
            except ScarNetError as error:
                self.message = Message("warning", str(error))
        self._changed()

    def close(self) -> None:
        """The panel, its scene or Slicer goes away."""
        if self._job is not None:
            self._job.cancel()
            self._end_job()
        self._observe(None)
        if self._scene_tag is not None:
            slicer.mrmlScene.RemoveObserver(self._scene_tag)
            self._scene_tag = None
        self._changed = lambda: None

    # --- how --------------------------------------------------------------------------------------------------------

    def _measure(self, node, volume) -> None:
        series = self._series()
        masks = masks_from_segmentation(node, volume)
        if self._masks and self._same_grid(masks):
            self._own_edit = True
            try:
                follow_erasures(node, volume, self._masks, masks)
            finally:
                self._own_edit = False
        self._masks = masks
        if "LVMyocardium" not in masks:
            raise ScarNetError(
                self._("The segmentation has no segment of the LV myocardium: name one 'LV myocardium'.")
            )
        labels = labels_from_masks(masks)
        run = recall(node)
        if run is not None and run.labels.shape != labels.shape:
            run = None  # the record belongs to another grid: not to this volume
        edits = None if run is None else summarise_edits(run.labels, labels, series.geometry)
        if edits is not None:
            self._mark_edited(node, edits)
        insertion = _point_lps_mm(self.parameters.rv_insertion)
        self._insertion = insertion
        self.report = quantify(
            series,
            labels,
            parameters=QuantificationParameters(self.parameters.density_g_per_ml, insertion),
            segmentation=run,
            provenance={"edits": edits},
        )
        self._labels = labels
        table = fill_table(self.report, self.parameters.table)
        if self.parameters.table is not table:
            self.parameters.table = table

    def _mark_edited(self, node, edits: dict) -> None:
        """Segments that a hand has touched are no longer AUTOMATIC, in DICOM's words."""
        names = {
            "LV myocardium": "LVMyocardium",
            "Scar": "Scar",
            "Microvascular obstruction": "MVO",
            "LV blood pool": "LVBloodPool",
        }
        ids = segment_ids(node)
        self._own_edit = True
        try:
            for name in edits:
                for segment_id in ids.get(names[name], []):
                    segment = node.GetSegmentation().GetSegment(segment_id)
                    value = vtk.mutable("")
                    if segment.GetTag(ALGORITHM_TYPE_TAG, value) and str(value) == "AUTOMATIC":
                        segment.SetTag(ALGORITHM_TYPE_TAG, "SEMIAUTOMATIC")
        finally:
            self._own_edit = False

    def _take_in(self) -> None:
        """The worker has ended: into the scene, or a sentence why not."""
        job, volume = self._job, slicer.mrmlScene.GetNodeByID(self._job_volume_id)
        content = self._job_content
        self._end_job()
        for line in job.log:
            logging.info("ScarNet: %s", line)
        if job.state != JobState.DONE:
            self._say("error", job.error or self._("The segmentation failed."))
            return
        try:
            unchanged = volume is not None and series_from_volume(volume).source.content_sha256 == content
        except ScarNetError:
            unchanged = False
        if not unchanged:
            self._say(
                "warning", self._("The volume was changed or removed while it was being segmented; run it again.")
            )
            return
        self._add_result(volume, job.result)
        warnings = len(self.report.quality.warnings) if self.report is not None else 0
        text = self._("Segmented.")
        if warnings:
            text = self._("Segmented, with {count} warning(s): {first}").format(
                count=warnings, first=self.report.quality.warnings[0]
            )
        self._say("warning" if warnings else "info", text)

    def _add_result(self, volume, result) -> None:
        previous = self.parameters.segmentation
        name = slicer.mrmlScene.GenerateUniqueName(f"{volume.GetName()} scar")
        node = new_segmentation(result.labels, volume, name, model=result.model)
        remember(node, volume, result)
        set_window(volume, result.labels)
        if previous is not None and previous.GetDisplayNode() is not None:
            previous.GetDisplayNode().SetVisibility(False)  # kept, with every edit in it; two overlays hide each other
        self.parameters.volume = volume
        self.parameters.segmentation = node
        self._masks = {}
        self.refresh()

    def _end_job(self) -> None:
        self._job, self._job_volume_id, self._job_content = None, "", ""

    def _say(self, kind: str, text: str) -> None:
        self.message = Message(kind, text)
        self._changed()

    def _series(self) -> LgeSeries:
        """The chosen volume as a series, read again only when it has changed."""
        volume = self.parameters.volume
        parent = None if volume is None else volume.GetParentTransformNode()
        image = None if volume is None else volume.GetImageData()
        key = tuple(None if item is None else (id(item), item.GetMTime()) for item in (volume, image, parent))
        if parent is not None:
            key = (*key, parent.GetTransformToWorldMTime())
        if self._series_cache is None or self._series_cache[0] != key:
            self._series_cache = (key, series_from_volume(volume))
        return self._series_cache[1]

    def _same_grid(self, masks: dict[str, np.ndarray]) -> bool:
        shapes = {mask.shape for mask in (*masks.values(), *self._masks.values())}
        return len(shapes) == 1

    def _observe(self, node) -> None:
        """Follow edits of `node` alone."""
        if self._observed is not None and self._observed[0] is node:
            return
        if self._observed is not None:
            _, segmentation, tags = self._observed
            for tag in tags:
                segmentation.RemoveObserver(tag)
        self._observed, self._masks = None, {}
        if node is not None:
            segmentation = node.GetSegmentation()
            events = (
                slicer.vtkSegmentation.SourceRepresentationModified,
                slicer.vtkSegmentation.SegmentAdded,
                slicer.vtkSegmentation.SegmentRemoved,
                slicer.vtkSegmentation.SegmentModified,
            )
            self._observed = (node, segmentation, [segmentation.AddObserver(e, self._on_edited) for e in events])

    def _on_edited(self, caller, event) -> None:
        if not self._own_edit:
            self._edited_at = time.monotonic()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_removed(self, caller, event, node) -> None:
        if node is None or slicer.mrmlScene.IsClosing():
            return
        if node.IsA("vtkMRMLSegmentationNode"):
            remove_orphans()
        if node.IsA("vtkMRMLSegmentationNode") or node.IsA("vtkMRMLScalarVolumeNode"):
            self._edited_at = time.monotonic()  # what is shown may have been about it


def _point_lps_mm(markup) -> tuple[float, float, float] | None:
    """First point of a markups node, in the engine's coordinates; None without node or point."""
    if markup is None or markup.GetNumberOfControlPoints() == 0:
        return None
    ras = [0.0, 0.0, 0.0]
    markup.GetNthControlPointPositionWorld(0, ras)
    return (-ras[0], -ras[1], ras[2])
