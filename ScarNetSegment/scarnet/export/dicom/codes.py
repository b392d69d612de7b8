"""Codes of our DICOM SEG and SR in one place: standard ones where DICOM PS3.16 has them, private ones where it has none.

Private codes carry the coding scheme designator 99SCARNET, which `CODING_SCHEME` describes in every object (PS3.3 C.12.1
Coding Scheme Identification Sequence). Values are never reused for another meaning; new ones are added at the end.

| 99SCARNET | meaning | why no standard code |
|---|---|---|
| MVO | Microvascular obstruction | no code for no-reflow or MVO in PS3.16 |
| PERCENT_LV | Percent of LV myocardial volume | Ratio (SCT 118586006) does not say of what |
| PERCENT_SEGMENT | Percent of the wall segment's myocardial volume | the same |
| TRANSMURALITY | Transmural extent of enhancement | SCT 103354007 Transmural is a quality, not an amount |
| TRANSMURAL_CLASS | Class of transmural extent | no code for the classes of Kim et al., NEJM 2000 |
| CLASS_0, _25, _50, _75, _100 | its values: 0, 1-25, 26-50, 51-75, 76-100 % | the same |
| ENHANCED_SLICES | Number of slices with enhancement | none found |
| TERRITORY | Usual coronary territory | the arteries have codes, the relation has none |
| OUTLINED | As outlined | measurement method: the segment itself, no threshold |
| CORE_PERCENT_LV | Infarct core, percent of LV myocardial volume | no code for core or grey zone |
| GREY_PERCENT_LV | Infarct grey zone, percent of LV myocardial volume | the same |
| ZONE_... | a definition of core and grey zone, by its key in report.json | the same |
| THR_... | an intensity method, by its key in report.json | no codes for n-SD, FWHM and the like |
"""

import re

from scarnet.segments import SEGMENTS, Code

PRIVATE_SCHEME = "99SCARNET"
CODING_SCHEME = {"designator": PRIVATE_SCHEME, "name": "SlicerScarNet", "responsible_organization": "SlicerScarNet"}

REPORT_TITLE: Code = ("DCM", "126000", "Imaging Measurement Report")
CARDIAC_MRI: Code = ("SCT", "241620005", "Cardiac MRI")
#: Families of algorithms (CID 7162): networks, and methods that call scar by the distribution of intensities.
ARTIFICIAL_INTELLIGENCE: Code = ("DCM", "123110", "Artificial Intelligence")
HISTOGRAM_ANALYSIS: Code = ("DCM", "123105", "Histogram Analysis")
COMMENT: Code = ("DCM", "121106", "Comment")
NARRATIVE_SUMMARY: Code = ("DCM", "111412", "Narrative Summary")  # by a machine: a conclusion is a reader's

LV_MYOCARDIUM: Code = ("SCT", "49848007", "Myocardium of left ventricle")
LEFT_VENTRICLE: Code = ("SCT", "87878005", "Left ventricle")

VOLUME: Code = ("SCT", "118565006", "Volume")
MASS: Code = ("SCT", "118538004", "Mass")
LV_MASS: Code = ("LN", "18087-7", "Left Ventricle Mass")
PERCENT_LV: Code = (PRIVATE_SCHEME, "PERCENT_LV", "Percent of LV myocardial volume")
PERCENT_SEGMENT: Code = (PRIVATE_SCHEME, "PERCENT_SEGMENT", "Percent of the wall segment's myocardial volume")
CORE_PERCENT_LV: Code = (PRIVATE_SCHEME, "CORE_PERCENT_LV", "Infarct core, percent of LV myocardial volume")
GREY_PERCENT_LV: Code = (PRIVATE_SCHEME, "GREY_PERCENT_LV", "Infarct grey zone, percent of LV myocardial volume")
TRANSMURALITY: Code = (PRIVATE_SCHEME, "TRANSMURALITY", "Transmural extent of enhancement")
ENHANCED_SLICES: Code = (PRIVATE_SCHEME, "ENHANCED_SLICES", "Number of slices with enhancement")

#: Derivations (CID 7464) and methods.
MEAN: Code = ("SCT", "373098007", "Mean")
MAXIMUM: Code = ("SCT", "56851009", "Maximum")
SUM_OF_VOXELS: Code = ("DCM", "126030", "Sum of segmented voxel method for volume")
OUTLINED: Code = (PRIVATE_SCHEME, "OUTLINED", "As outlined")

