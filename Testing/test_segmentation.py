"""From a stack to labels on its own grid, whatever way it lies."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from scarnet.conventions import Label, myocardium_mask, scar_mask
from scarnet.errors import Cancelled, InputError
from scarnet.network import find_model, load_network
from scarnet.phantom import simulate
from scarnet.segmentation import segment
from scarnet.segmentation.cleaning import clean, decide, is_shaped_like_a_ventricle, slice_doubt, slice_error
from scarnet.segmentation.crop import CropGrid, normalise, resampling_matrix, with_neighbours
from scarnet.segmentation.orientations import ORIENTATIONS, average_over_orientations, turn, turn_back
from scarnet.segmentation.segment import RECENTER_MM
from scarnet.segmentation.tilt import TiltedGrid
from scarnet.segmentation.viewer import choose_views, crop_grid, look, predict
from scarnet.segmentation.views import (
    LOOKS,
    TILT_NATS,
    TOLD_ODDS,
    UPRIGHT_NATS,
    Look,
    View,
    all_orientations,
    average,
    likely_views,
    look_weights,
    looks_of,
)
from scarnet.series import LgeSeries, StackGeometry

#: Pixels of a turned input whose label may differ from the turned result: sums in another order end in another digit,
#: and a probability that lies on the threshold to seven digits then falls to the other side.
TURNED_PIXELS = 3


def turned(series: LgeSeries, turns: int, mirror: bool, *, carry: bool) -> LgeSeries:
    """The stack stored in another in-plane orientation. `carry`: the geometry says so; else the patient is mirrored."""
    g = series.geometry
    image = np.ascontiguousarray(turn(series.image, turns, mirror))
    rows, columns = g.shape[1:]
    if not carry:
        spacing = g.pixel_spacing_mm if turns % 2 == 0 else g.pixel_spacing_mm[::-1]
        geometry = replace(g, shape=image.shape, pixel_spacing_mm=spacing)
        return replace(series, image=image, geometry=geometry)
    # Follow index images through the same turn: exact, without a formula per case.
    grid_rows, grid_columns = (turn(a, turns, mirror) for a in np.indices((rows, columns)))
    origin, down, right = (np.array([grid_rows[index], grid_columns[index]]) for index in ((0, 0), (1, 0), (0, 1)))
    to_lps = np.stack([g.row_direction * g.pixel_spacing_mm[0], g.column_direction * g.pixel_spacing_mm[1]])
    row_step, column_step = (down - origin) @ to_lps, (right - origin) @ to_lps
    geometry = StackGeometry(
        shape=image.shape,
        pixel_spacing_mm=(np.linalg.norm(row_step), np.linalg.norm(column_step)),
        column_direction=column_step / np.linalg.norm(column_step),
        row_direction=row_step / np.linalg.norm(row_step),
        slice_origins_mm=g.slice_origins_mm + origin @ to_lps,
        single_slice_thickness_mm=g.single_slice_thickness_mm,
    )
    return replace(series, image=image, geometry=geometry)


# --- resampling -------------------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.floats(-30, 60), st.floats(0.3, 4), st.integers(1, 50))
def test_resampling_weights_are_an_average(size_out, start, step, size_in):
    weights = resampling_matrix(size_out, start, step, size_in)
    assert weights.shape == (size_out, size_in)
    assert weights.min() >= 0 and weights.sum(axis=1) == pytest.approx(np.ones(size_out), abs=1e-5)


@settings(max_examples=40)
@given(st.floats(0.5, 3.0), st.integers(30, 60), st.integers(0, 7), st.booleans())
def test_a_linear_ramp_survives_the_crop_and_the_way_back(pixel_mm, size, view, carry):
    """Interpolation keeps a plane: any shift, scale or transposition error would show.

    Not to the last digit: a kernel as wide as a coarse pixel is sampled at whole pixels (a fifteenth of one at most)."""
    geometry = StackGeometry((2, size, size + 7), (1.3, 0.9), [1, 0, 0], [0, 0, -1], [[0, 0, 0], [0, 8.0, 0]])
    rows, columns = np.indices(geometry.shape[1:])
    image = np.broadcast_to(0.7 * rows - 0.4 * columns + 3, geometry.shape).astype(np.float32)
    series = turned(LgeSeries(np.ascontiguousarray(image), geometry), *ORIENTATIONS[view], carry=carry)
    center = series.geometry.index_to_lps(
        np.array([0.5, (series.image.shape[1] - 1) / 2, (series.image.shape[2] - 1) / 2])
    )
    side = int(14 / pixel_mm) + 2
    grid = CropGrid(series.geometry, center, side, pixel_mm)
    crops, inside = grid.extract(series.image)
    assert inside.all()
    back = grid.put_back(crops)
    known = grid.put_back(np.ones_like(crops)) > 0.999
    margin = np.zeros_like(known)
    margin[:, 2:-2, 2:-2] = True
    deep = known & margin & (back != 0)
    k, r, c = [a.mean() for a in np.nonzero(deep)]
    point = np.round([k, r, c]).astype(int)
    assert back[tuple(point)] == pytest.approx(series.image[tuple(point)], abs=0.06)


@pytest.mark.parametrize("tilt_deg", (0.0, 20.0, -40.0, 90.0))
@pytest.mark.parametrize("view", (ORIENTATIONS[0], ORIENTATIONS[3], ORIENTATIONS[6]))
def test_a_tilted_square_shows_what_lies_at_its_pixels_and_puts_it_back(tilt_deg, view):
    """A plane in mm, on pixels that are not square and stored in several ways: splines keep it to the last digit."""
    geometry = StackGeometry((2, 90, 80), (1.3, 0.9), [1, 0, 0], [0, 0, -1], [[0, 0, 0], [0, 8.0, 0]])
    image = np.zeros(geometry.shape, np.float32)
    series = turned(LgeSeries(image, geometry), *view, carry=True)
    g = series.geometry
    gradient = np.array([0.7, 0.0, -0.4])
    places = g.slice_origins_mm[0] + sum(
        n[..., None] * mm * d
        for n, mm, d in zip(
            np.indices(g.shape[1:]), g.pixel_spacing_mm, (g.row_direction, g.column_direction), strict=True
        )
    )
    image = np.broadcast_to((places @ gradient).astype(np.float32), g.shape)
    center = g.index_to_lps(np.array([0.5, (g.shape[1] - 1) / 2, (g.shape[2] - 1) / 2]))
    grid = TiltedGrid(g, center, 24, 0.8, tilt_deg)
    crops, inside = grid.extract(image)
    assert inside.all()
    for row, column in ((0, 0), (3, 20), (23, 5)):
        assert crops[1, row, column] == pytest.approx(grid.pixel_to_lps(1, row, column) @ gradient, abs=1e-3)
    back, covered = grid.put_back(crops), grid.put_back(np.ones_like(crops))
    whole = covered > 0.999
    assert whole.sum() * np.prod(g.pixel_spacing_mm) > 0.65 * 2 * (24 * 0.8) ** 2  # all but its corners and border
    deep = ndimage.binary_erosion(whole, np.ones((1, 5, 5)))  # at the border the last pixel is repeated
    assert np.abs(back - image)[deep].max() < 0.06


def test_a_tilted_square_of_coarse_pixels_averages_what_it_covers():
    geometry = StackGeometry((1, 120, 120), (0.5, 0.5), [1, 0, 0], [0, 0, -1], [[0, 0, 0]])
    noise = np.random.default_rng(0).normal(size=geometry.shape).astype(np.float32)
    center = geometry.index_to_lps(np.array([0, 59.5, 59.5]))
    spread = {mm: TiltedGrid(geometry, center, 16, mm, 20.0).extract(noise)[0].std() for mm in (0.5, 1.5)}
    plain = CropGrid(geometry, center, 16, 1.5).extract(noise)[0].std()
    assert spread[1.5] < 0.6 * spread[0.5] and spread[1.5] == pytest.approx(plain, rel=0.4)


def test_crop_pixels_know_where_they_are(phantom):
    g = phantom.series.geometry
    for view in ORIENTATIONS:
        series = turned(phantom.series, *view, carry=True)
        grid = CropGrid(series.geometry, g.index_to_lps(np.array([4, 100.0, 100.0])), 64, 1.7)
        point = grid.pixel_to_lps(3, 20, 41)
        crops, _ = grid.extract(series.image)
        index = g.lps_to_index(point)  # the same point in the stack as it was
        k, r, c = np.round(index).astype(int)
        assert index[0] == pytest.approx(3)
        window = phantom.series.image[k, r - 2 : r + 3, c - 2 : c + 3]
        assert window.min() <= crops[3, 20, 41] <= window.max()


def test_the_network_meets_the_same_picture_however_a_stack_is_stored(phantom):
    center = phantom.series.geometry.index_to_lps(np.array([4, 100.0, 95.0]))
    expected, _ = CropGrid(phantom.series.geometry, center, 80, 1.5).extract(phantom.series.image)
    for view in ORIENTATIONS:
        series = turned(phantom.series, *view, carry=True)
        crops, _ = CropGrid(series.geometry, center, 80, 1.5).extract(series.image)
        assert np.abs(crops - expected).max() < 1e-2, view  # of grey values in the thousands


def test_normalisation_ignores_what_lies_outside_the_image():
    rng = np.random.default_rng(0)
    plane = rng.normal(500, 80, (1, 40, 40)).astype(np.float32)
    inside = np.zeros((1, 40, 40), bool)
    inside[:, :, 10:] = True
    changed = plane.copy()
    changed[~inside] = 1e6
    assert np.array_equal(normalise(plane, inside), normalise(changed, inside))
    assert normalise(plane, inside)[inside].std() == pytest.approx(1, abs=1e-5)
    assert not normalise(np.full((1, 9, 9), 7.0)).any()
    assert np.allclose(normalise(plane * 3 + 200, inside), normalise(plane, inside), atol=1e-4)


def test_neighbours_at_the_ends_are_repeated():
    planes = np.arange(4)[:, None, None] * np.ones((1, 2, 2))
    assert with_neighbours(planes, 3)[:, :, 0, 0].tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]
    assert with_neighbours(planes, 1).shape == (4, 1, 2, 2)


def test_turning_back_undoes_turning():
    planes = np.random.default_rng(0).normal(size=(2, 3, 5, 5))
    for view in ORIENTATIONS:
        assert np.array_equal(turn_back(turn(planes, *view), *view), planes)
    assert len({turn(planes, *view).tobytes() for view in ORIENTATIONS}) == 8


def test_the_average_over_orientations_turns_with_its_input():
    weights = np.random.default_rng(1).normal(size=(7, 7)).astype(np.float32)
    one_sided = lambda x: x * weights  # noqa: E731
    planes = np.random.default_rng(2).normal(size=(2, 1, 7, 7)).astype(np.float32)
    plain = average_over_orientations(one_sided, planes)
    for view in ORIENTATIONS:
        again = turn_back(average_over_orientations(one_sided, turn(planes, *view)), *view)
        assert np.allclose(again, plain, atol=1e-6)
    assert np.array_equal(average_over_orientations(one_sided, planes, flips=False), planes * weights)


# --- deciding and cleaning --------------------------------------------------------------------------------------------


def test_scar_competes_with_muscle_alone():
    background, blood, muscle, scar, mvo = 0.30, 0.25, 0.21, 0.24, 0.0
    p = np.array([background, blood, muscle, scar, mvo])[:, None]
    assert decide(p, 0.5)[0] == Label.SCAR  # not background, though that has the largest single share
    assert decide(p, 0.6)[0] == Label.MYOCARDIUM
    assert decide(np.array([0.1, 0, 0.2, 0.3, 0.4])[:, None], 0.5)[0] == Label.MVO
    assert decide(np.array([0.1, 0.0, 0.2, 0.7])[:, None], 0.5)[0] == Label.SCAR


def ring(radius_in=6, radius_out=10, size=40):
    rows, columns = np.indices((size, size)) - size // 2
    distance = np.hypot(rows, columns)
    plane = np.where(distance < radius_in, Label.BLOOD_POOL, np.where(distance < radius_out, Label.MYOCARDIUM, 0))
    return plane.astype(np.uint8)


def test_cleaning_keeps_one_heart_without_holes():
    labels = np.stack([ring()] * 4)
    labels[:, 2:5, 2:5] = Label.SCAR  # an island elsewhere
    labels[1, 20, 28] = 0  # a hole in the wall
    labels[2, 12:16, 20] = Label.SCAR
    labels[3, 13, 20] = Label.MVO  # dark core without scar about it
    cleaned = clean(labels, np.full(4, 0.02), 2.0, minimum_scar_ml=0.0)
    assert not cleaned[:, :6, :6].any()
    assert cleaned[1, 20, 28] == Label.MYOCARDIUM
    assert (cleaned[2, 12:16, 20] == Label.SCAR).all()
    assert cleaned[3, 13, 20] == Label.MYOCARDIUM or cleaned[2, 13, 20] == Label.SCAR
    assert clean(labels, np.full(4, 0.02), 2.0, minimum_scar_ml=1.0).max() == Label.MYOCARDIUM
    assert labels[1, 20, 28] == 0  # the input is left alone


def test_a_slice_with_a_few_pixels_is_no_slice_of_the_ventricle():
    labels = np.stack([ring(), np.zeros_like(ring())])
    labels[1, 20:22, 28:30] = Label.MYOCARDIUM
    assert not clean(labels, np.full(2, 0.02), 2.0, minimum_scar_ml=0)[1].any()


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_cleaning_twice_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    labels = np.stack([ring()] * 3)
    labels[rng.random(labels.shape) < 0.05] = 0
    muscle = myocardium_mask(labels)
    labels[muscle & (rng.random(labels.shape) < 0.3)] = Label.SCAR
    labels[scar_mask(labels) & (rng.random(labels.shape) < 0.2)] = Label.MVO
    once = clean(labels, np.full(3, 0.02), 2.0, minimum_scar_ml=0.3)
    assert np.array_equal(clean(once, np.full(3, 0.02), 2.0, minimum_scar_ml=0.3), once)
    assert not ((once > 0) & (labels == 0))[:, :8].any()


def test_doubt_is_none_for_certainty_and_large_for_a_coin():
    labels = np.stack([ring(), np.zeros_like(ring())])
    certain = np.stack([labels == label for label in range(5)]).astype(np.float32)
    assert slice_doubt(certain, labels) == pytest.approx([0, 0])
    coin = 0.5 * certain
    coin[0] += 0.5
    assert 0.3 < slice_doubt(coin, labels)[0] < 0.4 and slice_doubt(coin, labels)[1] == 0


def test_doubt_foretells_error_in_the_same_units():
    labels, truth = np.stack([ring()] * 2), np.stack([ring(), ring(radius_out=12)])
    truth[0][(truth[0] == Label.MYOCARDIUM) & (np.indices(truth[0].shape)[0] < 20)] = Label.SCAR
    muscle, missed = (labels[0] >= 2).sum(), (truth[0] == Label.SCAR).sum()
    more = (truth[1] >= 2).sum()
    assert slice_error(labels, truth) == pytest.approx([missed / (2 * muscle), (more - muscle) / (more + muscle)])
    assert slice_error(labels, labels) == pytest.approx([0, 0])


# --- the whole way, with the shipped models ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def segmented(phantom):
    return segment(phantom.series, device="cpu")


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_the_phantom_is_segmented(phantom, segmented):
    assert segmented.labels.shape == phantom.series.image.shape and segmented.labels.dtype == np.uint8
    assert dice(myocardium_mask(segmented.labels), myocardium_mask(phantom.labels)) > 0.75
    assert dice(scar_mask(segmented.labels), scar_mask(phantom.labels)) > 0.5
    assert segmented.probabilities.shape == (5, *segmented.labels.shape)
    assert np.allclose(segmented.probabilities.astype(np.float32).sum(axis=0), 1, atol=5e-3)
    assert ((segmented.slice_doubt >= 0) & (segmented.slice_doubt <= 1)).all()
    assert segmented.model["name"] and len(segmented.model["sha256"]) == 64


@pytest.mark.parametrize("seed", [21, 24, 25, 28])
def test_nothing_is_outlined_beyond_the_apex(seed):
    """A stack that is longer than the ventricle: the tip of the right one, bright and round in dark surroundings, is not the left."""
    phantom = simulate(seed=seed)
    beyond = ~phantom.labels.any(axis=(1, 2))
    assert beyond.any() and not segment(phantom.series, device="cpu").labels[beyond].any()


def test_the_same_input_gives_the_same_labels(phantom, segmented):
    assert np.array_equal(segment(phantom.series, device="cpu").labels, segmented.labels)


@pytest.mark.parametrize("carry", [True, False], ids=["header says so", "header does not"])
def test_labels_turn_with_the_image(phantom, segmented, carry):
    for view in ORIENTATIONS[1:]:
        result = segment(turned(phantom.series, *view, carry=carry), device="cpu")
        again = turn_back(result.labels, *view)
        if carry:
            assert (again != segmented.labels).sum() <= TURNED_PIXELS, view
        else:  # what a header says counts, but not whatever the network sees
            overlap = dice(myocardium_mask(again), myocardium_mask(segmented.labels))
            assert overlap > 0.95, (view, overlap)


def test_a_shifted_field_of_view_is_found(phantom, segmented):
    g = phantom.series.geometry
    cut = (slice(None), slice(30, None), slice(0, 180))
    geometry = replace(
        g,
        shape=phantom.series.image[cut].shape,
        slice_origins_mm=g.slice_origins_mm + 30 * g.pixel_spacing_mm[0] * g.row_direction,
    )
    result = segment(replace(phantom.series, image=phantom.series.image[cut], geometry=geometry), device="cpu")
    assert dice(result.labels > 0, segmented.labels[cut] > 0) > 0.97


def test_a_padded_field_of_view_is_found(phantom, segmented):
    g = phantom.series.geometry
    image = np.pad(phantom.series.image, ((0, 0), (40, 20), (0, 60)))
    origin = g.slice_origins_mm - 40 * g.pixel_spacing_mm[0] * g.row_direction
    result = segment(
        replace(phantom.series, image=image, geometry=replace(g, shape=image.shape, slice_origins_mm=origin)),
        device="cpu",
    )
    assert dice(result.labels[:, 40:-20, :-60] > 0, segmented.labels > 0) > 0.97


def test_a_given_center_is_used(phantom, segmented):
    center = segmented.lv_center_lps_mm + 4 * phantom.series.geometry.row_direction
    result = segment(phantom.series, device="cpu", lv_center_lps_mm=center)
    assert result.parameters["lv_center_given"] and result.lv_center_lps_mm == pytest.approx(center)
    assert dice(result.labels > 0, segmented.labels > 0) > 0.95


@pytest.mark.parametrize("center", [[9999, 0, 0], [float("nan"), 0, 0]])
def test_a_center_outside_the_images_is_refused(phantom, center):
    with pytest.raises(InputError, match="LV centre"):
        segment(phantom.series, device="cpu", lv_center_lps_mm=np.array(center, float))


def test_no_ventricle_is_said(phantom):
    noise = np.random.default_rng(0).normal(0, 50, phantom.series.image.shape).astype(np.float32)
    with pytest.raises(InputError, match="[Nn]o left"):
        segment(replace(phantom.series, image=noise), device="cpu")


@pytest.mark.parametrize("seed", range(8))
def test_blobs_that_happen_to_look_like_a_ventricle_are_refused(phantom, seed):
    """The network draws rings into some of them, and doubts them, or draws no ventricle."""
    noise = np.random.default_rng(seed).normal(0, 50, phantom.series.image.shape)
    blobs = ndimage.gaussian_filter(noise, (1, 8, 8)).astype(np.float32)
    with pytest.raises(InputError, match="left.ventric"):
        segment(replace(phantom.series, image=blobs), device="cpu")


def test_a_ventricle_is_a_ring_in_most_slices_that_lie_over_one_another():
    away = np.hypot(*(np.indices((60, 60)) - 30))
    ring, disc = np.where(away < 8, 1, np.where(away < 14, 2, 0)), np.where(away < 14, 2, 0)
    nothing = np.zeros_like(ring)

    def looks_right(*slices, weight_mm=10.0):
        return is_shaped_like_a_ventricle(np.stack(slices), np.full(len(slices), weight_mm))

    open_ring = np.where(np.indices(ring.shape)[0] > 32, 0, ring)
    assert looks_right(nothing, disc, ring, ring, nothing)  # a closed apex
    assert looks_right(ring)
    assert not looks_right(ring, disc, disc)
    assert not looks_right(ring, open_ring, open_ring)
    assert not looks_right(ring, np.roll(ring, 18, axis=1), ring)
    assert looks_right(*[ring] * 3, *[nothing] * 3) and looks_right(*[ring] * 4, *[nothing] * 6)
    assert not looks_right(*[ring] * 3, *[nothing] * 7)  # 30 of 100 mm
    assert not looks_right(*[ring] * 3, nothing, ring, *[nothing] * 5)  # nor 10 more beyond a slice without any
    assert looks_right(*[ring] * 5, *[nothing] * 7, weight_mm=8.0) and looks_right(ring, weight_mm=np.nan)


def test_progress_names_every_slice_and_cancel_stops_between_them(phantom):
    seen = []
    segment(phantom.series, device="cpu", test_time_flips=False, on_progress=lambda *event: seen.append(event))
    count = phantom.series.image.shape[0]
    first = [(done, text) for done, total, text in seen if text.startswith("Slice")]
    assert [text for _, text in first[:count]] == [f"Slice {k} of {count}" for k in range(1, count + 1)]
    assert [done for done, _ in first] == sorted(done for done, _ in first) and first[-1][0] == count
    assert {total for _, total, _ in seen} == {count}
    calls = []

    def cancelled():
        calls.append(1)
        return len(calls) > 3

    with pytest.raises(Cancelled):
        segment(phantom.series, device="cpu", test_time_flips=False, is_cancelled=cancelled)
    assert len(calls) == 4


def test_the_crop_lies_about_the_ventricle_and_grows_with_it(phantom):
    """The same heart on pixels said to be 1.8 times as large: no ventricle is cut off at the border of a crop of fixed size."""
    series = phantom.series
    small = segment(series, device="cpu")
    middle = series.geometry.index_to_lps(np.argwhere(small.labels > 0).mean(axis=0))
    assert np.linalg.norm((middle - small.lv_center_lps_mm)[:2]) < 2 * RECENTER_MM
    enlarged = replace(series.geometry, pixel_spacing_mm=tuple(1.8 * s for s in series.geometry.pixel_spacing_mm))
    large = segment(replace(series, geometry=enlarged), device="cpu")
    assert large.parameters["crop_pixel_mm"] > small.parameters["crop_pixel_mm"]
    overlap = dice(myocardium_mask(small.labels), myocardium_mask(large.labels))
    assert overlap > 0.85


def test_scar_that_is_too_little_to_report_is_mentioned(phantom):
    """The minimum raised above the sample's infarct: none is drawn, and the user is told to look."""
    from scarnet.segmentation.segment import _taken_back, labels_of

    network = load_network(find_model(), device="cpu")
    result = segment(phantom.series, device="cpu")
    assert scar_mask(result.labels).any() and not any("left out" in warning for warning in result.warnings)
    decision = network.card.decision | {"minimum_scar_percent_lv": 60.0}
    strict = replace(network, card=replace(network.card, decision=decision))
    probabilities = result.probabilities.astype(np.float32)
    labels = labels_of(probabilities, phantom.series.geometry, decision)
    (warning,) = _taken_back(phantom.series, strict, labels, probabilities)
    assert not scar_mask(labels).any() and "left out" in warning and "60 %" in warning


