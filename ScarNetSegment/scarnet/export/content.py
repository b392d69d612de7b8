"""What a report says, in words and shown digits: made once, set as a page (HTML) and on paper (PDF).

Names no file or folder, and no patient unless the report does.
"""

from dataclasses import astuple, dataclass

import scarnet
from scarnet.export.figure import INK, Figure, Shape, rectangle
from scarnet.export.tables import ModelValues as ModelValues  # the panel shows both as this room words them
from scarnet.export.tables import model_values as model_values
from scarnet.quantification import ScarReport
from scarnet.quantification.quantify import REVIEW_DOUBT, REVIEW_SCAR_DOUBT, concern
from scarnet.quantification.report import SliceMeasures
from scarnet.segments import intensity_method
from scarnet.series.patient import Patient

DASH = "–"
TITLE = "Myocardial scar on late gadolinium enhancement"
#: Bars of the tables: muscle white, scar amber, MVO dark blue; all outlined, apart in greyscale too.
SCAR_FILL, MVO_FILL, MUSCLE_FILL = "#e8a200", "#1f4e9c", "#ffffff"
_OTHER_FILL = "#c3ccd4"  # of methods that are there for comparison
_BAR_WIDTH, _BAR_HEIGHT = 100.0, 8.0
_METHOD_NAMES = {"fwhm": "FWHM", "otsu": "Otsu", "gmm": "Gaussian mixture", "ewa": "EWA-class"}
_UNITS = (
    ("_g_per_ml", " g/mL"),
    ("_lps_mm", " mm (LPS)"),
    ("_mm", " mm"),
    ("_ml", " mL"),
    ("_deg", "°"),
    ("_percent", " %"),
    ("_sha256", ""),
)
_DICOM_UNITS = {
    "MagneticFieldStrength": " T",
    "RepetitionTime": " ms",
    "EchoTime": " ms",
    "InversionTime": " ms",
    "TriggerTime": " ms",
    "FlipAngle": "°",
    "SliceThickness": " mm",
    "SpacingBetweenSlices": " mm",
}
_RULE_NAMES = {"percent_lv_interval": "interval_of_scar_percent"}
_RECONSTRUCTIONS = {
    "psir": "phase-sensitive (PSIR)",
    "magnitude": "magnitude",
    "unknown": "magnitude or phase-sensitive not known",
}
_INPUT_KINDS = {"dicom": "DICOM", "nifti": "NIfTI", "nrrd": "NRRD", "metaimage": "MetaImage"}


@dataclass(frozen=True)
class KeyFigure:
    name: str
    value: str
    notes: tuple[str, ...]
    model: str = ""  # what the model said before a hand corrected it


@dataclass(frozen=True)
class Table:
    """Cells are text, or a `Figure` for a bar. `numeric[i]`: column i is set to the right. `strong`: rows in bold."""

    head: tuple[str, ...]
    rows: tuple[tuple["str | Figure", ...], ...]
    numeric: tuple[bool, ...]
    note: str = ""
    strong: tuple[int, ...] = ()
    flagged: tuple[int, ...] = ()  # rows that a reader should look at first


@dataclass(frozen=True)
class SliceCaption:
    index: int
    title: str
    detail: str
    flagged: bool


@dataclass(frozen=True)
class Content:
    title: str
    date: str
    identity: str  # of the input, short: tells two reports apart without naming anybody
    research_use: str
    key_figures: tuple[KeyFigure, ...]
    summary: str
    warnings: tuple[str, ...]
    review: tuple[str, ...]
    captions: tuple[SliceCaption, ...]  # of the slices that hold the ventricle
    slices_note: str
    corrected: Table | None
    methods: Table | None
    zones: Table | None
    spread: str  # of methods and of readers
    definitions: tuple[tuple[str, str], ...]  # of methods and zones
    slices: Table
    segments: Table | None
    facts: tuple[tuple[str, str], ...]  # how the numbers are defined
    provenance: tuple[tuple[str, str], ...]
    drawn_by: str  # stands beside values from before a hand's correction
    patient: tuple[tuple[str, str], ...] = ()  # empty: nobody is named

    @property
    def patient_line(self) -> str:
        """On every page of paper: name and ID."""
        return ", ".join(text for _, text in self.patient[:2] if text != DASH)

    @property
    def reader_note(self) -> str:
        if self.patient:
            return "Fill in by hand."
        return "Fill in by hand, and add the patient's identity: this report names no patient."


