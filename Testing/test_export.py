"""Files: what is written comes back the same, names nobody, fetches nothing, and is whole or absent."""

import csv
import json
import os
import re

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from scarnet.errors import InputError, UsageError
from scarnet.export import read_segmentation, write_outputs
from scarnet.export.html import render
from scarnet.export.segmentation_file import write_volume
from scarnet.phantom import write_dicom
from scarnet.quantification import quantify
from scarnet.segments import SEGMENTS, match_segment
from scarnet.series import read_lge

MODEL = {"name": "m", "version": "2", "sha256": "0123456789abcdef" * 4}


@pytest.fixture(scope="module")
def written(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    report = quantify(phantom.series, phantom.labels)
    return folder, write_outputs(folder, phantom.series, phantom.labels, report), report


def test_everything_agreed_is_there_and_nothing_else(written):
    folder, paths, _ = written
    expected = {
        "labels.nii.gz",
        "segmentation.seg.nrrd",
        "report.json",
        "report.csv",
        "slices.csv",
        "segments.csv",
        "methods.csv",
        "report.html",
        "report.pdf",
    }
    assert set(paths) == expected == {p.name for p in folder.iterdir()}


def test_labels_lie_where_the_image_lies_for_other_readers(written, phantom):
    folder, _, _ = written
    image = nibabel.load(folder / "labels.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), phantom.labels)
    ras = np.diag([-1, -1, 1, 1]) @ phantom.series.geometry.affine_lps
    assert np.allclose(image.affine, ras, atol=1e-4)


def test_the_slicer_segmentation_as_another_reader_sees_it(written, phantom):
    folder, _, _ = written
    data, header = nrrd.read(str(folder / "segmentation.seg.nrrd"))
    names = [header[f"Segment{k}_Name"] for k in range(len(SEGMENTS))]
    assert names == [s.name for s in SEGMENTS]
    for k, definition in enumerate(SEGMENTS):
        assert definition.terminology_entry in header[f"Segment{k}_Tags"]
        value, layer = int(header[f"Segment{k}_LabelValue"]), int(header[f"Segment{k}_Layer"])
        stored = (data[layer] if data.ndim == 4 else data) == value
        assert np.array_equal(stored.transpose(2, 1, 0), definition.mask(phantom.labels)), definition.name


@pytest.mark.parametrize("name", ["labels.nii.gz", "segmentation.seg.nrrd"])
def test_the_same_numbers_to_the_last_digit_after_reading_back(written, phantom, name):
    folder, _, report = written
    labels, notes = read_segmentation(folder / name, phantom.series)
    again = quantify(phantom.series, labels)
    assert notes == () and np.array_equal(labels, phantom.labels)
    assert (again.lv, again.scar, again.mvo, again.slices) == (report.lv, report.scar, report.mvo, report.slices)


def test_the_same_numbers_from_dicom_and_from_its_copy_in_nifti(dicom_folder, phantom, tmp_path):
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(dicom_folder))
    sitk.WriteImage(sitk.ReadImage(files), str(tmp_path / "copy.nii.gz"))
    a, b = read_lge(dicom_folder), read_lge(tmp_path / "copy.nii.gz")
    labels = phantom.labels if np.array_equal(a.image, b.image) else phantom.labels[::-1]
    x, y = quantify(a, phantom.labels), quantify(b, labels)
    assert (x.lv, x.scar, x.mvo) == (y.lv, y.scar, y.mvo)


def test_tables_hold_the_reports_numbers_in_full(written):
    folder, _, report = written
    (row,) = csv.DictReader((folder / "report.csv").open(encoding="utf-8"))
    assert float(row["scar_volume_ml"]) == report.scar.volume_ml
    assert float(row["scar_percent_lv"]) == report.scar.percent_lv
    rows = list(csv.DictReader((folder / "slices.csv").open(encoding="utf-8")))
    assert [float(r["scar_volume_ml"]) for r in rows] == [s.scar_volume_ml for s in report.slices]
    values = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert values["scar"]["volume_ml"] == report.scar.volume_ml


def test_the_page_fetches_nothing_and_runs_nothing(written):
    folder, _, _ = written
    page = (folder / "report.html").read_text(encoding="utf-8")
    for match in re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page):
        assert match.startswith("data:image/jpeg;base64,") or match.startswith("#")
    assert "<script" not in page.lower() and "@import" not in page
    assert "research use only" in page.lower()


