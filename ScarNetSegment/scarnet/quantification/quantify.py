"""From a label map to the report: volumes by slice distance, masses, percent of LV."""

import math
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

import scarnet
from scarnet.conventions import MYOCARDIAL_DENSITY_G_PER_ML, Label
from scarnet.errors import InputError
from scarnet.quantification.context import measure_context
from scarnet.quantification.image_quality import coverage_warnings, slice_distance_warnings, stray_scar_warnings
from scarnet.quantification.regional import measure_regions
from scarnet.quantification.report import LvMeasures, MvoMeasures, Quality, ScarMeasures, ScarReport, SliceMeasures
from scarnet.quantification.transmurality import RAYS, WallRays
from scarnet.segmentation import ScarSegmentation
from scarnet.series import LgeSeries, Reconstruction
from scarnet.series.geometry import LENGTH_DECIMALS
from scarnet.series.patient import Patient

#: Slices whose doubt is above this are named for review: on EMIDEC fold 0 the worst eighth, with three times the error of
#: the rest (`scarnet evaluate`, entry "doubt").
REVIEW_DOUBT = 0.25
#: More likely than not scar overlaps an expert's by a Dice below one half (`scarnet.segmentation.doubt`).
REVIEW_SCAR_DOUBT = 0.5
#: How the DICOM reader says so.
SLICE_MAY_BE_MISSING = "a slice may be missing"


@dataclass(frozen=True)
class QuantificationParameters:
    """What a user may choose; stated in every report."""

    myocardial_density_g_per_ml: float = MYOCARDIAL_DENSITY_G_PER_ML
    anterior_rv_insertion_lps_mm: tuple[float, float, float] | None = None  # None: found in the image
    #: Remote myocardium lies in this direction from the cavity's centre, in every slice; None: the darkest sector.
    remote_lps_mm: tuple[float, float, float] | None = None

    def __post_init__(self):
        if not 0.9 <= self.myocardial_density_g_per_ml <= 1.2:
            raise InputError(
                f"Myocardial density must lie between 0.9 and 1.2 g/mL, got {self.myocardial_density_g_per_ml}."
            )
        for what, point in self.points.items():
            if point is not None and not (len(point) == 3 and all(math.isfinite(value) for value in point)):
                raise InputError(f"{what} takes three numbers (LPS, mm), got {tuple(point)}.")

    @property
    def points(self) -> dict[str, tuple[float, float, float] | None]:
        """What a user may point at, by the name that errors call it."""
        return {
            "The anterior RV insertion": self.anterior_rv_insertion_lps_mm,
            "The remote point": self.remote_lps_mm,
        }


def quantify(
    series: LgeSeries,
    labels: np.ndarray,
    *,
    parameters: QuantificationParameters = QuantificationParameters(),
    segmentation: ScarSegmentation | None = None,
    provenance: dict[str, Any] | None = None,
    notes: tuple[str, ...] = (),
    patient: Patient | None = None,
) -> ScarReport:
    """Measure `labels` (uint8 `[slice, row, column]`, values of `Label`) on the grid of `series`.

    `segmentation`: the run that gave the labels, for doubt and model; `provenance`: more facts to record; `notes`:
    warnings from wherever the labels were read; `patient`: whom the report names, nobody unless given. Pixels are counted as whole numbers before anything is multiplied, so
    that the same labels give the same digits from any source. Raises InputError without myocardium, on another grid, or for
    a point outside the images.
    """
    if labels.shape != series.image.shape:
        raise InputError(
            f"The segmentation has shape {labels.shape}, the image has {series.image.shape}; they must match."
        )
    counts = np.stack([np.count_nonzero(labels == label, axis=(1, 2)) for label in Label], axis=1)
    if counts[:, Label.MYOCARDIUM :].sum() == 0:
        raise InputError("The segmentation holds no left-ventricular myocardium; segment or draw it first.")
    for what, point in parameters.points.items():
        if point is not None and not series.geometry.shows(np.array(point)):
            raise InputError(
                f"{what} lies outside the images, at {tuple(round(p, 1) for p in point)} (LPS, mm): move it there, or give none."
            )
    weights = series.geometry.voxel_volumes_ml
    if not np.isfinite(weights).all():
        raise InputError("A single slice without a thickness has no volume; give a stack of slices.")
    slices = _slices(series, counts, segmentation)
    myocardium, scar, mvo, blood = (
        math.fsum(getattr(s, f"{part}_volume_ml") for s in slices)
        for part in ("myocardium", "scar", "mvo", "blood_pool")
    )
    density = parameters.myocardial_density_g_per_ml
    percent = 100 * scar / myocardium
    regions = measure_regions(
        series,
        labels,
        percent_lv=percent,
        density_g_per_ml=density,
        insertion_lps_mm=parameters.anterior_rv_insertion_lps_mm,
        remote_lps_mm=parameters.remote_lps_mm,
    )
    interval, interval_rule = _interval(labels, segmentation, provenance)
    return ScarReport(
        lv=LvMeasures(myocardium, myocardium * density, blood),
        scar=ScarMeasures(
            scar,
            scar * density,
            percent,
            sum(s.scar_volume_ml > 0 for s in slices),
            regions.transmurality_mean_percent,
            regions.transmurality_max_percent,
            interval,
        ),
        mvo=MvoMeasures(mvo, mvo * density, 100 * mvo / myocardium),
        slices=_with_transmurality(slices, regions.rays),
        thresholds=regions.thresholds,
        zones=regions.zones,
        context=measure_context(percent, regions.thresholds),
        aha17=regions.aha17,
        summary=regions.summary,
        quality=_quality(series, labels, slices, segmentation, (*notes, *regions.warnings)),
        rules=_rules(series, density, parameters.remote_lps_mm) | interval_rule,
        provenance=_provenance(series, parameters, segmentation) | {"regions": regions.provenance} | (provenance or {}),
        patient=patient,
    )


