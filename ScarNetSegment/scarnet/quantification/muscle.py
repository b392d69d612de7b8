"""Signal of the myocardium in units that mean the same in every slice: what threshold methods look at."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from scarnet.conventions import Label, myocardium_mask
from scarnet.quantification.frame import HeartFrame
from scarnet.quantification.remote import RemoteRegion
from scarnet.series import Reconstruction, StackGeometry

#: Islands smaller than this are noise to every method.
MINIMUM_REGION_ML = 0.3
#: The brightest pixels that count as "maximum": one hot pixel is not scar.
MAXIMUM_PERCENTILE = 99.0
#: What lies this many standard deviations above remote holds the maximum of scar.
BRIGHT_SD = 5.0
#: Fewer bright pixels in a slice have no maximum of their own; that of all slices is taken.
MINIMUM_BRIGHT_PIXELS = 10
#: A blood pool that stands out from remote by less than this many of its standard deviations is no reference for a slice.
MINIMUM_BLOOD_SD = 1.0
_NEIGHBOURS_3D = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True, eq=False)
class MuscleSignal:
    """Arrays `[slice, row, column]`; NaN in `relative` and `contrast` outside muscle (everywhere without any remote).

    Attributes
        mask: the whole myocardium.
        mvo: microvascular obstruction where it is labelled: scar to every method, however dark.
        cavity: the blood pool.
        relative: standard deviations above the slice's remote myocardium.
        contrast: 0 at remote myocardium, 1 at the blood pool of the same slice (slices whose blood does not stand out
            take the usual difference of the stack; without any, the brightest muscle is 1).
        remote: bool, the remote region.
        remote_of: `(slices,)`, the slice whose remote region each refers to: itself, or the nearest that has one.
    """

    image: np.ndarray
    mask: np.ndarray
    mvo: np.ndarray
    cavity: np.ndarray
    relative: np.ndarray
    contrast: np.ndarray
    remote: np.ndarray
    remote_of: np.ndarray
    reconstruction: Reconstruction
    geometry: StackGeometry

    @cached_property
    def known(self) -> np.ndarray:
        return np.isfinite(self.relative)

    @property
    def halves_image(self) -> bool:
        """Shares of the maximum are taken of the signal itself: where zero is "no signal", known magnitude images alone."""
        return self.reconstruction == Reconstruction.MAGNITUDE

    @cached_property
    def of_maximum(self) -> np.ndarray:
        """Share of the maximum in the slice's scar, 1 there; -inf outside muscle and where nothing is bright.

        Of the signal itself in magnitude images, of the signal above remote in all others.
        """
        if not np.isfinite(self.maximum).all():
            return np.full(self.mask.shape, -np.inf)
        return self._values / self.maximum[:, None, None]

    @cached_property
    def maximum(self) -> np.ndarray:
        """`(slices,)`: the 99th percentile of what lies 5 standard deviations above remote; NaN where nothing does."""
        bright = without_islands(self.known & (np.nan_to_num(self.relative) > BRIGHT_SD), self.geometry, 0.0, pixels=5)
        if not bright.any():
            return np.full(len(bright), np.nan)
        overall = np.percentile(self._values[bright], MAXIMUM_PERCENTILE)
        return np.array(
            [
                np.percentile(values[inside], MAXIMUM_PERCENTILE) if inside.sum() >= MINIMUM_BRIGHT_PIXELS else overall
                for values, inside in zip(self._values, bright, strict=True)
            ]
        )

    @cached_property
    def _values(self) -> np.ndarray:
        """What shares of the maximum are taken of; -inf outside muscle."""
        return np.where(self.known, self.image if self.halves_image else self.relative, -np.inf)


def muscle_signal(
    image: np.ndarray,
    labels: np.ndarray,
    frame: HeartFrame,
    remote: RemoteRegion,
    *,
    reconstruction: Reconstruction = Reconstruction.UNKNOWN,
) -> MuscleSignal:
    """`image` and `labels` `[slice, row, column]` on the frame's grid. Scar drawn in `labels` plays no part, MVO does."""
    mask = myocardium_mask(labels)
    spread = np.where(remote.sd > 0, remote.sd, np.nan)
    above = np.where(mask, image - remote.mean[:, None, None], np.nan)
    blood = np.array(
        [
            np.median(plane[inside]) if inside.any() else np.nan
            for plane, inside in zip(image, frame.cavity, strict=True)
        ]
    )
    difference = blood - remote.mean
    stands_out = np.isfinite(difference) & (difference > MINIMUM_BLOOD_SD * np.nan_to_num(spread, nan=np.inf))
    if stands_out.any():
        difference = np.where(stands_out, difference, np.median(difference[stands_out]))
    elif np.isfinite(above).any():
        difference = np.full(len(mask), max(np.nanpercentile(above, MAXIMUM_PERCENTILE), 1e-6))
    relative = above / spread[:, None, None]
    return MuscleSignal(
        image=image,
        mask=mask,
        mvo=labels == Label.MVO,
        cavity=frame.cavity,
        relative=relative,
        contrast=np.where(np.isfinite(relative), above / difference[:, None, None], np.nan),
        remote=remote.mask,
        remote_of=remote.taken_from,
        reconstruction=reconstruction,
        geometry=frame.geometry,
    )


def without_islands(
    mask: np.ndarray, geometry: StackGeometry, minimum_ml: float = MINIMUM_REGION_ML, *, pixels: int = 1
) -> np.ndarray:
    """bool `[slice, row, column]` less its connected regions (faces touching, across slices too) below either size."""
    regions, count = ndimage.label(mask, _NEIGHBOURS_3D)
    if not count:
        return mask
    per_slice = np.stack([np.bincount(plane.ravel(), minlength=count + 1) for plane in regions])
    keep = (geometry.voxel_volumes_ml @ per_slice >= minimum_ml) & (per_slice.sum(axis=0) >= pixels)
    keep[0] = False
    return keep[regions]
