"""What the user chose, kept in the scene: a typed view of the module's parameter node."""

from scarnet.conventions import MYOCARDIAL_DENSITY_G_PER_ML


class _Reference:
    """A node that the parameter node refers to; None when it is not there."""

    def __init__(self, role: str):
        self.role = role

    def __get__(self, instance, owner):
        return self if instance is None else instance.node.GetNodeReference(self.role)

    def __set__(self, instance, node) -> None:
        instance.node.SetNodeReferenceID(self.role, None if node is None else node.GetID())


class _Text:
    def __init__(self, key: str, default: str):
        self.key, self.default = key, default

    def __get__(self, instance, owner):
        return self if instance is None else instance.node.GetParameter(self.key) or self.default

    def __set__(self, instance, value: str) -> None:
        instance.node.SetParameter(self.key, value)


class PanelParameters:
    """Wraps a `vtkMRMLScriptedModuleNode`; saved and restored with the scene.

    Attributes
        volume: the LGE `vtkMRMLScalarVolumeNode`.
        segmentation: the `vtkMRMLSegmentationNode` that is shown, corrected and measured.
        table: the `vtkMRMLTableNode` of the report.
        lv_center: a `vtkMRMLMarkupsFiducialNode` whose first point lies in the left ventricle, instead of searching.
        rv_insertion: another, whose first point is the anterior insertion of the right ventricle.
        remote: another, whose first point lies in muscle without enhancement.
        model, device: as `scarnet.segmentation.segment` takes them.
        method: key of the intensity method that is listed beside the scar; "" for none.
    """

    volume = _Reference("LGEVolume")
    segmentation = _Reference("Segmentation")
    table = _Reference("ReportTable")
    lv_center = _Reference("LVCenter")
    rv_insertion = _Reference("RVInsertion")
    remote = _Reference("RemoteMuscle")
    model = _Text("Model", "default")
    device = _Text("Device", "auto")
    method = _Text("ComparedMethod", "")

    def __init__(self, node):
        self.node = node

    def chosen(self, name: str) -> bool:
        """Whether `name` (model, device, method or density_g_per_ml) was ever set in this scene."""
        key = "MyocardialDensity" if name == "density_g_per_ml" else getattr(type(self), name).key
        return bool(self.node.GetParameter(key))

    @property
    def density_g_per_ml(self) -> float:
        try:
            return float(self.node.GetParameter("MyocardialDensity"))
        except ValueError:
            return MYOCARDIAL_DENSITY_G_PER_ML

    @density_g_per_ml.setter
    def density_g_per_ml(self, value: float) -> None:
        self.node.SetParameter("MyocardialDensity", repr(float(value)))
