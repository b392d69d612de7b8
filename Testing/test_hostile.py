"""Lying, damaged and hostile input: one line or a warning, never a crash, a hang, a flood of memory or a stray file."""

import io
import json
import os
import resource
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from scarnet.cli import app
from scarnet.errors import InputError
from scarnet.export import write_outputs
from scarnet.phantom.study import IDENTITY, write_study
from scarnet.phantom.zoo import JPEG_2000, JPEG_LOSSLESS, RLE, Variant, named
from scarnet.quantification import quantify
from scarnet.series import read_lge
from scarnet.series.members import members
from scarnet.series.pixels import codestream_size
from scarnet.series.quiet import quiet
from scarnet.series.study import read_study

#: Of processor time for one file or a few, whatever they hold.
MAXIMUM_SECONDS = 10.0
#: Above what the program takes for itself.
MAXIMUM_MEMORY_MB = 1500


def refused_or_warned(path, truth=None):
    """The stack or None; raises for anything but an InputError of one line, and for a moved slice without a warning."""
    started = time.process_time()
    try:
        series = read_lge(path)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 600
        series = None
    assert time.process_time() - started < MAXIMUM_SECONDS
    if series is not None and truth is not None:
        geometry = truth.series.geometry
        same = series.geometry.shape == geometry.shape and series.geometry.matches(geometry, tolerance_mm=2.0)
        assert same or series.warnings, "another geometry than was written, without a word"
        assert np.isfinite(series.image).all()
    return series


def copy_study(plain, folder, change, only=None):
    """The plain study with `change(dataset, k)` made to every slice, or to slice `only` alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, file in enumerate(sorted(plain.path.iterdir())):
        ds = pydicom.dcmread(file)
        if only in (None, k):
            with quiet(), pydicom.config.disable_value_validation():
                change(ds, k)
        with quiet(), pydicom.config.disable_value_validation():
            ds.save_as(folder / file.name)
    return folder


LIES = {
    "rows": {"Rows": 60000},
    "columns": {"Columns": 0},
    "no pixels": {"PixelData": b""},
    "frames": {"NumberOfFrames": "2147483647"},
    "negative frames": {"NumberOfFrames": "-5"},
    "text frames": {"NumberOfFrames": "many"},
    "zero spacing": {"PixelSpacing": ["0", "0"]},
    "negative spacing": {"PixelSpacing": ["-1.5", "1.5"]},
    "one spacing": {"PixelSpacing": ["1.5"]},
    "text spacing": {"PixelSpacing": ["wide", "high"]},
    "endless spacing": {"PixelSpacing": ["inf", "inf"]},
    "nan orientation": {"ImageOrientationPatient": ["nan"] * 6},
    "zero orientation": {"ImageOrientationPatient": ["0"] * 6},
    "parallel orientation": {"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]},
    "long orientation": {"ImageOrientationPatient": ["3", "0", "0", "0", "3", "0"]},
    "short orientation": {"ImageOrientationPatient": ["1", "0", "0"]},
    "nan position": {"ImagePositionPatient": ["nan", "0", "0"]},
    "far position": {"ImagePositionPatient": ["1e30", "0", "0"]},
    "same position": {"ImagePositionPatient": ["0", "0", "0"]},
    "bits": {"BitsAllocated": 12},
    "bits allocated 64": {"BitsAllocated": 64},
    "bits stored": {"BitsStored": 99},
    "no bits": {"BitsStored": 0},
    "planes": {"SamplesPerPixel": 3},
    "nan rescale": {"RescaleSlope": "nan"},
    "zero rescale": {"RescaleSlope": "0"},
    "endless rescale": {"RescaleIntercept": "1e400"},
    "no class": {"SOPClassUID": "1.2.3"},
    "photometric": {"PhotometricInterpretation": "YBR_FULL"},
    "no modality": {"Modality": ""},
    "other modality": {"Modality": "CT"},
    "character set": {"SpecificCharacterSet": "ISO_IR 9999"},
    "time": {"AcquisitionTime": "99:99"},
    "number": {"SeriesNumber": "99999999999999999999"},
    "text number": {"InstanceNumber": "first"},
    "unknown syntax": {"TransferSyntaxUID": "1.2.3.4"},
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("everywhere", [True, False], ids=["all", "one"])
def test_lying_headers(lie, everywhere, plain, tmp_path):
    def change(ds, k):
        for keyword, value in LIES[lie].items():
            if keyword == "TransferSyntaxUID":
                ds.file_meta.TransferSyntaxUID = value
            elif isinstance(value, (str, list)):  # as bytes: pydicom would not hold all of them
                content = "\\".join([value] if isinstance(value, str) else value).encode()
                content += b" " * (len(content) % 2)
                tag = pydicom.tag.Tag(keyword)
                vr = pydicom.datadict.dictionary_VR(tag)
                ds[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(content), content, 0, False, True)
            else:
                setattr(ds, keyword, value)

    folder = copy_study(plain, tmp_path / "s", change, None if everywhere else 3)
    refused_or_warned(folder, plain)


@pytest.mark.parametrize("length", [0, 1, 131, 132, 140, 200, 400, 900, 1500, 2500, 10000, -1, -2])
def test_truncated_files(length, plain, tmp_path):
    for k, file in enumerate(sorted(plain.path.iterdir())):
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content[:length] if k == 3 else content)
    assert refused_or_warned(tmp_path, plain) is None or length < 5000
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:length])
    assert refused_or_warned(tmp_path, plain) is None


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_fuzzed_headers(plain, tmp_path_factory, data):
    """Bytes of one slice's header, or of all, changed at random."""
    folder = tmp_path_factory.mktemp("fuzz")
    everywhere = data.draw(st.booleans())
    changes = data.draw(
        st.lists(st.tuples(st.integers(132, 1900), st.integers(0, 255)), min_size=1, max_size=6), label="changes"
    )
    for k, file in enumerate(sorted(plain.path.iterdir())):
        content = bytearray(file.read_bytes())
        if everywhere or k == 3:
            for place, value in changes:
                content[place] = value
        (folder / file.name).write_bytes(content)
    refused_or_warned(folder, None if everywhere else plain)
    for file in folder.iterdir():
        file.unlink()


