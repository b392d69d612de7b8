"""`--identified`: a report names its patient only where asked to, and what a header says is text and nothing else."""

import csv
import html
import json
import logging
import sys
import zipfile

import pydicom
import pypdf
import pytest

from scarnet import cli
from scarnet.errors import InputError
from scarnet.export import write_label_map
from scarnet.export.html import render
from scarnet.export.pdf import write_pdf
from scarnet.export.tables import PATIENT_COLUMNS, patient_row, write_csv
from scarnet.phantom import write_dicom
from scarnet.quantification import quantify
from scarnet.series import read_lge
from scarnet.series.patient import Patient, read_patient

PERSON = {
    "PatientName": "Zebedee^Quentin^Xaver",
    "PatientID": "HOSP-778812",
    "PatientBirthDate": "19440229",
    "StudyDate": "20190817",
    "AccessionNumber": "ACC-9091",
}
SHOWN = ("Zebedee, Quentin Xaver", "HOSP-778812", "1944-02-29", "2019-08-17", "ACC-9091")
HOSTILE = Patient(
    name="<script>alert(1)</script>, &amp; <b>Ödön</b> 山田",
    patient_id='=HYPERLINK("http://evil")',
    birth_date="-1+1|cmd",
    study_date="@SUM(A1)",
    accession_number='"><img src=x onerror=alert(2)>{{ 7*7 }}',
)


def with_tags(phantom, folder, **tags):
    write_dicom(phantom, folder)
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        dataset.save_as(file)
    return folder


@pytest.fixture(scope="module")
def folder(phantom, tmp_path_factory):
    return with_tags(phantom, tmp_path_factory.mktemp("in") / "LGE", **PERSON)


