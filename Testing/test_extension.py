"""The extension as Slicer loads it: files, build lists, names that Qt would swallow silently, and what is imported when.

The Slicer application is not here: the module file is parsed, not run.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import scarnet
from scarnet.segments import SEGMENTS, TERMINOLOGY_CONTEXT
from update_file_list import as_cmake
from widget_members import MEMBERS

ROOT = Path(__file__).resolve().parent.parent
MODULE = ROOT / "ScarNetSegment"
SOURCE = MODULE / "ScarNetSegment.py"
UI = MODULE / "Resources" / "UI" / "ScarNetSegment.ui"


def test_cmake_lists_every_file_of_the_engine():
    text = (MODULE / "files.cmake").read_text(encoding="utf-8")
    assert text == as_cmake(), "run: python Testing/update_file_list.py"
    for line in re.findall(r"^  (\S+/\S+)$", text, flags=re.M):
        assert (MODULE / line).is_file(), line


STANDING_FOR_SLICER = """
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/Use.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/Nothing.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/Nothing.cmake)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-5.12/qt-scripted-modules)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-5.12/qt-scripted-modules)
set(Slicer_FOUND TRUE)
"""
#: The argument names of Slicer's own macros (CMake/SlicerMacroBuildScriptedModule.cmake, SlicerMacroPythonTesting.cmake).
SLICERS_MACROS = """
enable_testing()
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown: ${MY_UNPARSED_ARGUMENTS}")
  endif()
  foreach(file ${MY_SCRIPTS} ${MY_RESOURCES})
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      message(FATAL_ERROR "listed but missing: ${file}")
    endif()
    message(STATUS "installs ${file}")
  endforeach()
endmacro()
macro(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "TESTNAME_PREFIX;SCRIPT" "SLICER_ARGS" ${ARGN})
  if(NOT EXISTS ${MY_SCRIPT})
    message(FATAL_ERROR "no script to test: ${MY_SCRIPT}")
  endif()
  add_test(NAME py_self_test COMMAND ${CMAKE_COMMAND} --version)
endmacro()
"""


def test_cmake_configures_with_slicers_macros(tmp_path):
    """Not Slicer's build, which is not here: its macros by name and argument, and every file and test where it should be."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("CMAKE OR A COMPILER IS NOT INSTALLED: the extension's build files were not tried")
    slicer = tmp_path / "slicer"
    slicer.mkdir()
    (slicer / "SlicerConfig.cmake").write_text(STANDING_FOR_SLICER)
    (slicer / "Use.cmake").write_text(SLICERS_MACROS)
    (slicer / "Nothing.cmake").write_text("")
    build = tmp_path / "build"
    command = ["cmake", "-S", str(ROOT), "-B", str(build), f"-DSlicer_DIR={slicer}", "-DBUILD_TESTING=ON"]
    done = subprocess.run([*command, f"-DSCARNET_TEST_PYTHON={sys.executable}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in (
        "ScarNetSegment.py",
        "scarnet/panel/presenter.py",
        "Resources/UI/ScarNetSegment.ui",
        "DICOMScarNetLGEPlugin.py",
    ):
        assert f"installs {name}" in done.stdout
    assert (build / "lib/Slicer-5.12/qt-scripted-modules/Resources/SampleData/truth.json").is_file()
    tests = subprocess.run(["ctest", "-N"], cwd=build, capture_output=True, text=True).stdout
    assert "py_self_test" in tests and "ScarNetEngine" in tests


def test_the_top_level_is_that_of_an_extension():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "project(ScarNet)" in text and "add_subdirectory(ScarNetSegment)" in text
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "ScarNet.png", "Resources", "Testing"):
        assert (ROOT / name).exists(), name
    entry = json.loads((ROOT / "ScarNet.json").read_text(encoding="utf-8"))
    assert entry["category"] == "Cardiac" and entry["scm_url"].rsplit("/", 1)[1].startswith("Slicer")
    # Slicer's CMake wants the key and takes "" for origin/main; the index's check_repository_size (at most 100 MB) then clones without
    # history, which weights of earlier versions have filled.
    assert entry["scm_revision"] == ""
    assert len(list(MODULE.glob("*.py"))) == 1  # every .py directly in the module folder must be a module


def imports_at_file_scope(tree):
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


