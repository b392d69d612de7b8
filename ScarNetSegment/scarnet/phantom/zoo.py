"""The zoo: one heart as hospitals export it, one row for each way. What each must come back as stands beside it."""

from dataclasses import dataclass, field

from scarnet.errors import UsageError
from scarnet.phantom.vendors import CANON, GE, PHILIPS, SIEMENS, Vendor

#: Series of other kinds that a study is mixed with.
FEW = ("cine_lax", "lax", "localizer")
ALL = (
    *("cine", "cine_lax", "lax", "lax2", "t1", "t2", "ti_scout", "localizer", "perfusion"),
    *("capture", "report", "segmentation", "document", "damaged", "text"),
)

JPEG_2000, JPEG_LOSSLESS = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.70"
RLE, DEFLATED, BIG_ENDIAN, IMPLICIT = (
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2",
)


@dataclass(frozen=True)
class Variant:
    """One way to export the heart.

    Attributes
        images: what was reconstructed: "psir", "magnitude", or "both", of which PSIR must be taken.
        layout: "series" (one), "slices" (a series for each slice), "enhanced" (one multi-frame object), "together"
            (everything in one series).
        order: of instance numbers: "apex first", "base first" or "mixed".
        missing: slices that were not exported; repeated: slices acquired again, a minute later.
        copies: the same files twice. times: whole stacks acquired so often, at other inversion times.
        turn_degrees: the patient's heart turned about x, y and z. flip: rows and columns run the other way.
        distances: a further gap in mm before a slice, as (slice, mm). squeeze: of all distances, by this factor.
        lying: elements set to what they should not be, on every LGE image or on slice 3 alone (`lying_slice`).
        removed: elements that were taken out; description: another series description.
        truncated: bytes cut from the end of slice 3. container: "folder", "zip", "dicomdir", "plain" (no extensions, deep
            folders), "raw" (no preamble).
        frames_of_reference: one for each slice, as careless anonymisation leaves them.
        refused: a part of the sentence with which the study must be refused, where it must be.
        warned: a part of a warning that must come with it.
        reconstruction: what must be found, where it is not what was simulated.
    """

    name: str
    vendor: Vendor = SIEMENS
    images: str = "psir"
    layout: str = "series"
    order: str = "apex first"
    others: tuple[str, ...] = FEW
    missing: tuple[int, ...] = ()
    repeated: tuple[int, ...] = ()
    copies: bool = False
    times: int = 1
    turn_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    flip: bool = False
    distances: tuple[tuple[int, float], ...] = ()
    squeeze: float = 1.0
    lying: dict = field(default_factory=dict)
    lying_slice: dict = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    description: str | None = None
    signed: bool | None = None
    offset: int | None = None
    states_offset: bool | None = None
    syntax: str = ""
    truncated: int = 0
    container: str = "folder"
    without_lge: bool = False
    studies: int = 1
    frames_of_reference: bool = False
    refused: str | None = None
    warned: str | None = None
    reconstruction: str | None = None


