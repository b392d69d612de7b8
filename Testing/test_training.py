"""Training: by patient, repeatable, resumable, and nothing resampled that must not be."""

import csv
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

torch = pytest.importorskip("torch", reason="PyTorch is not installed: training was not tested")
pytest.importorskip("lightning", reason="Lightning is not installed: training was not tested")

from scarnet.conventions import Label  # noqa: E402
from scarnet.errors import InputError, UsageError  # noqa: E402
from scarnet.evaluation.evaluate import evaluate_model, summarise  # noqa: E402
from scarnet.network import read_card, verify  # noqa: E402
from scarnet.network.config import preset  # noqa: E402
from scarnet.phantom import HeartParameters, PhantomParameters, simulate  # noqa: E402
from scarnet.training.apex import SHRUNK, apical_slices, with_closed_cavity  # noqa: E402
from scarnet.training.augment import OUTSIDE, Strength, _noise, _orientation, other_intensities, placed  # noqa: E402
from scarnet.training.beyond import apex_and_base, past_apex, past_base, slices_beyond  # noqa: E402
from scarnet.training.data import list_cases, list_cine, prepare, resample_labels  # noqa: E402
from scarnet.training.grafts import graft_of, with_graft  # noqa: E402
from scarnet.training.loop import RunParameters  # noqa: E402
from scarnet.training.losses import LOSSES  # noqa: E402
from scarnet.training.recipe import Recipe, Workshop  # noqa: E402
from scarnet.training.samples import LgeSlices, NumberedSampler, WholeSlices  # noqa: E402
from scarnet.training.synthetic import wall_of, with_fainter_scar, with_synthetic_scar  # noqa: E402
from scarnet.training.train import changed, strength_at, train_finder, train_scarnet  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four simulated patients in two folds, laid out as the real ones."""
    folder = tmp_path_factory.mktemp("patients")
    rows = []
    for n in range(4):
        phantom = simulate(
            PhantomParameters(heart=HeartParameters(), size=96, pixel_mm=2.5, slices=5, gap_mm=8.0), seed=n
        )
        name = f"Case_{'PN'[n % 2]}{n:03d}"
        for array, suffix in ((phantom.series.image, "image"), (phantom.labels, "labels")):
            image = sitk.GetImageFromArray(array)
            affine = phantom.series.geometry.affine_lps
            spacing = np.linalg.norm(affine[:3, :3], axis=0)
            image.SetSpacing(spacing.tolist())
            image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
            sitk.WriteImage(image, str(folder / f"{name}_{suffix}.nii.gz"))
        rows.append({"case": name, "fold": n % 2})
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["case", "fold"])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def parameters(epochs=2, **options):
    return RunParameters(epochs=epochs, samples_per_epoch=16, batch_size=4, accelerator="cpu", **options)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "m"
    return train_scarnet(
        data, folder, name="m", preset_name="tiny", folds=[1], run_parameters=parameters(), progress=False
    )


def test_a_run_leaves_a_whole_model_folder_and_nothing_else(trained):
    assert sorted(p.name for p in trained.iterdir()) == ["model.json", "network.onnx", "weights.safetensors"]
    card = verify(trained)
    assert card.training["cases"] == ["Case_N001", "Case_N003"] and card.training["folds"] == [1]
    assert card.preset == "tiny" and card.input["side"] == 80


def test_a_model_is_never_evaluated_on_its_own_patients(trained, data):
    with pytest.raises((UsageError, InputError), match="trained on"):
        evaluate_model(data, model=str(trained), folds=[1], device="cpu")
    rows = evaluate_model(data, model=str(trained), folds=[0], device="cpu").cases
    assert [row["case"] for row in rows] == ["Case_P000", "Case_P002"]
    assert json.dumps(summarise(rows), allow_nan=False)


def test_samples_are_the_same_for_the_same_number_and_seed(data):
    hearts = [prepare(case, 1.5) for case in list_cases(data)]

    def make(seed):
        return LgeSlices(hearts, side=48, in_slices=3, pixel_mm=1.5, num_classes=5, seed=seed)

    a, b, c = make(1), make(1), make(2)
    for number in (0, 7, 123456):
        (image, target), (image_2, target_2), (other, _) = a[number], b[number], c[number]
        assert torch.equal(image, image_2) and torch.equal(target, target_2)
        assert not torch.equal(image, other)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    a[3]
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002  # whoever else draws is left alone


def test_turns_of_training_keep_to_what_they_were_told():
    def drawn(strength):
        return np.array([_orientation(np.random.default_rng(n), strength) for n in range(3000)]).T

    angle, mirror = drawn(Strength())
    assert (mirror < 0).mean() == pytest.approx(0.5, abs=0.05)
    assert np.histogram(angle, 4, (0, 2 * np.pi))[0] / 3000 == pytest.approx(0.25 * np.ones(4), abs=0.05)
    angle, mirror = drawn(Strength(turn_degrees=20.0, any_turn_share=0.1))
    turned = np.abs(np.rad2deg((angle + np.pi) % (2 * np.pi) - np.pi))
    assert (mirror < 0).mean() == pytest.approx(0.05, abs=0.02)  # half of a tenth
    assert (turned < 20).mean() == pytest.approx(0.9 * 0.683 + 0.1 * 20 / 180, abs=0.04)
    assert drawn(Strength(turn_degrees=5.0, any_turn_share=0.0))[0].std() == pytest.approx(np.deg2rad(5), rel=0.1)


def test_the_finder_meets_small_and_padded_fields_that_hold_the_whole_ventricle(data):
    hearts = [prepare(case, 4.0) for case in list_cases(data)]
    always, never = WholeSlices(hearts, pixel_mm=4.0, seed=1), WholeSlices(hearts, pixel_mm=4.0, seed=1)
    always.SMALL_FIELD_SHARE, never.SMALL_FIELD_SHARE = 1.0, 0.0
    smaller = padded = 0
    for n in range(40):
        whole_planes, whole, _ = never.draw(np.random.default_rng(n))
        planes, labels, _ = always.draw(np.random.default_rng(n))
        for value in (Label.BLOOD_POOL, Label.MYOCARDIUM, Label.SCAR):
            assert np.array_equal(labels == value, whole == value)
        smaller += (labels == OUTSIDE).sum() > (whole == OUTSIDE).sum()
        padded += not np.array_equal(planes, whole_planes)
    assert smaller > 15 and padded > 5 and smaller + padded > 35


@pytest.mark.parametrize("name", ["noise", "field"])
def test_noise_and_shading_reach_what_was_told_and_are_mostly_less(name):
    """Amplitudes are drawn as the square of an even number: a third of the largest on average."""
    none = {f"{kind}_share": 0.0 for kind in ("noise", "field", "gamma", "blur", "coarse", "blood")}
    strength = Strength(**(none | {f"{name}_share": 1.0, name: 1.0}))
    generators = [np.random.default_rng(n) for n in range(400)]
    ramp = torch.linspace(0, 1, 32).expand(400, 1, 32, 32).contiguous()
    changed = other_intensities(ramp, torch.zeros(400, OUTSIDE + 1, 32, 32), generators, strength)
    if name == "noise":  # the values are brought to 0 to 1 afterwards: undo by what is known of the picture
        down = (changed[..., :, 1:-1] * 2 - changed[..., :, :-2] - changed[..., :, 2:]).std((1, 2, 3))
        step = (changed[..., 8:].mean((1, 2, 3)) - changed[..., :-8].mean((1, 2, 3))).clamp(min=1e-6)
        amplitude = down / step * (8 / 31) / np.sqrt(6)
    else:
        gain = (changed[..., 1:] / ramp[..., 1:]).log()
        amplitude = gain.amax((1, 2, 3)) - gain.amin((1, 2, 3))
    assert amplitude.max() == pytest.approx(1.0, rel=0.35)
    assert amplitude.mean() / amplitude.max() == pytest.approx(1 / 3, abs=0.1)


def test_a_scanner_does_the_same_however_finely_its_images_are_resampled():
    """Noise is independent at the scanner's pixel: in mm it reaches as far at 0.9 mm as at 1.5 mm, and is as strong."""

    def spread_over_7_mm(pixel_mm):
        rng, side = np.random.default_rng(0), 16 * round(7.2 / pixel_mm)
        noise = np.stack([_noise(rng, 1, side, strength_at(pixel_mm, None)) for _ in range(40)])
        assert noise.std() == pytest.approx(1.0, abs=0.03)
        return noise.reshape(-1, 16, side // 16, 16, side // 16).mean((2, 4)).std()

    white = 0.9 / 7.2
    assert (
        spread_over_7_mm(0.9) == pytest.approx(spread_over_7_mm(1.2), rel=0.15) and spread_over_7_mm(0.9) > 1.4 * white
    )
    assert spread_over_7_mm(2.4) == pytest.approx(2.4 / 7.2, rel=0.1)  # a coarser crop: white
    coarse, fine = strength_at(1.5, 20.0), strength_at(0.75, 20.0)
    for name in ("bend_pixels", "blur_pixels", "coarse_pixels", "grain_pixels"):
        assert np.array(getattr(fine, name)) == pytest.approx(2 * np.array(getattr(coarse, name))), name
    assert strength_at(1.5, None, noise=0.5).noise == 0.5 and strength_at(4.0, None).grain_pixels == 1


def test_the_same_heart_is_met_however_its_file_stores_it(data, tmp_path):
    """Files that know their orientation: training sees patient axes, with unequal pixels too."""
    from dataclasses import replace as changed

    (case, *_) = list_cases(data)
    image, labels = sitk.ReadImage(str(case.image)), sitk.ReadImage(str(case.labels))
    size = (image.GetSize()[0], image.GetSize()[1] - 20, image.GetSize()[2])
    expected = prepare(_written(tmp_path / "plain", case, image, labels, size), 1.5)
    for axes, flips in (
        ((1, 0, 2), (False, False, False)),
        ((0, 1, 2), (True, False, False)),
        ((1, 0, 2), (False, True, False)),
    ):

        def turn(volume, axes=axes, flips=flips):
            return sitk.Flip(sitk.PermuteAxes(volume, axes), flips, False)

        folder = tmp_path / f"{axes[0]}{flips}"
        turned = _written(folder, case, image, labels, size, turn)
        assert np.abs(prepare(turned, 1.5).image - expected.image).max() < 1e-3 * np.ptp(expected.image)
        assert np.array_equal(prepare(changed(turned, name="again"), 1.5).labels, expected.labels)


def _written(folder, case, image, labels, size, turn=lambda volume: volume):
    from dataclasses import replace as changed

    folder.mkdir()
    for name, volume in (("i", image), ("l", labels)):
        sitk.WriteImage(turn(sitk.RegionOfInterest(volume, size, (0, 10, 0))), str(folder / f"{name}.nii.gz"))
    return changed(case, image=folder / "i.nii.gz", labels=folder / "l.nii.gz")


def test_targets_are_shares_of_the_classes_after_augmentation(data):
    hearts = [prepare(case, 1.5) for case in list_cases(data)]
    samples = LgeSlices(hearts, side=48, in_slices=3, pixel_mm=1.5, num_classes=5, seed=0)
    seen = torch.zeros(5)
    for number in range(40):
        image, target = samples[number]
        assert image.shape == (3, 48, 48) and target.shape == (5, 48, 48) and torch.isfinite(image).all()
        assert (target >= 0).all() and torch.allclose(target.sum(0), torch.ones(48, 48), atol=1e-5)
        seen = torch.maximum(seen, target.amax((1, 2)))
    assert (seen[:4] > 0.99).all()


def test_contours_between_pixels_stay_where_they_are():
    """A wall of 2.5 pixels of which half is scar, beside blood, turned by chance: shares keep its area, whole pixels would not."""
    labels = np.zeros((1, 96, 96), np.uint8)
    labels[0, 30:60, 30:60], labels[0, 40:50, 42:43], labels[0, 40:50, 43:44] = 1, 2, 3
    window = labels[:, None].astype(np.float32)
    none = {f"{kind}_share": 0.0 for kind in ("bend", "any_turn")}
    strength = Strength(turn_degrees=20.0, log_scale=(0.0, 0.0), log_stretch=0.0, **none)
    areas = []
    for n in range(50):
        _, shares = placed(window, labels, np.full((1, 2), 0.1), 64, [np.random.default_rng(n)], strength)
        areas.append([float(shares[0, 2:4].sum()), float(shares[0, 1].sum())])
    areas = np.array(areas)
    assert areas[:, 0] == pytest.approx(20, rel=0.06) and areas.mean(0) == pytest.approx([20, 880], rel=0.01)


def test_half_healthy_half_scarred_muscle_is_not_lost_to_the_blood_beside_it():
    labels = np.array([[1, 1, 2, 3, 1, 1]] * 6)
    coarse = np.array([[0, 0.38, 0.32, 0.30, 0, 0]])  # a pixel over blood, healthy muscle and scar
    assert resample_labels(labels, np.full((1, 6), 1 / 6), coarse).item() == Label.MYOCARDIUM


def test_drawn_infarcts_lie_in_muscle_from_the_endocardium_outwards(data):
    heart = prepare(list_cases(data)[0], 1.5)
    rng, k = np.random.default_rng(0), 2
    labels = [np.minimum(plane, 2) for plane in heart.labels[k - 1 : k + 2]]
    walls = [wall_of(plane) for plane in labels]
    planes = np.stack([100.0 * (plane == 1) + 10.0 * (plane == 2) for plane in labels])
    seen = set()
    for _ in range(40):
        image, target = with_synthetic_scar(planes, labels, walls, rng)
        scar = target >= 3
        assert scar.any() and not (scar & (labels[1] != 2)).any()
        assert np.array_equal(target[~scar], labels[1][~scar])
        assert walls[1].depth[scar].min() < 0.2
        bright = target == 3
        assert image[1][bright].mean() > planes[1][bright].mean() + 15
        if (target == 4).sum() > 5:
            assert image[1][target == 4].mean() < image[1][bright].mean()
        seen |= set(np.unique(target).tolist())
    assert seen == {0, 1, 2, 3, 4} and np.array_equal(labels[1], np.minimum(heart.labels[k], 2))
    nothing = np.zeros_like(labels[1])
    assert wall_of(nothing) is None
    untouched, target = with_synthetic_scar(planes, [nothing] * 3, [None] * 3, rng)
    assert untouched is planes and not target.any()


def test_an_infarct_is_carried_into_the_muscle_of_another_heart(data):
    """From a thin wall into a thick one at another contrast: as much of the wall, as bright against its blood, dark cores kept."""
    donor, receiver = (_ring(30, 50, inner, outer) for inner, outer in ((10, 16), (8, 20)))
    wall = wall_of(donor)
    infarct = (donor == 2) & (np.abs(wall.angle) < 0.8) & (wall.depth < 0.7)
    donor = np.where(infarct & (np.abs(wall.angle) < 0.4) & (wall.depth < 0.4), 4, np.where(infarct, 3, donor))
    light = np.random.default_rng(0).normal(0, 0.02, donor.shape) + np.array([0.0, 1.0, 0.0, 1.2, 0.1])[donor]
    graft = graft_of(np.stack([light] * 3), [np.minimum(donor, 2), donor, np.minimum(donor, 2)], [wall] * 3)
    planes = np.stack([50.0 * (receiver == 1) + 10.0] * 3)
    others = [receiver] * 3
    for n in range(10):
        image, target = with_graft(planes, others, [wall_of(receiver)] * 3, graft, np.random.default_rng(n))
        scar = target >= 3
        assert (receiver[scar] == 2).all() and np.array_equal(target[~scar], receiver[~scar])
        assert scar.sum() / (receiver == 2).sum() == pytest.approx(infarct.sum() / (donor >= 2).sum(), rel=0.2)
        assert np.array_equal(image[[0, 2]], planes[[0, 2]])  # the neighbours had none
        inside = ndimage.binary_erosion(target == 3, iterations=2)
        assert image[1][inside].mean() == pytest.approx(10 + 1.2 * 50, rel=0.06)
        assert image[1][ndimage.binary_erosion(target == 4)].mean() < 30
        far = ndimage.distance_transform_edt(~scar) > 4
        assert np.array_equal(image[1][far], planes[1][far])
    assert graft_of(planes, others, [wall_of(receiver)] * 3) is None  # nothing to carry
    flat = np.full_like(planes, 10.0)  # no contrast to state brightness in
    assert with_graft(flat, others, [wall_of(receiver)] * 3, graft, np.random.default_rng(0))[0] is flat


def _ring(row, column, inner, outer):
    away = np.hypot(*(np.indices((80, 80)) - np.array([row, column])[:, None, None]))
    return np.where(away < inner, 1, np.where(away < outer, 2, 0))


def test_samples_are_given_infarcts_of_the_patients_they_are_made_of(data):
    hearts = [prepare(case, 1.5) for case in list_cases(data)]
    healthy = [replace(heart, labels=np.minimum(heart.labels, Label.MYOCARDIUM)) for heart in hearts[1:]]

    def share(chosen, synthetic):
        free = LgeSlices(chosen, side=48, in_slices=3, pixel_mm=1.5, num_classes=5, seed=0, synthetic=synthetic)
        return len(free.grafts), np.mean([bool((free[n][1][3:] > 0.5).any()) for n in range(80)])

    grafts, scarred = share([hearts[0], *healthy], True)
    assert grafts and scarred > share([hearts[0], *healthy], False)[1] + 0.1
    assert share(healthy, True)[0] == 0


def test_a_closed_apex_is_muscle_where_its_cavity_was(data):
    """Filled and smaller, its scar kept, the slice towards the base as before; a slice with a large cavity is not apical."""
    apex, next_to_it = _ring(38, 41, 6, 14), _ring(38, 41, 14, 22)
    apex = np.where((apex == 2) & (np.indices(apex.shape)[0] > 44), 3, apex)
    assert apical_slices(np.stack([apex, next_to_it, next_to_it, apex * 0])) == [0]
    levels = np.array([80.0, 100.0, 10.0, 120.0])
    planes = np.stack([levels[apex], levels[apex], levels[next_to_it]])
    for n in range(10):
        moved, target = with_closed_cavity(planes, [apex, apex, next_to_it], np.random.default_rng(n))
        assert set(np.unique(target)) == {0, 2, 3} and np.array_equal(moved[2], planes[2])
        size = np.sqrt((target > 0).sum() / (apex > 0).sum())
        assert SHRUNK[0] - 0.03 < size < SHRUNK[1] + 0.03
        assert (target == 3).sum() / (apex == 3).sum() == pytest.approx(size**2, rel=0.15)
        inner = ndimage.binary_erosion(target == 2, iterations=2)
        assert moved[1][inner].mean() == pytest.approx(10, abs=3) and np.array_equal(moved[0], moved[1])
        assert np.argwhere(target > 0).mean(axis=0) == pytest.approx([38, 41], abs=0.6)
    assert with_closed_cavity(planes, [apex * 0] * 3, np.random.default_rng(0))[0] is planes


def test_samples_without_a_cavity_are_drawn_of_apical_slices_alone(data):
    heart = prepare(list_cases(data)[0], 1.5)
    apical = replace(heart, labels=np.stack([heart.labels[2], _small(heart.labels[2])]), image=heart.image[[2, 2]])

    def closed(chosen, synthetic):
        samples = LgeSlices([chosen], side=48, in_slices=3, pixel_mm=1.5, num_classes=5, seed=0, synthetic=synthetic)
        shares = np.array([samples[n][1].sum((1, 2)).numpy() for n in range(200)])
        return np.mean((shares[:, 1] < 1) & (shares[:, 2:].sum(1) > 20))

    at_random = 0.03  # crops beside the heart
    assert at_random + 0.04 < closed(apical, True) < 0.25 and closed(apical, False) < at_random
    assert closed(replace(heart, labels=heart.labels[[2]], image=heart.image[[2]]), True) < at_random


def test_cine_patients_are_split_by_their_number(tmp_path):
    for n, frame in ((1, 1), (1, 12), (5, 1), (7, 9), (10, 1)):
        np.savez(
            tmp_path / f"patient{n:03d}_frame{frame:02d}.npz", image=np.ones((2, 9, 9)), labels=np.zeros((2, 9, 9), int)
        )
    assert [file.stem for file in list_cine(tmp_path, [1])] == ["patient001_frame01", "patient001_frame12"]
    assert [file.stem[:10] for file in list_cine(tmp_path, [0, 2])] == ["patient005", "patient007", "patient010"]
    assert len(list_cine(tmp_path)) == 5
    with pytest.raises(InputError, match="folds"):
        list_cine(tmp_path, [4])
    np.savez(tmp_path / "heart.npz", image=np.ones((2, 9, 9)), labels=np.zeros((2, 9, 9), int))
    assert [file.stem for file in list_cine(tmp_path, [4])] == ["heart"]  # of nobody in particular


def test_slices_beyond_are_those_without_a_ventricle_next_to_its_ends():
    ring, smaller, nothing = _ring(40, 40, 12, 20), _ring(40, 40, 6, 12), np.zeros((80, 80), int)
    stack = np.stack([nothing, nothing, nothing, ring, nothing, smaller, nothing])
    assert slices_beyond(stack) == [1, 2, 6] and slices_beyond(stack * 0) == []
    assert apex_and_base(np.stack([ring, ring, smaller])) == (2, 0)
    assert apex_and_base(np.stack([smaller, ring, ring, nothing])) == (0, 2)
    assert apex_and_base(np.stack([ring, smaller])) is None


def test_what_lies_beyond_apex_and_base_holds_no_muscle_that_is_not_labelled():
    """Muscle is 10, blood 100, all about it 60: moved with its labels, or opened but for a thin wall and a crescent."""
    ring = _ring(40, 40, 10, 16)
    plane = np.array([60.0, 100.0, 10.0])[ring]
    for n in range(20):
        moved, labels = past_apex(plane, ring, np.random.default_rng(n))
        inside = labels != OUTSIDE
        assert np.array_equal(moved[inside], np.array([60.0, 100.0, 10.0])[labels[inside]])
        assert not (labels[34:47, 34:47] == 1).any()  # the ventricle is no longer in the middle
        opened, labels = past_base(plane, ring, np.random.default_rng(n))
        assert not labels.any() and np.array_equal(opened[ring == 0][:50], plane[ring == 0][:50])
        assert (opened[ring == 1] > 90).all()
        assert (opened[ring == 2] < 40).mean() < 0.72
    assert past_base(plane, np.where(ring == 0, OUTSIDE, ring), np.random.default_rng(0))[1].max() == OUTSIDE


def test_samples_beyond_the_ventricle_are_drawn_as_often_as_asked_and_hold_none(data):
    heart = prepare(list_cases(data)[0], 1.5)
    longer = replace(heart, name="cine", labels=heart.labels * np.array([1, 1, 1, 0, 0], np.uint8)[:, None, None])

    def empty(share, cine=()):
        samples = LgeSlices(
            [heart],
            side=48,
            in_slices=3,
            pixel_mm=1.5,
            num_classes=5,
            seed=0,
            cine=cine,
            synthetic=True,
            beyond_share=share,
        )
        targets = torch.stack([samples[n][1] for n in range(200)])
        return float((targets[:, 2:].sum((1, 2, 3)) < 1).float().mean())

    assert empty(0.0) < 0.1
    assert empty(1.0, [longer]) > 0.75  # what is moved stays in sight at times
    assert 0.1 < empty(0.3, [longer]) < 0.45


def _small(labels):
    """The ring with most of its cavity turned to muscle."""
    return np.where((labels == 1) & ~ndimage.binary_erosion(labels == 1, iterations=6), 2, labels)


def test_fainter_scar_stays_above_its_muscle(data):
    heart = prepare(list_cases(data)[0], 1.5)
    label = heart.labels[2]
    assert (label == 3).sum() > 20
    planes = np.stack([np.where(label == 3, 80.0, 10.0)] * 3)
    fainter = with_fainter_scar(planes, [label] * 3, np.random.default_rng(1))
    before, after = planes[1][label == 3].mean(), fainter[1][label == 3].mean()
    assert 10 + 0.25 * 70 < after < before and np.array_equal(planes[1], np.where(label == 3, 80.0, 10.0))


def test_a_finer_pixel_shows_the_same_heart_larger_and_the_card_says_so(data, tmp_path, monkeypatch):
    import scarnet.training.train as training

    run, areas = training.run, {}
    for pixel_mm in (1.0, 2.0):

        def looked_at(module, samples, *rest, pixel_mm=pixel_mm, **options):
            ventricles = [samples[n][1][1:].sum() for n in range(40)]  # shares of all classes but the background
            areas[pixel_mm] = np.mean([float(area) for area in ventricles if area > 0])
            return run(module, samples, *rest, **options)

        monkeypatch.setattr(training, "run", looked_at)
        folder = train_scarnet(
            data,
            tmp_path / f"{pixel_mm}",
            name="m",
            preset_name="tiny",
            changes={"pixel_mm": pixel_mm, "input_size": 96},
            run_parameters=parameters(epochs=1),
            with_onnx=False,
            progress=False,
        )
        card = read_card(folder)
        assert card.input["pixel_mm"] == pixel_mm and card.input["side"] == 96
    assert areas[1.0] / areas[2.0] == pytest.approx(4, rel=0.25)  # of 96 mm, which holds these hearts, and of 192


@pytest.fixture(scope="module")
def cine(tmp_path_factory):
    """Cine anatomy as ACDC's is given: 1 RV, 2 myocardium, 3 cavity."""
    folder = tmp_path_factory.mktemp("cine")
    phantom = simulate(PhantomParameters(heart=HeartParameters(), size=96, pixel_mm=2.5, slices=5, gap_mm=8.0), seed=9)
    labels = np.array([0, 3, 2, 2, 2], np.uint8)[phantom.labels]
    np.savez(folder / "heart.npz", image=phantom.series.image, labels=labels)
    return folder


def test_the_recipe_walks_from_cine_hearts_over_coarse_pixels_to_fine_ones(data, cine, tmp_path):
    """All of it, small: what each network went on from, was shown and knew, and nothing made twice."""
    run = parameters(epochs=1)
    patients = {name: replace(meeting, run=run) for name, meeting in Recipe().patients.items()}
    recipe = replace(Recipe(), preset="tiny", start=run, patients=patients, finder_start=run, finder=run)
    workshop = Workshop(recipe, data, cine, tmp_path / "models", licence="L", citation="C", progress=False)
    model, finder = workshop.without_fold(0, [0, 1])
    final = workshop.segmenter(None, tmp_path / "final" / "it", name="it", version="7")
    made = {folder.name for folder in (tmp_path / "models").iterdir()}
    earlier = ("beyond", "varied", "noisier", "finer", "coarse")
    assert made == {
        *("start", "without-fold-0", "finder-start", "finder-without-fold-0"),
        *(f"{meeting}-{name}" for meeting in earlier for name in ("without-fold-0", "it")),
    }
    card, last = read_card(model), read_card(final)
    with_onnx = {folder for folder in tmp_path.rglob("*") if (folder / "network.onnx").is_file()}
    assert with_onnx == {model, finder, final}  # the others are only gone on from
    assert (
        card.training["folds"] == [1] and last.training["folds"] == "all" and (last.name, last.version) == ("it", "7")
    )
    for made, name in ((card, "without-fold-0"), (last, "it")):
        runs = [made.training]
        for meeting in earlier:
            before = runs[-1]["started_from"]
            assert before["name"] == f"{meeting}-{name}"
            runs.append(before["training"])
            assert runs[-1]["cases"] == made.training["cases"]  # no patient of the fold in any
        assert runs[-1]["started_from"]["name"] == "start"
        assert made.input["pixel_mm"] == runs[0]["changes"]["pixel_mm"] == 0.9 and made.input["side"] == 96
        assert [run["beyond_share"] > 0 for run in runs] == [True, True, False, False, False, False]
        assert [run["varied"] for run in runs] == [True, True, True, False, False, False]
        assert [run["noise"] > 0.4 for run in runs] == [True, True, True, True, False, False]
        assert [run["mean_with_start"] for run in runs] == [True, False, False, False, False, False]
        assert min(run["graft_share"] for run in runs[:-1]) < runs[-1]["graft_share"]
        assert made.licence == "L" and made.citation == "C"
    assert read_card(tmp_path / "models" / "start").training["cases"] == []
    assert read_card(finder).training["folds"] == [1]
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert workshop.without_fold(0, [0, 1]) == (model, finder)
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}


