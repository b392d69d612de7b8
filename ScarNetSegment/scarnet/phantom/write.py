"""The phantom as a scanner would deliver it: DICOM MR images, one file a slice (PS3.3 A.4)."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from scarnet.errors import UsageError
from scarnet.export import write_label_map
from scarnet.phantom.simulate import Phantom, PhantomParameters, describe, simulate
from scarnet.phantom.study import write_study
from scarnet.phantom.zoo import Variant
from scarnet.series import Reconstruction

#: Phase-sensitive values are stored unsigned with this offset, which RescaleIntercept takes away again.
PSIR_OFFSET = 4096


def write_dicom(phantom: Phantom, folder: Path, *, identity: str = "SCARNET-PHANTOM") -> list[Path]:
    """Write one MR image per slice into `folder` (new or empty); the same phantom gives the same bytes.

    The patient is `identity`, which nobody is called. Raises UsageError when the folder holds files already.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; choose a new folder for the phantom.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as part:
        names = []
        for k in range(phantom.series.image.shape[0]):
            names.append(f"slice{k + 1:02d}.dcm")
            _slice_dataset(phantom, k, identity).save_as(Path(part) / names[-1], enforce_file_format=True)
        folder.mkdir(exist_ok=True)
        for name in names:
            (Path(part) / name).replace(folder / name)
    return [folder / name for name in names]


def _slice_dataset(phantom: Phantom, k: int, identity: str) -> pydicom.Dataset:
    geometry, p = phantom.series.geometry, phantom.parameters
    entropy = [identity, phantom.series.source.content_sha256]
    psir = phantom.series.reconstruction == Reconstruction.PSIR
    offset = PSIR_OFFSET if psir else 0
    ds = pydicom.Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = MRImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid(entropy_srcs=[*entropy, str(k)])
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[*entropy, "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[*entropy, "series"])
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=[*entropy, "frame"])
    ds.PositionReferenceIndicator = ""
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = identity, identity, "", ""
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20200101"
    ds.StudyTime = ds.SeriesTime = "120000"
    ds.AcquisitionTime = ds.ContentTime = f"12{k:02d}00"
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = "", "1", ""
    ds.StudyDescription = "Simulated cardiac MRI"
    ds.SeriesDescription = f"LGE {'PSIR' if psir else 'MAG'} SAX simulated"
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = 1, k + 1, 1
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "MR", "SlicerScarNet", "Phantom"
    ds.PatientPosition, ds.BodyPartExamined = "HFS", "HEART"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "R" if psir else "M", "PSIR" if psir else "MAGNITUDE"]
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = ["IR", "GR"], ["MP", "SK"], "", "2D"
    ds.MagneticFieldStrength, ds.EchoTrainLength, ds.FlipAngle = "1.5", "1", "25"
    ds.RepetitionTime, ds.EchoTime, ds.InversionTime = f"{p.tr_ms:g}", "1.3", "300"
    ds.SliceThickness, ds.SpacingBetweenSlices = f"{p.thickness_mm:g}", f"{p.thickness_mm + p.gap_mm:g}"
    ds.PixelSpacing = [f"{s:.6g}" for s in geometry.pixel_spacing_mm]
    ds.ImageOrientationPatient = [f"{v:.8f}" for v in (*geometry.column_direction, *geometry.row_direction)]
    ds.ImagePositionPatient = [f"{v:.6f}" for v in geometry.slice_origins_mm[k]]
    ds.Rows, ds.Columns = geometry.shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(-offset), "1", "US"
    values = phantom.series.image[k] + offset
    ds.WindowCenter = f"{np.percentile(phantom.series.image, 70):.0f}"
    ds.WindowWidth = f"{np.percentile(phantom.series.image, 99.5) - np.percentile(phantom.series.image, 1):.0f}"
    ds.PixelData = np.clip(values, 0, 65535).astype("<u2").tobytes()
    return ds


#: Seed of the shipped sample.
SAMPLE_SEED = 20


def write_sample(
    folder: Path, parameters: PhantomParameters = PhantomParameters(), *, seed: int = SAMPLE_SEED
) -> Phantom:
    """`LGEShortAxis/*.dcm`, and beside it `truth.nii.gz` and `truth.json`; the defaults give the shipped sample."""
    folder = Path(folder)
    phantom = simulate(parameters, seed=seed)
    write_dicom(phantom, folder / "LGEShortAxis")
    _write_truth(folder, phantom)
    return phantom


def write_vendor_sample(
    folder: Path, variant: Variant, parameters: PhantomParameters = PhantomParameters(), *, seed: int = SAMPLE_SEED
) -> Phantom:
    """A whole study as `variant` exports it in `study`, and the truth of the whole heart beside it as `write_sample` has it."""
    folder = Path(folder)
    kinds = (Reconstruction.PSIR, Reconstruction.MAGNITUDE)
    hearts = {kind.value: simulate(replace(parameters, reconstruction=kind), seed=seed) for kind in kinds}
    write_study(variant, folder / "study", hearts)
    phantom = hearts["magnitude" if variant.images == "magnitude" else "psir"]
    _write_truth(folder, phantom)
    return phantom


def _write_truth(folder: Path, phantom: Phantom) -> None:
    write_label_map(folder / "truth.nii.gz", phantom.labels, phantom.series.geometry)
    (folder / "truth.json").write_text(json.dumps(describe(phantom), indent=2) + "\n", encoding="utf-8")
