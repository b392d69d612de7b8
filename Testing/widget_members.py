"""Members of each widget class that the panel may use, taken by hand from the headers of Qt, CTK and Slicer.

PythonQt is silent about a wrong name; the tests are not.
"""

_WIDGET = {"enabled", "visible", "toolTip", "styleSheet", "minimumSize"}

MEMBERS = {
    "QLabel": _WIDGET | {"text", "wordWrap", "alignment", "setPixmap", "openExternalLinks"},
    "QPushButton": _WIDGET | {"text", "icon", "iconSize", "connect", "clicked(bool)"},
    "QCheckBox": _WIDGET | {"text", "checked"},
    "QProgressBar": _WIDGET | {"maximum", "value", "textVisible"},
    "QComboBox": _WIDGET
    | {"addItem", "currentIndex", "connect", "currentIndexChanged(int)", "sizeAdjustPolicy", "minimumContentsLength"},
    "QDoubleSpinBox": _WIDGET
    | {"value", "suffix", "decimals", "minimum", "maximum", "singleStep", "connect", "valueChanged(double)"},
    "QTableWidget": _WIDGET
    | {"rowCount", "setItem", "connect", "cellClicked(int,int)"}
    | {"editTriggers", "selectionBehavior", "alternatingRowColors", "showGrid"},
    "ctkCollapsibleButton": _WIDGET | {"text", "collapsed"},
    "ctkDirectoryButton": _WIDGET | {"directory", "connect", "directoryChanged(QString)"},
    "ctkPathLineEdit": _WIDGET | {"currentPath", "filters", "connect", "currentPathChanged(QString)"},
    "qMRMLNodeComboBox": _WIDGET
    | {"nodeTypes", "addEnabled", "removeEnabled", "renameEnabled", "noneEnabled", "showChildNodeTypes"}
    | {"setCurrentNode", "currentNode", "connect", "currentNodeChanged(vtkMRMLNode*)"},
    "qMRMLSegmentEditorWidget": _WIDGET
    | {"setMRMLSegmentEditorNode", "setSegmentationNode", "segmentationNode", "setSourceVolumeNode"}
    | {"setSegmentationNodeSelectorVisible", "setSourceVolumeNodeSelectorVisible", "setEffectNameOrder"}
    | {"unorderedEffectsVisible", "undoEnabled", "autoShowSourceVolumeNode", "saveStateForUndo"}
    | {"removeViewObservations", "installKeyboardShortcuts", "uninstallKeyboardShortcuts"},
    "qMRMLWidget": _WIDGET | {"setMRMLScene"},
    "QTimer": {"setInterval", "connect", "timeout()", "start", "stop"},
}