def test_the_mean_with_the_start_lies_half_way(data, tmp_path, trained):
    from safetensors.torch import load_file

    def weights(folder):
        return load_file(folder / "weights.safetensors")

    common = dict(name="m", preset_name="tiny", folds=[1], run_parameters=parameters(), start=trained)
    common |= dict(with_onnx=False, progress=False)
    there = train_scarnet(data, tmp_path / "there", **common)
    half = train_scarnet(data, tmp_path / "half", mean_with_start=True, **common)
    start, end, middle = weights(trained), weights(there), weights(half)
    names = [name for name, value in end.items() if value.ndim == 1 and not torch.equal(value, start[name])]
    assert names  # small tensors are stored as they are
    for name in names:
        assert torch.allclose(middle[name].float(), (start[name].float() + end[name].float()) / 2, atol=2e-3), name
    with pytest.raises(UsageError, match="go on from"):
        train_scarnet(data, tmp_path / "none", mean_with_start=True, **(common | {"start": None}))


@pytest.mark.parametrize("pixel_mm", [0, -1.0, "1.0", float("nan")])
def test_an_impossible_pixel_is_named(pixel_mm):
    with pytest.raises(UsageError, match="pixel_mm is the pixel"):
        changed(preset("tiny"), {"pixel_mm": pixel_mm})


