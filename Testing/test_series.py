"""Reading: the input's own grid, and one line for every input that cannot be used."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from scarnet.errors import InputError
from scarnet.phantom import write_dicom
from scarnet.series import Reconstruction, read_label_map, read_lge


def write(path, array, spacing=(1.4, 1.4, 10.0), direction=None, vector=False):
    image = sitk.GetImageFromArray(array, isVector=vector)
    if not vector:
        image.SetSpacing((*spacing, 1.0)[: image.GetDimension()])
        if direction is not None:
            image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def picture():
    return np.random.default_rng(0).normal(100, 20, (6, 90, 80)).astype(np.float32)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha"])
def test_files_come_back_on_their_own_grid(tmp_path, picture, name):
    q, r = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    direction = q * np.sign(np.linalg.det(q))
    series = read_lge(write(tmp_path / name, picture, direction=direction))
    assert np.array_equal(series.image, picture)
    assert series.geometry.pixel_spacing_mm == pytest.approx((1.4, 1.4), abs=1e-5)
    assert series.geometry.column_direction == pytest.approx(direction[:, 0], abs=1e-5)
    assert series.geometry.slice_weights_mm == pytest.approx(np.full(6, 10.0), abs=1e-4)
    assert series.warnings == ()


def test_dicom_agrees_with_another_reader(dicom_folder, phantom):
    """Voxels and geometry as ITK's own DICOM reader has them."""
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(dicom_folder))
    theirs = sitk.ReadImage(files)
    ours = read_lge(dicom_folder)
    array = sitk.GetArrayFromImage(theirs)
    assert np.array_equal(ours.image, array) or np.array_equal(ours.image[::-1], array)
    corner = theirs.TransformIndexToPhysicalPoint((0, 0, 0))
    first = ours.geometry.slice_origins_mm[0 if np.array_equal(ours.image, array) else -1]
    assert first == pytest.approx(np.array(corner), abs=1e-4)
    assert np.array_equal(ours.image, phantom.series.image)
    assert ours.geometry.matches(phantom.series.geometry, tolerance_mm=1e-4)
    assert ours.reconstruction == Reconstruction.PSIR
    assert ours.source.content_sha256 == read_lge(next(dicom_folder.iterdir()).parent).source.content_sha256


def test_one_series_per_slice_is_one_stack(dicom_folder, tmp_path, phantom):
    for k, path in enumerate(sorted(dicom_folder.iterdir())):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = f"2.25.{k + 1}"
        dataset.save_as(tmp_path / f"no extension {k}")
    series = read_lge(tmp_path)
    assert np.array_equal(series.image, phantom.series.image)
    assert len(series.source.series_instance_uids) == 10


def test_a_missing_slice_is_kept_as_a_gap_and_said(dicom_folder, tmp_path, phantom):
    for path in sorted(dicom_folder.iterdir()):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "slice05.dcm").unlink()
    series = read_lge(tmp_path)
    assert series.image.shape[0] == 9
    assert any("not equidistant" in w for w in series.warnings)
    assert sorted(series.geometry.slice_weights_mm.round(3)) == [10.0] * 7 + [15.0] * 2


def test_a_repeated_slice_is_used_once_and_said(dicom_folder, tmp_path):
    for path in sorted(dicom_folder.iterdir()):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    dataset = pydicom.dcmread(tmp_path / "slice03.dcm")
    dataset.SOPInstanceUID, dataset.AcquisitionTime = "2.25.9", "130000"
    dataset.save_as(tmp_path / "again.dcm")
    series = read_lge(tmp_path)
    assert series.image.shape[0] == 10
    assert any("repeat" in w for w in series.warnings)
    assert "2.25.9" in series.source.sop_instance_uids


def test_signed_values_survive(dicom_folder):
    assert read_lge(dicom_folder).image.min() < 0


def test_no_stated_spacing_is_assumed_loudly_or_given(tmp_path, picture):
    path = write(tmp_path / "unit.nii.gz", picture, spacing=(1.0, 1.0, 1.0))
    series = read_lge(path)
    assert series.spacing_assumed and any("--spacing" in w for w in series.warnings)
    given = read_lge(path, spacing_mm=(1.4, 1.5, 13.0))
    assert not given.spacing_assumed
    assert given.geometry.pixel_spacing_mm == (1.5, 1.4)
    assert given.geometry.slice_weights_mm == pytest.approx(np.full(6, 13.0))


