"""Whole synthetic studies as vendors and archives deliver them, with the stack that a reader must find in them."""

import io
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    EncapsulatedPDFStorage,
    EnhancedMRImageStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)

from scarnet.errors import UsageError
from scarnet.phantom.simulate import Phantom, PhantomParameters, simulate
from scarnet.phantom.zoo import BIG_ENDIAN, IMPLICIT, RLE, Variant
from scarnet.series import LgeSeries, Reconstruction, StackGeometry
from scarnet.series.quiet import quiet

#: Coarse and few slices, so that a zoo of studies is written and read in seconds; the whole LV and air about the chest.
SMALL = PhantomParameters(slices=8, size=112, pixel_mm=3.0, thickness_mm=8.0, gap_mm=2.0)
#: Nobody is called so; tests look for these words wherever the program writes.
IDENTITY = {
    "PatientName": "Zzyzxson^Quillabert",
    "PatientID": "ID-77345198",
    "PatientBirthDate": "19310203",
    "AccessionNumber": "ACC-5550199",
    "ReferringPhysicianName": "Drfoobar^Ludmilla",
    "InstitutionName": "St. Elsewhere Hospital",
    "StudyID": "STD-880017",
}


@dataclass(frozen=True, eq=False)
class StudyTruth:
    """What a reader must give back: `series` on its own grid, slices along the normal, and its labels."""

    path: Path
    variant: Variant
    series: LgeSeries
    labels: np.ndarray


def small_hearts(seed: int = 3) -> dict[str, Phantom]:
    """The same heart as PSIR and as magnitude."""
    return {kind.value: simulate(replace(SMALL, reconstruction=kind), seed=seed) for kind in _KINDS}


_KINDS = (Reconstruction.PSIR, Reconstruction.MAGNITUDE)


def write_study(variant: Variant, folder: Path, hearts: dict[str, Phantom] | None = None) -> StudyTruth:
    """Write a study into `folder` (new or empty) and say what must be read from it.

    `hearts`: of `small_hearts`, or others on a common grid. Raises UsageError when the folder holds files already.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; choose a new folder for the study.")
    hearts = hearts or small_hearts()
    files: list[tuple[str, bytes]] = []
    for number in range(variant.studies):
        files += [(f"{number}{name}", content) for name, content in _files(variant, hearts, number)]
    path = _store(files, folder, variant.container)
    kind = "magnitude" if variant.images == "magnitude" else "psir"
    image, labels, geometry = _placed(variant, hearts[kind])
    keep = [k for k in range(len(image)) if k not in variant.missing and not (variant.lying_slice and k == 3)]
    along = np.cross(geometry.column_direction, geometry.row_direction)
    keep.sort(key=lambda k: geometry.slice_origins_mm[k] @ along)
    series = LgeSeries(
        image=image[keep],
        geometry=replace(
            geometry, shape=(len(keep), *geometry.shape[1:]), slice_origins_mm=geometry.slice_origins_mm[keep]
        ),
        reconstruction=Reconstruction(variant.reconstruction or kind),
    )
    return StudyTruth(path, variant, series, labels[keep])


def _turn(degrees: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        a, b = [i for i in range(3) if i != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def _placed(variant: Variant, heart: Phantom) -> tuple[np.ndarray, np.ndarray, StackGeometry]:
    """Image, labels and geometry of a heart as this variant's patient lies and is scanned."""
    image, labels, g = heart.series.image, heart.labels, heart.series.geometry
    turn = _turn(variant.turn_degrees)
    columns, rows, origins = turn @ g.column_direction, turn @ g.row_direction, g.slice_origins_mm @ turn.T
    normal = turn @ g.normal
    along = (origins - origins[0]) @ normal
    origins = origins + np.outer((variant.squeeze - 1) * along, normal)
    for slice_, gap in variant.distances:
        origins[slice_:] += gap * normal
    if variant.flip:
        image, labels = image[:, ::-1, ::-1], labels[:, ::-1, ::-1]
        step = (g.shape[1] - 1) * g.pixel_spacing_mm[0] * rows + (g.shape[2] - 1) * g.pixel_spacing_mm[1] * columns
        origins, rows, columns = origins + step, -rows, -columns
    rounded = np.round(origins, 6)
    return (
        np.ascontiguousarray(image),
        np.ascontiguousarray(labels),
        replace(g, column_direction=np.round(columns, 8), row_direction=np.round(rows, 8), slice_origins_mm=rounded),
    )


# --- the LGE images -------------------------------------------------------------------------------------------------