def content_of(report: ScarReport) -> Content:
    """Everything that is said, in the order in which it is read."""
    source = report.provenance["input"]
    shown = [s for s in report.slices if s.myocardium_volume_ml + s.blood_pool_volume_ml > 0]
    return Content(
        title=TITLE,
        date=report.provenance["created_utc"][:10],
        identity=source["content_sha256"][:10],
        research_use=scarnet.RESEARCH_USE,
        key_figures=_key_figures(report),
        summary=report.summary,
        warnings=report.quality.warnings,
        review=report.quality.review,
        captions=tuple(_caption(s) for s in shown),
        slices_note=_slices_note(report, shown),
        corrected=_corrected(report),
        methods=_methods(report) if report.thresholds else None,
        zones=_zones(report) if report.zones else None,
        spread=_spread(report) if report.thresholds else "",
        definitions=_definitions(report) if report.thresholds or report.zones else (),
        slices=_slices(report),
        segments=_segments(report) if report.aha17 else None,
        facts=tuple((_words(name), text) for name, text in report.rules.items()),
        provenance=_provenance(report),
        drawn_by=_drawn_by(report),
        patient=_patient(report.patient),
    )


def _patient(patient: Patient | None) -> tuple[tuple[str, str], ...]:
    if patient is None:
        return ()
    titles = ("Patient", "Patient ID", "Born", "Study", "Accession number")
    return tuple((title, text or DASH) for title, text in zip(titles, astuple(patient), strict=True))


# --- the numbers ------------------------------------------------------------------------------------------------------


def _key_figures(report: ScarReport) -> tuple[KeyFigure, ...]:
    lv, scar, mvo = report.lv, report.scar, report.mvo
    edited = bool(report.provenance.get("edits"))
    model = model_values(report) if edited else None
    assumed = ("spacing assumed",) if report.provenance["input"]["spacing_assumed"] else ()
    interval = (
        f"{_level(report)}interval {_interval(scar.percent_lv_interval)} %"
        if scar.percent_lv_interval
        else "no interval after correction"
        if edited
        else "interval not known"
    )
    enhanced = f"{scar.enhanced_slices} of {len(report.slices)} slices"
    figures = [
        KeyFigure(
            "Scar, percent of LV",
            f"{scar.percent_lv:.1f} %",
            (interval, enhanced),
            f"{_number(model.scar_percent_lv)} %" if model else "",
        ),
        KeyFigure(
            "Scar",
            f"{scar.volume_ml:.1f} mL",
            (f"{scar.mass_g:.1f} g", *assumed),
            f"{model.scar_volume_ml:.1f} mL" if model else "",
        ),
        KeyFigure(
            "LV myocardium",
            f"{lv.mass_g:.0f} g",
            (f"{lv.myocardium_volume_ml:.1f} mL", *assumed),
            f"{model.myocardium_volume_ml * model.density_g_per_ml:.0f} g" if model else "",
        ),
        KeyFigure(
            "Microvascular obstruction",
            f"{mvo.volume_ml:.1f} mL",
            (f"{mvo.percent_lv:.1f} % of LV", "counted in scar", *assumed),
            f"{model.mvo_volume_ml:.1f} mL" if model else "",
        ),
    ]
    if scar.transmurality_mean_percent is not None:
        figures.append(
            KeyFigure(
                "Transmural extent",
                f"{scar.transmurality_mean_percent:.0f} %",
                ("mean where enhanced", f"highest segment {scar.transmurality_max_percent:.0f} %"),
            )
        )
    figures.append(
        KeyFigure(
            "LV blood pool",
            f"{lv.blood_pool_volume_ml:.0f} mL",
            assumed,
            f"{model.blood_pool_volume_ml:.0f} mL" if model else "",
        )
    )
    return tuple(figures)


def _drawn_by(report: ScarReport) -> str:
    method = intensity_method(report.provenance.get("model"))
    return method_name(method) if method else "AI"


