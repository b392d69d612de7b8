"""The whole way from a stack to its labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import special

from scarnet.conventions import CancelCallback, Label, ProgressCallback, scar_mask
from scarnet.errors import InputError
from scarnet.network import LoadedNetwork, find_model, load_network
from scarnet.segmentation.cleaning import clean, decide, is_shaped_like_a_ventricle, slice_doubt
from scarnet.segmentation.crop import CropGrid
from scarnet.segmentation.doubt import slice_scar_doubt
from scarnet.segmentation.finder import find_lv
from scarnet.segmentation.interval import percent_lv_interval
from scarnet.segmentation.result import ScarSegmentation
from scarnet.segmentation.shading import gain_slope, is_steep, without_gain
from scarnet.segmentation.viewer import crop_grid, look, orientation_of
from scarnet.segmentation.views import View, looks_of
from scarnet.series import LgeSeries, StackGeometry

#: The crop is laid anew when what was found lies farther than this from its centre, and wider when it reaches this near to
#: its border.
RECENTER_MM, BORDER_MM = 10.0, 3.0
#: How much wider, and how often anew; once more where shading is taken away.
WIDER, ATTEMPTS = 1.25, 5
#: Across which the shading of a heart is stated.
HEART_MM = 80.0
#: Share of a pixel's muscle that must be scar for it to count when it is asked whether there is an infarct: likelier than not.
PRESENT = 0.5
#: Between which `expected_threshold` stays: beyond, a network that is sure of nothing would draw specks or flood.
EXPECTED_THRESHOLDS = (0.2, 0.8)
#: Less myocardium than this is no ventricle (a child's LV of 10 g, of which half was missed).
MINIMUM_MYOCARDIUM_ML = 5.0
#: A "ventricle" is none where the network expects more of its muscle than this to be labelled wrongly: at most 0.26 in 81 patients that
#: model 9's recipe had not seen. Less doubt is enough where it has another shape: blobs that are taken for rings are doubted by
#: 0.21 and more. So much is known of cross-validated models alone: a half-trained one doubts everything.
MOST_DOUBT, MOST_DOUBT_OF_ODD_SHAPES = 0.35, 0.2


def segment(
    series: LgeSeries,
    *,
    model: str | Path = "default",
    finder: str | Path = "default",
    device: str = "auto",
    runtime: str | None = None,
    lv_center_lps_mm: np.ndarray | None = None,
    test_time_flips: bool | None = None,
    on_progress: ProgressCallback | None = None,
    is_cancelled: CancelCallback | None = None,
) -> ScarSegmentation:
    """Find the LV, run the network on every slice, and put cleaned labels back on the input's own grid.

    `model`, `finder`: a name or folder. `runtime`: see `scarnet.network.load_network`. `lv_center_lps_mm`: `(3,)`, a point inside
    the LV instead of searching for it. `test_time_flips`: average over several views of each slice (see `views`); None: as the
    model's card says. `on_progress` is called after, `is_cancelled` asked before every slice. Raises InputError when no LV is
    found, ModelError for a model that cannot be used, Cancelled, MemoryError when the device is too small.
    """
    report = on_progress or (lambda done, total, text: None)
    slices = series.image.shape[0]
    report(0, slices, "Loading the model")
    network = load_network(find_model(model), device=device, runtime=runtime)
    flips = network.card.decision.get("test_time_flips", False) if test_time_flips is None else test_time_flips
    center = lv_center_lps_mm
    if center is None:
        report(0, slices, "Finding the left ventricle")
        center = find_lv(series, load_network(find_model(finder, kind="finder"), device="cpu"))
    center = np.asarray(center, dtype=float)
    _check_inside(series, center)
    found = _settled(
        series,
        network,
        center,
        may_move=lv_center_lps_mm is None,
        flips=flips,
        on_progress=on_progress,
        is_cancelled=is_cancelled,
    )
    probabilities, labels, views, grid, gain = found
    center, best = grid.center_lps_mm, views[0]
    looks = looks_of(orientation_of(network), several=flips)
    muscle_ml = ((labels >= Label.MYOCARDIUM).sum(axis=(1, 2)) * np.nan_to_num(series.geometry.voxel_volumes_ml)).sum()
    if muscle_ml < MINIMUM_MYOCARDIUM_ML:
        raise InputError(
            "No left-ventricular myocardium was found around the LV centre: check that this is a short-axis LGE stack, "
            "or give a point inside the ventricle (LV centre, --lv-center)."
        )
    doubts = slice_doubt(probabilities, labels)
    doubt = float(np.average(doubts, weights=(labels >= Label.MYOCARDIUM).sum(axis=(1, 2))))
    odd = not is_shaped_like_a_ventricle(labels, series.geometry.slice_weights_mm)
    doubted = doubt > (MOST_DOUBT_OF_ODD_SHAPES if odd else MOST_DOUBT)
    if doubted and lv_center_lps_mm is None and network.card.doubt:
        raise InputError(
            f"What was found looks little like a left ventricle (the model expects {100 * doubt:.0f} % of its muscle to be wrong): check "
            "that this is a short-axis LGE stack, or give a point inside the ventricle (LV centre, --lv-center)."
        )
    if on_progress is not None:
        on_progress(slices, slices, "Segmented")
    return ScarSegmentation(
        labels=labels,
        probabilities=probabilities.astype(np.float16),
        lv_center_lps_mm=center,
        slice_doubt=doubts,
        slice_scar_doubt=slice_scar_doubt(probabilities, labels, series.geometry.pixel_area_mm2, network.card.doubt),
        percent_lv_interval=percent_lv_interval(_percent_lv(series, labels), network.card.interval),
        model=network.describe(),
        parameters={
            "lv_center_lps_mm": [round(float(c), 2) for c in center],
            "lv_center_given": lv_center_lps_mm is not None,
            "crop_pixel_mm": round(grid.pixel_mm, 4),
            "test_time_flips": bool(flips),
            "view_sizes": [one.size for one in looks],
            "view_tilts_deg": [one.tilt_deg for one in looks],
            "orientations": len(views),
            "quarter_turns": best.turns,
            "mirrored": best.mirror,
            "shading_removed_log_gain_per_mm": [round(float(s), 5) for s in gain],
            **{key: value for key, value in network.card.decision.items() if key != "test_time_flips"},
            **_threshold_used(series, network, labels, probabilities),
        },
        warnings=(*_warnings(series, grid, labels, gain), *_taken_back(series, network, labels, probabilities)),
    )


def _settled(
    series: LgeSeries,
    network: LoadedNetwork,
    center: np.ndarray,
    *,
    may_move: bool,
    flips: bool,
    on_progress: ProgressCallback | None,
    is_cancelled: CancelCallback | None,
) -> tuple[np.ndarray, np.ndarray, list[View], CropGrid, np.ndarray]:
    """Looked at again until the crop fits what was found in it, and without shading where that is steep.

    Probabilities, labels, views and crop of the last look, and the `shading.gain_slope` that was taken away for it.
    """
    grid, views, seen, gain, report = crop_grid(series, network, center), None, series, np.zeros(2), on_progress
    for attempt in range(1, ATTEMPTS + 1):
        probabilities, views = look(
            seen, network, grid, flips=flips, views=views, on_progress=report, is_cancelled=is_cancelled
        )
        labels = labels_of(probabilities, series.geometry, network.card.decision)
        if attempt == ATTEMPTS:
            break
        if (better := _better_grid(series, labels, grid, may_move=may_move)) is not None:
            grid, report = better, _saying_again(on_progress, "Crop laid anew")
        elif seen is series and is_steep(slope := gain_slope(series.image, labels, series.geometry.pixel_spacing_mm)):
            gain, views, seen = slope, None, _without_gain(series, labels, slope)
            report = _saying_again(on_progress, "Without shading")
        else:
            break
    return probabilities, labels, views, grid, gain


def _saying_again(on_progress: ProgressCallback | None, why: str) -> ProgressCallback:
    """Progress of a second round about the ventricle that the first has found."""
    if on_progress is None:
        return lambda done, total, text: None
    return lambda done, total, text: on_progress(done, total, f"{why}: {text[:1].lower()}{text[1:]}")


def _without_gain(series: LgeSeries, labels: np.ndarray, slope: np.ndarray) -> LgeSeries:
    about = np.argwhere(labels > 0)[:, 1:].mean(axis=0)
    return replace(series, image=without_gain(series.image, slope, series.geometry.pixel_spacing_mm, about))


def labels_of(probabilities: np.ndarray, geometry: StackGeometry, decision: dict) -> np.ndarray:
    """Probabilities `[class, slice, row, column]` to cleaned labels, by the `decision` of a model's card.

    Whether there is an infarct at all is asked of what is likelier scar than not; how far it reaches, of `scar_threshold`, or of the
    threshold at which as much is drawn as the network expects, its log odds moved by `scar_log_odds` (`expected_threshold`).
    """

    labels = np.zeros(probabilities.shape[1:], np.uint8)
    within = (probabilities[0] < 1).any(axis=0)  # all else is background for certain: most of the images
    if not within.any():
        return labels
    box = (slice(None), *(slice(n.min(), n.max() + 1) for n in np.nonzero(within)))
    inside = probabilities[(slice(None), *box)]

    def at(threshold: float, minimum_percent_lv: float) -> np.ndarray:
        return clean(
            decide(inside, threshold, decision.get("mvo_threshold", 0.5)),
            np.nan_to_num(geometry.voxel_volumes_ml),
            geometry.pixel_area_mm2,
            minimum_scar_ml=decision.get("minimum_scar_ml", 0.0),
            minimum_scar_percent_lv=minimum_percent_lv,
            minimum_mvo_ml=decision.get("minimum_mvo_ml", 0.0),
        )

    labels[box] = likely = at(PRESENT, decision.get("minimum_scar_percent_lv", 0.0))
    threshold = decision.get("scar_threshold", PRESENT)
    if "scar_log_odds" in decision:
        threshold = expected_threshold(inside, likely, geometry, decision["scar_log_odds"])
    if threshold != PRESENT and scar_mask(likely).any():
        labels[box] = at(threshold, 0.0)
    return labels


def expected_threshold(
    probabilities: np.ndarray, labels: np.ndarray, geometry: StackGeometry, log_odds: float
) -> float:
    """The share of a pixel's muscle that must be scar for as much scar to be drawn in the muscle of `labels` as is expected there.

    Expected is the sum of probabilities, their log odds moved by `log_odds`. Where the network hesitates, one threshold for all patients
    draws too little of a faint infarct and too much of a blurred one. Within EXPECTED_THRESHOLDS.
    """
    muscle = labels >= Label.MYOCARDIUM
    if not muscle.any():
        return PRESENT
    scar, all_muscle = (probabilities[first:].sum(axis=0)[muscle] for first in (Label.SCAR, Label.MYOCARDIUM))
    share = scar / np.maximum(all_muscle, 1e-6)  # a filled hole may hold none
    volumes = np.broadcast_to(np.nan_to_num(geometry.voxel_volumes_ml)[:, None, None], muscle.shape)[muscle]
    expected = (special.expit(special.logit(np.minimum(share.astype(float), 1.0)) + log_odds) * volumes).sum()
    order = np.argsort(share)[::-1]
    reached = np.searchsorted(np.cumsum(volumes[order]), expected)
    return float(np.clip(share[order[min(reached, len(order) - 1)]], *EXPECTED_THRESHOLDS))


def _better_grid(series: LgeSeries, labels: np.ndarray, grid: CropGrid, *, may_move: bool) -> CropGrid | None:
    """A crop about what was found where this one lies askew, a wider one where it is too small; None where it fits."""
    middle = _lv_center(series, labels)
    if middle is None:
        return None
    center, pixel_mm = grid.center_lps_mm, grid.pixel_mm
    if may_move and _in_plane_distance(series, middle, center) > RECENTER_MM:
        center = middle
    elif _reaches_border(labels, grid, BORDER_MM):
        pixel_mm *= WIDER
    else:
        return None
    return replace(grid, center_lps_mm=center, pixel_mm=pixel_mm)


def _taken_back(series: LgeSeries, network: LoadedNetwork, labels: np.ndarray, probabilities: np.ndarray) -> list[str]:
    """A word on scar that was found but is too little to be reported as an infarct."""
    decision = network.card.decision
    if (labels >= Label.SCAR).any() or not decision.get("minimum_scar_percent_lv"):
        return []
    likely = {
        k: v for k, v in decision.items() if k not in ("minimum_scar_percent_lv", "scar_threshold", "scar_log_odds")
    }
    found = _percent_lv(series, labels_of(probabilities, series.geometry, likely))
    if not found:
        return []
    return [
        f"Possible scar of {found:.1f} % of the LV was left out: below {decision['minimum_scar_percent_lv']:g} % it is more "
        "often an artefact than an infarct. Look for it on the images."
    ]


def _threshold_used(series: LgeSeries, network: LoadedNetwork, labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """The threshold that followed from what this patient's network expects, where scar was drawn by it."""
    log_odds = network.card.decision.get("scar_log_odds")
    if log_odds is None or not scar_mask(labels).any():
        return {}
    return {"scar_threshold_used": round(expected_threshold(probabilities, labels, series.geometry, log_odds), 4)}


