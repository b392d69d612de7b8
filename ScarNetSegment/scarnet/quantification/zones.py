"""Infarct core and grey (border) zone. Definitions disagree, so that every number names its own."""

import numpy as np
from scipy import ndimage

from scarnet.quantification.muscle import MAXIMUM_PERCENTILE, MuscleSignal, without_islands
from scarnet.quantification.report import ZoneMeasures

_NEIGHBOURS_3D = ndimage.generate_binary_structure(3, 1)


def measure_zones(muscle: MuscleSignal, *, muscle_ml: float, density_g_per_ml: float) -> dict[str, ZoneMeasures]:
    """By definition id: `roes`, `schmidt`, `yan`. Labelled MVO belongs to the core. Empty without a remote region."""
    if not muscle.known.any():
        return {}
    of = "the maximum in scar" if muscle.halves_image else "the way from remote to the maximum in scar"
    share, relative = muscle.of_maximum, np.nan_to_num(muscle.relative, nan=-np.inf)
    zones = {
        "roes": (f"Roes: core at least 50 % of {of}, grey zone 35 to 50 %", share >= 0.5, share >= 0.35),
        "schmidt": (
            f"after Schmidt: core at least 50 % of {of}, grey zone from the brightest remote myocardium to 50 %",
            share >= 0.5,
            (share > _remote_peak(muscle, share)) & np.isfinite(share),
        ),
        "yan": ("Yan: core more than 3 standard deviations above remote, grey zone 2 to 3", relative > 3, relative > 2),
    }
    return {
        name: _measured(definition, muscle, core, reach, muscle_ml, density_g_per_ml)
        for name, (definition, core, reach) in zones.items()
    }


def _remote_peak(muscle: MuscleSignal, share: np.ndarray) -> np.ndarray:
    """`[slice, 1, 1]`: brightest remote myocardium (99th percentile) of the slice referred to, as a share of the slice's maximum."""
    peaks = np.array(
        [
            np.percentile(s[r], MAXIMUM_PERCENTILE) if r.any() and np.isfinite(s[r]).all() else np.inf
            for s, r in zip(share, muscle.remote, strict=True)
        ]
    )
    return (peaks[muscle.remote_of] * (muscle.maximum[muscle.remote_of] / muscle.maximum))[:, None, None]


def _measured(definition, muscle: MuscleSignal, core, reach, muscle_ml, density) -> ZoneMeasures:
    core = without_islands(core & muscle.mask, muscle.geometry) | muscle.mvo
    # A grey zone borders on a core: speckle elsewhere in the wall is noise.
    regions, _ = ndimage.label(core | (reach & muscle.mask), _NEIGHBOURS_3D)
    touching = np.unique(regions[core])
    grey = np.isin(regions, touching[touching > 0]) & ~core
    core_ml, grey_ml = (float(mask.sum(axis=(1, 2)) @ muscle.geometry.voxel_volumes_ml) for mask in (core, grey))
    percent = 100 / muscle_ml
    return ZoneMeasures(
        f"{definition}; grey zone only where it borders on the core.",
        core_ml,
        core_ml * density,
        core_ml * percent,
        grey_ml,
        grey_ml * density,
        grey_ml * percent,
    )
