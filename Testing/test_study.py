"""Whole studies: what is in them, which stack is taken and why, from the command line as well."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from scarnet.cli import app
from scarnet.errors import InputError, UsageError
from scarnet.phantom.study import write_study
from scarnet.phantom.vendors import GE, SIEMENS, VENDORS
from scarnet.phantom.zoo import ALL, Variant, named
from scarnet.series import Reconstruction, read_lge
from scarnet.series.listing import summary
from scarnet.series.members import members
from scarnet.series.names import Kind, View, kind_by_name, view_by_name
from scarnet.series.reconstruction import from_image
from scarnet.series.study import choose, load, read_study, study_of


@pytest.fixture(scope="session")
def whole_study(hearts, tmp_path_factory):
    """Magnitude and PSIR, a series for each slice, among all other kinds of series."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    return write_study(named("siemens-series-per-slice"), folder, hearts)


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_list_says_what_every_stack_is(whole_study):
    result = run("series", "list", whole_study.path, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    by_kind = {}
    for row in found["stacks"]:
        by_kind.setdefault(row["kind"], []).append(row)
    assert set(by_kind) == {"LGE", "cine", "T1 map", "T2 map", "TI scout", "localiser", "perfusion"}
    psir, magnitude = found["stacks"][:2]
    assert (psir["reconstruction"], magnitude["reconstruction"]) == ("psir", "magnitude")
    assert len(psir["series_numbers"]) == psir["slices"] == 8 and psir["usable"] and magnitude["usable"]
    assert psir["slice_distance_mm"] == 10 and psir["inversion_time_ms"] == [300, 300] and found["chosen"] == 1
    assert {row["view"] for row in by_kind["LGE"]} == {"short axis", "long axis"}
    assert not any(row["usable"] for row in found["stacks"][2:])
    assert found["left_out"]["damaged DICOM files"] == 2  # one cut off, and a text that is called .dcm
    assert found["left_out"]["secondary captures"] == 1 and found["left_out"]["structured reports"] == 1


def test_the_table_shows_the_same_stacks_and_no_text_of_headers(whole_study):
    result = run("series", "list", whole_study.path)
    assert result.exit_code == 0 and "scarnet segment" in result.output and "T1 map" in result.output
    for text in ("overview", "Zzyzxson", "ID-77345198", "Gadobutrol"):
        assert text not in result.output


def test_another_stack_is_taken_when_asked_for(whole_study, hearts):
    best, second = read_lge(whole_study.path), read_lge(whole_study.path, stack=2)
    assert (best.reconstruction, second.reconstruction) == (Reconstruction.PSIR, Reconstruction.MAGNITUDE)
    assert np.array_equal(second.image, hearts["magnitude"].series.image)
    assert "was used" in best.warnings[0] and "--series" not in best.warnings[0]
    with pytest.raises(UsageError, match="no stack 99"):
        read_lge(whole_study.path, stack=99)
    listed = summary(read_study(whole_study.path))["stacks"]
    cine = next(row["number"] for row in listed if row["kind"] == "cine")
    with pytest.raises(InputError, match="cannot be used"):
        read_lge(whole_study.path, stack=cine)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000), variant=st.sampled_from(["siemens-both", "slice-acquired-again", "both-named-psir"])
)
def test_the_order_of_files_changes_nothing(hearts, tmp_path_factory, seed, variant):
    path = tmp_path_factory.getbasetemp() / f"order {variant}"
    if not path.exists():
        write_study(named(variant), path, hearts)
    shuffled = members(path)
    np.random.default_rng(seed).shuffle(shuffled)
    study = study_of(shuffled)
    again = load(study, choose(study))
    first = read_lge(path)
    assert again.source.content_sha256 == first.source.content_sha256 and again.warnings == first.warnings
    assert again.source.sop_instance_uids == first.source.sop_instance_uids


def test_a_stack_number_is_no_option_of_one_image(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"")
    with pytest.raises(InputError, match="--series"):
        read_lge(tmp_path / "a.nii", stack=2)


def test_a_late_repeat_is_taken_before_an_early_one(hearts, tmp_path):
    truth = write_study(named("three-stacks-at-other-times"), tmp_path / "s", hearts)
    study = read_study(truth.path)
    times = [stack.inversion_time_range_ms for stack, verdict in study.usable]
    assert times == [(300, 300), (330, 330), (360, 360)] and choose(study) == 0


