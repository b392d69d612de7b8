"""ScarNet: segment myocardial scar on LGE cardiac MRI, correct it, and read the numbers. Research use only.

Thin on purpose: the panel's state and decisions are in `scarnet.panel`, the scene in `scarnet.scene`, the network in a
process of its own. Nothing heavy is imported before the user opens the module.
"""

import html
import os
import pathlib
import shutil

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

MODULE_FOLDER = os.path.dirname(os.path.abspath(__file__))
POLL_MILLISECONDS = 40
#: Choices that a new scene takes over from the last one.
REMEMBERED = ("model", "device", "method", "density_g_per_ml")


class ScarNetSegment(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("ScarNet Scar Segmentation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        parent.dependencies = ["SegmentEditor", "Segmentations", "Terminologies"]
        parent.contributors = ["The SlicerScarNet developers"]
        parent.helpText = _(
            "Segments left-ventricular myocardium and scar on late gadolinium enhancement (LGE) short-axis MRI and "
            "reports scar volume and percent of LV mass. <b>For research use only.</b> Choose the LGE volume, click "
            "<i>Segment scar</i>, correct the segments by hand, and export the report."
        )
        parent.acknowledgementText = _(
            "Network: ScarNet (Tavakoli et al., JCMR 2025, doi 10.1016/j.jocmr.2025.101945). "
            "Training data: EMIDEC (Lalande et al., Data 2020, doi 10.3390/data5040089)."
        )
        slicer.app.connect("startupCompleted()", onStartupCompleted)


def onStartupCompleted():
    """Cheap registrations only: own terminology and the simulated sample."""
    resources = os.path.join(MODULE_FOLDER, "Resources")
    terminology = os.path.join(resources, "SegmentationCategoryTypeModifier-ScarNet.term.json")
    slicer.modules.terminologies.logic().LoadTerminologyFromFile(terminology)
    registerStatistics()
    try:
        import SampleData
    except ImportError:
        return
    # Read from the extension's own folder: the address is never opened, Slicer only wants one.
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=translate("qSlicerAbstractCoreModule", "Cardiac"),
        sampleName="ScarNetLGEPhantom",
        uris="file:ScarNetLGEPhantom",
        fileNames="ScarNetLGEPhantom",
        nodeNames="LGE phantom",
        thumbnailFileName=os.path.join(resources, "Icons", "ScarNetSegment.png"),
        customDownloader=lambda source: [showSample()],
    )


def showSample():
    """What a click in Sample Data does: the simulated series, loaded and shown."""
    volume = ScarNetSegmentLogic().loadSample()
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    return volume


def registerStatistics():
    """Mass and percent of LV as a plugin of the Segment Statistics module."""
    try:
        import SegmentStatistics
        from SegmentStatisticsPlugins import SegmentStatisticsPluginBase
    except ImportError:
        return

    class ScarBurdenStatisticsPlugin(SegmentStatisticsPluginBase):
        def __init__(self):
            super().__init__()
            self.name = self.title = "Scar burden"
            self.keys = ["mass_g", "percent_lv"]
            self.defaultKeys = self.keys

        def computeStatistics(self, segmentID):
            from scarnet.errors import InputError
            from scarnet.scene.statistics import segment_burden

            requested = self.getRequestedKeys()
            if not requested:
                return {}
            parameters = self.getParameterNode()
            segmentation = slicer.mrmlScene.GetNodeByID(parameters.GetParameter("Segmentation"))
            volume = slicer.mrmlScene.GetNodeByID(parameters.GetParameter("ScalarVolume") or "")
            try:
                values = segment_burden(segmentation, segmentID, volume)
            except InputError:
                return {}  # not a segmentation of ours: other plugins still have their say
            return {key: values[key] for key in requested if key in values}

        def getMeasurementInfo(self, key):
            units = {"mass_g": ("Mass", "g"), "percent_lv": ("Percent of LV", "%")}
            if key not in units:
                return None
            title, unit = units[key]
            return self.createMeasurementInfo(
                name=title,
                title=title,
                description=title,
                units=unit,
                unitsDicomCode=self.createCodedEntry(unit, "UCUM", unit, True),
            )

    SegmentStatistics.SegmentStatisticsLogic.registerPlugin(ScarBurdenStatisticsPlugin())


class ScarNetSegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Shows what the presenter says and passes on what the user does."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.presenter = None
        self._timer = None
        self._updating = False
        self._importing = False
        self._shownVolume = None
        self._shownBullseye = ""

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/ScarNetSegment.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = ScarNetSegmentLogic()
        self._setUpEditor()
        self._setUpChoices()
        self._setUpIcons()
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.connect("timeout()", self.onTimer)
        ui = self.ui
        ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onVolumeChosen)
        ui.segmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onSegmentationChosen)
        ui.segmentButton.connect("clicked(bool)", self.onSegmentOrCancel)
        ui.coreButton.connect("clicked(bool)", self.onMarkCores)
        ui.reviewedButton.connect("clicked(bool)", self.onReviewed)
        ui.sliceTable.connect("cellClicked(int,int)", self.onSliceClicked)
        ui.exportButton.connect("clicked(bool)", self.onExport)
        ui.addModelButton.connect("clicked(bool)", self.onAddModel)
        ui.pickCenterButton.connect("clicked(bool)", self.onPickCenter)
        ui.pickInsertionButton.connect("clicked(bool)", self.onPickInsertion)
        ui.pickRemoteButton.connect("clicked(bool)", self.onPickRemote)
        ui.modelSelector.connect("currentIndexChanged(int)", self.onAdvancedChanged)
        ui.deviceSelector.connect("currentIndexChanged(int)", self.onAdvancedChanged)
        ui.methodSelector.connect("currentIndexChanged(int)", self.onAdvancedChanged)
        ui.centerSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onAdvancedChanged)
        ui.insertionSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onAdvancedChanged)
        ui.remoteSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onAdvancedChanged)
        ui.densitySpinBox.connect("valueChanged(double)", self.onAdvancedChanged)
        ui.exportDirectory.connect("directoryChanged(QString)", self.onFolderChanged)
        ui.packagesPath.connect("currentPathChanged(QString)", self.onFolderChanged)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndBatchProcessEvent, self.onSceneEndBatch)
        slicer.app.connect("aboutToQuit()", self.stop)
        self.start()

    def cleanup(self):
        self.stop()
        self.ui.editor.setMRMLSegmentEditorNode(None)
        self.removeObservers()
        slicer.app.disconnect("aboutToQuit()", self.stop)

    def enter(self):
        if self.presenter is None:
            self.start()
        self.ui.editor.installKeyboardShortcuts()

    def exit(self):
        self._editorNode.SetActiveEffectName("")
        self.ui.editor.uninstallKeyboardShortcuts()
        self.ui.editor.removeViewObservations()

    # --- one presenter per scene ------------------------------------------------------------------------------------

    def start(self):
        self.presenter = self.logic.newPresenter(onChange=self.show, translate=_)
        self._recallSettings()
        self._timer.start()
        self.show()

    def stop(self):
        """Kill what runs; the scene stays as it is."""
        if self._timer is not None:
            self._timer.stop()
        if self.presenter is not None:
            self.presenter.close()
            self.presenter = None

    def onSceneStartClose(self, caller, event):
        self.stop()
        self.ui.editor.setSegmentationNode(None)
        self.ui.editor.removeViewObservations()
        self._shownVolume = None  # the next scene gives its volumes the same IDs again

    def onSceneEndClose(self, caller, event):
        self.stop()
        self._setUpEditor()
        self.start()

    def onSceneStartImport(self, caller, event):
        """Slicer's selectors empty and fill themselves at the end of an import: not the user's choices."""
        self._importing = True

    def onSceneEndImport(self, caller, event):
        """A scene was added: take over its state, unless a segmentation is under way."""
        self._importing = False
        if self.presenter is None or not self.presenter.running:
            self.onSceneEndClose(caller, event)
        else:
            self.show()

    def onSceneEndBatch(self, caller, event):
        """The segment editor takes no segmentation before the batch that an import is part of has ended."""
        self.show()

    def _setUpEditor(self):
        name = "ScarNetSegmentEditor"
        node = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(name)
            node = slicer.mrmlScene.AddNode(node)
        self._editorNode = node
        editor = self.ui.editor
        editor.setMRMLSegmentEditorNode(node)
        editor.setSegmentationNodeSelectorVisible(False)
        editor.setSourceVolumeNodeSelectorVisible(False)
        editor.autoShowSourceVolumeNode = False  # the user's views stay as they are
        editor.setEffectNameOrder(["Paint", "Erase", "Draw", "Scissors", "Threshold", "Islands", "Smoothing"])
        editor.unorderedEffectsVisible = False
        editor.undoEnabled = True
        if not self.hasObserver(node, vtk.vtkCommand.ModifiedEvent, self.onEditorChanged):
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self.onEditorChanged)

    def _setUpChoices(self):
        ui = self.ui
        self._updating = True
        self._models = ["default"]
        ui.modelSelector.addItem(_("Shipped model"))
        for name in self.logic.modelNames():
            self._addModel(name)
        self._devices = ["auto", "cpu", "cuda", "mps"]
        for text in (_("Automatic"), _("Processor"), _("NVIDIA GPU"), _("Apple GPU")):
            ui.deviceSelector.addItem(text)
        self._methods = [""]
        ui.methodSelector.addItem(_("No other method"))
        for key, name in self.logic.methods():
            self._methods.append(key)
            ui.methodSelector.addItem(name)
        self._updating = False

    def _addModel(self, name):
        self._models.append(name)
        self.ui.modelSelector.addItem(name)

    def _setUpIcons(self):
        ui = self.ui
        self._icons = {
            name: qt.QIcon(self.resourcePath(f"Icons/{name}.png"))
            for name in ("Segment", "Cancel", "MarkCore", "Review", "Reviewed", "Export", "Pick")
        }
        ui.coreButton.icon = self._icons["MarkCore"]
        ui.exportButton.icon = self._icons["Export"]
        ui.pickCenterButton.icon = self._icons["Pick"]
        ui.pickInsertionButton.icon = self._icons["Pick"]
        ui.pickRemoteButton.icon = self._icons["Pick"]

    # --- what the user does -----------------------------------------------------------------------------------------

    def onTimer(self):
        if self.presenter is not None:
            self.presenter.tick()

    def onVolumeChosen(self, node):
        if self._isUsersChoice():
            self.presenter.choose_volume(node)

    def onSegmentationChosen(self, node):
        if self._isUsersChoice():
            self.presenter.choose_segmentation(node)

    def _isUsersChoice(self):
        return not (self._updating or self._importing or self.presenter is None)  # none while a scene closes

    def onSegmentOrCancel(self):
        if self.presenter.running:
            self.presenter.cancel()
            return
        with slicer.util.tryWithErrorDisplay(_("The segmentation could not be started."), waitCursor=False):
            parameters = self.presenter.parameters
            self.logic.ensureRequirements(
                parameters.model, parameters.device, wheelFolder=self.ui.packagesPath.currentPath
            )
            self.presenter.segment()

    def onMarkCores(self):
        from scarnet.scene.correction import mark_dark_cores

        parameters = self.presenter.parameters
        self.ui.editor.saveStateForUndo()
        mark_dark_cores(parameters.segmentation, parameters.volume)

    def onReviewed(self):
        self.presenter.toggle_reviewed()

    def onSliceClicked(self, row, column):
        from scarnet.scene.views import jump_to_slice

        index = self.presenter.slices[row].index
        jump_to_slice(slicer.util.getNodesByClass("vtkMRMLSliceNode"), self.presenter.parameters.volume, index)

    def onPickCenter(self):
        self.presenter.pick("lv_center")

    def onPickInsertion(self):
        self.presenter.pick("rv_insertion")

    def onPickRemote(self):
        self.presenter.pick("remote")

    def onAddModel(self):
        path = qt.QFileDialog.getOpenFileName(
            None, _("Model card or MedSAM checkpoint"), "", _("Models") + " (model.json *.pth)"
        )
        if not path:
            return
        with slicer.util.tryWithErrorDisplay(_("The model could not be added."), waitCursor=True):
            name = self.logic.addModel(path)
            if name is not None:
                self._addModel(name)
                self.ui.modelSelector.currentIndex = len(self._models) - 1

    def onExport(self):
        with slicer.util.tryWithErrorDisplay(_("The report could not be exported."), waitCursor=True):
            dicom = self.ui.dicomCheckBox.checked and self.presenter.dicom_button.enabled
            self.logic.ensureRequirements(dicom=dicom, wheelFolder=self.ui.packagesPath.currentPath)
            self.presenter.export(self.ui.exportDirectory.directory, dicom=dicom, scene=self.ui.sceneCheckBox.checked)

    def onAdvancedChanged(self, *unused):
        if not self._isUsersChoice():
            return
        parameters, ui = self.presenter.parameters, self.ui
        parameters.model = self._models[ui.modelSelector.currentIndex]
        parameters.device = self._devices[ui.deviceSelector.currentIndex]
        parameters.method = self._methods[ui.methodSelector.currentIndex]
        parameters.lv_center = ui.centerSelector.currentNode()
        parameters.rv_insertion = ui.insertionSelector.currentNode()
        parameters.remote = ui.remoteSelector.currentNode()
        parameters.density_g_per_ml = ui.densitySpinBox.value
        self._rememberSettings()
        self.presenter.refresh()

    def onFolderChanged(self, *unused):
        if not self._updating:
            self._rememberSettings()

    def onEditorChanged(self, caller, event):
        from scarnet.scene.correction import apply_editing_rules

        segmentation = self._editorNode.GetSegmentationNode()
        if segmentation is not None and not self._updating:
            self._updating = True
            try:
                apply_editing_rules(self._editorNode, segmentation)
            finally:
                self._updating = False

    # --- settings: a new scene starts with the choices of the last ---------------------------------------------------

    def _rememberSettings(self):
        settings, parameters = qt.QSettings(), self.presenter.parameters
        for key in REMEMBERED:
            settings.setValue(f"ScarNet/{key}", str(getattr(parameters, key)))
        settings.setValue("ScarNet/export_folder", self.ui.exportDirectory.directory)
        settings.setValue("ScarNet/package_folder", self.ui.packagesPath.currentPath)

    def _recallSettings(self):
        settings, parameters = qt.QSettings(), self.presenter.parameters
        for key in REMEMBERED:
            value = settings.value(f"ScarNet/{key}")
            known = {"model": self._models, "device": self._devices, "method": self._methods}.get(key)
            if value and not parameters.chosen(key) and (known is None or value in known):
                setattr(parameters, key, value)
        documents = qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation)
        self._updating = True
        self.ui.exportDirectory.directory = settings.value("ScarNet/export_folder") or documents
        self.ui.packagesPath.currentPath = settings.value("ScarNet/package_folder") or ""
        self._updating = False

    # --- what is shown ----------------------------------------------------------------------------------------------

    def show(self):
        if self._updating or self.presenter is None:
            return
        self._updating = True
        try:
            self._showState()
        finally:
            self._updating = False

    def _showState(self):
        presenter, ui = self.presenter, self.ui
        parameters = presenter.parameters
        ui.volumeSelector.setCurrentNode(parameters.volume)
        ui.volumeSelector.enabled = not presenter.running
        ui.segmentationSelector.setCurrentNode(parameters.segmentation)
        for widget, button in (
            (ui.segmentButton, presenter.segment_button),
            (ui.coreButton, presenter.core_button),
            (ui.reviewedButton, presenter.reviewed_button),
            (ui.dicomCheckBox, presenter.dicom_button),
            (ui.exportButton, presenter.export_button),
        ):
            widget.text, widget.enabled, widget.toolTip = button.text, button.enabled, button.tooltip
        ui.segmentButton.icon = self._icons["Cancel" if presenter.running else "Segment"]
        ui.reviewedButton.icon = self._icons["Reviewed" if presenter.reviewed else "Review"]
        self._showProgress()
        self._showEditor(parameters)
        nothing = _("Volumes, bull's eye and slices follow here, and follow every correction.")
        ui.summaryLabel.text = presenter.report.summary if presenter.report is not None else nothing
        for widget in (ui.reportTable, ui.bullseyeLabel, ui.sliceLabel, ui.sliceTable):
            widget.visible = presenter.report is not None
        self._showReport(presenter.rows)
        self._showBullseye(presenter.bullseye_svg)
        self._showSlices(presenter.slices)
        self._showAdvanced(parameters)

    def _showProgress(self):
        presenter, ui = self.presenter, self.ui
        progress, message = presenter.progress, presenter.message
        ui.progressBar.visible = progress is not None
        if progress is not None:
            ui.progressBar.maximum = progress.total if progress.done else 0  # 0: busy until the first slice is done
            ui.progressBar.value = progress.done
        text = presenter.progress_text or (message.text if message else "")
        if message is not None and message.folder and progress is None:
            address = qt.QUrl.fromLocalFile(message.folder).toString()
            text = f'{html.escape(text)} <a href="{address}">{_("Open folder")}</a>'
        colors = {"error": "color: #c0392b", "warning": "color: #b9770e"}
        ui.messageLabel.text = text
        ui.messageLabel.styleSheet = colors.get(message.kind, "") if message and progress is None else ""

    def _showAdvanced(self, parameters):
        ui = self.ui
        for selector, values, value in (
            (ui.modelSelector, self._models, parameters.model),
            (ui.deviceSelector, self._devices, parameters.device),
            (ui.methodSelector, self._methods, parameters.method),
        ):
            if value not in values:  # of a scene from elsewhere: shown as it is, and another can be chosen
                values.append(value)
                selector.addItem(_("{name} (not on this computer)").format(name=value))
            selector.currentIndex = values.index(value)
        ui.centerSelector.setCurrentNode(parameters.lv_center)
        ui.insertionSelector.setCurrentNode(parameters.rv_insertion)
        ui.remoteSelector.setCurrentNode(parameters.remote)
        ui.densitySpinBox.value = parameters.density_g_per_ml

    def _showEditor(self, parameters):
        ui = self.ui
        ui.correctionSection.enabled = parameters.segmentation is not None
        if ui.editor.segmentationNode() is not parameters.segmentation:
            ui.editor.setSegmentationNode(parameters.segmentation)
        if parameters.volume is not None and parameters.segmentation is not None:
            ui.editor.setSourceVolumeNode(parameters.volume)
        if parameters.volume is not None and parameters.volume.GetID() != self._shownVolume:
            self._shownVolume = parameters.volume.GetID()
            self._showInPlane(parameters.volume)

    def _showInPlane(self, volume):
        """The first slice view shows the stack in its own plane; layout and other views stay as they are."""
        from scarnet.errors import InputError
        from scarnet.scene.views import show_in_plane

        layout = slicer.app.layoutManager()
        if layout is None or layout.sliceWidget("Red") is None:
            return
        sliceLogic = layout.sliceWidget("Red").sliceLogic()
        sliceLogic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        try:
            show_in_plane(sliceLogic.GetSliceNode(), volume)
        except InputError:
            return  # the button's tooltip says what is wrong with the volume
        sliceLogic.FitSliceToAll()

    def _showReport(self, rows):
        table = self.ui.reportTable
        table.rowCount = len(rows)
        for index, row in enumerate(rows):
            for column, text in enumerate((row.measure, row.value, row.model)):
                table.setItem(index, column, qt.QTableWidgetItem(text))

    def _showBullseye(self, svg):
        if svg == self._shownBullseye:
            return
        self._shownBullseye = svg
        pixmap = qt.QPixmap()
        if svg:
            pixmap.loadFromData(svg.encode("utf-8"), "SVG")
        self.ui.bullseyeLabel.setPixmap(pixmap)

    def _showSlices(self, rows):
        table = self.ui.sliceTable
        table.rowCount = len(rows)
        for index, row in enumerate(rows):
            percent = "" if row.scar_percent is None else f"{row.scar_percent:.0f} %"
            doubt = "" if row.doubt is None else f"{row.doubt:.2f}"
            if row.scar_doubt is not None:
                doubt = _("{doubt}, scar {scar}").format(doubt=doubt, scar=f"{row.scar_doubt:.2f}")
            for column, text in enumerate((str(row.index + 1), f"{row.scar_volume_ml:.2f}", percent, doubt)):
                item = qt.QTableWidgetItem(text)
                if row.review:
                    item.setToolTip(_("The model doubts its outline here: look at this slice first."))
                    item.setBackground(qt.QBrush(qt.QColor(250, 229, 211)))
                table.setItem(index, column, item)


