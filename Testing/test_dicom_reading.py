"""Segmentations of others: DICOM SEG of every kind, other codes and orders, and files on another grid."""

import json

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from test_segments import drawn_heart

highdicom = pytest.importorskip("highdicom", reason="HIGHDICOM IS NOT INSTALLED: READING DICOM SEG WAS NOT TESTED")

from scarnet.conventions import Label, myocardium_mask  # noqa: E402
from scarnet.errors import InputError, UsageError  # noqa: E402
from scarnet.export import read_segmentation, read_segmentation_file, write_label_map  # noqa: E402
from scarnet.export.dicom.segmentation import write_dicom_segmentation  # noqa: E402
from scarnet.export.regrid import onto_grid  # noqa: E402
from scarnet.quantification import quantify  # noqa: E402
from scarnet.segments import SEGMENTS, match_codes, match_segment  # noqa: E402
from scarnet.series import StackGeometry, read_lge  # noqa: E402

MODEL = {"name": "compact-emidec", "version": "2", "sha256": "0123456789abcdef" * 4}
ANATOMY = ("123037004", "SCT", "Anatomical Structure")


@pytest.fixture(scope="module")
def series(dicom_folder):
    return read_lge(dicom_folder)


@pytest.fixture(scope="module")
def ours(series, phantom, tmp_path_factory):
    path = tmp_path_factory.mktemp("seg") / "ours.dcm"
    write_dicom_segmentation(path, series, phantom.labels, model=MODEL, edited=("Scar",))
    return path


def foreign(path, series, segments, *, kind="BINARY", **changes):
    """A SEG as another program might write it. `segments`: (label, type code, mask or fractions); `changes` to the call."""
    images = [pydicom.dcmread(f) for f in series.source.slice_files]
    descriptions = [
        highdicom.seg.SegmentDescription(
            number,
            label,
            highdicom.sr.CodedConcept(*ANATOMY),
            highdicom.sr.CodedConcept(*code),
            "MANUAL",
        )
        for number, (label, code, _) in enumerate(segments, start=1)
    ]
    pixels = np.stack([mask for _, _, mask in segments], axis=-1)
    if kind == "LABELMAP":
        pixels = sum((k + 1) * pixels[..., k].astype(np.uint8) for k in range(len(segments)))
    arguments = dict(
        source_images=images,
        pixel_array=pixels if kind == "FRACTIONAL" else pixels.astype(np.uint8),
        segmentation_type=kind,
        segment_descriptions=descriptions,
        series_instance_uid=highdicom.UID(),
        series_number=5,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="Other",
        manufacturer_model_name="Other",
        software_versions="1",
        device_serial_number="1",
    )
    highdicom.seg.Segmentation(**(arguments | changes)).save_as(path)
    return path


def parts(labels):
    """Myocardium as a whole, scar and blood pool, with codes of others."""
    return [
        ("Herzmuskel", ("74281007", "SCT", "Myocardium"), labels >= 2),
        ("Narbe", ("22298006", "SCT", "Myocardial Infarction"), labels >= 3),
        ("cavity", ("91747007", "SCT", "Lumen of blood vessel"), labels == 1),
    ]


def test_our_own_seg_gives_the_same_labels_and_numbers(ours, series, phantom):
    read = read_segmentation_file(ours, series)
    assert np.array_equal(read.labels, phantom.labels) and read.notes == ()
    assert quantify(series, read.labels).scar == quantify(series, phantom.labels).scar
    assert read.origins["Scar"].algorithm_type == "SEMIAUTOMATIC"
    assert read.origins["LV myocardium"].algorithm_type == "AUTOMATIC"
    assert read.origins["Scar"].algorithm_name == "ScarNet compact-emidec 2 0123456789ab"
    assert read.origins["Scar"].algorithm_version == "2"


