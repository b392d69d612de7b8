"""Which pictures make a stack: none is lost without a word, repeats and patients are kept apart, careless copies are read."""

import os

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from scarnet.errors import InputError
from scarnet.phantom.study import write_study
from scarnet.phantom.zoo import Variant, named
from scarnet.series import read_lge
from scarnet.series.members import members
from scarnet.series.names import Kind, kind_by_name
from scarnet.series.quiet import quiet
from scarnet.series.study import read_study


def copied(plain, folder, change=lambda ds, k: None):
    """The plain study with `change(dataset, k)` made to every slice."""
    folder.mkdir(parents=True, exist_ok=True)
    with quiet(), pydicom.config.disable_value_validation():
        for k, file in enumerate(sorted(plain.path.iterdir())):
            ds = pydicom.dcmread(file)
            change(ds, k)
            ds.save_as(folder / file.name)
    return folder


def without(*keywords):
    def change(ds, k):
        for keyword in keywords:
            if k == 0 and keyword in ds:
                delattr(ds, keyword)

    return change


def other_modality(ds, k):
    if k == 0:
        ds.Modality = "OT"


def secondary_capture(ds, k):
    if k == 0:
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"


LOST = {
    "position": without("ImagePositionPatient"),
    "orientation": without("ImageOrientationPatient"),
    "pixel spacing": without("PixelSpacing"),
    "matrix": without("Rows"),
    "modality": other_modality,
    "class": secondary_capture,
}


@pytest.mark.parametrize("what", LOST)
def test_a_slice_whose_header_lacks_something_is_missed(what, plain, tmp_path):
    series = read_lge(copied(plain, tmp_path, LOST[what]))
    assert len(series.image) == 7
    assert any("left out that may belong to the stack" in w for w in series.warnings)


@pytest.mark.parametrize("length", [0, 100, 140, 200, 400, 600, 800, 1000, 1200, 1400])
def test_a_slice_that_is_cut_off_is_missed(length, plain, tmp_path):
    copied(plain, tmp_path)
    first = min(tmp_path.iterdir())
    first.write_bytes(first.read_bytes()[:length])
    try:
        series = read_lge(tmp_path)
    except InputError as error:
        assert "truncated" in str(error) or "pixels" in str(error)
    else:
        assert any("left out that may belong to the stack" in w for w in series.warnings), series.warnings


@pytest.mark.parametrize("length", [0, 600])
def test_of_one_series_for_each_slice_too(length, hearts, tmp_path):
    truth = write_study(Variant("slices", layout="slices", others=()), tmp_path / "s", hearts)
    first = min(truth.path.iterdir())
    first.write_bytes(first.read_bytes()[:length])
    assert any("left out that may belong to the stack" in w for w in read_lge(truth.path).warnings)


def test_files_of_other_series_that_are_no_images_are_not_missed(hearts, tmp_path):
    others = ("capture", "report", "segmentation", "document")
    truth = write_study(Variant("others", others=others), tmp_path / "s", hearts)
    assert not any("left out" in w for w in read_lge(truth.path).warnings)


def test_a_link_to_nothing_and_a_directory_naming_what_is_gone(plain, hearts, tmp_path):
    copied(plain, tmp_path / "a")
    first = min((tmp_path / "a").iterdir())
    first.unlink()
    first.symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "a", max((tmp_path / "a").iterdir())):  # the folder, and one image of it
        assert any("cannot be opened: 1" in w for w in read_lge(path).warnings)
    truth = write_study(named("dicomdir"), tmp_path / "disc", hearts)
    next(member.path for member in members(truth.path)).unlink()
    assert any("cannot be opened: 1" in w for w in read_lge(truth.path).warnings)


def test_a_folder_that_cannot_be_entered(plain, tmp_path, monkeypatch):
    """Whoever runs the tests may enter every folder: what the system would say is said for it."""
    copied(plain, tmp_path / "in")
    (tmp_path / "locked").mkdir()
    listed = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert any("cannot be opened: 1" in w for w in read_lge(tmp_path).warnings)

    def is_dir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.is_dir", is_dir)
    for read in (read_lge, read_study):
        with pytest.raises(InputError, match="cannot be opened \\(Permission denied\\)"):
            read(tmp_path)