def _interval(
    labels: np.ndarray, segmentation: ScarSegmentation | None, provenance: dict[str, Any] | None
) -> tuple[tuple[float, float] | None, dict[str, str]]:
    """The model's interval for scar percent and the rule that goes with it; no interval for labels that are not the model's."""
    if segmentation is None:
        return None, {}
    if (provenance or {}).get("edits") or not np.array_equal(labels, segmentation.labels):
        return None, {
            "percent_lv_interval": "Left out: labels were edited by hand, and the model's interval describes its own."
        }
    interval = getattr(segmentation, "percent_lv_interval", None)
    if interval is None:
        return None, {"percent_lv_interval": "Left out: this model states none."}
    low, high = (float(bound) for bound in interval)
    return (low, high), {"percent_lv_interval": "From the model's own doubt, as calibrated on its card."}


def _with_transmurality(slices: tuple[SliceMeasures, ...], rays: WallRays | None) -> tuple[SliceMeasures, ...]:
    if rays is None:
        return slices
    found = [rays.of_slice_percent(s.index) for s in slices]
    return tuple(
        replace(s, transmurality_mean_percent=mean, transmurality_max_percent=most)
        for s, (mean, most) in zip(slices, found, strict=True)
    )


def _slices(series: LgeSeries, counts: np.ndarray, segmentation: ScarSegmentation | None) -> tuple[SliceMeasures, ...]:
    geometry = series.geometry
    doubt = None if segmentation is None else segmentation.slice_doubt
    scar_doubt = None if segmentation is None else segmentation.slice_scar_doubt
    positions = np.round(np.concatenate([[0.0], np.cumsum(geometry.slice_steps_mm)]), LENGTH_DECIMALS)
    rows = []
    for k, count in enumerate(counts.tolist()):
        unit = float(geometry.voxel_volumes_ml[k])
        muscle, scar = sum(count[Label.MYOCARDIUM :]), sum(count[Label.SCAR :])
        rows.append(
            SliceMeasures(
                index=k,
                position_mm=float(positions[k]),
                weight_mm=float(geometry.slice_weights_mm[k]),
                myocardium_volume_ml=muscle * unit,
                scar_volume_ml=scar * unit,
                mvo_volume_ml=count[Label.MVO] * unit,
                blood_pool_volume_ml=count[Label.BLOOD_POOL] * unit,
                scar_percent=100 * scar / muscle if muscle else None,
                doubt=None if doubt is None else float(doubt[k]),
                scar_doubt=None if scar_doubt is None else float(scar_doubt[k]),
                enhanced=scar > 0,
            )
        )
    return tuple(rows)


def concern(measures: SliceMeasures) -> float:
    """How much a slice asks to be looked at, by either of the model's doubts: above 1 it is named for review."""
    return max((measures.doubt or 0) / REVIEW_DOUBT, (measures.scar_doubt or 0) / REVIEW_SCAR_DOUBT)


