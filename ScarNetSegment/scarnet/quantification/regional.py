"""Where the scar lies and what other methods would call scar: everything that needs the heart's own frame."""

from dataclasses import dataclass, field

import numpy as np

from scarnet.errors import InputError
from scarnet.quantification.aha import measure_segments, volume_beyond_segments_ml
from scarnet.quantification.breath_hold import shift_warnings
from scarnet.quantification.frame import HeartFrame, heart_frame, stated_apex_first
from scarnet.quantification.image_quality import contrast_warnings, direction_warnings, no_signal_level
from scarnet.quantification.insertion import RvInsertion, find_insertion
from scarnet.quantification.muscle import MuscleSignal, muscle_signal
from scarnet.quantification.remote import RemoteRegion, find_remote
from scarnet.quantification.report import SegmentMeasures, ThresholdMeasures, ZoneMeasures
from scarnet.quantification.summary import summarise
from scarnet.quantification.thresholds import compare_methods
from scarnet.quantification.transmurality import WallRays, wall_rays
from scarnet.quantification.zones import measure_zones
from scarnet.series import LgeSeries

#: Looked at around the ventricle: room for the right ventricle beside it.
MARGIN_MM = 25.0
#: Below this the automatic insertion is announced as doubtful. On 200 cine hearts with a drawn right ventricle 15 lay below
#: it, with 7 of the 14 errors above 30 degrees among them (Testing/test_real_patients.py, slow).
MINIMUM_CERTAINTY = 0.16
#: Healthy muscle in slices without a cavity up to this share of all is the apical cap, as phantoms have it (3 %). EMIDEC: none.
USUAL_CAP_SHARE = 0.05


@dataclass(frozen=True)
class RegionalMeasures:
    """Empty where the ventricle has no cavity to measure from; `warnings` then say so."""

    aha17: tuple[SegmentMeasures, ...] = ()
    thresholds: dict[str, ThresholdMeasures] = field(default_factory=dict)
    zones: dict[str, ZoneMeasures] = field(default_factory=dict)
    rays: WallRays | None = None
    transmurality_mean_percent: float | None = None
    transmurality_max_percent: float | None = None
    summary: str = ""
    warnings: tuple[str, ...] = ()
    provenance: dict = field(default_factory=dict)


def measure_regions(
    series: LgeSeries,
    labels: np.ndarray,
    *,
    percent_lv: float,
    density_g_per_ml: float,
    insertion_lps_mm: tuple[float, float, float] | None = None,
    remote_lps_mm: tuple[float, float, float] | None = None,
) -> RegionalMeasures:
    """Segments, transmurality, threshold methods, zones and what the image says against them.

    `insertion_lps_mm`: the anterior RV insertion, `remote_lps_mm`: a point whose direction is remote myocardium in every slice;
    both are sought where they are not given.
    """
    rows, columns = _around_heart(labels, series.geometry.pixel_spacing_mm)
    image, labels = series.image[:, rows, columns], labels[:, rows, columns]
    geometry = series.geometry.cropped(rows, columns)
    try:
        frame = heart_frame(labels, geometry)
    except InputError as error:
        return RegionalMeasures(summary=summarise((), percent_lv, None), warnings=(str(error),))
    if insertion_lps_mm is not None:
        insertion = RvInsertion(frame.angle_of_deg(np.array(insertion_lps_mm)), 1.0, "user")
    else:
        insertion = find_insertion(image, labels, frame, orientation_known=geometry.states_orientation)
    rays = wall_rays(labels, frame)
    segments = measure_segments(labels, frame, rays, insertion.angle_deg)
    enhanced = rays.transmurality[rays.scar_mm > 0]
    remote = _remote(image, labels, frame, remote_lps_mm)
    muscle = muscle_signal(image, labels, frame, remote, reconstruction=series.reconstruction)
    muscle_ml = float(muscle.mask.sum(axis=(1, 2)) @ geometry.voxel_volumes_ml)
    beyond_ml, scar_beyond_ml = volume_beyond_segments_ml(labels, frame)
    return RegionalMeasures(
        aha17=segments,
        thresholds={
            m.method: ThresholdMeasures(m.definition, m.volume_ml, m.volume_ml * density_g_per_ml, m.percent_lv)
            for m in compare_methods(muscle)
        },
        zones=measure_zones(muscle, muscle_ml=muscle_ml, density_g_per_ml=density_g_per_ml),
        rays=rays,
        transmurality_mean_percent=100 * float(enhanced.mean()) if enhanced.size else 0.0,
        transmurality_max_percent=max(s.transmurality_percent or 0.0 for s in segments),
        summary=summarise(segments, percent_lv, float(np.nanmedian(rays.scar_start)) if enhanced.size else None),
        warnings=(
            *direction_warnings(labels, geometry),
            *_beyond_warnings(beyond_ml, scar_beyond_ml, muscle_ml),
            *_warnings(insertion),
            *shift_warnings(series, labels, frame),
            *contrast_warnings(image, labels, frame, remote, no_signal=no_signal_level(series.image)),
        ),
        provenance={
            "anterior_rv_insertion": {
                "angle_deg": round(insertion.angle_deg, 1),
                "certainty": round(insertion.certainty, 3),
                "source": insertion.source,
            },
            "apex_at_first_slice": frame.apex_first,
            "apex_by": "taper" if stated_apex_first(geometry) is None else "orientation",
            "remote_region": remote.describe(),
            "beyond_segments": {"myocardium_volume_ml": beyond_ml, "scar_volume_ml": scar_beyond_ml},
        },
    )