def test_who_drew_it_is_handed_on_through_the_report(ours, dicom_folder, tmp_path):
    """`scarnet measure SEG --dicom`: what came from a model is not called manual."""
    from scarnet.cli import measure

    measure(ours, dicom_folder, tmp_path / "out", dicom=True)
    provenance = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["provenance"]
    assert provenance["origins"]["Scar"]["algorithm_type"] == "SEMIAUTOMATIC"
    again = pydicom.dcmread(tmp_path / "out" / "segmentation.dcm")
    kinds = {str(s.SegmentLabel): str(s.SegmentAlgorithmType) for s in again.SegmentSequence}
    assert kinds.pop("Scar") == "SEMIAUTOMATIC" and set(kinds.values()) == {"AUTOMATIC"}
    report = highdicom.sr.srread(tmp_path / "out" / "report.dcm")
    (scar,) = [g for g in report.content.get_volumetric_roi_measurement_groups() if g.tracking_identifier == "Scar"]
    texts = [i.TextValue for i in scar[0].ContentSequence if i.ValueType == "TEXT"]
    assert "Corrected by hand after the algorithm" in texts and any("Read from a file with SHA-256" in t for t in texts)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_segs_of_others_by_their_codes_then_by_name(series, phantom, tmp_path, kind):
    segments = parts(phantom.labels)
    if kind == "FRACTIONAL":
        segments = [(name, code, np.where(mask, 0.7, 0.3).astype(np.float32)) for name, code, mask in segments]
    read = read_segmentation_file(foreign(tmp_path / "s.dcm", series, segments, kind=kind), series)
    assert np.array_equal(read.labels, np.minimum(phantom.labels, Label.SCAR))
    assert any("holds fractions" in n for n in read.notes) == (kind == "FRACTIONAL")
    assert {o.algorithm_type for o in read.origins.values()} == {"MANUAL"}


def test_a_label_map_seg(series, phantom, tmp_path):
    segments = [
        ("wall", ("74281007", "SCT", "Myocardium"), phantom.labels == 2),
        ("scar", ("12402003", "SCT", "Scar tissue"), phantom.labels >= 3),
    ]
    labels, notes = read_segmentation(foreign(tmp_path / "s.dcm", series, segments, kind="LABELMAP"), series)
    assert np.array_equal(labels, np.where(phantom.labels == 1, 0, np.minimum(phantom.labels, 3)))
    assert len(notes) == 1 and "outside the myocardium" in notes[0]  # it cannot overlap: scar is beside, not within


def test_frames_in_another_order_and_a_stack_without_its_empty_middle(series, phantom, tmp_path, ours):
    dataset = pydicom.dcmread(ours)
    order = np.random.default_rng(0).permutation(len(dataset.PerFrameFunctionalGroupsSequence))
    frames = dataset.pixel_array[order]
    dataset.PerFrameFunctionalGroupsSequence = [dataset.PerFrameFunctionalGroupsSequence[k] for k in order]
    dataset.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()
    dataset.save_as(tmp_path / "shuffled.dcm")
    assert np.array_equal(read_segmentation(tmp_path / "shuffled.dcm", series)[0], phantom.labels)
    holed = phantom.labels.copy()
    holed[4] = 0
    write_dicom_segmentation(tmp_path / "holed.dcm", series, holed)
    assert np.array_equal(read_segmentation(tmp_path / "holed.dcm", series)[0], holed)


def test_another_orientation_of_the_same_points_is_put_in_order(series, phantom, tmp_path):
    """Rows and columns exchanged, both mirrored: as a program with its own idea of axes may store it."""
    g = series.geometry
    turned = phantom.labels.transpose(0, 2, 1)[:, ::-1, :]
    corner = g.slice_origins_mm + (g.shape[2] - 1) * g.pixel_spacing_mm[1] * g.column_direction
    path = foreign(
        tmp_path / "s.dcm",
        series,
        parts(turned),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", [*g.row_direction, *(-g.column_direction)]),
        plane_positions=[highdicom.PlanePositionSequence("PATIENT", [float(v) for v in p]) for p in corner],
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=g.pixel_spacing_mm[::-1], slice_thickness=8.0, spacing_between_slices=10.0
        ),
    )
    labels, notes = read_segmentation(path, series)
    assert np.array_equal(labels, np.minimum(phantom.labels, 3)) and not notes


def test_another_grid_is_refused_and_resampled_when_asked(series, phantom, tmp_path):
    """Every second row and column: half the resolution. Voxels are cubes of four; volumes keep to 3 %."""
    g = series.geometry
    coarse = StackGeometry(
        (g.shape[0], g.shape[1] // 2, g.shape[2] // 2),
        (2 * g.pixel_spacing_mm[0], 2 * g.pixel_spacing_mm[1]),
        g.column_direction,
        g.row_direction,
        g.slice_origins_mm
        + 0.5 * (g.pixel_spacing_mm[0] * g.row_direction + g.pixel_spacing_mm[1] * g.column_direction),
    )
    labels = phantom.labels[:, ::2, ::2]
    write_label_map(tmp_path / "coarse.nii.gz", labels, coarse)
    path = foreign(
        tmp_path / "coarse.dcm",
        series,
        parts(labels),
        plane_positions=[
            highdicom.PlanePositionSequence("PATIENT", [float(v) for v in p]) for p in coarse.slice_origins_mm
        ],
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", [*g.column_direction, *g.row_direction]),
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=coarse.pixel_spacing_mm, slice_thickness=8.0, spacing_between_slices=10.0
        ),
    )
    for file in (tmp_path / "coarse.nii.gz", path):
        with pytest.raises(InputError, match="--resample"):
            read_segmentation(file, series)
        found, notes = read_segmentation(file, series, resample=True)
        expected = labels.repeat(2, axis=1).repeat(2, axis=2)
        assert np.array_equal(found, expected if file.suffix == ".gz" else np.minimum(expected, 3))
        assert len(notes) == 1 and "was resampled" in notes[0] and "mL there" in notes[0]
        assert "was resampled" in " ".join(quantify(series, found, notes=notes).quality.warnings)
    volume, true = (myocardium_mask(a).sum() for a in (found, phantom.labels))
    assert volume == pytest.approx(true, rel=0.03)