def _corrected(report: ScarReport) -> Table | None:
    edits = report.provenance.get("edits")
    model = model_values(report)
    if not edits or model is None:
        return None
    lv, scar, mvo = report.lv, report.scar, report.mvo
    rows = []
    for name, unit, before, after, structure in (
        ("Scar, percent of LV", "%", model.scar_percent_lv, scar.percent_lv, "Scar"),
        ("Scar volume", "mL", model.scar_volume_ml, scar.volume_ml, "Scar"),
        ("Scar mass", "g", model.scar_volume_ml * model.density_g_per_ml, scar.mass_g, "Scar"),
        ("LV myocardial volume", "mL", model.myocardium_volume_ml, lv.myocardium_volume_ml, "LV myocardium"),
        ("LV myocardial mass", "g", model.myocardium_volume_ml * model.density_g_per_ml, lv.mass_g, "LV myocardium"),
        ("Microvascular obstruction", "mL", model.mvo_volume_ml, mvo.volume_ml, "Microvascular obstruction"),
        ("LV blood pool", "mL", model.blood_pool_volume_ml, lv.blood_pool_volume_ml, "LV blood pool"),
    ):
        edit = edits.get(structure)
        # A percentage of a muscle that was corrected changes though the scar's outline does not.
        unchanged = DASH if unit == "%" and "LV myocardium" in edits else "unchanged"
        change = None if before is None else after - before
        rows.append(
            (
                f"{name}, {unit}" if unit != "%" else f"{name}",
                _number(before),
                _number(after),
                DASH if change is None else "0.0" if abs(change) < 0.05 else f"{change:+.1f}".replace("-", "−"),
                f"{edit['dice']:.2f}" if edit else unchanged,
                ", ".join(str(k + 1) for k in edit["slices"]) if edit else DASH,
            )
        )
    return Table(
        ("", _drawn_by(report), "Corrected", "Change", "Dice", "Slices changed"),
        tuple(rows),
        (False, True, True, True, True, True),
        f"{_drawn_by(report)}: what the model drew, before any hand. Everything else in this report is of the corrected outlines. Dice: overlap "
        "of the two outlines, 1 where they agree.",
        strong=(0,),
    )


def _methods(report: ScarReport) -> Table:
    entries = [("This report", report.scar)] + [(method_name(name), t) for name, t in report.thresholds.items()]
    interval = report.scar.percent_lv_interval
    largest = max([t.percent_lv for _, t in entries] + [1.0] + [interval[1] if interval else 0.0])
    rows = tuple(
        (
            name,
            f"{t.percent_lv:.1f}",
            _bar(
                ((t.percent_lv / largest, SCAR_FILL if index == 0 else _OTHER_FILL),),
                tuple(bound / largest for bound in interval) if interval and index == 0 else None,
            ),
            f"{t.volume_ml:.1f}",
            f"{t.mass_g:.1f}",
        )
        for index, (name, t) in enumerate(entries)
    )
    return Table(("Method", "% of LV", "", "Scar mL", "Scar g"), rows, (False, True, False, True, True), strong=(0,))


def _zones(report: ScarReport) -> Table:
    rows = tuple(
        (
            _zone_name(name, z.definition)[0],
            *(f"{v:.1f}" for v in (z.core_percent_lv, z.core_volume_ml, z.core_mass_g)),
            *(f"{v:.1f}" for v in (z.grey_percent_lv, z.grey_volume_ml, z.grey_mass_g)),
        )
        for name, z in report.zones.items()
    )
    head = ("Definition", "Core % of LV", "Core mL", "Core g", "Grey % of LV", "Grey mL", "Grey g")
    return Table(head, rows, (False, *[True] * 6))


def _definitions(report: ScarReport) -> tuple[tuple[str, str], ...]:
    """What each method and zone is. Multiples of the SD that differ in nothing but their number are told once."""
    model = report.provenance.get("model")
    if method := intensity_method(model):
        drawn = f"by the intensity method {method_name(method)} on the given myocardium"
    else:
        drawn = "as outlined by the network" if model else "as outlined in the given segmentation"
    if report.provenance.get("edits"):
        drawn += ", corrected by hand"
    lines = {"This report": drawn}
    for name, measures in report.thresholds.items():
        count = name.removesuffix("sd")
        if count != name:
            lines["n SD"] = measures.definition.replace(f"more than {count} ", "more than n ")
        else:
            lines[method_name(name)] = measures.definition
    for name, zone in report.zones.items():
        title, text = _zone_name(name, zone.definition)
        lines[title] = text
    return tuple((name, text.rstrip(".")) for name, text in lines.items())