def nan(picture):
    picture[2, 3, 4] = np.nan
    return picture


BAD = {
    "4-D": (lambda p: np.stack([p, p]), {}, "dimensions"),
    "single slice": (lambda p: p[:1], {}, "has 1 slice"),
    "constant": (lambda p: p * 0 + 7, {}, "is constant"),
    "not a number": (nan, {}, "not numbers"),
    "isotropic CT": (lambda p: np.tile(p, (20, 1, 1)), {"spacing": (0.8, 0.8, 0.8)}, "3-D or CT"),
    "microscope": (lambda p: p, {"spacing": (0.01, 0.01, 10.0)}, "no cardiac field of view"),
}


@pytest.mark.parametrize("kind", BAD)
def test_unusable_images_are_refused_in_one_line(tmp_path, picture, kind):
    change, options, message = BAD[kind]
    path = write(tmp_path / "bad.nii.gz", change(picture.copy()), **options)
    with pytest.raises(InputError, match=message) as error:
        read_lge(path)
    assert "\n" not in str(error.value) and "bad.nii.gz" in str(error.value)


def test_colour_is_refused(tmp_path, picture):
    path = write(tmp_path / "rgb.mha", np.stack([picture] * 3, axis=-1).astype(np.uint8), vector=True)
    with pytest.raises(InputError, match="colour"):
        read_lge(path)


@pytest.mark.parametrize("value", [0.0, -1.4, float("nan")])
def test_wrong_spacing_in_a_header_is_refused(tmp_path, picture, value):
    import struct

    path = write(tmp_path / "a.nii", picture)
    raw = bytearray(path.read_bytes())
    raw[80:84] = struct.pack("<f", value)  # pixdim[1] of NIfTI-1
    path.write_bytes(bytes(raw))
    with pytest.raises(InputError):
        read_lge(path)


@pytest.mark.parametrize(("value", "given_helps"), [(b"0 ", False), (b"-1", True)])
def test_where_a_given_spacing_helps_it_is_named(tmp_path, picture, value, given_helps):
    path = write(tmp_path / "a.mha", picture, spacing=(1.5, 1.5, 10.0))
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing = 1.5", b"ElementSpacing = " + value, 1))
    with pytest.raises(InputError, match="all must be positive") as error:
        read_lge(path)
    assert ("--spacing" in str(error.value)) == given_helps
    if given_helps:
        assert read_lge(path, spacing_mm=(1.5, 1.4, 10.0)).geometry.pixel_spacing_mm == (1.4, 1.5)


def test_missing_empty_foreign_and_damaged_inputs(tmp_path, dicom_folder):
    with pytest.raises(InputError, match="does not exist"):
        read_lge(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="it is empty"):
        read_lge(tmp_path / "empty")
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(InputError, match="not an image"):
        read_lge(tmp_path / "text.txt")
    (tmp_path / "fake.nii.gz").write_bytes(b"not gzip at all")
    with pytest.raises(InputError, match="damaged"):
        read_lge(tmp_path / "fake.nii.gz")
    for path in sorted(dicom_folder.iterdir()):
        (tmp_path / "empty" / path.name).write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError) as error:
        read_lge(tmp_path / "empty")
    assert "\n" not in str(error.value)


def test_label_maps_hold_whole_numbers(tmp_path, picture):
    labels = (picture > 110).astype(np.uint8)
    read, geometry = read_label_map(write(tmp_path / "l.nii.gz", labels))
    assert np.array_equal(read, labels) and geometry.shape == labels.shape
    with pytest.raises(InputError, match="not a label map"):
        read_label_map(write(tmp_path / "f.nii.gz", picture))


def test_the_same_images_have_the_same_identity_in_any_format(tmp_path, picture):
    hashes = {read_lge(write(tmp_path / f"a{s}", picture)).source.content_sha256 for s in (".nii.gz", ".nrrd", ".mha")}
    assert len(hashes) == 1
    other = picture.copy()
    other[0, 0, 0] += 1
    assert read_lge(write(tmp_path / "b.nrrd", other)).source.content_sha256 not in hashes


def test_writing_into_a_used_folder_is_refused(tmp_path, small_phantom):
    from scarnet.errors import UsageError

    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        write_dicom(small_phantom, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
