"""The engine's picture of one LGE short-axis stack."""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from scarnet.series.geometry import StackGeometry


class Reconstruction(str, Enum):
    """How the inversion-recovery signal was reconstructed (Kellman et al., MRM 2002, doi 10.1002/mrm.10051)."""

    MAGNITUDE = "magnitude"
    PSIR = "psir"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class SlicePicture:
    """Where the picture of one slice lies: for opening it again on this computer, never for a report.

    `file`: the DICOM file, or the archive that holds it as `member`; `frame`: which of its frames, from 0, and None where
    it has but one.
    """

    file: str
    member: str = ""
    frame: int | None = None


@dataclass(frozen=True)
class SeriesSource:
    """Where a stack came from, without patient data. DICOM fields are empty for other formats.

    `pictures[k]` is where slice k lies; `sop_instance_uids[k]` the UID of its object. `content_sha256` is taken over the
    pixel values and the geometry, so that the same images in another file format or folder have the same identity.
    """

    kind: str = "array"  # "dicom", "nifti", "nrrd", "metaimage", "array", "phantom"
    name: str = (
        ""  # file or folder name as given, for messages on this computer; never written to reports of DICOM input
    )
    pictures: tuple[SlicePicture, ...] = field(default=(), repr=False)
    sop_instance_uids: tuple[str, ...] = ()
    study_instance_uid: str = ""
    series_instance_uids: tuple[str, ...] = ()
    frame_of_reference_uid: str = ""
    content_sha256: str = ""
    acquisition: dict = field(default_factory=dict)  # non-identifying facts: manufacturer, field strength, TI, ...

    @property
    def slice_files(self) -> tuple[str, ...]:
        """The file of every slice, where each has one of its own; empty otherwise."""
        if any(picture.member or picture.frame is not None for picture in self.pictures):
            return ()
        return tuple(picture.file for picture in self.pictures)


@dataclass(frozen=True, eq=False)
class LgeSeries:
    """One short-axis LGE stack on its own grid.

    Attributes
        image: float32 `[slice, row, column]`, the scanner's values after rescale (PSIR stays signed).
        geometry: where it lies; `geometry.shape == image.shape`.
        reconstruction: magnitude or PSIR, where it can be told.
        warnings: sentences for the user about this input.
        spacing_source: "file"; "user", who gave it in place of the file's; or "assumed", where the file states none and
            a typical one was put in its place: volumes rest on it.
    """

    image: np.ndarray
    geometry: StackGeometry
    reconstruction: Reconstruction = Reconstruction.UNKNOWN
    warnings: tuple[str, ...] = ()
    source: SeriesSource = SeriesSource()
    spacing_source: str = "file"

    def __post_init__(self):
        if self.image.shape != self.geometry.shape:
            raise ValueError(f"Image has shape {self.image.shape}; its geometry says {self.geometry.shape}.")

    @property
    def spacing_assumed(self) -> bool:
        return self.spacing_source == "assumed"
