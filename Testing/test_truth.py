"""Rings, cones, wedges and helices whose burden is known from formulas, on grids with gaps, unequal pixels, tilts and flips."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scarnet.conventions import Label
from scarnet.errors import InputError
from scarnet.quantification import QuantificationParameters, quantify
from scarnet.quantification.frame import heart_frame
from scarnet.quantification.transmurality import wall_rays
from scarnet.segmentation import ScarSegmentation
from scarnet.segments import labels_from_masks
from scarnet.series import LgeSeries, StackGeometry

INNER_MM, WALL_MM = 22.0, 11.0


@dataclass(frozen=True)
class Shape:
    """Of a ventricle about the long axis, by position `z` (mm from the basal slice): radius of the cavity, scar's sector and depth."""

    taper: float = 0.0  # of the cavity's radius, per mm: a cone
    wedge_deg: float = 90.0
    turn_deg_per_mm: float = 0.0  # of the wedge: a helix
    depth: float = 0.5  # of the wall, from the endocardium

    def inner_mm(self, z):
        return INNER_MM - self.taper * z

    def percent_of_slice(self, z) -> float:
        """Area of the scar's sector over that of the ring."""
        r = self.inner_mm(z)
        scar = (r + self.depth * WALL_MM) ** 2 - r**2
        return self.wedge_deg / 360 * 100 * scar / ((r + WALL_MM) ** 2 - r**2)

    def muscle_area_mm2(self, z) -> float:
        r = self.inner_mm(z)
        return math.pi * ((r + WALL_MM) ** 2 - r**2)


SHAPES = {
    "ring": Shape(wedge_deg=360.0),
    "transmural ring": Shape(wedge_deg=360.0, depth=1.0),
    "wedge": Shape(),
    "narrow wedge": Shape(wedge_deg=20.0, depth=0.3),
    "cone": Shape(taper=0.25),
    "helix": Shape(turn_deg_per_mm=3.0),
    "conical helix": Shape(taper=0.2, turn_deg_per_mm=-5.0, wedge_deg=70.0, depth=0.8),
}


def draw(shape, positions_mm, *, pixel_mm=(0.5, 0.5), tilt=(0.0, 0.0, 1.0), turn_deg=0.0, mirror=False, reverse=False):
    """Labels and geometry of `shape` on slices at `positions_mm` along the axis `tilt`, stored as asked."""
    normal = np.array(tilt) / np.linalg.norm(tilt)
    right = np.cross([0.3, 1.0, 0.2], normal)
    right /= np.linalg.norm(right)
    up = np.cross(normal, right)
    a = np.radians(turn_deg)
    columns, rows = np.cos(a) * right + np.sin(a) * up, -np.sin(a) * right + np.cos(a) * up
    columns = -columns if mirror else columns
    size = [int(2 * (INNER_MM + WALL_MM + 4) / step) for step in pixel_mm]
    corner = -(size[0] - 1) / 2 * pixel_mm[0] * rows - (size[1] - 1) / 2 * pixel_mm[1] * columns
    z = np.asarray(positions_mm, float)
    order = np.arange(len(z))[::-1] if reverse else np.arange(len(z))
    geometry = StackGeometry((len(z), *size), pixel_mm, columns, rows, corner + z[order][:, None] * normal)
    points = geometry.index_to_lps(np.stack(np.indices(geometry.shape), axis=-1))
    x, y = points @ right, points @ up
    along = z[order][:, None, None]
    radius, angle = np.hypot(x, y), np.degrees(np.arctan2(y, x))
    inner = shape.inner_mm(along)
    labels = np.where(radius < inner, Label.BLOOD_POOL, np.where(radius < inner + WALL_MM, Label.MYOCARDIUM, 0))
    away = np.abs((angle - shape.turn_deg_per_mm * along + 180) % 360 - 180)
    scar = (radius >= inner) & (radius < inner + shape.depth * WALL_MM) & (away <= shape.wedge_deg / 2)
    labels[scar] = Label.SCAR
    return labels.astype(np.uint8), geometry


def weights_by_hand_mm(positions):
    """Half the distance to each neighbour, the ends as much outwards as inwards: written out, not vectorised."""
    z = sorted(positions)
    weights = []
    for k in range(len(z)):
        before = z[k] - z[k - 1] if k > 0 else z[k + 1] - z[k]
        after = z[k + 1] - z[k] if k < len(z) - 1 else z[k] - z[k - 1]
        weights.append((before + after) / 2)
    return weights


def measured(labels, geometry, **arguments):
    return quantify(LgeSeries(np.zeros(labels.shape, np.float32), geometry), labels, **arguments)


