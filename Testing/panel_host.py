"""A stand-in for the parts of the Slicer application that the panel meets: strict, small, and not Slicer.

Real: MRML and VTK (slicer-core), Qt widgets (PySide6), the module's own .ui and .py files. Stood in for: PythonQt's way of
showing Qt objects (properties are attributes, `connect` takes a C++ signature), CTK's and Slicer's widgets, and
`slicer.app`. A name that the real class lacks (widget_members.py) fails; exceptions in slots are collected in `errors`.
"""

import importlib.util
import os
import sys
import traceback
import types
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
import slicer.util
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from scarnet.scene.host import start_scene
from widget_members import MEMBERS

MODULE = Path(__file__).resolve().parent.parent / "ScarNetSegment" / "ScarNetSegment.py"
errors: list[str] = []


def guarded(function):
    """PythonQt prints what a slot raises and goes on; here it is kept for the test to see."""

    def call(*arguments):
        try:
            return function(*arguments)
        except Exception:
            errors.append(traceback.format_exc())

    return call


class PythonQtObject:
    """A Qt object with the members that the real class has, and no others."""

    def __init__(self, qobject, cls: str):
        object.__setattr__(self, "_q", qobject)
        object.__setattr__(self, "_members", MEMBERS[cls])
        object.__setattr__(self, "_class", cls)

    def _check(self, name: str) -> None:
        if name not in self._members:
            raise AttributeError(f"{self._class} has no '{name}'")

    def __getattr__(self, name):
        self._check(name)
        if name == "connect":
            return self._connect
        if self._q.metaObject().indexOfProperty(name) >= 0 or name in getattr(self._q, "properties", {}):
            value = self._q.property(name)
            return self._q.properties[name] if value is None and name in getattr(self._q, "properties", {}) else value
        return getattr(self._q, name)

    def __setattr__(self, name, value):
        self._check(name)
        if name in ("text", "toolTip", "styleSheet") and not isinstance(value, str):
            raise TypeError(f"{self._class}.{name} shows {value!r} as text")
        standard = getattr(self._q, "properties", {})
        if name in standard:
            if not isinstance(value, type(standard[name])):
                raise TypeError(f"{self._class}.{name} takes {type(standard[name]).__name__}, not {value!r}")
            self._q.setProperty(name, value)
        elif self._q.metaObject().indexOfProperty(name) < 0 or not self._q.setProperty(name, value):
            raise AttributeError(f"{self._class}.{name} is no property that takes {value!r}")

    def _connect(self, signature: str, function):
        self._check(signature)
        name, arguments = signature.rstrip(")").split("(")
        count = len([a for a in arguments.split(",") if a])
        # PythonQt hands over as many arguments as the slot takes.
        takes = function.__code__.co_argcount - 1 if hasattr(function, "__self__") else function.__code__.co_argcount
        variadic = function.__code__.co_flags & 4
        slot = guarded(function)
        getattr(self._q, name).connect(lambda *a: slot(*(a[:count] if variadic else a[: min(count, takes)])))
        return True


# --- stand-ins for CTK's and Slicer's widgets -----------------------------------------------------------------------


class MRMLWidget(QtWidgets.QWidget):
    """Hands its scene on, as the connections of the .ui do."""

    def setMRMLScene(self, scene):
        for child in (*self.findChildren(NodeComboBox), *self.findChildren(SegmentEditor)):
            child.setMRMLScene(scene)


class NodeComboBox(QtWidgets.QComboBox):
    """Shows the nodes of its types in the scene; selects the first when it gets one, as the real one does."""

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._nodes, self._scene = [], None
        for name in ("addEnabled", "removeEnabled", "renameEnabled", "showChildNodeTypes"):
            self.setProperty(name, False)
        self.activated.connect(lambda index: self.currentNodeChanged.emit(self._nodes[index]))

    def setMRMLScene(self, scene):
        self._scene = scene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            scene.AddObserver(event, self._on_node)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            scene.AddObserver(event, self._on_scene)
        self._fill(None)

    def _on_node(self, *unused):
        if not self._scene.IsImporting():
            self._fill(self.currentNode())

    def _on_scene(self, *unused):
        """All rows go and come again (qMRMLSceneModel::updateScene), so that the current node is none in between."""
        was = self.currentNode()
        self._fill(None)
        if was is not None:
            self.currentNodeChanged.emit(None)

    def _fill(self, current):
        types_ = self.property("nodeTypes") or []
        kinds = [types_] if isinstance(types_, str) else list(types_)
        found = [node for kind in kinds for node in self._scene.GetNodesByClass(kind) if not node.GetHideFromEditors()]
        self._nodes = [None, *found]
        self.blockSignals(True)
        self.clear()
        self.addItems(["None", *(node.GetName() for node in found)])
        self.setCurrentIndex(self._nodes.index(current) if current in self._nodes else 0)
        self.blockSignals(False)

    def currentNode(self):
        index = self.currentIndex()
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def setCurrentNode(self, node):
        if node is self.currentNode():
            return
        self._fill(node)
        self.currentNodeChanged.emit(node)


