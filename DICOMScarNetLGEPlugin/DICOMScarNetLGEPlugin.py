"""LGE short-axis stacks in Slicer's DICOM module: one loadable for a stack, however many series its slices came in.

Thin: which files form a stack is decided in `scarnet.series`, which lies beside this module once installed.
"""

import logging

import slicer
from DICOMLib import DICOMLoadable, DICOMPlugin


class DICOMScarNetLGEPluginClass(DICOMPlugin):
    """Offers LGE stacks and loads them, research use only."""

    def __init__(self):
        super().__init__()
        self.loadType = "LGE short axis"
        self.tags["studyInstanceUID"] = "0020,000D"
        self.tags["modality"] = "0008,0060"  # Slicer 5.10 does not know it by itself

    def examineForImport(self, fileLists):
        """One loadable for each LGE short-axis stack among all series that are examined together.

        A stack's slices may lie in several of the lists, so that they are looked at as one.
        """
        lists = [files for files in fileLists if files and self._modality(files[0]) in ("MR", "")]
        files = [file for files in lists for file in files]
        if not files:
            return []
        loadables = self.getCachedLoadables(files)
        if loadables is None:
            loadables = self.examineFiles(files)
            self.cacheLoadables(files, loadables)
        return loadables

    def examine(self, fileLists):
        """Nothing more: Slicer asks this way again when there was nothing to offer."""
        return []

    def examineFiles(self, files):
        from scarnet.series.offers import PLAIN_CONFIDENCE, offers

        loadables = []
        for offer in offers(files):
            loadable = DICOMLoadable()
            loadable.files = list(offer.files)
            loadable.name = offer.name
            loadable.tooltip = offer.tooltip
            loadable.warning = offer.warning
            loadable.confidence = offer.confidence
            loadable.selected = offer.confidence > PLAIN_CONFIDENCE
            loadables.append(loadable)
        return loadables

    def load(self, loadable):
        """The volume node, or None with the reason in the log."""
        from scarnet.errors import InputError
        from scarnet.scene.dicom_volume import load_volume

        try:
            volume = load_volume(loadable.files, loadable.name)
        except InputError as error:
            logging.error("LGE stack not loaded: %s", error)
            return None
        self.addSeriesInSubjectHierarchy(loadable, volume)
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetActiveVolumeID(volume.GetID())
        slicer.app.applicationLogic().PropagateVolumeSelection()
        return volume

    def _modality(self, file):
        return slicer.dicomDatabase.fileValue(file, self.tags["modality"])


class DICOMScarNetLGEPlugin:
    """What Slicer finds as a module: registers the plugin with the DICOM module."""

    def __init__(self, parent):
        parent.title = "DICOM LGE Import Plugin (ScarNet)"
        parent.categories = ["Developer Tools.DICOM Plugins"]
        parent.contributors = ["The SlicerScarNet developers"]
        parent.helpText = (
            "Finds LGE short-axis stacks in DICOM studies, also where each slice is a series. Research use only."
        )
        parent.acknowledgementText = ""
        parent.hidden = True  # it only appears in the DICOM module
        # This module may be found before the DICOM module, which keeps the list.
        try:
            slicer.modules.dicomPlugins  # noqa: B018 (Slicer's own way to ask)
        except AttributeError:
            slicer.modules.dicomPlugins = {}
        slicer.modules.dicomPlugins["DICOMScarNetLGEPlugin"] = DICOMScarNetLGEPluginClass
