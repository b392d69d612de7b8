"""An open method of the EWA class: expectation-maximisation with blood as what is known beforehand, partial volume weighted.

After the ideas of Heiberg et al. (Radiology 2008;246:581, doi 10.1148/radiol.2461062164: pixels weigh as much infarct as
their signal says) and Engblom et al. (JCMR 2016;18:27, doi 10.1186/s12968-016-0242-5: a threshold by expectation-
maximisation, a weighted sum for partial volume, knowledge beforehand). Of both only abstract and tables were read: the formulas
here are our own, and this is not their program.

1. Signal in each slice: s = (signal - remote) / (blood pool - remote). Scar, like blood, has taken up contrast, so that its s is
   near 1 whatever the scanner, the reconstruction or an archive's scaling of the slice.
2. Two Gaussians, muscle and scar, by maximum a posteriori expectation-maximisation (Dempster et al. 1977) over all slices. Scar's mean has a
   normal prior about 1, worth a tenth of the pixels: a heart without scar keeps its threshold, a large scar finds its own.
3. The infarct is where s, smoothed, is nearer to scar than to muscle; regions below 1 mL are noise.
4. Pure scar is as bright as the infarct's brighter quarter (but no less than step 2 says). A pixel of the infarct or beside it weighs
   (s - muscle) / (pure scar - muscle), within 0 and 1: the share of it that is scar where two tissues meet. Dark muscle that infarct
   and cavity enclose is microvascular obstruction and weighs 1.

What was chosen on folds 1 to 4 of EMIDEC (`scarnet evaluate-methods`): prior weight, smoothing, least infarct and the brighter quarter.
"""

import numpy as np
from scipy import ndimage

from scarnet.quantification.muscle import MuscleSignal, without_islands

#: Scar's mean signal, known beforehand: that of blood; and its worth as a share of all pixels.
PRIOR_MEAN, PRIOR_SD, PRIOR_WEIGHT = 1.0, 0.3, 0.1
#: Muscle's spread to begin with, and the least of either class: an image without noise has classes without width.
START_SD, LEAST_SD = 0.2, 0.05
ITERATIONS, HISTOGRAM_BINS, HISTOGRAM_RANGE = 60, 512, (-2.0, 4.0)
SMOOTHING_MM = 1.0
#: Of the smoothed signal in the infarct: what lies below is mixed with muscle, what lies above noisy.
PURE_SCAR_PERCENTILE = 75.0
MINIMUM_INFARCT_ML = 1.0
_BESIDE = np.ones((1, 3, 3), bool)


def weighted_infarct(muscle: MuscleSignal) -> np.ndarray:
    """Share of each pixel that is scar, 0 to 1, `[slice, row, column]`."""
    smooth = _smoothed(muscle)
    healthy, scar = fit_means(smooth[muscle.known])
    infarct = without_islands(muscle.known & (smooth > (healthy + scar) / 2), muscle.geometry, MINIMUM_INFARCT_ML)
    if not infarct.any():
        return np.zeros(infarct.shape)
    pure = max(scar, float(np.percentile(smooth[infarct], PURE_SCAR_PERCENTILE)))
    near = muscle.known & ndimage.binary_dilation(infarct, _BESIDE)
    weights = np.where(near, np.clip((np.nan_to_num(muscle.contrast) - healthy) / (pure - healthy), 0, 1), 0.0)
    return np.where(_enclosed(infarct, muscle), 1.0, weights)


def fit_means(values: np.ndarray) -> tuple[float, float]:
    """Mean signal of muscle and of scar; the second above the first."""
    count, edges = np.histogram(values, HISTOGRAM_BINS, HISTOGRAM_RANGE)
    center = (edges[1:] + edges[:-1]) / 2
    prior = PRIOR_WEIGHT * count.sum()
    mean, sd, share = np.array([0.0, PRIOR_MEAN]), np.array([START_SD, PRIOR_SD]), np.array([0.8, 0.2])
    for _ in range(ITERATIONS):
        density = share * np.exp(-0.5 * ((center[:, None] - mean) / sd) ** 2) / sd
        belongs = count[:, None] * density / np.maximum(density.sum(axis=1, keepdims=True), 1e-300)
        weight = belongs.sum(axis=0)
        worth = np.maximum(weight + (0, prior), 1e-9)
        before, mean = mean, (center @ belongs + (0, prior * PRIOR_MEAN)) / worth
        variance = ((center[:, None] - mean) ** 2 * belongs).sum(axis=0) + (0, prior * PRIOR_SD**2)
        sd = np.sqrt(np.maximum(variance / worth, LEAST_SD**2))
        share = weight / max(weight.sum(), 1e-9)
        if np.abs(mean - before).max() < 1e-4:
            break
    return float(mean[0]), float(max(mean[1], mean[0] + LEAST_SD))


def _smoothed(muscle: MuscleSignal) -> np.ndarray:
    """Gaussian in the plane within the muscle alone: neither blood nor lung bleeds in."""
    sigma = (0.0, *(SMOOTHING_MM / np.array(muscle.geometry.pixel_spacing_mm)))
    inside = muscle.known.astype(np.float32)
    values = ndimage.gaussian_filter(np.where(muscle.known, muscle.contrast, 0).astype(np.float32), sigma)
    return values / np.maximum(ndimage.gaussian_filter(inside, sigma), 1e-6)


def _enclosed(infarct: np.ndarray, muscle: MuscleSignal) -> np.ndarray:
    """Muscle that infarct and cavity enclose, unless it runs around the cavity itself or outweighs the infarct: a healthy inner wall
    within a ring of scar is no obstruction.
    """
    result = np.zeros_like(infarct)
    for k in np.flatnonzero(infarct.any(axis=(1, 2))):
        hole = ndimage.binary_fill_holes(infarct[k] | muscle.cavity[k]) & muscle.mask[k] & ~infarct[k]
        if hole.any() and hole.sum() <= infarct[k].sum():
            around = ndimage.binary_fill_holes(hole)
            result[k] = hole & ~(around & muscle.cavity[k]).any()
    return result
