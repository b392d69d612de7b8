"""A Slicer scene without the Slicer application, on slicer-core: for tests and scripts.

Inside Slicer the application itself is the host and this module is not needed.
"""

from types import SimpleNamespace

import slicer
import vtk


def start_scene():
    """A new `vtkMRMLScene` with the logics that nodes rely on, made the global one of `slicer`."""
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.GetColorLogic().SetMRMLScene(scene)
    application.GetColorLogic().AddDefaultColorNodes()
    modules = {}
    verbosity = vtk.vtkLogger.GetCurrentVerbosityCutoff()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)  # slicer-core lacks Slicer's terminology files
    for key, name, logic_class in (
        ("colors", "Colors", "vtkMRMLColorLogic"),
        ("subjecthierarchy", "SubjectHierarchy", "vtkSlicerSubjectHierarchyModuleLogic"),
        ("terminologies", "Terminologies", "vtkSlicerTerminologiesModuleLogic"),
        ("segmentations", "Segmentations", "vtkSlicerSegmentationsModuleLogic"),
        ("volumes", "Volumes", "vtkSlicerVolumesLogic"),
        ("tables", "Tables", "vtkSlicerTablesLogic"),
        ("transforms", "Transforms", "vtkSlicerTransformLogic"),
    ):
        logic = getattr(slicer, logic_class)()
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(application)
        application.SetModuleLogic(name, logic)
        modules[key] = logic
    vtk.vtkLogger.SetStderrVerbosity(verbosity)
    share_globals(scene, application, modules)
    return scene


def share_globals(scene, application, modules: dict) -> None:
    """Make `scene` the one that `slicer.util` and this room work on. `modules`: Slicer's names of modules to their logics."""
    slicer.mrmlScene = scene
    slicer.modules = SimpleNamespace(
        **{key: SimpleNamespace(logic=lambda logic=logic: logic) for key, logic in modules.items()}
    )
    scene._scarnet_application = application  # the scene needs it alive


def scene_files(scene) -> tuple:
    """Let a scene of `start_scene` write and read .mrb, as the application does: the logics that do so, to be kept as long
    as that is needed."""
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    remote.AddDataIOToScene()
    manager = slicer.vtkDataIOManagerLogic()
    manager.SetMRMLApplicationLogic(scene._scarnet_application)
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    return remote, manager
