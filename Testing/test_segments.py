"""Walls, transmurality and AHA segments on hearts drawn from formulas, stored in every way a stack can be stored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scarnet.conventions import Label
from scarnet.errors import InputError
from scarnet.quantification.aha import (
    SEGMENTS,
    measure_segments,
    segment_map,
    segment_of,
    slice_levels,
    transmurality_class,
    volume_beyond_segments_ml,
)
from scarnet.quantification.frame import heart_frame
from scarnet.quantification.image_quality import direction_warnings
from scarnet.quantification.insertion import find_insertion
from scarnet.quantification.remote import find_remote
from scarnet.quantification.transmurality import wall_rays
from scarnet.series import StackGeometry

#: Base to apex of the drawn heart, and the display axes that belong to it (see quantification.frame).
TOWARDS_APEX = np.array([0.66, -0.55, -0.51]) / np.linalg.norm([0.66, -0.55, -0.51])


def display_axes():
    up = np.array([0.0, -1.0, 0.5])
    up = up - (up @ TOWARDS_APEX) * TOWARDS_APEX
    up /= np.linalg.norm(up)
    return np.cross(-TOWARDS_APEX, up), up


def drawn_heart(
    *, turn_deg=0.0, mirror=False, apex_first=False, wedge=(200.0, 290.0), depth=0.6, pixel_mm=0.8, slices=9
):
    """Labels, geometry and display angles of a tapering ring; scar from the endocardium out over `wedge`.

    `turn_deg`, `mirror`, `apex_first`: how the array lies in the patient; the heart itself stays where it is.
    """
    right, up = display_axes()
    angle = np.radians(turn_deg)
    columns = np.cos(angle) * right + np.sin(angle) * up
    rows = -np.sin(angle) * right + np.cos(angle) * up
    columns = -columns if mirror else columns
    step = -8.0 if apex_first else 8.0
    size = int(96 / pixel_mm)
    corner = -(size - 1) / 2 * pixel_mm * (rows + columns)
    origins = corner + step * np.arange(slices)[:, None] * TOWARDS_APEX
    geometry = StackGeometry((slices, size, size), (pixel_mm, pixel_mm), columns, rows, origins)
    index = np.stack(np.indices(geometry.shape), axis=-1)
    points = geometry.index_to_lps(index)
    along = points @ TOWARDS_APEX
    along = (along - along.min()) / (along.max() - along.min())
    x, y = points @ right, points @ up
    distance, angles = np.hypot(x, y), np.degrees(np.arctan2(y, x)) % 360
    inner = np.where(along > 0.95, 0.0, 22 * np.sqrt(np.clip(1 - 0.75 * along, 0, 1)))
    outer = inner + 10.0
    labels = np.where(distance < inner, Label.BLOOD_POOL, np.where(distance < outer, Label.MYOCARDIUM, 0))
    scar = (distance >= inner) & (distance < inner + depth * 10.0) & (inner > 0)
    scar &= (angles >= wedge[0]) & (angles < wedge[1])
    labels[scar] = Label.SCAR
    return labels.astype(np.uint8), geometry, angles


storages = dict(turn_deg=st.floats(0, 360), mirror=st.booleans(), apex_first=st.booleans())


@settings(max_examples=12, deadline=None)
@given(**storages)
def test_the_frame_follows_the_patient_not_the_array(turn_deg, mirror, apex_first):
    labels, geometry, angles = drawn_heart(turn_deg=turn_deg, mirror=mirror, apex_first=apex_first, pixel_mm=1.5)
    frame = heart_frame(labels, geometry)
    right, up = display_axes()
    assert frame.apex_first == apex_first
    assert frame.towards_apex @ TOWARDS_APEX == pytest.approx(1, abs=1e-6)
    assert (frame.right @ right, frame.up @ up) == (pytest.approx(1, abs=1e-6), pytest.approx(1, abs=1e-6))
    for k in np.flatnonzero(frame.ring):
        away = np.abs((frame.angles_deg(k) - angles[k] + 180) % 360 - 180)
        assert away[labels[k] >= 2].max() < 3  # half a pixel of the centre


@settings(max_examples=8, deadline=None)
@given(**storages)
def test_at_least_99_percent_of_voxels_lie_in_the_right_segment(turn_deg, mirror, apex_first):
    labels, geometry, angles = drawn_heart(turn_deg=turn_deg, mirror=mirror, apex_first=apex_first)
    frame = heart_frame(labels, geometry)
    levels = slice_levels(frame)
    found = segment_map(labels, frame, 120.0)
    right = np.zeros_like(found)
    for k, level in enumerate(levels):
        right[k] = np.where(labels[k] >= 2, segment_of(level, angles[k], 120.0), 0)
    muscle = labels >= 2
    assert (found == right)[muscle].mean() > 0.99
    from_base = levels[::-1] if apex_first else levels
    assert from_base == ["basal"] * 3 + ["mid"] * 2 + ["apical"] * 3 + ["cap"]


@pytest.mark.parametrize(
    "level, angle, number",
    [
        ("basal", 90, 1),
        ("basal", 150, 2),
        ("basal", 210, 3),
        ("basal", 270, 4),
        ("basal", 330, 5),
        ("basal", 30, 6),
        ("mid", 90, 7),
        ("mid", 30, 12),
        ("apical", 90, 13),
        ("apical", 180, 14),
        ("apical", 270, 15),
        ("apical", 0, 16),
        ("cap", 77, 17),
        (None, 77, 0),
    ],
)
def test_segments_lie_where_the_standard_plot_has_them(level, angle, number):
    assert segment_of(level, np.array([angle]), 120.0)[0] == number
    assert segment_of(level, np.array([angle + 25]), 145.0)[0] == number  # turned with the insertion
    assert len(SEGMENTS) == 17


@pytest.mark.parametrize("depth", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_transmurality_within_three_points(depth):
    labels, geometry, _ = drawn_heart(depth=depth, turn_deg=17)
    frame = heart_frame(labels, geometry)
    rays = wall_rays(labels, frame)
    inside = (rays.angles_deg > 206) & (rays.angles_deg < 284)
    assert len(rays.angles_deg) >= 100
    share = rays.transmurality[frame.ring][:, inside]
    assert 100 * np.nanmean(share) == pytest.approx(100 * depth, abs=3)
    assert np.nanmean(rays.wall_mm[frame.ring]) == pytest.approx(10, abs=0.3)
    outside = (rays.angles_deg < 194) | (rays.angles_deg > 296)
    assert np.nanmax(rays.transmurality[frame.ring][:, outside]) == 0


def test_measures_of_a_drawn_infarct():
    """Scar from 210 to 270 degrees (segment 3 and 9), the inner half of the wall."""
    labels, geometry, _ = drawn_heart(wedge=(180.0, 240.0), depth=0.5)
    frame = heart_frame(labels, geometry)
    rays = wall_rays(labels, frame)
    segments = {s.segment: s for s in measure_segments(labels, frame, rays, 120.0)}
    for number in (3, 9):
        s = segments[number]
        assert s.transmurality_percent == pytest.approx(50, abs=3) and s.enhanced_rays_percent > 95
        assert s.transmurality_class in ("26-50", "51-75") and s.territory == "RCA"
    for number in (1, 4, 5, 6, 7, 12):
        assert segments[number].scar_percent < 3
    assert segments[1].transmurality_class in ("0", "1-25", "26-50", "51-75") and segments[6].transmurality_percent == 0
    total = sum(s.scar_volume_ml or 0 for s in segments.values()) + volume_beyond_segments_ml(labels, frame)[1]
    assert total == pytest.approx((labels >= 3).sum(axis=(1, 2)) @ geometry.voxel_volumes_ml, rel=1e-9)
    muscle = sum(s.myocardium_volume_ml or 0 for s in segments.values()) + volume_beyond_segments_ml(labels, frame)[0]
    assert muscle == pytest.approx((labels >= 2).sum(axis=(1, 2)) @ geometry.voxel_volumes_ml, rel=1e-9)
    assert segments[17].scar_percent is None and segments[17].transmurality_class is None


@pytest.mark.parametrize(
    "percent, name",
    [(0, "0"), (0.1, "1-25"), (25, "1-25"), (25.5, "26-50"), (50, "26-50"), (76, "76-100"), (100, "76-100")],
)
def test_transmurality_classes(percent, name):
    assert transmurality_class(percent) == name


def wide_apex(**storage):
    """An aneurysm: the areas of the slices from base to apex are turned round, the heart's place is not."""
    labels, geometry, _ = drawn_heart(pixel_mm=1.5, **storage)
    return labels[::-1].copy(), geometry


