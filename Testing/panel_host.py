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
        if self._q.metaObject().indexOfProperty(name) >= 0:
            return self._q.property(name)
        return getattr(self._q, name)

    def __setattr__(self, name, value):
        self._check(name)
        if name in ("text", "toolTip", "styleSheet") and not isinstance(value, str):
            raise TypeError(f"{self._class}.{name} shows {value!r} as text")
        if self._q.metaObject().indexOfProperty(name) < 0 or not self._q.setProperty(name, value):
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
    def setMRMLScene(self, scene):
        for combo in self.findChildren(NodeComboBox):
            combo.setMRMLScene(scene)


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
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent):
            scene.AddObserver(event, lambda *unused: self._fill(self.currentNode()))
        self._fill(None)

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


class CollapsibleButton(QtWidgets.QGroupBox):
    def _get_text(self):
        return self.title()

    def _set_text(self, text):
        self.setTitle(text)

    def _get_collapsed(self):
        return getattr(self, "_collapsed", False)

    def _set_collapsed(self, value):
        self._collapsed = bool(value)
        self.setMaximumHeight(24 if value else 16777215)

    text = QtCore.Property(str, _get_text, _set_text)
    collapsed = QtCore.Property(bool, _get_collapsed, _set_collapsed)


class DirectoryButton(QtWidgets.QPushButton):
    def _get(self):
        return self.text()

    directory = QtCore.Property(str, _get, lambda self, value: self.setText(value))


class SegmentEditor(QtWidgets.QFrame):
    """The state that the panel sets, and the segments with their colours; drawing is done on MRML by the test."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
        layout = QtWidgets.QVBoxLayout(self)
        effects = QtWidgets.QLabel("Paint · Erase · Draw · Scissors · Threshold · Islands · Smoothing      Undo  Redo")
        effects.setEnabled(False)
        self._list = QtWidgets.QListWidget()
        self._list.setMaximumHeight(82)
        layout.addWidget(self._list)
        layout.addWidget(effects)
        self._node = self._volume = self.editorNode = None
        self.undoStates = 0

    unorderedEffectsVisible = QtCore.Property(bool, lambda self: True, lambda self, value: None)
    undoEnabled = QtCore.Property(bool, lambda self: True, lambda self, value: None)

    def setMRMLSegmentEditorNode(self, node):
        self.editorNode = node

    def setSegmentationNode(self, node):
        self._node = node
        if self.editorNode is not None:
            self.editorNode.SetAndObserveSegmentationNode(node)
        self._list.clear()
        if node is not None:
            for segment_id in node.GetSegmentation().GetSegmentIDs():
                segment = node.GetSegmentation().GetSegment(segment_id)
                picture = QtGui.QPixmap(12, 12)
                picture.fill(QtGui.QColor.fromRgbF(*segment.GetColor()))
                self._list.addItem(QtWidgets.QListWidgetItem(QtGui.QIcon(picture), segment.GetName()))

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


class Show3DButton(QtWidgets.QPushButton):
    def setSegmentationNode(self, node):
        self.setEnabled(node is not None)


class TableView(QtWidgets.QTableWidget):
    def setMRMLTableNode(self, node):
        self.clear()
        if node is None:
            self.setRowCount(0)
            self.setColumnCount(0)
            return
        rows, columns = node.GetNumberOfRows(), node.GetNumberOfColumns()
        self.setRowCount(rows)
        self.setColumnCount(columns)
        self.setHorizontalHeaderLabels([node.GetColumnName(c) for c in range(columns)])
        for r in range(rows):
            for c in range(columns):
                self.setItem(r, c, QtWidgets.QTableWidgetItem(node.GetCellText(r, c)))


WIDGETS = {
    "qMRMLWidget": MRMLWidget,
    "qMRMLNodeComboBox": NodeComboBox,
    "ctkCollapsibleButton": CollapsibleButton,
    "ctkDirectoryButton": DirectoryButton,
    "qMRMLSegmentEditorWidget": SegmentEditor,
    "qMRMLSegmentationShow3DButton": Show3DButton,
    "qMRMLTableView": TableView,
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


class Application:
    """`slicer.app`, a slice view named Red, and the module's widget. `close()` ends it."""

    def __init__(self):
        self.qt = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
        errors.clear()
        self.scene = start_scene()
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
        qt.QPixmap = QtGui.QPixmap
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
        self.dialogs: list[str] = []

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
        self.panel.container.resize(430, 1040)
        self.panel.container.show()
        return self.panel

    def process(self):
        self.qt.processEvents()

    def screenshot(self, path):
        self.process()
        self.panel.container.grab().save(str(path))

    def close(self):
        for slot in self.quitting:
            slot()
        self.panel.cleanup()
        self.panel.container.deleteLater()
        self.process()
