"""The report as DICOM SR: Comprehensive 3D SR (PS3.3 A.35.13) by TID 1500 Measurement Report (PS3.16).

A structure that is a segment of the SEG beside it is a TID 1411 volumetric ROI group that refers to the segment; one without
a segment (no scar was outlined), the AHA segments and the intensity methods are TID 1501 groups. Every number is the
report's own, in full. Like the SEG it carries the identifiers of its images and is written only when asked for.
"""

import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pydicom

import scarnet
from scarnet.errors import UsageError
from scarnet.export.dicom import codes
from scarnet.export.dicom.codes import concept
from scarnet.export.dicom.source import (
    CHARACTER_SET,
    MANUFACTURER,
    MODEL_NAME,
    SourceImages,
    functional_group,
    new_object,
    quiet,
    require_highdicom,
    source_images,
)
from scarnet.files import replacing
from scarnet.quantification import ScarReport
from scarnet.quantification.report import SegmentMeasures
from scarnet.resources import shipped
from scarnet.segments import SEGMENTS, Code, SegmentOrigin, origin_of
from scarnet.series import LgeSeries

SERIES_NUMBER = 9702


def write_dicom_report(
    path: Path,
    series: LgeSeries,
    report: ScarReport,
    *,
    segmentation: pydicom.Dataset | None = None,
    origins: Mapping[str, SegmentOrigin] | None = None,
) -> pydicom.Dataset:
    """Write `report` of `series`, which must come from DICOM files that are still there, and return what was written.

    `segmentation`: the SEG of the same labels, whose segments the measurements then refer to. `origins`: by segment name,
    who drew a segment that was read from a file. Raises InputError, or UsageError without highdicom.
    """
    document = dicom_report(series, report, segmentation=segmentation, origins=origins)
    with replacing(path) as part:
        document.save_as(part)
    return document


def dicom_report(
    series: LgeSeries,
    report: ScarReport,
    *,
    segmentation: pydicom.Dataset | None = None,
    origins: Mapping[str, SegmentOrigin] | None = None,
) -> pydicom.Dataset:
    """What `write_dicom_report` writes: complete as far as it goes, preliminary and unverified, since nobody has signed it."""
    hd = require_highdicom()
    images = source_images(series)
    if segmentation is not None and str(segmentation.StudyInstanceUID) != str(images.objects[0].StudyInstanceUID):
        raise UsageError("The SEG belongs to another study than the images; give the SEG that was made from them.")
    with quiet():
        content = hd.sr.MeasurementReport(
            observation_context=_observer(hd),
            procedure_reported=concept(codes.CARDIAC_MRI),
            imaging_measurements=_groups(hd, report, images, segmentation, origins or {}),
            title=concept(codes.REPORT_TITLE),
            referenced_images=_image_library(images),
        )
        items = content[0].ContentSequence
        start = next(k for k, item in enumerate(items) if item.RelationshipType == "CONTAINS")
        items.insert(start, _text(hd, codes.COMMENT, scarnet.RESEARCH_USE))  # before any number
        items.extend(_text(hd, code, text) for code, text in _sentences(report))
        document = hd.sr.Comprehensive3DSR(
            evidence=[*images.objects, *([] if segmentation is None else [segmentation])],
            content=content,
            is_complete=True,
            is_final=False,
            is_verified=False,
            **new_object(hd, SERIES_NUMBER, "ScarNet measurements"),
        )
        document.SpecificCharacterSet = CHARACTER_SET
        return document


def _image_library(images: SourceImages) -> list[pydicom.Dataset] | None:
    """What TID 1600 lists, with the thickness of each slice: single-frame images that state theirs. Others are evidence alone."""
    if images.multiframe or not all(image.get("SliceThickness") for image in images.objects):
        return None
    return list(images.objects)


