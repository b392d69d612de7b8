"""The finding in one plain sentence."""

from scarnet.quantification.report import SegmentMeasures

#: A segment is named when this much of it is scar.
NAMED_PERCENT = 10.0
#: Scar that mostly begins deeper than this share of the wall is not subendocardial.
SUBENDOCARDIAL_START = 0.25
_WALLS = ("anterior", "anteroseptal", "septal", "inferoseptal", "inferior", "inferolateral", "lateral", "anterolateral")
_TERRITORIES = ("LAD", "RCA", "LCX")


def summarise(segments: tuple[SegmentMeasures, ...], percent_lv: float, scar_start: float | None) -> str:
    """Pattern, walls, territory and size. `scar_start`: median depth at which scar begins; None where it is not known."""
    if percent_lv <= 0:
        return "No scar was outlined."
    size = f"{percent_lv:.0f} % of LV mass" if percent_lv >= 1 else "less than 1 % of LV mass"
    named = [s for s in segments if (s.scar_percent or 0) >= NAMED_PERCENT]
    if not named:
        return f"Scar without a wall of its own (no segment reaches {NAMED_PERCENT:.0f} %), {size}."
    walls = [wall for wall in _WALLS if any(s.name.split()[-1] == wall for s in named)]
    territories = [t for t in _TERRITORIES if any(s.territory == t for s in named)]
    text = f"{_pattern(named, scar_start)} {_listed(walls)} scar, {'/'.join(territories)} territory, {size}."
    return text[0].upper() + text[1:]


def _pattern(named: list[SegmentMeasures], scar_start: float | None) -> str:
    extents = [s.transmurality_percent or 0 for s in named]
    transmural = max(extents) > 75
    if scar_start is not None and scar_start > SUBENDOCARDIAL_START and not transmural:
        return "mid-wall or subepicardial"
    if min(extents) > 75:
        return "transmural"
    return "subendocardial to transmural" if transmural else "subendocardial"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
