"""Options that several commands share, and how their texts are read."""

import math
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from scarnet.errors import InputError, UsageError


class PaperSize(str, Enum):
    A4 = "a4"
    LETTER = "letter"


class Images(str, Enum):
    MAGNITUDE = "magnitude"
    PSIR = "psir"


Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results; made if needed.")]
Model = Annotated[str, typer.Option(help="Name of a model, or a model folder.")]
AnyModel = Annotated[
    str,
    typer.Option(
        help="Name of a model, or a model folder; a trained nnU-Net's folder; a MedSAM checkpoint (.pth); myopari; or "
        "threshold:METHOD (5sd, fwhm, ewa, ...) with --myocardium."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Runtime = Annotated[
    str, typer.Option(help="auto, onnxruntime, openvino or torch; auto: as the model's card says, torch on a GPU.")
]
Spacing = Annotated[
    Optional[str],
    typer.Option(help="DX,DY,DZ in mm (columns, rows, slice distance) for a file that does not state it."),
]
Stack = Annotated[
    Optional[int], typer.Option("--series", help="Number of a stack in 'scarnet series list'; default: the best.")
]
Said = Annotated[
    Optional[Images], typer.Option("--reconstruction", help="What the images are, where tags and image do not tell.")
]
Density = Annotated[float, typer.Option(help="Myocardial density, g/mL.")]
Dicom = Annotated[
    bool,
    typer.Option(
        "--dicom", help="Also write DICOM SEG and SR; they carry the patient's identifiers, as the images do."
    ),
]
Identified = Annotated[
    bool,
    typer.Option(
        "--identified", help="Name the patient in the report: name, ID, birth date, study date, accession number."
    ),
]
Paper = Annotated[PaperSize, typer.Option(help="Of the PDF.")]
RvInsertion = Annotated[
    Optional[str],
    typer.Option(help="X,Y,Z (LPS, mm): anterior insertion of the right ventricle, for the AHA segments."),
]
Remote = Annotated[
    Optional[str],
    typer.Option(help="X,Y,Z (LPS, mm): remote myocardium lies in this direction from the cavity, in every slice."),
]
NoReport = Annotated[bool, typer.Option("--no-report", help="Leave HTML pages and PDFs out.")]
Flips = Annotated[
    Optional[bool],
    typer.Option("--flips/--no-flips", help="Average over views of several sizes, tilts and likely orientations."),
]
Folds = Annotated[Optional[str], typer.Option(help="Folds of cases.csv, such as 1,2,3,4. Default: all.")]
ModelVersion = Annotated[str, typer.Option(help="Version on the model's card.")]
Licence = Annotated[str, typer.Option(help="Licence of the weights, which the data may dictate.")]
Citation = Annotated[str, typer.Option(help="What users of the weights should cite.")]
Accelerator = Annotated[str, typer.Option(help="auto, cpu, gpu or mps.")]
Precision = Annotated[
    Optional[str],
    typer.Option(help="As Lightning names it: 32-true, or bf16-mixed, faster where the processor has it."),
]


def point(text: str | None, what: str, count: int = 3) -> tuple[float, ...] | None:
    """`numbers` that say where something lies. Raises UsageError for what lies nowhere."""
    values = numbers(text, what, count)
    if values is not None and not all(map(math.isfinite, values)):
        raise UsageError(f"{what} takes finite numbers in mm; got '{text}'.")
    return values


def measuring(density: float, rv_insertion: str | None = None, remote: str | None = None):
    """The parameters of `scarnet.quantification`, refused as wrong usage where they are impossible."""
    from scarnet.quantification import QuantificationParameters

    points = point(rv_insertion, "--rv-insertion"), point(remote, "--remote")
    try:
        return QuantificationParameters(density, *points)
    except InputError as error:
        raise UsageError(str(error)) from None


def numbers(text: str | None, what: str, count: int) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        raise UsageError(
            f"{what} takes {count} numbers with commas between, such as {','.join(['1.4'] * count)}; got '{text}'."
        )
    return values


def plain_name(name: str) -> str:
    """Of a model, which names its folder among the others too. Raises UsageError."""
    from scarnet.network.registry import is_plain_name

    if not is_plain_name(name):
        raise UsageError(f"--name takes a plain name, without folders; got '{name}'.")
    return name


def reconstruction_said(images: Images | None):
    from scarnet.series import Reconstruction

    return None if images is None else Reconstruction(images.value)


def fold_numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--folds takes whole numbers with commas between, such as 1,2,3,4; got '{text}'.") from None
