"""The page: what the workbench says, as trame's state, and what the visitor does, passed on."""

import asyncio
import base64
import logging
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path

from trame.ui.vuetify3 import VAppLayout
from trame_slicer.rca_view.rca_view_factory import RemoteSliceViewFactory
from trame_slicer.views import ViewLayoutDefinition

import scarnet
from scarnet.app.opened import Opened, usable
from scarnet.app.workbench import Workbench
from scarnet.errors import ScarNetError
from scarnet.pacs import Archive, lge_series
from scarnet.resources import shipped

STATIC = Path(__file__).resolve().parent / "static"
#: The address under which the session serves STATIC.
SERVED_AS = "scarnet-page"
POLL_SECONDS = 0.03
#: JPEG quality while the picture moves and once it rests.
MOVING_QUALITY, RESTING_QUALITY = 60, 95
VIEW = "Red"  # what Slicer calls its first slice view

TOOLS = (
    ("view", "View", "mdi-cursor-default-outline", "Look: wheel changes the slice, right drag zooms (V)", False),
    ("window", "Window", "mdi-contrast-circle", "Drag in the slice to change window and level (W)", False),
    ("paint", "Paint", "mdi-brush", "Paint the chosen structure, where it may be (P)", True),
    ("erase", "Erase", "mdi-eraser", "Erase the chosen structure; scar goes with the muscle (E)", True),
    ("draw", "Draw", "mdi-draw", "Draw around an area to add it (D)", True),
    (
        "threshold",
        "Threshold",
        "mdi-chart-bell-curve",
        "The chosen structure from intensities, where it may be (T)",
        True,
    ),
)
HELP = (
    ("↑ →  ↓ ←", "next, previous slice"),
    ("Home  End", "first, last slice"),
    ("V  W", "look; window and level"),
    ("P  E  D  T", "paint, erase, draw, threshold"),
    ("1  2  3  4", "myocardium, scar, MVO, blood pool"),
    ("[  ]", "smaller, larger brush"),
    ("Ctrl+Z  Ctrl+Y", "undo, redo"),
    ("O or space", "outlines on and off"),
    ("M", "slice, all slices, or both"),
    ("Shift+wheel", "brush size, in the slice"),
)
_LAYOUTS = ("both", "slice", "mosaic")


