"""A DICOM SEG (PS3.3 A.51), ours or anybody's: its segments as masks on a stack of the slices that hold any."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.sr.coding import Code as DicomCode

from scarnet.errors import InputError
from scarnet.export.dicom.source import functional_group, quiet, require_highdicom
from scarnet.export.regrid import SAME_POINT_MM
from scarnet.export.stored import StoredSegment
from scarnet.segments import SEGMENTS, match_codes, stated_origin
from scarnet.series import LgeSeries, StackGeometry

_SEGMENTATION, _LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
#: Frames whose positions along the normal differ by less are one slice.
_SAME_SLICE_MM = 0.01
#: Direction cosines are decimal strings.
_SAME_DIRECTION = 1e-4
#: A probability or an occupancy of at least this is in the segment.
FRACTION_INSIDE = 0.5


def read_dicom_segmentation(
    path: Path, series: LgeSeries
) -> tuple[list[StoredSegment], StackGeometry, tuple[str, ...]]:
    """Segments of `path` on its own grid, that grid, and notes for the report; `series` is asked only whose images it holds.

    Segments may overlap; frames may come in any order, several to a slice, empty ones left out. Raises InputError when it
    is another kind of DICOM object, damaged, or not of parallel slices in patient coordinates, UsageError without highdicom.
    """
    hd = require_highdicom()
    with quiet():
        try:
            dataset = pydicom.dcmread(path)
            kind = str(dataset.get("SOPClassUID", ""))
            if kind not in (_SEGMENTATION, _LABEL_MAP):
                known = pydicom.uid.UID(kind).name if kind else "nothing that says what it is"
                raise InputError(f"{path.name} is no DICOM segmentation but {known}; give the SEG file.")
            geometry, slice_of = _place(dataset, path.name)
            stored = hd.seg.Segmentation.from_dataset(dataset, copy=False)
            frames = stored.pixel_array.reshape(-1, *geometry.shape[1:])
            notes = _belonging(stored, series)
            if str(stored.SegmentationType) == "FRACTIONAL":
                notes += (f"The DICOM SEG holds fractions; {FRACTION_INSIDE:g} and more was taken as inside.",)
            return _segments(stored, frames, slice_of), geometry, notes
        except InputError:
            raise
        except Exception as error:  # decoders and damaged files raise many types; all mean the same to a user
            raise InputError(
                f"{path.name} cannot be read as a DICOM segmentation ({type(error).__name__}); export it again."
            ) from error


def _place(dataset: pydicom.Dataset, name: str) -> tuple[StackGeometry, np.ndarray]:
    """The stack of the slices that hold frames, and for each frame the number of its slice there."""
    orientation, positions, spacing, thickness = _frames(dataset, name)
    slices, slice_of = _slices(positions, np.cross(*orientation))
    if np.abs(positions - slices[slice_of]).max() > SAME_POINT_MM:
        raise InputError(f"{name} holds frames beside one another in one plane; export one stack of slices alone.")
    geometry = StackGeometry(
        shape=(len(slices), int(dataset.Rows), int(dataset.Columns)),
        pixel_spacing_mm=spacing,
        column_direction=orientation[0],
        row_direction=orientation[1],
        slice_origins_mm=slices,
        single_slice_thickness_mm=thickness,
    )
    return geometry, slice_of


def _belonging(stored, series: LgeSeries) -> tuple[str, ...]:
    """Whether it was made for these images, as far as identifiers tell."""
    source = series.source
    if source.study_instance_uid and str(stored.StudyInstanceUID) != source.study_instance_uid:
        return ("The DICOM SEG belongs to another study than the images: make sure that it is this patient's.",)
    frame = str(stored.get("FrameOfReferenceUID", ""))
    if source.frame_of_reference_uid and frame != source.frame_of_reference_uid:
        return ("The DICOM SEG names another frame of reference than the images; it was placed by its coordinates.",)
    return ()


def _frames(dataset: pydicom.Dataset, name: str) -> tuple[np.ndarray, np.ndarray, tuple[float, float], float | None]:
    """Orientation `(2, 3)`, position of each frame `(frames, 3)`, pixel spacing, and slice thickness where it is stated."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    orientations, positions, spacings = [], [], []
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        found = [
            functional_group(frame, shared, keyword)
            for keyword in ("PlaneOrientationSequence", "PlanePositionSequence", "PixelMeasuresSequence")
        ]
        if not all(found) or "ImagePositionPatient" not in found[1][0]:
            raise InputError(
                f"{name} does not say where its frames lie in the patient; export it again with positions."
            )
        orientations.append([float(v) for v in found[0][0].ImageOrientationPatient])
        positions.append([float(v) for v in found[1][0].ImagePositionPatient])
        spacings.append([float(v) for v in found[2][0].PixelSpacing])
    if np.ptp(orientations, axis=0).max() > _SAME_DIRECTION or np.ptp(spacings, axis=0).max() > 1e-6:
        raise InputError(f"{name} holds frames of several orientations or pixel sizes; export the short axis alone.")
    axes = np.array(orientations[0]).reshape(2, 3)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    axes[1] -= (axes[1] @ axes[0]) * axes[0]
    axes[1] /= np.linalg.norm(axes[1])
    return axes, np.array(positions), tuple(spacings[0]), float(found[2][0].get("SliceThickness") or 0) or None