def _stack_of_discs(*discs: tuple[float, float]) -> np.ndarray:
    """Rings of muscle about cavities: `(column, radius)` of each slice, pixels."""
    rows, columns = np.indices((60, 80))
    labels = np.zeros((len(discs), 60, 80), np.uint8)
    for plane, (column, radius) in zip(labels, discs, strict=True):
        distance = np.hypot(rows - 30, columns - column)
        plane[distance < radius] = Label.MYOCARDIUM
        plane[distance < radius / 2] = Label.BLOOD_POOL
    return labels


@pytest.mark.parametrize("at_the_other_end", [False, True])
def test_an_end_that_outlines_something_beside_the_ventricle_is_left_out(at_the_other_end):
    def cleaned(*discs):
        labels = _stack_of_discs(*discs[:: -1 if at_the_other_end else 1])
        result = clean(labels, np.ones(len(discs)), 1.0, minimum_scar_ml=0.0)
        return labels, result[:: -1 if at_the_other_end else 1]

    # larger, as large and hardly over the next slice, or about another cavity
    for end in ((24, 18), (28, 10), (31, 13)):
        _, stray = cleaned(end, (40, 9), (41, 14), (41, 18))
        assert not stray[0].any() and stray[1:].any(axis=(1, 2)).all()
    for kept in (
        ((38, 6), (40, 9), (41, 14), (41, 18)),  # an apex
        ((40, 14), (40, 9), (41, 14), (41, 18)),  # an aneurysm of the apex: larger, but about the ventricle
        ((34, 10), (40, 9), (41, 14), (41, 18)),  # another breath-hold: aside, but not larger
    ):
        before, after = cleaned(*kept)
        assert np.array_equal(after[:: -1 if at_the_other_end else 1], before)


