"""How vendors write LGE: tags, image types, descriptions and the storage of signed values, as data.

After public series listings and conformance statements as far as these could be read; where vendors' own words were not to
be had, plausible ones stand in. No private elements.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vendor:
    """`psir_type`, `magnitude_type`: ImageType. `names`: series description of each kind of series. `signed`: pixels."""

    name: str
    manufacturer: str
    model: str
    psir_type: tuple[str, ...]
    magnitude_type: tuple[str, ...]
    names: dict[str, str]
    sequence_name: str
    scanning_sequence: tuple[str, ...] = ("GR", "IR")
    inversion_time: bool = True
    signed: bool = False
    psir_offset: int = 0  # added to what is stored
    psir_slope: float = 1.0
    states_offset: bool = True  # by RescaleIntercept
    character_set: str = "ISO_IR 100"


SIEMENS = Vendor(
    name="siemens",
    manufacturer="SIEMENS",
    model="MAGNETOM Aera",
    psir_type=("ORIGINAL", "PRIMARY", "M", "ND", "NORM", "PSIR"),
    magnitude_type=("ORIGINAL", "PRIMARY", "M", "ND", "NORM", "MAG"),
    names={
        "psir": "de_overview_tfi_psir_sa_PSIR",
        "magnitude": "de_overview_tfi_psir_sa_MAG",
        "lax": "de_overview_tfi_psir_4c_PSIR",
        "cine": "cine_tf2d15_retro_iPAT_sa",
        "cine_lax": "cine_tf2d15_retro_iPAT_4c",
        "t1": "T1Map_LongT1_sa_MOCO_T1",
        "t2": "T2Map_FLASH_sa_MOCO_T2",
        "ti_scout": "TI_scout_sa",
        "localizer": "localizer_multi",
        "perfusion": "ep2d_perf_sa_stress",
    },
    sequence_name="*tfi2d1_55",
    psir_offset=4096,
)
GE = Vendor(
    name="ge",
    manufacturer="GE MEDICAL SYSTEMS",
    model="SIGNA Artist",
    psir_type=("DERIVED", "PRIMARY", "OTHER"),
    magnitude_type=("ORIGINAL", "PRIMARY", "OTHER"),
    names={
        "psir": "PSMDE SAX 10min",
        "magnitude": "2DDel Enh SAX",
        "lax": "PSMDE 4CH",
        "cine": "SAX FIESTA CINE",
        "cine_lax": "4CH FIESTA CINE",
        "t1": "T1 Map MOLLI SAX",
        "t2": "T2 Map SAX",
        "ti_scout": "Cine IR SAX",
        "localizer": "3-Plane Loc",
        "perfusion": "SAX First Pass",
    },
    sequence_name="",
    scanning_sequence=("GR", "IR"),
    signed=True,
)
PHILIPS = Vendor(
    name="philips",
    manufacturer="Philips Medical Systems",
    model="Ingenia",
    psir_type=("ORIGINAL", "PRIMARY", "CR", "CR", "IR"),
    magnitude_type=("ORIGINAL", "PRIMARY", "M_IR", "M", "IR"),
    names={
        "psir": "PSIR_SA BH SENSE",
        "magnitude": "PSIR_SA BH SENSE",
        "lax": "PSIR_4CH BH SENSE",
        "cine": "sBTFE_BH_SA cine",
        "cine_lax": "sBTFE_BH_4CH cine",
        "t1": "MOLLI_5s3s3s_SA T1 map",
        "t2": "GraSE T2 map SA",
        "ti_scout": "Look-Locker SA",
        "localizer": "Survey_3Plane",
        "perfusion": "sTFE_dyn_SA stress",
    },
    sequence_name="",
    scanning_sequence=("GR",),
    inversion_time=False,
    psir_offset=2048,
    psir_slope=0.5,
)
CANON = Vendor(
    name="canon",
    manufacturer="CANON_MEC",
    model="Vantage Galan 3T",
    psir_type=("ORIGINAL", "PRIMARY", "OTHER", "REAL"),
    magnitude_type=("ORIGINAL", "PRIMARY", "OTHER", "MAGNITUDE"),
    names={
        "psir": "遅延造影 短軸 PSIR",
        "magnitude": "遅延造影 短軸",
        "lax": "遅延造影 四腔 PSIR",
        "cine": "シネ 短軸",
        "cine_lax": "シネ 四腔",
        "t1": "T1 マップ 短軸",
        "t2": "T2 マップ 短軸",
        "ti_scout": "TI Scout 短軸",
        "localizer": "ロケータ",
        "perfusion": "パーフュージョン 短軸",
    },
    sequence_name="FFE2D",
    psir_offset=2048,
    states_offset=False,
    character_set="ISO_IR 192",
)
VENDORS = {vendor.name: vendor for vendor in (SIEMENS, GE, PHILIPS, CANON)}
