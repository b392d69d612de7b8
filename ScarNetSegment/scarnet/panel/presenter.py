"""State and decisions of the Slicer panel. No Qt: a widget shows what this says and passes on what the user does."""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import slicer
import vtk

from scarnet.errors import ScarNetError
from scarnet.export.bullseye import bullseye
from scarnet.export.content import ModelValues, method_name, model_values
from scarnet.panel.job import JobState, Progress, SegmentationJob
from scarnet.panel.parameters import PanelParameters
from scarnet.panel.record import (
    MODEL,
    READER,
    changed_since_measured,
    history,
    note,
    recall,
    remember,
    remember_measured,
    remove_orphans,
)
from scarnet.quantification import QuantificationParameters, ScarReport, quantify, summarise_edits
from scarnet.quantification.quantify import concern
from scarnet.scene.correction import follow_erasures
from scarnet.scene.nodes import (
    fill_table,
    lies_on,
    masks_from_segmentation,
    new_segmentation,
    reading_key,
    reference_volume,
    segment_ids,
    series_from_volume,
)
from scarnet.scene.points import point_lps_mm, start_placing, stop_placing
from scarnet.scene.review import is_reviewed, mark_reviewed, mark_unreviewed
from scarnet.scene.views import set_window
from scarnet.segments import ALGORITHM_TYPE_TAG, algorithm_name, labels_from_masks
from scarnet.series import LgeSeries, StackGeometry
from scarnet.series.dicom import with_dicom_files

#: Points that a user may place in a view: parameter, name of the node.
POINTS = {"lv_center": "LV centre", "rv_insertion": "Anterior RV insertion", "remote": "Remote muscle"}
#: Numbers follow an edit after this pause: a stroke in progress is not measured at every pixel.
SETTLE_SECONDS = 0.03


@dataclass(frozen=True)
class Button:
    text: str
    enabled: bool
    tooltip: str


@dataclass(frozen=True)
class Message:
    """`kind`: info, warning or error. `folder`: where something was written, to be opened from the panel."""

    kind: str
    text: str
    folder: str = ""


@dataclass(frozen=True)
class ReportRow:
    """As shown. `model`: what the model had outlined, where a hand has changed it since."""

    measure: str
    value: str
    model: str = ""


@dataclass(frozen=True)
class SliceRow:
    index: int
    scar_volume_ml: float
    scar_percent: float | None
    doubt: float | None
    scar_doubt: float | None
    concern: float

    @property
    def review(self) -> bool:
        return self.concern > 1


