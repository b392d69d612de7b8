"""Volumes, masses and percent of LV from a label map."""

from scarnet.quantification.edits import summarise_edits
from scarnet.quantification.quantify import QuantificationParameters, quantify
from scarnet.quantification.regional import remote_region
from scarnet.quantification.report import ScarReport

__all__ = ["QuantificationParameters", "ScarReport", "quantify", "remote_region", "summarise_edits"]