def _files(variant: Variant, hearts: dict[str, Phantom], study: int) -> list[tuple[str, bytes]]:
    """`(path within the study, content)` of every file."""
    uid = _Uids(f"{variant.name} {study}")
    files, number = [], 1
    for kind in variant.others:
        files += [(f"{kind}/{n}", content) for n, content in enumerate(_other(variant, hearts, uid, kind, number))]
        number += 1
    if variant.without_lge:
        return files
    kinds = ("magnitude", "psir") if variant.images == "both" else (variant.images,)
    made: list[Dataset] = []
    for time in range(variant.times):
        for kind in kinds:
            together = variant.layout == "together"
            first = 20 if together else 20 + 40 * time + (20 if kind == "psir" else 0)
            images = _slices(variant, hearts[kind], uid, kind, time, first)
            made += [_enhanced(images, uid, f"{kind} {time}")] if variant.layout == "enhanced" else images
    if variant.layout == "together":
        made.sort(key=lambda ds: (float(ds.AcquisitionTime), str(ds.SeriesDescription)))
        for n, ds in enumerate(made):
            ds.SeriesInstanceUID, ds.InstanceNumber = uid("together"), n + 1
    for n, ds in enumerate(made):
        content = _bytes(ds, variant.syntax, preamble=variant.container != "raw")
        files.append((f"lge/{n}", content))
        if variant.copies and n % 2 == 0:
            files.append((f"lge again/{n}", content))
    return files


class _Uids:
    """The same UIDs for the same study."""

    def __init__(self, study: str):
        self.study = study

    def __call__(self, name: str) -> str:
        return generate_uid(entropy_srcs=[self.study, name])


def _slices(variant: Variant, heart: Phantom, uid: _Uids, kind: str, time: int, first_number: int) -> list[Dataset]:
    """One data set for each slice of one acquisition, and again for what was acquired again."""
    image, _, geometry = _placed(variant, heart)
    count = len(image)
    order = {"apex first": range(count), "base first": range(count)[::-1], "mixed": _mixed(count)}[variant.order]
    datasets = []
    todo = [(k, 0) for k in order if k not in variant.missing] + [(k, 1) for k in variant.repeated]
    for n, (k, again) in enumerate(todo):
        pixels = image[k] if again or k not in variant.repeated else _ghosted(image[k])
        ds = _image(variant, pixels, kind, geometry, k)
        series = f"{kind} {time}" + (f" {n}" if variant.layout == "slices" else "")
        ds.SeriesInstanceUID = uid(series)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid(f"{series} {n} {again}")
        ds.StudyInstanceUID, ds.FrameOfReferenceUID = uid("study"), uid("frame of reference")
        if variant.frames_of_reference:
            ds.FrameOfReferenceUID = uid(f"frame of reference {series} {n}")
        ds.SeriesNumber = first_number + (n if variant.layout == "slices" else 0)
        ds.InstanceNumber, ds.AcquisitionNumber = n + 1, n + 1
        ds.AcquisitionTime = ds.ContentTime = f"1{time}{20 + 20 * again:02d}{k:02d}"
        if "InversionTime" in ds:
            ds.InversionTime = str(300 + 30 * (variant.times - 1 - time))
        if time < variant.times - 1:  # the last is the one to use
            ds.PixelData = _scaled(ds.PixelData, 0.5)
        _lie(ds, variant.lying)
        if k == 3:
            _lie(ds, variant.lying_slice)
            if variant.truncated:
                ds.PixelData = ds.PixelData[: -variant.truncated]
        for keyword in variant.removed:
            if keyword in ds:
                delattr(ds, keyword)
        datasets.append(ds)
    return datasets


def _mixed(count: int) -> list[int]:
    return [*range(0, count, 2), *range(1, count, 2)]


def _ghosted(image: np.ndarray) -> np.ndarray:
    """A slice that had to be acquired again: the breath was not held."""
    return np.round((image + np.roll(image, 12, axis=0)) / 2)


def _scaled(pixels: bytes, by: float) -> bytes:
    return np.round(np.frombuffer(pixels, "<i2") * by).astype("<i2").tobytes()


def _lie(ds: Dataset, elements: dict) -> None:
    with quiet(), pydicom.config.disable_value_validation():
        for keyword, value in elements.items():
            setattr(ds, keyword, value)


