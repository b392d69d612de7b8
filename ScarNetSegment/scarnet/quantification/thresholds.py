"""Scar by intensity inside given myocardium: the established methods side by side, each named in every figure.

Thresholds are set per slice against that slice's remote myocardium, since nulling drifts over a stack and archives rescale
slices. Magnitude and phase-sensitive images differ in one method only: half of the maximum has no meaning where zero is
not "no signal", so FWHM is referred to remote myocardium there (Heiberg et al. and others advise against it on PSIR).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from scarnet.conventions import Label, myocardium_mask
from scarnet.quantification.remote import RemoteRegion
from scarnet.series import Reconstruction, StackGeometry

#: Islands smaller than this are noise to every method.
MINIMUM_REGION_ML = 0.3
#: The brightest pixels that count as "maximum": one hot pixel is not scar.
MAXIMUM_PERCENTILE = 99.0
EM_ITERATIONS, HISTOGRAM_BINS = 200, 512
#: Fewer pixels of muscle make no histogram.
MINIMUM_PIXELS = 50


@dataclass(frozen=True, eq=False)
class ThresholdResult:
    """`scar`: weights 0..1 `[slice, row, column]` inside the myocardium; 0 or 1 but for partial-volume methods."""

    method: str
    definition: str
    scar: np.ndarray
    volume_ml: float
    percent_lv: float


@dataclass(frozen=True, eq=False)
class _Mixture:
    """Healthy muscle, then scar: means, standard deviations and shares `(2,)`."""

    mean: np.ndarray
    sd: np.ndarray
    share: np.ndarray

    def density(self, values: np.ndarray) -> np.ndarray:
        """`[..., 2]`"""
        return self.share * np.exp(-0.5 * ((values[..., None] - self.mean) / self.sd) ** 2) / self.sd


@dataclass(frozen=True, eq=False)
class _Muscle:
    """Myocardial pixels in units of each slice's remote spread: 0 is remote, 1 is one standard deviation above."""

    mask: np.ndarray
    relative: np.ndarray  # [slice, row, column], NaN outside muscle or without remote
    image: np.ndarray
    reconstruction: Reconstruction

    @cached_property
    def mixture(self) -> _Mixture:
        return _fit_mixture(self.relative[np.isfinite(self.relative)])


def compare_methods(
    image: np.ndarray,
    labels: np.ndarray,
    geometry: StackGeometry,
    remote: RemoteRegion,
    *,
    reconstruction: Reconstruction = Reconstruction.UNKNOWN,
) -> tuple[ThresholdResult, ...]:
    """Every method on the myocardium of `labels`, whatever scar is drawn in it; MVO counts as scar where it is labelled.

    `image` `[slice, row, column]`. Slices without a remote region are left out of every
    method alike; without any, there is nothing to compare and the result is empty.
    """
    mask = myocardium_mask(labels)
    spread = np.where(remote.sd > 0, remote.sd, np.nan)
    relative = np.where(mask, (image - remote.mean[:, None, None]) / spread[:, None, None], np.nan)
    if np.isfinite(relative).sum() < MINIMUM_PIXELS:
        return ()
    muscle = _Muscle(mask, relative, image, reconstruction)
    volumes = geometry.voxel_volumes_ml
    muscle_ml = float(mask.sum(axis=(1, 2)) @ volumes)
    results = []
    for name, (definition, method) in METHODS.items():
        weights = _without_islands(method(muscle), volumes)
        weights = np.where(labels == Label.MVO, 1.0, weights) if (weights > 0).any() else weights
        volume = float(weights.sum(axis=(1, 2)) @ volumes)
        results.append(
            ThresholdResult(name, definition, weights, volume, 100 * volume / muscle_ml if muscle_ml else 0.0)
        )
    return tuple(results)


def _n_sd(n: float) -> Callable[[_Muscle], np.ndarray]:
    return lambda muscle: np.nan_to_num(muscle.relative > n).astype(float)


def _fwhm(muscle: _Muscle) -> np.ndarray:
    """Half of the maximum within what 5-SD calls scar (Amado et al., JACC 2004); otherwise: halfway from remote to it."""
    bright = np.nan_to_num(muscle.relative, nan=-np.inf) > 5
    bright = _without_islands(bright.astype(float), np.ones(len(bright)), minimum=5) > 0
    if not bright.any():
        return np.zeros(muscle.mask.shape)
    # In units of the remote spread remote is 0, so that half of the maximum lies halfway between the two.
    values = muscle.image if muscle.reconstruction == Reconstruction.MAGNITUDE else muscle.relative
    values = np.where(muscle.mask & np.isfinite(values), values, -np.inf)
    overall = np.percentile(values[bright], MAXIMUM_PERCENTILE)
    scar = np.zeros(muscle.mask.shape)
    for k in range(len(bright)):
        maximum = np.percentile(values[k][bright[k]], MAXIMUM_PERCENTILE) if bright[k].sum() >= 10 else overall
        scar[k] = values[k] > 0.5 * maximum
    return scar * muscle.mask


