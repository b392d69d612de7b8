"""Shifts between breath-holds: found with their size in simulated stacks, in outline and image, and not where there are none."""

from dataclasses import replace

import numpy as np
import pytest

from measure_shifts import measures, moved
from scarnet.phantom import PhantomParameters, simulate
from scarnet.quantification import quantify
from scarnet.quantification.breath_hold import (
    IMAGE_SHIFT_MM,
    SHIFT_MM,
    STEP_MM,
    image_centers_mm,
    outlined_centers_mm,
    shift_warnings,
    shifts_mm,
    steps_mm,
)
from scarnet.quantification.frame import heart_frame
from scarnet.series import Reconstruction, StackGeometry


def scan(**changes):
    parameters = PhantomParameters(size=112, pixel_mm=1.9, slices=9, gap_mm=1.0, first_depth_mm=4.0)
    return simulate(replace(parameters, **changes), seed=1)


@pytest.fixture(scope="module", params=[Reconstruction.PSIR, Reconstruction.MAGNITUDE])
def good(request):
    return scan(reconstruction=request.param)


def said(series, labels):
    return shift_warnings(series, labels, heart_frame(labels, series.geometry))


def by_outline(labels, geometry):
    frame = heart_frame(labels, geometry)
    return shifts_mm(outlined_centers_mm(labels, frame), geometry.normal, SHIFT_MM)


def test_a_good_stack_is_not_complained_about(good):
    assert said(good.series, good.labels) == ()


@pytest.mark.parametrize("shift_mm", [2.0, 4.0, 6.5, 8.0, 12.0])
@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.6, -0.8)])
def test_a_slice_of_another_breath_hold_is_named_with_its_shift(good, shift_mm, direction):
    """Image and outline moved together within a chest that stays: its neighbours are not named."""
    way = shift_mm * np.array(direction)
    series, labels = moved(good.series, good.labels, [4], way)
    found = measures(series, labels)
    if shift_mm < SHIFT_MM:
        assert said(series, labels) == ()
        return
    assert list(found["outline said"]) == [4] and found["outline said"][4] == pytest.approx(shift_mm, abs=1.5)
    if shift_mm > IMAGE_SHIFT_MM + 1.5:
        assert list(found["image said"]) == [4] and found["image said"][4] == pytest.approx(shift_mm, abs=2.0)
        (warning,) = said(series, labels)
        assert "in outline and image alike" in warning
    expected = f"Slice 5 is shifted by {found['outline said'][4]:.0f} mm"
    assert any(expected in w for w in quantify(series, labels).quality.warnings)


def test_the_image_alone_tells_when_the_outline_did_not_follow(good):
    series, _ = moved(good.series, good.labels, [4], np.array([9.0, 0.0]))
    (warning,) = said(series, good.labels)
    assert warning.startswith("The image of slice 5 seems shifted by") and "its outline is not" in warning


def test_an_outline_that_is_off_is_not_taken_for_motion_of_the_image(good):
    _, labels = moved(good.series, good.labels, [4], np.array([9.0, 0.0]))
    (warning,) = said(good.series, labels)
    assert "or an outline that is off" in warning


@pytest.mark.parametrize("shift_mm", [3.0, 10.0])
def test_the_rest_of_the_stack_from_another_breath_hold_is_a_step(good, shift_mm):
    series, labels = moved(good.series, good.labels, [5, 6, 7, 8], np.array([0.0, shift_mm]))
    frame = heart_frame(labels, series.geometry)
    steps = steps_mm(outlined_centers_mm(labels, frame), series.geometry.normal)
    if shift_mm < STEP_MM:
        assert steps == {} and said(series, labels) == ()
        return
    assert list(steps) == [(4, 5)] and np.linalg.norm(steps[4, 5]) == pytest.approx(shift_mm, abs=1.5)
    (warning,) = said(series, labels)
    assert warning.startswith("Between slices 5 and 6 the ventricle goes")


def test_two_slices_of_their_own(good):
    series, labels = moved(good.series, good.labels, [2], np.array([8.0, 0.0]))
    series, labels = moved(series, labels, [6], np.array([0.0, -9.0]))
    assert list(by_outline(labels, series.geometry)) == [2, 6]


def test_nothing_is_moved(good):
    """The volumes are those of the labels as they were given."""
    series, labels = moved(good.series, good.labels, [4], np.array([9.0, 0.0]))
    before = labels.copy(), series.image.copy()
    report = quantify(series, labels)
    assert np.array_equal(labels, before[0]) and np.array_equal(series.image, before[1])
    expected = float((labels >= 2).sum(axis=(1, 2)) @ series.geometry.voxel_volumes_ml)
    assert report.lv.myocardium_volume_ml == pytest.approx(expected)


def test_shifted_origins_are_no_motion(good):
    """A stack whose slices step sideways together (a sheared stack) follows a line, for outline and image."""
    g = good.series.geometry
    origins = g.slice_origins_mm + 4.0 * np.arange(len(good.labels))[:, None] * g.column_direction
    geometry = StackGeometry(g.shape, g.pixel_spacing_mm, g.column_direction, g.row_direction, origins)
    assert said(replace(good.series, geometry=geometry), good.labels) == ()


def test_where_a_header_says_that_a_slice_lies_aside_the_image_agrees(good):
    """A slice whose picture was moved back by its origin lies where it should: nothing is shifted in the patient."""
    g = good.series.geometry
    pixels = 5
    image, labels = good.series.image.copy(), good.labels.copy()
    image[4], labels[4] = np.roll(image[4], pixels, axis=1), np.roll(labels[4], pixels, axis=1)
    origins = g.slice_origins_mm.copy()
    origins[4] -= pixels * g.pixel_spacing_mm[1] * g.column_direction
    geometry = StackGeometry(g.shape, g.pixel_spacing_mm, g.column_direction, g.row_direction, origins)
    assert said(replace(good.series, image=image, geometry=geometry), labels) == ()


def test_few_slices_and_flat_images_say_nothing(good):
    frame = heart_frame(good.labels, good.series.geometry)
    flat = replace(good.series, image=np.zeros_like(good.series.image))
    centers, sure = image_centers_mm(flat, frame)
    assert not sure and all(np.isfinite(center).all() for center in centers.values())
    assert shifts_mm({0: np.zeros(3)}, np.array([0, 0, 1.0]), SHIFT_MM) == {}


def test_real_patients_as_acquired_are_seldom_complained_about(emidec):
    """Of the experts' outlines of every fourth patient, and found again where a slice is moved by 10 mm."""
    from scarnet.training.data import list_cases, read_case

    cases = list_cases(emidec)[::4]
    complained = found = 0
    for case in cases:
        series, labels = read_case(case)
        complained += bool(said(series, labels))
        k = int(np.flatnonzero((labels > 0).any(axis=(1, 2))).mean())
        changed, drawn = moved(series, labels, [k], np.array([6.0, 8.0]))
        found += k in measures(changed, drawn)["image said"]
    assert complained <= 1 and found >= 0.8 * len(cases), (complained, found, len(cases))
