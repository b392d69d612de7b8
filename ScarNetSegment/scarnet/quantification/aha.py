"""The 17 segments of the American Heart Association (Cerqueira et al., Circulation 2002, doi 10.1161/hc0402.102975)."""

import numpy as np

from scarnet.conventions import Label, myocardium_mask, scar_mask
from scarnet.quantification.frame import HeartFrame
from scarnet.quantification.report import SegmentMeasures
from scarnet.quantification.transmurality import WallRays

#: Name and usual coronary territory; territories vary between patients (Cerqueira 2002; Ortiz-Perez et al., JACC Cardiovasc Imaging 2008).
SEGMENTS = (
    ("basal anterior", "LAD"),
    ("basal anteroseptal", "LAD"),
    ("basal inferoseptal", "RCA"),
    ("basal inferior", "RCA"),
    ("basal inferolateral", "LCX"),
    ("basal anterolateral", "LCX"),
    ("mid anterior", "LAD"),
    ("mid anteroseptal", "LAD"),
    ("mid inferoseptal", "RCA"),
    ("mid inferior", "RCA"),
    ("mid inferolateral", "LCX"),
    ("mid anterolateral", "LCX"),
    ("apical anterior", "LAD"),
    ("apical septal", "LAD"),
    ("apical inferior", "RCA"),
    ("apical lateral", "LCX"),
    ("apex", "LAD"),
)
BASAL, MID, APICAL, CAP = "basal", "mid", "apical", "cap"
#: Display angle of the anterior insertion of the right ventricle in the standard plot: segments 1 and 2 meet there.
INSERTION_DEG = 120.0
#: Classes of transmural extent (Kim et al., NEJM 2000): upper bounds in percent.
TRANSMURALITY_CLASSES = ((0.0, "0"), (25.0, "1-25"), (50.0, "26-50"), (75.0, "51-75"), (100.0, "76-100"))


def slice_levels(frame: HeartFrame) -> list[str | None]:
    """Basal, mid or apical third of the slices with a ring; "cap" for muscle beyond them towards the apex.

    Thirds are of the length between first and last ring; a slice belongs where its centre lies.
    """
    rings = np.flatnonzero(frame.ring)
    positions = frame.geometry.slice_positions_mm * (-1 if frame.apex_first else 1)  # grows towards the apex
    half = frame.geometry.slice_weights_mm / 2
    start, end = (positions[rings] - half[rings]).min(), (positions[rings] + half[rings]).max()
    levels: list[str | None] = []
    for k, position in enumerate(positions):
        if frame.ring[k]:
            third = 3 * (position - start) / (end - start)
            levels.append((BASAL, MID, APICAL)[min(int(third), 2)])
        else:
            beyond = np.isfinite(frame.centers_mm[k, 0]) and position > positions[rings].max()
            levels.append(CAP if beyond else None)
    return levels


def segment_of(level: str | None, angles_deg: np.ndarray, insertion_deg: float) -> np.ndarray:
    """Segment number (1 to 17; 0 outside) of display angles in a slice of `level`, given the insertion's angle."""
    turned = (np.asarray(angles_deg) - insertion_deg + INSERTION_DEG) % 360  # as in the standard plot
    if level in (BASAL, MID):
        # 60 to 120 degrees is segment 1; counter-clockwise 2, 3, ... 6.
        number = 1 + ((turned - 60) // 60).astype(int) % 6
        return number + (6 if level == MID else 0)
    if level == APICAL:
        return 13 + ((turned - 45) // 90).astype(int) % 4
    return np.full(np.shape(turned), 17 if level == CAP else 0)


def segment_map(labels: np.ndarray, frame: HeartFrame, insertion_deg: float) -> np.ndarray:
    """uint8 `[slice, row, column]`: segment number of every myocardial voxel, 0 elsewhere."""
    result = np.zeros(labels.shape, np.uint8)
    for k, level in enumerate(slice_levels(frame)):
        if level is not None:
            muscle = myocardium_mask(labels[k])
            result[k][muscle] = segment_of(level, frame.angles_deg(k)[muscle], insertion_deg)
    return result


def measure_segments(
    labels: np.ndarray, frame: HeartFrame, rays: WallRays, insertion_deg: float
) -> tuple[SegmentMeasures, ...]:
    """All 17. The apex (17) is left unmeasured: short-axis slices cut it tangentially, a long axis would show it."""
    numbers = segment_map(labels, frame, insertion_deg)
    weights = np.broadcast_to(frame.geometry.voxel_volumes_ml[:, None, None], labels.shape)
    ray_numbers = np.stack(
        [segment_of(level if level != CAP else None, rays.angles_deg, insertion_deg) for level in slice_levels(frame)]
    )
    measured = []
    for index, (name, territory) in enumerate(SEGMENTS):
        inside = numbers == index + 1
        muscle_ml = float(weights[inside].sum())
        if index + 1 == 17 or muscle_ml == 0:
            measured.append(SegmentMeasures(index + 1, name, territory))
            continue
        scar_ml = float(weights[inside & scar_mask(labels)].sum())
        share = rays.transmurality[(ray_numbers == index + 1) & np.isfinite(rays.wall_mm)]
        enhanced = share[share > 0]
        transmurality = 100 * float(enhanced.mean()) if enhanced.size else 0.0
        measured.append(
            SegmentMeasures(
                index + 1,
                name,
                territory,
                muscle_ml,
                scar_ml,
                100 * scar_ml / muscle_ml,
                transmurality,
                transmurality_class(transmurality),
                100 * enhanced.size / share.size if share.size else 0.0,
            )
        )
    return tuple(measured)


def transmurality_class(percent: float) -> str:
    """0, 1-25, 26-50, 51-75 or 76-100 %; anything above 0 is at least the second."""
    if percent <= 0:
        return TRANSMURALITY_CLASSES[0][1]
    return next(name for bound, name in TRANSMURALITY_CLASSES[1:] if percent <= bound + 1e-9)


def volume_beyond_segments_ml(labels: np.ndarray, frame: HeartFrame) -> tuple[float, float]:
    """Myocardium and scar in slices that belong to none of the 16 measured segments."""
    outside = [k for k, level in enumerate(slice_levels(frame)) if level in (None, CAP)]
    weights = frame.geometry.voxel_volumes_ml[outside]
    muscle = (labels[outside] >= Label.MYOCARDIUM).sum(axis=(1, 2)) @ weights
    scar = (labels[outside] >= Label.SCAR).sum(axis=(1, 2)) @ weights
    return float(muscle), float(scar)