@pytest.mark.parametrize("side", [0, 90, 96.0])
def test_an_impossible_size_of_the_crop_is_named(side):
    assert changed(preset("small"), {"input_size": 96}).input_size == 96
    with pytest.raises(UsageError, match="a multiple of 16; got"):
        changed(preset("small"), {"input_size": side})


def test_a_run_can_go_on_from_a_model_and_says_so(data, trained, tmp_path):
    folder = train_scarnet(
        data,
        tmp_path / "m",
        name="m",
        preset_name="tiny",
        folds=[1],
        start=trained,
        synthetic=True,
        run_parameters=parameters(epochs=1, learning_rate=0.0),
        with_onnx=False,
        progress=False,
    )
    card = verify(folder)
    assert card.training["started_from"]["sha256"] == read_card(trained).sha256 and card.training["synthetic_scar"]
    from safetensors.numpy import load_file

    a, b = (load_file(f / "weights.safetensors") for f in (trained, folder))
    parts = [key for key in a if "running" not in key]  # without learning only the batch statistics move
    assert all(np.array_equal(a[key], b[key]) for key in parts)


def test_epochs_draw_new_samples_and_a_resumed_epoch_draws_the_same():
    sampler = NumberedSampler(5)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    again = NumberedSampler(5)
    again.set_epoch(1)
    assert not set(first) & set(second) and list(again) == second


