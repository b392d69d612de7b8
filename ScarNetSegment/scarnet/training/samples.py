"""Training samples: sample number n of a seed is always the same picture, so that a resumed run is the same run."""

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from scarnet.conventions import Label, scar_mask
from scarnet.segmentation.crop import normalise, with_neighbours
from scarnet.training.apex import CLOSED_SHARE, apical_slices, with_closed_cavity
from scarnet.training.augment import OUTSIDE, Strength, other_intensities, placed
from scarnet.training.beyond import (
    FROM_CINE,
    PAST_APEX,
    UNLIT_SHARE,
    apex_and_base,
    past_apex,
    past_base,
    slices_beyond,
    with_gamma,
)
from scarnet.training.data import PreparedCase
from scarnet.training.grafts import Graft, graft_of, with_graft
from scarnet.training.synthetic import (
    CINE_SYNTHETIC_SHARE,
    FAINTER_SHARE,
    SYNTHETIC_SHARE,
    Wall,
    wall_of,
    with_fainter_scar,
    with_other_contrast,
    with_synthetic_scar,
)

#: Share of samples drawn among slices with scar alone, beyond those that chance brings.
SCAR_SHARE = 0.15
#: Share of samples from cine hearts, where there are patients as well.
CINE_SHARE = 0.10
#: Share of samples without scar of their own that are given another patient's, unless told otherwise.
GRAFT_SHARE = 0.4
#: Share of samples that show no heart at all, so that slices beyond apex and base stay empty.
OFF_HEART_SHARE = 0.03
#: Share of samples whose neighbours are the slice itself, as at the ends of a stack and in stacks of one slice.
ALONE_SHARE = 0.05
#: Farthest that a sample's centre lies from the LV's, mm. In use the crop is centred anew on what was found in it.
MAX_SHIFT_MM = 10.0


class Batched(Dataset):
    """Samples are made by the batch (`__getitems__`, which PyTorch's loader asks for); `self[n]` is a batch of one."""

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        generators = [np.random.default_rng([self.seed, number]) for number in numbers]
        drawn = [self.draw(rng) for rng in generators]
        windows, labels, shifts = (np.stack(part) for part in zip(*drawn, strict=True))
        image, shares = placed(windows, labels, shifts, self.side, generators, self.strength)
        image = other_intensities(image, shares, generators, self.strength).numpy()
        inside = np.broadcast_to((shares[:, OUTSIDE, None] < 0.5).numpy(), image.shape)
        image = torch.from_numpy(normalise(image, inside))
        target = shares[:, :OUTSIDE].clone()
        target[:, Label.BACKGROUND] += shares[:, OUTSIDE]
        return list(zip(image, self.target(target), strict=True))

    def target(self, shares: torch.Tensor) -> torch.Tensor:
        """What is learnt of the classes' shares `[n, class, side, side]`."""
        raise NotImplementedError


