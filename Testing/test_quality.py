"""Warnings from the image itself: each fault put into a simulated stack is said, and without it nothing is."""

from dataclasses import replace

import numpy as np
import pytest

from scarnet.phantom import PhantomParameters, simulate
from scarnet.quantification import quantify
from scarnet.quantification.image_quality import (
    LOW_BLOOD_CNR,
    LOW_SCAR_CNR,
    POORLY_NULLED,
    coverage_warnings,
    slice_distance_warnings,
)
from scarnet.series import LgeSeries, Reconstruction, StackGeometry

#: Of every kind of fault, words that only its warning has.
SAID = {
    "gap": "seems to be missing",
    "unequal": "distances are unequal",
    "nulling": "poorly nulled",
    "as bright": "as bright as blood",
    "contrast": "Contrast is low",
    "scar contrast": "hardly stands out",
    "shift": "against its neighbours",
    "edge": "edge of the field of view",
    "apex": "does not reach its apex",
    "short": "along its axis only",
    "forgotten": "between slices with the ventricle",
    "stray": "apart from the ventricle",
}


def faults(series, labels):
    warnings = quantify(series, labels).quality.warnings
    return {fault for fault, words in SAID.items() if any(words in w for w in warnings)}


def scan(**changes):
    parameters = PhantomParameters(size=112, pixel_mm=1.9, slices=9, gap_mm=1.0, first_depth_mm=4.0)
    return simulate(replace(parameters, **changes), seed=1)


@pytest.fixture(scope="module")
def good():
    return scan()


def with_origins(series, origins):
    g = series.geometry
    return replace(
        series,
        geometry=StackGeometry(g.shape, g.pixel_spacing_mm, g.column_direction, g.row_direction, origins),
    )


def without_slice(made, k):
    keep = [n for n in range(len(made.labels)) if n != k]
    g = made.series.geometry
    geometry = StackGeometry(
        (len(keep), *g.shape[1:]),
        g.pixel_spacing_mm,
        g.column_direction,
        g.row_direction,
        g.slice_origins_mm[keep],
    )
    return LgeSeries(made.series.image[keep], geometry, made.series.reconstruction), made.labels[keep]


def test_a_good_stack_is_not_complained_about(good):
    for made in (good, scan(reconstruction=Reconstruction.MAGNITUDE)):
        assert quantify(made.series, made.labels).quality.warnings == ()


def test_a_missing_slice(good):
    series, labels = without_slice(good, 4)
    assert faults(series, labels) == {"gap"}
    (warning,) = slice_distance_warnings(series.geometry)
    assert "between slices 4 and 5 (18.0 mm)" in warning and "9.0 mm is usual" in warning
    weights = [s.weight_mm for s in quantify(series, labels).slices]
    assert weights[2:6] == [9.0, 13.5, 13.5, 9.0]  # the gap is shared by the slices beside it
    assert faults(*without_slice(good, 8)) == set()  # an end slice leaves no gap


@pytest.mark.parametrize(
    "step, fault", [(9.05, set()), (9.8, set()), (10.4, {"unequal"}), (14.0, {"unequal"}), (15.0, {"gap"})]
)
def test_unequal_distances(good, step, fault):
    g = good.series.geometry
    origins = g.slice_origins_mm.copy()
    origins[5:] += (step - 9.0) * g.normal
    assert faults(with_origins(good.series, origins), good.labels) == fault


def test_the_reader_need_not_be_repeated(good):
    series, labels = without_slice(good, 4)
    said = "Slices are not equidistant: a slice may be missing."
    assert quantify(replace(series, warnings=(said,)), labels).quality.warnings == (said,)


@pytest.mark.parametrize(
    "ti_error_ms, expected", [(-80, "as bright"), (-50, "nulling"), (-10, None), (0, None), (60, None)]
)
def test_poor_nulling_of_magnitude_images(ti_error_ms, expected):
    made = scan(reconstruction=Reconstruction.MAGNITUDE, ti_error_ms=float(ti_error_ms))
    found = faults(made.series, made.labels) & {"nulling", "as bright"}
    assert found == ({expected} if expected else set())