def _spread(report: ScarReport) -> str:
    context = report.context
    low, high = context.get("methods_low_percent_lv"), context.get("methods_high_percent_lv")
    parts = ["Methods differ by design; none of them is the truth."]
    if report.scar.percent_lv_interval:
        whisker = f"Line on this report's bar: the model's own {_level(report)}interval. "
    else:
        whisker = ""
    if low is not None and high is not None:
        parts = [f"The methods range from {low:.1f} to {high:.1f} % of LV; none of them is the truth."]
    if context.get("inter_reader"):
        parts.append(context["inter_reader"])
    return whisker + " ".join(parts)


def _zone_name(name: str, definition: str) -> tuple[str, str]:
    """Title and text of a definition that begins with whose it is."""
    title, colon, text = definition.partition(":")
    if colon and len(title) <= 24:
        return _words(title), text.strip()
    return _words(name), definition


def _slices(report: ScarReport) -> Table:
    doubted = any(s.doubt is not None for s in report.slices)
    depth = any(s.transmurality_mean_percent is not None for s in report.slices)
    head = ["Slice", "Position mm", "Stands for mm", "LV mL", "Scar mL", "Scar %", "MVO mL", "", "Blood pool mL"]
    head += ["Transmural % mean / max"] if depth else []
    of_scar = any(s.scar_doubt is not None for s in report.slices)
    head += ["Doubt, of scar" if of_scar else "Doubt"] if doubted else []
    largest = max(s.myocardium_volume_ml for s in report.slices)
    rows = []
    for s in report.slices:
        row = [
            str(s.index + 1),
            f"{s.position_mm:.1f}",
            f"{s.weight_mm:.1f}",
            f"{s.myocardium_volume_ml:.1f}",
            f"{s.scar_volume_ml:.1f}",
            _number(s.scar_percent),
            f"{s.mvo_volume_ml:.1f}",
            _slice_bar(s, largest),
            f"{s.blood_pool_volume_ml:.1f}",
        ]
        if depth:
            mean, most = s.transmurality_mean_percent, s.transmurality_max_percent
            row.append(DASH if mean is None or most is None else f"{mean:.0f} / {most:.0f}")
        if doubted:
            row.append(_number(s.doubt, 2) + (f", {_number(s.scar_doubt, 2)}" if of_scar else ""))
        rows.append(tuple(row))
    whole = {
        "Slice": "All",
        "LV mL": f"{report.lv.myocardium_volume_ml:.1f}",
        "Scar mL": f"{report.scar.volume_ml:.1f}",
        "Scar %": f"{report.scar.percent_lv:.1f}",
        "MVO mL": f"{report.mvo.volume_ml:.1f}",
        "Blood pool mL": f"{report.lv.blood_pool_volume_ml:.1f}",
    }
    rows.append(tuple(whole.get(name, "") for name in head))
    note = "Bars: muscle of the slice, white; scar, amber; microvascular obstruction, dark."
    if doubted:
        note += (
            f" Doubt: share of the slice's muscle the model expects to be labelled wrongly; bold above {REVIEW_DOUBT:g}"
        )
        if of_scar:
            note += f"; of scar: probability that a reader's scar overlaps by less than a half; bold above {REVIEW_SCAR_DOUBT:g}"
        note += "."
    return Table(
        tuple(head),
        tuple(rows),
        tuple(name not in ("Slice", "") for name in head),
        note,
        strong=(len(rows) - 1,),
        flagged=tuple(s.index for s in report.slices if _doubtful(s)),
    )


