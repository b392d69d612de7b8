"""Training samples: sample number n of a seed is always the same picture, so that a resumed run is the same run."""

import numpy as np
import torch
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from torch.utils.data import Dataset, Sampler

from scarnet.conventions import scar_mask
from scarnet.segmentation.crop import normalise, with_neighbours
from scarnet.training.data import PreparedCase
from scarnet.training.synthetic import (
    FAINTER_SHARE,
    SYNTHETIC_SHARE,
    wall_of,
    with_fainter_scar,
    with_synthetic_scar,
)

#: Share of samples drawn among slices with scar alone: scar is in half of the slices and in few of their pixels.
SCAR_SHARE = 0.3
#: Share of samples from cine hearts, where there are any.
CINE_SHARE = 0.15
#: Share of samples that show no heart at all, so that slices beyond apex and base stay empty.
OFF_HEART_SHARE = 0.04
#: Farthest that a sample's centre lies from the LV's, mm: what the finder is trusted to.
MAX_SHIFT_MM = 16.0
#: Label of pixels that no image covers: they are turned with the rest, then left out of the normalisation as in use.
OUTSIDE = 9


def augmentation(side: int) -> ComposeTransforms:
    """Any in-plane orientation, scale, elastic; then contrast, bias field, noise, blur and coarse acquisition."""
    return ComposeTransforms(
        [
            SpatialTransform(
                (side, side),
                patch_center_dist_from_border=0,
                random_crop=False,
                p_rotation=1.0,
                p_scaling=0.7,
                scaling=(0.75, 1.3),
                p_synchronize_scaling_across_axes=0.8,
                p_elastic_deform=0.25,
                elastic_deform_scale=(0.1, 0.3),
                elastic_deform_magnitude=(0.02, 0.08),
                mode_seg="bilinear",  # per class, then the largest: see resample_labels
                padding_mode_image="border",
            ),
            MirrorTransform(allowed_axes=(0, 1)),
            RandomTransform(GaussianBlurTransform((0.4, 1.2), synchronize_channels=True, synchronize_axes=True), 0.15),
            RandomTransform(
                SimulateLowResolutionTransform(
                    (0.5, 1.0), synchronize_channels=True, synchronize_axes=True, ignore_axes=()
                ),
                0.15,
            ),
            RandomTransform(GaussianNoiseTransform((0, 0.08), synchronize_channels=True), 0.3),
            RandomTransform(
                BrightnessGradientAdditiveTransform(
                    lambda shape, dimension: np.exp(
                        np.random.uniform(np.log(shape[dimension] / 3), np.log(shape[dimension] * 2))
                    ),
                    (-0.5, 1.5),
                    max_strength=lambda image, gradient: np.random.uniform(-1.0, 1.0),
                    same_for_all_channels=True,
                    mean_centered=True,
                ),
                0.3,
            ),
            RandomTransform(
                ContrastTransform(BGContrast((0.7, 1.4)), preserve_range=False, synchronize_channels=True), 0.3
            ),
            RandomTransform(
                GammaTransform(
                    BGContrast((0.6, 1.6)),
                    p_invert_image=0.0,
                    synchronize_channels=True,
                    p_per_channel=1,
                    p_retain_stats=1,
                ),
                0.4,
            ),
        ]
    )