def test_a_late_inversion_time_nulls_nothing(good):
    """Muscle at 0.6 and 0.8 of the blood's signal over lung: below and above the limit."""
    for share, expected in ((0.6, set()), (0.8, {"nulling"})):
        assert (share > POORLY_NULLED) == bool(expected)
        image = np.select([good.labels >= 3, good.labels == 1, good.labels == 2], [1300.0, 1000.0, 1000.0 * share], 0.0)
        image = image + np.random.default_rng(0).normal(0, 15, image.shape)
        series = replace(good.series, image=image.astype(np.float32))
        assert faults(series, good.labels) & {"nulling", "as bright"} == expected


@pytest.mark.parametrize("ratio", [2.0, 3.2, 8.0])
def test_low_contrast_of_blood(good, ratio):
    image = np.select([good.labels >= 3, good.labels == 1, good.labels == 2], [2 * ratio, ratio, 0.0], -1.0)
    image = 100 * image + np.random.default_rng(0).normal(0, 100, image.shape)
    found = faults(replace(good.series, image=image.astype(np.float32)), good.labels)
    assert ("contrast" in found) == (ratio < LOW_BLOOD_CNR)


@pytest.mark.parametrize("ratio", [0.5, 1.5, 3.2, 8.0])
def test_outlined_scar_that_does_not_stand_out(good, ratio):
    image = np.select([good.labels >= 3, good.labels == 1, good.labels == 2], [ratio, 6.0, 0.0], -1.0)
    image = 100 * image + np.random.default_rng(0).normal(0, 100, image.shape)
    found = faults(replace(good.series, image=image.astype(np.float32)), good.labels)
    assert ("scar contrast" in found) == (ratio < LOW_SCAR_CNR)
    assert "scar contrast" not in faults(
        replace(good.series, image=image.astype(np.float32)), np.minimum(good.labels, 2)
    )


def test_obstruction_which_is_dark_does_not_hide_that_scar_stands_out(good):
    labels = good.labels.copy()
    labels[(labels == 3) & (np.cumsum(labels == 3, axis=2) > 3)] = 4  # most of the infarct
    image = np.select([labels == 4, labels == 3, labels == 1, labels == 2], [0.5, 5.0, 6.0, 0.0], -1.0)
    image = 100 * image + np.random.default_rng(0).normal(0, 100, image.shape)
    assert "scar contrast" not in faults(replace(good.series, image=image.astype(np.float32)), labels)


def test_a_ventricle_cut_off_by_the_field_of_view(good):
    rows, columns = (slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero((good.labels > 0).any(axis=0)))
    for margin, expected in ((0, {"edge"}), (2, set())):
        window = slice(rows.start - margin, rows.stop + margin), slice(columns.start - margin, columns.stop + margin)
        series = LgeSeries(
            good.series.image[(slice(None), *window)], good.series.geometry.cropped(*window), good.series.reconstruction
        )
        assert faults(series, good.labels[(slice(None), *window)]) & {"edge"} == expected


def test_apex_and_base_beyond_the_stack(good):
    """Nine slices, apex first: without its apical half the stack ends wide; three slices are no whole ventricle."""
    g = good.series.geometry

    def part(first, last):
        geometry = StackGeometry(
            (last - first, *g.shape[1:]),
            g.pixel_spacing_mm,
            g.column_direction,
            g.row_direction,
            g.slice_origins_mm[first:last],
        )
        return " ".join(coverage_warnings(good.labels[first:last], geometry))

    assert part(0, 9) == ""
    assert SAID["apex"] in part(3, 9) and SAID["short"] not in part(3, 9)
    assert SAID["short"] in part(0, 5) and SAID["apex"] not in part(0, 5)


def test_a_slice_forgotten_between_outlined_ones(good):
    labels = good.labels.copy()
    labels[[0, -1]] = 0  # beyond the ends nothing need be outlined
    assert "forgotten" not in faults(good.series, labels)
    labels[[3, 5]] = 0
    assert "forgotten" in faults(good.series, labels)
    assert "in slices 4, 6, between" in " ".join(coverage_warnings(labels, good.series.geometry))


def test_scar_apart_from_the_ventricle(good):
    labels = good.labels.copy()
    labels[3, 2:6, 2:6] = 3
    report = quantify(good.series, labels)
    (warning,) = [w for w in report.quality.warnings if SAID["stray"] in w]
    assert "in slice 4" in warning and f"{16 * good.series.geometry.voxel_volumes_ml[3]:.1f} mL" in warning
    assert report.scar.volume_ml > quantify(good.series, good.labels).scar.volume_ml
    assert "outside the myocardium is counted as scar and as myocardium" in report.rules["scar"]