def _segments(report: ScarReport) -> Table:
    rows = tuple(
        (
            f"{s.segment} {s.name}",
            s.territory,
            _number(s.scar_volume_ml, 1),
            _number(s.scar_percent, 0),
            _number(s.transmurality_percent, 0),
        )
        for s in report.aha17
    )
    return Table(
        ("Segment", "Territory", "Scar mL", "Scar %", "Transmural %"),
        rows,
        (False, False, True, True, True),
        "Seen from the apex. Segment 17 (the apex) is not measured on short-axis slices. Territories as usual; they vary "
        "between patients.",
    )


# --- pictures, rules, provenance --------------------------------------------------------------------------------------


def _caption(measures: SliceMeasures) -> SliceCaption:
    share = "" if measures.scar_percent is None else f" ({measures.scar_percent:.0f} %)"
    scar = f"scar {measures.scar_volume_ml:.1f} mL{share}" if measures.scar_volume_ml > 0 else "no scar"
    doubt = "" if measures.doubt is None else f", doubt {measures.doubt:.2f}"
    return SliceCaption(measures.index, f"{measures.index + 1}", scar + doubt, _doubtful(measures))


def _slices_note(report: ScarReport, shown: list[SliceMeasures]) -> str:
    missing = [str(s.index + 1) for s in report.slices if s not in shown]
    if not missing:
        return ""
    return f"Without left ventricle: slice{'s' if len(missing) > 1 else ''} {', '.join(missing)}."


def _provenance(report: ScarReport) -> tuple[tuple[str, str], ...]:
    facts, model, source = report.provenance, report.provenance.get("model") or {}, report.provenance["input"]
    software = facts["software"]
    lines = [("Software", f"{software['name']} {software['version']}, {facts['created_utc']}")]
    if method := intensity_method(model):
        lines.append(("Model", f"none: scar by the intensity method {method_name(method)} on the given myocardium"))
    elif model:
        text = f"{model.get('name', '')} {model.get('version', '')}"
        if model.get("runtime"):
            text += f", {model['runtime']} on {model.get('device', '')}"
        text += f"; weights SHA-256 {model.get('sha256', '')}"
        if calibration := _calibration(report):
            patients = calibration.get("patients")
            text += f"; {_level(report)}interval calibrated on {patients or 'unstated'} patients by cross-validation"
        if model.get("licence"):
            text += f"; licence {model['licence']}"
        lines.append(("Model", text))
    else:
        lines.append(("Model", "none: the report of a given segmentation"))
    if facts.get("edits"):
        lines.append(("Corrected by hand", ", ".join(facts["edits"])))
    if "reviewed" in facts:
        lines.append(("Review", _review(facts)))
    distance = "" if source["slice_distance_mm"] is None else f", slices {source['slice_distance_mm']:.1f} mm apart"
    lines.append(
        (
            "Input",
            f"{_INPUT_KINDS.get(source['kind'], source['kind'])}, {_RECONSTRUCTIONS.get(source['reconstruction'], source['reconstruction'])}, "
            f"{' × '.join(str(n) for n in source['shape'])} (slices, rows, columns), "
            f"pixels {' × '.join(f'{s:.3f}' for s in source['pixel_spacing_mm'])} mm{distance}"
            + (", spacing assumed" if source["spacing_assumed"] else "")
            + (", spacing given by the user" if source.get("spacing_source") == "user" else "")
            + f"; content SHA-256 {source['content_sha256']}",
        )
    )
    if source.get("acquisition"):
        lines.append(("Acquisition", _pairs(source["acquisition"])))
    if facts.get("segmentation"):
        lines.append(("Segmentation", _pairs(facts["segmentation"])))
    if facts.get("quantification"):
        lines.append(("Quantification", _pairs(facts["quantification"])))
    if facts.get("regions"):
        lines.append(("Regions", _pairs(_without_lists(facts["regions"]))))
    return tuple(lines)


def _review(facts: dict) -> str:
    """Whether a reader has accepted the outlines, and what was done when, by model or reader."""
    state = "accepted by a reader" if facts["reviewed"] else "not yet accepted by a reader"
    steps = [_step(entry) for entry in facts.get("history") or ()]
    return f"{state}; {'; '.join(steps)}" if steps else state


