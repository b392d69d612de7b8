"""An LGE stack from DICOM files as a volume node that knows its images. Call on the thread that owns the scene."""

import json
from collections.abc import Iterable

from scarnet.scene.nodes import volume_from_series
from scarnet.series.offers import load_offer

#: Node attributes: Slicer's own for the images in the order of the slices, by which exports refer to them; and ours.
INSTANCE_UIDS_ATTRIBUTE = "DICOM.instanceUIDs"
ACQUISITION_ATTRIBUTE, WARNINGS_ATTRIBUTE = "ScarNet.acquisition", "ScarNet.warnings"


def load_volume(files: Iterable[str], name: str):
    """A new `vtkMRMLScalarVolumeNode` of the stack in `files`; no patient data in its attributes. Raises InputError."""
    series = load_offer(files)
    volume = volume_from_series(series, name)
    volume.SetAttribute(INSTANCE_UIDS_ATTRIBUTE, " ".join(dict.fromkeys(series.source.sop_instance_uids)))
    volume.SetAttribute(ACQUISITION_ATTRIBUTE, json.dumps(series.source.acquisition))
    volume.SetAttribute(WARNINGS_ATTRIBUTE, json.dumps(series.warnings))
    return volume
