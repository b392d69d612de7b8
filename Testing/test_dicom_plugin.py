"""The plugin of Slicer's DICOM module, on real MRML nodes and a strict stand-in for DICOMLib and the database."""

import ast
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pydicom
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: the DICOM plugin was not tested")

from scarnet.phantom.study import IDENTITY, write_study  # noqa: E402
from scarnet.phantom.zoo import named  # noqa: E402
from scarnet.scene import nodes  # noqa: E402
from scarnet.scene.host import start_scene  # noqa: E402
from scarnet.series import Reconstruction, read_lge  # noqa: E402
from scarnet.series.dicom import with_dicom_files  # noqa: E402
from scarnet.series.offers import PLAIN_CONFIDENCE, offers  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
MODULE = ROOT / "DICOMScarNetLGEPlugin"


class DICOMLoadable:
    """The attributes of Slicer's own (Modules/Scripted/DICOMLib/DICOMPlugin.py), and no others."""

    __slots__ = ("files", "name", "tooltip", "warning", "selected", "confidence", "loadSuccess")

    def __init__(self):
        self.files, self.name, self.tooltip = [], "Unknown", "No further information available"
        self.warning, self.selected, self.confidence = "", False, 0.5


class DICOMPlugin:
    """What Slicer's base class gives to plugins."""

    def __init__(self):
        self.loadType, self.loadableCache = "Generic DICOM", {}
        self.tags = {
            "seriesDescription": "0008,103E",
            "seriesNumber": "0020,0011",
            "frameOfReferenceUID": "0020,0052",
        }  # 5.10
        self.placed = []

    def getCachedLoadables(self, files):
        return self.loadableCache.get(tuple(files))

    def cacheLoadables(self, files, loadables):
        self.loadableCache[tuple(files)] = loadables

    def addSeriesInSubjectHierarchy(self, loadable, node):
        assert node.IsA("vtkMRMLNode") and loadable.files
        self.placed.append(node)


class Database:
    def fileValue(self, file, tag):
        group, element = tag.split(",")
        try:
            return str(pydicom.dcmread(file, stop_before_pixels=True)[int(group, 16), int(element, 16)].value)
        except (KeyError, pydicom.errors.InvalidDicomError):
            return ""


