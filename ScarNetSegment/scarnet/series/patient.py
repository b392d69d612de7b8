"""Who the images are of and which study: read only where a user asks for it, since nothing else here names anybody."""

import unicodedata
from dataclasses import dataclass

from scarnet.errors import InputError
from scarnet.series.lge import LgeSeries
from scarnet.series.pictures import PictureHeaders
from scarnet.series.quiet import quiet

#: Field of `Patient` and the DICOM attribute that it is taken from (PS3.3 C.7.1.1, C.7.2.1).
_KEYWORDS = {
    "name": "PatientName",
    "patient_id": "PatientID",
    "birth_date": "PatientBirthDate",
    "study_date": "StudyDate",
    "accession_number": "AccessionNumber",
}
#: Longer than any value that DICOM allows here (three groups of a name, 64 characters each).
MAXIMUM_CHARACTERS = 200


@dataclass(frozen=True)
class Patient:
    """As the images say; empty where they do not. Dates as `YYYY-MM-DD` where they are dates. Plain text of one line."""

    name: str = ""
    patient_id: str = ""
    birth_date: str = ""
    study_date: str = ""
    accession_number: str = ""


def read_patient(series: LgeSeries) -> Patient:
    """Whose images `series` was read from; they must still be there.

    Raises InputError where they are no DICOM, can no longer be read, or do not all name the same patient and study.
    """
    if series.source.kind != "dicom" or not series.source.pictures:
        raise InputError("--identified takes the patient from DICOM images; this input is none. Leave the option out.")
    with quiet(), PictureHeaders(list(_KEYWORDS.values())) as headers:
        found = {
            Patient(**{field: _plain(dataset, keyword) for field, keyword in _KEYWORDS.items()})
            for dataset in map(headers.read, series.source.pictures)
        }
    if len(found) > 1:
        raise InputError(
            "The images do not agree on patient or study, so that no report can name one: export the series again, or leave "
            "--identified out."
        )
    return found.pop()


def _plain(dataset, keyword: str) -> str:
    """A value as text that steers nothing: without control, formatting and surrogate characters."""
    try:
        value = dataset.get(keyword)
        text = "" if value is None else _name(value) if keyword == "PatientName" else str(value)
    except Exception:  # unknown character sets and bytes that do not belong to them
        raise InputError("The patient's identifiers cannot be read from the images; leave --identified out.") from None
    text = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text)
    text = " ".join(text.split())[:MAXIMUM_CHARACTERS]
    digits = text.isascii() and text.isdigit() and len(text) == 8
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if digits and keyword.endswith("Date") else text


def _name(value) -> str:
    """Family name, then the rest; in letters first, then as the patient writes it (PS3.5 6.2)."""
    groups = [group for group in str(value).split("=") if group.strip("^ ")]
    shown = []
    for group in groups:
        family, _, rest = group.partition("^")
        shown.append(", ".join(part for part in (family.strip(), " ".join(rest.replace("^", " ").split())) if part))
    return shown[0] + "".join(f" ({other})" for other in shown[1:]) if shown else ""