def remote_region(
    series: LgeSeries, labels: np.ndarray, *, remote_lps_mm: tuple[float, float, float] | None = None
) -> np.ndarray:
    """bool `[slice, row, column]` on the grid of `series`: the remote myocardium that `quantify` refers thresholds to.

    For display. Raises InputError without a cavity inside muscle.
    """
    muscle, (rows, columns) = signal_of(series, labels, remote_lps_mm=remote_lps_mm)
    mask = np.zeros(labels.shape, bool)
    mask[:, rows, columns] = muscle.remote
    return mask


def signal_of(
    series: LgeSeries, labels: np.ndarray, *, remote_lps_mm: tuple[float, float, float] | None = None
) -> tuple[MuscleSignal, tuple[slice, slice]]:
    """What threshold methods look at, and the rows and columns of `series` that its arrays cover.

    Raises InputError without a cavity inside muscle.
    """
    rows, columns = _around_heart(labels, series.geometry.pixel_spacing_mm)
    image, labels = series.image[:, rows, columns], labels[:, rows, columns]
    frame = heart_frame(labels, series.geometry.cropped(rows, columns))
    remote = _remote(image, labels, frame, remote_lps_mm)
    return muscle_signal(image, labels, frame, remote, reconstruction=series.reconstruction), (rows, columns)


def _remote(image: np.ndarray, labels: np.ndarray, frame: HeartFrame, point_lps_mm) -> RemoteRegion:
    angle = None if point_lps_mm is None else frame.angle_of_deg(np.array(point_lps_mm))
    return find_remote(image, labels, frame, angle_deg=angle)


def _around_heart(labels: np.ndarray, spacing_mm: tuple[float, float]) -> tuple[slice, slice]:
    ranges = []
    for axis, indices in enumerate(np.nonzero((labels > 0).any(axis=0))):
        margin = int(np.ceil(MARGIN_MM / spacing_mm[axis]))
        ranges.append(
            slice(max(int(indices.min()) - margin, 0), min(int(indices.max()) + margin + 1, labels.shape[1 + axis]))
        )
    return ranges[0], ranges[1]


def _beyond_warnings(beyond_ml: float, scar_beyond_ml: float, muscle_ml: float) -> tuple[str, ...]:
    if scar_beyond_ml == 0 and beyond_ml <= USUAL_CAP_SHARE * muscle_ml:
        return ()
    return (
        f"{beyond_ml:.1f} mL of muscle, {scar_beyond_ml:.1f} mL of scar lie in slices without a cavity: in no AHA segment. "
        "Check that the cavity is outlined there.",
    )


def _warnings(insertion: RvInsertion) -> tuple[str, ...]:
    if insertion.source == "image" and insertion.certainty < MINIMUM_CERTAINTY:
        return ("The right ventricle was not seen clearly: check the walls, or give the anterior RV insertion point.",)
    return ()