@settings(max_examples=20, deadline=None)
@given(
    turn=st.floats(0, 90),
    shift=st.floats(-4, 4),
    pixel=st.floats(0.7, 1.6),
    step=st.floats(3.0, 9.0),
)
def test_resampling_keeps_a_balls_volume(turn, shift, pixel, step):
    """A ball of 25 mm on any oblique grid, brought to a fine one: volume within 6 % of 4/3 pi r^3."""
    angle = np.radians(turn)
    column = np.array([np.cos(angle), np.sin(angle), 0.0])
    row = np.array([-np.sin(angle) * 0.8, np.cos(angle) * 0.8, 0.6])
    normal = np.cross(column, row)

    def grid(count, size, spacing, distance, column, row, normal, center):
        origins = center + (np.arange(count) - (count - 1) / 2)[:, None] * distance * normal
        origins = origins - (size - 1) / 2 * spacing * (column + row)
        return StackGeometry((count, size, size), (spacing, spacing), column, row, origins)

    source = grid(int(64 / step), int(70 / pixel), pixel, step, column, row, normal, np.full(3, shift))
    target = grid(32, 50, 1.3, 2.0, *np.eye(3), np.zeros(3))
    points = source.index_to_lps(np.stack(np.indices(source.shape), axis=-1))
    labels = np.where(np.linalg.norm(points, axis=-1) < 25, Label.MYOCARDIUM, 0).astype(np.uint8)
    found, notes = onto_grid(labels, source, target, name="ball", resample=True)
    volume = float((found > 0).sum(axis=(1, 2)) @ target.voxel_volumes_ml)
    assert volume == pytest.approx(4 / 3 * np.pi * 2.5**3, rel=0.06)
    assert len(notes) == 1


@pytest.mark.parametrize("pixel, turn", [(2.0, 20), (3.0, 20), (1.8, 45)])
def test_nearest_neighbour_keeps_more_of_thin_scar_than_linear_interpolation(pixel, turn):
    """Scar in the inner fifth of a 10 mm wall, drawn on coarser, turned grids and brought to 1.5 mm."""
    truth, target, _ = drawn_heart(pixel_mm=1.5, depth=0.2)
    labels, source, _ = drawn_heart(pixel_mm=pixel, turn_deg=turn, depth=0.2)
    nearest, _ = onto_grid(labels, source, target, name="x", resample=True)
    index = source.lps_to_index(target.index_to_lps(np.stack(np.indices(target.shape), axis=-1)))
    linear = ndimage.map_coordinates((labels >= 3).astype(float), np.moveaxis(index, -1, 0), order=1) >= 0.5
    true = (truth >= 3).sum()
    assert abs(linear.sum() / true - 1) > abs((nearest >= 3).sum() / true - 1)
    assert (nearest >= 3).sum() > 0.88 * true


def test_a_missing_slice_is_left_empty_not_filled_from_its_neighbours():
    g = StackGeometry((5, 4, 4), (1, 1), [1, 0, 0], [0, 1, 0], np.arange(5)[:, None] * [0, 0, 8.0])
    kept = [0, 1, 3, 4]
    source = StackGeometry((4, 4, 4), (1, 1), [1, 0, 0], [0, 1, 0], g.slice_origins_mm[kept])
    found, notes = onto_grid(np.full((4, 4, 4), 2, np.uint8), source, g, name="x")
    assert notes == () and found[kept].all() and not found[2].any()


def test_shapes_that_overlap_are_counted_once_and_said(series, phantom, tmp_path):
    scar = np.roll(phantom.labels >= 3, 6, axis=2)  # slid off the wall, into the cavity and out
    segments = parts(phantom.labels)
    segments[1] = (*segments[1][:2], scar)
    labels, notes = read_segmentation(foreign(tmp_path / "s.dcm", series, segments), series)
    assert np.array_equal(labels >= 3, scar)
    assert np.array_equal(labels >= 2, scar | (phantom.labels >= 2))
    assert any("outside the myocardium" in n for n in notes) and any("both blood pool and wall" in n for n in notes)