@pytest.fixture
def plugin(monkeypatch):
    start_scene()
    library = ModuleType("DICOMLib")
    library.DICOMLoadable, library.DICOMPlugin = DICOMLoadable, DICOMPlugin
    monkeypatch.setitem(sys.modules, "DICOMLib", library)
    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    chosen = []
    logic = SimpleNamespace(
        GetSelectionNode=lambda: SimpleNamespace(SetActiveVolumeID=chosen.append), PropagateVolumeSelection=lambda: None
    )
    monkeypatch.setattr(slicer, "app", SimpleNamespace(applicationLogic=lambda: logic), raising=False)
    spec = importlib.util.spec_from_file_location("DICOMScarNetLGEPlugin", MODULE / "DICOMScarNetLGEPlugin.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parent = SimpleNamespace()
    module.DICOMScarNetLGEPlugin(parent)
    assert parent.hidden and "esearch use only" in parent.helpText
    made = slicer.modules.dicomPlugins["DICOMScarNetLGEPlugin"]()
    made.chosen = chosen
    return made


def lists_of(folder):
    """Files of every series, as Slicer's database hands them over."""
    series = {}
    for file in sorted(folder.iterdir()):
        try:
            series.setdefault(str(pydicom.dcmread(file, stop_before_pixels=True).SeriesInstanceUID), []).append(
                str(file)
            )
        except (pydicom.errors.InvalidDicomError, AttributeError):
            continue
    return list(series.values())


def test_a_stack_of_single_slice_series_is_one_loadable(plugin, hearts, tmp_path):
    truth = write_study(named("siemens-series-per-slice"), tmp_path / "s", hearts)
    lists = lists_of(truth.path)
    loadables = plugin.examineForImport(lists)
    psir, magnitude = loadables
    assert psir.selected and psir.confidence > PLAIN_CONFIDENCE and len(psir.files) == 8
    assert "PSIR" in psir.name and "magnitude" in magnitude.name and psir.warning == ""
    assert plugin.examineForImport(lists) is loadables and plugin.examine(lists) == []
    volume = plugin.load(psir)
    assert plugin.placed == [volume] and plugin.chosen == [volume.GetID()]
    series = nodes.series_from_volume(volume)
    assert np.array_equal(series.image, truth.series.image)
    assert series.geometry.matches(truth.series.geometry, tolerance_mm=1e-4)
    uids = volume.GetAttribute("DICOM.instanceUIDs").split()
    assert uids == [str(pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID) for f in psir.files]
    traced = with_dicom_files(series, [Path(f) for f in psir.files])
    assert list(traced.source.slice_files) == psir.files  # slice k of the volume is file k, where it lies
    facts = json.loads(volume.GetAttribute("ScarNet.acquisition"))
    assert facts["InversionTime"] == 300 and facts["Manufacturer"] == "SIEMENS"
    written = " ".join([volume.GetName(), psir.tooltip, *(volume.GetAttribute(n) for n in volume.GetAttributeNames())])
    assert not any(value in written for value in IDENTITY.values())


def test_a_plain_series_is_left_to_the_plain_loader(plugin, hearts, tmp_path):
    truth = write_study(named("siemens-psir"), tmp_path / "s", hearts)
    (loadable,) = plugin.examineForImport(lists_of(truth.path))
    assert loadable.confidence < PLAIN_CONFIDENCE and not loadable.selected


def test_two_stacks_in_one_series_are_two_loadables(plugin, hearts, tmp_path):
    truth = write_study(named("philips-both-in-one-series"), tmp_path / "s", hearts)
    loadables = plugin.examineForImport(lists_of(truth.path))
    assert [len(loadable.files) for loadable in loadables] == [8, 8] and all(x.selected for x in loadables)


def test_enhanced_images_load_as_they_lie(plugin, hearts, tmp_path):
    truth = write_study(named("siemens-enhanced"), tmp_path / "s", hearts)
    (loadable,) = plugin.examineForImport(lists_of(truth.path))
    series = nodes.series_from_volume(plugin.load(loadable))
    assert len(loadable.files) == 1 and np.array_equal(series.image, truth.series.image)


def test_unequal_slices_are_measured_where_they_were_acquired(plugin, hearts, tmp_path):
    truth = write_study(named("missing-slice"), tmp_path / "s", hearts)
    (loadable,) = plugin.examineForImport(lists_of(truth.path))
    assert "not equidistant" in loadable.warning and loadable.selected
    volume = plugin.load(loadable)
    series = nodes.series_from_volume(volume)
    assert series.geometry.slice_weights_mm == pytest.approx(truth.series.geometry.slice_weights_mm)
    assert any("as acquired" in warning for warning in series.warnings)
    volume.SetOrigin(0, 0, 0)
    with pytest.raises(nodes.InputError, match="moved or cropped"):
        nodes.series_from_volume(volume)


def test_an_offset_that_was_taken_away_is_known_to_the_panel(plugin, hearts, tmp_path):
    truth = write_study(named("canon-silent-offset"), tmp_path / "s", hearts)
    volume = plugin.load(plugin.examineForImport(lists_of(truth.path))[0])
    series = nodes.series_from_volume(volume)
    assert series.reconstruction == Reconstruction.PSIR and np.array_equal(series.image, read_lge(truth.path).image)


def test_nothing_is_offered_where_there_is_no_lge(plugin, hearts, tmp_path):
    truth = write_study(named("no-lge"), tmp_path / "s", hearts)
    assert plugin.examineForImport(lists_of(truth.path)) == []
    assert plugin.examineForImport([[]]) == [] and offers([]) == []
    assert offers([tmp_path / "nowhere"]) == []


def test_a_stack_that_cannot_be_read_is_said_in_the_log(plugin, hearts, tmp_path, caplog):
    truth = write_study(named("truncated-pixels"), tmp_path / "s", hearts)
    (loadable,) = plugin.examineForImport(lists_of(truth.path))
    assert plugin.load(loadable) is None and "truncated" in caplog.text


def test_the_module_folder_holds_what_slicer_needs():
    tree = ast.parse((MODULE / "DICOMScarNetLGEPlugin.py").read_text(encoding="utf-8"))
    imported = {a.name for n in tree.body if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in tree.body if isinstance(n, ast.ImportFrom)}
    assert imported == {"logging", "slicer", "DICOMLib"}
    assert [p.name for p in MODULE.glob("*.py")] == ["DICOMScarNetLGEPlugin.py"]
    assert "DICOMScarNetLGEPlugin" in {n.name for n in tree.body if isinstance(n, ast.ClassDef)}
    assert "add_subdirectory(DICOMScarNetLGEPlugin)" in (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
