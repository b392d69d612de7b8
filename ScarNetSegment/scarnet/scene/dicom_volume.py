"""An LGE stack from DICOM files as a volume node that knows its images. Call on the thread that owns the scene."""

import json
from collections.abc import Iterable

from scarnet.scene.nodes import INSTANCE_UIDS_ATTRIBUTE, volume_from_series
from scarnet.series import LgeSeries
from scarnet.series.offers import load_offer

#: Node attribute.
ACQUISITION_ATTRIBUTE = "ScarNet.acquisition"


def load_volume(files: Iterable[str], name: str):
    """A new `vtkMRMLScalarVolumeNode` of the stack in `files`; no patient data in its attributes. Raises InputError."""
    return dicom_volume(load_offer(files), name)


def dicom_volume(series: LgeSeries, name: str):
    """The same of a stack that was read already."""
    volume = volume_from_series(series, name)
    volume.SetAttribute(INSTANCE_UIDS_ATTRIBUTE, " ".join(dict.fromkeys(series.source.sop_instance_uids)))
    volume.SetAttribute(ACQUISITION_ATTRIBUTE, json.dumps(series.source.acquisition))
    return volume
