"""NIfTI as tools write it: whole or refused, one spacing, the place it states, sheared or not."""

import gzip
import os
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from scarnet.errors import InputError, UsageError
from scarnet.export import read_segmentation, write_label_map
from scarnet.series import LgeSeries, StackGeometry, read_label_map, read_lge

SPACING = (1.5, 1.4, 10.0)


@pytest.fixture
def picture():
    """`[column, row, slice]`, as nibabel has it."""
    return np.random.default_rng(0).normal(200, 40, (80, 90, 6)).astype(np.int16)


def oblique(shear_mm=0.0):
    """Index to RAS, of slices that drift by `shear_mm` from one to the next."""
    axes, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = axes * SPACING
    affine[:3, 2] += axes[:, 0] * shear_mm
    affine[:3, 3] = 20, -30, 40
    return affine


def write(path, picture, affine, change=lambda image: None, kind=nibabel.Nifti1Image):
    image = kind(picture, affine)
    change(image)
    nibabel.save(image, path)
    return path


def ras(geometry):
    return np.diag([-1, -1, 1, 1]) @ geometry.affine_lps


@pytest.mark.parametrize("code", ["sform", "qform", "both"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("type_", ["<i2", ">i2", "u1", "f4", "f8", "i8", "u4"])
def test_voxels_and_place_are_those_of_nibabel(tmp_path, picture, code, kind, type_):
    affine = oblique()

    def change(image):
        image.set_sform(affine, 0 if code == "qform" else 1)
        image.set_qform(affine, 0 if code == "sform" else 1)

    picture = np.clip(picture, 0, 255).astype(type_)
    header = kind.header_class(endianness=">" if type_[0] == ">" else "<")
    image = kind(picture, affine, header=header, dtype=picture.dtype)
    change(image)
    nibabel.save(image, tmp_path / "a.nii.gz")
    series = read_lge(tmp_path / "a.nii.gz")
    assert np.array_equal(series.image, picture.transpose(2, 1, 0)) and series.warnings == ()
    assert np.allclose(ras(series.geometry), affine, atol=1e-4)
    assert series.geometry.pixel_spacing_mm == (1.4, 1.5)


def test_the_same_voxels_and_place_as_itk_has(tmp_path, picture):
    path = write(tmp_path / "a.nii", picture, oblique())
    theirs, ours = sitk.ReadImage(str(path)), read_lge(path)
    assert np.array_equal(sitk.GetArrayFromImage(theirs), ours.image)
    for index in ((0, 0, 0), (79, 0, 0), (0, 89, 0), (0, 0, 5)):
        ours_lps = ours.geometry.index_to_lps(np.array(index[::-1]))
        assert ours_lps == pytest.approx(theirs.TransformIndexToPhysicalPoint(index), abs=1e-3)


def test_scaling_and_other_units_count(tmp_path, picture):
    def change(image):
        image.header.set_slope_inter(0.5, -100)
        image.header.set_xyzt_units("meter")

    affine = oblique()
    affine[:3] /= 1000
    series = read_lge(write(tmp_path / "a.nii", picture, affine, change))
    assert np.ptp(series.image) > 50 and series.image.dtype == np.float32
    assert np.allclose(
        series.image, np.asarray(nibabel.load(tmp_path / "a.nii").dataobj).transpose(2, 1, 0), rtol=0, atol=1e-3
    )
    assert np.allclose(series.geometry.pixel_spacing_mm, (1.4, 1.5), atol=1e-5)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("cut", [1, 0.3, 0.6, 345])
def test_a_file_that_is_cut_off_is_refused(tmp_path, picture, name, cut):
    """ITK reads what is missing as zeros."""
    path = write(tmp_path / name, picture, oblique())
    content = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    left = content[: len(content) - cut] if cut == 1 else content[: int(cut * len(content)) if cut < 1 else cut]
    path.write_bytes(gzip.compress(left) if name.endswith("gz") else left)
    with pytest.raises(InputError, match="damaged"):
        read_lge(path)


@pytest.mark.parametrize("offset", [float("nan"), float("inf"), -5.0, 0.0, 1e9, 3e38])
def test_a_header_that_lies_about_where_voxels_begin_is_refused(tmp_path, picture, offset):
    path = write(tmp_path / "a.nii", picture, oblique())
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, 108, offset)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_lge(path)


def stale_pixdim(image):
    """As nibabel's set_sform leaves it."""
    wrong = oblique()
    wrong[:3, :2] *= 2
    image.set_qform(oblique(), 1)
    image.set_sform(wrong, 2)


def test_two_spacings_are_refused_unless_one_is_given(tmp_path, picture):
    path = write(tmp_path / "a.nii.gz", picture, oblique(), stale_pixdim)
    with pytest.raises(InputError, match=r"two spacings, 1.5 x 1.4 x 10 mm \(pixdim\) and 3 x 2.8 x 10 mm .*--spacing"):
        read_lge(path)
    assert read_lge(path, spacing_mm=(3.0, 2.8, 10.0)).geometry.pixel_spacing_mm == (2.8, 3.0)
    series = read_lge(path, spacing_mm=SPACING)
    labels = np.zeros(series.image.shape, np.uint8)
    labels[:, 40:50, 40:50] = 2
    drawn = write(tmp_path / "labels.nii.gz", labels.transpose(2, 1, 0), oblique(), stale_pixdim)
    read, _ = read_segmentation(drawn, series)  # the spacing given counts for the labels too
    assert np.array_equal(read, labels)


def unit_pixdim(image):
    image.set_qform(None, 0)
    image.set_sform(oblique(), 1)
    image.header["pixdim"][1:4] = 1


def test_a_spacing_that_the_sform_alone_states_counts(tmp_path, picture):
    series = read_lge(write(tmp_path / "a.nii.gz", picture, oblique(), unit_pixdim))
    assert series.warnings == () and series.geometry.pixel_spacing_mm == pytest.approx((1.4, 1.5), abs=1e-5)


def test_two_places_are_said(tmp_path, picture):
    def change(image):
        moved = oblique()
        moved[:3, 3] += 50, 0, 0
        image.set_qform(oblique(), 1)
        image.set_sform(moved, 2)

    series = read_lge(write(tmp_path / "a.nii.gz", picture, oblique(), change))
    assert any("two places up to 50 mm apart" in w for w in series.warnings)
    assert ras(series.geometry)[0, 3] == pytest.approx(70)


def test_zero_spacing_needs_one_given(tmp_path, picture):
    def change(image):
        image.header["pixdim"][1:4] = 0

    path = write(tmp_path / "a.nii.gz", picture, oblique(), change)
    with pytest.raises(InputError, match="0 x 0 x 0 mm.*--spacing"):
        read_lge(path)
    assert read_lge(path, spacing_mm=SPACING).geometry.pixel_spacing_mm == (1.4, 1.5)


@pytest.mark.parametrize("shear_mm", [0.003, 0.1, 1.0, 4.0])
def test_slices_that_drift_lie_where_the_file_says(tmp_path, picture, shear_mm):
    series = read_lge(write(tmp_path / "a.nii.gz", picture, oblique(shear_mm)))
    assert np.allclose(ras(series.geometry), oblique(shear_mm), atol=1e-4)
    assert series.geometry.slice_weights_mm == pytest.approx(np.full(6, 10.0), abs=1e-4)


def test_an_affine_rounded_to_three_decimals_is_read(tmp_path, picture):
    series = read_lge(write(tmp_path / "a.nii.gz", picture, oblique().round(3)))
    assert np.allclose(ras(series.geometry), oblique(), atol=2e-3)


def test_pixels_that_lie_askew_are_refused(tmp_path, picture):
    affine = oblique()
    affine[:3, 1] += 0.3 * affine[:3, 0]
    with pytest.raises(InputError, match="not at right angles"):
        read_lge(write(tmp_path / "a.nii.gz", picture, affine))


@pytest.mark.parametrize("name", ["l.nii.gz", "l.nii", "l.nrrd", "l.mha"])
@pytest.mark.parametrize("shear_mm", [0.0, 0.5])
def test_labels_of_a_drifting_stack_lie_on_its_images(tmp_path, name, shear_mm, capfd):
    """ITK's writer straightens the grid of a NIfTI file: labels lay millimetres beside their images."""
    affine = np.diag([-1, -1, 1, 1]) @ oblique(shear_mm)
    geometry = StackGeometry.from_affine_lps(affine, (6, 90, 80))
    labels = np.zeros(geometry.shape, np.uint8)
    labels[2, 30:40, 50:60] = 2
    write_label_map(tmp_path / name, labels, geometry)
    assert capfd.readouterr() == ("", "")
    read, place = read_label_map(tmp_path / name)
    assert np.array_equal(read, labels) and place.matches(geometry)
    drawn, notes = read_segmentation(tmp_path / name, LgeSeries(labels.astype(np.float32), geometry))
    assert np.array_equal(drawn, labels) and notes == ()
    if ".nii" in name:
        image = nibabel.load(tmp_path / name)
        assert np.allclose(image.affine, oblique(shear_mm), atol=1e-4)
        assert (image.header["qform_code"] == 0) == (shear_mm > 0)


@pytest.mark.parametrize("spacing", [(1e-9, 1.5, 10), (0, 1.5, 10), (-1, 1.5, 10), (1.5, 1.5, 1e9), (1.5, np.nan, 8)])
def test_a_spacing_that_no_image_has_is_wrong_usage(tmp_path, picture, spacing):
    path = write(tmp_path / "a.nii.gz", picture, oblique())
    with pytest.raises(UsageError, match="each 0.1 to 50"):
        read_lge(path, spacing_mm=spacing)


def test_values_beyond_single_precision_are_refused_without_a_word_from_numpy(tmp_path, picture, recwarn):
    picture = picture.astype(np.float64)
    picture[0, 0, 0] = 1e300
    with pytest.raises(InputError, match="not numbers"):
        read_lge(write(tmp_path / "a.nii.gz", picture, oblique()))
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_a_name_that_is_not_utf_8_is_refused(tmp_path, picture, ending):
    """ITK aborts the program on it."""
    path = write(tmp_path / "a.nii.gz", picture, oblique())
    named = path.with_name("M\udcfcller" + ending)
    path.rename(named)
    with pytest.raises(InputError, match="rename"):
        read_lge(named)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.nii"])
def test_a_damaged_file_is_refused_without_a_word_from_a_library(tmp_path, picture, name, capfd):
    sitk.WriteImage(sitk.GetImageFromArray(picture), str(tmp_path / name))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        read_lge(tmp_path / name)
    os.write(2, b"after")
    assert capfd.readouterr() == ("", "after")


def test_a_file_that_may_not_be_read_is_refused_as_such(tmp_path, picture, monkeypatch):
    path = write(tmp_path / "a.nii.gz", picture, oblique())

    def open_(self, *arguments):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.open", open_)
    for read in (read_lge, read_label_map):
        with pytest.raises(InputError, match="Permission denied"):
            read(path)


def test_lost_pictures_and_short_stacks_are_said_of_files_too(tmp_path, picture):
    picture[:, :, [2, 3]] = 7
    assert any("Slice 3, 4 is constant" in w for w in read_lge(write(tmp_path / "a.nii", picture, oblique())).warnings)
    series = read_lge(write(tmp_path / "b.nii", picture[:, :, 3:], oblique()))
    assert any("3 slices are fewer" in w for w in series.warnings)
