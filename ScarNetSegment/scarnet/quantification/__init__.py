"""Volumes, masses, percent of LV, AHA-17, transmurality, threshold methods, intervals."""

from scarnet.quantification.report import ScarReport

__all__ = ["ScarReport"]