def test_names_given_by_the_user_take_precedence(series, phantom, tmp_path):
    wall, scar = phantom.labels >= 2, phantom.labels >= 3
    segments = [
        ("Reader 1", ("74281007", "SCT", "Myocardium"), np.roll(wall, 3, axis=1)),
        ("Reader 2", ("123456", "99X", "Something"), wall),
        ("Late", ("123456", "99X", "Something"), scar),
    ]
    path = foreign(tmp_path / "s.dcm", series, segments)
    labels, notes = read_segmentation(path, series, myocardium="Reader 2", scar="Late")
    assert np.array_equal(labels, np.where(scar, 3, np.where(wall, 2, 0)))
    assert notes == ("Segments left out of the report: Reader 1.",)
    assert not (read_segmentation(path, series)[0] >= 3).any()
    with pytest.raises(InputError, match="has no segment 'Wand'; it has: Reader 1, Reader 2, Late"):
        read_segmentation(path, series, myocardium="Wand")
    with pytest.raises(UsageError, match="cannot be both"):
        read_segmentation(path, series, myocardium="Late", scar="Late")


def test_values_of_a_label_map_can_be_named(series, phantom, tmp_path):
    other = np.choose(phantom.labels, [0, 9, 5, 7, 7]).astype(np.uint8)
    write_label_map(tmp_path / "l.nii.gz", other, series.geometry)
    with pytest.raises(InputError, match="--scar VALUE --myocardium VALUE"):
        read_segmentation(tmp_path / "l.nii.gz", series)
    labels, notes = read_segmentation(tmp_path / "l.nii.gz", series, myocardium="5", scar="7")
    assert np.array_equal(labels, np.where(phantom.labels == 1, 0, np.minimum(phantom.labels, 3)))
    assert notes == ("Segments left out of the report: 9.",)  # values lie beside one another, not outside