def _slices(positions: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the slices, in order along the normal, and for each frame the slice it belongs to."""
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    number = np.zeros(len(order), int)
    number[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) > _SAME_SLICE_MM)])
    first = [int(np.flatnonzero(number == k)[0]) for k in range(number.max() + 1)]
    return positions[first], number


def _segments(stored, frames: np.ndarray, slice_of: np.ndarray) -> list[StoredSegment]:
    label_map = str(stored.SegmentationType) == "LABELMAP"
    limit = 1.0
    if str(stored.SegmentationType) == "FRACTIONAL":
        limit = FRACTION_INSIDE * float(stored.MaximumFractionalValue)
    shared = stored.SharedFunctionalGroupsSequence[0]
    segment_of = []
    if not label_map:
        for frame in stored.PerFrameFunctionalGroupsSequence:
            group = functional_group(frame, shared, "SegmentIdentificationSequence")
            segment_of.append(int(group[0].ReferencedSegmentNumber))
    found = []
    for description in stored.SegmentSequence:
        number = int(description.SegmentNumber)
        if label_map and number == 0:
            continue  # what is no segment
        mask = np.zeros((slice_of.max() + 1, *frames.shape[1:]), bool)
        for index, (frame, k) in enumerate(zip(frames, slice_of, strict=True)):
            if label_map:
                mask[k] |= frame == number
            elif segment_of[index] == number:
                mask[k] |= frame >= limit
        found.append(_stored(description, mask))
    return found


def _stored(description, mask: np.ndarray) -> StoredSegment:
    label = str(description.get("SegmentLabel") or f"segment {int(description.SegmentNumber)}")
    region = description.get("AnatomicRegionSequence")
    definition = match_codes(
        label,
        _known_code(description.SegmentedPropertyTypeCodeSequence[0]),
        _known_code(region[0]) if region else None,
    )
    identification = description.get("SegmentationAlgorithmIdentificationSequence")
    return StoredSegment(
        name=label,
        definition=definition,
        mask=mask,
        origin=stated_origin(
            description.get("SegmentAlgorithmType"),
            description.get("SegmentAlgorithmName"),
            identification[0].get("AlgorithmVersion") if identification else None,
        ),
    )


def _known_code(item: pydicom.Dataset) -> tuple[str, str]:
    """(scheme, value) of a code, as our definitions write it: retired SNOMED-RT values are the SNOMED CT codes they became."""
    read = DicomCode(str(item.get("CodeValue", "")), str(item.get("CodingSchemeDesignator", "")), "")
    for segment in SEGMENTS:
        for scheme, value, _ in (segment.type, *segment.other_types, *segment.regions):
            if read == DicomCode(value, scheme, ""):
                return scheme, value
    return str(read.scheme_designator), str(read.value)
