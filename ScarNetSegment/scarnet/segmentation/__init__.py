"""Find the LV, run the network, clean up, estimate doubt."""

from scarnet.segmentation.result import ScarSegmentation
from scarnet.segmentation.segment import segment

__all__ = ["ScarSegmentation", "segment"]