def repeated(plain, folder, along_mm, *, thickness_mm=8.0, dropped=()):
    """The plain study and the same again in a series of its own, moved along its normal."""

    def first(ds, k):
        ds.SliceThickness = thickness_mm

    def again(ds, k):
        first(ds, k)
        ds.SOPInstanceUID = generate_uid()
        ds.SeriesInstanceUID, ds.SeriesNumber, ds.AcquisitionTime = "2.25.77", 77, "130000"
        position = np.array(ds.ImagePositionPatient, float) + along_mm * plain.series.geometry.normal
        ds.ImagePositionPatient = [f"{v:.6f}" for v in position]

    copied(plain, folder / "first", first)
    copied(plain, folder / "again", again)
    for k in dropped:
        sorted((folder / "again").iterdir())[k].unlink()
    return folder


@pytest.mark.parametrize("along_mm", [2, 3, 4, 5, 7, 12])
def test_a_repeat_planned_a_few_millimetres_off_is_a_stack_of_its_own(along_mm, plain, tmp_path):
    study = read_study(repeated(plain, tmp_path, along_mm))
    assert [len(stack.slices) for stack, _ in study.usable] == [8, 8]
    series = read_lge(tmp_path)
    assert series.geometry.slice_weights_mm == pytest.approx(np.full(8, 10.0), abs=1e-3)
    assert len(series.source.series_instance_uids) == 1
    assert any("have slices between these" in w for w in series.warnings)


def test_slices_acquired_again_go_to_the_stack_that_they_repeat(plain, tmp_path):
    def again(ds, k):
        ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.SeriesNumber = generate_uid(), "2.25.99", 99
        ds.AcquisitionTime = "140000"

    repeated(plain, tmp_path, 4)
    copied(plain, tmp_path / "once", again)
    for file in sorted((tmp_path / "once").iterdir())[1:]:
        file.unlink()
    study = read_study(tmp_path)
    assert sorted((len(stack.slices), stack.left_out) for stack, _ in study.usable) == [(8, 0), (8, 1)]


def halves(plain, folder, second, thickness_mm, squeeze=1.0):
    """One stack in two series: `second(k)` says which slices are in the other; distances shrunk by a factor."""
    origin = plain.series.geometry.slice_origins_mm[0]

    def change(ds, k):
        if second(k):
            ds.SeriesInstanceUID = "2.25.78"
        position = origin + (np.array(ds.ImagePositionPatient, float) - origin) * squeeze
        ds.ImagePositionPatient, ds.SliceThickness = [f"{v:.6f}" for v in position], thickness_mm

    return copied(plain, folder, change)


def test_the_halves_of_one_stack_stay_together(plain, tmp_path):
    for name, second in (("odd", lambda k: k % 2), ("apex", lambda k: k > 3)):
        series = read_lge(halves(plain, tmp_path / name, second, 8.0))
        assert np.array_equal(series.image, plain.series.image) and len(series.source.series_instance_uids) == 2
        assert not any("between these" in w for w in series.warnings)


@pytest.mark.parametrize(("thickness_mm", "stacks"), [(5.0, 1), (8.0, 2)])
def test_thin_slices_that_do_not_overlap_are_one_dense_stack(thickness_mm, stacks, plain, tmp_path):
    """Series 10 mm apart, 5 mm beside one another: what overlaps was acquired twice."""
    study = read_study(repeated(plain, tmp_path, 5, thickness_mm=thickness_mm))
    assert len(study.usable) == stacks


def test_dicom_is_never_told_to_give_a_spacing(plain, tmp_path):
    def dense(ds, k):
        position = np.array(ds.ImagePositionPatient, float)
        origin = plain.series.geometry.slice_origins_mm[0]
        ds.ImagePositionPatient = [f"{v:.6f}" for v in origin + (position - origin) * 0.2]

    with pytest.raises(InputError) as error:
        read_lge(copied(plain, tmp_path, dense))
    assert "--spacing" not in str(error.value)
    with pytest.raises(InputError, match="2.00 mm apart") as error:
        read_lge(tmp_path, stack=1)
    assert "--spacing" not in str(error.value)


def test_a_slice_of_another_patient_is_no_slice_of_the_stack(plain, tmp_path):
    def change(ds, k):
        if k == 3:
            ds.PatientID = "4711"

    series = read_lge(copied(plain, tmp_path, change))
    assert len(series.image) == 7 and any("several patients" in w for w in series.warnings)


def test_a_patient_for_each_slice_is_said_as_such(plain, tmp_path):
    def change(ds, k):
        ds.PatientID = f"4711{k}"

    with pytest.raises(InputError, match="state different frames of reference or patients"):
        read_lge(copied(plain, tmp_path, change))


