"""Scar by intensity inside given myocardium: the established methods side by side, each named in every figure.

Thresholds are set per slice against that slice's remote myocardium, since nulling drifts over a stack and archives rescale
slices; a slice without a cavity has none of its own and takes the nearest. Magnitude and phase-sensitive images are treated
apart where it matters: half of the maximum has no meaning where zero is not "no signal", so that FWHM is referred to remote
myocardium on PSIR (Engblom et al., JCMR 2016, table 1), and on images of unknown reconstruction, which its definition then says.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from scarnet.quantification.muscle import MuscleSignal, without_islands
from scarnet.quantification.weighted import weighted_infarct
from scarnet.series import Reconstruction

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


def compare_methods(muscle: MuscleSignal) -> tuple[ThresholdResult, ...]:
    """Every method on the same myocardium, whatever scar is drawn in it; MVO counts as scar where it is labelled.

    Slices without a remote region refer to the nearest that has one; without any, there is nothing to compare and the result
    is empty.
    """
    if muscle.known.sum() < MINIMUM_PIXELS:
        return ()
    volumes = muscle.geometry.voxel_volumes_ml
    muscle_ml = float(muscle.mask.sum(axis=(1, 2)) @ volumes)
    results = []
    for name, method in METHODS.items():
        weights = method(muscle)
        if weights.dtype == bool:
            weights = without_islands(weights, muscle.geometry).astype(float)
        weights = np.where(muscle.mvo, 1.0, weights)
        volume = float(weights.sum(axis=(1, 2)) @ volumes)
        definition = definition_of(name, muscle.reconstruction)
        results.append(ThresholdResult(name, definition, weights, volume, 100 * volume / muscle_ml))
    return tuple(results)


def definition_of(method: str, reconstruction: Reconstruction) -> str:
    """What a key of `METHODS` means on images of this reconstruction."""
    if method != "fwhm":
        return _DEFINITIONS[method]
    if reconstruction == Reconstruction.MAGNITUDE:
        return "full width at half maximum: at least half of the maximum in the slice's scar (magnitude images)"
    halfway = (
        "full width at half maximum, remote-referenced: at least halfway from remote to the maximum in the slice's scar"
    )
    if reconstruction == Reconstruction.PSIR:
        return f"{halfway} (PSIR)"
    return f"{halfway} (whether the images are magnitude or PSIR is not known; magnitude would call for half of the maximum)"


def _n_sd(n: float) -> Callable[[MuscleSignal], np.ndarray]:
    return lambda muscle: np.nan_to_num(muscle.relative, nan=-np.inf) > n


def _fwhm(muscle: MuscleSignal) -> np.ndarray:
    """At least half of the maximum (Amado et al., JACC 2004), which is sought in what 5-SD calls scar."""
    return muscle.of_maximum >= 0.5


def _otsu(muscle: MuscleSignal) -> np.ndarray:
    """Otsu, IEEE Trans SMC 1979, over the muscle of all slices."""
    values = sitk.GetImageFromArray(muscle.relative[muscle.known].astype(np.float32)[None, :])
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.SetNumberOfHistogramBins(256)
    otsu.Execute(values)
    return np.nan_to_num(muscle.relative, nan=-np.inf) > otsu.GetThreshold()


def _gaussian_mixture(muscle: MuscleSignal) -> np.ndarray:
    """More likely scar than remote."""
    mixture = _fit_mixture(muscle.relative[muscle.known])
    result = np.zeros(muscle.mask.shape, bool)
    values = muscle.relative[muscle.known]
    density = mixture.density(values)
    result[muscle.known] = (values > mixture.mean[0]) & (density[:, 1] > density[:, 0])
    return result


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


#: Key in report.json and method; bool masks lose their islands, weights (float) are taken as they are.
METHODS: dict[str, Callable[[MuscleSignal], np.ndarray]] = {
    **{f"{n}sd": _n_sd(n) for n in (2, 3, 4, 5, 6)},
    "fwhm": _fwhm,
    "otsu": _otsu,
    "gmm": _gaussian_mixture,
    "ewa": weighted_infarct,
}
_DEFINITIONS = {
    **{f"{n}sd": f"more than {n} standard deviations above remote myocardium" for n in (2, 3, 4, 5, 6)},
    "otsu": "Otsu's threshold over the myocardium",
    "gmm": "more likely scar than remote in a mixture of two Gaussians",
    "ewa": "expectation-maximisation between remote myocardium and blood, pixels weighted for partial volume (open method after "
    "the ideas of Heiberg 2008 and Engblom 2016, not their program)",
}
