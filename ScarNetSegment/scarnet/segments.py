"""The segments that a label map becomes: names, colours and codes, the same in Slicer, in files and in DICOM.

Myocardium is the whole muscle; scar lies inside it and MVO inside scar, so segments overlap. Codes are SNOMED CT as in
DICOM PS3.16; no standard code for microvascular obstruction was found, so it
carries a private one.
"""

from dataclasses import dataclass

import numpy as np

from scarnet.conventions import Label

#: Name of the terminology that ships with the Slicer module.
TERMINOLOGY_CONTEXT = "Segmentation category and type - ScarNet"
REGION_CONTEXT = "Anatomic codes - DICOM master list"

Code = tuple[str, str, str]  # scheme, value, meaning

_MYOCARDIUM: Code = ("SCT", "49848007", "Myocardium of left ventricle")
_ANATOMY: Code = ("SCT", "123037004", "Anatomical Structure")
_ALTERED: Code = ("SCT", "49755003", "Morphologically Altered Structure")


@dataclass(frozen=True)
class SegmentDefinition:
    """One segment. `first_label` to `last_label` are the label values it is made of."""

    segment_id: str
    name: str
    color: tuple[float, float, float]
    first_label: int
    last_label: int
    category: Code
    type: Code
    region: Code | None = None

    def mask(self, labels: np.ndarray) -> np.ndarray:
        """bool, shape of `labels`."""
        return (labels >= self.first_label) & (labels <= self.last_label)

    @property
    def terminology_entry(self) -> str:
        """The seven parts that Slicer keeps in a segment's TerminologyEntry tag."""
        region = "^".join(self.region) if self.region else "^^"
        parts = (TERMINOLOGY_CONTEXT, "^".join(self.category), "^".join(self.type), "^^", REGION_CONTEXT, region, "^^")
        return "~".join(parts)


SEGMENTS = (
    SegmentDefinition(
        "LVMyocardium", "LV myocardium", (0.75, 0.41, 0.35), Label.MYOCARDIUM, Label.MVO, _ANATOMY, _MYOCARDIUM
    ),
    SegmentDefinition(
        "Scar",
        "Scar",
        (1.0, 0.84, 0.10),
        Label.SCAR,
        Label.MVO,
        _ALTERED,
        ("SCT", "12402003", "Scar tissue"),
        _MYOCARDIUM,
    ),
    SegmentDefinition(
        "MVO",
        "Microvascular obstruction",
        (0.20, 0.55, 0.95),
        Label.MVO,
        Label.MVO,
        _ALTERED,
        ("99SCARNET", "MVO", "Microvascular obstruction"),
        _MYOCARDIUM,
    ),
    SegmentDefinition(
        "LVBloodPool",
        "LV blood pool",
        (0.60, 0.22, 0.05),
        Label.BLOOD_POOL,
        Label.BLOOD_POOL,
        _ANATOMY,
        ("SCT", "113342003", "Body lumen"),
        ("SCT", "87878005", "Left ventricle"),
    ),
)

#: Tags from which Slicer's DICOM SEG export takes who drew a segment.
ALGORITHM_TYPE_TAG, ALGORITHM_NAME_TAG = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"


def algorithm_name(model: dict) -> str:
    """Name, version and short hash of a model, as segments carry it."""
    return " ".join(
        part for part in ("ScarNet", model.get("name"), model.get("version"), model.get("sha256", "")[:12]) if part
    )


def algorithm_type(model: dict | None, edited: bool) -> str:
    """DICOM's word for who drew a segment (PS3.3 C.8.20.4)."""
    if not model:
        return "MANUAL"
    return "SEMIAUTOMATIC" if edited else "AUTOMATIC"


def labels_from_masks(masks: dict[str, np.ndarray]) -> np.ndarray:
    """Masks by segment id, overlapping or not, to uint8 labels.

    Inner structures win: MVO over scar over myocardium over blood pool. Scar drawn outside the myocardium counts as
    myocardium too: what a reader marks as scar is muscle to them.
    """
    shape = next(iter(masks.values())).shape
    labels = np.zeros(shape, np.uint8)
    order = (
        ("LVBloodPool", Label.BLOOD_POOL),
        ("LVMyocardium", Label.MYOCARDIUM),
        ("Scar", Label.SCAR),
        ("MVO", Label.MVO),
    )
    for segment_id, label in order:
        if segment_id in masks:
            labels[masks[segment_id]] = label
    return labels


def match_segment(name: str, terminology_entry: str = "") -> SegmentDefinition | None:
    """The definition that a segment is: by its type code first, then by its name or id in any case."""
    parts = [part.split("^")[:2] for part in terminology_entry.split("~")]
    if len(parts) >= 6:
        for segment in SEGMENTS:
            region = list(segment.region[:2]) if segment.segment_id == "LVBloodPool" else parts[5]
            if parts[2] == list(segment.type[:2]) and parts[5] == region:  # a lumen is ours in the left ventricle alone
                return segment
    plain = "".join(c for c in name.lower() if c.isalnum())
    aliases = {
        "LVMyocardium": ("lvmyocardium", "myocardium", "myo", "lvm"),
        "Scar": ("scar", "infarct", "infarction", "lge", "enhancement"),
        "MVO": ("microvascularobstruction", "mvo", "noreflow"),
        "LVBloodPool": ("lvbloodpool", "bloodpool", "blood", "cavity", "lvcavity"),
    }
    return next((segment for segment in SEGMENTS if plain in aliases[segment.segment_id]), None)
