"""From anatomy and physics to the images a scanner would give, with the truth beside them."""

from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

from scarnet.conventions import Label
from scarnet.phantom.anatomy import HeartParameters, paint
from scarnet.phantom.physics import T1_MS, Tissue, null_time_ms, tissue_signals
from scarnet.series import LgeSeries, Reconstruction, SeriesSource, StackGeometry
from scarnet.series.checks import content_sha256

#: Points per pixel and axis in the plane, and per slice thickness: what partial volume is averaged from.
IN_PLANE_SAMPLES, THROUGH_PLANE_SAMPLES = 4, 8

#: Label of each tissue. Papillary muscles count as blood pool, as in the expert contours that networks learn from.
TISSUE_LABEL = {
    Tissue.BLOOD: Label.BLOOD_POOL,
    Tissue.PAPILLARY: Label.BLOOD_POOL,
    Tissue.MYOCARDIUM: Label.MYOCARDIUM,
    Tissue.SCAR: Label.SCAR,
    Tissue.MVO: Label.MVO,
}


@dataclass(frozen=True)
class PhantomParameters:
    """What is scanned and how. Long axis and rows are directions in the patient (LPS)."""

    heart: HeartParameters = HeartParameters()
    slices: int = 10
    size: int = 208  # rows and columns
    pixel_mm: float = 1.5
    thickness_mm: float = 8.0
    gap_mm: float = 2.0
    first_depth_mm: float = 1.0  # of the basal slice, from the mitral annulus
    reconstruction: Reconstruction = Reconstruction.PSIR
    ti_error_ms: float = 0.0  # of the inversion time against perfect nulling
    tr_ms: float = 1700.0  # two heartbeats at 70 per minute
    noise: float = 0.020  # standard deviation, in units of equilibrium magnetisation (blood gives about 0.2)
    texture: float = 0.07  # of the tissue itself, as a share of its signal
    shading: float = 0.25  # fall of the coils' sensitivity across the chest
    long_axis: tuple[float, float, float] = (0.66, -0.55, -0.51)  # base to apex: left, forward, down
    lateral: tuple[float, float, float] = (0.60, 0.75, 0.0)  # displayed right, made perpendicular to the long axis
    center_lps_mm: tuple[float, float, float] = (45.0, -20.0, 10.0)  # of the annulus
    heart_off_center_mm: tuple[float, float] = (14.0, -10.0)  # displayed right and down, in the field of view


@dataclass(frozen=True, eq=False)
class Phantom:
    """`labels` uint8 `[slice, row, column]` by majority in each voxel; `truth_ml` from all points, partial voxels exact."""

    series: LgeSeries
    labels: np.ndarray
    truth_ml: dict[str, float]
    parameters: PhantomParameters


def simulate(parameters: PhantomParameters = PhantomParameters(), *, seed: int = 0) -> Phantom:
    """A stack and its truth; the same for the same parameters and seed.

    Volumes in `truth_ml` weigh each slice by the slice distance, as every report does: they are the truth of the imaged
    slices, not of the ellipsoid between them.
    """
    p = parameters
    rng = np.random.default_rng(seed)
    wobble = rng.normal(0, 0.45, 6)
    geometry = _geometry(p)
    fractions = np.stack([_tissue_fractions(p, depth, wobble) for depth in _depths(p)])  # [slice, tissue, row, column]
    by_label = np.zeros((p.slices, len(Label), p.size, p.size), np.float32)
    heart = _lv_region(p)
    for tissue in Tissue:
        inside = TISSUE_LABEL.get(tissue, Label.BACKGROUND)
        if inside == Label.BLOOD_POOL:  # blood of the RV and the aorta is no LV blood pool
            by_label[:, Label.BLOOD_POOL] += fractions[:, tissue] * heart
            by_label[:, Label.BACKGROUND] += fractions[:, tissue] * ~heart
        else:
            by_label[:, inside] += fractions[:, tissue]
    weights = geometry.voxel_volumes_ml
    volumes = np.einsum("klrc,k->l", by_label.astype(float), weights)
    truth = {
        "blood_pool_volume_ml": volumes[Label.BLOOD_POOL],
        "myocardium_volume_ml": volumes[Label.MYOCARDIUM :].sum(),
        "scar_volume_ml": volumes[Label.SCAR :].sum(),
        "mvo_volume_ml": volumes[Label.MVO],
        "scar_percent_lv": 100 * volumes[Label.SCAR :].sum() / volumes[Label.MYOCARDIUM :].sum(),
    }
    image = _image(p, fractions, rng)
    series = LgeSeries(
        image=image,
        geometry=geometry,
        reconstruction=p.reconstruction,
        source=SeriesSource(kind="phantom", name="phantom", content_sha256=content_sha256(image, geometry)),
    )
    labels = by_label.argmax(axis=1).astype(np.uint8)
    return Phantom(series, labels, {key: round(float(value), 4) for key, value in truth.items()}, p)


def _geometry(p: PhantomParameters) -> StackGeometry:
    axis = np.array(p.long_axis) / np.linalg.norm(p.long_axis)
    right = np.array(p.lateral) - (np.array(p.lateral) @ axis) * axis
    right /= np.linalg.norm(right)
    down = np.cross(axis, right)
    down = down if down[2] < 0 else -down  # the inferior wall lies towards the feet
    corner = -(p.size - 1) / 2 * p.pixel_mm
    offset = (corner - p.heart_off_center_mm[0]) * right + (corner - p.heart_off_center_mm[1]) * down
    origins = np.array(p.center_lps_mm) + offset + _depths(p)[:, None] * axis
    return StackGeometry(
        shape=(p.slices, p.size, p.size),
        pixel_spacing_mm=(p.pixel_mm, p.pixel_mm),
        column_direction=right,
        row_direction=down,
        slice_origins_mm=np.round(origins, 6),
        single_slice_thickness_mm=p.thickness_mm,
    )