def test_the_page_shows_every_slice_of_the_ventricle_and_the_numbers(written, phantom):
    folder, _, report = written
    page = (folder / "report.html").read_text(encoding="utf-8")
    slices = sum(s.myocardium_volume_ml + s.blood_pool_volume_ml > 0 for s in report.slices)
    assert page.count("data:image/jpeg") >= slices
    assert f"{report.scar.volume_ml:.1f}" in page and f"{report.scar.percent_lv:.1f}" in page


def test_no_patient_is_named_anywhere(phantom, tmp_path):
    secret = {
        "PatientName": "Zebedee^Quentin",
        "PatientID": "HOSP-778812",
        "PatientBirthDate": "19440229",
        "AccessionNumber": "ACC-9091",
        "ReferringPhysicianName": "Dr^Mabuse",
        "InstitutionName": "St Elsewhere",
        "StudyDate": "20190817",
        "StudyDescription": "Herz Zebedee",
        "SeriesDescription": "Zebedee late PSIR",
    }
    source = tmp_path / "Zebedee HOSP-778812"
    write_dicom(phantom, source)
    uids = set()
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        for key, value in secret.items():
            setattr(dataset, key, value)
        uids |= {str(dataset.SOPInstanceUID), str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID)}
        dataset.save_as(path)
    series = read_lge(source)
    out = tmp_path / "out"
    write_outputs(out, series, phantom.labels, quantify(series, phantom.labels))
    words = [w for value in secret.values() for w in re.split(r"[\^ ]", value)]
    words = [w for w in words if w not in ("Dr", "St", "late", "PSIR", "Herz")] + sorted(uids)
    for path in out.iterdir():
        content = path.read_bytes()
        for word in words:
            assert word.encode() not in content, (path.name, word)
            assert word not in path.name


def test_a_failure_leaves_nothing_and_keeps_what_was_there(phantom, tmp_path, monkeypatch):
    (tmp_path / "report.json").write_text("old")
    report = quantify(phantom.series, phantom.labels)
    from scarnet.export import outputs

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs, "write_html", full)
    with pytest.raises(UsageError, match="No space left"):
        write_outputs(tmp_path, phantom.series, phantom.labels, report)
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]
    assert (tmp_path / "report.json").read_text() == "old"


def test_nothing_of_an_earlier_run_stays_beside_new_numbers(small_phantom, tmp_path):
    series, labels = small_phantom.series, small_phantom.labels
    report = quantify(series, labels)
    for name in ("report.dcm", "segmentation.dcm", "notes.txt", "corrected.nii.gz"):
        (tmp_path / name).write_text("of another patient")
    write_outputs(tmp_path, series, labels, report)
    assert (tmp_path / "report.dcm").exists()  # no run of ours was there: not ours to remove
    drawn = (tmp_path / "labels.nii.gz").read_bytes()
    hers = {"notes.txt", "corrected.nii.gz"}
    written = write_outputs(tmp_path, series, labels, report, with_report=False, with_segmentation=False)
    assert "report.html" not in written and "segments.csv" in written
    assert {p.name for p in tmp_path.iterdir()} == {*written, *hers, "labels.nii.gz", "segmentation.seg.nrrd"}
    assert (tmp_path / "labels.nii.gz").read_bytes() == drawn
    muscle = np.where(labels > 0, 2, 0).astype(np.uint8)  # no cavity: no segments
    written = write_outputs(tmp_path, series, muscle, quantify(series, muscle), with_report=False)
    assert {p.name for p in tmp_path.iterdir()} == {*written, *hers}
    assert len((tmp_path / "segments.csv").read_text(encoding="utf-8").splitlines()) == 1


def test_a_file_in_the_way_is_refused_before_any_work(phantom, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError, match="another output folder"):
        outputs = write_outputs
        outputs(tmp_path / "out", phantom.series, phantom.labels, quantify(phantom.series, phantom.labels))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="whoever runs this may write everywhere")