class Standing(QtWidgets.QWidget):
    """A widget with properties that Qt's own widget lacks, kept as dynamic ones: name to default."""

    properties: dict = {}

    def event(self, event):
        if event.type() == QtCore.QEvent.Type.DynamicPropertyChange:
            name = event.propertyName().data().decode()
            if name in self.properties:
                self.changed(name, self.property(name))
        return super().event(event)

    def changed(self, name, value):
        pass


class CollapsibleButton(Standing):
    """A bar with a triangle, as CTK draws it, over the section's content."""

    properties = {"text": "", "collapsed": False}
    BAR = 26

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setContentsMargins(2, self.BAR + 2, 2, 2)

    def changed(self, name, value):
        if name == "collapsed":
            self.setMaximumHeight(self.BAR if value else 16777215)
        self.update()

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.setPen(QtGui.QPen(QtGui.QColor("#c3c7cb")))
        painter.setBrush(QtGui.QColor("#e3e6e9"))
        painter.drawRoundedRect(QtCore.QRectF(0.5, 0.5, self.width() - 1, self.BAR - 2), 3, 3)
        painter.setPen(QtCore.Qt.PenStyle.NoPen)
        painter.setBrush(QtGui.QColor("#4a5561"))
        x, y = 12, self.BAR / 2 - 0.5
        points = ((-3, -5), (-3, 5), (4, 0)) if self.property("collapsed") else ((-5, -3), (5, -3), (0, 4))
        painter.drawPolygon(QtGui.QPolygonF([QtCore.QPointF(x + dx, y + dy) for dx, dy in points]))
        painter.setPen(self.palette().color(QtGui.QPalette.ColorRole.WindowText))
        painter.drawText(
            QtCore.QRectF(24, 0, self.width() - 30, self.BAR - 1),
            QtCore.Qt.AlignmentFlag.AlignVCenter,
            self.property("text") or "",
        )


class DirectoryButton(Standing):
    properties = {"directory": ""}
    directoryChanged = QtCore.Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self.button = QtWidgets.QPushButton(self.style().standardIcon(QtWidgets.QStyle.StandardPixmap.SP_DirIcon), "")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)

    def changed(self, name, value):
        self.button.setText(value)
        self.directoryChanged.emit(value)


class PathLineEdit(Standing):
    properties = {"currentPath": "", "filters": ""}
    currentPathChanged = QtCore.Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.line = QtWidgets.QLineEdit()
        layout.addWidget(self.line)
        layout.addWidget(QtWidgets.QToolButton(text="..."))

    def changed(self, name, value):
        if name == "currentPath":
            self.line.setText(value)
            self.currentPathChanged.emit(value)