class Page:
    """One visitor's page on `workbench`.

    `export(dicom, scene)` makes the zip that the visitor then fetches, and says its name; `forget` removes all of them, when
    another stack is shown. `archive`: where studies come from and results go to, if there is one; `folder(name)`: a new
    private folder.
    """

    def __init__(
        self,
        server,
        workbench: Workbench,
        *,
        export: Callable[[bool, bool], str],
        forget: Callable[[], None],
        archive: Archive | None = None,
        folder: Callable[[str], Path],
    ):
        self.server, self.state, self.workbench = server, server.state, workbench
        self._export, self._forget, self._archive, self._folder = export, forget, archive, folder
        self._opened: Opened | None = None
        self._reading = asyncio.Lock()
        self._name = ""
        self._study_folder: Path | None = None  # of the study that was fetched last
        self._quiet = False  # while the state is brought up to date from the workbench: no change of the visitor's
        self.mosaic_jpeg = b""
        self._mosaic_key: tuple | None = None
        self._seen_message = None
        self._initial_state()
        view = self._build()
        workbench.attach_view(view)
        view.modified.connect(self._on_view)
        self._bind()

    # --- made once ---------------------------------------------------------------------------------------------------

    def _initial_state(self) -> None:
        self.state.update(
            {
                "trame__title": "ScarNet",
                "trame__favicon": f"{SERVED_AS}/favicon.svg",
                "version": scarnet.__version__,
                "tools": [
                    dict(zip(("name", "label", "icon", "title", "corrects"), tool, strict=True)) for tool in TOOLS
                ],
                "help": [list(line) for line in HELP],
                "segments": self.workbench.segments,
                "help_shown": False,
                "uploading": -1,
                "busy": "",
                "message": "",
                "message_kind": "info",
                "stacks": [],
                "stack": 0,
                "views": "both",
                "slice": 1,
                "slices": 0,
                "intensity": [0.0, 1.0],
                "window_range": [0.0, 1.0],
                "threshold_range": [0.0, 1.0],
                "opacity": 1.0,
                "overlay": True,
                "brush_mm": self.workbench.brush_mm,
                "tool": "view",
                "segment": "Scar",
                "mosaic_version": 0,
                "mosaic_columns": 1,
                "mosaic_rows": 1,
                "with_dicom": False,
                "with_scene": False,
                "archive_offered": self._archive is not None,
                "archive_shown": False,
                "archive_text": "",
                "patient_id": "",
                "studies": [],
            }
        )
        self.show()

    def _build(self):
        manager = self.workbench.app.view_manager
        factory = RemoteSliceViewFactory(self.server, target_fps=30.0, blur_fps=15.0)
        manager.register_factory(factory)
        view = manager.create_view(ViewLayoutDefinition.axial_view(VIEW))
        factory.get_factory_view(VIEW).view_adapter.update_quality(MOVING_QUALITY, RESTING_QUALITY)
        manager.set_current_view_ids([VIEW])
        self.server.enable_module(
            {
                "serve": {SERVED_AS: str(STATIC)},
                "scripts": [f"{SERVED_AS}/scarnet.js"],
                "styles": [f"{SERVED_AS}/scarnet.css"],
            }
        )
        template = (STATIC / "page.html").read_text(encoding="utf-8")
        slot = "<trame-server-view-here></trame-server-view-here>"
        with VAppLayout(self.server) as layout:
            layout.root.theme = "dark"
            layout.root.add_child(template.replace(slot, f'<trame-template template-name="{VIEW}"></trame-template>'))
        return view

    def _bind(self) -> None:
        actions = {
            "open_sample": self.open_sample,
            "choose_stack": self.choose_stack,
            "unsaved": lambda: self.workbench.unsaved,
            "segment": self.workbench.segment_scar,
            "cancel": self.workbench.presenter.cancel,
            "undo": self.workbench.undo,
            "redo": self.workbench.redo,
            "set_tool": self.workbench.set_tool,
            "set_segment": self.workbench.set_segment,
            "apply_threshold": self.workbench.apply_threshold,
            "mark_cores": self.workbench.mark_cores,
            "toggle_reviewed": self.workbench.presenter.toggle_reviewed,
            "reset_window": self._reset_window,
            "go_to": self.workbench.go_to_slice,
            "click_mosaic": self._click_mosaic,
            "pick": self.workbench.pick,
            "forget_points": self.workbench.forget_points,
            "export": self.export,
            "key": self.key,
            "find_studies": self.find_studies,
            "load_study": self.load_study,
            "store": self.store,
        }
        for name, action in actions.items():
            self.server.trigger(name)(self._guarded(action))
        changes = {
            "slice": lambda v: self.workbench.go_to_slice(int(v) - 1),
            "window_range": lambda v: self.workbench.set_window(*v),
            "threshold_range": lambda v: self.workbench.set_threshold(*v),
            "opacity": lambda v: self.workbench.show_overlay(self.workbench.overlay_visible, float(v)),
            "brush_mm": lambda v: self.workbench.set_brush_mm(float(v)),
        }
        for name, change in changes.items():
            self.state.change(name)(self._changed(name, change))

    def _guarded(self, action: Callable):
        """`action` with errors shown, and the page brought up to date after it; the page that asked is given what it returns."""

        async def run(*values):
            result = None
            try:
                result = action(*values)
                if asyncio.iscoroutine(result):
                    result = await result
            except ScarNetError as error:
                self.say("error", str(error))
            except Exception as error:
                log_failure("an action of the page", error)
                self.say("error", "That failed; the details are in the server's log. What you drew is kept.")
            self.show()
            return result

        return run

    def _changed(self, name: str, change: Callable):
        def run(**state):
            if not self._quiet:
                change(state[name])
                self.show()

        return run

    # --- what the visitor does ---------------------------------------------------------------------------------------

    async def open_sample(self) -> None:
        folder = shipped("SampleData/LGEShortAxis")
        await self.open([path for path in folder.rglob("*") if path.is_file()], "LGE phantom")

    async def open(self, files: list[Path], name: str) -> None:
        """Read `files` and show the best stack in them. Raises ScarNetError; what was open then stays.

        One after the other, in the order in which it was asked: what takes longer to read must not take the place of what came later.
        """
        async with self._reading:
            with self._busy("Reading images"):
                opened = await asyncio.to_thread(Opened, files)
                series = await asyncio.to_thread(opened.read, opened.best)
            self._opened, self._name = opened, name
            self._show_stack(series, opened.best)

    async def choose_stack(self, number: int) -> None:
        opened = self._opened
        async with self._reading:
            if opened is None or opened is not self._opened or number == self.state.stack:
                return
            with self._busy("Reading images"):
                series = await asyncio.to_thread(opened.read, int(number))
            self._show_stack(series, int(number))

    def _show_stack(self, series, number: int) -> None:
        self._forget()
        self.workbench.show(series, self._name, files=self._opened.files)
        choices = usable(self._opened)
        with self.state:
            self.state.stacks = [{"number": c.number, "title": c.title} for c in choices]
            self.state.stack = number
            self.state.message = ""
            self.state.with_dicom = self.workbench.dicom

    async def export(self) -> str:
        """The name under which the page that asked can fetch it."""
        with self._busy("Writing the report"):
            await asyncio.sleep(0.05)  # the page says so first: writing needs the scene, which is this thread's
            name = self._export(bool(self.state.with_dicom), bool(self.state.with_scene))
        self.workbench.saved = self.workbench.work
        return name

    async def find_studies(self) -> None:
        """Studies of the patient whose ID was typed."""
        with self.state:
            self.state.update({"studies": [], "archive_text": ""})
        with self._busy("Asking the archive"):
            try:
                rows = await asyncio.to_thread(self._archive.studies, str(self.state.patient_id))
            except ScarNetError as error:
                self.state.archive_text = str(error)
                return
        self.state.studies = [
            {"uid": row.uid, "title": _study_title(row), "subtitle": row.description[:80]} for row in rows
        ]
        self.state.archive_text = "" if rows else "The archive has no study of this patient."

    async def load_study(self, uid: str) -> None:
        """The LGE series of a study that was listed, into the scene."""
        if uid not in [study["uid"] for study in self.state.studies]:
            return
        folder = self._folder("study-")
        try:
            with self._busy("Fetching from the archive"):
                series = lge_series(await asyncio.to_thread(self._archive.series, uid))
                uids = [row.uid for row in series]
                files = await asyncio.to_thread(self._archive.fetch, uid, uids, folder)
            await self.open(files, "LGE")
        except ScarNetError as error:
            shutil.rmtree(folder, ignore_errors=True)
            self.state.archive_text = str(error)
            return
        if self._study_folder is not None:
            shutil.rmtree(self._study_folder, ignore_errors=True)
        self._study_folder = folder
        self.state.archive_shown = False

    async def store(self) -> None:
        """DICOM SEG and SR of what is shown, to the archive."""
        folder = self._folder("store-")
        try:
            with self._busy("Sending to the archive"):
                await asyncio.sleep(0.05)
                written = self.workbench.export(folder, dicom=True, scene=False)
                sent = self.workbench.work
                files = [written / name for name in ("segmentation.dcm", "report.dcm")]
                count = await asyncio.to_thread(self._archive.store, files)
            self.workbench.saved = sent
            self.say("info", f"The archive took {count} objects: DICOM SEG and SR.")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def key(self, name: str) -> None:
        """What a key stands for."""
        bench = self.workbench
        steps = {"next": bench.slice_index + 1, "previous": bench.slice_index - 1, "first": 0, "last": 10**6}
        if name in steps:
            bench.go_to_slice(steps[name])
        elif name in ("smaller", "larger"):
            bench.set_brush_mm(bench.brush_mm * (1.2 if name == "larger" else 1 / 1.2))
        elif name == "overlay":
            bench.show_overlay(not bench.overlay_visible)
        elif name == "mosaic":
            self.state.views = _LAYOUTS[(_LAYOUTS.index(self.state.views) + 1) % len(_LAYOUTS)]
        elif name == "help":
            self.state.help_shown = not self.state.help_shown
        elif name == "undo":
            bench.undo()
        elif name == "redo":
            bench.redo()
        elif name.startswith("segment-"):
            bench.set_segment(bench.segments[int(name[-1])]["id"])
        else:
            bench.set_tool(name)

    def _click_mosaic(self, x: float, y: float) -> None:
        columns, rows = self.state.mosaic_columns, self.state.mosaic_rows
        index = min(int(y * rows), rows - 1) * columns + min(int(x * columns), columns - 1)
        if index < self.workbench.slice_count:
            self.workbench.go_to_slice(index)

    def _reset_window(self) -> None:
        self.workbench.reset_window()

    # --- what is shown -----------------------------------------------------------------------------------------------

    def say(self, kind: str, text: str) -> None:
        with self.state:
            self.state.update({"message_kind": kind, "message": text})

    def _busy(self, text: str):
        page = self

        class Busy:
            def __enter__(self):
                with page.state:
                    page.state.busy = text
                    page.state.message = ""

            def __exit__(self, *_):
                with page.state:
                    page.state.busy = ""

        return Busy()

    def show(self) -> None:
        """Bring the page up to date."""
        bench, presenter = self.workbench, self.workbench.presenter
        progress = presenter.progress
        segment, cores, reviewed = presenter.segment_button, presenter.core_button, presenter.reviewed_button
        dicom, export = presenter.dicom_button, presenter.export_button
        report = presenter.report
        self._shown_in_view = self._in_view()
        self._quiet = True
        try:
            with self.state:
                self.state.update(
                    {
                        "running": presenter.running,
                        "progress": round(100 * progress.done / max(progress.total, 1)) if progress else 0,
                        "progress_text": presenter.progress_text,
                        "segment_text": segment.text,
                        "segment_enabled": segment.enabled and not self.state.busy,
                        "segment_tooltip": segment.tooltip,
                        "can_correct": bench.can_correct and not presenter.running,
                        "can_undo": bench.history.can_undo,
                        "can_redo": bench.history.can_redo,
                        "tool": bench.tool,
                        "segment": bench.segment,
                        "brush_mm": round(bench.brush_mm, 1),
                        "overlay": bench.overlay_visible,
                        "opacity": bench.overlay_opacity,
                        "slices": bench.slice_count,
                        "slice": bench.slice_index + 1,
                        "intensity": list(bench.intensity_range),
                        "window_range": list(bench.window),
                        "threshold_range": list(bench.threshold),
                        "points": bench.points,
                        "rows": [{"measure": r.measure, "value": r.value, "model": r.model} for r in presenter.rows],
                        "doubtful": [_slice_row(row) for row in presenter.slices],
                        "bullseye": _data_uri(presenter.bullseye_svg),
                        "cores_text": cores.text,
                        "cores_enabled": cores.enabled,
                        "cores_tooltip": cores.tooltip,
                        "reviewed": presenter.reviewed,
                        "reviewed_text": reviewed.text,
                        "reviewed_tooltip": reviewed.tooltip,
                        "export_enabled": export.enabled,
                        "dicom_enabled": bench.dicom and dicom.enabled,
                        "dicom_tooltip": dicom.tooltip,
                        "warnings": list(report.quality.warnings) if report is not None else [],
                    }
                )
                if presenter.message is not self._seen_message:
                    self._seen_message = message = presenter.message
                    if message is not None and not message.folder:
                        self.state.update({"message_kind": message.kind, "message": message.text})
        finally:
            self._quiet = False

    def _in_view(self) -> tuple:
        bench = self.workbench
        return (bench.window, round(bench.brush_mm, 1), *(point["placed"] for point in bench.points))

    def _show_mosaic(self) -> None:
        bench = self.workbench
        key = (id(bench.series), id(bench.presenter.report), bench.window, bench.overlay_visible, self.state.views)
        if key == self._mosaic_key or self.state.views == "slice":
            return
        self._mosaic_key = key
        picture = bench.picture()
        if picture is not None:
            self.mosaic_jpeg = picture.jpeg
            with self.state:
                self.state.mosaic_columns, self.state.mosaic_rows = picture.columns, picture.rows
                self.state.mosaic_version += 1

    def _on_view(self, *_) -> None:
        """The visitor turned the wheel over the slice."""
        index = self.workbench.slice_index + 1
        if index != self.state.slice:
            self._quiet = True
            try:
                with self.state:
                    self.state.slice = index
            finally:
                self._quiet = False

    async def follow(self) -> None:
        """Until the session ends: follow the segmentation and what is drawn.

        The picture of all slices comes after the numbers are on their way.
        """
        while True:
            try:
                self._show_mosaic()
                self.workbench.tick()
                if self._in_view() != self._shown_in_view:  # changed with the mouse, in the slice view
                    self.show()
            except Exception as error:
                log_failure("following", error)
            await asyncio.sleep(POLL_SECONDS)


def log_failure(what: str, error: Exception) -> None:
    """Type and lines of code: an error's own text may hold a file's name, and that a patient's."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logging.error("ScarNet: %s failed (%s)\n%s", what, type(error).__name__, where)


def _slice_row(row) -> dict:
    return {
        "index": row.index,
        "scar": f"{row.scar_volume_ml:.2f}",
        "percent": "" if row.scar_percent is None else f"{row.scar_percent:.0f} %",
        "doubt": "" if row.doubt is None else f"{row.doubt:.2f}",
        "review": bool(row.review),
    }


def _study_title(row) -> str:
    date = f"{row.date[:4]}-{row.date[4:6]}-{row.date[6:8]}" if len(row.date) == 8 else "no date"
    return f"{date}, {'/'.join(row.modalities) or 'modality not stated'}"


def _data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode() if svg else ""
