"""Find the LV, run the network, clean up, estimate doubt."""

from scarnet.segmentation.result import ScarSegmentation

__all__ = ["ScarSegmentation"]