def _reaches_border(labels: np.ndarray, grid: CropGrid, border_mm: float) -> bool:
    border = max(int(round(border_mm / grid.pixel_mm)), 1)
    frame = np.zeros((labels.shape[0], grid.side, grid.side), np.float32)
    frame[:, border:-border, border:-border] = 1
    return bool(((labels > 0) & (grid.put_back(frame) < 0.5)).any())


def _percent_lv(series: LgeSeries, labels: np.ndarray) -> float:
    volumes = np.nan_to_num(series.geometry.voxel_volumes_ml)
    scar, muscle = ((labels >= first).sum(axis=(1, 2)) @ volumes for first in (Label.SCAR, Label.MYOCARDIUM))
    return float(100 * scar / muscle) if muscle else 0.0


def _check_inside(series: LgeSeries, center: np.ndarray) -> None:
    if center.shape != (3,) or not np.isfinite(center).all():
        raise InputError(f"The LV centre must be three finite coordinates (LPS, mm), got {center.tolist()}.")
    if not series.geometry.shows(center):
        raise InputError(
            f"The LV centre {center.round(1).tolist()} (LPS, mm) lies outside the images; give a point inside the ventricle."
        )


def _lv_center(series: LgeSeries, labels: np.ndarray) -> np.ndarray | None:
    index = np.argwhere(labels > 0)
    return series.geometry.index_to_lps(index.mean(axis=0)) if len(index) else None


def _in_plane_distance(series: LgeSeries, a: np.ndarray, b: np.ndarray) -> float:
    offset = a - b
    return float(np.linalg.norm(offset - (offset @ series.geometry.normal) * series.geometry.normal))


def _warnings(series, grid: CropGrid, labels, gain: np.ndarray) -> tuple[str, ...]:
    found = []
    if gain.any():
        found.append(
            f"The images are {np.exp(HEART_MM * np.hypot(*gain)):.1f} times as bright on one side of the heart as on the other. The model was "
            "shown them without this shading; intensity methods see it: do not trust their values."
        )
    lv = labels > 0
    edge = lv[:, [0, -1]].any() or lv[:, :, [0, -1]].any()
    if edge:
        found.append("The left ventricle touches the edge of the images: volumes may be too small.")
    if not edge and _reaches_border(labels, grid, BORDER_MM):
        found.append("The left ventricle reaches the border of the region given to the network: check its outline.")
    empty = ~lv.any(axis=(1, 2))
    inner = empty[np.argmax(~empty) : len(empty) - np.argmax(~empty[::-1])]
    if inner.any():
        found.append("A slice between slices of the left ventricle was left empty: check it.")
    return tuple(found)