def _otsu(muscle: _Muscle) -> np.ndarray:
    """Otsu, IEEE Trans SMC 1979, over the muscle of all slices."""
    known = np.isfinite(muscle.relative)
    values = sitk.GetImageFromArray(muscle.relative[known].astype(np.float32)[None, :])
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.SetNumberOfHistogramBins(256)
    otsu.Execute(values)
    return np.where(known, muscle.relative > otsu.GetThreshold(), False).astype(float)


def _fit_mixture(values: np.ndarray) -> _Mixture:
    """Healthy muscle and scar as two Gaussians, by expectation-maximisation (Dempster et al. 1977) on a histogram.

    Both are free; the start is the remote region (0, 1) and the bright end. Healthy muscle is wider than its darkest
    sector, so that a class held to that sector would leave the rest of the muscle to scar.
    """
    count, edges = np.histogram(values, bins=HISTOGRAM_BINS)
    center = (edges[:-1] + edges[1:]) / 2
    mixture = _Mixture(
        np.array([0.0, max(float(np.percentile(values, 95)), 3.0)]), np.array([1.5, 2.0]), np.array([0.8, 0.2])
    )
    for _ in range(EM_ITERATIONS):
        density = mixture.density(center)
        belongs = count[:, None] * density / np.maximum(density.sum(axis=1, keepdims=True), 1e-300)
        weight = np.maximum(belongs.sum(axis=0), 1e-9)
        mean = (belongs * center[:, None]).sum(axis=0) / weight
        sd = np.maximum(np.sqrt((belongs * (center[:, None] - mean) ** 2).sum(axis=0) / weight), 0.5)
        converged = np.abs(mean - mixture.mean).max() < 1e-4
        mixture = _Mixture(mean, sd, weight / weight.sum())
        if converged:
            break
    return mixture


def _gaussian_mixture(muscle: _Muscle) -> np.ndarray:
    """More likely scar than remote."""
    known = np.isfinite(muscle.relative)
    density = muscle.mixture.density(muscle.relative)
    brighter = known & (muscle.relative > muscle.mixture.mean[0])
    return np.where(brighter, density[..., 1] > density[..., 0], False).astype(float)


def _weighted_mixture(muscle: _Muscle) -> np.ndarray:
    """Mixture, then each pixel of the scar region weighs as much as it is scar by its signal between remote and full scar.

    The idea of Heiberg et al. (Radiology 2008, doi 10.1148/radiol.2461062164) and Engblom et al. (JCMR 2016,
    doi 10.1186/s12968-016-0242-5); an own, open form of it: weight = (signal - remote) / (scar - remote), at most 1.
    """
    known, mean = np.isfinite(muscle.relative), muscle.mixture.mean
    region = _gaussian_mixture(muscle) > 0
    # Partial volume surrounds the core: pixels beside the region that stand out from remote belong to it in part.
    rim = (
        ndimage.binary_dilation(region, ndimage.generate_binary_structure(3, 1)[1][None])
        & known
        & (muscle.relative > 2)
    )
    weights = np.clip((np.nan_to_num(muscle.relative) - mean[0]) / max(mean[1] - mean[0], 1e-6), 0, 1)
    return np.where(region | rim, weights, 0.0)


def _without_islands(weights: np.ndarray, volumes: np.ndarray, minimum: float = MINIMUM_REGION_ML) -> np.ndarray:
    regions, count = ndimage.label(weights > 0, ndimage.generate_binary_structure(3, 1))
    if not count:
        return weights
    sizes = ndimage.sum_labels(weights * volumes[:, None, None], regions, np.arange(1, count + 1))
    return np.where(np.isin(regions, 1 + np.flatnonzero(sizes >= minimum)), weights, 0.0)


#: Key in report.json: definition and method.
METHODS: dict[str, tuple[str, Callable[[_Muscle], np.ndarray]]] = {
    **{f"{n}sd": (f"more than {n} standard deviations above remote myocardium", _n_sd(n)) for n in (2, 3, 4, 5, 6)},
    "fwhm": (
        "full width at half maximum; halfway between remote and maximum unless the images are known to be magnitude",
        _fwhm,
    ),
    "otsu": ("Otsu's threshold over the myocardium", _otsu),
    "gmm": ("more likely scar than remote in a mixture of two Gaussians", _gaussian_mixture),
    "ewa": ("Gaussian mixture with partial-volume weights, after Heiberg and Engblom", _weighted_mixture),
}
