"""What the names of series say, in the spellings that vendors and hospitals use. A hint: geometry decides over it.

Spellings collected from vendors' default protocols, from the string tables of Segment (Medviso) and from public series
listings; languages: English, German, French, Spanish, Portuguese, Italian, Dutch, Swedish, Japanese, Chinese.
"""

import re
from enum import Enum
from functools import lru_cache


class Kind(str, Enum):
    """What a stack shows."""

    LGE = "LGE"
    CINE = "cine"
    T1_MAP = "T1 map"
    T2_MAP = "T2 map"
    T2_WEIGHTED = "T2-weighted"
    PERFUSION = "perfusion"
    FLOW = "flow"
    TI_SCOUT = "TI scout"
    LOCALIZER = "localiser"
    PHASE = "phase image"
    UNKNOWN = "unknown"


class View(str, Enum):
    """Which plane of the heart."""

    SHORT_AXIS = "short axis"
    LONG_AXIS = "long axis"
    OTHER = "other plane"
    UNKNOWN = "unknown"


# The first kind that fits is taken, the surest first. "de" alone is a word of French, Spanish and Portuguese: it means delayed
# enhancement only where vendors put it, at the start.
_KINDS = (
    (
        Kind.TI_SCOUT,
        r"ti.?scout|scout.?ti|look.?locker|\bll\b|ti.?finder|cine.?ir|null.?point|ti.?kurve|ti.?mapping",
    ),
    (Kind.LOCALIZER, r"locali[sz]|\bloc\b|scout|survey|3.?plane|plan.?scan|rep[eé]rage|localizador|ロケータ|定位"),
    (Kind.T1_MAP, r"t1.?map|molli|shmolli|sasha|smart1|\becv\b|t1.?kart|t1.?cartog|t1star|mapa.?t1|mappa.?t1"),
    (Kind.T2_MAP, r"t2.?map|t2.?star|t2\*|t2.?kart|t2prep|gra?se|mapa.?t2|mappa.?t2|t2.?マップ"),
    (Kind.T1_MAP, r"\bmap\b|マップ"),
    (
        Kind.LGE,
        r"lge|\bde[- ]?(?:mri?|cmr)\b|delayed|del.?enh|2ddel|late.?(?:gad|enh|gd)|\bmde\b|psmde|psir|viab|late.?contrast|"
        r"sp[aä]t.?(?:aufn|enh|kontr)|rehaussement|tardif|realce.?tard|impregna|\bmyo.?de\b|overview.?(?:tfi|ir)|"
        r"^ ?de\b|\bde (?:overview|tfi|trufi|tfl)|narbe|cicatri|sen.?kontrast|遅延|延迟|延遲|心肌活性|\bpost.?gd\b",
    ),
    (Kind.PERFUSION, r"perf|first.?pass|stress|dynamic.?sa|\brest\b|灌注|パーフュージョン"),
    (Kind.FLOW, r"flow|venc|\bpc\b|qflow|phase.?contrast|fluss|flux|flujo|flusso|流速|フロー"),
    (Kind.T2_WEIGHTED, r"stir|\bt2w?\b|edema|oedema|[oö]dem|black.?blood|\bdb\b|haste|\btirm\b|triple.?ir|水肿|浮腫"),
    (Kind.CINE, r"cine|trufi|\bssfp\b|fiesta|b.?ffe|bffe|\btfe?_?bh\b|balanced|kino|funktion|シネ|电影"),
)
_VIEWS = (
    (
        View.SHORT_AXIS,
        r"\bsax\d*\b|\bsa\b|\bsa\d+\b|shax|\bshrt|short.?ax|\bsho.?ax|kurz.?achs|\bka\b|kleine.?achse|petit.?axe|eje.?corto|"
        r"eixo.?curto|\bec\b|asse.?corto|corte.?corto|korte.?as|kortax|kort.?axel|短軸|短轴|左室短軸",
    ),
    (
        View.LONG_AXIS,
        r"\blax\d*\b|long.?ax|\b[234].?(?:ch|c|chamber|kammer|kam|cav|cam|cham|rum)\w*\b|\bv?hla\b|\bvla\b|"
        r"lang.?achs|grand.?axe|eje.?largo|eixo.?longo|asse.?lungo|lange.?as|4腔|四腔|二腔|三腔|長軸|长轴",
    ),
    (View.OTHER, r"axial|\bax\b|\btra\b|transv|coron|\bcor\b|sagit|\bsag\b|aort|pulmo|\bpv\b|thorax|\b[lr]vot\b"),
)


#: Says LGE whatever else a name says.
_SURELY_LGE = r"\blge\b|psir|\bmde\b"
#: How an acquisition was prepared, where it is LGE; by itself, what another shows.
_PREPARATION = r"t2 ?prep\w*|locali[sz]ed|(?:w o|without|no) (?:ti )?scout"


def _spread(words: str) -> str:
    """Lower case, with spaces for underscores, hyphens and the like."""
    return re.sub(r"[_\-./\\:+,;()\[\]]+", " ", words.lower())


@lru_cache(maxsize=4096)
def kind_by_name(words: str) -> Kind:
    """What a name says a series shows; UNKNOWN where it says nothing."""
    text = _spread(words)
    if re.search(_SURELY_LGE, text):
        text = re.sub(_PREPARATION, " ", text)
    return next((kind for kind, pattern in _KINDS if re.search(pattern, text)), Kind.UNKNOWN)


@lru_cache(maxsize=4096)
def view_by_name(words: str) -> View:
    """Which plane a name says a series lies in; UNKNOWN where it says nothing or two things."""
    text = _spread(words)
    found = [view for view, pattern in _VIEWS if re.search(pattern, text)]
    return found[0] if len(found) == 1 else View.UNKNOWN


@lru_cache(maxsize=4096)
def reconstruction_words(words: str) -> tuple[bool, bool]:
    """Whether a name says magnitude, and whether it says phase-sensitive: protocols called PSIR give both images."""
    text = _spread(words.lower().replace("magnetom", ""))
    magnitude = re.search(r"\bmag\b|magnitude|betrag|\bm ir\b|\bnon ?psir\b", text) is not None
    return magnitude, re.search(r"psir|psmde|phase.?sens|\bps\b|\bcr\b|real.?ir|実部", text) is not None
