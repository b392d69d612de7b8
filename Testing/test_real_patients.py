"""Real patients with expert labels. Skipped, loudly, where they are not.

The shipped model was trained on all of them: what is tested on it here is that it works, not how well. How well is in the table of
the cross-validation, by models that had not seen the patients they judge (`test_evaluation`).
"""

import numpy as np
import pytest

from conftest import DATA
from scarnet.conventions import dice, myocardium_mask, scar_mask
from scarnet.errors import InputError
from scarnet.evaluation.evaluate import evaluate_model
from scarnet.export import read_segmentation
from scarnet.network import find_model, read_card
from scarnet.quantification import quantify
from scarnet.quantification.frame import heart_frame
from scarnet.quantification.insertion import TO_INSERTION_DEG, find_insertion
from scarnet.quantification.regional import MINIMUM_CERTAINTY
from scarnet.segmentation import segment
from scarnet.segmentation.orientations import ORIENTATIONS, turn, turn_back
from scarnet.series import StackGeometry, read_lge
from scarnet.training.data import list_cases, read_case

pytestmark = pytest.mark.data

#: A patient with a small and faint infarct.
PATIENT = "Case_P031"


@pytest.fixture(scope="module")
def patient(emidec):
    (case,) = [case for case in list_cases(emidec) if case.name == PATIENT]
    series, truth = read_case(case)
    return series, truth, segment(series, device="cpu")


def test_a_patient_beside_the_expert(patient):
    _, truth, result = patient
    assert dice(myocardium_mask(result.labels), myocardium_mask(truth)) > 0.75
    # 3.6 mL of scar, 4.3 % of the LV: found, or said to be left out.
    assert (scar_mask(result.labels) & scar_mask(truth)).any() or any("left out" in text for text in result.warnings)


def test_a_large_infarct_beside_the_expert(emidec):
    (case,) = [case for case in list_cases(emidec) if case.name == "Case_P002"]
    series, truth = read_case(case)
    result = segment(series, device="cpu")
    assert dice(scar_mask(result.labels), scar_mask(truth)) > 0.7
    low, high = result.percent_lv_interval
    assert low < 100 * scar_mask(truth).sum() / myocardium_mask(truth).sum() < high


def test_the_experts_volumes_are_measured(emidec):
    """Case P100, whose true spacing is known: 18.7 mL of scar, MVO included, in 134 mL of myocardium."""
    series = read_lge(emidec / "Case_P100_image.nii.gz", spacing_mm=(1.4062, 1.4062, 13.0))
    labels, _ = read_segmentation(emidec / "Case_P100_labels.nii.gz", series)
    report = quantify(series, labels)
    assert report.scar.volume_ml == pytest.approx(18.7, abs=0.1) and "spacing" not in " ".join(series.warnings)
    assert report.lv.myocardium_volume_ml == pytest.approx(134, abs=1)


def test_labels_turn_with_a_real_image(patient):
    """Stored in any of the eight orientations, without the header saying so: nearly the same labels, turned.

    Not the very same: what a header says, or how a stack is stored, counts (`segmentation.views.TOLD_ODDS`).
    """
    from dataclasses import replace

    series, _, result = patient
    for view in ORIENTATIONS[1:]:
        image = np.ascontiguousarray(turn(series.image, *view))
        spacing = series.geometry.pixel_spacing_mm
        geometry = replace(
            series.geometry, shape=image.shape, pixel_spacing_mm=spacing if view[0] % 2 == 0 else spacing[::-1]
        )
        labels = segment(replace(series, image=image, geometry=geometry), device="cpu").labels
        again = turn_back(labels, *view)
        overlap = dice(myocardium_mask(again), myocardium_mask(result.labels))
        assert overlap > 0.93, (view, overlap)


def test_a_model_is_not_judged_on_patients_it_was_trained_on(emidec):
    assert set(read_card(find_model()).training["cases"]) == {case.name for case in list_cases(emidec)}
    with pytest.raises(InputError, match="was trained on"):
        evaluate_model(emidec, folds=[0], device="cpu")


@pytest.mark.slow
def test_the_right_ventricle_is_found_on_cine_hearts_that_have_it_drawn():
    """ACDC: the direction of the drawn right ventricle's contact with the septum against what the image alone gives."""
    from scipy import ndimage

    folder = DATA / "acdc"
    if not folder.is_dir():
        pytest.skip("REAL CINE HEARTS ARE NOT HERE (../shared/data/acdc): the RV insertion was not tested on them")
    errors, certainties = [], []
    for path in sorted(folder.glob("*.npz")):
        stored = np.load(path)
        drawn, image = stored["labels"], stored["image"].astype(np.float32)
        labels = np.select([drawn == 3, drawn == 2], [1, 2], 0).astype(np.uint8)
        origins = np.zeros((len(labels), 3))
        origins[:, 2] = 10.0 * np.arange(len(labels))
        frame = heart_frame(labels, StackGeometry(labels.shape, (1.5, 1.5), [1, 0, 0], [0, 1, 0], origins))
        direction = 0j
        for k in np.flatnonzero(frame.ring):
            contact = ndimage.binary_dilation(drawn[k] == 2, iterations=3) & (drawn[k] == 1)
            direction += np.exp(1j * np.radians(frame.angles_deg(k)[contact])).sum()
        if direction == 0:
            continue
        found = find_insertion(image, labels, frame, orientation_known=False)
        septum = found.angle_deg - TO_INSERTION_DEG
        errors.append(abs((septum - np.degrees(np.angle(direction)) + 180) % 360 - 180))
        certainties.append(found.certainty)
    errors, certainties = np.array(errors), np.array(certainties)
    sure = certainties >= MINIMUM_CERTAINTY
    print(
        f"{len(errors)} hearts: median {np.median(errors):.1f} degrees, 90th percentile {np.percentile(errors, 90):.1f}, "
        f"{(errors > 30).sum()} above 30; announced as doubtful {(~sure).sum()}, of the rest {(errors[sure] > 30).sum()} above 30"
    )
    assert len(errors) > 190 and np.median(errors) < 10
    assert (errors[sure] > 30).mean() < 0.05


@pytest.mark.parametrize("name", ["Case_P090", "Case_N048"])
def test_steep_shading_is_taken_away_before_the_network_looks(emidec, monkeypatch, name):
    """The same patient without it, with it, and with it left in: what is outlined must follow the heart, not the coil."""
    from scarnet.evaluation.stress import CHANGES

    (case,) = [case for case in list_cases(emidec) if case.name == name]
    series, truth = read_case(case)
    shaded, _ = CHANGES["steep coil shading"]((series, truth))
    plain, corrected = (segment(s, device="cpu") for s in (series, shaded))
    assert not any(plain.parameters["shading_removed_log_gain_per_mm"])
    assert any("times as bright on one side" in warning for warning in corrected.warnings)
    monkeypatch.setitem(segment.__globals__, "is_steep", lambda slope: False)
    left_in = segment(shaded, device="cpu")
    for mask in (myocardium_mask, scar_mask):
        with_shading, without = (dice(mask(result.labels), mask(plain.labels)) for result in (left_in, corrected))
        assert without >= with_shading and without > 0.85
