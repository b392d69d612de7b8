"""Figures of breath-hold shifts: python Testing/measure_shifts.py DATA [--model] (DATA: labelled patients, as for scarnet train).

In every patient one inner slice, drawn at random, is moved aside in its plane: the heart within 45 mm, less and less up to
75 mm, and the chest not at all. Asked is whether that slice stands out, against all slices as they were acquired (which may
hold shifts of their own, and then count as false alarms). Outlines are the expert's, moved alike; with --model those that
the shipped model draws on the moved images of fold 0 (version 3 had not been trained on it, later versions have). Then the same of steps: all slices from
the one drawn on.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from scarnet.errors import InputError
from scarnet.quantification import breath_hold
from scarnet.quantification.frame import heart_frame
from scarnet.segmentation import segment
from scarnet.series import LgeSeries
from scarnet.training.data import list_cases, read_case

SHIFTS_MM = (4.0, 6.0, 8.0, 10.0, 12.0)
STILL_MM, GONE_MM = 45.0, 75.0


def moved(series: LgeSeries, labels: np.ndarray, slices: list[int], way_mm: np.ndarray):
    """Heart and outlines of `slices` moved by `way_mm` (down, right) within the chest."""
    spacing = series.geometry.pixel_spacing_mm
    middle = np.argwhere(labels > 0)[:, 1:].mean(axis=0)
    grid = np.indices(labels.shape[1:]).astype(float)
    distance = np.hypot(*((grid[axis] - middle[axis]) * spacing[axis] for axis in (0, 1)))
    share = 0.5 * (1 + np.cos(np.pi * np.clip((distance - STILL_MM) / (GONE_MM - STILL_MM), 0, 1)))
    places = [grid[axis] - share * way_mm[axis] / spacing[axis] for axis in (0, 1)]
    image, drawn = series.image.copy(), labels.copy()
    for k in slices:
        image[k] = ndimage.map_coordinates(image[k], places, order=1, mode="nearest")
        drawn[k] = ndimage.map_coordinates(drawn[k], places, order=0, mode="nearest")
    return replace(series, image=image), drawn


def measures(series: LgeSeries, labels: np.ndarray) -> dict[str, dict[int, float]]:
    """By outline and by image, how far every slice lies off the line, and whether it is said."""
    frame = heart_frame(labels, series.geometry)
    normal, found = frame.geometry.normal, {}
    outlined = breath_hold.outlined_centers_mm(labels, frame)
    steps = breath_hold.steps_mm(outlined, normal)
    found["step said"] = {b: step for (_, b), step in steps.items()}
    seen, sure = breath_hold.image_centers_mm(series, frame)
    for name, centers, limit, among in (
        ("outline", outlined, breath_hold.SHIFT_MM, None),
        ("image", seen, breath_hold.IMAGE_SHIFT_MM, sure),
    ):
        inner = sorted(centers)
        found[name] = {
            b: breath_hold._off_line(centers[a], centers[b], centers[c], normal)
            for a, b, c in zip(inner, inner[1:], inner[2:], strict=False)
        }
        rest = breath_hold.without_steps(centers, steps)
        found[f"{name} said"] = breath_hold.shifts_mm(rest, normal, limit, among=among)
    return found


def area_under_curve(positive: list[float], negative: list[float]) -> float:
    ranks = [np.searchsorted(np.sort(negative), positive, side) for side in ("left", "right")]
    return float(np.mean(ranks) / len(negative))


def main(data: Path, by_model: bool) -> None:
    rng = np.random.default_rng(0)
    still = {"outline": [], "image": []}
    said = {"outline": 0, "image": 0, "either": 0, "step": 0}
    patients, complained = 0, 0
    singles = {s: {"outline": [], "image": [], "outline said": 0, "image said": 0, "either": 0} for s in SHIFTS_MM}
    steps = {s: [] for s in SHIFTS_MM}
    for case in list_cases(data):
        if by_model and case.fold != 0:
            continue
        series, expert = read_case(case)

        def outlines(changed: LgeSeries, drawn: np.ndarray) -> np.ndarray:
            return segment(changed, device="cpu", test_time_flips=False).labels if by_model else drawn

        try:
            own = measures(series, outlines(series, expert))
        except InputError as error:
            print(f"{case.name}: left out ({error})")
            continue
        patients += 1
        for name in still:
            still[name] += own[name].values()
            said[name] += len(own[f"{name} said"])
        said["either"] += len({*own["outline said"], *own["image said"]})
        said["step"] += len(own["step said"])
        complained += bool(own["outline said"] or own["image said"] or own["step said"])
        choice = sorted(own["outline"])
        k, angle = int(rng.choice(choice)), rng.uniform(0, 2 * np.pi)
        for s in SHIFTS_MM:
            way = s * np.array([np.sin(angle), np.cos(angle)])
            changed, drawn = moved(series, expert, [k], way)
            found, row = measures(changed, outlines(changed, drawn)), singles[s]
            for name in still:
                row[name].append(found[name].get(k, 0.0))
                row[f"{name} said"] += k in found[f"{name} said"]
            row["either"] += k in found["outline said"] or k in found["image said"]
            changed, drawn = moved(series, expert, list(range(k, len(expert))), way)
            steps[s].append(k in measures(changed, outlines(changed, drawn))["step said"])
    slices = len(still["outline"])
    print(f"{patients} patients, {slices} inner slices, outlines by {'the model' if by_model else 'experts'}")
    print(
        f"as acquired: said of {said['outline']} slices by outline, {said['image']} by image, {said['either']} by either "
        f"({100 * said['either'] / slices:.1f} %), {said['step']} steps; {complained} patients with a warning"
    )
    print("| shift, mm | AUC by outline | AUC by image | said by outline | by image | by either | step said |")
    print("|---|---|---|---|---|---|---|")
    for s, row in singles.items():
        curves = (area_under_curve(row[name], still[name]) for name in ("outline", "image"))
        shares = (row[name] / patients for name in ("outline said", "image said", "either"))
        print(f"| {s:g} | {' | '.join(f'{v:.3f}' for v in (*curves, *shares))} | {np.mean(steps[s]):.3f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--model" in sys.argv[2:])