def test_a_fact_of_the_acquisition_that_cannot_be_read_is_not_known(plain, tmp_path):
    """A value representation that DICOM does not have, as fuzzing found it: the images are there all the same."""
    element = b"\x18\x00\x87\x00DS"
    for file in sorted(plain.path.iterdir()):
        content = file.read_bytes()
        assert content.count(element) == 1
        (tmp_path / file.name).write_bytes(content.replace(element, element[:4] + b"ES"))
    series = read_lge(tmp_path)
    assert np.array_equal(series.image, plain.series.image)
    assert "MagneticFieldStrength" not in series.source.acquisition and series.source.acquisition


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=600), preamble=st.sampled_from(["", "DICM", "meta", "zip"]))
def test_files_of_any_bytes(tmp_path_factory, content, preamble):
    start = {"": b"", "DICM": bytes(128) + b"DICM", "zip": b"PK\x03\x04"}.get(preamble)
    if start is None:
        start = (
            bytes(128)
            + b"DICM\x02\x00\x00\x00UL\x04\x00\x1c\x00\x00\x00\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00"
        )
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "file").write_bytes(start + content)
    assert refused_or_warned(folder) is None and refused_or_warned(folder / "file") is None


@pytest.mark.parametrize(
    "name", ["zip", "dicomdir", "philips-enhanced", "jpeg-2000", "rle", "jpeg-lossless", "deflated"]
)
def test_fuzzed_containers(name, hearts, tmp_path):
    truth = write_study(named(name), tmp_path / "s", hearts)
    rng = np.random.default_rng(5)
    files = [truth.path] if truth.path.is_file() else sorted(p for p in truth.path.iterdir() if "lge" in p.name)
    whole = {file: file.read_bytes() for file in files}
    for _ in range(12):
        file = files[rng.integers(len(files))]
        content = bytearray(whole[file])
        for place in rng.integers(0, len(content), 20):
            content[place] = rng.integers(256)
        file.write_bytes(content)
        refused_or_warned(truth.path)
        file.write_bytes(whole[file])