def _observer(hd):
    """A device: the software in its version. Persons are named by whoever verifies the document."""
    return hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=hd.sr.CodedConcept("121007", "DCM", "Device"),
            observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
                uid=hd.UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_URL, f"SlicerScarNet {scarnet.__version__}"))),
                name="SlicerScarNet",
                manufacturer_name=MANUFACTURER,
                model_name=f"{MODEL_NAME} {scarnet.__version__}",
            ),
        )
    )


def _text(hd, code: Code, text: str):
    return hd.sr.TextContentItem(
        name=concept(code), value=text, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS
    )


def _sentences(report: ScarReport) -> list[tuple[Code, str]]:
    """What a reader must know beside the numbers: the finding, definitions, warnings, and what to look at first."""
    lines = [(codes.NARRATIVE_SUMMARY, report.summary)] if report.summary else []
    lines += [(codes.COMMENT, f"Rule, {name.replace('_', ' ')}: {text}") for name, text in report.rules.items()]
    if report.context.get("inter_reader"):
        lines.append((codes.COMMENT, f"Context: {report.context['inter_reader']}"))
    lines += [(codes.COMMENT, f"Warning: {text}") for text in report.quality.warnings]
    lines += [(codes.COMMENT, f"To review: {text}") for text in report.quality.review]
    return lines


def _groups(hd, report: ScarReport, images: SourceImages, segmentation, origins: Mapping[str, SegmentOrigin]) -> list:
    builder = _GroupBuilder(hd, report, images, segmentation, origins)
    groups = [builder.structure(segment.segment_id) for segment in SEGMENTS]
    groups += [builder.aha_segment(s) for s in report.aha17 if s.myocardium_volume_ml is not None]
    if report.thresholds:
        groups.append(builder.thresholds())
    if report.zones:
        groups.append(builder.zones())
    return groups


