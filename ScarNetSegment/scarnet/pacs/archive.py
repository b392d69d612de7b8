"""What every kind of archive can do, and which of a study's series are worth fetching."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scarnet.errors import ScarNetError
from scarnet.series.names import Kind, kind_by_name


class ArchiveError(ScarNetError):
    """The archive cannot be reached, refuses, or does not know what was asked for."""


@dataclass(frozen=True)
class StudyRow:
    """One study as the archive lists it. `date`: YYYYMMDD; empty where it does not say."""

    uid: str
    date: str = ""
    description: str = ""
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeriesRow:
    """One series of a study. `images`: how many, None where the archive does not count."""

    uid: str
    modality: str = ""
    number: int | None = None
    description: str = ""
    images: int | None = None

    @property
    def kind(self) -> Kind:
        """What its name says it shows: a hint alone."""
        return kind_by_name(self.description)


class Archive(Protocol):
    """Every method raises ArchiveError with one line that names no patient."""

    def studies(self, patient_id: str) -> list[StudyRow]:
        """Of exactly this patient, the newest first."""

    def series(self, study_uid: str) -> list[SeriesRow]:
        """Of one study, in the order of their numbers."""

    def fetch(self, study_uid: str, series_uids: Iterable[str], folder: Path) -> list[Path]:
        """All images of some series into `folder`, under names that say nothing; all of them or an error."""

    def store(self, files: Iterable[Path]) -> int:
        """Send DICOM files to the archive; returns how many it took, which is all of them or an error."""


def lge_series(rows: list[SeriesRow]) -> list[SeriesRow]:
    """Those that may be LGE: by their names where these say so, else every MR series whose name says nothing else."""
    images = [row for row in rows if row.modality in ("MR", "")]
    named = [row for row in images if row.kind == Kind.LGE]
    return named or [row for row in images if row.kind == Kind.UNKNOWN] or images


def newest_first(studies: list[StudyRow]) -> list[StudyRow]:
    return sorted(studies, key=lambda row: row.date, reverse=True)


def by_number(series: list[SeriesRow]) -> list[SeriesRow]:
    return sorted(series, key=lambda row: (row.number is None, row.number or 0, row.uid))


def check_patient_id(patient_id: str) -> str:
    """Raise ArchiveError for an empty ID or one with DICOM's wildcards, which would list other patients too."""
    patient_id = patient_id.strip()
    if not patient_id or any(character in patient_id for character in "*?\\"):
        raise ArchiveError(
            "Give one whole patient ID, without * ? or \\: other patients' studies are not to be listed."
        )
    return patient_id


def has_only(patient_id: str, found: str) -> bool:
    """An archive that ignores the ID would show other patients' studies: only what states it, or states none, is kept."""
    return found.strip() in ("", patient_id)
