"""Stack geometry against analytic truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scarnet.series import StackGeometry
from scarnet.series.geometry import SLICE_SPACING_RTOL


def rotation(seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


@st.composite
def stacks(draw):
    axes = rotation(draw(st.integers(0, 10_000)))
    steps = draw(st.lists(st.floats(4, 25), min_size=1, max_size=8))
    positions = np.concatenate([[0], np.cumsum(steps)])
    spacing = (draw(st.floats(0.5, 2.5)), draw(st.floats(0.5, 2.5)))
    return StackGeometry(
        shape=(len(positions), draw(st.integers(2, 40)), draw(st.integers(2, 40))),
        pixel_spacing_mm=spacing,
        column_direction=axes[0],
        row_direction=axes[1],
        slice_origins_mm=np.array([10.0, -20.0, 30.0]) + positions[:, None] * axes[2],
    )


@given(stacks(), st.integers(0, 100))
def test_index_and_position_are_inverse(geometry, seed):
    index = np.random.default_rng(seed).uniform(0, np.array(geometry.shape) - 1, (20, 3))
    assert geometry.lps_to_index(geometry.index_to_lps(index)) == pytest.approx(index, abs=1e-6)


@given(stacks())
def test_weights_are_half_the_distance_to_either_neighbour(geometry):
    positions = geometry.slice_positions_mm
    inner = (positions[2:] - positions[:-2]) / 2
    assert geometry.slice_weights_mm[1:-1] == pytest.approx(inner, abs=1e-5)
    assert geometry.slice_weights_mm[0] == pytest.approx(positions[1] - positions[0], abs=1e-5)
    assert (geometry.slice_weights_mm > 0).all()


@given(stacks())
def test_an_affine_describes_a_stack_exactly_when_it_is_uniform(geometry):
    again = StackGeometry.from_affine_lps(geometry.affine_lps, geometry.shape)
    assert again.is_uniform
    steps = np.diff(geometry.slice_positions_mm)
    allowed = max(SLICE_SPACING_RTOL * steps.sum(), 1e-6) if np.ptp(steps) > 1e-9 else 1e-6  # uniform is: to 1 % a step
    assert again.matches(geometry, tolerance_mm=allowed) or not geometry.is_uniform
    if steps.max() > 1.02 * steps.min():
        assert not geometry.is_uniform


def test_another_grid_does_not_match():
    base = StackGeometry.from_affine_lps(np.diag([1.4, 1.4, 10, 1.0]), (8, 20, 30))
    moved = np.diag([1.4, 1.4, 10, 1.0])
    moved[0, 3] = 0.5
    assert base.matches(StackGeometry.from_affine_lps(np.diag([1.4, 1.4, 10, 1.0]), (8, 20, 30)))
    assert not base.matches(StackGeometry.from_affine_lps(moved, (8, 20, 30)))
    assert not base.matches(StackGeometry.from_affine_lps(np.diag([1.4, 1.4, 10, 1.0]), (8, 30, 20)))


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0)])
def test_spacing_must_be_positive(spacing):
    with pytest.raises(ValueError, match="spacing must be positive"):
        StackGeometry((3, 4, 4), spacing, [1, 0, 0], [0, 1, 0], [[0, 0, z] for z in range(3)])


def test_directions_must_be_perpendicular():
    with pytest.raises(ValueError, match="perpendicular"):
        StackGeometry((3, 4, 4), (1, 1), [1, 0, 0], [0.6, 0.8, 0], [[0, 0, z] for z in range(3)])


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_volume_of_a_ball_is_unmoved_by_turning_the_stack(seed):
    """Area times distance of a 30 mm ball: the same whichever way the stack lies in the patient."""
    axes = rotation(seed)
    shape, spacing, distance = (13, 64, 64), 1.1, 5.0
    origins = (np.arange(13) - 6)[:, None] * distance * axes[2] - 31.5 * spacing * (axes[0] + axes[1])
    geometry = StackGeometry(shape, (spacing, spacing), axes[0], axes[1], origins)
    points = geometry.index_to_lps(np.stack(np.indices(shape), axis=-1))
    ball = np.linalg.norm(points, axis=-1) < 30
    volume_ml = ball.sum(axis=(1, 2)) @ geometry.voxel_volumes_ml
    assert volume_ml == pytest.approx(4 / 3 * np.pi * 30**3 / 1000, rel=0.02)