def _step(entry: dict) -> str:
    text = f"{entry['when_utc']} {entry['what']}"
    if entry.get("changed_ml") is not None:
        changes = ", ".join(f"{name} {change:+.2f} mL" for name, change in entry["changed_ml"].items())
        text += f" by the reader in {entry['steps']} step{'s' if entry['steps'] > 1 else ''} ({changes})"
    return text


# --- small things -----------------------------------------------------------------------------------------------------


def _doubtful(measures: SliceMeasures) -> bool:
    return concern(measures) > 1


def _number(value: float | None, decimals: int = 1) -> str:
    return DASH if value is None else f"{value:.{decimals}f}"


def _calibration(report: ScarReport) -> dict:
    """What the model's card says of its interval; empty where it says nothing."""
    return (report.provenance.get("model") or {}).get("interval") or {}


def _level(report: ScarReport) -> str:
    level = _calibration(report).get("level")
    return "" if level is None else f"{100 * level:.0f} % "


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.1f}{DASH}{interval[1]:.1f}"


def method_name(name: str) -> str:
    """What an intensity method, by its key in report.json, is called."""
    if name.endswith("sd") and name[:-2].replace(".", "").isdigit():
        return f"{name[:-2]} SD"
    return _METHOD_NAMES.get(name, name.upper())


def _words(name: str) -> str:
    text = _plain(_RULE_NAMES.get(name, name))
    return text[:1].upper() + text[1:]


def _plain(name: str) -> str:
    """A field's name as words."""
    return " ".join(w.upper() if w in ("lv", "rv", "mvo", "sd") else w for w in name.split("_"))


def _pairs(values: dict) -> str:
    return "; ".join(_pair(name, value) for name, value in values.items())


def _pair(name: str, value) -> str:
    """Words and unit from a name that ends in its unit, or from DICOM's."""
    unit = _DICOM_UNITS.get(name, "")
    if name[:1].isupper():
        name = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    for ending, text in _UNITS:
        if name.endswith(ending):
            name, unit = name.removesuffix(ending), text
            break
    text = _value(value)
    return f"{_plain(name)} {text}{unit if value is not None and not isinstance(value, bool) else ''}"


def _without_lists(values: dict) -> dict:
    """Without what is said of every slice: report.json holds that."""
    inner = {name: _without_lists(v) if isinstance(v, dict) else v for name, v in values.items()}
    return {name: v for name, v in inner.items() if not (isinstance(v, list | tuple) and v and isinstance(v[0], dict))}


def _value(value) -> str:
    if value is None:
        return "automatic"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "−")
    if isinstance(value, dict):
        return "(" + ", ".join(_pair(name, v) for name, v in value.items()) + ")"
    if isinstance(value, list | tuple):
        return ", ".join(_value(v) for v in value)
    return str(value)


def _slice_bar(measures: SliceMeasures, largest_ml: float) -> Figure:
    muscle = measures.myocardium_volume_ml
    healthy, mvo = muscle - measures.scar_volume_ml, measures.mvo_volume_ml
    parts = ((measures.scar_volume_ml - mvo, SCAR_FILL), (mvo, MVO_FILL), (healthy, MUSCLE_FILL))
    return _bar(tuple((volume / largest_ml, fill) for volume, fill in parts))


def _bar(parts: tuple[tuple[float, str], ...], interval: tuple[float, float] | None = None) -> Figure:
    """Pieces end to end, each a share (0 to 1) of the whole width, outlined; `interval`, in shares, as a line over them."""
    items, x = [], 0.5
    for share, fill in parts:
        width = max(share, 0.0) * (_BAR_WIDTH - 1)
        if width > 0:
            items.append(Shape(rectangle(x, 1, width, _BAR_HEIGHT - 2), fill=fill, stroke=INK, stroke_width=0.5))
        x += width
    if interval:
        low, high = (0.5 + share * (_BAR_WIDTH - 1) for share in interval)
        middle, end = _BAR_HEIGHT / 2, 1.6
        lines = [("M", low, middle), ("L", high, middle)]
        for x in (low, high):
            lines += [("M", x, middle - end), ("L", x, middle + end)]
        items.append(Shape(tuple(lines), stroke=INK, stroke_width=1.0))
    return Figure(_BAR_WIDTH, _BAR_HEIGHT, tuple(items), "bar")