def shares_of(labels):
    return torch.nn.functional.one_hot(labels, 5).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_fall_towards_the_truth_and_are_finite_for_empty_slices(name):
    loss = LOSSES[name]
    target = torch.zeros(2, 16, 16, dtype=torch.long)
    target[0, 4:12, 4:12], target[0, 6:10, 6:10], target[0, 4:6, 4:8] = 2, 1, 3
    right = shares_of(target)
    values = [float(loss(scale * right, right)) for scale in (-4.0, 0.0, 2.0, 4.0)]
    assert values == sorted(values, reverse=True) and np.isfinite(values).all()
    logits = torch.zeros(1, 5, 16, 16, requires_grad=True)
    loss(logits, shares_of(torch.zeros(1, 16, 16, dtype=torch.long))).backward()
    assert torch.isfinite(logits.grad).all()


def test_losses_are_what_their_formulas_say():
    """Sure and wrong in places, so that overlaps are counts: 6 pixels of scar (class 3) drawn, 8 wanted, 4 in both."""
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    drawn = labels.clone()
    labels[0, 0, :8], drawn[0, 0, :4], drawn[0, 1, :2] = 3, 3, 3
    logits, labels = 40.0 * shares_of(drawn), shares_of(labels)
    hit, false, missed, size = 4, 2, 4, 64
    background = size - hit - false - missed

    def tversky(hit, false, missed):
        return 1 - (hit + 1) / (hit + 0.7 * false + 0.3 * missed + 1)

    def dice(hit, false, missed):
        return 1 - (2 * hit + 1) / (2 * hit + false + missed + 1)

    # The three classes that neither holds are right. What scar draws too much, background misses.
    both = [(hit, false, missed), (background, missed, false)]
    entropy = 40 * (0.1 * false + 0.3 * missed) / (0.1 * (size - 8) + 0.3 * 8)  # weighted mean over pixels
    paper = 0.5 * sum(tversky(*c) for c in both) / 5 + 0.4 * sum(dice(*c) for c in both) / 5 + 0.1 * entropy
    assert float(LOSSES["paper"](logits, labels)) == pytest.approx(paper, rel=1e-4)
    # LV, myocardium and scar are the same pixels here; no MVO. Labels are smoothed by 0.02 over five classes.
    smoothed = 40 * (0.98 * (false + missed) / size + 0.02 * 4 / 5)
    regions = 3 * dice(hit, false, missed) / 4 + smoothed
    assert float(LOSSES["regions"](logits, labels)) == pytest.approx(regions, rel=1e-4)