@pytest.mark.parametrize("uid", ["2.25.5", ""])
def test_two_patients_under_one_study_uid_are_not_one(uid, plain, tmp_path):
    for name, series in (("4711", "2.25.1"), ("4712", "2.25.2")):

        def change(ds, k, name=name, series=series):
            ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID = name, uid, series
            ds.SOPInstanceUID = generate_uid()

        copied(plain, tmp_path / series, change)
    with pytest.raises(InputError, match="different studies would serve, perhaps of different patients") as error:
        read_lge(tmp_path)
    assert "4711" not in str(error.value)
    assert "'4711'" not in repr([stack.slices for stack, _ in read_study(tmp_path).stacks])


def test_one_instance_uid_for_all_is_read_and_said(plain, tmp_path):
    def change(ds, k):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.1"

    series = read_lge(copied(plain, tmp_path, change))
    assert np.array_equal(series.image, plain.series.image)
    assert any("7 slices state the UID of another slice" in w for w in series.warnings)


def test_a_file_without_preamble_alone_opens_its_stack(hearts, tmp_path):
    truth = write_study(named("no-preamble"), tmp_path / "s", hearts)
    one = next(path for path in sorted(truth.path.iterdir()) if "lge" in path.name)
    assert np.array_equal(read_lge(one).image, truth.series.image)


def test_a_folder_is_one_whatever_its_name_ends_in(plain, tmp_path):
    folder = copied(plain, tmp_path / "patient.nrrd")
    assert np.array_equal(read_lge(folder).image, plain.series.image)
    (tmp_path / "empty.nii.gz").mkdir()
    with pytest.raises(InputError, match="it is empty"):
        read_lge(tmp_path / "empty.nii.gz")


@pytest.mark.parametrize(
    "keyword", ["BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation"]
)
def test_elements_that_say_the_usual_may_be_missing(keyword, plain, tmp_path):
    def change(ds, k):
        ds.BitsStored, ds.HighBit = ds.BitsAllocated, ds.BitsAllocated - 1
        if keyword in ds:
            delattr(ds, keyword)

    series = read_lge(copied(plain, tmp_path, change))
    assert np.array_equal(series.image, plain.series.image)


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [("PhotometricInterpretation", "MONOCHROME1", "inverted"), ("LossyImageCompression", "01", "with loss")],
)
def test_how_any_slice_is_stored_is_said(keyword, value, said, plain, tmp_path):
    last = len(plain.series.image) - 1
    series = read_lge(copied(plain, tmp_path / "one", lambda ds, k: setattr(ds, keyword, value) if k == last else None))
    (note,) = [w for w in series.warnings if said in w]
    assert "alone are" in note and (f"slice {last + 1} " in note or "slice 1 " in note)
    series = read_lge(copied(plain, tmp_path / "all", lambda ds, k: setattr(ds, keyword, value)))
    assert any(w.startswith("The images are") and said in w for w in series.warnings)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("T2prep_PSIR_SAX", Kind.LGE),
        ("DB_LGE_T2prep SAX", Kind.LGE),
        ("PSIR_SAX_localized shim", Kind.LGE),
        ("LGE SAX w/o scout", Kind.LGE),
        ("MDE sa T2-prep", Kind.LGE),
        ("T2prep_trufi_SAX", Kind.T2_MAP),
        ("localized shim", Kind.LOCALIZER),
        ("LGE_localizer", Kind.LOCALIZER),
        ("PSIR TI scout", Kind.TI_SCOUT),
        ("LGE scout", Kind.LOCALIZER),
    ],
)
def test_lge_named_with_its_preparation_is_lge(name, kind):
    assert kind_by_name(name.lower()) == kind


def test_what_is_refused_by_name_can_be_taken_by_number(plain, tmp_path):
    def change(ds, k):
        ds.SeriesDescription = ds.ProtocolName = "T2prep_trufi_SAX"

    copied(plain, tmp_path, change)
    with pytest.raises(InputError, match="--series 1"):
        read_lge(tmp_path)
    assert np.array_equal(read_lge(tmp_path, stack=1).image, plain.series.image)


def test_what_no_hand_could_use_is_not_offered_by_number(plain, tmp_path):
    def dense(ds, k):
        ds.ImagePositionPatient = [f"{v:.6f}" for v in np.array(ds.ImagePositionPatient, float) * 0.2]

    with pytest.raises(InputError) as error:
        read_lge(copied(plain, tmp_path, dense))
    assert "--series" not in str(error.value)
