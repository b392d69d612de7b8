"""The segments that a label map becomes: names, colours and codes, the same in Slicer, in files and in DICOM.

Myocardium is the whole muscle; scar lies inside it and MVO inside scar, so segments overlap. Codes are SNOMED CT as in
DICOM PS3.16; no standard code for microvascular obstruction was found, so it
carries a private one (see `scarnet.export.dicom.codes`).
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from scarnet.conventions import Label

#: Name of the terminology that ships with the Slicer module.
TERMINOLOGY_CONTEXT = "Segmentation category and type - ScarNet"
REGION_CONTEXT = "Anatomic codes - DICOM master list"

Code = tuple[str, str, str]  # scheme, value, meaning

_MYOCARDIUM: Code = ("SCT", "49848007", "Myocardium of left ventricle")
_ANATOMY: Code = ("SCT", "123037004", "Anatomical Structure")
_ALTERED: Code = ("SCT", "49755003", "Morphologically Altered Structure")
_SUBSTANCE: Code = ("SCT", "91720002", "Body Substance")


#: Names that say a segment lies in another chamber.
_ELSEWHERE = re.compile(r"(?<![a-z])(rv|ra|la|right|atri\w*)(?![a-z])", re.IGNORECASE)

_LEFT_VENTRICLE: Code = ("SCT", "87878005", "Left ventricle")
_HEART: Code = ("SCT", "80891009", "Heart")
_ANY_MYOCARDIUM: Code = ("SCT", "74281007", "Myocardium")
#: Where a scar of ours may be said to lie; one in an atrium is another matter.
_LV_PLACES = (_MYOCARDIUM, _LEFT_VENTRICLE, _ANY_MYOCARDIUM, _HEART)


@dataclass(frozen=True)
class SegmentDefinition:
    """One segment. `first_label` to `last_label` are the label values it is made of.

    `other_types` are codes under which other programs store it. A segment of type `type` or one of these is ours where
    its region is among `regions`, or says nothing and `region_needed` is False.
    """

    segment_id: str
    name: str
    color: tuple[float, float, float]
    first_label: int
    last_label: int
    category: Code
    type: Code
    region: Code | None = None
    other_types: tuple[Code, ...] = ()
    regions: tuple[Code, ...] = _LV_PLACES
    region_needed: bool = False

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
        "LVMyocardium",
        "LV myocardium",
        (0.75, 0.41, 0.35),
        Label.MYOCARDIUM,
        Label.MVO,
        _ANATOMY,
        _MYOCARDIUM,
        other_types=(_ANY_MYOCARDIUM,),
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
        other_types=(
            ("DCM", "111168", "Scar tissue"),
            ("DCM", "122113", "Scarred Myocardium"),
            ("SCT", "22298006", "Myocardial Infarction"),
        ),
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
        _SUBSTANCE,
        ("SCT", "87612001", "Blood"),
        _LEFT_VENTRICLE,
        other_types=(("SCT", "113342003", "Body lumen"),),
        regions=(_LEFT_VENTRICLE,),
        region_needed=True,  # blood and lumens are everywhere
    ),
)

#: Tags from which Slicer's DICOM SEG export takes who drew a segment.
ALGORITHM_TYPE_TAG, ALGORITHM_NAME_TAG = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"


#: Begins the name of a model that is an intensity method: it calls scar in muscle that somebody else drew.
INTENSITY_METHOD = "threshold:"


def intensity_method(model: dict | None) -> str:
    """Key of the intensity method that `model` is, such as `5sd`; "" where it is none."""
    name = str((model or {}).get("name") or "")
    return name.removeprefix(INTENSITY_METHOD) if name.startswith(INTENSITY_METHOD) else ""


def algorithm_name(model: dict) -> str:
    """Name, version and short hash of a model, as segments carry it."""
    return " ".join(
        part for part in ("ScarNet", model.get("name"), model.get("version"), model.get("sha256", "")[:12]) if part
    )


@dataclass(frozen=True)
class SegmentOrigin:
    """Who drew a segment: DICOM's word for it (PS3.3 C.8.20.2, Segment Algorithm Type) and the algorithm, if any."""

    algorithm_type: str = "MANUAL"  # or SEMIAUTOMATIC, AUTOMATIC
    algorithm_name: str = ""
    algorithm_version: str = ""

    @property
    def by_intensity(self) -> bool:
        """The algorithm is an intensity method, no network."""
        return INTENSITY_METHOD in self.algorithm_name


