"""The segmentation as DICOM SEG (PS3.3 A.51), for archives and for Slicer's DICOM browser.

A SEG belongs to the patient and study of its images and carries their identifiers: it is written only when asked for.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pydicom

from scarnet.errors import InputError
from scarnet.export.dicom.codes import ARTIFICIAL_INTELLIGENCE, HISTOGRAM_ANALYSIS, concept
from scarnet.export.dicom.source import (
    CHARACTER_SET,
    MANUFACTURER,
    SourceImages,
    new_object,
    quiet,
    require_highdicom,
    source_images,
)
from scarnet.files import replacing
from scarnet.segments import SEGMENTS, SegmentOrigin, origin_of
from scarnet.series import LgeSeries, StackGeometry

#: Series number of what is derived here: out of the way of scanners, which count from 1.
SERIES_NUMBER = 9701


def write_dicom_segmentation(
    path: Path,
    series: LgeSeries,
    labels: np.ndarray,
    *,
    model: dict | None = None,
    edited: Collection[str] = (),
    origins: Mapping[str, SegmentOrigin] | None = None,
) -> pydicom.Dataset:
    """Binary SEG of every segment that is not empty, each frame referring to the image it was drawn on; returns it.

    `labels` uint8 `[slice, row, column]` on the grid of `series`, which must come from DICOM files that are still there.
    `model`: what drew them (None: a hand); `edited`: names of segments that a hand has corrected; `origins`: by segment
    name, who drew a segment that was read from a file. Raises InputError, or UsageError without highdicom.
    """
    segmentation = dicom_segmentation(series, labels, model=model, edited=edited, origins=origins)
    with replacing(path) as part:
        segmentation.save_as(part)
    return segmentation


def dicom_segmentation(
    series: LgeSeries,
    labels: np.ndarray,
    *,
    model: dict | None = None,
    edited: Collection[str] = (),
    origins: Mapping[str, SegmentOrigin] | None = None,
) -> pydicom.Dataset:
    """What `write_dicom_segmentation` writes."""
    hd = require_highdicom()
    images = source_images(series)
    present = [segment for segment in SEGMENTS if segment.mask(labels).any()]
    if not present:
        raise InputError("The segmentation is empty; a DICOM SEG needs at least one segment.")
    origins = {s.name: origin_of(model, s.name, s.name in edited) for s in SEGMENTS} | dict(origins or {})
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=segment.name,
            segmented_property_category=concept(segment.category),
            segmented_property_type=concept(segment.type),
            anatomic_regions=[concept(segment.region)] if segment.region else None,
            display_color=hd.color.CIELabColor.from_rgb(*(round(255 * c) for c in segment.color)),
            tracking_id=segment.name,
            tracking_uid=hd.UID(),
            **_algorithm(hd, origins[segment.name], model),
        )
        for number, segment in enumerate(present, start=1)
    ]
    geometry = series.geometry
    first = images.picture(0)
    thickness_mm = float(first.get("SliceThickness") or np.median(geometry.slice_weights_mm))
    first.SliceThickness = thickness_mm  # highdicom asks for it
    with quiet():
        segmentation = hd.seg.Segmentation(
            # highdicom takes for its source one series, or one multi-frame object whose frames share an orientation to the
            # last digit. Where every slice is a series of its own (common in LGE), or each frame states its own plane, that
            # fails: the first picture stands for the stack, and every frame's own image is set below.
            source_images=[first],
            pixel_array=np.stack([segment.mask(labels) for segment in present], axis=-1).astype(np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=descriptions,
            content_label="SCARNET",
            content_description="LV myocardium and scar on LGE, research use only",
            pixel_measures=_pixel_measures(hd, geometry, thickness_mm),
            plane_orientation=hd.PlaneOrientationSequence(
                hd.CoordinateSystemNames.PATIENT,
                [float(v) for v in (*geometry.column_direction, *geometry.row_direction)],
            ),
            plane_positions=[
                hd.PlanePositionSequence(hd.CoordinateSystemNames.PATIENT, [round(float(v), 6) for v in origin])
                for origin in geometry.slice_origins_mm
            ],
            omit_empty_frames=True,
            **new_object(hd, SERIES_NUMBER, "ScarNet segmentation"),
        )
    segmentation.SpecificCharacterSet = CHARACTER_SET
    if "ContentCreatorName" not in segmentation:
        segmentation.ContentCreatorName = ""  # type 2 (PS3.3 C.8.20.2): no person is named
    _refer_frames_to_images(segmentation, geometry, images)
    return segmentation


def _pixel_measures(hd, geometry: StackGeometry, thickness_mm: float):
    """SliceThickness is what was excited, the distance is what volumes rest on; stated only where there is one distance."""
    steps = geometry.slice_steps_mm
    equidistant = len(steps) > 0 and geometry.is_uniform
    return hd.PixelMeasuresSequence(
        pixel_spacing=[round(s, 6) for s in geometry.pixel_spacing_mm],
        slice_thickness=thickness_mm,
        spacing_between_slices=round(float(np.median(steps)), 6) if equidistant else None,
    )


def _refer_frames_to_images(segmentation: pydicom.Dataset, geometry: StackGeometry, images: SourceImages) -> None:
    """Each frame's own source image (PS3.3 C.7.6.16.2.6 Derivation Image), and all of them, alone and under their series.

    Frames are matched to slices by position, so that it holds for one series and for many.
    """
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        nearest = int(np.linalg.norm(geometry.slice_origins_mm - position, axis=1).argmin())
        frame.DerivationImageSequence = [_derivation(images.object_of(nearest), images.frames[nearest])]
    segmentation.SourceImageSequence = [_reference(image) for image in images.objects]
    by_series: dict[str, list[pydicom.Dataset]] = {}
    for image in images.objects:
        by_series.setdefault(str(image.SeriesInstanceUID), []).append(image)
    segmentation.ReferencedSeriesSequence = [
        _item(SeriesInstanceUID=uid, ReferencedInstanceSequence=[_reference(image) for image in members])
        for uid, members in by_series.items()
    ]


def _derivation(image: pydicom.Dataset, frame: int | None) -> pydicom.Dataset:
    source = _reference(image)
    if frame is not None:
        source.ReferencedFrameNumber = frame
    source.PurposeOfReferenceCodeSequence = [concept(("DCM", "121322", "Source image for image processing operation"))]
    source.SpatialLocationsPreserved = "YES"
    return _item(SourceImageSequence=[source], DerivationCodeSequence=[concept(("DCM", "113076", "Segmentation"))])


def _reference(image: pydicom.Dataset) -> pydicom.Dataset:
    return _item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)


def _item(**elements) -> pydicom.Dataset:
    item = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def _algorithm(hd, origin: SegmentOrigin, model: dict | None) -> dict:
    kind = {"algorithm_type": hd.seg.SegmentAlgorithmTypeValues(origin.algorithm_type)}
    if origin.algorithm_type == "MANUAL":
        return kind
    sha256 = (model or {}).get("sha256")
    return kind | {
        "algorithm_identification": hd.AlgorithmIdentificationSequence(
            name=origin.algorithm_name[:64] or "unknown",
            version=origin.algorithm_version[:64] or "unknown",
            family=concept(HISTOGRAM_ANALYSIS if origin.by_intensity else ARTIFICIAL_INTELLIGENCE),
            source=MANUFACTURER if model else None,
            parameters={"weights SHA-256": sha256} if sha256 else None,
        )
    }