class SegmentEditor(Standing):
    """The state that the panel sets, and the segment table with colour and status; drawing is done on MRML by the test."""

    properties = {"unorderedEffectsVisible": True, "undoEnabled": False, "autoShowSourceVolumeNode": True}

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._list = QtWidgets.QTableWidget(0, 4)
        self._list.setHorizontalHeaderLabels(["", "", "Name", "Status"])
        self._list.verticalHeader().hide()
        self._list.verticalHeader().setDefaultSectionSize(22)
        self._list.setFixedHeight(22 * 5 + 4)
        self._list.setColumnWidth(0, 28)
        self._list.setColumnWidth(1, 28)
        self._list.horizontalHeader().setSectionResizeMode(2, QtWidgets.QHeaderView.ResizeMode.Stretch)
        layout.addWidget(self._list)
        buttons = QtWidgets.QGridLayout()
        for n, name in enumerate(
            ("Paint", "Erase", "Draw", "Scissors", "Threshold", "Islands", "Smoothing", "Undo", "Redo")
        ):
            tool = QtWidgets.QToolButton(text=name)
            tool.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
            buttons.addWidget(tool, n // 5, n % 5)
        layout.addLayout(buttons)
        self._node = self._volume = self.editorNode = None
        self.undoStates = 0

    def setMRMLSegmentEditorNode(self, node):
        self.editorNode = node

    def setMRMLScene(self, scene):
        scene.AddObserver(scene.EndImportEvent, lambda *unused: setattr(self, "_node", None))
        scene.AddObserver(scene.EndBatchProcessEvent, self._on_batch)

    def _on_batch(self, *unused):
        """What its selector shows, nothing after an import, becomes the segmentation (qMRMLSegmentEditorWidget.cxx)."""
        if self.editorNode is not None and self.editorNode.GetSegmentationNode() is not self._node:
            self.setSegmentationNode(self._node)

    def setSegmentationNode(self, node):
        if self.editorNode is not None:
            self.editorNode.SetAndObserveSegmentationNode(node)
        if not slicer.mrmlScene.IsBatchProcessing():  # the real one shows nothing new before a batch has ended
            self._node = node
            self.list()

    def list(self):
        """Segments as they are now."""
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        ids = [] if self._node is None else list(self._node.GetSegmentation().GetSegmentIDs())
        self._list.setRowCount(len(ids))
        for row, segment_id in enumerate(ids):
            segment = self._node.GetSegmentation().GetSegment(segment_id)
            picture = QtGui.QPixmap(14, 14)
            picture.fill(QtGui.QColor.fromRgbF(*segment.GetColor()))
            status = logic.GetSegmentStatusAsHumanReadableString(logic.GetSegmentStatus(segment))
            self._list.setItem(row, 0, QtWidgets.QTableWidgetItem("\N{EYE}"))
            self._list.setItem(row, 1, QtWidgets.QTableWidgetItem(QtGui.QIcon(picture), ""))
            self._list.setItem(row, 2, QtWidgets.QTableWidgetItem(segment.GetName()))
            self._list.setItem(row, 3, QtWidgets.QTableWidgetItem(status))

    def segmentationNode(self):
        return self._node

    def setSourceVolumeNode(self, node):
        self._volume = node

    def setSegmentationNodeSelectorVisible(self, visible):
        pass

    def setSourceVolumeNodeSelectorVisible(self, visible):
        pass

    def setEffectNameOrder(self, names):
        pass

    def saveStateForUndo(self):
        self.undoStates += 1

    def removeViewObservations(self):
        pass

    def installKeyboardShortcuts(self):
        pass

    def uninstallKeyboardShortcuts(self):
        pass


WIDGETS = {
    "qMRMLWidget": MRMLWidget,
    "qMRMLNodeComboBox": NodeComboBox,
    "ctkCollapsibleButton": CollapsibleButton,
    "ctkDirectoryButton": DirectoryButton,
    "ctkPathLineEdit": PathLineEdit,
    "qMRMLSegmentEditorWidget": SegmentEditor,
}


class Loader(QtUiTools.QUiLoader):
    def __init__(self):
        super().__init__()
        self.classes: dict[str, str] = {}

    def createWidget(self, cls, parent=None, name=""):
        self.classes[name] = cls
        if cls not in WIDGETS:
            return super().createWidget(cls, parent, name)
        widget = WIDGETS[cls](parent)
        widget.setObjectName(name)
        return widget


# --- the application ------------------------------------------------------------------------------------------------


class Layout(QtWidgets.QVBoxLayout):
    def addWidget(self, widget):
        super().addWidget(widget._q if isinstance(widget, PythonQtObject) else widget)


class Settings:
    """`QSettings` of one test: everything comes back as text, as from a file."""

    def __init__(self):
        self.values = {}

    def setValue(self, key, value):
        self.values[key] = str(value)

    def value(self, key):
        return self.values.get(key)


class Application:
    """`slicer.app`, a slice view named Red, and the module's widget. `close()` ends it."""

    def __init__(self):
        self.qt = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
        errors.clear()
        self.scene = start_scene()
        self.settings, self.chosen_file, self.agrees, self.questions = Settings(), "", True, []
        self.quitting = []
        slice_logic = slicer.vtkMRMLSliceLogic()
        slice_logic.SetMRMLScene(self.scene)
        slice_logic.AddSliceNode("Red")
        red = SimpleNamespace(sliceLogic=lambda: slice_logic)
        layout = SimpleNamespace(sliceWidget=lambda name: red if name == "Red" else None)
        slicer.app = SimpleNamespace(
            connect=self._connect, disconnect=lambda signal, slot: None, layoutManager=lambda: layout
        )
        self.red = slice_logic
        self._install_modules()
        self.loaders = []
        specification = importlib.util.spec_from_file_location("ScarNetSegment", MODULE)
        self.module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(self.module)

    def _connect(self, signal, slot):
        if signal == "aboutToQuit()":
            self.quitting.append(slot)

    def _install_modules(self):
        qt = types.ModuleType("qt")
        qt.QTimer = lambda: PythonQtObject(QtCore.QTimer(), "QTimer")
        qt.QTableWidgetItem, qt.QBrush, qt.QColor = QtWidgets.QTableWidgetItem, QtGui.QBrush, QtGui.QColor
        qt.QPixmap, qt.QIcon, qt.QUrl = QtGui.QPixmap, QtGui.QIcon, QtCore.QUrl
        qt.QSettings = lambda: self.settings
        qt.QFileDialog = SimpleNamespace(getOpenFileName=lambda parent, title, folder, filters: self.chosen_file)
        qt.QStandardPaths = SimpleNamespace(
            writableLocation=QtCore.QStandardPaths.writableLocation,
            DocumentsLocation=QtCore.QStandardPaths.StandardLocation.DocumentsLocation,
        )
        i18n = types.ModuleType("slicer.i18n")
        i18n.tr, i18n.translate = (lambda text: text), (lambda context, text: text)
        scripted = types.ModuleType("slicer.ScriptedLoadableModule")

        class Module:
            def __init__(self, parent):
                self.parent = parent

        class Widget:
            def __init__(self, parent=None):
                self.container = QtWidgets.QWidget()
                self.layout = Layout(self.container)

            def setup(self):
                pass

            def resourcePath(self, name):
                return str(MODULE.parent / "Resources" / name)

        class Logic:
            def getParameterNode(self):
                return slicer.mrmlScene.GetSingletonNode("ScarNetSegment", "vtkMRMLScriptedModuleNode") or self._new()

            def _new(self):
                node = slicer.vtkMRMLScriptedModuleNode()
                node.SetSingletonTag("ScarNetSegment")
                node.SetName("ScarNetSegment")
                return slicer.mrmlScene.AddNode(node)

        class Test:
            pass

        scripted.ScriptedLoadableModule, scripted.ScriptedLoadableModuleWidget = Module, Widget
        scripted.ScriptedLoadableModuleLogic, scripted.ScriptedLoadableModuleTest = Logic, Test
        sys.modules |= {"qt": qt, "slicer.i18n": i18n, "slicer.ScriptedLoadableModule": scripted}
        slicer.util.loadUI = self._load_ui
        slicer.util.childWidgetVariables = self._children
        slicer.util.startupEnvironment = lambda: dict(os.environ)
        slicer.util.tryWithErrorDisplay = self._try_with_display
        slicer.util.confirmOkCancelDisplay = self._confirm
        self.dialogs: list[str] = []

    def _confirm(self, text):
        self.questions.append(text)
        return self.agrees

    def _load_ui(self, path):
        loader = Loader()
        widget = loader.load(str(path))
        self.loaders.append(loader)
        return PythonQtObject(widget, "qMRMLWidget")

    def _children(self, widget):
        classes = self.loaders[-1].classes
        children = widget._q.findChildren(QtWidgets.QWidget)
        return SimpleNamespace(
            **{
                c.objectName(): PythonQtObject(c, classes[c.objectName()])
                for c in children
                if c.objectName() in classes
            }
        )

    def _try_with_display(self, message, show=True, waitCursor=False):
        host = self

        class Guard:
            def __enter__(self):
                return self

            def __exit__(self, kind, error, trace):
                if error is not None:
                    host.dialogs.append(f"{message}\n{error}")
                return True

        return Guard()

    def open_panel(self):
        """The module's widget, set up and entered as Slicer does."""
        self.panel = self.module.ScarNetSegmentWidget()
        self.panel.setup()
        self.panel.enter()
        self.panel.container.resize(440, 1480)
        self.panel.container.show()
        return self.panel

    def process(self):
        self.qt.processEvents()

    def screenshot(self, path):
        self.panel.ui.editor._q.list()
        self.process()
        self.panel.container.grab().save(str(path))

    def close(self):
        for slot in self.quitting:
            slot()
        self.panel.cleanup()
        self.panel.container.deleteLater()
        self.process()