class Presenter:
    """One panel on one scene.

    `on_change`: called, on the caller's thread, after anything that is shown has changed. `start_job`: starts a
    segmentation; takes a series and the keywords of SegmentationJob. `translate`: Slicer's `_`. `dicom_files`: paths of
    the images with given SOP instance UIDs, as far as Slicer's DICOM database knows them.
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
        dicom_files: Callable[[tuple[str, ...]], list[str]] = lambda uids: [],
    ):
        self.parameters = parameters
        self.report: ScarReport | None = None
        self.message: Message | None = None
        self._changed = on_change
        self._start_job, self._python, self._environment = start_job, python, environment
        self._, self._dicom_files = translate, dicom_files
        self._job: SegmentationJob | None = None
        self._job_volume_id, self._job_content = "", ""
        self._masks: dict[str, np.ndarray] = {}
        self._grid: StackGeometry | None = None
        self._labels: np.ndarray | None = None
        self._edited_at: float | None = None
        self._own_edit = False
        self._points = self._placed_points()
        self._observed: tuple | None = None
        self._series_cache: tuple[tuple, LgeSeries] | None = None
        self._scene_tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._on_node_removed)
        self.refresh()

    # --- what is shown ----------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._job is not None

    @property
    def edited(self) -> bool:
        """Whether something was drawn that is not measured yet."""
        return self._edited_at is not None

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """The segments as they were last measured, as `masks_from_segmentation` gives them; reading them asks nothing of
        Slicer, which might take reading for a change. Not to be written to."""
        return self._masks

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
        if center is not None and point_lps_mm(center) is None:
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
        text = self._("Export report")
        if self.report is None:
            return Button(text, False, self._("There is no report yet: segment or draw the myocardium."))
        return Button(text, True, self._("Write report, tables and segmentation into a new folder."))

    @property
    def core_button(self) -> Button:
        text = self._("Mark dark cores as MVO")
        if self.report is None:
            return Button(text, False, self._("There are no segments yet: segment or draw the myocardium."))
        if self.report.scar.volume_ml == 0:
            return Button(text, False, self._("There is no scar that could enclose a dark core."))
        if "MVO" not in self._masks:
            return Button(text, False, self._("There is no segment for them: name one 'Microvascular obstruction'."))
        return Button(
            text,
            True,
            self._(
                "Muscle that scar encloses becomes microvascular obstruction, and scar with it. Undo takes it back."
            ),
        )

    @property
    def reviewed(self) -> bool:
        return self.report is not None and is_reviewed(self.parameters.segmentation)

    @property
    def reviewed_button(self) -> Button:
        if self.report is None:
            return Button(
                self._("Mark as reviewed"), False, self._("There are no segments yet: segment or draw the myocardium.")
            )
        if self.reviewed:
            return Button(self._("Reviewed"), True, self._("Click to take the review back; a correction does so too."))
        return Button(
            self._("Mark as reviewed"),
            True,
            self._("A qualified reader has looked at every slice and takes the outlines as they are."),
        )

    @property
    def dicom_button(self) -> Button:
        """Of the choice to export DICOM; disabled, with the reason, for a volume that DICOM knows nothing of."""
        text = self._("DICOM SEG and SR")
        try:
            known = self.parameters.volume is not None and self._series().source.kind == "dicom"
        except ScarNetError:
            known = False
        if known:
            return Button(
                text, True, self._("For the archive. These two files carry the patient's name, as the images do.")
            )
        return Button(
            text,
            False,
            self._(
                "DICOM results refer to DICOM images: load the series from Slicer's DICOM module, without a transform."
            ),
        )

    @property
    def rows(self) -> list[ReportRow]:
        """The report's main numbers as a reader writes them, and the model's own beside what was corrected."""
        if self.report is None:
            return []
        _, report = self._, self.report
        model = model_values(report) if report.provenance.get("edits") else None
        percent = f"{report.scar.percent_lv:.1f} %"
        if report.scar.percent_lv_interval is not None:
            low, high = report.scar.percent_lv_interval
            percent = _("{value} ({low:.0f} to {high:.0f} %)").format(value=percent, low=low, high=high)

        def row(measure: str, now: float, before: Callable[[ModelValues], float | None], unit: str, value: str = ""):
            own = None if model is None else before(model)
            unchanged = own is None or round(own, 3) == round(now, 3)
            return ReportRow(measure, value or f"{now:.1f} {unit}", "" if unchanged else f"{own:.1f} {unit}")

        rows = [
            row(_("Scar, of LV"), report.scar.percent_lv, lambda m: m.scar_percent_lv, "%", percent),
            row(_("Scar volume"), report.scar.volume_ml, lambda m: m.scar_volume_ml, "mL"),
            row(_("Scar mass"), report.scar.mass_g, lambda m: m.scar_volume_ml * m.density_g_per_ml, "g"),
            row(_("LV myocardium"), report.lv.myocardium_volume_ml, lambda m: m.myocardium_volume_ml, "mL"),
            row(_("LV mass"), report.lv.mass_g, lambda m: m.myocardium_volume_ml * m.density_g_per_ml, "g"),
            row(_("MVO"), report.mvo.volume_ml, lambda m: m.mvo_volume_ml, "mL"),
            row(_("LV blood pool"), report.lv.blood_pool_volume_ml, lambda m: m.blood_pool_volume_ml, "mL"),
        ]
        compared = report.thresholds.get(self.parameters.method)
        if compared is not None:
            name = _("{method}, to compare").format(method=method_name(self.parameters.method))
            rows.insert(3, ReportRow(name, f"{compared.percent_lv:.1f} %, {compared.volume_ml:.1f} mL"))
        return rows

    @property
    def slices(self) -> list[SliceRow]:
        """Slices of the ventricle, the most doubtful first; without doubt, in order."""
        if self.report is None:
            return []
        rows = [
            SliceRow(s.index, s.scar_volume_ml, s.scar_percent, s.doubt, s.scar_doubt, concern(s))
            for s in self.report.slices
            if s.myocardium_volume_ml + s.blood_pool_volume_ml > 0
        ]
        return sorted(rows, key=lambda row: (-row.concern, row.index))

    @property
    def bullseye_svg(self) -> str:
        """Scar percent of the AHA segments; empty without a report or without segments."""
        return bullseye(self.report.aha17, show="scar_percent") if self.report and self.report.aha17 else ""

    # --- what the user does -----------------------------------------------------------------------------------------

    def choose_volume(self, volume) -> None:
        """Another LGE volume; a segmentation of another volume, and points placed in it, are let go of, not deleted."""
        if volume is self.parameters.volume:
            return
        self._set_volume(volume)
        node = self.parameters.segmentation
        if node is not None and reference_volume(node) is not volume:
            self.parameters.segmentation = None
        self.message = None
        self.refresh()

    def choose_segmentation(self, node) -> None:
        """Show and measure another segmentation, ours or not; with its own volume, where the chosen one lies elsewhere."""
        if node is self.parameters.segmentation:
            return
        self.parameters.segmentation = node
        own, volume = (None, None) if node is None else (reference_volume(node), self.parameters.volume)
        if own is not None and own is not volume and (volume is None or not self._lies_on(node, volume)):
            self._set_volume(own)
            self.message = Message(
                "info",
                self._("{volume} was chosen too: the segmentation was drawn on it.").format(volume=own.GetName()),
            )
        self.refresh()

    def _set_volume(self, volume) -> None:
        for which in POINTS:  # of another patient, perhaps of one whose volume was deleted
            setattr(self.parameters, which, None)
        self.parameters.volume = volume

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
                lv_center_lps_mm=point_lps_mm(self.parameters.lv_center),
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
        """Call every few hundredths of a second: follows the worker, and measures what was edited."""
        if self._job is not None and self._job.poll():
            if self._job.state == JobState.RUNNING:
                self._changed()
            else:
                self._take_in()
        if self._placed_points() != self._points:
            self._edited_at = self._edited_at or time.monotonic()  # a landmark was placed or dragged
        if self._edited_at is not None and time.monotonic() - self._edited_at >= SETTLE_SECONDS:
            self.refresh()

    def pick(self, which: str) -> None:
        """Let the user place one of POINTS with the next click in a view."""
        node = start_placing(self._(POINTS[which]), getattr(self.parameters, which))
        setattr(self.parameters, which, node)
        self._say("info", self._("Click in a slice view to place: {point}.").format(point=self._(POINTS[which])))

    def toggle_reviewed(self) -> None:
        """A reader accepts the outlines as they are, or takes that back."""
        node = self.parameters.segmentation
        if node is None or self.report is None:
            return
        reviewed = is_reviewed(node)
        with self._own_edits():
            if reviewed:
                mark_unreviewed(node, flagged=bool(self.report.quality.review))
            else:
                mark_reviewed(node)
        note(node, READER, "review withdrawn" if reviewed else "reviewed")
        self.message = None
        self.refresh()

    def export(self, parent: Path, *, dicom: bool = False, scene: bool = False) -> dict[str, Path]:
        """Write report, tables and segmentation as the command line does, into a new folder in `parent`.

        A folder for every export: no patient's report replaces another's. `dicom`: SEG and SR too; `scene`: the whole
        scene as .mrb. Returns the paths by file name. Raises ScarNetError.
        """
        from scarnet.export import write_outputs  # needs packages that Slicer installs on demand

        self.refresh()
        if self.report is None:
            raise ScarNetError(self._("There is no report to export."))
        run = recall(self.parameters.segmentation, self.parameters.volume)
        folder = _new_folder(Path(parent))
        written = write_outputs(folder, self._series(), self._labels, self.report, segmentation=run, with_dicom=dicom)
        if scene:
            written["scene.mrb"] = self._save_scene(folder)
        text = self._("Exported to {folder}: {names}.").format(folder=folder, names=", ".join(sorted(written)))
        self.message = Message("info", text, str(folder))
        self._changed()
        return written

    def _save_scene(self, folder: Path) -> Path:
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as stage:
            part = Path(stage) / "scene.mrb"
            if not slicer.mrmlScene.WriteToMRB(str(part)) or not part.is_file():
                raise ScarNetError(
                    self._("The report is in {folder}, but the scene could not be saved there.").format(folder=folder)
                )
            os.replace(part, folder / part.name)
        return folder / "scene.mrb"

    def refresh(self) -> None:
        """Measure the segmentation as it is now, and show it."""
        self._edited_at, self._points = None, self._placed_points()
        node, volume = self.parameters.segmentation, self.parameters.volume
        self._observe(node)
        self.report, self._labels = None, None
        if node is not None and volume is not None:
            try:
                with (
                    self._own_edits()
                ):  # reading a segment may make Slicer say that it changed: measuring is no correction
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
        stop_placing()
        if self._scene_tag is not None:
            slicer.mrmlScene.RemoveObserver(self._scene_tag)
            self._scene_tag = None
        self._changed = lambda: None

    # --- how --------------------------------------------------------------------------------------------------------

    def _measure(self, node, volume) -> None:
        series = self._series()
        masks = masks_from_segmentation(node, volume)
        if self._masks and series.geometry.matches(self._grid):
            with self._own_edits():
                follow_erasures(node, volume, self._masks, masks)
        self._masks, self._grid = masks, series.geometry
        if "LVMyocardium" not in masks:
            raise ScarNetError(
                self._("The segmentation has no segment of the LV myocardium: name one 'LV myocardium'.")
            )
        labels = labels_from_masks(masks)
        run = recall(node, volume)
        edits = None if run is None else summarise_edits(run.labels, labels, series.geometry)
        if edits is not None:
            self._mark_edited(node, edits)
        in_place = self._lies_on(node, volume)
        if in_place:
            self._note_correction(node, labels, series.geometry)
        self.report = quantify(
            self._with_word_on_place(series, in_place),
            labels,
            parameters=QuantificationParameters(
                self.parameters.density_g_per_ml,
                point_lps_mm(self.parameters.rv_insertion),
                point_lps_mm(self.parameters.remote),
            ),
            segmentation=run,
            provenance={"edits": edits, "reviewed": is_reviewed(node), "history": history(node)},
        )
        self._labels = labels
        table = fill_table(self.report, self.parameters.table)
        if self.parameters.table is not table:
            self.parameters.table = table

    @contextmanager
    def _own_edits(self):
        """Changes of ours to the segmentation, which are not a user's corrections."""
        before, self._own_edit = self._own_edit, True
        try:
            yield
        finally:
            self._own_edit = before

    def _mark_edited(self, node, edits: dict) -> None:
        """Segments that a hand has touched are no longer AUTOMATIC, in DICOM's words."""
        names = {
            "LV myocardium": "LVMyocardium",
            "Scar": "Scar",
            "Microvascular obstruction": "MVO",
            "LV blood pool": "LVBloodPool",
        }
        ids = segment_ids(node)
        with self._own_edits():
            for name in edits:
                for segment_id in ids.get(names[name], []):
                    segment = node.GetSegmentation().GetSegment(segment_id)
                    value = vtk.mutable("")
                    if segment.GetTag(ALGORITHM_TYPE_TAG, value) and str(value) == "AUTOMATIC":
                        segment.SetTag(ALGORITHM_TYPE_TAG, "SEMIAUTOMATIC")

    def _note_correction(self, node, labels: np.ndarray, geometry: StackGeometry) -> None:
        """Into the history, and a review that came before it no longer holds; also of what was drawn in other modules."""
        changes = changed_since_measured(node, labels, geometry)
        remember_measured(node, labels, geometry)
        if changes is None:
            return
        note(node, READER, "corrected", changes)
        if is_reviewed(node):
            with self._own_edits():
                mark_unreviewed(node)

    def _with_word_on_place(self, series: LgeSeries, in_place: bool) -> LgeSeries:
        """With a warning, also in the panel, where the segmentation was drawn on other images than it is measured on."""
        text = self._(
            "The segmentation was drawn on another field of view than this volume's, or one of the two was moved since: "
            "check that they belong together."
        )
        if in_place:
            if self.message is not None and self.message.text == text:
                self.message = None
            return series
        self.message = Message("warning", text)
        return replace(series, warnings=(*series.warnings, text))

    @staticmethod
    def _lies_on(node, volume) -> bool:
        try:
            return lies_on(node, volume)
        except ScarNetError:  # under a warping transform
            return False

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
        note(node, MODEL, f"segmented by {algorithm_name(result.model)}")
        self.refresh()
        if self.report is not None:
            with self._own_edits():
                mark_unreviewed(node, flagged=bool(self.report.quality.review))

    def _end_job(self) -> None:
        self._job, self._job_volume_id, self._job_content = None, "", ""

    def _say(self, kind: str, text: str) -> None:
        self.message = Message(kind, text)
        self._changed()

    def _series(self) -> LgeSeries:
        """The chosen volume as a series, read again only when it has changed."""
        volume = self.parameters.volume
        key = reading_key(volume)
        if self._series_cache is None or self._series_cache[0] != key:
            series = series_from_volume(volume)
            files = self._dicom_files(series.source.sop_instance_uids) if series.source.sop_instance_uids else []
            if files:
                try:  # what the images say of themselves is known to the report then, as on the command line
                    series = with_dicom_files(series, [Path(file) for file in files])
                except ScarNetError as error:
                    logging.info("ScarNet: %s", error)
            self._series_cache = (key, series)
        return self._series_cache[1]

    def _placed_points(self) -> tuple:
        return tuple(point_lps_mm(getattr(self.parameters, which)) for which in POINTS)

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
        if node is None or slicer.mrmlScene.IsClosing() or self._own_edit:
            return  # reading a segment makes and removes a node of Slicer's own
        if node.IsA("vtkMRMLSegmentationNode"):
            remove_orphans()
        if node.IsA("vtkMRMLSegmentationNode") or node.IsA("vtkMRMLScalarVolumeNode"):
            self._edited_at = time.monotonic()  # what is shown may have been about it


def _new_folder(parent: Path) -> Path:
    """A name that is free in `parent`: time, and nothing of the patient."""
    name = f"ScarNet {datetime.now():%Y-%m-%d %H.%M.%S}"
    folder, number = parent / name, 2
    while folder.exists():
        folder, number = parent / f"{name} ({number})", number + 1
    return folder