class LgeSlices(Batched):
    """Augmented slices of prepared patients. `self[n]`: float32 `[in_slices, side, side]` and the share of each class in every
    pixel, float32 `[num_classes, side, side]`.

    `cine`: further hearts without enhancement, met with LGE's contrast and often with a drawn infarct; they may be all
    there is. `synthetic`: draw infarcts into patients too, make real ones fainter (see `synthetic`), carry them from patient to
    patient (`graft_share`, see `grafts`), close cavities near the apex (see `apex`). `beyond_share`: of samples that lie beyond the
    ventricle (see `beyond`).
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
        graft_share: float = GRAFT_SHARE,
        beyond_share: float = 0.0,
        strength: Strength | None = None,
    ):
        self.side, self.in_slices, self.pixel_mm = side, in_slices, pixel_mm
        self.num_classes, self.seed = num_classes, seed
        self.synthetic, self.graft_share, self.beyond_share = synthetic, graft_share, beyond_share
        self.strength = strength or Strength()
        hearts = [*cases, *cine]
        windows = [
            square_window(with_neighbours(normalise(h.image), in_slices), h.labels, h.center, 9 * side // 4)
            for h in hearts
        ]
        self.planes = [planes for planes, _ in windows]
        self.labels = [labels for _, labels in windows]
        self.is_cine = [n >= len(cases) for n in range(len(hearts))]
        self.boxes = [_box(labels) for labels in self.labels]
        self.walls: dict[tuple[int, int], Wall | None] = {}
        self.patient_slices = [(c, k) for c, case in enumerate(cases) for k in range(len(case.image))]
        self.scar_slices = [(c, k) for c, k in self.patient_slices if scar_mask(cases[c].labels[k]).any()]
        self.grafts = self._grafts() if synthetic else []
        self.apical = {(c, k) for c, labels in enumerate(self.labels) for k in apical_slices(labels) if synthetic}
        self.cine_slices = [(c, k) for c in range(len(cases), len(hearts)) for k in range(len(hearts[c].image))]
        self.cine_beyond = [(c, k) for c in range(len(cases), len(hearts)) for k in slices_beyond(self.labels[c])]
        ends = [apex_and_base(labels) for labels in self.labels[: len(cases)]]
        self.ends = [(c, *pair) for c, pair in enumerate(ends) if pair is not None]

    def target(self, shares: torch.Tensor) -> torch.Tensor:
        return shares[:, : self.num_classes]

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Window, labels, shift: everything but how it is turned and lit."""
        if self.beyond_share and rng.random() < self.beyond_share and (self.cine_beyond or self.ends):
            return self._placed(*self._beyond(rng), rng)
        chance = rng.random()
        pool = self.scar_slices if self.scar_slices and chance < SCAR_SHARE else self.patient_slices
        if not self.patient_slices or (self.cine_slices and chance > 1 - CINE_SHARE):
            pool = self.cine_slices
        case, k = pool[rng.integers(len(pool))]
        planes, target = self._with_other_scar(case, k, rng)
        if (case, k) in self.apical and rng.random() < CLOSED_SHARE:
            beside = [self.labels[case][n] for n in self._beside(case, k)]
            beside[self.in_slices // 2] = target
            planes, target = with_closed_cavity(planes, beside, rng)
        return self._placed(planes, target, rng)

    def _placed(
        self, planes: np.ndarray, target: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Base first or apex first, and off the middle."""
        if self.in_slices > 1:
            if rng.random() < 0.5:  # base first or apex first
                planes = planes[::-1]
            if rng.random() < ALONE_SHARE:
                planes = np.broadcast_to(planes[self.in_slices // 2], planes.shape)
        distance = MAX_SHIFT_MM / self.pixel_mm * rng.random()
        if rng.random() < OFF_HEART_SHARE:
            distance = rng.uniform(0.6, 1.1) * self.side
        angle = rng.uniform(0, 2 * np.pi)
        target = np.where(target == OUTSIDE, OUTSIDE, np.minimum(target, self.num_classes - 1))
        return (
            np.ascontiguousarray(planes, np.float32),
            target,
            distance * np.array([np.sin(angle), np.cos(angle)]),
        )

    def _beyond(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A slice beyond the ventricle amid its neighbours, and its labels."""
        if self.cine_beyond and (not self.ends or rng.random() < FROM_CINE):
            case, k = self.cine_beyond[rng.integers(len(self.cine_beyond))]
            planes = self.planes[case][k]
            if rng.random() > UNLIT_SHARE:
                beside = [self.labels[case][n] for n in self._beside(case, k)]
                planes = with_other_contrast(planes, beside, rng)
            return with_gamma(planes, rng), self.labels[case][k]
        case, apex, base = self.ends[rng.integers(len(self.ends))]
        k, change = (apex, past_apex) if rng.random() < PAST_APEX else (base, past_base)
        half = self.in_slices // 2
        last = self.planes[case][k][half]
        plane, target = change(last, self.labels[case][k], rng)
        return np.stack([*[last] * half, *[plane] * (half + 1)]), target  # farther in and out lies more of the same

    def _with_other_scar(self, case: int, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        plane, labels, is_cine = self.planes[case][k], self.labels[case], self.is_cine[case]
        if not (self.synthetic or is_cine):
            return plane, labels[k]
        part, near, walls = self._near(case, k)
        box = self.boxes[case]  # all changes happen near the ventricle
        if is_cine and self.beyond_share and rng.random() < UNLIT_SHARE:
            part = with_gamma(part, rng)
        elif is_cine:
            part = with_other_contrast(part, near, rng)
        elif rng.random() < FAINTER_SHARE:
            part = with_fainter_scar(part, near, rng)
        part_labels = near[self.in_slices // 2]
        if (
            self.grafts
            and not ((part_labels == Label.SCAR) | (part_labels == Label.MVO)).any()
            and rng.random() < self.graft_share
        ):
            part, part_labels = with_graft(part, near, walls, self.grafts[rng.integers(len(self.grafts))], rng)
        elif rng.random() < (CINE_SYNTHETIC_SHARE if is_cine else SYNTHETIC_SHARE):
            part, part_labels = with_synthetic_scar(part, near, walls, rng)
        plane, target = plane.copy(), labels[k].copy()
        plane[(slice(None), *box)], target[box] = part, part_labels
        return plane, target

    def _near(self, case: int, k: int) -> tuple[np.ndarray, list[np.ndarray], list[Wall | None]]:
        """A slice and its neighbours about the ventricle: planes, labels, walls."""
        labels, box, beside = self.labels[case], self.boxes[case], self._beside(case, k)
        planes = self.planes[case][k][(slice(None), *box)]
        return planes, [labels[n][box] for n in beside], [self._wall(case, n) for n in beside]

    def _beside(self, case: int, k: int) -> np.ndarray:
        """Numbers of a slice and its neighbours; at the ends of the stack the slice itself stands in."""
        reach = self.in_slices // 2
        return np.clip(np.arange(k - reach, k + reach + 1), 0, len(self.labels[case]) - 1)

    def _grafts(self) -> list[Graft]:
        found = (graft_of(*self._near(case, k)) for case, k in self.scar_slices)
        return [graft for graft in found if graft is not None]

    def _wall(self, case: int, k: int) -> Wall | None:
        if (case, k) not in self.walls:
            labels = self.labels[case][k][self.boxes[case]]
            self.walls[case, k] = wall_of(np.where(labels == OUTSIDE, 0, labels))
        return self.walls[case, k]


def _box(labels: np.ndarray, margin: int = 5) -> tuple[slice, slice]:
    """Rows and columns that hold the ventricle in any slice, with a margin; all of them where there is none."""
    lv = ((labels > 0) & (labels != OUTSIDE)).any(axis=0)
    if not lv.any():
        return slice(None), slice(None)
    return tuple(slice(max(n.min() - margin, 0), n.max() + margin + 1) for n in np.nonzero(lv))


def square_window(
    planes: np.ndarray, labels: np.ndarray, center: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """`[..., row, column]` cut to a square of `size` about `center`; beyond the image edge labels are OUTSIDE."""
    start = np.round(center - size / 2).astype(int)
    index = [start[axis] + np.arange(size) for axis in (0, 1)]
    clipped = [np.clip(index[axis], 0, labels.shape[axis - 2] - 1) for axis in (0, 1)]
    inside = (clipped[0] == index[0])[:, None] & (clipped[1] == index[1])[None, :]
    rows, columns = clipped[0][:, None], clipped[1][None, :]
    target = np.where(inside, labels[..., rows, columns], OUTSIDE).astype(np.uint8)
    return np.ascontiguousarray(planes[..., rows, columns], np.float32), target


class WholeSlices(Batched):
    """Whole slices at the finder's pixel size, shifted, turned and cut. `self[n]`: `(float32 [1, side, side], bool)`.

    With `synthetic`, cine hearts are met with LGE's contrast and drawn infarcts.
    """

    #: 384 mm at 4 mm a pixel: a large field of view with room to shift.
    SIDE = 96
    MAX_SHIFT_MM = 90.0
    #: Share of samples that show no more than a rectangle about the ventricle, and by how much at least and at most, mm a side.
    SMALL_FIELD_SHARE = 0.3
    FIELD_MARGIN_MM = (15.0, 110.0)
    #: Share of those whose files were filled up to their old size with black.
    PADDED_SHARE = 0.4

    def __init__(self, cases: list[PreparedCase], *, pixel_mm: float, seed: int, synthetic: bool = False):
        self.pixel_mm, self.seed, self.side, self.synthetic = pixel_mm, seed, self.SIDE, synthetic
        self.strength = Strength(bend_pixels=1.0)
        windows = [
            square_window(normalise(c.image)[:, None], c.labels, np.array(c.labels.shape[1:]) / 2, 2 * self.SIDE)
            for c in cases
        ]
        self.planes = [planes for planes, _ in windows]
        self.labels = [labels for _, labels in windows]

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        case = rng.integers(len(self.planes))  # by patient first: long stacks do not count more
        k = rng.integers(len(self.planes[case]))
        planes, labels = self.planes[case][k], self.labels[case][k]
        if self.synthetic:
            planes = with_other_contrast(planes, [labels], rng)
        if rng.random() < self.SMALL_FIELD_SHARE:
            planes, labels = self._small_field(case, planes, labels, rng)
        return planes, labels, rng.uniform(-1, 1, 2) * self.MAX_SHIFT_MM / self.pixel_mm

    def _small_field(self, case: int, planes, labels, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        margins = rng.uniform(*self.FIELD_MARGIN_MM, 4) / self.pixel_mm
        lv = np.argwhere(((self.labels[case] > 0) & (self.labels[case] != OUTSIDE)).any(axis=0))
        if not len(lv):
            return planes, labels
        low = np.maximum(lv.min(axis=0) - margins[:2], 0).astype(int)
        high = (lv.max(axis=0) + margins[2:] + 1).astype(int)
        field = np.zeros(labels.shape, bool)
        field[low[0] : high[0], low[1] : high[1]] = True
        if rng.random() < self.PADDED_SHARE:
            black = np.where(field, planes, planes.min())
            return black.astype(planes.dtype), np.where(field | (labels == OUTSIDE), labels, 0).astype(labels.dtype)
        return planes, np.where(field, labels, OUTSIDE).astype(labels.dtype)

    def target(self, shares: torch.Tensor) -> torch.Tensor:
        return shares[:, Label.BACKGROUND] < 0.5


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