@pytest.mark.parametrize("radius", [2, 3, 5, 12])
def test_an_end_that_is_a_crescent_is_left_out_and_a_small_round_one_is_not(radius):
    """Discs of 13 pixels and more are round; two thirds of a ring about something else are not. Amid the stack all is kept."""
    rows, columns = np.indices((80, 80)) - 40
    away, disc = np.hypot(rows, columns), np.zeros((80, 80), np.uint8)
    disc[away < 14] = Label.MYOCARDIUM
    small = np.where(away <= radius, Label.MYOCARDIUM, 0).astype(np.uint8)
    crescent = np.where((away > 6) & (away < 12) & (columns > -4), Label.MYOCARDIUM, 0).astype(np.uint8)
    volumes = np.full(4, 0.1)
    for end, kept in ((small, True), (crescent, False)):
        for stack in (np.stack([end, disc, disc, disc]), np.stack([disc, disc, disc, end])):
            cleaned = clean(stack, volumes, 25.0, minimum_scar_ml=0.0)
            assert np.array_equal(
                cleaned.any(axis=(1, 2)), stack.any(axis=(1, 2)) & (kept | (stack == disc).all(axis=(1, 2)))
            )
    amid = np.stack([disc, crescent, disc, disc])
    assert np.array_equal(clean(amid, volumes, 25.0, minimum_scar_ml=0.0), amid)


