"""Simulated LGE short-axis stacks with exactly known truth, and writing them as DICOM, as vendors do."""

from scarnet.phantom.anatomy import HeartParameters, ScarParameters
from scarnet.phantom.simulate import Phantom, PhantomParameters, simulate
from scarnet.phantom.write import write_dicom, write_sample, write_vendor_sample

__all__ = [
    "HeartParameters",
    "Phantom",
    "PhantomParameters",
    "ScarParameters",
    "simulate",
    "write_dicom",
    "write_sample",
    "write_vendor_sample",
]
