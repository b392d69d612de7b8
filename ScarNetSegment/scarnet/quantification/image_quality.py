"""What the image itself says against trusting numbers made from it.

Limits were set on the 81 labelled EMIDEC patients (experts' outlines), each with how many of them it flags: 13 are warned of at all.
Simulated stacks with the fault put in hold every limit from both sides (Testing/test_quality.py).
"""

import numpy as np
from scipy import ndimage

from scarnet.conventions import Label
from scarnet.quantification.frame import CLEAR_TAPER, HeartFrame, stated_apex_first, taper
from scarnet.quantification.remote import RemoteRegion
from scarnet.series import StackGeometry

#: A step this many times the usual one has a slice missing; rounding and shear stay far below.
MISSING_SLICE_STEPS = 1.6
#: Slice distances that differ by more than this share are unequal.
UNEQUAL_SHARE = 0.1
#: Blood over remote myocardium, in standard deviations of remote, median over slices. EMIDEC: 3 flagged.
LOW_BLOOD_CNR = 2.5
#: Outlined scar over remote myocardium, likewise. EMIDEC: 3 of 54 flagged.
LOW_SCAR_CNR = 2.2
#: Signal of remote myocardium as a share of the blood's, both above the image's darkest quarter. EMIDEC: median 0.42,
#: 9 flagged.
POORLY_NULLED = 0.7
NO_SIGNAL_PERCENTILE = 25
#: A ventricle outlined over less than this along its axis is not all there. EMIDEC (nominal distances): 1 flagged.
SHORT_LV_MM = 48.0
#: A stack whose narrower end is wider than this share of the widest slice ends before the apex, where the LV tapers off.
#: EMIDEC: 2 flagged. The base is not asked: short-axis stacks end there by design, and a short ventricle is said above.
CUT_OFF_SHARE = 0.6
#: Fewer outlined pixels say nothing about the contrast of a slice's scar.
MINIMUM_SCAR_PIXELS = 20


def slice_distance_warnings(geometry: StackGeometry) -> tuple[str, ...]:
    """Missing slices and unequal distances."""
    steps = geometry.slice_steps_mm
    if steps.size < 2:
        return ()
    usual = float(np.median(steps)) if steps.size > 2 else float(steps.min())
    missing = np.flatnonzero(steps > MISSING_SLICE_STEPS * usual)
    if missing.size:
        places = ", ".join(f"{k + 1} and {k + 2} ({steps[k]:.1f} mm)" for k in missing)
        return (
            f"A slice seems to be missing between slices {places}; {usual:.1f} mm is usual here. The slices on either side weigh "
            "for the gap.",
        )
    if steps.max() - steps.min() > UNEQUAL_SHARE * usual:
        return (f"Slice distances are unequal ({steps.min():.1f} to {steps.max():.1f} mm); each slice weighs its own.",)
    return ()


def coverage_warnings(labels: np.ndarray, geometry: StackGeometry) -> tuple[str, ...]:
    """Apex or base beyond the stack, slices left out between, and a ventricle at the edge of the field of view.

    `labels` on the whole grid.
    """
    lv = labels > 0
    areas = lv.sum(axis=(1, 2))
    found = []
    if min(areas[0], areas[-1]) > CUT_OFF_SHARE * areas.max():
        found.append("Both end slices hold a wide ventricle: the stack does not reach its apex, volumes are too low.")
    length = float(geometry.slice_weights_mm[areas > 0].sum())
    if length < SHORT_LV_MM and geometry.shape[0] > 1:
        found.append(
            f"The ventricle is outlined over {length:.0f} mm along its axis only: base or apex may be missing, and volumes too low."
        )
    forgotten = areas == 0
    outlined = np.flatnonzero(areas)
    forgotten[: outlined[0]] = forgotten[outlined[-1] :] = False
    if forgotten.any():
        found.append(
            f"Nothing is outlined in {_slices(forgotten)}, between slices with the ventricle: volumes are too low; outline it there."
        )
    edge = lv[:, [0, -1], :].any(axis=(1, 2)) | lv[:, :, [0, -1]].any(axis=(1, 2))
    if edge.any():
        found.append(f"The ventricle touches the edge of the field of view in {_slices(edge)}: it may be cut off.")
    return tuple(found)