def test_a_single_file_stands_for_the_stack_it_belongs_to(whole_study, hearts, tmp_path):
    files = sorted(p for p in whole_study.path.iterdir() if "lge_" in p.name)
    chosen = {read_lge(file).reconstruction.value for file in files}
    assert chosen == {"psir", "magnitude"}
    assert np.array_equal(read_lge(files[-1]).image, hearts["psir"].series.image)
    long_axis = next(p for p in whole_study.path.iterdir() if "0lax_" in p.name)
    with pytest.raises(InputError, match="chosen cannot be used"):
        read_lge(long_axis)
    (tmp_path / "alone").write_bytes(files[0].read_bytes())
    with pytest.raises(InputError, match="1 slice only"):
        read_lge(tmp_path / "alone")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    turn=st.tuples(*[st.floats(-180, 180)] * 3),
    flip=st.booleans(),
    order=st.sampled_from(["apex first", "base first", "mixed"]),
    vendor=st.sampled_from(sorted(VENDORS)),
)
def test_any_obliquity_comes_back_exactly(hearts, tmp_path_factory, turn, flip, order, vendor):
    """However a patient lies: a lone stack is read; where its plane is no usual short axis, that is said."""
    variant = Variant(
        "turned", vendor=VENDORS[vendor], others=(), turn_degrees=turn, flip=flip, order=order, states_offset=True
    )
    truth = write_study(variant, tmp_path_factory.mktemp("turned") / "s", hearts)
    series = read_lge(truth.path)
    assert np.array_equal(series.image, truth.series.image)
    assert series.geometry.matches(truth.series.geometry, tolerance_mm=1e-4)
    assert series.geometry.slice_weights_mm == pytest.approx(np.full(8, 10.0), abs=1e-4)


@pytest.mark.parametrize(
    "name, kind",
    [
        ("de_overview_tfi_psir_sa", Kind.LGE),
        ("de_trufi_overview_12sl_psir_fb", Kind.LGE),
        ("tfl_single-shot_PSIR_SAX6_MAG", Kind.LGE),
        ("MDE FLASH PSIR_PSIR", Kind.LGE),
        ("LATE GAD PSIR SERIES", Kind.LGE),
        ("2DDel Enh", Kind.LGE),
        ("PSIR_Sax 2D Ssh_RT", Kind.LGE),
        ("Viabilitetm3d", Kind.LGE),
        ("Spätaufnahmen Kurzachse", Kind.LGE),
        ("TI_scout", Kind.TI_SCOUT),
        ("Look-Locker 2CH", Kind.TI_SCOUT),
        ("T1Map_MOLLI_postcontrast", Kind.T1_MAP),
        ("T2_map_FLASH", Kind.T2_MAP),
        ("cine_trufi_sa", Kind.CINE),
        ("dynamic perfusion rest", Kind.PERFUSION),
        ("fl_pc_flow_through_plane", Kind.FLOW),
        ("localizer", Kind.LOCALIZER),
        ("t2_tirm_sa", Kind.T2_WEIGHTED),
        ("DESCRIPTION", Kind.UNKNOWN),
        ("Femur model", Kind.UNKNOWN),
        ("", Kind.UNKNOWN),
        ("de_tfi_sa", Kind.LGE),
        ("perfusion de stress", Kind.PERFUSION),
        ("cine de 4 camaras", Kind.CINE),
        ("dark blood LGE", Kind.LGE),
        ("LGE post stress", Kind.LGE),
    ],
)
def test_names_of_series(name, kind):
    assert kind_by_name(name.lower()) == kind


@pytest.mark.parametrize(
    "name, view",
    [
        ("de_overview_tfi_psir_sa", View.SHORT_AXIS),
        ("PSIR SAX6 MAG", View.SHORT_AXIS),
        ("eixo curto", View.SHORT_AXIS),
        ("petit-axe", View.SHORT_AXIS),
        ("短軸", View.SHORT_AXIS),
        ("de_overview_2c", View.LONG_AXIS),
        ("lge 4ch", View.LONG_AXIS),
        ("2 Kammerblick", View.LONG_AXIS),
        ("3-chamber", View.LONG_AXIS),
        ("hla", View.LONG_AXIS),
        ("ax haste", View.OTHER),
        ("sa 4ch", View.UNKNOWN),
        ("sagittal", View.OTHER),
        ("viability", View.UNKNOWN),
    ],
)
def test_names_of_planes(name, view):
    assert view_by_name(name) == view


def test_the_image_itself_shows_its_reconstruction(hearts):
    psir, magnitude = hearts["psir"].series.image, hearts["magnitude"].series.image
    assert from_image(psir) == (Reconstruction.PSIR, 0)
    for offset in (1024, 2048, 4096, 8192):
        if offset > -psir.min():
            assert from_image(psir + offset) == (Reconstruction.PSIR, offset)
    assert from_image(magnitude) == (Reconstruction.MAGNITUDE, 0)
    assert from_image(psir + 2900)[0] == Reconstruction.UNKNOWN  # an offset that nobody uses
    assert from_image(magnitude + 2048)[0] == Reconstruction.UNKNOWN  # nothing below its air: no sign to be seen
    masked = np.where(np.hypot(*np.mgrid[-56:56, -56:56]) > 50, 0, psir + 2048)  # corners set to 0 on the scanner
    assert from_image(masked)[0] != Reconstruction.MAGNITUDE
    assert from_image(np.zeros_like(psir))[0] == Reconstruction.UNKNOWN
    flat = np.random.default_rng(0).uniform(100, 200, psir.shape)
    assert from_image(flat)[0] == Reconstruction.UNKNOWN