def _image(variant: Variant, image: np.ndarray, kind: str, geometry: StackGeometry, k: int) -> Dataset:
    vendor, psir = variant.vendor, kind == "psir"
    signed = vendor.signed if variant.signed is None else variant.signed
    offset = (vendor.psir_offset if variant.offset is None else variant.offset) if psir else 0
    slope = vendor.psir_slope if psir else 1.0
    states = vendor.states_offset if variant.states_offset is None else variant.states_offset
    ds = _base(vendor, MRImageStorage)
    ds.ImageType = list(vendor.psir_type if psir else vendor.magnitude_type)
    ds.SeriesDescription = vendor.names[kind] if variant.description is None else variant.description
    ds.ProtocolName = ds.SeriesDescription if vendor.name == "philips" else "de_overview_sa"
    if variant.description is not None:
        ds.ProtocolName = ""
    ds.SequenceName, ds.ScanningSequence = vendor.sequence_name, list(vendor.scanning_sequence)
    ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = ["SK", "SP"], "CT", "2D"
    ds.RepetitionTime, ds.EchoTime, ds.FlipAngle, ds.EchoTrainLength = "700", "1.3", "25", "1"
    if vendor.inversion_time:
        ds.InversionTime = "300"
    ds.ContrastBolusAgent = "Gadobutrol"
    ds.SliceThickness = "8"
    _place(ds, geometry, k)
    stored = np.round((image + offset) / slope)
    _put_pixels(ds, stored, signed=signed, bits=16)
    if psir and offset and states or slope != 1:
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = f"{-offset:g}" if states else "0", f"{slope:g}", "US"
    return ds


def _place(ds: Dataset, geometry: StackGeometry, k: int) -> None:
    ds.PixelSpacing = [f"{s:.6g}" for s in geometry.pixel_spacing_mm]
    ds.ImageOrientationPatient = [f"{v:.8f}" for v in (*geometry.column_direction, *geometry.row_direction)]
    ds.ImagePositionPatient = [f"{v:.6f}" for v in geometry.slice_origins_mm[k]]


def _put_pixels(ds: Dataset, stored: np.ndarray, *, signed: bool, bits: int) -> None:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if stored.min() < low or stored.max() > high:
        raise ValueError(f"Values {stored.min():g} to {stored.max():g} do not fit in {bits} bits.")
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, int(signed)
    ds.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()


def _base(vendor, sop_class: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    ds.SpecificCharacterSet = "ISO_IR 192" if vendor.character_set == "ISO_IR 192" else vendor.character_set
    for keyword, value in IDENTITY.items():
        setattr(ds, keyword, value)
    ds.PatientSex = "O"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20200101"
    ds.StudyTime, ds.SeriesTime = "100000", "100000"
    ds.StudyDescription, ds.Modality = "Cardiac", "MR"
    ds.Manufacturer, ds.ManufacturerModelName, ds.MagneticFieldStrength = vendor.manufacturer, vendor.model, "1.5"
    ds.PatientPosition, ds.BodyPartExamined = "HFS", "HEART"
    return ds


def _enhanced(images: list[Dataset], uid: _Uids, name: str) -> Dataset:
    """One Enhanced MR object of single images (PS3.3 A.36.2): what differs goes into a group for each frame."""
    first = images[0]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for element in first:
        if element.keyword not in _PER_FRAME:
            ds.add(element)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = EnhancedMRImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid(f"enhanced {name}")
    ds.NumberOfFrames = first.get("NumberOfFrames") or len(images)
    shared, frames = Dataset(), []
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = first.PixelSpacing, first.SliceThickness
    shared.PixelMeasuresSequence = [measures]
    modifier = Dataset()
    modifier.InversionRecovery = "YES"
    if "InversionTime" in first:
        modifier.InversionTimes = float(first.InversionTime)
    shared.MRModifierSequence = [modifier]
    for n, image in enumerate(images):
        frame, content, plane, position, transform, kind = (Dataset() for _ in range(6))
        content.FrameAcquisitionDateTime = f"20200101{image.AcquisitionTime}"
        content.FrameAcquisitionNumber, content.StackID, content.InStackPositionNumber = n + 1, "1", n + 1
        plane.ImageOrientationPatient, position.ImagePositionPatient = (
            image.ImageOrientationPatient,
            image.ImagePositionPatient,
        )
        transform.RescaleIntercept = image.get("RescaleIntercept", "0")
        transform.RescaleSlope, transform.RescaleType = image.get("RescaleSlope", "1"), "US"
        kind.FrameType = image.ImageType
        frame.FrameContentSequence, frame.PlaneOrientationSequence = [content], [plane]
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [position], [transform]
        frame.MRImageFrameTypeSequence = [kind]
        frames.append(frame)
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], frames
    ds.PixelData = b"".join(image.PixelData for image in images)
    return ds


_PER_FRAME = set(
    "ImagePositionPatient ImageOrientationPatient PixelSpacing SliceThickness RescaleIntercept RescaleSlope RescaleType "
    "PixelData InversionTime AcquisitionTime ImageType NumberOfFrames".split()
)