def weights(folder):
    return read_card(folder).files["weights.safetensors"]


def command(data, output):
    code = (
        "import sys; from pathlib import Path\n"
        "from scarnet.training.loop import RunParameters\n"
        "from scarnet.training.train import train_scarnet\n"
        "train_scarnet(Path(sys.argv[1]), Path(sys.argv[2]), name='m', preset_name='tiny', folds=[1], progress=False,\n"
        "    run_parameters=RunParameters(epochs=6, samples_per_epoch=32, batch_size=4, accelerator='cpu'))\n"
    )
    return [sys.executable, "-c", code, str(data), str(output)]


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_very_same_weights(data, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(data, whole), check=True, capture_output=True)
    process = subprocess.Popen(command(data, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics = killed / "run" / "metrics.csv"
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= 4):
        time.sleep(0.02)
        assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "model.json").exists()
    subprocess.run(command(data, killed), check=True, capture_output=True)
    assert weights(killed) == weights(whole)


def test_the_same_seed_gives_the_same_weights(data, trained, tmp_path):
    common = dict(name="m", preset_name="tiny", folds=[1], with_onnx=False, progress=False)
    again = train_scarnet(data, tmp_path / "m", run_parameters=parameters(), **common)
    other = train_scarnet(data, tmp_path / "n", run_parameters=parameters(seed=2), **common)
    assert weights(again) == weights(trained) != weights(other)


