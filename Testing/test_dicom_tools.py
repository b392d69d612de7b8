"""Our DICOM SEG and SR in the hands of other people's tools: validators, dcmqi and a real archive.

Each test says in capitals which tool it lacks. Debian and Ubuntu: `apt install dicom3tools orthanc`.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

import dicom_standard

highdicom = pytest.importorskip("highdicom", reason="HIGHDICOM IS NOT INSTALLED: DICOM SEG AND SR WERE NOT TESTED")

from scarnet.export import read_segmentation, write_label_map, write_outputs  # noqa: E402
from scarnet.phantom import write_dicom  # noqa: E402
from scarnet.phantom.study import small_hearts, write_study  # noqa: E402
from scarnet.phantom.zoo import named  # noqa: E402
from scarnet.quantification import quantify, summarise_edits  # noqa: E402
from scarnet.segmentation import ScarSegmentation  # noqa: E402
from scarnet.segments import SEGMENTS  # noqa: E402
from scarnet.series import read_lge  # noqa: E402

MODEL = {"name": "compact-emidec", "version": "2", "runtime": "onnxruntime", "sha256": "0123456789abcdef" * 4}
KINDS = ("model", "corrected, a series per slice", "myocardium alone, by hand", "a slice missing")


def tool(name, where):
    """Path of a program, in this environment or on the machine; skips the test where it is not."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if not found:
        pytest.skip(f"{name.upper()} IS NOT INSTALLED ({where}): OUR DICOM WAS NOT TESTED WITH IT")
    return found


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def written(phantom, tmp_path_factory):
    """By kind: folder with segmentation.dcm and report.dcm, the series, its labels and its report."""
    made = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp("kind")
        write_dicom(phantom, folder / "in", identity="Phantom^ScarNet")
        labels, drawn, run_of = phantom.labels, phantom.labels, None
        if kind == "a slice missing":
            (folder / "in" / "slice05.dcm").unlink()
            labels = drawn = np.delete(labels, 4, axis=0)
        if "series per slice" in kind:
            for k, path in enumerate(sorted((folder / "in").iterdir())):
                dataset = pydicom.dcmread(path)
                dataset.SeriesInstanceUID, dataset.SeriesNumber = f"2.25.{k + 1}", k + 1
                dataset.save_as(path)
            drawn = np.where(np.arange(len(labels))[:, None, None] == 3, np.minimum(labels, 2), labels)
        if "by hand" in kind:
            labels = np.where(labels >= 2, 2, 0).astype(np.uint8)  # one segment: its number is then a shared group
        else:
            run_of = ScarSegmentation(drawn, None, np.zeros(3), np.zeros(len(labels)), MODEL, {}, ())
        series = read_lge(folder / "in")
        edits = summarise_edits(drawn, labels, series.geometry) if run_of else None
        report = quantify(series, labels, segmentation=run_of, provenance={"edits": edits})
        write_outputs(folder / "out", series, labels, report, segmentation=run_of, with_report=False, with_dicom=True)
        made[kind] = (folder / "out", series, labels, report)
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", ["segmentation.dcm", "report.dcm"])
def test_dciodvfy_finds_no_error(written, kind, file, tmp_path):
    dciodvfy = tool("dciodvfy", "apt install dicom3tools")
    code, said = run(dciodvfy, written[kind][0] / file)
    assert code == 0 and "Error" not in said, said
    unknown = [line for line in said.splitlines() if "Warning" in line and "99SCARNET" not in line]
    assert not unknown, unknown  # our private codes are the only thing it does not know
    dataset = pydicom.dcmread(written[kind][0] / file)
    del dataset.SeriesInstanceUID
    dataset.save_as(tmp_path / "broken.dcm")
    assert "Error" in run(dciodvfy, tmp_path / "broken.dcm")[1]  # it would have said so


@pytest.fixture(scope="module")
def standard():
    pytest.importorskip("dicom_validator", reason="DICOM-VALIDATOR IS NOT INSTALLED: OUR DICOM WAS NOT TESTED WITH IT")
    folder = dicom_standard.standard_folder()
    if folder is None:
        pytest.skip("THE PACKAGE DICOM-STANDARD IS NOT INSTALLED: DICOM-VALIDATOR HAS NO STANDARD TO TEST OUR DICOM BY")
    return dicom_standard.dicom_info(folder)


def faults(standard, path):
    """What dicom-validator finds, as `module: tag`."""
    from dicom_validator.validator.dicom_file_validator import DicomFileValidator

    result = DicomFileValidator(standard).validate(path)[str(path)]
    found = {f"{module}: {tag}" for module, errors in (result.module_errors or {}).items() for tag in errors}
    assert (result.errors > 0) == bool(found)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", ["segmentation.dcm", "report.dcm"])
def test_dicom_validator_finds_no_error(written, standard, kind, file):
    assert faults(standard, written[kind][0] / file) == set()