# --- the series around it -------------------------------------------------------------------------------------------


def _other(variant: Variant, hearts: dict[str, Phantom], uid: _Uids, kind: str, number: int) -> list[bytes]:
    """Files of another series of the study: small pictures of the right shape and place, without anatomy."""
    if kind in _DOCUMENTS:
        return [_DOCUMENTS[kind](variant, uid, number)]
    heart = next(iter(hearts.values()))
    _, _, geometry = _placed(variant, heart)
    planes, phases = _PLANES[kind], _PHASES.get(kind, 1)
    rng = np.random.default_rng(number)
    made = []
    for place in range(planes[1]):
        grid = _plane(planes[0], geometry, place)
        for phase in range(phases):
            ds = _base(variant.vendor, MRImageStorage)
            name = "lax" if kind == "lax2" else kind
            ds.SeriesDescription = variant.vendor.names[name].replace("4", "2" if kind == "lax2" else "4")
            ds.ProtocolName, ds.SequenceName = "", ""
            ds.ImageType = list(
                variant.vendor.psir_type if "lax" == name else _TYPES.get(kind, ("ORIGINAL", "PRIMARY", "M"))
            )
            ds.ScanningSequence = list(variant.vendor.scanning_sequence if name in ("lax", "ti_scout") else ("GR",))
            ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SK", "", "2D"
            ds.SeriesInstanceUID, ds.SOPInstanceUID = uid(kind), uid(f"{kind} {place} {phase}")
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.StudyInstanceUID, ds.FrameOfReferenceUID = uid("study"), uid("frame of reference")
            ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = number, place * phases + phase + 1, 1
            ds.AcquisitionTime = ds.ContentTime = f"10{number:02d}{place:02d}.{phase:03d}"
            ds.EchoTime, ds.RepetitionTime, ds.SliceThickness = "1.3", "3", "8"
            if kind in ("cine", "cine_lax", "perfusion"):
                ds.TriggerTime, ds.CardiacNumberOfImages = f"{phase * 40}", str(phases)
            if kind in ("ti_scout", "lax", "lax2"):
                ds.InversionTime = str(120 + 30 * phase) if kind == "ti_scout" else "300"
            _place(ds, grid, 0)
            _put_pixels(ds, rng.integers(0, 400, (32, 32)), signed=False, bits=12)
            made.append(_bytes(ds))
    return made


#: Plane and number of places; pictures of each place; image types.
_PLANES = {
    "cine": ("short", 6),
    "cine_lax": ("long", 1),
    "lax": ("long", 1),
    "lax2": ("long2", 1),
    "t1": ("short", 3),
    "t2": ("short", 3),
    "ti_scout": ("short", 1),
    "localizer": ("axial", 3),
    "perfusion": ("short", 3),
}
_PHASES = {"cine": 10, "cine_lax": 10, "ti_scout": 12, "perfusion": 10}
_TYPES = {"t1": ("DERIVED", "PRIMARY", "M", "T1 MAP"), "t2": ("DERIVED", "PRIMARY", "M", "T2 MAP")}


def _plane(kind: str, geometry: StackGeometry, place: int) -> StackGeometry:
    """A grid of 32 x 32 pixels through the heart's middle, across or along its axis."""
    middle = geometry.index_to_lps(np.array([s / 2 for s in geometry.shape]))
    columns, rows = {
        "short": (geometry.column_direction, geometry.row_direction),
        "long": (geometry.column_direction, geometry.normal),
        "long2": (geometry.row_direction, geometry.normal),
        "axial": (np.array([1.0, 0, 0]), np.array([0, 1.0, 0])),
    }[kind]
    normal = np.cross(columns, rows)
    origin = middle - 16 * 9.0 * (columns + rows) + (place - 2) * 11 * normal
    return StackGeometry((1, 32, 32), (9.0, 9.0), columns, rows, origin[None], 8.0)


def _document(sop_class: str, modality: str, **elements) -> callable:
    def make(variant: Variant, uid: _Uids, number: int) -> bytes:
        ds = _base(variant.vendor, sop_class)
        ds.Modality, ds.SeriesNumber, ds.InstanceNumber = modality, number, 1
        ds.StudyInstanceUID, ds.SeriesInstanceUID = uid("study"), uid(modality)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid(f"{modality} object")
        for keyword, value in elements.items():
            setattr(ds, keyword, value)
        return _bytes(ds)

    return make


def _damaged(variant: Variant, uid: _Uids, number: int) -> bytes:
    return _DOCUMENTS["report"](variant, uid, number)[:300]