def test_muon_moves_matrices_alike_in_every_direction_and_leaves_heads_to_adamw(data, tmp_path):
    from scarnet.network.config import preset
    from scarnet.training.module import ScarNetTraining

    module = ScarNetTraining(preset("tiny"), "regions", learning_rate=0.02, total_steps=100, optimizer="muon")
    optimizer = module.configure_optimizers()["optimizer"]
    names = {parameter: name for name, parameter in module.named_parameters()}
    orthogonal, rest = ([names[p] for p in group["params"]] for group in optimizer.param_groups)
    assert len(orthogonal) + len(rest) == len(names) and all(names[p] for p in names)
    assert not any("head" in name or "pos" in name or name.endswith("bias") for name in orthogonal)
    assert any("encoder.blocks.0.mlp" in name for name in orthogonal) and any(
        "unet_branch.down" in n for n in orthogonal
    )
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    optimizer.param_groups[0]["lr"] = 0.02  # past the warm-up
    for p in names:
        p.grad = torch.randn_like(p)
    optimizer.step()
    for name, parameter in module.named_parameters():
        if name in orthogonal:
            step = (parameter.detach() - before[name] * (1 - 0.02 * 0.01)).flatten(1)
            singular = torch.linalg.svdvals(step) / (0.02 * max(1, step.shape[0] / step.shape[1]) ** 0.5)
            assert 0.6 < singular.median() < 1.3, name  # Newton-Schulz: near one, all of them
    folder = train_scarnet(
        data,
        tmp_path / "m",
        name="m",
        preset_name="tiny",
        folds=[1],
        turn_degrees=20.0,
        run_parameters=parameters(optimizer="muon", learning_rate=0.02),
        with_onnx=False,
        progress=False,
    )
    card = verify(folder)
    assert card.input["orientation"] == "patient" and card.training["run"]["optimizer"] == "muon"


