"""Magnitude or phase-sensitive: from tags, then from the image, else unknown and said.

Phase-sensitive inversion recovery (Kellman et al., MRM 2002, doi 10.1002/mrm.10051) has signed values. Archives hold them
signed, with a rescale that takes an offset away, or with an offset and no word about it (2048 by default in Gadgetron's
gadget, 4096 elsewhere), so that zero is not "no signal". Magnitude is never negative, and its air is noise just above 0.
"""

import numpy as np

from scarnet.series.header import ImageHeader
from scarnet.series.lge import Reconstruction
from scarnet.series.names import reconstruction_words

#: Offsets under which signed values are stored without a rescale.
KNOWN_OFFSETS = (1024, 2048, 4096, 8192, 16384, 32768)
#: Air lies at the offset within this share of it: the noise of a corner's mean, and some ghosting.
OFFSET_TOLERANCE = 0.04
#: Mean over standard deviation of air: 1.91 where it is magnitude noise (Rayleigh); offset noise has a far larger one.
RAYLEIGH_RATIO, OFFSET_RATIO = 2.6, 3.5
#: Air is looked for in blocks of this many pixels a side, and is the tenth of them with the least spread.
BLOCK, AIR_SHARE = 8, 0.1

#: Negative values are a signed signal where they are at least this share of all that are not zero, or where the thousandth lowest lies this
#: far below zero, as a share of the brightest percent's level. Interpolation of magnitude undershoots by less: cubic by 0.2 %
#: of pixels and 7 % of that level on simulated images.
NEGATIVE_SHARE, NEGATIVE_DEPTH = 0.005, 0.1

#: Signs that values are signed, or magnitude, in ImageType (PS3.3 C.8.3.1.1.1; Philips: CR, corrected real).
_PSIR_TYPES = {"PSIR", "CR", "R", "REAL", "R_IR", "IR_REAL", "PHASE SENSITIVE", "PSIR_M"}
_MAGNITUDE_TYPES = {"M", "MAG", "MAGNITUDE", "M_IR", "M_FFE", "M_SE"}

UNKNOWN_RECONSTRUCTION = (
    "Neither the headers nor the image say whether these are magnitude or phase-sensitive (PSIR) images: scar in % by "
    "thresholds that need a true zero, such as FWHM, may be off. State it with --reconstruction."
)


def stated(header: ImageHeader) -> tuple[bool, bool]:
    """Whether the tags say magnitude, and whether they say phase-sensitive; both or neither leave it to the image.

    ImageType's word PSIR or REAL outweighs a name. A name with MAG in it outweighs one with PSIR, since protocols called
    PSIR give both. Signed storage says nothing: GE stores magnitude so.
    """
    types = set(header.image_type)
    magnitude_name, psir_name = reconstruction_words(header.words)
    psir_type = bool(types & _PSIR_TYPES)
    if psir_type:
        return magnitude_name, True
    if magnitude_name:
        return True, False
    magnitude_type = bool(types & _MAGNITUDE_TYPES)
    return magnitude_type, psir_name


def from_tags(header: ImageHeader) -> Reconstruction:
    return {(True, False): Reconstruction.MAGNITUDE, (False, True): Reconstruction.PSIR}.get(
        stated(header), Reconstruction.UNKNOWN
    )


def from_image(image: np.ndarray) -> tuple[Reconstruction, int]:
    """What values `[slice, row, column]` show, and the offset that they are stored with (0 for none).

    Negative values are phase-sensitive, unless so few and small that interpolation has made them. Otherwise the quietest parts of the picture, its air, decide: symmetric noise about one of
    the known offsets, with tissue below it, is phase-sensitive; noise just above zero is magnitude.
    """
    if is_signed(image):
        return Reconstruction.PSIR, 0
    air = _air(image)
    if air.size == 0:
        return Reconstruction.UNKNOWN, 0
    top = float(np.percentile(image, 99))
    center = float(np.median(air))
    deviation = 1.4826 * float(np.median(np.abs(air - center)))
    offset = min(KNOWN_OFFSETS, key=lambda known: abs(known - center))
    symmetric = abs(np.percentile(air, 90) + np.percentile(air, 10) - 2 * center) < 0.5 * max(deviation, 1)
    below = float((image < center - 4 * max(deviation, 1)).mean())
    if (
        abs(center - offset) < OFFSET_TOLERANCE * offset
        and symmetric
        and below > 0.002
        and center > OFFSET_RATIO * deviation
    ):
        return Reconstruction.PSIR, offset
    if center < 0.15 * top and float(air.mean()) < RAYLEIGH_RATIO * max(float(air.std()), 1e-6):
        return Reconstruction.MAGNITUDE, 0
    return Reconstruction.UNKNOWN, 0


def is_signed(image: np.ndarray) -> bool:
    """Whether values below zero are signal (see `NEGATIVE_SHARE`). `image`: any shape."""
    if image.min() >= 0:
        return False
    values = image[image != 0]  # what was masked or padded to zero shows nothing
    low, high = np.percentile(values, (0.1, 99))
    return bool((values < 0).mean() >= NEGATIVE_SHARE or low <= -NEGATIVE_DEPTH * max(high, 0))


def offset_note(offset: int) -> str:
    """Said where values are stored with an offset."""
    return (
        f"The values are stored with an offset of {offset} that the file does not state; it was taken away, so that zero "
        "is no signal."
    )


def _air(image: np.ndarray) -> np.ndarray:
    """Values of the blocks with the least spread, as doubles."""
    rows, columns = (n // BLOCK * BLOCK for n in image.shape[1:])
    if min(rows, columns) == 0:
        return image.astype(float).ravel()
    blocks = image[:, :rows, :columns].astype(float).reshape(len(image), rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    blocks = blocks.transpose(0, 1, 3, 2, 4).reshape(-1, BLOCK * BLOCK)
    spread = blocks.std(axis=1)
    blocks, spread = blocks[spread > 0], spread[spread > 0]  # what was masked to one value shows nothing
    quietest = np.argsort(spread)[: max(int(AIR_SHARE * len(blocks)), 1)]
    return blocks[quietest].ravel()


def decide(header: ImageHeader, image: np.ndarray) -> tuple[Reconstruction, int, str | None]:
    """Reconstruction, the offset still in the values, and a sentence where there is doubt.

    `image`: rescaled values `[slice, row, column]` of the stack whose first slice `header` describes.
    """
    tags, (seen, offset) = from_tags(header), from_image(image)
    if tags == Reconstruction.UNKNOWN:
        return seen, offset, UNKNOWN_RECONSTRUCTION if seen == Reconstruction.UNKNOWN else None
    if tags == Reconstruction.MAGNITUDE and seen == Reconstruction.PSIR:
        return (
            Reconstruction.PSIR,
            offset,
            "The headers say magnitude, but the values have a sign as only phase-sensitive (PSIR) images have: taken as PSIR.",
        )
    if tags == Reconstruction.PSIR and seen == Reconstruction.MAGNITUDE:
        return (
            Reconstruction.UNKNOWN,
            0,
            "The headers say phase-sensitive (PSIR), but the values look like magnitude: taken as unknown. Check the series.",
        )
    if tags == Reconstruction.PSIR and seen == Reconstruction.UNKNOWN:
        return (
            tags,
            0,
            "Phase-sensitive (PSIR) values without a sign, stored with an offset that the file does not state: zero is not "
            "'no signal' here, and FWHM may be off.",
        )
    return tags, offset, None
