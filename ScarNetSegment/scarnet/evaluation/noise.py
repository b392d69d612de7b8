"""Noise that was not in the image: the paper's Monte Carlo study, with levels that are stated."""

import zlib
from dataclasses import replace

import numpy as np

from scarnet.series import LgeSeries

#: What a level is a share of: the range of the stack's values between these percentiles.
RANGE_PERCENTILES = (1.0, 99.0)


def with_noise(series: LgeSeries, kind: str, level: float, generator: np.random.Generator) -> LgeSeries:
    """The stack with independent noise in every pixel.

    `level`: standard deviation as a share of the stack's range (RANGE_PERCENTILES). "gaussian" is added, as in phase-sensitive images;
    "rician" is the magnitude of the image with independent noise in its real and imaginary part (Gudbjartsson and Patz, MRM 1995),
    taken from the lowest value, so that dark pixels rise. Values are not rounded. Raises ValueError for another kind.
    """
    image = series.image.astype(np.float64)
    low, high = np.percentile(image, RANGE_PERCENTILES)
    sd = level * (high - low)
    if kind == "gaussian":
        noisy = image + generator.normal(0, sd, image.shape)
    elif kind == "rician":
        base = image.min()
        real = image - base + generator.normal(0, sd, image.shape)
        noisy = base + np.hypot(real, generator.normal(0, sd, image.shape))
    else:
        raise ValueError(f"Noise is gaussian or rician, not '{kind}'.")
    return replace(series, image=noisy.astype(np.float32))


def generator_of(seed: int, case: str, kind: str, level: float, draw: int) -> np.random.Generator:
    """The same noise for every model and on every machine."""
    return np.random.default_rng([seed, zlib.crc32(f"{case} {kind} {level:g}".encode()), draw])