def _depths(p: PhantomParameters) -> np.ndarray:
    """`(slices,)` mm from the annulus, apex first: the order in which readers sort slices seen from the apex."""
    return p.first_depth_mm + (p.thickness_mm + p.gap_mm) * np.arange(p.slices)[::-1]


def _line(p: PhantomParameters, axis: int, first: int, last: int, samples: int) -> np.ndarray:
    """Displayed position (mm from the long axis) of `samples` points in each of the pixels `first` to `last`."""
    points = first + (np.arange((last - first) * samples) + 0.5) / samples - 0.5
    return (points - (p.size - 1) / 2) * p.pixel_mm - p.heart_off_center_mm[axis]


def _lv_region(p: PhantomParameters) -> np.ndarray:
    right, down = np.meshgrid(_line(p, 0, 0, p.size, 1), _line(p, 1, 0, p.size, 1))
    return np.hypot(right, down) < p.heart.endocardial_radius_mm + 4


def _tissue_fractions(p: PhantomParameters, center: float, wobble: np.ndarray) -> np.ndarray:
    """float32 `[tissue, row, column]`: share of each pixel's volume in the slice about depth `center`.

    Full sampling where the LV is; the chest around it, of which no truth is asked, is sampled once through the plane.
    """
    chest = _sampled(p, (0, p.size, 0, p.size), 2, [center], wobble)
    reach = p.heart.epicardial_radius_mm + 8
    box = []
    for axis in (1, 0):
        middle = (p.size - 1) / 2 + p.heart_off_center_mm[axis] / p.pixel_mm
        box += [max(int(middle - reach / p.pixel_mm), 0), min(int(middle + reach / p.pixel_mm) + 2, p.size)]
    depths = center + ((np.arange(THROUGH_PLANE_SAMPLES) + 0.5) / THROUGH_PLANE_SAMPLES - 0.5) * p.thickness_mm
    chest[:, box[0] : box[1], box[2] : box[3]] = _sampled(p, tuple(box), IN_PLANE_SAMPLES, depths, wobble)
    return chest


def _sampled(
    p: PhantomParameters, box: tuple[int, int, int, int], samples: int, depths, wobble: np.ndarray
) -> np.ndarray:
    """Tissue shares in the pixels of `box` (first and last row, first and last column), averaged over `depths`."""
    right, down = np.meshgrid(_line(p, 0, box[2], box[3], samples), _line(p, 1, box[0], box[1], samples))
    right, down = right.astype(np.float32), down.astype(np.float32)
    rows, columns = box[1] - box[0], box[3] - box[2]
    result = np.zeros((len(Tissue), rows, columns), np.float32)
    for depth in depths:
        tissue = paint(right, down, float(depth), p.heart, wobble)
        blocks = tissue.reshape(rows, samples, columns, samples)
        for value in np.unique(tissue):
            result[value] += (blocks == value).mean(axis=(1, 3), dtype=np.float32)
    return result / len(depths)


def _image(p: PhantomParameters, fractions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32 `[slice, row, column]` in whole numbers, as a scanner stores them."""
    ti = null_time_ms(T1_MS[Tissue.MYOCARDIUM], p.tr_ms) + 8 + p.ti_error_ms  # readers aim a little late of the null
    signal = np.einsum("ktrc,t->krc", fractions, tissue_signals(ti, p.tr_ms))
    texture = ndimage.gaussian_filter(rng.normal(size=signal.shape), (0, 2.2, 2.2))
    signal = (
        signal * (1 + p.texture * texture / texture.std())
        + 0.006 / 0.07 * p.texture * ndimage.gaussian_filter(texture, (0, 3, 3)) / texture.std()
    )
    rows, columns = np.meshgrid(*[np.linspace(-1, 1, p.size)] * 2, indexing="ij")
    signal = signal * (1 + p.shading * (-0.8 * rows - 0.5 * columns))  # the front coil lies over the chest
    noise = rng.normal(0, p.noise, (2, *signal.shape))
    complex_image = _acquire(signal + noise[0] + 1j * noise[1])
    values = complex_image.real if p.reconstruction == Reconstruction.PSIR else np.abs(complex_image)
    return np.round(values * 2500).astype(np.float32)


def _acquire(image: np.ndarray) -> np.ndarray:
    """Seven tenths of k-space with a smooth edge, zero-filled to full size: the blur of a scanner's interpolation."""
    spectrum = np.fft.fftshift(np.fft.fft2(image), axes=(-2, -1))
    k = np.abs(np.linspace(-1, 1, image.shape[-1], endpoint=False))
    edge = np.clip((0.78 - k) / 0.16, 0, 1)
    filter_ = np.sin(np.pi / 2 * edge) ** 2
    return np.fft.ifft2(np.fft.ifftshift(spectrum * filter_[:, None] * filter_[None, :], axes=(-2, -1)))


def describe(phantom: Phantom) -> dict:
    """Truth and parameters, JSON-ready."""
    return {"truth": phantom.truth_ml, "parameters": asdict(phantom.parameters)}