@pytest.mark.parametrize("name", ["zip", "philips-enhanced", "siemens-enhanced"])
def test_objects_of_archives_and_of_multi_frame_images_have_no_fault(standard, name, tmp_path):
    truth = write_study(named(name), tmp_path / "study", small_hearts())
    series = read_lge(truth.path)
    report = quantify(series, truth.labels)
    paths = write_outputs(tmp_path / "out", series, truth.labels, report, with_report=False, with_dicom=True)
    dciodvfy = tool("dciodvfy", "apt install dicom3tools")
    for file in ("segmentation.dcm", "report.dcm"):
        code, said = run(dciodvfy, paths[file])
        assert code == 0 and "Error" not in said, said
        assert faults(standard, paths[file]) == set()


def test_dicom_validator_finds_what_is_broken(written, standard, tmp_path):
    folder = written["model"][0]
    seg = pydicom.dcmread(folder / "segmentation.dcm")
    del seg.ContentCreatorName
    del seg.SegmentSequence[0].SegmentLabel
    seg.SegmentationType = "NONE"
    seg.save_as(tmp_path / "seg.dcm")
    found = faults(standard, tmp_path / "seg.dcm")
    assert {f"segmentation-image: {t}" for t in ("(0070,0084)", "(0062,0001)", "(0062,0002) / (0062,0005)")} <= found
    report = pydicom.dcmread(folder / "report.dcm")
    measurements = next(
        i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurements"
    )
    number = next(i for i in measurements.ContentSequence[0].ContentSequence if i.ValueType == "NUM")
    del number.MeasuredValueSequence
    report.save_as(tmp_path / "sr.dcm")
    (fault,) = faults(standard, tmp_path / "sr.dcm")
    assert "(0040,A300)" in fault


@pytest.mark.parametrize("kind", KINDS)
def test_dcmqi_reads_the_same_voxels(written, phantom, kind, tmp_path):
    segimage2itkimage = tool("segimage2itkimage", "pip install dcmqi")
    folder, _, labels, _ = written[kind]
    code, said = run(
        segimage2itkimage,
        "--inputDICOM",
        folder / "segmentation.dcm",
        "--outputDirectory",
        tmp_path,
        "--outputType",
        "nrrd",
    )
    assert code == 0, said
    if kind == "a slice missing":  # dcmqi knows equidistant slices alone and leaves the missing one empty
        labels = np.insert(labels, 4, 0, axis=0)
    write_label_map(tmp_path / "grid.nii.gz", labels, phantom.series.geometry)
    grid = sitk.ReadImage(str(tmp_path / "grid.nii.gz"))
    known = {}
    for group in json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))["segmentAttributes"]:
        for segment in group:
            known[segment["SegmentLabel"]] = segment
    present = [s for s in SEGMENTS if s.mask(labels).any()]
    assert sorted(known) == sorted(s.name for s in present)
    for definition in present:
        segment = known[definition.name]
        assert segment["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == definition.type[1]
        image = sitk.ReadImage(str(tmp_path / f"{segment['labelID']}.nrrd"))
        read = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor))
        assert np.array_equal(read == segment["labelID"], definition.mask(labels)), definition.name
        assert int((sitk.GetArrayFromImage(image) > 0).sum()) == int(definition.mask(labels).sum())


def test_a_seg_that_dcmqi_wrote_is_measured(written, tmp_path):
    itkimage2segimage = tool("itkimage2segimage", "pip install dcmqi")
    _, series, labels, _ = written["model"]
    files = []
    attributes = []
    for number, (name, mask, code) in enumerate(
        (
            ("myocardium", labels >= 2, ("49848007", "Left Ventricle Myocardium")),
            ("infarct", labels >= 3, ("12402003", "Scar tissue")),
        ),
        start=1,
    ):
        files.append(tmp_path / f"{name}.nii.gz")
        write_label_map(files[-1], mask.astype(np.uint8), series.geometry)
        attributes.append(
            [
                {
                    "labelID": 1,
                    "SegmentDescription": name,
                    "SegmentLabel": name,
                    "SegmentAlgorithmType": "MANUAL",
                    "SegmentedPropertyCategoryCodeSequence": _code("123037004", "Anatomical Structure"),
                    "SegmentedPropertyTypeCodeSequence": _code(*code),
                    "recommendedDisplayRGBValue": [200, 10 * number, 10],
                }
            ]
        )
    header = {
        "ContentCreatorName": "Reader^A",
        "SeriesDescription": "Segmentation",
        "SeriesNumber": "300",
        "InstanceNumber": "1",
        "segmentAttributes": attributes,
    }
    (tmp_path / "meta.json").write_text(json.dumps(header), encoding="utf-8")
    code, said = run(
        itkimage2segimage,
        "--inputImageList",
        ",".join(map(str, files)),
        "--inputDICOMDirectory",
        Path(series.source.slice_files[0]).parent,
        "--inputMetadata",
        tmp_path / "meta.json",
        "--outputDICOM",
        tmp_path / "theirs.dcm",
        "--skip",
    )
    assert code == 0, said
    read, _ = read_segmentation(tmp_path / "theirs.dcm", series)
    assert np.array_equal(read, np.where(labels >= 3, 3, np.where(labels >= 2, 2, 0)))


