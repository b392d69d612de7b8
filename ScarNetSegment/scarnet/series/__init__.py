"""Read and judge an LGE short-axis stack."""

from scarnet.series.geometry import StackGeometry
from scarnet.series.lge import LgeSeries, Reconstruction, SeriesSource, SlicePicture
from scarnet.series.read import read_label_map, read_lge

__all__ = ["LgeSeries", "Reconstruction", "SeriesSource", "SlicePicture", "StackGeometry", "read_label_map", "read_lge"]
