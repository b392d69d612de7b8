"""Report and segmentation to files, and segmentations back from files."""

from scarnet.export.outputs import write_outputs
from scarnet.export.segmentation_file import (
    read_segmentation,
    read_segmentation_file,
    write_label_map,
    write_segmentation,
)

__all__ = ["read_segmentation", "read_segmentation_file", "write_label_map", "write_outputs", "write_segmentation"]