def test_the_module_file_imports_nothing_heavy():
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    allowed = {"html", "logging", "os", "pathlib", "shutil", "qt", "slicer", "vtk"}
    assert set(imports_at_file_scope(tree)) <= allowed
    calls = [n for n in tree.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
    assert not calls, "nothing runs when Slicer merely finds the module"


def test_only_the_scene_and_the_panel_know_slicer_and_only_the_module_knows_qt():
    for path in (MODULE / "scarnet").rglob("*.py"):
        imported = set(imports_at_file_scope(ast.parse(path.read_text(encoding="utf-8"))))
        room = path.relative_to(MODULE / "scarnet").parts[0]
        assert not imported & {"qt", "ctk", "PySide6"}, path
        if room not in ("scene", "panel"):
            assert not imported & {"slicer", "vtk"}, path


#: Rooms from the first to the last; a room imports only itself and rooms before it.
ROOMS = "series network segmentation quantification export scene phantom training peers evaluation cohort panel pacs app".split()


def test_rooms_import_only_rooms_before_them():
    for path in (MODULE / "scarnet").rglob("*.py"):
        room = path.relative_to(MODULE / "scarnet").parts[0]
        if room not in ROOMS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.module if isinstance(node, ast.ImportFrom) else None
            match = re.match(r"scarnet\.(\w+)", name or "")
            if match and match[1] in ROOMS:
                assert ROOMS.index(match[1]) <= ROOMS.index(room), f"{path.name} imports {name}"


def run_without(modules, code):
    blocked = f"import sys\nfor name in {modules!r}: sys.modules[name] = None\n"
    return subprocess.run([sys.executable, "-c", blocked + code], capture_output=True, text=True)


def test_the_panel_opens_before_anything_was_installed():
    """What Slicer does not bring is needed at the click, not when the module is opened."""
    pytest.importorskip("slicer", reason="slicer-core is not installed: the Slicer panel was not tested")
    missing = ["onnxruntime", "jinja2", "slicerio", "typer", "rich", "torch", "safetensors", "lightning", "nibabel"]
    code = (
        "from scarnet.scene.host import start_scene; scene = start_scene()\n"
        "from scarnet.panel import PanelParameters, Presenter\n"
        "p = Presenter(PanelParameters(scene.AddNewNodeByClass('vtkMRMLScriptedModuleNode')))\n"
        "assert not p.segment_button.enabled and p.bullseye_svg == ''; p.close()\n"
    )
    done = run_without(missing, code)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_heavy():
    done = run_without(
        ["numpy", "torch", "SimpleITK", "pydicom", "onnxruntime"], "import scarnet; print(scarnet.__version__)"
    )
    assert done.stdout.strip() == scarnet.__version__, done.stderr


def test_requirements_for_slicer_hold_no_package_that_slicer_brings():
    lines = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").split()
    names = {re.split(r"[<>=]", line)[0].lower() for line in lines}
    assert not names & {"torch", "torchvision", "numpy", "simpleitk", "scipy", "pydicom", "vtk"}
    assert not any("==" in line for line in lines)


def test_the_terminology_file_holds_every_segments_codes():
    path = MODULE / "Resources" / "SegmentationCategoryTypeModifier-ScarNet.term.json"
    terminology = json.loads(path.read_text(encoding="utf-8"))
    assert terminology["SegmentationCategoryTypeContextName"] == TERMINOLOGY_CONTEXT
    found = set()
    for category in terminology["SegmentationCodes"]["Category"]:
        for entry in category["Type"]:
            found.add((category["CodeValue"], entry["CodeValue"], entry["CodeMeaning"]))
    for segment in SEGMENTS:
        assert (segment.category[1], segment.type[1], segment.type[2]) in found


# --- the panel's widgets --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ui_widgets():
    root = ElementTree.parse(UI).getroot()
    return {w.get("name"): w.get("class") for w in root.iter("widget")}, root


def test_the_panel_uses_only_members_that_its_widgets_have(ui_widgets):
    widgets, _ = ui_widgets
    used = []
    for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Attribute | ast.Name):
            continue
        owner = node.value
        name = None
        if isinstance(owner, ast.Attribute) and (
            (isinstance(owner.value, ast.Name) and owner.value.id == "ui")
            or (isinstance(owner.value, ast.Attribute) and owner.value.attr == "ui")
        ):
            name = owner.attr
        if name is None:
            continue
        assert name in widgets, f"{name} is not in the .ui file"
        used.append((name, node.attr))
        assert node.attr in MEMBERS[widgets[name]], f"{widgets[name]} has no {node.attr}"
    assert len(used) > 30


def test_every_signal_is_one_that_its_sender_has(ui_widgets):
    widgets, root = ui_widgets
    for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "connect":
            owner = node.func.value
            if isinstance(owner, ast.Attribute) and owner.attr in widgets:
                assert node.args[0].value in MEMBERS[widgets[owner.attr]], node.args[0].value
    for connection in root.iter("connection"):
        assert connection.find("receiver").text in widgets
        assert connection.find("signal").text == "mrmlSceneChanged(vtkMRMLScene*)"
    connected = {c.find("receiver").text for c in root.iter("connection")}
    need = {n for n, c in widgets.items() if c in ("qMRMLNodeComboBox", "qMRMLSegmentEditorWidget")}
    assert connected == need


def test_ui_properties_are_ones_that_the_widgets_have(ui_widgets):
    _, root = ui_widgets
    known = {c.find("class").text for c in root.iter("customwidget")}
    for widget in root.iter("widget"):
        cls = widget.get("class")
        assert cls in MEMBERS and (cls.startswith("Q") or cls in known), cls
        for prop in widget.findall("property"):
            assert prop.get("name") in MEMBERS[cls], (cls, prop.get("name"))


def test_what_users_see_says_research_use_only(ui_widgets):
    _, root = ui_widgets
    assert any("research use only" in (s.text or "") for s in root.iter("string"))
    assert "research use only" in SOURCE.read_text(encoding="utf-8").lower()
