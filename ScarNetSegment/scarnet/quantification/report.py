"""The numbers of one patient: what every table, page and panel only reads.

Field names carry their units. `ScarReport.to_dict()` is `report.json` (schema `scarnet-report/1`); keys may be added,
never renamed. What is not known is None, never NaN.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scarnet.series.patient import Patient

SCHEMA = "scarnet-report/1"


def report_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `report.json`, as shipped beside this module."""
    return json.loads(Path(__file__).with_name("report.schema.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class LvMeasures:
    """Left ventricle. Myocardium is healthy muscle, scar and MVO together; papillary muscles follow `rules`."""

    myocardium_volume_ml: float
    mass_g: float
    blood_pool_volume_ml: float


@dataclass(frozen=True)
class ScarMeasures:
    """Scar (infarct), microvascular obstruction included."""

    volume_ml: float
    mass_g: float
    percent_lv: float  # of the myocardial volume
    enhanced_slices: int  # slices that hold any
    transmurality_mean_percent: float | None = None  # of the wall, over enhanced rays; None without a cavity
    transmurality_max_percent: float | None = None  # of the most transmural segment
    #: From the model's calibrated doubt; None without one, or once labels were edited (`rules` then say so).
    percent_lv_interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class MvoMeasures:
    """Microvascular obstruction: counted in scar, listed alone."""

    volume_ml: float
    mass_g: float
    percent_lv: float


@dataclass(frozen=True)
class SliceMeasures:
    """One slice; `index` counts from 0 in the array, `position_mm` along the slice normal from the first slice."""

    index: int
    position_mm: float
    weight_mm: float  # length of ventricle that the slice stands for
    myocardium_volume_ml: float
    scar_volume_ml: float
    mvo_volume_ml: float
    blood_pool_volume_ml: float
    scar_percent: float | None  # of the slice's own myocardium; None where there is none
    doubt: float | None  # 0..1, share of muscle expected to be wrong; None for a segmentation from elsewhere
    enhanced: bool = False  # holds scar
    transmurality_mean_percent: float | None = None  # of the wall, over enhanced rays; None without a cavity
    transmurality_max_percent: float | None = None  # of the most transmural ray, smoothed over its neighbours
    scar_doubt: float | None = None  # probability that scar overlaps an expert's by a Dice below one half


@dataclass(frozen=True)
class ThresholdMeasures:
    """What an intensity method calls scar on the same myocardium."""

    definition: str
    volume_ml: float
    mass_g: float
    percent_lv: float


@dataclass(frozen=True)
class ZoneMeasures:
    """Infarct core and grey (border) zone by one named definition; the grey zone excludes the core."""

    definition: str
    core_volume_ml: float
    core_mass_g: float
    core_percent_lv: float
    grey_volume_ml: float
    grey_mass_g: float
    grey_percent_lv: float


@dataclass(frozen=True)
class SegmentMeasures:
    """One of the 17 AHA segments. Values are None where the segment was not measured."""

    segment: int  # 1 to 17
    name: str
    territory: str
    myocardium_volume_ml: float | None = None
    scar_volume_ml: float | None = None
    scar_percent: float | None = None
    transmurality_percent: float | None = None  # mean over its enhanced rays; 0 without any
    transmurality_class: str | None = None
    enhanced_rays_percent: float | None = None


@dataclass(frozen=True)
class Quality:
    warnings: tuple[str, ...] = ()  # about the image and the segmentation
    review: tuple[str, ...] = ()  # what a reader should look at first


@dataclass(frozen=True)
class ScarReport:
    lv: LvMeasures
    scar: ScarMeasures
    mvo: MvoMeasures
    slices: tuple[SliceMeasures, ...]
    thresholds: dict[str, ThresholdMeasures] = field(default_factory=dict)
    zones: dict[str, ZoneMeasures] = field(default_factory=dict)  # by the definition's id
    #: How far methods and readers differ: `methods_low_percent_lv`, `methods_high_percent_lv` (None without thresholds),
    #: `inter_reader` (a sentence with its source).
    context: dict[str, Any] = field(default_factory=dict)
    aha17: tuple[SegmentMeasures, ...] = ()
    summary: str = ""  # one plain sentence
    quality: Quality = Quality()
    rules: dict[str, str] = field(default_factory=dict)  # how the numbers are defined
    provenance: dict[str, Any] = field(default_factory=dict)
    patient: Patient | None = None  # whose images, where a user asked for it; else nobody is named

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"schema": SCHEMA, **asdict(self)}