# --- bombs, and paths that lead out ---------------------------------------------------------------------------------


def element(group, number, vr, length):
    """Header of an explicit little-endian element with a 32-bit length."""
    return struct.pack("<HH2sHI", group, number, vr, 0, length)


def start_of(file):
    """A file up to its first element after the file meta information."""
    content = file.read_bytes()
    return content[: 132 + 12 + struct.unpack_from("<I", content, 140)[0]], content


EXPLICIT = b"1.2.840.10008.1.2.1"


def bombs(plain, folder):
    """Small files that would become large, by name."""
    first = sorted(plain.path.iterdir())[0]
    meta, content = start_of(first)
    rest = content[len(meta) :]
    huge = 1500 * 2**20
    bomb = element(0x0009, 0x1001, b"OB", huge)
    made = {}

    def put(name, data):
        (folder / name).mkdir(parents=True)
        (folder / name / "image").write_bytes(data)
        made[name] = folder / name

    packed = zlib.compressobj(9, wbits=-15)
    deflated = packed.compress(bomb) + packed.flush(zlib.Z_FULL_FLUSH)
    megabyte = packed.compress(bytes(2**20)) + packed.flush(
        zlib.Z_FULL_FLUSH
    )  # stands alone, so that it can be repeated
    deflated += megabyte * 1500 + packed.flush()
    put("deflate", _with_syntax(meta, EXPLICIT, b"1.2.840.10008.1.2.1.99") + deflated)
    long_meta = _with_syntax(
        meta, EXPLICIT, b"1.2.840.10008.1.2.1.99", before=b"\2\0\2\1OB\0\0" + struct.pack("<I", 9000) + bytes(9000)
    )
    put("deflate behind long meta information", long_meta + deflated)
    put("lying length", meta + element(0x0009, 0x1001, b"OB", 0xFFFFFFF0) + rest)
    put("lying length of a text", meta + element(0x0008, 0x0008, b"UT", 0xFFFFFFF0) + rest)
    nested = (
        meta
        + element(0x0009, 0x1002, b"SQ", 0xFFFFFFFF)
        + ((struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + element(0x0009, 0x1002, b"SQ", 0xFFFFFFFF)) * 20000)
    )
    put("nested", nested)
    for name, member in (
        ("zip of zeros", lambda f: f.write(bytes(128) + b"DICM") and _zeros(f, 100)),
        ("zip of an element", lambda f: f.write(meta + bomb) and _zeros(f, 100)),
        ("zip of pixels", lambda f: f.write(content[:-25088]) and _zeros(f, 600)),
    ):
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open("image", "w", force_zip64=True) as file:
                member(file)
        made[name] = folder / f"{name}.zip"
    return made


def _with_syntax(meta, old, new, before=b""):
    """File meta information with another transfer syntax, its lengths put right, `before` it an element that lies about it."""
    new += b"\0" * (len(new) % 2)
    at = meta.index(b"\x02\x00\x10\x00UI")
    (length,) = struct.unpack_from("<H", meta, at + 6)
    (total,) = struct.unpack_from("<I", meta, 140)
    changed = meta[:at] + before + meta[at : at + 6] + struct.pack("<H", len(new)) + new + meta[at + 8 + length :]
    return changed[:140] + struct.pack("<I", total + len(new) - length) + changed[144:]


