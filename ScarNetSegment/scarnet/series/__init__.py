"""Read and judge an LGE short-axis stack."""

from scarnet.series.geometry import StackGeometry
from scarnet.series.lge import LgeSeries, Reconstruction, SeriesSource

__all__ = ["LgeSeries", "Reconstruction", "SeriesSource", "StackGeometry"]
