"""How much of the wall's thickness is scar, along rays from the centre of the cavity."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scarnet.conventions import Label
from scarnet.quantification.frame import HeartFrame

#: Rays per slice; at a radius of 30 mm they lie 0.8 mm apart, half a pixel, so that the two at the ends of a scar, which lie partly
#: beside it, weigh little in its mean.
RAYS = 240
STEP_MM = 0.2
#: A ray with less muscle than this has no wall to speak of (outflow tract, thinned or torn outline).
MINIMUM_WALL_MM = 1.0
#: A ray that crosses less scar than this share of a pixel grazes its corner: it is not enhanced.
MINIMUM_SCAR_PIXELS = 0.5
#: The maximum of a slice is that of as many neighbouring rays: along a single one lengths carry the pixels' steps.
MAXIMUM_OVER_RAYS = 11


@dataclass(frozen=True, eq=False)
class WallRays:
    """`[slice, ray]`; NaN where there is no wall or no ring.

    Attributes
        angles_deg: `(RAYS,)` display angles (see `frame`).
        wall_mm: thickness of the myocardium along the ray.
        scar_mm: of it, scar (MVO included).
        scar_start: where along the wall scar begins, 0 at the endocardium, 1 at the epicardium; NaN without scar.
    """

    angles_deg: np.ndarray
    wall_mm: np.ndarray
    scar_mm: np.ndarray
    scar_start: np.ndarray

    @property
    def transmurality(self) -> np.ndarray:
        """Share of the wall that is scar, 0 to 1."""
        return self.scar_mm / self.wall_mm

    def of_slice_percent(self, slice_index: int) -> tuple[float | None, float | None]:
        """Mean over enhanced rays and maximum (over 15 degrees of the wall) of one slice; None without a wall, 0 without scar."""
        share = self.transmurality[slice_index]
        if not np.isfinite(share).any():
            return None, None
        enhanced = share[np.isfinite(share) & (share > 0)]
        if not enhanced.size:
            return 0.0, 0.0
        kernel = np.ones(MAXIMUM_OVER_RAYS)
        known = ndimage.convolve1d(np.isfinite(share).astype(float), kernel, mode="wrap")
        total = ndimage.convolve1d(np.nan_to_num(share), kernel, mode="wrap")
        together = total[known > 0] / known[known > 0]
        return 100 * float(enhanced.mean()), min(100 * float(together.max()), 100.0)


def wall_rays(labels: np.ndarray, frame: HeartFrame) -> WallRays:
    """Cast rays through every slice with a ring. `labels` uint8 `[slice, row, column]` on the frame's grid.

    A point takes the label of the pixel it lies in: lengths along one ray carry the pixels' steps, their mean over a
    segment does not.
    """
    spacing = frame.geometry.pixel_spacing_mm
    angles = (np.arange(RAYS) + 0.5) * 360 / RAYS
    wall, scar, start = np.full((3, labels.shape[0], RAYS), np.nan)
    for k in np.flatnonzero(frame.ring):
        lv = labels[k] > 0
        reach = frame.distances_mm(k)[lv].max() + max(spacing)
        radii = np.arange(STEP_MM / 2, reach, STEP_MM)
        index = np.round(frame.ray_points(k, angles, radii)).astype(int) + 1  # a border of background beyond the edge
        rows, columns = (np.clip(index[..., axis], 0, labels.shape[1 + axis] + 1) for axis in (0, 1))
        along = np.pad(labels[k], 1)[rows, columns]
        thickness = (along >= Label.MYOCARDIUM).sum(axis=1) * STEP_MM
        has_wall = thickness >= MINIMUM_WALL_MM
        wall[k, has_wall] = thickness[has_wall]
        is_scar = along >= Label.SCAR
        is_scar &= (is_scar.sum(axis=1) * STEP_MM >= MINIMUM_SCAR_PIXELS * min(spacing))[:, None]
        scar[k, has_wall] = is_scar.sum(axis=1)[has_wall] * STEP_MM
        before = (np.cumsum(is_scar, axis=1) == 0) & (along >= Label.MYOCARDIUM)  # muscle crossed before any scar
        enhanced = has_wall & is_scar.any(axis=1)
        start[k, enhanced] = before.sum(axis=1)[enhanced] * STEP_MM / thickness[enhanced]
    return WallRays(angles, wall, scar, start)