def _zeros(file, megabytes):
    for _ in range(megabytes):
        file.write(bytes(2**20))


READ_ALL = """
import json, re, sys, time
from scarnet.errors import InputError
from scarnet.series import read_lge
import scarnet.series.pixels, pydicom
def peak():  # of this process alone: ru_maxrss would count the one that started it
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
own, ends = peak(), {}
for path in sys.argv[1:]:
    started = time.process_time()
    try:
        read_lge(path); end = "read"
    except InputError as error:
        end = str(error)
    ends[path] = [end, time.process_time() - started, peak() - own]
print(json.dumps(ends))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
def test_bombs_end_in_one_line_within_time_and_memory(plain, tmp_path):
    made = bombs(plain, tmp_path)
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))  # noqa: E731
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, *map(str, made.values())], capture_output=True, text=True, preexec_fn=limit
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name, (end, seconds, memory_mb) in zip(made, json.loads(done.stdout).values(), strict=True):
        assert end != "read" and "\n" not in end, name
        assert seconds < MAXIMUM_SECONDS, (name, seconds)
        assert memory_mb < MAXIMUM_MEMORY_MB, (name, memory_mb)


@pytest.mark.parametrize("syntax", [JPEG_2000, JPEG_LOSSLESS, RLE, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2"])
def test_a_transfer_syntax_that_the_file_does_not_have(syntax, plain, tmp_path):
    for file in plain.path.iterdir():
        meta, content = start_of(file)
        changed = _with_syntax(meta, b"1.2.840.10008.1.2.1", syntax.encode())
        (tmp_path / file.name).write_bytes(changed + content[len(meta) :])
    series = refused_or_warned(tmp_path)
    assert series is None or np.array_equal(series.image, plain.series.image)  # implicit is seen through


def test_a_code_stream_of_another_size_is_refused_before_it_is_decoded(hearts, tmp_path):
    for n, syntax in enumerate((JPEG_2000, JPEG_LOSSLESS, RLE)):
        truth = write_study(Variant("c", syntax=syntax, others=()), tmp_path / str(n), hearts)
        file = sorted(truth.path.iterdir())[2]
        ds = pydicom.dcmread(file)
        frame = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
        if syntax != RLE:
            assert codestream_size(frame) == (112, 112)
            sizes = {JPEG_2000: struct.pack(">II", 112, 112), JPEG_LOSSLESS: struct.pack(">HH", 112, 112)}[syntax]
            at = frame.index(sizes)
            large = (
                frame[:at]
                + (b"\x00\x00\xea\x60" * 2 if syntax == JPEG_2000 else b"\xea\x60" * 2)
                + frame[at + len(sizes) :]
            )
            assert codestream_size(large) == (60000, 60000)
        else:
            large = frame * 2000
        ds.PixelData = pydicom.encaps.encapsulate([large])
        ds.save_as(file)
        with pytest.raises(InputError, match="another size|cannot be decoded"):
            read_lge(truth.path)


@pytest.mark.parametrize("name", ["jpeg-2000", "jpeg-lossless", "rle"])
def test_a_compressed_picture_that_ends_early_is_refused(name, hearts, tmp_path):
    """Decoders that give what they have would leave half a slice empty."""
    truth = write_study(named(name), tmp_path / "s", hearts)
    file = sorted(p for p in truth.path.iterdir() if "lge" in p.name)[3]
    ds = pydicom.dcmread(file)
    frame = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
    ds.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 4 * 2]])
    ds.save_as(file)
    with pytest.raises(InputError, match="cannot be decoded"):
        read_lge(truth.path)


def tree(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


def test_paths_in_archives_lead_nowhere(plain, tmp_path, monkeypatch):
    inside = tmp_path / "a" / "b" / "c"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    monkeypatch.setenv("TMPDIR", str(inside))
    with zipfile.ZipFile(inside / "s.zip", "w") as archive:
        for k, file in enumerate(sorted(plain.path.iterdir())):
            name = [
                "../../evil",
                "/tmp/evil-absolute",
                "..\\..\\evil",
                "C:\\evil",
                "x/../../../evil",
                "ok",
                "~/evil",
                "a",
            ][k]
            archive.writestr(name + str(k), file.read_bytes())
    before = tree(tmp_path)
    series = read_lge(inside / "s.zip")
    assert np.array_equal(series.image, plain.series.image) and series.source.slice_files == ()
    assert tree(tmp_path) == before and not Path("/tmp/evil-absolute1").exists()


def test_encrypted_and_damaged_archives(plain, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in plain.path.iterdir():
            archive.writestr(file.name, file.read_bytes())
    content = bytearray(buffer.getvalue())
    at = 0
    while (at := content.find(b"PK\x01\x02", at)) >= 0:  # the flag of encryption, in the directory
        content[at + 8] |= 1
        at += 4
    (tmp_path / "locked.zip").write_bytes(content)
    (tmp_path / "cut.zip").write_bytes(buffer.getvalue()[:-100])
    (tmp_path / "nothing.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    for name in ("locked", "cut", "nothing"):
        assert refused_or_warned(tmp_path / f"{name}.zip") is None
    with pytest.raises(InputError, match="encrypted; unpack it first"):
        read_lge(tmp_path / "locked.zip")


def test_links_that_form_a_circle_and_pipes(plain, tmp_path):
    for file in plain.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert len(members(tmp_path)) == 9  # the link to nothing may have been a slice
    series = read_lge(tmp_path)
    assert np.array_equal(series.image, plain.series.image)
    assert any("cannot be opened: 1" in warning for warning in series.warnings)


def test_a_directory_of_media_with_circles_and_paths_that_lead_out(hearts, tmp_path):
    truth = write_study(named("dicomdir"), tmp_path / "disc", hearts)
    ds = pydicom.dcmread(truth.path)
    for record in ds.DirectoryRecordSequence:
        record.OffsetOfTheNextDirectoryRecord = record.OffsetOfReferencedLowerLevelDirectoryEntity = 400
    ds.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 400
    for parts in (["..", "secret"], ["..", "..", "etc", "passwd"], ["/etc", "passwd"], ["NOWHERE"]):
        record = pydicom.Dataset()
        with pydicom.config.disable_value_validation():
            record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", parts
        ds.DirectoryRecordSequence.append(record)
    with pydicom.config.disable_value_validation():
        pydicom.dcmwrite(truth.path, ds)
    (tmp_path / "secret").write_bytes(b"not ours")
    found = members(truth.path)
    assert all(member.path.is_relative_to((tmp_path / "disc").resolve()) for member in found)
    assert np.array_equal(read_lge(truth.path).image, truth.series.image)


# --- text of headers ------------------------------------------------------------------------------------------------

NASTY = {
    "Manufacturer": "<script>alert(1)</script>",
    "ManufacturerModelName": '=HYPERLINK("http://x")',
    "SequenceName": "../../evil",
    "SeriesDescription": "PSIR sa [red]\x1b[31m<b>=1+1",
    "ProtocolName": "@SUM(A1)|cmd",
}


def test_text_of_headers_is_only_text(plain, tmp_path):
    def change(ds, k):
        for keyword, value in NASTY.items():
            setattr(ds, keyword, value)

    folder = copy_study(plain, tmp_path / "s", change)
    series = read_lge(folder)
    assert np.array_equal(series.image, plain.series.image)
    out = tmp_path / "out"
    write_outputs(out, series, plain.labels, quantify(series, plain.labels))
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in html and "<b>=1+1" not in html
    for line in (out / "report.csv").read_text(encoding="utf-8").splitlines():
        assert not any(cell.strip('"').startswith(("=", "@", "+")) for cell in line.split(",")), line
    assert not [p for p in tmp_path.rglob("*evil*")]
    listed = CliRunner().invoke(app, ["series", "list", str(folder)])
    assert listed.exit_code == 0 and "\x1b[31m" not in listed.output and "<b>" not in listed.output


# --- privacy --------------------------------------------------------------------------------------------------------

PERSONAL = {
    **IDENTITY,
    "OtherPatientIDs": "OTHER-4431",
    "PatientAddress": "Nowhere Lane 17",
    "PatientTelephoneNumbers": "555-0199",
    "PatientComments": "Commentzzq",
    "OperatorsName": "Operatorqq^Xaver",
    "PerformingPhysicianName": "Performerqq^Yolanda",
    "RequestedProcedureDescription": "Requestzzq",
    "StationName": "STATIONZZQ",
    "DeviceSerialNumber": "SERIAL-99871",
    "ImageComments": "Imagecommentzzq",
    "SeriesDescription": "LGE sa PSIR Namezzq Surnamezzq",
    "ProtocolName": "Protocolzzq sa psir",
}


def test_nothing_written_or_said_holds_a_patients_data(hearts, tmp_path, caplog, capfd):
    """Every way a study can end: read, listed, reported, refused, archived."""
    caplog.set_level("DEBUG")
    truth = write_study(named("siemens-both"), tmp_path / "in" / "s", hearts)
    for file in truth.path.iterdir():
        try:
            ds = pydicom.dcmread(file)
        except pydicom.errors.InvalidDicomError:
            continue
        if "PixelData" not in ds:
            continue
        for keyword, value in PERSONAL.items():
            if keyword != "SeriesDescription" or "lge" in file.name:
                setattr(ds, keyword, value)
        ds.save_as(file)
    out = tmp_path / "out"
    series = read_lge(truth.path)
    write_outputs(out, series, truth.labels, quantify(series, truth.labels))
    said = [*series.warnings, json.dumps(series.source.acquisition)]
    for arguments in (["series", "list", str(truth.path)], ["series", "list", "--json", str(truth.path)]):
        said.append(CliRunner().invoke(app, arguments).output)
    victims = sorted(p for p in truth.path.iterdir() if "lge" in p.name)
    for file in victims:
        file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(InputError) as error:
        read_lge(truth.path)
    said.append(str(error.value))
    with zipfile.ZipFile(tmp_path / "in" / "s.zip", "w") as archive:
        for n, file in enumerate(victims):
            archive.writestr(f"{PERSONAL['PatientName']}/{PERSONAL['PatientID']}/{n}", file.read_bytes()[:1000])
    with pytest.raises(InputError) as error:
        read_lge(tmp_path / "in" / "s.zip")
    said += [str(error.value), caplog.text, *capfd.readouterr()]
    for file in out.rglob("*"):
        said.append(file.name)
        if file.is_file():
            said.append(file.read_bytes().decode("latin-1"))
    everything = " ".join(said)
    for value in PERSONAL.values():
        for part in value.replace("^", " ").split(" ") if "^" in value or "zzq" in value else [value]:
            if part not in ("LGE", "sa", "PSIR", "psir"):
                assert part not in everything, part


def test_speed_of_a_scan_against_a_plain_header_scan(plain, tmp_path):
    """At no less than half the speed of pydicom reading whole headers, on the same files in the same run."""
    files = sorted(plain.path.iterdir())
    for n in range(400):
        (tmp_path / f"{n}").write_bytes(files[n % len(files)].read_bytes())

    def theirs():
        for file in tmp_path.iterdir():
            pydicom.dcmread(file, stop_before_pixels=True)

    def seconds(work):
        started = time.process_time()
        work()
        return time.process_time() - started

    theirs()
    ours = min(seconds(lambda: read_study(tmp_path)) for _ in range(3))
    assert ours < 2 * min(seconds(theirs) for _ in range(3)) * 1.15  # a busy machine's noise