@pytest.mark.parametrize("apex_first", [False, True])
def test_the_patients_axes_say_where_the_apex_is_and_a_shape_that_says_otherwise_is_said(apex_first):
    """Areas alone would mirror the walls: the inferior one becomes the anterior."""
    labels, geometry = wide_apex(apex_first=apex_first)
    frame = heart_frame(labels, geometry)
    assert frame.apex_first == apex_first and frame.towards_apex @ TOWARDS_APEX == pytest.approx(1, abs=1e-6)
    (warning,) = direction_warnings(labels, geometry)
    apex, narrow = (1, 9) if apex_first else (9, 1)
    assert f"slice {apex} is the apex, but the ventricle narrows towards slice {narrow}" in warning
    usual, _, _ = drawn_heart(pixel_mm=1.5, apex_first=apex_first)
    assert direction_warnings(usual, geometry) == ()


@pytest.mark.parametrize("slices", [[4], [3, 4]])
@pytest.mark.parametrize("apex_first", [False, True])
def test_one_slice_and_two_alike_are_not_taken_for_the_base(slices, apex_first):
    labels, geometry, angles = drawn_heart(pixel_mm=1.5, apex_first=apex_first)
    alone = np.zeros_like(labels)
    alone[slices] = labels[4]
    frame = heart_frame(alone, geometry)
    away = np.abs((frame.angles_deg(4) - angles[4] + 180) % 360 - 180)
    assert away[alone[4] >= 2].max() < 3
    assert direction_warnings(alone, geometry) == ()