class LgeSlices(Dataset):
    """Augmented slices of prepared patients. `self[n]`: `(float32 [in_slices, side, side], int64 [side, side])`.

    `cine`: further hearts without enhancement, met as they are or with a drawn infarct. `synthetic`: draw infarcts into
    hearts and make real ones fainter (see `synthetic`).
    """

    def __init__(
        self,
        cases: list[PreparedCase],
        *,
        side: int,
        in_slices: int,
        pixel_mm: float,
        num_classes: int,
        seed: int,
        cine: list[PreparedCase] = (),
        synthetic: bool = False,
    ):
        self.side, self.in_slices, self.pixel_mm = side, in_slices, pixel_mm
        self.num_classes, self.seed, self.synthetic = num_classes, seed, synthetic
        hearts = [*cases, *cine]
        self.cases = [(with_neighbours(normalise(h.image), in_slices), h.labels, h.center) for h in hearts]
        self.walls = [[wall_of(plane) for plane in h.labels] if synthetic else None for h in hearts]
        self.all_slices = [(c, k) for c, case in enumerate(cases) for k in range(len(case.image))]
        self.scar_slices = [(c, k) for c, k in self.all_slices if scar_mask(cases[c].labels[k]).any()]
        self.cine_slices = [(c, k) for c in range(len(cases), len(hearts)) for k in range(len(hearts[c].image))]
        self.augment = augmentation(side)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([self.seed, number])
        draw = rng.random()
        pool = self.scar_slices if self.scar_slices and draw < SCAR_SHARE else self.all_slices
        if self.cine_slices and draw > 1 - CINE_SHARE:
            pool = self.cine_slices
        case, k = pool[rng.integers(len(pool))]
        planes, labels, center = self.cases[case]
        plane, target = planes[k], labels[k]
        if self.synthetic:
            plane, target = self._with_other_scar(case, k, rng)
        distance = MAX_SHIFT_MM * rng.random()
        if rng.random() < OFF_HEART_SHARE:
            distance = rng.uniform(0.6, 1.2) * self.side * self.pixel_mm
        angle = rng.uniform(0, 2 * np.pi)
        center = center + distance / self.pixel_mm * np.array([np.sin(angle), np.cos(angle)])
        window, target = square_window(plane, target, center, self.side)
        image, target = augmented(self.augment, window, target, rng)
        return image, torch.where(target == OUTSIDE, 0, target).clamp_(max=self.num_classes - 1)

    def _with_other_scar(self, case: int, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        planes, labels, _ = self.cases[case]
        beside = np.clip(np.arange(k - self.in_slices // 2, k + self.in_slices // 2 + 1), 0, len(labels) - 1)
        plane, near = planes[k], [labels[n] for n in beside]
        if rng.random() < FAINTER_SHARE:
            plane = with_fainter_scar(plane, near, rng)
        if rng.random() < SYNTHETIC_SHARE:
            return with_synthetic_scar(plane, near, [self.walls[case][n] for n in beside], rng)
        return plane, labels[k]


def square_window(
    planes: np.ndarray, labels: np.ndarray, center: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """A square about `center` wide enough for `side` to be turned in it; beyond the image edge labels are OUTSIDE."""
    size = int(np.ceil(side * 1.45))
    start = np.round(center - size / 2).astype(int)
    index = [start[axis] + np.arange(size) for axis in (0, 1)]
    clipped = [np.clip(index[axis], 0, labels.shape[axis] - 1) for axis in (0, 1)]
    inside = (clipped[0] == index[0])[:, None] & (clipped[1] == index[1])[None, :]
    window = planes[:, clipped[0][:, None], clipped[1][None, :]]
    target = np.where(inside, labels[clipped[0][:, None], clipped[1][None, :]], OUTSIDE)
    return np.ascontiguousarray(window, np.float32), target


def augmented(
    transforms, window: np.ndarray, target: np.ndarray, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Image, normalised where it exists, and int64 labels after transforms that draw from `rng` alone."""
    state = np.random.get_state()  # the library draws from the global generators: lend it ones of this sample's own
    with torch.random.fork_rng(devices=[]):
        np.random.seed(rng.integers(2**32, dtype=np.uint64).astype(np.uint32))
        torch.manual_seed(int(rng.integers(2**62)))
        sample = transforms(
            image=torch.from_numpy(window), segmentation=torch.from_numpy(target[None].astype(np.int16))
        )
    np.random.set_state(state)
    target = sample["segmentation"][0].long()
    return torch.from_numpy(normalise(sample["image"].numpy(), (target != OUTSIDE).numpy())), target


class WholeSlices(Dataset):
    """Whole slices at the finder's pixel size, shifted, turned and cut. `self[n]`: `(float32 [1, side, side], bool)`."""

    #: 384 mm at 4 mm a pixel: a large field of view with room to shift.
    SIDE = 96
    MAX_SHIFT_MM = 90.0

    def __init__(self, cases: list[PreparedCase], *, pixel_mm: float, seed: int):
        self.cases, self.pixel_mm, self.seed = cases, pixel_mm, seed
        self.planes = [normalise(case.image) for case in cases]
        self.augment = augmentation(self.SIDE)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([self.seed, number])
        case = rng.integers(len(self.cases))  # by patient first: long stacks do not count more
        planes, labels = self.planes[case], self.cases[case].labels
        k = rng.integers(len(planes))
        shift = rng.uniform(-1, 1, 2) * self.MAX_SHIFT_MM / self.pixel_mm
        center = np.array(labels.shape[1:]) / 2 + shift
        window, target = square_window(planes[k : k + 1], labels[k], center, self.SIDE)
        image, target = augmented(self.augment, window, target, rng)
        return image, (target > 0) & (target != OUTSIDE)


class NumberedSampler(Sampler[int]):
    """Sample numbers of one epoch; Lightning sets the epoch, also after a resume."""

    def __init__(self, samples_per_epoch: int):
        self.samples_per_epoch, self.epoch = samples_per_epoch, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.samples_per_epoch

    def __iter__(self):
        first = self.epoch * self.samples_per_epoch
        return iter(range(first, first + self.samples_per_epoch))
