"""Members of each widget class that the panel may use, taken by hand from the headers of Qt, CTK and Slicer.

PythonQt is silent about a wrong name; the tests are not.
"""

_WIDGET = {"enabled", "visible", "toolTip", "styleSheet", "minimumSize"}

MEMBERS = {
    "QLabel": _WIDGET | {"text", "wordWrap", "alignment", "setPixmap"},
    "QPushButton": _WIDGET | {"text", "connect", "clicked(bool)"},
    "QProgressBar": _WIDGET | {"maximum", "value", "textVisible"},
    "QComboBox": _WIDGET | {"addItem", "currentIndex", "connect", "currentIndexChanged(int)"},
    "QDoubleSpinBox": _WIDGET
    | {"value", "suffix", "decimals", "minimum", "maximum", "singleStep", "connect", "valueChanged(double)"},
    "QTableWidget": _WIDGET
    | {"rowCount", "setItem", "connect", "cellClicked(int,int)", "editTriggers", "selectionBehavior"},
    "ctkCollapsibleButton": _WIDGET | {"text", "collapsed"},
    "ctkDirectoryButton": _WIDGET | {"directory"},
    "qMRMLNodeComboBox": _WIDGET
    | {"nodeTypes", "addEnabled", "removeEnabled", "renameEnabled", "noneEnabled", "showChildNodeTypes"}
    | {"setCurrentNode", "currentNode", "connect", "currentNodeChanged(vtkMRMLNode*)"},
    "qMRMLSegmentEditorWidget": _WIDGET
    | {"setMRMLSegmentEditorNode", "setSegmentationNode", "segmentationNode", "setSourceVolumeNode"}
    | {"setSegmentationNodeSelectorVisible", "setSourceVolumeNodeSelectorVisible", "setEffectNameOrder"}
    | {"unorderedEffectsVisible", "undoEnabled", "saveStateForUndo", "removeViewObservations"}
    | {"installKeyboardShortcuts", "uninstallKeyboardShortcuts"},
    "qMRMLSegmentationShow3DButton": _WIDGET | {"text", "setSegmentationNode"},
    "qMRMLTableView": _WIDGET | {"setMRMLTableNode", "editTriggers"},
    "qMRMLWidget": _WIDGET | {"setMRMLScene"},
    "QTimer": {"setInterval", "connect", "timeout()", "start", "stop"},
}