@pytest.fixture
def run(capsys, caplog, monkeypatch):
    """Run `scarnet ...`: the exit code and everything that was said or logged."""
    caplog.set_level(logging.DEBUG)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["scarnet", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return stopped.value.code or 0, captured.out + captured.err + caplog.text

    return call


def text_of(pdf):
    return " ".join(page.extract_text() for page in pypdf.PdfReader(pdf).pages)


@pytest.mark.parametrize("identified", [False, True])
def test_the_report_names_the_patient_only_when_asked(identified, folder, phantom, run, tmp_path):
    drawn = tmp_path / "drawn.nii.gz"
    write_label_map(drawn, phantom.labels, phantom.series.geometry)
    options = ["--identified"] if identified else []
    code, said = run("measure", drawn, "--volume", folder, "-o", tmp_path / "out", *options)
    assert code == 0, said
    out = tmp_path / "out"
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    (row,) = csv.DictReader((out / "report.csv").open(encoding="utf-8", newline=""))
    page, paper = (out / "report.html").read_text(encoding="utf-8"), text_of(out / "report.pdf")
    metadata = str(dict(pypdf.PdfReader(out / "report.pdf").metadata))
    if identified:
        assert tuple(report["patient"].values()) == SHOWN
        assert list(row)[:5] == list(PATIENT_COLUMNS) and tuple(row.values())[:5] == SHOWN
        for text in SHOWN:
            assert text in page and text in paper
        assert "names no patient" not in page + paper
        pages = pypdf.PdfReader(out / "report.pdf").pages
        assert all("HOSP-778812" in page.extract_text() for page in pages)  # a sheet alone still says whose it is
    else:
        assert report["patient"] is None and not set(row) & set(PATIENT_COLUMNS)
        assert "names no patient" in page and "names no patient" in paper
    for word in ("Zebedee", "Quentin", "HOSP-778812", "19440229", "1944-02-29", "2019-08-17", "ACC-9091"):
        assert word not in said + metadata + " ".join(p.name for p in out.iterdir())
        for file in out.iterdir():
            if not identified or file.name not in ("report.json", "report.csv", "report.html", "report.pdf"):
                assert word.encode() not in file.read_bytes(), file.name


def test_segment_takes_it_too(folder, run, tmp_path):
    code, said = run(
        "segment", folder, "-o", tmp_path / "out", "--identified", "--no-report", "--no-flips", "--device", "cpu"
    )
    assert code == 0, said
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert tuple(report["patient"].values()) == SHOWN and "Zebedee" not in said


def test_what_headers_say_is_text_on_the_page_and_in_tables(phantom, tmp_path):
    report = quantify(phantom.series, phantom.labels, patient=HOSTILE)
    page = render(phantom.series, phantom.labels, report)
    assert "<script" not in page and "<img src=x" not in page and "<b>Ö" not in page
    for text in (HOSTILE.name, HOSTILE.patient_id, HOSTILE.accession_number):
        assert text in html.unescape(page)
    assert "{{ 7*7 }}" in html.unescape(page)  # not computed
    write_csv(tmp_path / "r.csv", [patient_row(report)])
    (row,) = csv.DictReader((tmp_path / "r.csv").open(encoding="utf-8", newline=""))
    for column in ("patient_id", "birth_date", "study_date"):
        assert row[column].startswith("'")  # no spreadsheet computes it
    assert row["patient_id"][1:] == HOSTILE.patient_id and row["accession_number"] == HOSTILE.accession_number
    assert json.loads(json.dumps(report.to_dict()))["patient"]["name"] == HOSTILE.name


def test_the_paper_shows_it_as_it_is_and_says_where_letters_are_missing(phantom, tmp_path):
    report = quantify(phantom.series, phantom.labels, patient=HOSTILE)
    write_pdf(tmp_path / "r.pdf", phantom.series, phantom.labels, report)
    words = "".join(text_of(tmp_path / "r.pdf").split())
    assert "<script>alert(1)</script>,&amp;<b>Ödön</b>??" in words
    assert "".join(HOSTILE.accession_number.split()) in words


@pytest.mark.filterwarnings("ignore:The value length")  # pydicom's, of what is too long on purpose
@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"PatientName": "Yamada^Tarou=山田^太郎", "SpecificCharacterSet": "ISO_IR 192"}, {"name": "Yamada, Tarou (山田, 太郎)"}),
        ({"PatientName": "Cher"}, {"name": "Cher"}),
        ({"PatientName": ""}, {"name": ""}),
        ({"PatientID": "A\x1b[31mB\u202eC", "SpecificCharacterSet": "ISO_IR 192"}, {"patient_id": "A [31mB C"}),
        ({"AccessionNumber": "1\r\nSet-Cookie: x"}, {"accession_number": "1 Set-Cookie: x"}),
        ({"PatientID": "x" * 5000}, {"patient_id": "x" * 200}),
    ],
)  # fmt: skip
def test_values_are_one_line_of_plain_text(tags, expected, small_phantom, tmp_path):
    patient = read_patient(read_lge(with_tags(small_phantom, tmp_path / "s", **tags)))
    assert {name: getattr(patient, name) for name in expected} == expected


def test_it_is_read_within_archives(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    assert read_patient(read_lge(tmp_path / "s.zip")) == Patient(*SHOWN)


def test_images_of_two_patients_name_none(small_phantom, tmp_path):
    folder = with_tags(small_phantom, tmp_path / "s", **PERSON)
    file = sorted(folder.iterdir())[1]
    dataset = pydicom.dcmread(file)
    dataset.PatientName = "ANOTHER"  # of another PatientID it would be no slice of this stack
    dataset.save_as(file)
    with pytest.raises(InputError, match="do not agree on patient") as error:
        read_patient(read_lge(folder))
    assert "ANOTHER" not in str(error.value)


def test_other_files_name_nobody_and_say_so_before_any_work(phantom, run, tmp_path):
    write_label_map(tmp_path / "lge.nii.gz", phantom.labels, phantom.series.geometry)
    code, said = run("segment", tmp_path / "lge.nii.gz", "-o", tmp_path / "out", "--identified", "--model", "none")
    assert code == 3 and "this input is none" in said and not (tmp_path / "out").exists()
