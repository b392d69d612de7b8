"""Everything a run leaves in its folder, or nothing."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from scarnet.errors import UsageError
from scarnet.export.dicom.report import write_dicom_report
from scarnet.export.dicom.segmentation import write_dicom_segmentation
from scarnet.export.hand_work import WRITTEN_KEY, written_before
from scarnet.export.html import write_html
from scarnet.export.overlays import slice_pictures
from scarnet.export.segmentation_file import write_label_map, write_segmentation
from scarnet.export.tables import COLUMNS, method_rows, patient_row, segment_rows, slice_rows, write_csv, write_json
from scarnet.files import sha256_of
from scarnet.quantification import ScarReport
from scarnet.segmentation import ScarSegmentation
from scarnet.segments import read_origins
from scarnet.series import LgeSeries
from scarnet.temporary import PrivateFolder

#: All that a run may leave in its folder, besides the segmentation.
REPORT_NAMES = (
    *(f"report.{kind}" for kind in ("json", "csv", "html", "pdf", "dcm")),
    *(f"{table}.csv" for table in ("slices", "segments", "methods")),
    "segmentation.dcm",
)


def check_writable(folder: Path) -> None:
    """Raise UsageError, before any work is done, if `folder` cannot be made or written."""
    folder = Path(folder)
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"Nothing can be written to {folder}; choose another output folder.")


def write_outputs(
    folder: Path,
    series: LgeSeries,
    labels: np.ndarray,
    report: ScarReport,
    *,
    segmentation: ScarSegmentation | None = None,
    with_report: bool = True,
    paper: str = "a4",
    with_segmentation: bool = True,
    with_dicom: bool = False,
) -> dict[str, Path]:
    """Write the label map, Slicer segmentation, JSON, CSV, HTML and PDF into `folder`, all or none; returns the paths.

    `with_report`: the HTML page and the PDF, on `paper` "a4" or "letter".
    `with_dicom`: a DICOM SEG and SR too, which carry the patient's identifiers as their images do.
    Files of the same names are replaced. Where the report of an earlier run lies, the rest of it goes too, so that no page
    stands beside another patient's numbers; other files are left alone, and without `with_segmentation` label map and
    Slicer segmentation, whose SHA-256 the report's provenance keeps (see `hand_work`). Raises UsageError when the folder
    cannot be written.
    """
    folder = Path(folder)
    check_writable(folder)
    made = not folder.exists()
    edited = tuple(report.provenance.get("edits") or ())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        private = PrivateFolder(prefix=".part-", parent=folder)
    except OSError as error:
        raise UsageError(
            f"Nothing can be written to {folder} ({error.strerror}); choose another output folder."
        ) from error
    stage, before = Path(private.name), written_before(folder)
    try:
        if with_segmentation:
            write_label_map(stage / "labels.nii.gz", labels, series.geometry)
            model = None if segmentation is None else segmentation.model
            write_segmentation(stage / "segmentation.seg.nrrd", labels, series.geometry, model=model, edited=edited)
        segmentations = {path.name: sha256_of(path) for path in stage.iterdir()} if with_segmentation else before
        report = replace(report, provenance={**report.provenance, WRITTEN_KEY: segmentations or {}})
        if with_dicom:
            origins = read_origins(report.provenance)
            seg = write_dicom_segmentation(
                stage / "segmentation.dcm",
                series,
                labels,
                model=None if segmentation is None else segmentation.model,
                edited=edited,
                origins=origins,
            )
            write_dicom_report(stage / "report.dcm", series, report, segmentation=seg, origins=origins)
        write_json(stage / "report.json", report)
        write_csv(stage / "report.csv", [patient_row(report)])
        write_csv(stage / "slices.csv", slice_rows(report))
        write_csv(stage / "methods.csv", method_rows(report))
        # The head alone where no segment was measured: an older table must not stay beside this report.
        write_csv(stage / "segments.csv", segment_rows(report), COLUMNS["segments.csv"])
        if with_report:
            from scarnet.export.pdf import write_pdf  # needs a package that Slicer installs on demand

            pictures = slice_pictures(series, labels, report)
            write_html(stage / "report.html", series, labels, report, pictures=pictures)
            write_pdf(stage / "report.pdf", series, labels, report, paper=paper, pictures=pictures)
        written = {}
        for part in sorted(stage.iterdir()):
            os.replace(part, folder / part.name)
            written[part.name] = folder / part.name
        for name in REPORT_NAMES:
            if before is not None and name not in written:
                (folder / name).unlink(missing_ok=True)
        return written
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:120]
        raise UsageError(f"Nothing was written to {folder} ({reason}); free space or choose another folder.") from error
    finally:
        private.cleanup()
        if made and not any(folder.iterdir()):
            folder.rmdir()