def test_a_read_only_folder_is_refused(phantom, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="another output folder"):
        write_outputs(tmp_path / "out", phantom.series, phantom.labels, quantify(phantom.series, phantom.labels))


def test_only_the_spacing_is_taken_on_trust_where_the_user_gave_it(small_phantom, tmp_path):
    """A mirrored label map with a right header, or one with the image's own wrong spacing, must not be laid on by index."""
    labels, geometry = small_phantom.labels, small_phantom.series.geometry
    write_volume(tmp_path / "image.nrrd", small_phantom.series.image, geometry)
    image = sitk.ReadImage(str(tmp_path / "image.nrrd"))
    spacing = image.GetSpacing()
    image.SetSpacing((1, 1, 1))  # as tools write that know none
    sitk.WriteImage(image, str(tmp_path / "image.nrrd"))
    series = read_lge(tmp_path / "image.nrrd", spacing_mm=spacing)
    for stated in (spacing, (1, 1, 1)):
        picture = sitk.GetImageFromArray(labels)
        picture.CopyInformation(image)
        picture.SetSpacing(stated)
        for name, flips in (("same", ()), ("columns", (True, False, False)), ("all", (True, True, True))):
            kept = sitk.Flip(picture, flips) if flips else picture
            sitk.WriteImage(kept, str(tmp_path / f"{name}.nrrd"))
            assert np.array_equal(read_segmentation(tmp_path / f"{name}.nrrd", series)[0], labels), (stated, name)
    picture.SetOrigin([v + 5 for v in picture.GetOrigin()])
    sitk.WriteImage(picture, str(tmp_path / "moved.nrrd"))
    picture.CopyInformation(image)
    picture.SetDirection(np.eye(3).ravel().tolist())
    sitk.WriteImage(picture, str(tmp_path / "turned.nrrd"))
    for name in ("moved", "turned"):
        with pytest.raises(InputError, match="lies elsewhere"):
            read_segmentation(tmp_path / f"{name}.nrrd", series)


def test_a_segmentation_of_another_image_is_refused(written, phantom, small_phantom, tmp_path):
    folder, _, _ = written
    with pytest.raises(InputError, match="belongs to another image"):
        read_segmentation(folder / "labels.nii.gz", small_phantom.series)
    image = sitk.ReadImage(str(folder / "labels.nii.gz"))
    image.SetOrigin([v + 5 for v in image.GetOrigin()])
    sitk.WriteImage(image, str(tmp_path / "moved.nii.gz"))
    with pytest.raises(InputError, match="lies elsewhere"):
        read_segmentation(tmp_path / "moved.nii.gz", phantom.series)
    image.SetOrigin([v - 5 for v in image.GetOrigin()])
    sitk.WriteImage(image * 3, str(tmp_path / "values.nii.gz"))
    with pytest.raises(InputError, match="are known"):
        read_segmentation(tmp_path / "values.nii.gz", phantom.series)
    with pytest.raises(InputError, match="does not exist"):
        read_segmentation(tmp_path / "absent.seg.nrrd", phantom.series)
    (tmp_path / "broken.seg.nrrd").write_bytes(b"NRRD0004\ntype: uchar\n")
    with pytest.raises(InputError, match="cannot be read as a segmentation"):
        read_segmentation(tmp_path / "broken.seg.nrrd", phantom.series)


@pytest.mark.parametrize("name", ["scar", "Infarct", "MVO", "LV_Myocardium", "blood pool"])
def test_segments_are_known_by_common_names(name):
    assert match_segment(name) is not None
    assert match_segment("RV blood pool") is None and match_segment("Segment_1") is None


def test_segments_are_known_by_their_codes_whatever_they_are_called():
    for definition in SEGMENTS:
        assert match_segment("Narbe", definition.terminology_entry) is definition


def test_the_page_escapes_what_it_is_given(phantom):
    report = quantify(phantom.series, phantom.labels, notes=("<b>5 > 3</b>",))
    assert "<b>5" not in render(phantom.series, phantom.labels, report)