def test_whether_there_is_an_infarct_is_not_asked_of_what_is_drawn(small_phantom):
    """Muscle of 100 %, of which 6 are scar at 0.55 and 2 at 0.7: an infarct of 8 % at one half, of which 2 % are drawn at 0.6."""
    from scarnet.segmentation.segment import labels_of

    geometry = small_phantom.series.geometry
    muscle = small_phantom.labels >= Label.MYOCARDIUM
    scar = np.zeros(muscle.shape)
    along = np.argwhere(muscle)
    cuts = [int(share * len(along)) for share in (0.02, 0.08)]
    scar[tuple(along[: cuts[1]].T)] = 0.55
    scar[tuple(along[: cuts[0]].T)] = 0.7
    probabilities = np.zeros((5, *muscle.shape), np.float32)
    probabilities[Label.BLOOD_POOL] = small_phantom.labels == Label.BLOOD_POOL
    probabilities[Label.SCAR] = scar * muscle
    probabilities[Label.MYOCARDIUM] = (1 - scar) * muscle
    probabilities[0] = 1 - probabilities.sum(0)

    def percent(threshold, minimum):
        decision = {"scar_threshold": threshold, "minimum_scar_percent_lv": minimum}
        labels = labels_of(probabilities, geometry, decision)
        return 100 * scar_mask(labels).sum() / myocardium_mask(labels).sum()

    assert percent(0.5, 2.5) == pytest.approx(8, abs=0.5)
    assert percent(0.6, 2.5) == pytest.approx(2, abs=0.5)
    assert percent(0.6, 9.0) == percent(0.5, 9.0) == 0
    assert percent(0.8, 2.5) == 0