_PICTURE = {"Rows": 16, "Columns": 16, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
_DOCUMENTS = {
    "capture": _document(
        SecondaryCaptureImageStorage,
        "OT",
        **_PICTURE,
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        PixelData=bytes(16 * 16 * 3),
    ),
    "report": _document(EnhancedSRStorage, "SR", ValueType="CONTAINER", ContinuityOfContent="SEPARATE"),
    "segmentation": _document(
        SegmentationStorage, "SEG", **_PICTURE, SamplesPerPixel=1, NumberOfFrames=1, PixelData=bytes(16 * 16)
    ),
    "document": _document(
        EncapsulatedPDFStorage,
        "DOC",
        MIMETypeOfEncapsulatedDocument="application/pdf",
        EncapsulatedDocument=b"%PDF-1.4",
    ),
    "damaged": _damaged,
    "text": lambda variant, uid, number: b"Exported by a scanner's console.\n",
}


# --- files ----------------------------------------------------------------------------------------------------------


def _bytes(ds: Dataset, syntax: str = "", *, preamble: bool = True) -> bytes:
    """A file's content in a transfer syntax; explicit little endian unless given."""
    if syntax == RLE:
        ds.compress(RLE, generate_instance_uid=False)
    elif syntax == BIG_ENDIAN:
        width = "<i2" if ds.PixelRepresentation else "<u2"
        ds.PixelData = np.frombuffer(ds.PixelData, width).astype(width.replace("<", ">")).tobytes()
        ds.file_meta.TransferSyntaxUID = syntax
    elif syntax in _ITK_COMPRESSORS:
        frames = np.frombuffer(ds.PixelData, "<i2" if ds.PixelRepresentation else "<u2")
        frames = frames.reshape(-1, ds.Rows, ds.Columns)
        ds.PixelData = encapsulate([_compressed(frame, _ITK_COMPRESSORS[syntax]) for frame in frames])
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
        ds.file_meta.TransferSyntaxUID = syntax
    elif syntax:
        ds.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    with quiet(), pydicom.config.disable_value_validation():
        if preamble:
            pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
        else:
            ds.file_meta.TransferSyntaxUID = IMPLICIT
            bare = Dataset(ds)
            pydicom.dcmwrite(buffer, bare, implicit_vr=True, little_endian=True, enforce_file_format=False)
    return buffer.getvalue()


_ITK_COMPRESSORS = {"1.2.840.10008.1.2.4.90": "JPEG2000", "1.2.840.10008.1.2.4.70": "JPEG"}


def _compressed(frame: np.ndarray, compressor: str) -> bytes:
    """One frame's code stream, without loss, as ITK's GDCM writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.dcm"
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(path))
        writer.SetImageIO("GDCMImageIO")
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.Execute(sitk.GetImageFromArray(frame[None]))
        written = pydicom.dcmread(path)
        return next(pydicom.encaps.generate_frames(written.PixelData, number_of_frames=1))


def _store(files: list[tuple[str, bytes]], folder: Path, container: str) -> Path:
    """Write files as the container wants them; the path that a user would give."""
    folder.mkdir(parents=True, exist_ok=True)
    if container == "zip":
        with zipfile.ZipFile(folder / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for n, (name, content) in enumerate(files):
                archive.writestr(f"{IDENTITY['PatientName']}/{name.split('/')[0]}/IM{n}", content)
        return folder / "study.zip"
    for n, (name, content) in enumerate(files):
        place = {
            "folder": f"{name.replace('/', '_')}.dcm",
            "raw": f"{name.replace('/', '_')}.dcm",
            "plain": f"A{n % 3}/B{n % 5}/{n:08X}",
            "dicomdir": f"IMAGES/IM{n:04d}",
        }[container]
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(content)
    if container == "dicomdir":
        _write_dicomdir(folder, len(files))
        return folder / "DICOMDIR"
    return folder


def _write_dicomdir(folder: Path, count: int) -> None:
    """A directory of images alone, enough for a reader that goes by files."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["directory"])
    ds.FileSetID, ds.FileSetConsistencyFlag = "SCARNET", 0
    ds.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    ds.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    records = []
    for n in range(count):
        record = Dataset()
        record.OffsetOfTheNextDirectoryRecord, record.RecordInUseFlag = 0, 0xFFFF
        record.OffsetOfReferencedLowerLevelDirectoryEntity, record.DirectoryRecordType = 0, "IMAGE"
        record.ReferencedFileID = ["IMAGES", f"IM{n:04d}"]
        records.append(record)
    ds.DirectoryRecordSequence = records
    pydicom.dcmwrite(folder / "DICOMDIR", ds, enforce_file_format=True)
