"""How far methods and readers differ: what a single percentage should be read against."""

from typing import Any

from scarnet.quantification.report import ThresholdMeasures

#: Manual planimetry of 30 acute infarcts by three core laboratories, coefficient of variation in percent (Klem et al., abstract).
MANUAL_CV_PERCENT = 14.4
INTER_READER = (
    "Three core laboratories that outlined the same 30 acute infarcts by hand differed by a coefficient of variation of "
    "14.4 %, 8.3 % when intermediate signal was weighed in; mean infarct size ran from 16.8 to 27.2 % of LV mass with the "
    "method (Klem et al., JCMR 2017;19:62, doi 10.1186/s12968-017-0378-y)."
)


def measure_context(percent_lv: float, thresholds: dict[str, ThresholdMeasures]) -> dict[str, Any]:
    """`methods_low_percent_lv` and `methods_high_percent_lv` with the methods they come from (None without an image to compare
    on), and the published spread between readers, also at this patient's size."""
    ordered = sorted(thresholds.items(), key=lambda item: item[1].percent_lv)
    return {
        "methods_low_percent_lv": ordered[0][1].percent_lv if ordered else None,
        "methods_low": ordered[0][0] if ordered else None,
        "methods_high_percent_lv": ordered[-1][1].percent_lv if ordered else None,
        "methods_high": ordered[-1][0] if ordered else None,
        "inter_reader": INTER_READER,
        "inter_reader_sd_percent_lv": MANUAL_CV_PERCENT / 100 * percent_lv,
    }
