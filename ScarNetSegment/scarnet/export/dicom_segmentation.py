"""The segmentation as DICOM SEG (PS3.3 A.51), for archives and for Slicer's DICOM browser.

A SEG belongs to the patient and study of its images and carries their identifiers: it is written only when asked for.
"""

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pydicom

import scarnet
from scarnet.errors import InputError, UsageError
from scarnet.files import replacing
from scarnet.segments import SEGMENTS, Code, algorithm_name, algorithm_type
from scarnet.series import LgeSeries

#: Series number of what is derived here: out of the way of scanners, which count from 1.
SERIES_NUMBER = 9701


def write_dicom_segmentation(
    path: Path, series: LgeSeries, labels: np.ndarray, *, model: dict | None = None, edited: Collection[str] = ()
) -> None:
    """Binary SEG of every segment that is not empty, each frame referring to the image it was drawn on.

    `labels` uint8 `[slice, row, column]` on the grid of `series`, which must come from DICOM files that are still there.
    `model`: what drew them (None: a hand); `edited`: names of segments that a hand has corrected. Raises InputError, or UsageError without
    highdicom.
    """
    try:
        import highdicom as hd
    except ImportError:
        raise UsageError("DICOM SEG needs highdicom: pip install slicer-scarnet[dicom].") from None
    images = _source_images(series)
    present = [segment for segment in SEGMENTS if segment.mask(labels).any()]
    if not present:
        raise InputError("The segmentation is empty; a DICOM SEG needs at least one segment.")
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=segment.name,
            segmented_property_category=_coded(hd, segment.category),
            segmented_property_type=_coded(hd, segment.type),
            anatomic_regions=[_coded(hd, segment.region)] if segment.region else None,
            display_color=hd.color.CIELabColor.from_rgb(*(round(255 * c) for c in segment.color)),
            **_algorithm(hd, model, segment.name in edited),
        )
        for number, segment in enumerate(present, start=1)
    ]
    by_series = defaultdict(list)
    for image in images:
        by_series[str(image.SeriesInstanceUID)].append(image)
    one_series = len(by_series) == 1
    geometry = series.geometry
    segmentation = hd.seg.Segmentation(
        # An own series per slice is common in LGE: the first image then stands for the stack, the others are named with it.
        source_images=images if one_series else images[:1],
        further_source_images=None if one_series else images[1:],
        pixel_array=np.stack([segment.mask(labels) for segment in present], axis=-1).astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="SlicerScarNet",
        manufacturer_model_name="ScarNet",
        software_versions=scarnet.__version__,
        device_serial_number="0",
        content_label="SCARNET",
        content_description="LV myocardium and scar on LGE",
        pixel_measures=hd.PixelMeasuresSequence(
            pixel_spacing=[round(s, 6) for s in geometry.pixel_spacing_mm],
            slice_thickness=float(images[0].get("SliceThickness") or np.median(geometry.slice_weights_mm)),
            spacing_between_slices=round(float(np.median(geometry.slice_steps_mm)), 6),
        ),
        plane_orientation=hd.PlaneOrientationSequence(
            hd.CoordinateSystemNames.PATIENT,
            [float(v) for v in (*geometry.column_direction, *geometry.row_direction)],
        ),
        plane_positions=[
            hd.PlanePositionSequence(hd.CoordinateSystemNames.PATIENT, [round(float(v), 6) for v in origin])
            for origin in geometry.slice_origins_mm
        ],
        omit_empty_frames=True,
    )
    segmentation.SeriesDescription = "ScarNet segmentation, research use only"
    with replacing(path) as part:
        segmentation.save_as(part)


def _source_images(series: LgeSeries) -> list[pydicom.Dataset]:
    """Headers of the images, one per slice. Raises InputError unless they are DICOM files that can still be read."""
    if series.source.kind != "dicom" or len(series.source.slice_files) != series.image.shape[0]:
        raise InputError("A DICOM SEG refers to DICOM images; this input is none. Give the DICOM folder instead.")
    try:
        return [pydicom.dcmread(file, stop_before_pixels=True) for file in series.source.slice_files]
    except OSError as error:
        raise InputError(f"A DICOM image can no longer be read ({error.strerror}); nothing was written.") from error


def _coded(hd, code: Code):
    scheme, value, meaning = code
    return hd.sr.CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)


def _algorithm(hd, model: dict | None, edited: bool) -> dict:
    kind = {"algorithm_type": hd.seg.SegmentAlgorithmTypeValues(algorithm_type(model, edited))}
    if not model:
        return kind
    return kind | {
        "algorithm_identification": hd.AlgorithmIdentificationSequence(
            name=algorithm_name(model),
            version=str(model.get("version") or "1"),
            family=hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
            source="SlicerScarNet",
        )
    }