def _images_of(segmentation: pydicom.Dataset, number: int) -> dict[tuple[str, str], list[int]]:
    """Class and UID of the images that the frames of a segment were drawn on, as our SEG states them for each frame, and
    their frames, none of single-frame ones."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    found: dict[tuple[str, str], list[int]] = {}
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        group = functional_group(frame, shared, "SegmentIdentificationSequence")
        if int(group[0].ReferencedSegmentNumber) == number:
            for image in frame.DerivationImageSequence[0].SourceImageSequence:
                frames = found.setdefault((str(image.ReferencedSOPClassUID), str(image.ReferencedSOPInstanceUID)), [])
                if "ReferencedFrameNumber" in image:
                    frames.append(int(image.ReferencedFrameNumber))
    return found


class _GroupBuilder:
    """Measurement groups of one report. Holds what they share, computes nothing."""

    def __init__(self, hd, report, images, segmentation, origins):
        self.hd, self.report, self.images, self.segmentation = hd, report, images, segmentation
        model = report.provenance.get("model")
        edited: Collection[str] = report.provenance.get("edits") or ()
        self.origins = {s.name: origin_of(model, s.name, s.name in edited) for s in SEGMENTS} | dict(origins)
        self.numbers = {}
        if segmentation is not None:
            self.numbers = {str(s.SegmentLabel): int(s.SegmentNumber) for s in segmentation.SegmentSequence}

    def structure(self, segment_id: str):
        segment = next(s for s in SEGMENTS if s.segment_id == segment_id)
        measure = {
            "LVMyocardium": self._myocardium,
            "Scar": self._scar,
            "MVO": self._mvo,
            "LVBloodPool": self._blood_pool,
        }[segment_id]
        measurements, evaluations = measure()
        common: dict[str, Any] = dict(
            finding_type=concept(codes.FINDINGS[segment_id]),
            finding_sites=[self.hd.sr.FindingSite(concept(segment.region or codes.LEFT_VENTRICLE))],
            algorithm_id=self._algorithm(segment.name),
            measurements=measurements,
            qualitative_evaluations=evaluations or None,
        )
        number = self.numbers.get(segment.name)
        if number is None:
            return self.hd.sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=self.hd.sr.TrackingIdentifier(self.hd.UID(), segment.name),
                source_images=[
                    self.hd.sr.SourceImageForMeasurementGroup(
                        image.SOPClassUID, image.SOPInstanceUID, self.images.frames_of(number)
                    )
                    for number, image in enumerate(self.images.objects)
                ],
                **common,
            )
        item = next(s for s in self.segmentation.SegmentSequence if int(s.SegmentNumber) == number)
        return self.hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=self.hd.sr.TrackingIdentifier(item.TrackingUID, item.TrackingID),
            referenced_segment=self.hd.sr.ReferencedSegment(
                self.segmentation.SOPClassUID,
                self.segmentation.SOPInstanceUID,
                segment_number=number,
                source_images=[
                    self.hd.sr.SourceImageForSegmentation(*image, frames or None)
                    for image, frames in _images_of(self.segmentation, number).items()
                ],
            ),
            **common,
        )

    def _myocardium(self):
        lv = self.report.lv
        model = self.report.provenance.get("model") or {}
        # The shipped models leave them to the blood pool; of a hand, or a model trained by a user, it is not known.
        known = bool(model) and (shipped("Models") / str(model.get("name"))).is_dir()
        return [
            self._number(codes.VOLUME, lv.myocardium_volume_ml, codes.MILLILITRE, method=codes.SUM_OF_VOXELS),
            self._number(codes.LV_MASS, lv.mass_g, codes.GRAM),
        ], ([self._evaluation(codes.PAPILLARY_MUSCLE, codes.PAPILLARY_MUSCLE_EXCLUDED)] if known else [])

    def _scar(self):
        scar = self.report.scar
        transmurality = (
            (codes.MEAN, scar.transmurality_mean_percent),
            (codes.MAXIMUM, scar.transmurality_max_percent),
        )
        return [
            *self._burden(scar, interval=scar.percent_lv_interval),
            self._number(codes.ENHANCED_SLICES, scar.enhanced_slices, codes.COUNT),
            *(
                self._number(codes.TRANSMURALITY, value, codes.PERCENT, derivation=derivation)
                for derivation, value in transmurality
                if value is not None
            ),
        ], []

    def _mvo(self):
        return self._burden(self.report.mvo), []

    def _blood_pool(self):
        volume_ml = self.report.lv.blood_pool_volume_ml
        return [self._number(codes.VOLUME, volume_ml, codes.MILLILITRE, method=codes.SUM_OF_VOXELS)], []

    def _burden(self, measures, *, interval: tuple[float, float] | None = None) -> list:
        properties = None
        if interval is not None:
            properties = self.hd.sr.MeasurementProperties(
                lower_measurement_uncertainty=measures.percent_lv - interval[0],
                upper_measurement_uncertainty=interval[1] - measures.percent_lv,
            )
        return [
            self._number(codes.VOLUME, measures.volume_ml, codes.MILLILITRE, method=codes.SUM_OF_VOXELS),
            self._number(codes.MASS, measures.mass_g, codes.GRAM),
            self._number(
                codes.PERCENT_LV, measures.percent_lv, codes.PERCENT, method=codes.OUTLINED, properties=properties
            ),
        ]

    def aha_segment(self, segment: SegmentMeasures):
        measurements = [
            self._number(codes.VOLUME, segment.myocardium_volume_ml, codes.MILLILITRE, method=codes.SUM_OF_VOXELS),
            self._number(codes.PERCENT_SEGMENT, segment.scar_percent, codes.PERCENT, method=codes.OUTLINED),
        ]
        if segment.transmurality_percent is not None:
            measurements.append(
                self._number(codes.TRANSMURALITY, segment.transmurality_percent, codes.PERCENT, derivation=codes.MEAN)
            )
        evaluations = [
            self._evaluation(name, values[value])
            for name, values, value in (
                (codes.TRANSMURAL_CLASS, codes.TRANSMURAL_CLASSES, segment.transmurality_class),
                (codes.TERRITORY, codes.TERRITORIES, segment.territory),
            )
            if value in values
        ]
        return self.hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=self.hd.sr.TrackingIdentifier(
                self.hd.UID(), f"AHA segment {segment.segment} {segment.name}"
            ),
            finding_type=concept(codes.LV_MYOCARDIUM),
            finding_sites=[self.hd.sr.FindingSite(concept(codes.AHA_SEGMENTS[segment.segment - 1]))],
            algorithm_id=self._algorithm("Scar"),
            measurements=measurements,
            qualitative_evaluations=evaluations or None,
        )

    def thresholds(self):
        """Scar as intensity methods would have it, for comparison."""
        thresholds = self.report.thresholds
        return self._by_intensity(
            "Scar by intensity, for comparison",
            thresholds,
            [
                self._number(codes.PERCENT_LV, measures.percent_lv, codes.PERCENT, method=codes.threshold_method(key))
                for key, measures in thresholds.items()
            ],
        )

    def zones(self):
        """Infarct core and grey zone, by every definition."""
        return self._by_intensity(
            "Infarct core and grey zone by intensity",
            self.report.zones,
            [
                self._number(name, value, codes.PERCENT, method=codes.zone_definition(key))
                for key, measures in self.report.zones.items()
                for name, value in (
                    (codes.CORE_PERCENT_LV, measures.core_percent_lv),
                    (codes.GREY_PERCENT_LV, measures.grey_percent_lv),
                )
            ],
        )

    def _by_intensity(self, name: str, measured: Mapping[str, Any], measurements: list):
        """Each number names its method by a code, which the parameters of the algorithm define in words."""
        return self.hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=self.hd.sr.TrackingIdentifier(self.hd.UID(), name),
            finding_type=concept(codes.FINDINGS["Scar"]),
            finding_sites=[self.hd.sr.FindingSite(concept(codes.LV_MYOCARDIUM))],
            algorithm_id=self.hd.sr.AlgorithmIdentification(
                name=MANUFACTURER,
                version=scarnet.__version__,
                parameters=[f"{key}: {measures.definition}" for key, measures in measured.items()],
            ),
            measurements=measurements,
        )

    def _algorithm(self, name: str):
        """TID 4019: who drew the structure that was measured, and with what it was measured."""
        origin = self.origins[name]
        measured = f"Measured by SlicerScarNet {scarnet.__version__}"
        if origin.algorithm_type == "MANUAL":
            return self.hd.sr.AlgorithmIdentification(
                name=MANUFACTURER,
                version=scarnet.__version__,
                parameters=["Outlined by hand, or read from a file that does not say who outlined it", *self._file()],
            )
        model = self.report.provenance.get("model") or {}
        drawn = "Corrected by hand after the algorithm" if origin.algorithm_type == "SEMIAUTOMATIC" else "Not corrected"
        sha256 = [f"Weights SHA-256 {model['sha256']}"] if model.get("sha256") else []
        return self.hd.sr.AlgorithmIdentification(
            name=origin.algorithm_name or "unknown",
            version=origin.algorithm_version or "unknown",
            # The family (artificial intelligence) stands in the SEG: readers of SR take it for an evaluation of the finding.
            parameters=[*sha256, drawn, *self._file(), measured],
        )

    def _file(self) -> list[str]:
        facts = self.report.provenance.get("segmentation") or {}
        sha256 = facts.get("read_from_file_sha256")
        return [f"Read from a file with SHA-256 {sha256}"] if sha256 else []

    def _number(self, name: Code, value: float, unit: Code, *, method=None, derivation=None, properties=None):
        return self.hd.sr.Measurement(
            name=concept(name),
            value=value,
            unit=concept(unit),
            method=None if method is None else concept(method),
            derivation=None if derivation is None else concept(derivation),
            properties=properties,
        )

    def _evaluation(self, name: Code, value: Code):
        return self.hd.sr.QualitativeEvaluation(concept(name), concept(value))