def test_the_finder_is_trained_in_the_same_way(data, tmp_path):
    folder = train_finder(
        data, tmp_path / "f", name="f", folds=[1], run_parameters=parameters(epochs=1), progress=False
    )
    assert verify(folder).kind == "finder"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"case,fold\na,0\nb,x\n", "cases.csv, row 3: fold must be a whole number.*; got fold 'x'"),
        (b"case,fold\na\n", "cases.csv, row 2: fold must be"),
        (b'case,fold,dx_mm,dz_mm\na,0,"1,4",8\n', "row 2: .*numbers such as 1.4; got fold '0', dx_mm '1,4', dz_mm '8'"),
        (b"case,fold,dx_mm,dz_mm\na,0,nan,8\n", "row 2"),
        ("case,fold\na,0\nMüller,1\n".encode("latin-1"), "cases.csv, row 3 is not UTF-8"),
    ],
)
def test_a_table_of_cases_that_cannot_be_read_is_told_by_its_row(tmp_path, content, words):
    for name in "ab":
        for kind in ("image", "labels"):
            (tmp_path / f"{name}_{kind}.nii.gz").touch()
    (tmp_path / "cases.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        list_cases(tmp_path)


def test_a_table_as_excel_writes_it_is_read(tmp_path):
    for kind in ("image", "labels"):
        (tmp_path / f"ä_{kind}.nii.gz").touch()
    (tmp_path / "cases.csv").write_bytes("case,fold,dx_mm,dz_mm\r\nä,3,1.5,8\r\n".encode("utf-8-sig"))
    (case,) = list_cases(tmp_path)
    assert (case.name, case.fold, case.spacing_mm) == ("ä", 3, (1.5, 1.5, 8.0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--devices", "two"], "--devices takes auto or a whole number above 0; got 'two'"),
        (["--devices", "0"], "--devices takes"),
        (["--precision", "foo"], "No precision is called 'foo'"),
        (["--accelerator", "foo"], "No accelerator is called 'foo'"),
        (["--accelerator", "foo", "--preset", "nnunet-2d"], "No accelerator is called 'foo'"),
        (["--name", "a/b"], "--name takes a plain name"),
    ],
)
def test_what_train_cannot_mean_is_refused_before_anything_is_written(data, tmp_path, options, words):
    from scarnet import cli

    with pytest.raises(UsageError, match=words):
        cli.app(["train", str(data), "-o", str(tmp_path / "m"), *options], standalone_mode=False)
    assert not (tmp_path / "m").exists()


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_here_is_said():
    with pytest.raises(UsageError, match="no 'gpu'"):
        RunParameters(epochs=1, accelerator="gpu")


def test_folders_that_hold_no_patients_are_refused(data, tmp_path):
    with pytest.raises(InputError):
        list_cases(tmp_path)
    with pytest.raises(InputError):
        list_cases(tmp_path / "absent")
    with pytest.raises(UsageError, match="do not exist"):
        train_scarnet(data, tmp_path / "m", name="m", folds=[7], run_parameters=parameters(), progress=False)
    with pytest.raises(UsageError, match="No loss"):
        train_scarnet(data, tmp_path / "m", name="m", loss="x", run_parameters=parameters(), progress=False)
    assert not (tmp_path / "m").exists()