class ScarNetSegmentLogic(ScriptedLoadableModuleLogic):
    """The whole job without a GUI.

    From Slicer's Python console::

        logic = slicer.util.getModuleLogic("ScarNetSegment")
        segmentation, report = logic.segment(slicer.util.getNode("LGE"))
        print(report.scar.percent_lv)
    """

    def newPresenter(self, onChange=lambda: None, translate=lambda text: text):
        """A presenter on the module's parameter node of the current scene."""
        from scarnet.panel import PanelParameters, Presenter

        environment = dict(slicer.util.startupEnvironment())
        return Presenter(
            PanelParameters(self.getParameterNode()),
            on_change=onChange,
            translate=translate,
            python=shutil.which("PythonSlicer") or "PythonSlicer",
            environment=environment,
            dicom_files=self.dicomFiles,
        )

    def dicomFiles(self, instanceUIDs):
        """Paths of images in Slicer's DICOM database; those that it does not know are left out."""
        database = getattr(slicer, "dicomDatabase", None)
        if database is None or not database.isOpen:
            return []
        paths = [database.fileForInstance(uid) for uid in instanceUIDs]
        return [path for path in paths if path and os.path.isfile(path)]

    def segment(self, volumeNode, model="default", device="auto", onProgress=None):
        """Segment `volumeNode`; returns the new segmentation node and the report. Blocks.

        `onProgress(progress)` is called with `done`, `total`, `text`, `seconds_left`. Raises RuntimeError with one
        sentence when the volume cannot be segmented.
        """
        import time

        presenter = self.newPresenter()
        try:
            presenter.choose_volume(volumeNode)
            presenter.parameters.model, presenter.parameters.device = model, device
            presenter.segment()
            while presenter.running:
                presenter.tick()
                if onProgress is not None and presenter.running:
                    onProgress(presenter.progress)
                time.sleep(POLL_MILLISECONDS / 1000)
            if presenter.message is not None and presenter.message.kind == "error":
                raise RuntimeError(presenter.message.text)
            if presenter.report is None:
                raise RuntimeError(presenter.message.text if presenter.message else "Nothing was segmented.")
            return presenter.parameters.segmentation, presenter.report
        finally:
            presenter.close()

    def modelNames(self):
        """Models that can segment, shipped and added."""
        from scarnet.network import list_models

        return [card.name for card, _folder in list_models() if card.kind == "scarnet"]

    def loadSample(self):
        """The shipped simulated series as a new volume node."""
        from scarnet.resources import shipped
        from scarnet.scene.nodes import volume_from_series
        from scarnet.series import read_lge

        return volume_from_series(read_lge(shipped("SampleData/LGEShortAxis")), "LGE phantom")

    def methods(self):
        """Intensity methods that can be listed beside the scar: key in the report, and name."""
        from scarnet.export.content import method_name
        from scarnet.quantification.thresholds import METHODS

        return [(key, method_name(key)) for key in METHODS]

    def addModel(self, path):
        """Add a model folder (its `model.json`), or a MedSAM checkpoint (.pth), to the user's models.

        Returns the name of a model that can segment; None for an encoder, which is for training. Raises ScarNetError.
        """
        from scarnet.network import read_card
        from scarnet.network.registry import add_folder

        if path.lower().endswith(".pth"):
            self.ensureRequirements(device="cuda")  # reading a checkpoint takes PyTorch, wherever it runs later
            from scarnet.network.medsam import add_checkpoint

            folder, _report = add_checkpoint(pathlib.Path(path))
        else:
            folder = add_folder(pathlib.Path(path).parent)
        card = read_card(folder)
        return card.name if card.kind == "scarnet" else None

    def ensureRequirements(self, model="default", device="auto", dicom=False, wheelFolder=""):
        """Install what is missing for a run after asking. Raises ScarNetError with a sentence the user can act on."""
        from scarnet.panel.requirements import ensure_packages, ensure_torch, needs_torch, read_requirements

        names = ["requirements.txt"]
        if needs_torch(model, device):
            ensure_torch(_)
            names.append("requirements-torch.txt")
        if dicom:
            names.append("requirements-dicom.txt")
        resources = os.path.join(MODULE_FOLDER, "Resources")
        needed = [line for name in names for line in read_requirements(os.path.join(resources, name))]
        ensure_packages(needed, ask=slicer.util.confirmOkCancelDisplay, wheel_folder=wheelFolder, translate=_)


class ScarNetSegmentTest(ScriptedLoadableModuleTest):
    """Self-test: the whole job on the shipped sample."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_SegmentSample()

    def test_SegmentSample(self):
        from scarnet.panel.requirements import missing_requirements, read_requirements

        logic = ScarNetSegmentLogic()
        if missing_requirements(read_requirements(os.path.join(MODULE_FOLDER, "Resources", "requirements.txt"))):
            self.delayDisplay("Skipped: required Python packages are not installed")
            return
        volume = logic.loadSample()
        segmentation, report = logic.segment(volume, device="cpu")
        self.assertEqual(segmentation.GetSegmentation().GetNumberOfSegments(), 4)
        self.assertAlmostEqual(report.lv.myocardium_volume_ml, 133, delta=40)
        self.assertGreater(report.scar.volume_ml, 3)
        self.delayDisplay("Test passed")