def _why_doubtful(measures: SliceMeasures) -> str:
    reasons = []
    if (measures.doubt or 0) > REVIEW_DOUBT:
        reasons.append(f"the model doubts its own outline (doubt {measures.doubt:.2f})")
    if (measures.scar_doubt or 0) > REVIEW_SCAR_DOUBT:
        reasons.append(f"scar is likely to be drawn otherwise by a reader (probability {measures.scar_doubt:.2f})")
    return "; ".join(reasons)


def _quality(series, labels, slices, segmentation, notes) -> Quality:
    warnings = [*series.warnings, *notes, *(() if segmentation is None else segmentation.warnings)]
    warnings += [*coverage_warnings(labels, series.geometry), *stray_scar_warnings(labels, series.geometry)]
    if not any(SLICE_MAY_BE_MISSING in warning for warning in series.warnings):  # the reader may have said so already
        warnings += slice_distance_warnings(series.geometry)
    review = [
        f"Slice {s.index + 1}: {_why_doubtful(s)}." for s in sorted(slices, key=lambda s: -concern(s)) if concern(s) > 1
    ]
    review += [
        f"Slice {s.index + 1}: scar without any in the slices beside it."
        for s in slices
        if s.scar_volume_ml > 0
        and not any(slices[n].scar_volume_ml > 0 for n in (s.index - 1, s.index + 1) if 0 <= n < len(slices))
    ]
    return Quality(tuple(dict.fromkeys(warnings)), tuple(review))


_RECONSTRUCTION_RULE = {
    Reconstruction.MAGNITUDE: "The images are magnitude: shares of the maximum are taken of the signal itself.",
    Reconstruction.PSIR: "The images are phase-sensitive (PSIR): shares of the maximum are taken from remote myocardium upwards.",
    Reconstruction.UNKNOWN: "Whether the images are magnitude or phase-sensitive (PSIR) is not known: shares of the maximum are "
    "taken from remote myocardium upwards, as for PSIR.",
}


def _rules(series: LgeSeries, density: float, remote_lps_mm) -> dict[str, str]:
    return {
        "volume": "Area times slice distance, gaps included: each slice weighs half the distance to its neighbours, the "
        "first and last as much outwards as inwards."
        + (" The slice distance was assumed." if series.spacing_assumed else ""),
        "mass": f"Volume times {density:g} g/mL.",
        "myocardium": "Healthy muscle, scar and microvascular obstruction together.",
        "scar": "As outlined, microvascular obstruction included; percent of myocardial volume. Where outlines overlap the inner "
        "structure counts: obstruction over scar over muscle over blood. Scar outlined outside the myocardium is counted as "
        "scar and as myocardium.",
        "segments": "AHA-17, thirds of the slices that show a cavity, counted from the anterior insertion of the right "
        "ventricle; the apex (17) is not measured on short-axis slices. The apex is the end towards left, front and feet where the "
        "image states its orientation, the narrower end where it does not.",
        "transmurality": f"Share of the wall that is scar, along {RAYS} rays from the cavity's centre; the mean over enhanced "
        "rays. The maximum of a slice is over 15 degrees of the wall, that of the heart the most transmural segment.",
        "thresholds": "Intensity methods on the same myocardium, for comparison; the scar above is as outlined. Remote "
        f"myocardium is the {'darkest sector of each slice' if remote_lps_mm is None else 'sector about the given point'}; "
        "a slice without a cavity refers to that of the nearest slice, though signal may drift between the two. "
        + _RECONSTRUCTION_RULE[series.reconstruction],
        "zones": "Core and grey zone by signal, each by its own named definition; definitions do not agree with one another.",
        "papillary_muscles": "As outlined; the shipped models leave them to the blood pool.",
    }


def _provenance(
    series: LgeSeries, parameters: QuantificationParameters, segmentation: ScarSegmentation | None
) -> dict[str, Any]:
    geometry = series.geometry
    return {
        "software": {"name": "SlicerScarNet", "version": scarnet.__version__},
        "created_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "input": {
            "kind": series.source.kind,
            "content_sha256": series.source.content_sha256,
            "reconstruction": series.reconstruction.value,
            "shape": list(geometry.shape),
            "pixel_spacing_mm": list(geometry.pixel_spacing_mm),
            "slice_distance_mm": float(np.median(geometry.slice_steps_mm)) if geometry.shape[0] > 1 else None,
            "spacing_assumed": series.spacing_assumed,
            "spacing_source": series.spacing_source,
            "acquisition": series.source.acquisition,
        },
        "quantification": asdict(parameters),
        "model": None if segmentation is None else segmentation.model,
        "segmentation": None if segmentation is None else segmentation.parameters,
    }
