"""The numbers of one patient: what every table, page, DICOM object and panel only reads.

Field names carry their units. `ScarReport.to_dict()` is `report.json` (schema `scarnet-report/1`); keys may be added,
never renamed. NaN never reaches a file: what is not known is None.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = "scarnet-report/1"


@dataclass(frozen=True)
class LvMeasures:
    """Left ventricle. Myocardium is healthy muscle, scar and MVO together; papillary muscles as segmented (see rule)."""

    myocardium_volume_ml: float
    mass_g: float
    blood_pool_volume_ml: float


@dataclass(frozen=True)
class ScarMeasures:
    """Scar (infarct), microvascular obstruction included."""

    volume_ml: float
    mass_g: float
    percent_lv: float | None  # of myocardial volume; None without myocardium
    percent_lv_interval: tuple[float, float] | None = None  # 90 %, from the model's calibrated doubt
    transmurality_mean_percent: float | None = None  # over the chords that cross scar
    transmurality_max_percent: float | None = None
    enhanced_slices: int = 0
    core_volume_ml: float | None = None
    grey_zone_volume_ml: float | None = None
    core_definition: str = ""


@dataclass(frozen=True)
class MvoMeasures:
    volume_ml: float
    mass_g: float
    percent_lv: float | None


@dataclass(frozen=True)
class ThresholdMeasures:
    """One intensity-threshold method on the same myocardium."""

    method: str  # full name with its parameters and remote region rule
    threshold: float | None  # in the image's own units; None where the method has no single one
    volume_ml: float | None
    mass_g: float | None
    percent_lv: float | None
    reference: str = ""  # paper
    not_computed_because: str = ""


@dataclass(frozen=True)
class SliceMeasures:
    """One slice; `index` counts from 0 in the array, `position_mm` along the slice normal."""

    index: int
    position_mm: float
    weight_mm: float  # length of ventricle that the slice stands for
    myocardium_volume_ml: float
    scar_volume_ml: float
    mvo_volume_ml: float
    blood_pool_volume_ml: float
    scar_percent: float | None  # of the slice's own myocardium
    transmurality_mean_percent: float | None = None
    transmurality_max_percent: float | None = None
    doubt: float | None = None  # 0..1


@dataclass(frozen=True)
class AhaSegment:
    """One of the 17 segments (Cerqueira et al., Circulation 2002, doi 10.1161/hc0402.102975)."""

    number: int
    name: str
    territory: str  # LAD, RCA or LCX
    myocardium_volume_ml: float | None  # None: not covered by the stack (shown grey)
    scar_volume_ml: float | None
    scar_percent: float | None
    transmurality_percent: float | None  # mean over the segment's chords, scar-free chords counting 0
    transmurality_class: str | None  # "0", "1-25", "26-50", "51-75", "76-100"


@dataclass(frozen=True)
class Quality:
    warnings: tuple[str, ...] = ()  # about the image and the segmentation
    review: tuple[str, ...] = ()  # what a reader should look at first


@dataclass(frozen=True)
class ScarReport:
    lv: LvMeasures
    scar: ScarMeasures
    mvo: MvoMeasures
    thresholds: dict[str, ThresholdMeasures] = field(default_factory=dict)
    slices: tuple[SliceMeasures, ...] = ()
    aha17: tuple[AhaSegment, ...] = ()
    sentence: str = ""  # plain-language summary
    quality: Quality = Quality()
    rules: dict[str, str] = field(default_factory=dict)  # how slices weigh, papillary rule, density, remote region ...
    provenance: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; tuples become lists when written."""
        return {"schema": SCHEMA, **asdict(self)}