MILLILITRE: Code = ("UCUM", "mL", "mL")
GRAM: Code = ("UCUM", "g", "g")
PERCENT: Code = ("UCUM", "%", "%")
COUNT: Code = ("UCUM", "1", "no units")

#: Qualitative evaluations: name and value.
PAPILLARY_MUSCLE: Code = ("DCM", "122670", "Papillary Muscle Included/Excluded")
PAPILLARY_MUSCLE_EXCLUDED: Code = ("DCM", "122620", "Papillary Muscle Excluded")
TRANSMURAL_CLASS: Code = (PRIVATE_SCHEME, "TRANSMURAL_CLASS", "Class of transmural extent")
TRANSMURAL_CLASSES: dict[str, Code] = {
    "0": (PRIVATE_SCHEME, "CLASS_0", "No enhancement"),
    "1-25": (PRIVATE_SCHEME, "CLASS_25", "1-25 % transmural"),
    "26-50": (PRIVATE_SCHEME, "CLASS_50", "26-50 % transmural"),
    "51-75": (PRIVATE_SCHEME, "CLASS_75", "51-75 % transmural"),
    "76-100": (PRIVATE_SCHEME, "CLASS_100", "76-100 % transmural"),
}
TERRITORY: Code = (PRIVATE_SCHEME, "TERRITORY", "Usual coronary territory")
TERRITORIES: dict[str, Code] = {
    "LAD": ("SCT", "59438005", "Anterior Descending Branch of Left Coronary Artery"),
    "RCA": ("SCT", "13647002", "Right Coronary Artery"),
    "LCX": ("SCT", "57396003", "Circumflex Coronary Artery"),
}

#: CID 3717, Left Ventricle Myocardial Wall 17 Segment Model, in the order of the segments' numbers.
AHA_SEGMENTS: tuple[Code, ...] = (
    ("SCT", "264850008", "left ventricle basal anterior segment"),
    ("SCT", "396482007", "left ventricle basal anteroseptal segment"),
    ("SCT", "396646008", "left ventricle basal inferoseptal segment"),
    ("SCT", "264846001", "left ventricle basal inferior segment"),
    ("SCT", "396652009", "left ventricle basal inferolateral segment"),
    ("SCT", "396654005", "left ventricle basal anterolateral segment"),
    ("SCT", "264848000", "left ventricle mid anterior segment"),
    ("SCT", "396647004", "left ventricle mid anteroseptal segment"),
    ("SCT", "396649001", "left ventricle mid inferoseptal segment"),
    ("SCT", "264847005", "left ventricle mid inferior segment"),
    ("SCT", "396655006", "left ventricle mid inferolateral segment"),
    ("SCT", "396656007", "left ventricle mid anterolateral segment"),
    ("SCT", "264844003", "left ventricle apical anterior segment"),
    ("SCT", "264845002", "left ventricle apical septal segment"),
    ("SCT", "264849008", "left ventricle apical inferior segment"),
    ("SCT", "264853005", "left ventricle apical lateral segment"),
    ("SCT", "128564006", "Apex of left ventricle"),
)

#: Each segment's finding in the SR is its property type in the SEG.
FINDINGS: dict[str, Code] = {segment.segment_id: segment.type for segment in SEGMENTS}


def threshold_method(key: str) -> Code:
    """The private code of an intensity method, from its key in the report such as `5sd`."""
    return PRIVATE_SCHEME, _code_value("THR", key), f"Threshold method {key}"[:64]


def zone_definition(key: str) -> Code:
    """The private code of a definition of core and grey zone, from its key in the report such as `roes`."""
    return PRIVATE_SCHEME, _code_value("ZONE", key), f"Core and grey zone by {key}"[:64]


def _code_value(prefix: str, key: str) -> str:
    """At most 16 characters, as SH holds."""
    plain = re.sub(r"[^A-Z0-9]+", "_", key.upper()).strip("_")
    return f"{prefix}_{plain}"[:16].rstrip("_")


def concept(code: Code):
    """highdicom's coded concept."""
    import highdicom as hd

    scheme, value, meaning = code
    return hd.sr.CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)


def coding_schemes() -> list:
    """What PS3.3 C.12.1 wants said of a private coding scheme."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return [CodingSchemeIdentificationItem(**CODING_SCHEME)]