def test_two_segments_of_one_kind_are_joined_and_said(series, phantom, tmp_path):
    wall, scar = phantom.labels >= 2, phantom.labels >= 3
    half = np.zeros_like(scar)
    half[:, :, : half.shape[2] // 2] = True
    code = ("12402003", "SCT", "Scar tissue")
    segments = [("myocardium", ("1", "99X", "x"), wall), ("old", code, scar & half), ("new", code, scar & ~half)]
    labels, notes = read_segmentation(foreign(tmp_path / "s.dcm", series, segments), series)
    assert np.array_equal(labels >= 3, scar) and "Segments 'old' and 'new' were taken together." in notes


def test_places_and_retired_codes():
    myocardium, scar, _, blood = SEGMENTS
    assert match_codes("x", ("SCT", "12402003"), ("SCT", "82471001")) is None  # in the left atrium
    assert match_codes("scar", ("SCT", "12402003"), ("SCT", "82471001")) is None
    assert match_codes("x", ("SCT", "12402003"), ("SCT", "80891009")) is scar
    assert match_codes("RV myocardium", ("SCT", "74281007")) is None
    assert match_codes("x", ("SCT", "87612001")) is None  # blood, somewhere
    assert match_codes("x", ("SCT", "113342003"), ("SCT", "87878005")) is blood
    assert match_codes("anything", None) is None and match_codes("LV-Myocardium", None) is myocardium
    region = "Anatomic codes - DICOM master list~SCT^87878005^Left ventricle~^^"
    old = f"x~SCT^123037004^Anatomical Structure~SCT^113342003^Body lumen~^^~{region}"
    assert match_segment("Segment_1", old) is blood  # as earlier versions saved it
    from scarnet.export.dicom.read import _known_code

    retired = pydicom.Dataset()
    retired.CodeValue, retired.CodingSchemeDesignator, retired.CodeMeaning = "T-32600", "SRT", "Left ventricle"
    assert _known_code(retired) == ("SCT", "87878005")


def test_another_patients_seg_is_told(ours, series, tmp_path, dicom_folder):
    dataset = pydicom.dcmread(ours)
    dataset.FrameOfReferenceUID = "2.25.1"
    dataset.save_as(tmp_path / "frame.dcm")
    assert any("frame of reference" in n for n in read_segmentation(tmp_path / "frame.dcm", series)[1])
    dataset.StudyInstanceUID = "2.25.2"
    dataset.save_as(tmp_path / "study.dcm")
    assert any("another study" in n for n in read_segmentation(tmp_path / "study.dcm", series)[1])


def test_what_cannot_be_read_is_refused_in_one_line(ours, series, small_phantom, phantom, tmp_path, dicom_folder):
    def refused(path, pattern, of=series, **options):
        with pytest.raises(InputError, match=pattern) as caught:
            read_segmentation(path, of, **options)
        assert "\n" not in str(caught.value)

    refused(dicom_folder / "slice01.dcm", "is no DICOM segmentation but MR Image Storage")
    refused(dicom_folder, "is a folder")
    refused(ours, "has shape .*--resample", small_phantom.series)
    moved = pydicom.dcmread(ours)
    for frame in moved.PerFrameFunctionalGroupsSequence:
        x, y, z = frame.PlanePositionSequence[0].ImagePositionPatient
        frame.PlanePositionSequence[0].ImagePositionPatient = [x + 900, y, z]
    moved.save_as(tmp_path / "moved.dcm")
    refused(tmp_path / "moved.dcm", "--resample")
    refused(tmp_path / "moved.dcm", "wholly outside the image", resample=True)
    (tmp_path / "cut.dcm").write_bytes(ours.read_bytes()[:-9000])
    refused(tmp_path / "cut.dcm", "cannot be read as a DICOM segmentation")
    nowhere = pydicom.dcmread(ours)
    for frame in nowhere.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence
    nowhere.save_as(tmp_path / "nowhere.dcm")
    refused(tmp_path / "nowhere.dcm", "does not say where its frames lie")
    several = pydicom.dcmread(ours)
    orientation = several.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    for k, frame in enumerate(several.PerFrameFunctionalGroupsSequence):
        frame.PlaneOrientationSequence = [pydicom.Dataset()]
        cosines = [float(v) for v in orientation[0].ImageOrientationPatient]
        frame.PlaneOrientationSequence[0].ImageOrientationPatient = cosines if k else cosines[3:] + cosines[:3]
    several.save_as(tmp_path / "several.dcm")
    refused(tmp_path / "several.dcm", "several orientations")
    beside = pydicom.dcmread(ours)
    x, y, z = beside.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    dx, dy, dz = series.geometry.column_direction * 30
    beside.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient = [
        f"{v:.6f}" for v in (x + dx, y + dy, z + dz)
    ]
    beside.save_as(tmp_path / "beside.dcm")
    refused(tmp_path / "beside.dcm", "beside one another in one plane")
    segments = [("blood", ("1", "99X", "x"), phantom.labels == 1)]
    refused(foreign(tmp_path / "b.dcm", series, segments), r"no myocardium among its segments \(blood\)")


def test_a_seg_measures_a_copy_of_the_images_in_another_format(ours, series, dicom_folder, phantom, tmp_path):
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(dicom_folder))
    sitk.WriteImage(sitk.ReadImage(files), str(tmp_path / "copy.nii.gz"))
    copy = read_lge(tmp_path / "copy.nii.gz")
    labels, notes = read_segmentation(ours, copy)
    direct = quantify(series, phantom.labels)
    again = quantify(copy, labels, notes=notes)
    assert again.scar.volume_ml == pytest.approx(direct.scar.volume_ml, rel=1e-6)
    assert again.lv.myocardium_volume_ml == pytest.approx(direct.lv.myocardium_volume_ml, rel=1e-6)


def test_files_written_by_measure_with_resample(series, dicom_folder, phantom, tmp_path):
    from scarnet.cli import measure

    moved = StackGeometry.from_affine_lps(series.geometry.affine_lps + 0.4 * np.eye(4, k=3), series.geometry.shape)
    write_label_map(tmp_path / "moved.nii.gz", phantom.labels, moved)
    with pytest.raises(InputError, match="lies elsewhere"):
        measure(tmp_path / "moved.nii.gz", dicom_folder, tmp_path / "out")
    measure(tmp_path / "moved.nii.gz", dicom_folder, tmp_path / "out", resample=True, dicom=True)
    warnings = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["quality"]["warnings"]
    assert any("was resampled" in w for w in warnings)
    assert (tmp_path / "out" / "report.dcm").is_file()


def test_segment_says_before_any_work_that_no_dicom_can_be_written(phantom, tmp_path):
    from scarnet.cli import segment

    write_label_map(tmp_path / "lge.nii.gz", phantom.labels, phantom.series.geometry)
    with pytest.raises(InputError, match="refer to DICOM images"):
        segment(tmp_path / "lge.nii.gz", tmp_path / "out", dicom=True, model="not there")
    assert not (tmp_path / "out").exists()