def stated_origin(kind: str | None, name: str | None = "", version: str | None = "") -> SegmentOrigin:
    """What a file says of who drew a segment; MANUAL where it says nothing that DICOM knows."""
    if kind not in ("AUTOMATIC", "SEMIAUTOMATIC"):
        return SegmentOrigin()
    return SegmentOrigin(kind, name or "", version or "")


def origin_of(model: dict | None, name: str, edited: bool) -> SegmentOrigin:
    """Of the segment `name` that `model` drew (None: a hand) and that a hand has `edited` or not.

    An intensity method draws scar alone: who drew the muscle that it was given is not known, which DICOM has no word for.
    """
    if not model or (intensity_method(model) and name != "Scar"):
        return SegmentOrigin()
    kind = "SEMIAUTOMATIC" if edited else "AUTOMATIC"
    return SegmentOrigin(kind, algorithm_name(model), str(model.get("version") or "1"))


def after_edits(origins: Mapping[str, SegmentOrigin], edited: Collection[str]) -> dict[str, SegmentOrigin]:
    """`origins` of a file beside what is known of it: editors leave a model's tags on a segment that a hand has `edited`."""
    return {
        name: replace(origin, algorithm_type="SEMIAUTOMATIC")
        if name in edited and origin.algorithm_type == "AUTOMATIC"
        else origin
        for name, origin in origins.items()
    }


def read_origins(provenance: dict) -> dict[str, SegmentOrigin]:
    """Who drew the segments that were read from a file, as the provenance of a report keeps it (`measure`)."""
    kept = provenance.get("origins") or {}
    return {name: SegmentOrigin(**facts) for name, facts in kept.items()}


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
    """The definition that a segment is: by its codes first, then by its name or id in any case.

    `terminology_entry`: Slicer's seven parts; only type and region are asked.
    """
    parts = [part.split("^")[:2] for part in terminology_entry.split("~")]
    if len(parts) < 6:
        return match_name(name)
    kind, region = (tuple(part) if len(part) == 2 and part[1] else None for part in (parts[2], parts[5]))
    return match_codes(name, kind, region)


def match_codes(
    name: str, kind: tuple[str, str] | None, region: tuple[str, str] | None = None
) -> SegmentDefinition | None:
    """The definition of a segment with these (scheme, value) codes of type and region; by its name where they say nothing.

    A type of ours in a region that is not ours (scar in an atrium, blood in the right ventricle) is none, whatever its name.
    """
    for segment in SEGMENTS:
        if kind not in [code[:2] for code in (segment.type, *segment.other_types)]:
            continue
        if region is None and not segment.region_needed and not _ELSEWHERE.search(name):
            return segment
        if region is not None:
            return segment if region in [code[:2] for code in segment.regions] else None
    return match_name(name)


def match_name(name: str) -> SegmentDefinition | None:
    """The definition of a segment with this name or id, in any case and punctuation."""
    plain = "".join(c for c in name.lower() if c.isalnum())
    aliases = {
        "LVMyocardium": ("lvmyocardium", "leftventricularmyocardium", "myocardium", "lvmyo", "myo", "lvm"),
        "Scar": ("scar", "scartissue", "lvscar", "infarct", "infarction", "myocardialinfarction", "lge", "enhancement"),
        "MVO": ("microvascularobstruction", "mvo", "noreflow"),
        "LVBloodPool": ("lvbloodpool", "bloodpool", "lvblood", "blood", "cavity", "lvcavity"),
    }
    return next((segment for segment in SEGMENTS if plain in aliases[segment.segment_id]), None)
