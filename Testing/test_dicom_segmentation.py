"""DICOM SEG, read back by highdicom: the same voxels, the right images, codes and algorithm."""

import zipfile
from dataclasses import replace

import numpy as np
import pydicom
import pytest

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed: DICOM SEG was not tested")

from scarnet.errors import InputError  # noqa: E402
from scarnet.export.dicom.report import write_dicom_report  # noqa: E402
from scarnet.export.dicom.segmentation import write_dicom_segmentation  # noqa: E402
from scarnet.export.dicom.source import source_images  # noqa: E402
from scarnet.phantom import simulate  # noqa: E402
from scarnet.phantom.study import write_study  # noqa: E402
from scarnet.phantom.zoo import named  # noqa: E402
from scarnet.quantification import quantify  # noqa: E402
from scarnet.segments import SEGMENTS  # noqa: E402
from scarnet.series import Reconstruction, read_lge  # noqa: E402

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


def test_an_intensity_method_draws_scar_alone_and_is_no_network(dicom_folder, phantom, tmp_path):
    """Muscle and blood came with the myocardium that it was given."""
    series = read_lge(dicom_folder)
    model = {"name": "threshold:5sd", "runtime": "numpy", "version": "", "sha256": ""}
    write_dicom_segmentation(tmp_path / "s.dcm", series, np.minimum(phantom.labels, 3), model=model)
    found = {d.segment_label: d for d in descriptions(highdicom.seg.segread(tmp_path / "s.dcm"))}
    kinds = {name: d.algorithm_type.value for name, d in found.items()}
    assert kinds == {"LV myocardium": "MANUAL", "Scar": "AUTOMATIC", "LV blood pool": "MANUAL"}
    algorithm = found["Scar"].algorithm_identification
    assert (algorithm.name, algorithm.family.value) == ("ScarNet threshold:5sd", "123105")  # histogram analysis


def test_what_cannot_be_a_seg_is_refused(dicom_folder, phantom, tmp_path):
    with pytest.raises(InputError, match="refer to DICOM images"):
        write_dicom_segmentation(tmp_path / "s.dcm", phantom.series, phantom.labels)
    with pytest.raises(InputError, match="is empty"):
        write_dicom_segmentation(tmp_path / "s.dcm", read_lge(dicom_folder), phantom.labels * 0)
    assert not (tmp_path / "s.dcm").exists()


@pytest.fixture(scope="module")
def hearts(small_phantom):
    magnitude = replace(small_phantom.parameters, reconstruction=Reconstruction.MAGNITUDE)
    return {"psir": small_phantom, "magnitude": simulate(magnitude, seed=1)}


@pytest.mark.parametrize(
    "name", ["zip", "philips-enhanced", "philips-enhanced-both", "siemens-enhanced", "enhanced-jpeg-2000-in-zip"]
)
def test_archives_and_frames_of_one_object_are_referred_to_as_they_lie(hearts, tmp_path, name):
    """Every frame of the SEG names the object, and the frame of it, that holds its slice; so does the SR."""
    study = write_study(named(name), tmp_path / "study", hearts)
    series = read_lge(study.path)
    assert series.source.slice_files == ()
    labels = np.zeros(series.image.shape, np.uint8)
    labels[1:4, 20:40, 20:40] = 2
    labels[2:4, 20:30, 20:30] = 3
    written = write_dicom_segmentation(tmp_path / "s.dcm", series, labels, model=MODEL)
    write_dicom_report(tmp_path / "r.dcm", series, quantify(series, labels), segmentation=written)
    segmentation = highdicom.seg.segread(tmp_path / "s.dcm")
    stored = objects_of(study.path)
    drawn, seen = set(), {d.segment_number: np.zeros(labels.shape, bool) for d in descriptions(segmentation)}
    pictures = segmentation.pixel_array
    for frame, pixels in zip(segmentation.PerFrameFunctionalGroupsSequence, pictures, strict=True):
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        image, number = stored[source.ReferencedSOPInstanceUID], source.get("ReferencedFrameNumber")
        assert (number is not None) == ("PerFrameFunctionalGroupsSequence" in image)
        assert source.ReferencedSOPClassUID == image.SOPClassUID
        place = image if number is None else image.PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSequence[0]
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        assert np.allclose(position, np.array(place.ImagePositionPatient, float), atol=1e-3)
        k = int(np.linalg.norm(series.geometry.slice_origins_mm - position, axis=1).argmin())
        drawn.add((str(image.SOPInstanceUID), number))
        seen[int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)][k] = pixels > 0
    for description in descriptions(segmentation):
        definition = next(s for s in SEGMENTS if s.name == description.segment_label)
        assert np.array_equal(seen[description.segment_number], definition.mask(labels))
    named_objects = {str(i.ReferencedSOPInstanceUID) for i in segmentation.SourceImageSequence}
    assert named_objects == set(series.source.sop_instance_uids)
    report = highdicom.sr.srread(tmp_path / "r.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    (muscle,) = [g for g in groups if g.tracking_identifier == "LV myocardium"]
    referred = set()
    for item in muscle[0].ContentSequence:
        if item.ValueType == "IMAGE" and item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID in named_objects:
            reference = item.ReferencedSOPSequence[0]
            numbers = reference.get("ReferencedFrameNumber")
            numbers = [numbers] if numbers is None or isinstance(numbers, int) else list(numbers)
            referred |= {(str(reference.ReferencedSOPInstanceUID), n if n is None else int(n)) for n in numbers}
    assert referred == drawn


def objects_of(path):
    """Every DICOM image of a folder or a zip archive by its UID."""
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        read = (pydicom.dcmread(file, force=True) for file in files)
    else:
        archive = zipfile.ZipFile(path)
        read = (pydicom.dcmread(archive.open(name), force=True) for name in archive.namelist())
    return {str(image.SOPInstanceUID): image for image in read if "SOPInstanceUID" in image}


def test_images_that_change_or_vanish_under_way_are_refused(hearts, tmp_path):
    study = write_study(named("zip"), tmp_path / "study", hearts)
    series = read_lge(study.path)
    study.path.unlink()
    with pytest.raises(InputError, match="can no longer be read"):
        source_images(series)
    with zipfile.ZipFile(study.path, "w") as archive:
        archive.writestr("other", b"nothing")
    with pytest.raises(InputError, match="can no longer be read"):
        source_images(series)