STACKS = {
    "equal": 8.0 * np.arange(8),
    "gaps": 11.0 * np.arange(7),
    "a slice missing": np.array([0.0, 8, 16, 32, 40, 48, 56]),
    "unequal": np.array([0.0, 7, 15.5, 22, 33, 41, 52.25]),
}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("name", SHAPES)
def test_burden_against_the_formula(name, stack):
    """Percent of LV within 0.1 point; volume and mass equal to float error to what the label map holds."""
    shape, z = SHAPES[name], STACKS[stack]
    labels, geometry = draw(shape, z, pixel_mm=(0.4, 0.55), tilt=(0.66, -0.55, -0.51), turn_deg=33.0, mirror=True)
    report = measured(labels, geometry)
    weights = weights_by_hand_mm(z)
    muscle = [shape.muscle_area_mm2(p) * w / 1000 for p, w in zip(z, weights, strict=True)]
    scar = [m * shape.percent_of_slice(p) / 100 for p, m in zip(z, muscle, strict=True)]
    assert report.scar.percent_lv == pytest.approx(100 * sum(scar) / sum(muscle), abs=0.1)
    assert report.lv.myocardium_volume_ml == pytest.approx(sum(muscle), rel=2e-3)
    held = math.fsum(int((labels[k] >= 3).sum()) * 0.4 * 0.55 * weights[k] / 1000 for k in range(len(z)))
    assert report.scar.volume_ml == pytest.approx(held, rel=1e-12)
    assert report.scar.mass_g == pytest.approx(held * 1.05, rel=1e-12)
    assert [s.weight_mm for s in report.slices] == pytest.approx(weights, rel=1e-9)
    assert report.scar.enhanced_slices == sum(s.enhanced for s in report.slices) == len(z)
    for s, p in zip(report.slices, z, strict=True):
        assert s.scar_percent == pytest.approx(shape.percent_of_slice(p), abs=0.35)


@settings(max_examples=12, deadline=None)
@given(
    turn=st.floats(0, 360),
    mirror=st.booleans(),
    reverse=st.booleans(),
    tilt=st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.2, 1)),
    pixels=st.tuples(st.floats(0.7, 1.6), st.floats(0.7, 1.6)),
    name=st.sampled_from(sorted(set(SHAPES) - {"narrow wedge"})),  # a few pixels wide here: its own pixels differ
)
def test_how_a_stack_is_stored_does_not_change_the_burden(turn, mirror, reverse, tilt, pixels, name):
    shape = SHAPES[name]
    z = STACKS["unequal"]
    labels, geometry = draw(shape, z, pixel_mm=pixels, tilt=tilt, turn_deg=turn, mirror=mirror, reverse=reverse)
    report = measured(labels, geometry)
    weights = weights_by_hand_mm(z)
    muscle = sum(shape.muscle_area_mm2(p) * w for p, w in zip(z, weights, strict=True)) / 1000
    scar = sum(shape.muscle_area_mm2(p) * w * shape.percent_of_slice(p) / 100 for p, w in zip(z, weights, strict=True))
    assert report.lv.myocardium_volume_ml == pytest.approx(muscle, rel=0.02)
    assert report.scar.volume_ml == pytest.approx(scar / 1000, rel=0.05)
    flipped = labels[:, ::-1, ::-1].copy()
    g = geometry
    corner = g.index_to_lps(np.array([[k, g.shape[1] - 1, g.shape[2] - 1] for k in range(g.shape[0])]))
    other = StackGeometry(g.shape, g.pixel_spacing_mm, -g.column_direction, -g.row_direction, corner)
    again = measured(flipped, other)
    assert again.scar.volume_ml == report.scar.volume_ml and again.lv == report.lv
    for s, t in zip(report.slices, again.slices, strict=True):
        assert s.transmurality_mean_percent == pytest.approx(t.transmurality_mean_percent, abs=2)