def _code(value, meaning):
    return {"CodeValue": value, "CodingSchemeDesignator": "SCT", "CodeMeaning": meaning}


@pytest.mark.parametrize("kind", KINDS)
def test_tid1500reader_reads_the_same_numbers(written, kind, tmp_path):
    tid1500reader = tool("tid1500reader", "pip install dcmqi")
    folder, _, labels, report = written[kind]
    code, said = run(tid1500reader, "--inputDICOM", folder / "report.dcm", "--outputMetadata", tmp_path / "sr.json")
    assert code == 0, said
    groups = {
        g["TrackingIdentifier"]: g
        for g in json.loads((tmp_path / "sr.json").read_text(encoding="utf-8"))["Measurements"]
    }
    seg = pydicom.dcmread(folder / "segmentation.dcm")
    numbers = {str(s.SegmentLabel): int(s.SegmentNumber) for s in seg.SegmentSequence}
    for name, number in numbers.items():
        assert groups[name]["ReferencedSegment"] == number
        assert groups[name]["segmentationSOPInstanceUID"] == str(seg.SOPInstanceUID)

    def value(name, quantity):
        return [float(m["value"]) for m in groups[name]["measurementItems"] if m["quantity"]["CodeValue"] == quantity][
            0
        ]

    assert value("LV myocardium", "118565006") == pytest.approx(report.lv.myocardium_volume_ml, rel=1e-12)
    assert value("LV myocardium", "18087-7") == pytest.approx(report.lv.mass_g, rel=1e-12)
    assert value("LV blood pool", "118565006") == pytest.approx(report.lv.blood_pool_volume_ml, rel=1e-12)
    if (labels >= 3).any():
        assert value("Scar", "118565006") == pytest.approx(report.scar.volume_ml, rel=1e-12)
        assert value("Scar", "PERCENT_LV") == pytest.approx(report.scar.percent_lv, rel=1e-12)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    """A real archive with a storage of its own; gives its DICOM port and a function that asks it over HTTP."""
    pytest.importorskip("pynetdicom", reason="PYNETDICOM IS NOT INSTALLED: NO ARCHIVE WAS GIVEN OUR DICOM")
    program = tool("Orthanc", "apt install orthanc")
    folder = tmp_path_factory.mktemp("orthanc")
    http, dicom = free_port(), free_port()
    (folder / "orthanc.json").write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "storage"),
                "HttpPort": http,
                "DicomPort": dicom,
                "DicomAet": "ARCHIVE",
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "DicomAlwaysAllowStore": True,
                "UnknownSopClassAccepted": False,
            }
        ),
        encoding="utf-8",
    )
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder)

    def ask(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{http}{path}", timeout=10) as answer:
            return answer.read()

    try:
        for _ in range(100):
            try:
                ask("/system")
                break
            except OSError:
                assert server.poll() is None, (folder / "log.txt").read_text()
                time.sleep(0.1)
        else:
            pytest.fail((folder / "log.txt").read_text())
        yield dicom, ask
    finally:
        server.terminate()
        server.wait(timeout=20)


def test_an_archive_takes_both_and_returns_them_unchanged(written, orthanc, tmp_path):
    from pynetdicom import AE

    port, ask = orthanc
    sent = {}
    for kind in KINDS:
        for file in ("segmentation.dcm", "report.dcm"):
            dataset = pydicom.dcmread(written[kind][0] / file)
            sent[str(dataset.SOPInstanceUID)] = dataset
    entity = AE(ae_title="SCARNET")
    for uid in {str(d.SOPClassUID) for d in sent.values()}:
        entity.add_requested_context(
            uid, [d.file_meta.TransferSyntaxUID for d in sent.values() if d.SOPClassUID == uid][0]
        )
    association = entity.associate("127.0.0.1", port, ae_title="ARCHIVE")
    assert association.is_established
    for dataset in sent.values():
        assert association.send_c_store(dataset).Status == 0x0000
    association.release()
    stored = json.loads(ask("/instances"))
    assert len(stored) == len(sent) == 2 * len(KINDS)
    for identifier in stored:
        (tmp_path / "back.dcm").write_bytes(ask(f"/instances/{identifier}/file"))
        back = pydicom.dcmread(tmp_path / "back.dcm")
        original = sent.pop(str(back.SOPInstanceUID))
        assert back == original
        if "PixelData" in original:
            assert back.PixelData == original.PixelData
    assert not sent
    series = [json.loads(ask(f"/series/{s}"))["MainDicomTags"]["Modality"] for s in json.loads(ask("/series"))]
    assert sorted(series) == ["SEG"] * len(KINDS) + ["SR"] * len(KINDS)
