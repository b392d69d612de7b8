"""Shading across the heart: found where cavity and muscle tell it, taken away for the network alone, and said."""

from dataclasses import replace

import numpy as np
import pytest

from scarnet.conventions import Label, dice, myocardium_mask, scar_mask
from scarnet.phantom import PhantomParameters, simulate
from scarnet.segmentation import segment
from scarnet.segmentation.shading import LEAST_SLOPE, gain_slope, is_steep, without_gain
from scarnet.series import Reconstruction

SPACING_MM = (1.2, 1.7)


def _heart(slices: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Rings about a cavity, with a bright infarct and noise: image and labels."""
    rows, columns = np.indices((70, 60))
    radius = np.hypot((rows - 33) * SPACING_MM[0], (columns - 31) * SPACING_MM[1])
    labels = np.zeros((slices, 70, 60), np.uint8)
    labels[:, radius < 33] = Label.MYOCARDIUM
    labels[:, (radius < 33) & (columns > 44)] = Label.SCAR
    labels[:, radius < 23] = Label.BLOOD_POOL
    levels = np.array([200.0, 400.0, 80.0, 380.0, 60.0])[labels]
    noise = np.random.default_rng(0).normal(0, 12, labels.shape)
    return np.maximum(levels + noise, 1), labels


def _gain(slope: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    rows, columns = np.indices(shape)
    return np.exp(slope[0] * SPACING_MM[0] * rows + slope[1] * SPACING_MM[1] * columns)


@pytest.mark.parametrize("slope", [(0.0, 0.0), (0.009, 0.0), (0.0, -0.006), (-0.005, 0.007), (0.012, 0.004)])
def test_the_slope_of_a_known_gain_is_found_beside_scar_and_noise(slope):
    image, labels = _heart()
    found = gain_slope(image * _gain(slope, image.shape[1:]), labels, SPACING_MM)
    assert found == pytest.approx(np.array(slope), abs=4e-4)
    assert is_steep(found) == (np.hypot(*slope) > LEAST_SLOPE)


def test_slices_of_unequal_brightness_tell_the_same_slope():
    image, labels = _heart()
    image = image * _gain((0.006, 0.002), image.shape[1:]) * np.array([0.5, 1, 2, 7])[:, None, None]
    assert gain_slope(image, labels, SPACING_MM) == pytest.approx(np.array([0.006, 0.002]), abs=4e-4)


def test_signed_images_and_empty_outlines_tell_no_slope():
    image, labels = _heart()
    shaded = image * _gain((0.009, 0.0), image.shape[1:])
    assert not gain_slope(shaded - 200, labels, SPACING_MM).any()  # muscle below zero, as in PSIR
    assert not gain_slope(shaded, np.zeros_like(labels), SPACING_MM).any()
    assert not gain_slope(shaded[:1, :, :33], labels[:1, :, :33] * (labels[:1, :, :33] == Label.SCAR), SPACING_MM).any()
    assert not gain_slope(np.zeros_like(image), labels, SPACING_MM).any()


def test_a_gain_is_taken_away_about_a_point():
    image, _ = _heart()
    slope, about = np.array([0.01, -0.004]), np.array([30.0, 20.0])
    gain = _gain(tuple(slope), image.shape[1:])
    again = without_gain(image * gain, slope, SPACING_MM, about)
    assert again == pytest.approx(image * gain[30, 20], rel=1e-4) and again.dtype == np.float32


def test_the_network_sees_a_shaded_heart_without_its_shading_and_the_reader_is_told():
    series = simulate(PhantomParameters(reconstruction=Reconstruction.MAGNITUDE), seed=20).series
    plain = segment(series, device="cpu")
    assert plain.parameters["shading_removed_log_gain_per_mm"] == [0.0, 0.0]
    assert not any("bright on one side" in warning for warning in plain.warnings)
    spacing = np.array(series.geometry.pixel_spacing_mm)
    rows, columns = (np.arange(n) - n / 2 for n in series.image.shape[1:])
    gain = np.exp(0.009 * spacing[0] * rows[:, None] - 0.006 * spacing[1] * columns)
    told = []
    shaded = segment(
        replace(series, image=(series.image * gain).astype(np.float32)),
        device="cpu",
        on_progress=lambda done, total, text: told.append(text),
    )
    # The phantom's own coils and blood are part of what is found.
    assert shaded.parameters["shading_removed_log_gain_per_mm"] == pytest.approx([0.009, -0.006], abs=0.002)
    assert any("times as bright on one side" in warning for warning in shaded.warnings)
    assert any(text.startswith("Without shading: ") for text in told)
    for mask, least in ((myocardium_mask, 0.9), (scar_mask, 0.8)):
        assert dice(mask(shaded.labels), mask(plain.labels)) > least
