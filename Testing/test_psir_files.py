"""Phase-sensitive images in files without tags: told by a stated rule, and treated as the same images in DICOM are."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from scarnet.network import find_model, load_network
from scarnet.phantom import simulate
from scarnet.quantification import quantify
from scarnet.segmentation.crop import CropGrid, normalise
from scarnet.series import Reconstruction, read_lge
from scarnet.series.reconstruction import NEGATIVE_SHARE, from_image, is_signed


@pytest.fixture(scope="module")
def magnitude(phantom):
    return simulate(replace(phantom.parameters, reconstruction=Reconstruction.MAGNITUDE), seed=20)


def written(series, path, values):
    """As converters of DICOM leave it: the values, and the grid of the stack."""
    image = sitk.GetImageFromArray(values)
    affine = series.geometry.affine_lps
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection([float(v) for v in (affine[:3, :3] / spacing).ravel()])
    image.SetOrigin([float(v) for v in affine[:3, 3]])
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("kind", ["int16", "float32", "offset 4096", "offset 2048"])
def test_psir_files_are_what_the_dicom_series_is(phantom, dicom_folder, tmp_path, name, kind):
    """Same reconstruction, values, network input and thresholds, whether the sign was kept or hidden by an offset."""
    dicom = read_lge(dicom_folder)
    assert dicom.reconstruction == Reconstruction.PSIR
    offset = int(kind.split()[1]) if " " in kind else 0
    values = (dicom.image + offset).astype("uint16" if offset else kind)
    series = read_lge(written(dicom, tmp_path / name, values))
    assert series.reconstruction == Reconstruction.PSIR
    assert np.array_equal(series.image, dicom.image)
    assert any(f"offset of {offset}" in w for w in series.warnings) == bool(offset)
    card = load_network(find_model("default"), device="cpu").card
    center = dicom.geometry.index_to_lps(np.argwhere(phantom.labels > 0).mean(axis=0))
    inputs = [
        normalise(*CropGrid(s.geometry, center, card.input["side"], card.input["pixel_mm"]).extract(s.image))
        for s in (series, dicom)
    ]
    assert np.abs(inputs[0] - inputs[1]).max() < 1e-3  # grids differ by the decimals that the format keeps
    assert np.isfinite(inputs[0]).all()


def test_the_report_is_the_same(phantom, dicom_folder, tmp_path):
    dicom = read_lge(dicom_folder)
    series = read_lge(written(dicom, tmp_path / "a.nii.gz", dicom.image))
    one, other = (quantify(s, phantom.labels) for s in (series, dicom))
    assert {n: t.percent_lv for n, t in one.thresholds.items()} == pytest.approx(
        {n: t.percent_lv for n, t in other.thresholds.items()}
    )
    assert one.rules["thresholds"] == other.rules["thresholds"] and "phase-sensitive" in one.rules["thresholds"]


@pytest.mark.parametrize("order", [2, 3, 5])
def test_interpolated_magnitude_is_not_taken_for_psir(phantom, magnitude, order):
    """Splines undershoot zero at edges: few pixels, by little."""
    finer = ndimage.zoom(magnitude.series.image, (1, 1.3, 1.3), order=order)
    assert finer.min() < 0 and not is_signed(finer)
    assert from_image(finer)[0] != Reconstruction.PSIR
    signed = ndimage.zoom(phantom.series.image, (1, 1.3, 1.3), order=order)
    assert from_image(signed) == (Reconstruction.PSIR, 0)


def test_psir_whose_air_was_masked_is_still_seen(phantom):
    """Nulled muscle alone keeps its sign."""
    image = np.where(phantom.labels > 0, phantom.series.image, 0)
    assert is_signed(image)


def test_magnitude_files_are_magnitude(magnitude, tmp_path):
    series = read_lge(written(magnitude.series, tmp_path / "a.nii.gz", magnitude.series.image))
    assert series.reconstruction == Reconstruction.MAGNITUDE and series.warnings == ()


def test_what_the_user_says_counts(magnitude, tmp_path):
    path = written(magnitude.series, tmp_path / "a.nii.gz", magnitude.series.image)
    assert read_lge(path, reconstruction=Reconstruction.PSIR).reconstruction == Reconstruction.PSIR


@given(st.floats(0.0, 0.2), st.floats(1e-3, 1e4), st.integers(0, 5))
def test_the_rule_does_not_depend_on_the_scale(share, scale, seed):
    rng = np.random.default_rng(seed)
    image = rng.uniform(1, 100, (2, 50, 50))
    negative = rng.random(image.shape) < share
    image[negative] *= -0.01
    expected = negative.mean() >= NEGATIVE_SHARE
    assert is_signed(image) == is_signed(scale * image) == expected
