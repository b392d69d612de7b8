"""DICOM SEG, read back by highdicom: the same voxels, the right images, codes and algorithm."""

import numpy as np
import pydicom
import pytest

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed: DICOM SEG was not tested")

from scarnet.errors import InputError  # noqa: E402
from scarnet.export.dicom_segmentation import write_dicom_segmentation  # noqa: E402
from scarnet.segments import SEGMENTS  # noqa: E402
from scarnet.series import read_lge  # noqa: E402

MODEL = {"name": "compact-emidec", "version": "2", "sha256": "0123456789abcdef" * 4}


def descriptions(segmentation):
    return [segmentation.get_segment_description(number) for number in segmentation.segment_numbers]


def read_back(path, series):
    """Masks by segment name `[slice, row, column]`, in the order of the series, through the referenced images."""
    segmentation = highdicom.seg.segread(path)
    uids = [str(pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID) for f in series.source.slice_files]
    masks = {name: np.zeros(series.image.shape, bool) for name in (s.name for s in SEGMENTS)}
    names = {d.segment_number: d.segment_label for d in descriptions(segmentation)}
    for frame, pixels in zip(segmentation.PerFrameFunctionalGroupsSequence, segmentation.pixel_array, strict=True):
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        k = int(np.abs(series.geometry.slice_origins_mm - position).sum(axis=1).argmin())
        for derivation in frame.get("DerivationImageSequence", ()):
            sources = [str(s.ReferencedSOPInstanceUID) for s in derivation.SourceImageSequence]
            assert sources == [uids[k]]
        masks[names[number]][k] = pixels > 0
    return segmentation, masks


def test_voxels_images_codes_and_algorithm_come_back(dicom_folder, phantom, tmp_path):
    series = read_lge(dicom_folder)
    write_dicom_segmentation(tmp_path / "s.dcm", series, phantom.labels, model=MODEL)
    segmentation, masks = read_back(tmp_path / "s.dcm", series)
    source = pydicom.dcmread(series.source.slice_files[0])
    assert segmentation.StudyInstanceUID == source.StudyInstanceUID
    assert segmentation.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert segmentation.SeriesInstanceUID != source.SeriesInstanceUID
    for definition, description in zip(SEGMENTS, descriptions(segmentation), strict=True):
        assert np.array_equal(masks[definition.name], definition.mask(phantom.labels)), definition.name
        assert description.segmented_property_type.value == definition.type[1]
        assert description.segmented_property_category.value == definition.category[1]
        assert description.algorithm_type.value == "AUTOMATIC"
        identification = description.algorithm_identification
        assert identification.name == "ScarNet compact-emidec 2 0123456789ab" and identification.version == "2"
    referenced = {
        str(i.ReferencedSOPInstanceUID)
        for s in segmentation.ReferencedSeriesSequence
        for i in s.ReferencedInstanceSequence
    }
    assert referenced == set(series.source.sop_instance_uids)


def test_one_series_per_slice(dicom_folder, phantom, tmp_path):
    (tmp_path / "split").mkdir()
    for k, path in enumerate(sorted(dicom_folder.iterdir())):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = f"2.25.{k + 1}"
        dataset.save_as(tmp_path / "split" / path.name)
    series = read_lge(tmp_path / "split")
    write_dicom_segmentation(tmp_path / "s.dcm", series, phantom.labels, model=MODEL, edited=("Scar",))
    segmentation, masks = read_back(tmp_path / "s.dcm", series)
    for definition in SEGMENTS:
        assert np.array_equal(masks[definition.name], definition.mask(phantom.labels)), definition.name
    kinds = {d.segment_label: d.algorithm_type.value for d in descriptions(segmentation)}
    assert kinds.pop("Scar") == "SEMIAUTOMATIC" and set(kinds.values()) == {"AUTOMATIC"}


def test_a_hand_drawn_segmentation_is_manual_and_empty_segments_are_left_out(dicom_folder, phantom, tmp_path):
    series = read_lge(dicom_folder)
    write_dicom_segmentation(tmp_path / "s.dcm", series, np.minimum(phantom.labels, 2))
    segmentation, _ = read_back(tmp_path / "s.dcm", series)
    assert [d.segment_label for d in descriptions(segmentation)] == ["LV myocardium", "LV blood pool"]
    assert {d.algorithm_type.value for d in descriptions(segmentation)} == {"MANUAL"}


def test_what_cannot_be_a_seg_is_refused(dicom_folder, phantom, tmp_path):
    with pytest.raises(InputError, match="refer to DICOM images"):
        write_dicom_segmentation(tmp_path / "s.dcm", phantom.series, phantom.labels)
    with pytest.raises(InputError, match="is empty"):
        write_dicom_segmentation(tmp_path / "s.dcm", read_lge(dicom_folder), phantom.labels * 0)
    assert not (tmp_path / "s.dcm").exists()