def direction_warnings(labels: np.ndarray, geometry: StackGeometry) -> tuple[str, ...]:
    """Which end is the apex: not clear, or one by the patient's axes and the other by the ventricle's shape."""
    stated, narrowing = stated_apex_first(geometry), taper(labels)
    ends = np.flatnonzero((labels > 0).any(axis=(1, 2)))[[0, -1]] + 1
    if stated is None and abs(narrowing) < CLEAR_TAPER:
        return (
            "Which end is the apex is not clear (the ventricle is as wide at both, and the image states no direction): "
            "check that the walls are not mirrored.",
        )
    if stated is not None and abs(narrowing) > CLEAR_TAPER and stated != (narrowing > 0):
        apex, narrow = ends if stated else ends[::-1]
        return (
            f"By the image's orientation slice {apex} is the apex, but the ventricle narrows towards slice {narrow}: check "
            "the walls, which follow the orientation (right in an apical aneurysm, wrong where the header is).",
        )
    return ()


def stray_scar_warnings(labels: np.ndarray, geometry: StackGeometry) -> tuple[str, ...]:
    """Scar that hangs together with neither muscle nor cavity."""
    regions, count = ndimage.label(labels > 0, ndimage.generate_binary_structure(3, 3))
    wall = np.unique(regions[(labels == Label.MYOCARDIUM) | (labels == Label.BLOOD_POOL)])
    if len(wall) >= count:
        return ()
    stray = (regions > 0) & ~np.isin(regions, wall)
    volume = float(stray.sum(axis=(1, 2)) @ geometry.voxel_volumes_ml)
    return (
        f"{volume:.1f} mL outlined as scar lies apart from the ventricle, in {_slices(stray.any(axis=(1, 2)))}; it is counted as "
        "scar and as myocardium.",
    )


def contrast_warnings(
    image: np.ndarray, labels: np.ndarray, frame: HeartFrame, remote: RemoteRegion, *, no_signal: np.ndarray
) -> tuple[str, ...]:
    """Poor nulling and low contrast. `no_signal` `(slices,)`: the signal of air and lung (see `no_signal_level`)."""
    blood, scar = np.full((2, len(labels)), np.nan)
    for k in np.flatnonzero(frame.ring):
        blood[k] = np.median(image[k][frame.cavity[k]])
        outlined = labels[k] == Label.SCAR  # obstruction is dark by nature
        if outlined.sum() >= MINIMUM_SCAR_PIXELS:
            scar[k] = image[k][outlined].mean()
    spread = np.where(remote.sd > 0, remote.sd, np.nan)
    found = []
    blood_cnr = _median((blood - remote.mean) / spread)
    above = np.where(blood > no_signal, blood - no_signal, np.nan)
    share = _median((remote.mean - no_signal) / above)
    if blood_cnr <= 0:
        found.append("Myocardium is as bright as blood: the inversion time was wrong, or these are not LGE images.")
    else:
        if share > POORLY_NULLED:
            found.append(f"Myocardium is poorly nulled: it gives {100 * share:.0f} % of the blood's signal.")
        if blood_cnr < LOW_BLOOD_CNR:
            found.append(f"Contrast is low: blood lies {blood_cnr:.1f} standard deviations above remote myocardium.")
    scar_cnr = _median((scar - remote.mean) / spread)
    if scar_cnr < LOW_SCAR_CNR:
        found.append(
            f"What is outlined as scar lies {scar_cnr:.1f} standard deviations above remote myocardium: it hardly stands out."
        )
    return tuple(found)


def no_signal_level(image: np.ndarray) -> np.ndarray:
    """`(slices,)`: what air and lung give in each slice of the whole field of view; every other pixel is enough."""
    return np.percentile(image[:, ::2, ::2], NO_SIGNAL_PERCENTILE, axis=(1, 2))


def _median(values: np.ndarray) -> float:
    """NaN, which no limit catches, where no slice knows."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _slices(flags: np.ndarray) -> str:
    numbers = [str(k + 1) for k in np.flatnonzero(flags)]
    return f"slice {numbers[0]}" if len(numbers) == 1 else f"slices {', '.join(numbers)}"