def _views(*weights: float) -> list[View]:
    """The first orientations, so weighted."""
    return [replace(view, weight=weight) for view, weight in zip(all_orientations(), weights, strict=False)]


def test_views_are_turned_back_to_where_they_were_taken_from():
    """The mean of the views of a crop is the crop."""
    crop = np.random.default_rng(0).normal(size=(2, 3, 20, 20)).astype(np.float32)
    for views in (all_orientations(), _views(0, 0.4, 0, 0, 0, 0.6), _views(0.3)):
        assert np.allclose(average([view.of(crop) for view in views], views), crop, atol=1e-6)


def _answering(monkeypatch, blood: list[float]):
    """Instead of a network: of each look, so much blood everywhere."""

    def answer(network, crops, views, *, on_progress, is_cancelled):
        assert views == ["of all"]
        said = [np.zeros((5, *image.shape), np.float32) for image, _ in crops]
        for probabilities, share in zip(said, blood, strict=True):
            probabilities[1], probabilities[0] = share, 1 - share
        return said

    monkeypatch.setitem(look.__globals__, "choose_views", lambda *given: ["of all"])
    monkeypatch.setitem(look.__globals__, "predict", answer)


def test_all_sizes_count_alike_where_they_all_look(phantom, monkeypatch):
    """A network that answers with its own pixel size: the mean where all squares lie, the outer ones' alone beyond."""
    network = load_network(find_model(), device="cpu")
    large, small = sorted({one.size for one in LOOKS}, reverse=True)
    _answering(monkeypatch, [0.2 if one.size == large else 0.5 for one in LOOKS])
    geometry = phantom.series.geometry
    center = geometry.index_to_lps((np.array(geometry.shape) - 1) / 2)
    grid = replace(crop_grid(phantom.series, network, center), side=40)
    probabilities, views = look(phantom.series, network, grid, flips=True)
    assert views == ["of all"]
    assert np.allclose(probabilities.sum(0), 1, atol=1e-5)
    middle = probabilities[1, 0, geometry.shape[1] // 2]
    half_mm = 20 * grid.pixel_mm
    away_mm = np.abs(np.arange(len(middle)) - (len(middle) - 1) / 2) * geometry.pixel_spacing_mm[1]
    edge = 2 * max(geometry.pixel_spacing_mm)
    assert middle[away_mm < small * half_mm - edge] == pytest.approx(0.3, abs=1e-4)
    between = (away_mm > small * half_mm + edge) & (away_mm < half_mm - edge)
    assert middle[between] == pytest.approx(0.2, abs=1e-4)
    tilt = np.deg2rad(max(one.tilt_deg for one in LOOKS))  # across its middle, a tilted square is wider
    assert middle[away_mm > half_mm / np.cos(tilt) + edge] == pytest.approx(0.0)


@pytest.mark.parametrize("stored", ORIENTATIONS)
def test_a_stack_that_does_not_say_so_is_looked_at_upright(stored):
    """A network that is sure of bright upper left corners alone is shown one in every orientation."""

    def probability(planes):
        bright = planes[:, 0, :8, :4].mean((1, 2)) > 0.9
        sure = np.where(bright, 0.99, 0.6)[:, None, None] * np.ones(planes.shape[-2:])
        return np.stack([sure, 1 - sure], axis=1)

    def seen(planes):
        views = all_orientations()
        return likely_views(views, [probability(view.of(planes)) for view in views])

    upright = np.zeros((3, 1, 16, 16), np.float32)
    upright[..., :8, :4] = 1
    as_stored = np.ascontiguousarray(turn(upright, *stored))
    view, *others = seen(as_stored)
    assert np.array_equal(view.of(as_stored), upright) and view.weight > 0.99
    assert others == ([] if stored == ORIENTATIONS[0] else [View()])  # what is stated stays, for what it is worth
    told, *others = seen(np.zeros_like(upright))
    assert told == View() and [view.weight for view in others] == pytest.approx([told.weight / TOLD_ODDS] * 7)


def _parts(entropies: list[float]) -> list[np.ndarray]:
    """What a network says that is as unsure as that of background or not, in nats."""
    from scipy.optimize import brentq

    parts = []
    for entropy in entropies:
        p = brentq(lambda p, e=entropy: -p * np.log(p) - (1 - p) * np.log(1 - p) - e, 1e-9, 0.5)
        parts.append(np.array([1 - p, p])[:, None, None] * np.ones((2, 4, 4)))
    return parts


def test_views_are_weighed_by_how_sure_the_network_is_and_the_stated_one_stays():
    nats = UPRIGHT_NATS
    told, near, far = all_orientations()[0], all_orientations()[2], all_orientations()[5]
    both = likely_views([near, far], _parts([0.1, 0.1 + nats]))
    assert both == [near, far] and both[0].weight / both[1].weight == pytest.approx(np.e, rel=0.01)
    assert likely_views([near, far], _parts([0.1, 0.1 + 4 * nats])) == [near]
    kept = likely_views([told, near], _parts([0.1 + 6 * nats, 0.1]))
    assert kept == [near, told] and kept[0].weight / kept[1].weight == pytest.approx(np.exp(6) / TOLD_ODDS, rel=0.01)


def test_no_slice_speaks_louder_than_it_may():
    """One slice of five is ten times as sure of the wrong orientation as the others are of the right one."""
    right, wrong = all_orientations()[2], all_orientations()[5]
    in_slices = [_parts([0.3, 0.1, 0.1, 0.1, 0.1]), _parts([0.1, 0.12, 0.12, 0.12, 0.12])]
    assert likely_views([right, wrong], [np.stack(parts) for parts in in_slices]) == [right]
    assert likely_views([right, wrong], [np.stack(parts[:1]) for parts in in_slices]) == [wrong]


def test_views_count_by_their_weight():
    one, other = _views(0.6, 0.2)
    mean = average([np.ones((1, 4, 4), np.float32), np.zeros((1, 4, 4), np.float32)], [one, other])
    assert mean == pytest.approx(0.75)
    assert looks_of("patient", several=True) == LOOKS and sum(one.tilt_deg for one in LOOKS) == 0
    assert looks_of("patient", several=False) == looks_of("any", several=True) == (Look(1.0, 0.0),)


def test_of_looks_at_one_size_the_surer_counts_more():
    parts = [part[:, None] for part in _parts([0.1, 0.1 + TILT_NATS, 0.5])]  # one slice each
    weights = look_weights([Look(1.0, 20.0), Look(1.0, -20.0), Look(0.87, 0.0)], parts)
    assert weights[0] / weights[1] == pytest.approx(np.e, rel=0.01)
    assert weights[0] + weights[1] == pytest.approx(2 / 3) and weights[2] == pytest.approx(1 / 3)
    assert look_weights([Look()], parts[:1]) == pytest.approx([1.0])


def test_looks_are_weighted_as_surely_as_the_network_answers_in_them(phantom, monkeypatch):
    """In one tilt the network hesitates, in all else it is all but certain."""
    network = load_network(find_model(), device="cpu")
    said = [0.4, *[0.99] * (len(LOOKS) - 1)]
    _answering(monkeypatch, said)
    geometry = phantom.series.geometry
    grid = crop_grid(phantom.series, network, geometry.index_to_lps((np.array(geometry.shape) - 1) / 2))
    probabilities, _ = look(phantom.series, network, grid, flips=True)
    parts = [np.full((2, 1, 4, 4), [[[[1 - p]]], [[[p]]]], np.float32) for p in said]
    expected = look_weights(LOOKS, parts) @ said
    assert expected > 0.9
    assert probabilities[1, 0, geometry.shape[1] // 2, geometry.shape[2] // 2] == pytest.approx(expected, abs=1e-3)


def test_all_looks_together_name_each_slice_once(phantom):
    told = []
    whole = segment(phantom.series, device="cpu", on_progress=lambda *event: told.append(event))
    slices = len(phantom.series.image)
    named = [done for done, _, text in told if text.startswith("Slice")]
    assert named == list(range(1, slices + 1))
    looks = zip(whole.parameters["view_sizes"], whole.parameters["view_tilts_deg"], strict=True)
    assert [Look(*one) for one in looks] == list(LOOKS)
    once = segment(phantom.series, device="cpu", test_time_flips=False)
    assert once.parameters["view_tilts_deg"] == [0.0] and once.parameters["view_sizes"] == [1.0]
    assert dice(*(myocardium_mask(one.labels) for one in (whole, once))) > 0.9
    assert not np.array_equal(whole.probabilities, once.probabilities)


def test_looks_at_once_are_what_each_is_alone():
    """Neighbours and orientations of one look do not reach into another."""
    network = load_network(find_model(), device="cpu")
    crops = np.random.default_rng(0).normal(size=(2, 3, 96, 96)).astype(np.float32)
    inside = np.ones(crops[0].shape, bool)
    views = all_orientations()[:2]
    both = predict(network, [(one, inside) for one in crops], views)
    assert len(both) == 2
    for one, found in zip(crops, both, strict=True):
        (alone,) = predict(network, [(one, inside)], views)
        assert np.allclose(found, alone, atol=1e-5)


@pytest.mark.parametrize("stored", ORIENTATIONS)
def test_one_slice_tells_which_way_up_where_it_leaves_no_doubt(stored):
    """The middle slice in eight orientations; the rest only where another than the stored one is upright, in both."""
    network = load_network(find_model(), device="cpu")
    asked = []

    def logits(items):  # sure of hearts whose upper left is bright, unsure of others
        asked.append(len(items))
        upright = items[:, 1, :40, :20].mean(axis=(1, 2)) > 0.9 * items[:, 1].max(axis=(1, 2))
        answer = np.zeros((len(items), 5, *items.shape[2:]), np.float32)
        answer[:, 0] = np.where(upright, 6.0, 3.0)[:, None, None]
        return answer

    crops = np.zeros((9, 96, 96), np.float32)
    crops[:, :40, :20] = 1
    crops = np.ascontiguousarray(turn_back(crops, *stored))
    view = choose_views(replace(network, logits=logits), crops, np.ones(crops.shape, bool))[0]
    assert (view.turns, view.mirror) == stored
    assert sum(asked) == 8 + 2 * 8 * (stored != ORIENTATIONS[0])


def test_what_one_slice_leaves_open_the_next_ones_tell():
    """Two orientations are alike in the middle slice: they alone are looked at in the others."""
    network = load_network(find_model(), device="cpu")
    asked = []

    def logits(items):
        asked.append(len(items))
        answer = np.zeros((len(items), 5, *items.shape[2:]), np.float32)
        bright_above = items[:, 1, :40].mean((1, 2)) > items[:, 1, 56:].mean((1, 2)) + 1
        answer[:, 0] = np.where(bright_above, 6.0, 3.0)[:, None, None]
        return answer

    crops = np.zeros((9, 96, 96), np.float32)
    crops[:, :40] = 1  # bright above, whether mirrored or not
    views = choose_views(replace(network, logits=logits), crops, np.ones(crops.shape, bool))
    assert [(view.turns, view.mirror) for view in views] == [(0, False), (0, True)]
    assert views[0].weight == pytest.approx(TOLD_ODDS / (TOLD_ODDS + 1), abs=0.02)
    assert sum(asked) == 8 + 2 * 8