@pytest.mark.parametrize("depth", [0.2, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("mirror", [False, True])
def test_transmurality_of_every_slice_within_three_points(depth, mirror):
    labels, geometry = draw(
        Shape(depth=depth, taper=0.1, turn_deg_per_mm=2.0), STACKS["unequal"] + 5, pixel_mm=(0.6, 0.6), mirror=mirror
    )
    report = measured(labels, geometry)
    for s in report.slices:
        assert s.transmurality_mean_percent == pytest.approx(100 * depth, abs=3)
        assert s.transmurality_max_percent == pytest.approx(100 * depth, abs=7)
        assert s.transmurality_max_percent >= s.transmurality_mean_percent
    assert report.scar.transmurality_mean_percent == pytest.approx(100 * depth, abs=3)


def test_a_slice_without_scar_has_no_transmurality_and_one_without_cavity_none():
    labels, geometry = draw(Shape(), STACKS["equal"], pixel_mm=(1.0, 1.0))
    labels[2] = np.minimum(labels[2], Label.MYOCARDIUM)
    labels[7] = np.where(labels[7] > 0, Label.MYOCARDIUM, 0)
    report = measured(labels, geometry)
    assert (report.slices[2].transmurality_mean_percent, report.slices[2].transmurality_max_percent) == (0, 0)
    assert (report.slices[7].transmurality_mean_percent, report.slices[7].transmurality_max_percent) == (None, None)
    assert [s.enhanced for s in report.slices] == [True, True, False, True, True, True, True, False]
    assert report.scar.enhanced_slices == 6
    rays = wall_rays(labels, heart_frame(labels, geometry))
    assert rays.of_slice_percent(7) == (None, None) and len(rays.angles_deg) >= 100


# --- doubt ---


class WithInterval(ScarSegmentation):
    percent_lv_interval = (9.5, 17.25)


def segmentation(labels, kind=ScarSegmentation):
    made = kind(labels, None, np.zeros(3), np.zeros(len(labels)), {"name": "m"})
    if kind is WithInterval and made.percent_lv_interval is None:  # the base class brings the field itself
        object.__setattr__(made, "percent_lv_interval", (9.5, 17.25))
    return made


def test_the_models_interval_is_reported_for_its_own_labels_alone():
    labels, geometry = draw(Shape(), STACKS["equal"], pixel_mm=(1.0, 1.0))
    report = measured(labels, geometry, segmentation=segmentation(labels, WithInterval))
    assert report.scar.percent_lv_interval == (9.5, 17.25)
    assert "doubt" in report.rules["percent_lv_interval"]
    edited = labels.copy()
    edited[3] = np.minimum(edited[3], 2)
    for labels_now, provenance in ((edited, None), (labels, {"edits": {"Scar": {"model_ml": 1.0}}})):
        report = measured(labels_now, geometry, segmentation=segmentation(labels, WithInterval), provenance=provenance)
        assert report.scar.percent_lv_interval is None
        assert "edited by hand" in report.rules["percent_lv_interval"]
    unedited = measured(labels, geometry, segmentation=segmentation(labels, WithInterval), provenance={"edits": None})
    assert unedited.scar.percent_lv_interval == (9.5, 17.25)
    assert measured(labels, geometry).scar.percent_lv_interval is None
    assert "percent_lv_interval" not in measured(labels, geometry).rules


# --- bad input ---


def test_one_slice_has_the_weight_of_its_thickness_or_none():
    labels, geometry = draw(Shape(), STACKS["equal"], pixel_mm=(1.0, 1.0))
    g = geometry

    def single(thickness):
        return StackGeometry(
            (1, *g.shape[1:]),
            g.pixel_spacing_mm,
            g.column_direction,
            g.row_direction,
            g.slice_origins_mm[:1],
            thickness,
        )

    with pytest.raises(InputError, match="single slice without a thickness"):
        measured(labels[:1], single(None))
    report = measured(labels[:1], single(7.0))
    assert report.scar.volume_ml == pytest.approx((labels[0] >= 3).sum() * 7 / 1000)
    assert report.provenance["input"]["slice_distance_mm"] is None


def test_overlapping_outlines_count_once_the_inner_structure_wins():
    labels, geometry = draw(Shape(), STACKS["equal"], pixel_mm=(1.0, 1.0))
    masks = {
        "LVBloodPool": labels > 0,  # drawn over everything
        "LVMyocardium": labels >= 2,
        "Scar": labels >= 3,
        "MVO": np.zeros(labels.shape, bool),  # an empty segment
    }
    assert np.array_equal(labels_from_masks(masks), labels)
    report = measured(labels_from_masks(masks), geometry)
    assert report.mvo.volume_ml == 0 and "inner structure counts" in report.rules["scar"]


def test_scar_beyond_the_muscle_becomes_muscle_and_is_counted():
    labels, geometry = draw(Shape(depth=1.0), STACKS["equal"], pixel_mm=(1.0, 1.0))
    masks = {"LVMyocardium": labels == 2, "Scar": labels == 3, "LVBloodPool": labels == 1}
    report = measured(labels_from_masks(masks), geometry)
    assert report.lv.myocardium_volume_ml == pytest.approx(measured(labels, geometry).lv.myocardium_volume_ml)


def test_a_point_that_is_no_place_is_refused():
    for name in ("remote_lps_mm", "anterior_rv_insertion_lps_mm"):
        with pytest.raises(InputError, match="three numbers"):
            QuantificationParameters(**{name: (1.0, math.nan, 2.0)})