ZOO = (
    # What each vendor sends by default, alone and in a whole study.
    Variant("siemens-psir"),
    Variant("siemens-both", images="both", others=ALL),
    Variant("siemens-magnitude", images="magnitude"),
    Variant("siemens-series-per-slice", layout="slices", images="both", others=ALL),
    Variant("ge-psir", vendor=GE),
    Variant("ge-magnitude-signed-storage", vendor=GE, images="magnitude", others=ALL),
    Variant("ge-both", vendor=GE, images="both"),
    Variant("ge-series-per-slice", vendor=GE, layout="slices"),
    Variant("philips-corrected-real", vendor=PHILIPS),
    Variant("philips-both-in-one-series", vendor=PHILIPS, images="both", layout="together", others=()),
    Variant("philips-enhanced", vendor=PHILIPS, layout="enhanced", others=ALL),
    Variant("philips-enhanced-both", vendor=PHILIPS, layout="enhanced", images="both"),
    Variant("philips-magnitude", vendor=PHILIPS, images="magnitude", others=ALL),
    Variant("canon-silent-offset", vendor=CANON, warned="offset of 2048"),
    Variant("canon-both", vendor=CANON, images="both", others=ALL, warned="offset of 2048"),
    Variant("canon-magnitude", vendor=CANON, images="magnitude"),
    Variant("siemens-enhanced", layout="enhanced"),
    # Signed values, however they are stored.
    Variant("signed-values", signed=True, offset=0),
    Variant("silent-offset-4096", offset=4096, states_offset=False, warned="offset of 4096"),
    Variant("no-word-on-reconstruction", vendor=GE, description="SAX", removed=("ImageType",)),
    Variant(
        "no-word-and-silent-offset",
        offset=2048,
        states_offset=False,
        description="SAX delayed",
        removed=("ImageType", "ProtocolName"),
        warned="offset of 2048",
    ),
    Variant("no-word-magnitude", images="magnitude", description="LGE", removed=("ImageType", "ProtocolName")),
    Variant("both-without-a-word", images="both", layout="together", description="LGE SAX", removed=("ImageType",)),
    Variant(
        "both-named-psir",
        vendor=GE,
        images="both",
        layout="together",
        description="PSMDE SAX",
        removed=("ImageType",),
    ),
    # Geometry.
    Variant("base-first", order="base first"),
    Variant("mixed-order", order="mixed"),
    Variant("flipped-grid", flip=True),
    Variant("turned-heart", turn_degrees=(20.0, -10.0, 15.0)),
    Variant("steep-heart", turn_degrees=(-15.0, 15.0, -20.0), flip=True),
    Variant("missing-slice", missing=(4,), warned="not equidistant"),
    Variant("missing-slices-per-slice-series", layout="slices", missing=(2, 5), warned="not equidistant"),
    Variant("unequal-gaps", distances=((3, 2.0), (5, 4.0)), warned="not equidistant"),
    # Repeats.
    Variant("copies", copies=True, warned="more than once"),
    Variant("slice-acquired-again", repeated=(3,), warned="repeat a slice position"),
    Variant(
        "slice-acquired-again-per-slice-series", layout="slices", repeated=(2, 6), warned="repeat a slice position"
    ),
    Variant("two-inversion-times-in-one-series", times=2, layout="together", warned="would serve too"),
    Variant("three-stacks-at-other-times", times=3, warned="would serve too"),
    Variant("everything-in-one-series", images="both", layout="together", vendor=SIEMENS, others=("lax", "localizer")),
    # Names.
    Variant("german", description="Spätaufnahme Kurzachse PSIR"),
    Variant("french", description="Rehaussement tardif petit axe PSIR", others=ALL),
    Variant("spanish", description="Realce tardío eje corto PSIR"),
    Variant("portuguese", description="Realce tardio eixo curto PSIR"),
    Variant("italian", description="late enhancement asse corto PSIR"),
    Variant("chinese", description="延迟增强 短轴 PSIR", vendor=CANON, states_offset=True),
    Variant("no-names", description="", removed=("ProtocolName", "SequenceName")),
    Variant("misnamed-plane", description="LGE 4CH PSIR", warned="though its name says"),
    Variant("no-inversion-time", removed=("InversionTime",)),
    # Files.
    Variant("plain-names", container="plain", others=ALL),
    Variant("zip", container="zip", others=ALL),
    Variant("dicomdir", container="dicomdir"),
    Variant("no-preamble", container="raw", others=()),
    Variant("rle", syntax=RLE),
    Variant("jpeg-2000", syntax=JPEG_2000),
    Variant("jpeg-lossless", syntax=JPEG_LOSSLESS),
    Variant("deflated", syntax=DEFLATED),
    Variant("big-endian", syntax=BIG_ENDIAN),
    Variant("implicit", syntax=IMPLICIT),
    Variant("enhanced-jpeg-2000-in-zip", layout="enhanced", syntax=JPEG_2000, container="zip"),
    Variant("no-frame-of-reference", removed=("FrameOfReferenceUID",)),
    Variant("one-slice-without-orientation", lying_slice={"ImageOrientationPatient": ["nan"] * 6}, warned="left out"),
    # What must be refused.
    Variant("no-lge", without_lge=True, others=ALL, refused="No LGE short-axis stack"),
    Variant("long-axes-only", without_lge=True, others=("lax", "lax2"), refused="No LGE short-axis stack"),
    Variant("two-studies", studies=2, refused="different studies"),
    Variant(
        "frame-of-reference-per-slice",
        layout="slices",
        frames_of_reference=True,
        refused="different frames of reference",
    ),
    Variant("one-slice", missing=(0, 1, 2, *range(4, 20)), others=(), refused="1 slice only"),
    Variant("truncated-pixels", truncated=2000, refused="truncated"),
    Variant("zero-spacing", lying={"PixelSpacing": [0, 0]}, others=(), refused="pixel spacing"),
    Variant("negative-spacing", lying={"PixelSpacing": [-3, 3]}, others=(), refused="pixel spacing"),
    Variant("micrometres", lying={"PixelSpacing": [0.003, 0.003]}, others=(), refused="no cardiac field of view"),
    Variant("huge-matrix", lying={"Rows": 65000, "Columns": 65000}, others=(), refused="impossible matrix"),
    Variant("more-rows-than-pixels", lying={"Rows": 200}, others=(), refused="truncated"),
    Variant("wrong-bits", lying={"BitsStored": 99}, others=(), refused="impossible bits"),
    Variant("colour", lying={"SamplesPerPixel": 3}, others=(), refused="in colour"),
    Variant("all-damaged", lying={"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, others=(), refused="orientation"),
    Variant("lying-frames", layout="enhanced", lying={"NumberOfFrames": 100}, others=(), refused="number of frames"),
    Variant("thin-volume", squeeze=0.15, others=(), refused="3-D volume"),
)


def named(name: str) -> Variant:
    """A row of the zoo by its name, or the first of a vendor. Raises UsageError."""
    for variant in ZOO:
        if name.lower() in (variant.name, variant.vendor.name):
            return variant
    raise UsageError(f"No export is called '{name}'; there are: {', '.join(variant.name for variant in ZOO)}.")