def test_without_orientation_the_shape_decides_and_one_that_does_not_say_is_said():
    labels, geometry, _ = drawn_heart(pixel_mm=1.5)
    plain = StackGeometry(labels.shape, (1.5, 1.5), [1, 0, 0], [0, 1, 0], np.outer(np.arange(9), [0, 0, 8.0]))
    right_pointing = np.array([-0.66, -0.55, -0.51])  # dextrocardia: no heart of the usual direction
    across = np.cross(right_pointing, [0, 0, 1.0]) / np.linalg.norm(np.cross(right_pointing, [0, 0, 1.0]))
    down = np.cross(across, right_pointing)
    origins = np.outer(np.arange(9), 8 * right_pointing)
    mirrored = StackGeometry(labels.shape, (1.5, 1.5), across, down / np.linalg.norm(down), origins)
    for other in (plain, mirrored):
        assert not heart_frame(labels, other).apex_first and heart_frame(labels[::-1], other).apex_first
        assert direction_warnings(labels, other) == ()
        alone = np.where(np.arange(9)[:, None, None] == 4, labels, 0)
        assert ["is not clear" in warning for warning in direction_warnings(alone, other)] == [True]


def test_an_unlabelled_cavity_is_what_muscle_encloses_and_none_is_said():
    labels, geometry, _ = drawn_heart(pixel_mm=2.0)
    unlabelled = np.where(labels == Label.BLOOD_POOL, 0, labels).astype(np.uint8)
    assert np.array_equal(heart_frame(unlabelled, geometry).cavity, heart_frame(labels, geometry).cavity)
    filled = np.where(labels == Label.BLOOD_POOL, Label.MYOCARDIUM, labels).astype(np.uint8)
    with pytest.raises(InputError, match="cavity inside myocardium"):
        heart_frame(filled, geometry)


@settings(max_examples=8, deadline=None)
@given(**storages)
def test_the_insertion_is_found_beside_a_bright_right_ventricle(turn_deg, mirror, apex_first):
    labels, geometry, angles = drawn_heart(turn_deg=turn_deg, mirror=mirror, apex_first=apex_first, pixel_mm=1.5)
    frame = heart_frame(labels, geometry)
    image = np.where(labels == Label.BLOOD_POOL, 100.0, np.where(labels == Label.SCAR, 130.0, 5.0))
    for k in np.flatnonzero(frame.ring):
        distance = frame.distances_mm(k)
        rv = (np.abs((angles[k] - 190 + 180) % 360 - 180) < 55) & (labels[k] == 0)
        image[k][rv & (distance < distance[labels[k] > 0].max() + 15)] = 95.0
    image += np.random.default_rng(0).normal(0, 8, image.shape)
    for known in (True, False):
        found = find_insertion(image, labels, frame, orientation_known=known)
        assert abs((found.angle_deg - 130 + 180) % 360 - 180) < 8 and found.certainty > 0.2


def test_the_phantoms_insertion_is_found(phantom):
    """Its right ventricle lies opposite to its lateral wall, which the phantom puts along its columns."""
    frame = heart_frame(phantom.labels, phantom.series.geometry)
    lateral = phantom.series.geometry.column_direction
    expected = np.degrees(np.arctan2(lateral @ frame.up, lateral @ frame.right)) + 120
    found = find_insertion(phantom.series.image, phantom.labels, frame)
    assert abs((found.angle_deg - expected + 180) % 360 - 180) < 20


def test_the_remote_region_avoids_scar_and_borders():
    labels, geometry, angles = drawn_heart(pixel_mm=1.2)
    frame = heart_frame(labels, geometry)
    rng = np.random.default_rng(0)
    image = np.where(labels == Label.SCAR, 100.0, np.where(labels == Label.BLOOD_POOL, 80.0, 10.0)) + rng.normal(
        0, 4, labels.shape
    )
    remote = find_remote(image, labels, frame)
    assert not (remote.mask & (labels != Label.MYOCARDIUM)).any()
    rings = np.flatnonzero(frame.ring)
    assert remote.mean[rings] == pytest.approx(np.full(len(rings), 10), abs=1.5)
    assert remote.sd[rings] == pytest.approx(np.full(len(rings), 4), abs=1.5)
    assert all(remote.mask[k].sum() >= 0.15 * (labels[k] == Label.MYOCARDIUM).sum() for k in rings)
