"""One heart as vendors and archives deliver it: every variant comes back the same, or is refused for its own reason."""

import numpy as np
import pytest

from scarnet.conventions import scar_mask
from scarnet.errors import InputError
from scarnet.phantom.study import write_study
from scarnet.phantom.zoo import ZOO
from scarnet.series import read_lge

#: Of scar volume where every slice is there: geometry comes back to DICOM's decimals.
SCAR_RTOL = 1e-5
#: Where slices are missing or gaps unequal, against the whole heart: what half a slice's neighbours can be wrong by.
SCAR_RTOL_WITH_GAPS = 0.20


@pytest.mark.parametrize("variant", ZOO, ids=lambda v: v.name)
def test_every_variant_comes_back_or_is_refused_for_its_own_reason(variant, hearts, tmp_path):
    truth = write_study(variant, tmp_path / "study", hearts)
    if variant.refused:
        with pytest.raises(InputError, match=variant.refused) as error:
            read_lge(truth.path)
        assert "\n" not in str(error.value) and len(str(error.value)) < 400
        return
    series = read_lge(truth.path)
    assert series.image.shape == truth.series.image.shape
    assert np.array_equal(series.image, truth.series.image)
    assert series.geometry.matches(truth.series.geometry, tolerance_mm=1e-4)
    assert series.reconstruction == truth.series.reconstruction
    assert len(set(series.source.sop_instance_uids)) == (1 if variant.layout == "enhanced" else len(series.image))
    scar = scar_mask(truth.labels).sum(axis=(1, 2))
    measured = scar @ series.geometry.voxel_volumes_ml
    assert measured == pytest.approx(scar @ truth.series.geometry.voxel_volumes_ml, rel=SCAR_RTOL)
    whole = hearts["psir"]
    expected = scar_mask(whole.labels).sum(axis=(1, 2)) @ whole.series.geometry.voxel_volumes_ml
    changed = variant.missing or variant.distances or variant.lying_slice
    assert measured == pytest.approx(expected, rel=SCAR_RTOL_WITH_GAPS if changed else SCAR_RTOL)
    if variant.warned:
        assert any(variant.warned in warning for warning in series.warnings), series.warnings


def test_the_zoo_is_as_large_as_it_says():
    names = [variant.name for variant in ZOO]
    assert len(names) == len(set(names)) >= 40
    assert {variant.vendor.name for variant in ZOO if not variant.refused} == {"siemens", "ge", "philips", "canon"}
