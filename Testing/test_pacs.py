"""The hospital's archive, a real one: studies found, LGE fetched pixel for pixel, results stored; both ways, and refusals."""

import json

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from archive_server import archive_server, free_port

pytest.importorskip("pynetdicom", reason="PYNETDICOM IS NOT INSTALLED: NO ARCHIVE WAS ASKED")
pytest.importorskip("dicomweb_client", reason="DICOMWEB-CLIENT IS NOT INSTALLED: NO ARCHIVE WAS ASKED")

from typer.testing import CliRunner  # noqa: E402

from scarnet.cli import app  # noqa: E402
from scarnet.errors import UsageError  # noqa: E402
from scarnet.export import write_outputs  # noqa: E402
from scarnet.pacs import SeriesRow, archive_at, lge_series  # noqa: E402
from scarnet.pacs.archive import ArchiveError  # noqa: E402
from scarnet.phantom import write_dicom  # noqa: E402
from scarnet.quantification import quantify  # noqa: E402
from scarnet.series import read_lge  # noqa: E402


@pytest.fixture(scope="module")
def archive(tmp_path_factory, small_phantom):
    """Orthanc with the LGE of one patient, a localiser in the same study, and another patient's study."""
    folder = tmp_path_factory.mktemp("archive")
    with archive_server(folder) as server:
        write_dicom(small_phantom, folder / "LGE")
        files = sorted((folder / "LGE").glob("*"))
        for number, (patient, description) in enumerate((("P1", None), ("P1", "localizer"), ("P2", None))):
            for file in files[: 1 if description else None]:
                dataset = pydicom.dcmread(file)
                dataset.PatientID = patient
                if description:
                    dataset.SeriesDescription = dataset.ProtocolName = description
                    for keyword in ("SeriesInstanceUID", "SOPInstanceUID"):
                        setattr(dataset, keyword, generate_uid(entropy_srcs=[getattr(dataset, keyword), "localizer"]))
                    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
                if patient == "P2":
                    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
                        setattr(dataset, keyword, generate_uid(entropy_srcs=[getattr(dataset, keyword), "P2"]))
                    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
                part = folder / f"{number}.dcm"
                dataset.save_as(part)
                server.ask("/instances", part.read_bytes())
        yield server


@pytest.fixture(params=["web", "dimse"])
def there(archive, request):
    return archive_at(getattr(archive, request.param), own_port=archive.own_port)


def test_a_patients_studies_are_found_and_nobody_elses(there):
    (study,) = there.studies("P1")
    assert study.uid and study.uid not in [row.uid for row in there.studies("P2")]
    assert "MR" in study.modalities
    assert there.studies("P3") == []
    for wild in ("*", "P?", "", "P1\\P2"):
        with pytest.raises(ArchiveError, match="whole patient ID"):
            there.studies(wild)


def test_the_lge_is_fetched_and_reads_as_before(there, small_phantom, tmp_path):
    (study,) = there.studies("P1")
    rows = there.series(study.uid)
    assert len(rows) == 2
    (lge,) = lge_series(rows)
    assert lge.images in (5, None)
    files = there.fetch(study.uid, [lge.uid], tmp_path / "fetched")
    assert len(files) == 5 and all("P1" not in file.name for file in files)
    fetched = read_lge(tmp_path / "fetched")
    write_dicom(small_phantom, tmp_path / "original")
    original = read_lge(tmp_path / "original")
    assert np.array_equal(fetched.image, original.image)
    assert fetched.source.content_sha256 == original.source.content_sha256


def test_results_come_back_as_they_were_stored(archive, there, small_phantom, tmp_path):
    pytest.importorskip("highdicom", reason="HIGHDICOM IS NOT INSTALLED: NOTHING WAS STORED IN AN ARCHIVE")
    write_dicom(small_phantom, tmp_path / "LGE")
    series = read_lge(tmp_path / "LGE")
    report = quantify(series, small_phantom.labels)
    written = write_outputs(tmp_path / "out", series, small_phantom.labels, report, with_report=False, with_dicom=True)
    results = [written["segmentation.dcm"], written["report.dcm"]]
    assert there.store(results) == 2
    for file in results:
        sent = pydicom.dcmread(file)
        (found,) = json.loads(archive.ask("/tools/lookup", str(sent.SOPInstanceUID).encode()))
        (tmp_path / "back.dcm").write_bytes(archive.ask(f"{found['Path']}/file"))
        back = pydicom.dcmread(tmp_path / "back.dcm")
        assert back == sent
        archive_delete(archive, found["Path"])


def archive_delete(archive, path):
    import urllib.request

    urllib.request.urlopen(
        urllib.request.Request(f"http://127.0.0.1:{archive.http}{path}", method="DELETE"), timeout=20
    )


def test_refusals_are_one_line(archive, tmp_path):
    nobody = free_port()
    for address in (f"http://127.0.0.1:{nobody}/dicom-web", f"dicom://ARCHIVE@127.0.0.1:{nobody}"):
        with pytest.raises(ArchiveError, match="could not be reached") as caught:
            archive_at(address).studies("SECRET-ID")
        assert "SECRET-ID" not in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ArchiveError, match="HTTP 404|no images"):
        archive_at(archive.web).fetch("1.2.3", ["1.2.3.4"], tmp_path / "none")
    (study,) = archive_at(archive.dimse).studies("P1")
    stranger = archive_at(archive.dimse, own_ae_title="STRANGER", own_port=free_port())
    with pytest.raises(ArchiveError, match="register STRANGER there"):
        stranger.fetch(study.uid, [stranger.series(study.uid)[0].uid], tmp_path / "stranger")


@pytest.mark.parametrize(
    "address", ["pacs", "ftp://pacs", "http://", "dicom://pacs:104", "http://me:secret@pacs/dicom-web"]
)
def test_other_addresses_are_refused(address):
    with pytest.raises(UsageError) as caught:
        archive_at(address)
    assert "dicom://AETITLE@" in str(caught.value) or "SCARNET_PACS_USER" in str(caught.value)


def test_which_series_are_fetched():
    lge, cine, plain = (
        SeriesRow("1", "MR", 1, "PSIR SAX"),
        SeriesRow("2", "MR", 2, "cine"),
        SeriesRow("3", "MR", 3, "s3"),
    )
    report = SeriesRow("4", "SR", 4, "LGE report")
    assert lge_series([lge, cine, plain, report]) == [lge]
    assert lge_series([cine, plain, report]) == [plain]
    assert lge_series([report]) == []


@pytest.mark.parametrize("way", ["web", "dimse"])
def test_the_command_line_lists_and_fetches(archive, way, tmp_path):
    address, run = getattr(archive, way), CliRunner().invoke
    listed = run(app, ["pacs", "list", address, "--patient", "P1"], catch_exceptions=False)
    uid = listed.stdout.split()[0]
    series = run(app, ["pacs", "list", address, "--study", uid], catch_exceptions=False).stdout
    assert sum(line.startswith("*") for line in series.splitlines()) == 1
    own = ["--own-port", str(archive.own_port)]
    fetched = run(
        app, ["pacs", "fetch", address, "--study", uid, "-o", str(tmp_path / "LGE"), *own], catch_exceptions=False
    )
    assert fetched.stdout.startswith("5 images of 1 series")
    assert read_lge(tmp_path / "LGE").image.shape[0] == 5