def test_tags_that_the_image_contradicts_are_said(hearts, tmp_path):
    wrong = replace(SIEMENS, magnitude_type=SIEMENS.psir_type, names={**SIEMENS.names, "magnitude": "PSIR sa"})
    truth = write_study(Variant("w", vendor=wrong, images="magnitude", others=()), tmp_path / "a", hearts)
    series = read_lge(truth.path)
    assert series.reconstruction == Reconstruction.UNKNOWN and any("look like magnitude" in w for w in series.warnings)
    wrong = replace(GE, psir_type=("ORIGINAL", "PRIMARY", "M"), names={**GE.names, "psir": "LGE MAG"})
    truth = write_study(Variant("w", vendor=wrong, others=()), tmp_path / "b", hearts)
    series = read_lge(truth.path)
    assert series.reconstruction == Reconstruction.PSIR and any("taken as PSIR" in w for w in series.warnings)
    assert np.array_equal(series.image, truth.series.image)


def test_what_neither_tags_nor_image_say_is_asked_for(hearts, tmp_path):
    variant = Variant(
        "u", vendor=GE, offset=2900, states_offset=False, description="SAX delayed", removed=("ImageType",)
    )
    truth = write_study(variant, tmp_path / "s", hearts)
    series = read_lge(truth.path)
    assert series.reconstruction == Reconstruction.UNKNOWN and any("--reconstruction" in w for w in series.warnings)
    said = read_lge(truth.path, reconstruction=Reconstruction.PSIR)
    assert said.reconstruction == Reconstruction.PSIR and not any("--reconstruction" in w for w in said.warnings)


def test_images_that_are_inverted_or_compressed_with_loss_are_said(hearts, tmp_path):
    lying = {"PhotometricInterpretation": "MONOCHROME1", "LossyImageCompression": "01"}
    truth = write_study(Variant("u", lying=lying, others=()), tmp_path / "s", hearts)
    text = " ".join(read_lge(truth.path).warnings)
    assert "MONOCHROME1" in text and "with loss" in text


def test_values_beyond_the_stated_bits_are_said(hearts, tmp_path):
    truth = write_study(Variant("u", lying={"BitsStored": 12, "HighBit": 11}, others=()), tmp_path / "s", hearts)
    assert any("exceed the 12 bits" in w for w in read_lge(truth.path).warnings)


@pytest.mark.parametrize("vendor", ["philips-enhanced"])
def test_the_command_writes_a_vendors_study_with_its_truth(tmp_path, vendor):
    result = run("phantom", "--vendor", vendor, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    series = read_lge(tmp_path / "out" / "study")
    assert series.image.shape == (10, 208, 208)
    truth = json.loads((tmp_path / "out" / "truth.json").read_text())["truth"]
    assert truth["scar_volume_ml"] > 5 and (tmp_path / "out" / "truth.nii.gz").is_file()


def test_an_unknown_vendor_is_refused_with_the_names(tmp_path):
    result = run("phantom", "--vendor", "acme", "-o", tmp_path / "out")
    assert isinstance(result.exception, UsageError) and "siemens-psir" in str(result.exception)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["siemens-series-per-slice", "ge-magnitude-signed-storage", "philips-enhanced", "canon-silent-offset"]
)
def test_the_shipped_model_finds_the_same_scar_however_it_was_exported(name, phantom, tmp_path):
    """Against the plain series of the same heart: the export must not change what the network sees."""
    from scarnet.conventions import scar_mask
    from scarnet.phantom import simulate
    from scarnet.segmentation import segment

    magnitude = simulate(replace(phantom.parameters, reconstruction=Reconstruction.MAGNITUDE), seed=20)
    truth = write_study(named(name), tmp_path / "s", {"psir": phantom, "magnitude": magnitude})
    plain = phantom.series if truth.series.reconstruction == Reconstruction.PSIR else magnitude.series
    expected = scar_mask(segment(plain).labels)
    series = read_lge(truth.path)
    labels = segment(series).labels
    assert expected.sum() > 500
    assert np.array_equal(scar_mask(labels), expected)


@pytest.mark.slow
def test_the_command_says_which_stack_it_used_and_why(phantom, hearts, tmp_path):
    write_study(Variant("s", layout="slices", others=ALL), tmp_path / "study", {"psir": phantom})
    result = run("segment", tmp_path / "study", "-o", tmp_path / "out", "--no-report")
    assert result.exit_code == 0, result.output
    assert "in the study was used (series" in result.output and "across the heart" in result.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert any("in the study was used" in line for line in report["quality"]["warnings"])


def test_every_kind_of_series_is_in_a_mixed_study():
    assert {"cine", "t1", "ti_scout", "report", "segmentation", "damaged"} <= set(ALL)
