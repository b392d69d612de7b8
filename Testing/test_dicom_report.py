"""The report as DICOM SR: every number as the report has it, its codes, what it refers to, and what it says of itself."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest

highdicom = pytest.importorskip("highdicom", reason="HIGHDICOM IS NOT INSTALLED: DICOM SR WAS NOT TESTED")

from scarnet.errors import InputError, UsageError  # noqa: E402
from scarnet.export import write_outputs  # noqa: E402
from scarnet.export.dicom import codes  # noqa: E402
from scarnet.export.dicom.report import write_dicom_report  # noqa: E402
from scarnet.export.dicom.segmentation import write_dicom_segmentation  # noqa: E402
from scarnet.phantom import write_dicom  # noqa: E402
from scarnet.quantification import quantify, summarise_edits  # noqa: E402
from scarnet.quantification.aha import SEGMENTS as AHA  # noqa: E402
from scarnet.segmentation import ScarSegmentation  # noqa: E402
from scarnet.segments import SEGMENTS  # noqa: E402
from scarnet.series import read_lge  # noqa: E402

MODEL = {"name": "compact-emidec", "version": "2", "runtime": "onnxruntime", "sha256": "0123456789abcdef" * 4}


def one_series_per_slice(folder, target):
    target.mkdir()
    for k, path in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = f"2.25.{k + 1}"
        dataset.SeriesNumber = k + 1
        dataset.save_as(target / path.name)
    return target


def run_of(labels):
    return ScarSegmentation(labels, None, np.zeros(3), np.full(len(labels), 0.1), MODEL, {}, ())


@pytest.fixture(scope="module")
def written(dicom_folder, phantom, tmp_path_factory):
    """SR and SEG of one series by a model, and the report they were written from."""
    folder = tmp_path_factory.mktemp("sr")
    series = read_lge(dicom_folder)
    report = quantify(series, phantom.labels, segmentation=run_of(phantom.labels), notes=("A warning.",))
    segmentation = write_dicom_segmentation(folder / "seg.dcm", series, phantom.labels, model=MODEL)
    write_dicom_report(folder / "sr.dcm", series, report, segmentation=segmentation)
    return highdicom.sr.srread(folder / "sr.dcm"), report, series, segmentation


def groups_of(document):
    """Measurement groups by tracking identifier, as highdicom reads them."""
    content = document.content
    groups = [*content.get_volumetric_roi_measurement_groups(), *content.get_image_measurement_groups()]
    assert len({g.tracking_uid for g in groups}) == len(groups)
    return {g.tracking_identifier: g for g in groups}


def numbers(group):
    """(code value, derivation or method code value, unit) to the number, in full."""
    found = {}
    for m in group.get_measurements():
        modifier = m.derivation or m.method
        found[m.name.value, modifier.value if modifier else None, m.unit.value] = m.value
    return found


def evaluations(group):
    return {e.name.value: e.value.value for e in group.get_qualitative_evaluations()}


def test_every_number_of_the_report_in_full(written):
    document, report, _, _ = written
    groups = groups_of(document)
    summed = codes.SUM_OF_VOXELS[1]
    assert numbers(groups["LV myocardium"]) == {
        ("118565006", summed, "mL"): report.lv.myocardium_volume_ml,
        ("18087-7", None, "g"): report.lv.mass_g,
    }
    assert numbers(groups["LV blood pool"]) == {("118565006", summed, "mL"): report.lv.blood_pool_volume_ml}
    assert numbers(groups["Scar"]) == {
        ("118565006", summed, "mL"): report.scar.volume_ml,
        ("118538004", None, "g"): report.scar.mass_g,
        ("PERCENT_LV", "OUTLINED", "%"): report.scar.percent_lv,
        ("ENHANCED_SLICES", None, "1"): report.scar.enhanced_slices,
        ("TRANSMURALITY", "373098007", "%"): report.scar.transmurality_mean_percent,
        ("TRANSMURALITY", "56851009", "%"): report.scar.transmurality_max_percent,
    }
    assert numbers(groups["Microvascular obstruction"]) == {
        ("118565006", summed, "mL"): report.mvo.volume_ml,
        ("118538004", None, "g"): report.mvo.mass_g,
        ("PERCENT_LV", "OUTLINED", "%"): report.mvo.percent_lv,
    }
    thresholds = numbers(groups["Scar by intensity, for comparison"])
    assert sorted(thresholds.values()) == sorted(t.percent_lv for t in report.thresholds.values())
    assert len({key[1] for key in thresholds}) == len(report.thresholds)  # each names its method
    zones = numbers(groups["Infarct core and grey zone by intensity"])
    assert len(zones) == 2 * len(report.zones) > 0
    for key, zone in report.zones.items():
        method = codes.zone_definition(key)[1]
        assert zones["CORE_PERCENT_LV", method, "%"] == zone.core_percent_lv
        assert zones["GREY_PERCENT_LV", method, "%"] == zone.grey_percent_lv


def test_every_measured_wall_segment_at_its_site(written):
    document, report, _, _ = written
    groups = {name: g for name, g in groups_of(document).items() if name.startswith("AHA")}
    measured = [s for s in report.aha17 if s.myocardium_volume_ml is not None]
    assert len(groups) == len(measured) == 16
    for segment in measured:
        group = groups[f"AHA segment {segment.segment} {segment.name}"]
        (site,) = group.finding_sites
        assert site.value.value == codes.AHA_SEGMENTS[segment.segment - 1][1]
        found = numbers(group)
        assert found["118565006", codes.SUM_OF_VOXELS[1], "mL"] == segment.myocardium_volume_ml
        assert found["PERCENT_SEGMENT", "OUTLINED", "%"] == segment.scar_percent
        assert found["TRANSMURALITY", "373098007", "%"] == segment.transmurality_percent
        assert evaluations(group) == {
            "TRANSMURAL_CLASS": codes.TRANSMURAL_CLASSES[segment.transmurality_class][1],
            "TERRITORY": codes.TERRITORIES[segment.territory][1],
        }


def test_standard_codes_are_those_of_the_standard():
    """Against the dictionary that pydicom took from PS3.16; wall segments by the names that CID 3717 gives them."""
    from pydicom.sr.codedict import codes as standard

    known = {}
    for scheme in ("SCT", "DCM", "LN", "UCUM"):
        concepts = getattr(standard, scheme)
        known[scheme] = {getattr(concepts, name).value for name in concepts.dir()}
    ours = []
    for value in vars(codes).values():
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ():
            ours += [item] if isinstance(item, tuple) else []
        ours += [value] if isinstance(value, tuple) and isinstance(value[0], str) else []
    assert len(ours) > 50
    for scheme, value, meaning in ours:
        assert len(value) <= 16 and len(meaning) <= 64, "SH and LO hold no more"
        assert scheme == codes.PRIVATE_SCHEME or value in known[scheme] | {"mL", "g"}, (scheme, value)
        assert scheme != codes.PRIVATE_SCHEME or f"| {value} |" in codes.__doc__ or value.startswith("CLASS_"), value
    walls = {
        getattr(standard.cid3717, name).value: getattr(standard.cid3717, name).meaning
        for name in standard.cid3717.dir()
    }
    for (_, value, _), (name, _) in zip(codes.AHA_SEGMENTS[:16], AHA[:16], strict=True):
        assert walls[value] == f"left ventricle {name} segment"


def source_images(group):
    """UIDs of the images that a group says its segment was drawn on (DCM 121233)."""
    return {
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in group[0].ContentSequence
        if item.ValueType == "IMAGE" and item.ConceptNameCodeSequence[0].CodeValue == "121233"
    }


def evidence(document):
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    return {str(i.ReferencedSOPInstanceUID) for s in study.ReferencedSeriesSequence for i in s.ReferencedSOPSequence}


def test_measurements_refer_to_the_segments_and_to_the_images_they_lie_on(written, phantom):
    document, _, series, segmentation = written
    items = {str(s.SegmentLabel): s for s in segmentation.SegmentSequence}
    groups = groups_of(document)
    for definition in SEGMENTS:
        group, item = groups[definition.name], items[definition.name]
        reference = group.referenced_segment
        assert reference.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert list(reference.referenced_segment_numbers) == [item.SegmentNumber]
        assert group.tracking_uid == item.TrackingUID
        assert group.finding_type.value == definition.type[1]
        on = np.flatnonzero(definition.mask(phantom.labels).any(axis=(1, 2)))
        assert source_images(group) == {series.source.sop_instance_uids[k] for k in on}
    assert evidence(document) == {*series.source.sop_instance_uids, str(segmentation.SOPInstanceUID)}
    assert document.StudyInstanceUID == series.source.study_instance_uid


def test_it_says_who_measured_how_and_that_nobody_verified_it(written):
    document, report, _, _ = written
    assert (document.VerificationFlag, document.PreliminaryFlag, document.CompletionFlag) == (
        "UNVERIFIED",
        "PRELIMINARY",
        "COMPLETE",
    )
    assert "research use only" in document.SeriesDescription
    root = [(i.ConceptNameCodeSequence[0].CodeValue, i) for i in document.ContentSequence]
    texts = [i.TextValue for code, i in root if i.ValueType == "TEXT" and code in ("121106", "111412")]
    assert "research use only" in texts[0].lower() and report.summary in texts
    assert "Warning: A warning." in texts
    assert all(any(rule in text for text in texts) for rule in report.rules.values())
    (observer,) = [i for code, i in root if code == "121005"]
    assert observer.ConceptCodeSequence[0].CodeValue == "121007"  # a device
    assert not [code for code, i in root if i.ValueType == "PNAME"]
    group = groups_of(document)["Scar"]
    stated = {i.ConceptNameCodeSequence[0].CodeValue: i for i in group[0].ContentSequence}
    assert stated["111001"].TextValue.startswith("ScarNet compact-emidec 2") and stated["111003"].TextValue == "2"
    parameters = [i.TextValue for i in group[0].ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "111002"]
    assert parameters[:2] == [f"Weights SHA-256 {MODEL['sha256']}", "Not corrected"]
    assert evaluations(groups_of(document)["LV myocardium"])["122670"] == "122620"  # papillary muscles excluded


def test_edited_structures_and_a_series_per_slice(dicom_folder, phantom, tmp_path):
    series = read_lge(one_series_per_slice(dicom_folder, tmp_path / "split"))
    drawn = phantom.labels.copy()
    drawn[3][drawn[3] == 3] = 2
    edits = summarise_edits(drawn, phantom.labels, series.geometry)
    assert list(edits) == ["Scar"]
    report = quantify(series, phantom.labels, segmentation=run_of(drawn), provenance={"edits": edits})
    write_outputs(
        tmp_path,
        series,
        phantom.labels,
        report,
        segmentation=run_of(phantom.labels),
        with_report=False,
        with_dicom=True,
    )
    document = highdicom.sr.srread(tmp_path / "report.dcm")
    segmentation = pydicom.dcmread(tmp_path / "segmentation.dcm")
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    assert {str(s.SeriesInstanceUID) for s in study.ReferencedSeriesSequence} == {
        *series.source.series_instance_uids,
        str(segmentation.SeriesInstanceUID),
    }
    assert evidence(document) == {*series.source.sop_instance_uids, str(segmentation.SOPInstanceUID)}
    for name, words in (("Scar", "Corrected by hand after the algorithm"), ("LV myocardium", "Not corrected")):
        assert words in [i.TextValue for i in groups_of(document)[name][0].ContentSequence if i.ValueType == "TEXT"]
    on = np.flatnonzero((phantom.labels >= 3).any(axis=(1, 2)))
    assert source_images(groups_of(document)["Scar"]) == {series.source.sop_instance_uids[k] for k in on}


def test_a_hand_is_named_though_the_file_kept_the_models_tags(dicom_folder, phantom, tmp_path, monkeypatch):
    """Segment editors leave a model's tags on what a hand erased: voxels say who drew, tags only who began."""
    import slicerio

    from scarnet import cli

    series, run = read_lge(dicom_folder), run_of(phantom.labels)
    report = quantify(series, phantom.labels, segmentation=run)
    write_outputs(tmp_path / "ai", series, phantom.labels, report, segmentation=run, with_report=False)
    stored = slicerio.read_segmentation(str(tmp_path / "ai" / "segmentation.seg.nrrd"))
    voxels = stored["voxels"]
    scar = next(s for s in stored["segments"] if s["name"] == "Scar")
    layer = voxels if voxels.ndim == 3 else voxels[scar["layer"]]
    mask = layer == scar["labelValue"]
    mask[:, :, : mask.shape[2] // 2] = False
    layer[mask] = 0
    slicerio.write_segmentation(str(tmp_path / "hand.seg.nrrd"), stored)
    options = ["--volume", str(dicom_folder), "-o", str(tmp_path / "out"), "--ai", str(tmp_path / "ai"), "--dicom"]
    monkeypatch.setattr("sys.argv", ["scarnet", "measure", str(tmp_path / "hand.seg.nrrd"), *options])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    segmentation = pydicom.dcmread(tmp_path / "out" / "segmentation.dcm")
    kinds = {s.SegmentLabel: s.SegmentAlgorithmType for s in segmentation.SegmentSequence}
    assert kinds["Scar"] == "SEMIAUTOMATIC" and kinds["LV blood pool"] == "AUTOMATIC"
    groups = groups_of(highdicom.sr.srread(tmp_path / "out" / "report.dcm"))
    for name, words in (("Scar", "Corrected by hand after the algorithm"), ("LV blood pool", "Not corrected")):
        assert words in [i.TextValue for i in groups[name][0].ContentSequence if i.ValueType == "TEXT"]


def test_no_scar_is_a_measured_zero_without_a_segment(dicom_folder, phantom, tmp_path):
    series, labels = read_lge(dicom_folder), np.minimum(phantom.labels, 2)
    write_outputs(tmp_path, series, labels, quantify(series, labels), with_report=False, with_dicom=True)
    document = highdicom.sr.srread(tmp_path / "report.dcm")
    groups = groups_of(document)
    assert numbers(groups["Scar"])["PERCENT_LV", "OUTLINED", "%"] == 0
    assert len(document.content.get_volumetric_roi_measurement_groups()) == 2  # myocardium and blood pool
    assert "122670" not in evaluations(
        groups["LV myocardium"]
    )  # by hand: whether papillary muscles are in is not known
    run = ScarSegmentation(labels, None, np.zeros(3), np.zeros(len(labels)), MODEL | {"name": "my own"}, {}, ())
    write_dicom_report(tmp_path / "own.dcm", series, quantify(series, labels, segmentation=run))
    assert "122670" not in evaluations(groups_of(highdicom.sr.srread(tmp_path / "own.dcm"))["LV myocardium"])


def test_myocardium_alone(dicom_folder, phantom, tmp_path):
    """One segment: the SEG then states its number once for all frames."""
    series, labels = read_lge(dicom_folder), np.where(phantom.labels >= 2, 2, 0).astype(np.uint8)
    write_outputs(tmp_path, series, labels, quantify(series, labels), with_report=False, with_dicom=True)
    groups = groups_of(highdicom.sr.srread(tmp_path / "report.dcm"))
    on = np.flatnonzero(labels.any(axis=(1, 2)))
    assert source_images(groups["LV myocardium"]) == {series.source.sop_instance_uids[k] for k in on}
    assert numbers(groups["LV blood pool"])["118565006", codes.SUM_OF_VOXELS[1], "mL"] == 0


def test_it_can_be_written_without_a_seg(dicom_folder, phantom, tmp_path):
    series = read_lge(dicom_folder)
    write_dicom_report(tmp_path / "sr.dcm", series, quantify(series, phantom.labels))
    document = highdicom.sr.srread(tmp_path / "sr.dcm")
    assert not document.content.get_volumetric_roi_measurement_groups()
    assert evidence(document) == set(series.source.sop_instance_uids)


def test_an_interval_is_said_as_uncertainty_of_the_percentage(dicom_folder, phantom, tmp_path):
    series = read_lge(dicom_folder)
    report = quantify(series, phantom.labels)
    low, high = report.scar.percent_lv - 2.5, report.scar.percent_lv + 4.0
    report = replace(report, scar=replace(report.scar, percent_lv_interval=(low, high)))
    write_dicom_report(tmp_path / "sr.dcm", series, report)
    scar = groups_of(highdicom.sr.srread(tmp_path / "sr.dcm"))["Scar"]
    (percent,) = [m for m in scar.get_measurements() if m.name.value == "PERCENT_LV"]
    said = {
        i.ConceptNameCodeSequence[0].CodeValue: float(i.MeasuredValueSequence[0].NumericValue)
        for i in percent[0].ContentSequence
        if i.ValueType == "NUM"
    }
    assert said == {"371885007": pytest.approx(2.5), "371886008": pytest.approx(4.0)}


@pytest.mark.parametrize(
    "character_set, name",
    [("ISO_IR 100", "Müller^Jörg"), ("ISO_IR 192", "Žižek^Šárka"), (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎")],
)
def test_names_keep_their_letters_and_are_in_no_message(dicom_folder, phantom, tmp_path, capfd, character_set, name):
    (tmp_path / "in").mkdir()
    for path in dicom_folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet = character_set
        dataset.PatientName = name
        for keyword in ("StudyID", "AccessionNumber", "PatientBirthDate", "ReferringPhysicianName", "SliceThickness"):
            delattr(dataset, keyword)  # as de-identified images come
        dataset.save_as(tmp_path / "in" / path.name)
    series = read_lge(tmp_path / "in")
    report = quantify(series, phantom.labels)
    write_outputs(tmp_path / "out", series, phantom.labels, report, with_report=False, with_dicom=True)
    for file in ("segmentation.dcm", "report.dcm"):
        dataset = pydicom.dcmread(tmp_path / "out" / file)
        assert str(dataset.PatientName) == name and dataset.PatientID == "SCARNET-PHANTOM"
    out, err = capfd.readouterr()
    assert not any(word in out + err for word in name.replace("=", "^").split("^"))


def test_what_cannot_be_written_is_refused_and_leaves_nothing(dicom_folder, phantom, tmp_path, monkeypatch):
    report = quantify(phantom.series, phantom.labels)
    with pytest.raises(InputError, match="refer to DICOM images"):
        write_outputs(tmp_path / "out", phantom.series, phantom.labels, report, with_report=False, with_dicom=True)
    write_dicom(phantom, tmp_path / "in")
    series = read_lge(tmp_path / "in")
    first = tmp_path / "in" / "slice01.dcm"
    dataset = pydicom.dcmread(first)
    del dataset.FrameOfReferenceUID
    dataset.save_as(first)
    with pytest.raises(InputError, match="lack FrameOfReferenceUID"):
        write_outputs(tmp_path / "out", series, phantom.labels, report, with_report=False, with_dicom=True)
    dataset.FrameOfReferenceUID, dataset.SOPInstanceUID = "2.25.1", "2.25.2"
    dataset.save_as(first)
    with pytest.raises(InputError, match="changed while"):
        write_outputs(tmp_path / "out", series, phantom.labels, report, with_report=False, with_dicom=True)
    first.unlink()
    with pytest.raises(InputError, match="can no longer be read"):
        write_outputs(tmp_path / "out", series, phantom.labels, report, with_report=False, with_dicom=True)
    series = read_lge(dicom_folder)
    other = pydicom.Dataset()
    other.StudyInstanceUID = "2.25.3"
    with pytest.raises(UsageError, match="another study"):
        write_dicom_report(tmp_path / "sr.dcm", series, report, segmentation=other)
    import builtins

    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "highdicom":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install slicer-scarnet\[dicom\]"):
        write_outputs(tmp_path / "out", series, phantom.labels, report, with_report=False, with_dicom=True)
    assert not (tmp_path / "out").exists() and not (tmp_path / "sr.dcm").exists()
