"""`scarnet app` as a reader meets it: Chromium on the real page, with real sessions behind it."""

import base64
import io
import json
import shutil
import time
import urllib.error
import urllib.request
import zipfile

import numpy as np
import pydicom
import pytest

from app_server import CHROMIUM_ARGUMENTS, Reader, app_server, chromium
from archive_server import archive_server, installed

pytest.importorskip("trame_slicer", reason="TRAME-SLICER IS NOT INSTALLED (.[app]): THE BROWSER APP WAS NOT TESTED")
pytest.importorskip("playwright", reason="PLAYWRIGHT IS NOT INSTALLED: THE BROWSER APP'S PAGE WAS NOT TESTED")

from playwright.sync_api import sync_playwright  # noqa: E402

from scarnet.export import write_label_map  # noqa: E402
from scarnet.phantom import write_dicom  # noqa: E402
from scarnet.quantification import quantify  # noqa: E402
from scarnet.segmentation import segment  # noqa: E402
from scarnet.series import read_lge  # noqa: E402


@pytest.fixture(scope="module")
def browser():
    program = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """None where Orthanc is not installed: the rest of the page is tested all the same."""
    if installed() is None:
        yield None
        return
    with archive_server(tmp_path_factory.mktemp("archive")) as server:
        yield server


@pytest.fixture(scope="module")
def address(tmp_path_factory, archive):
    folder = tmp_path_factory.mktemp("app")
    (folder / "tmp").mkdir()
    options = ["--visitors", "3", "--upload-mb", "40", *(["--archive", archive.web] if archive else [])]
    with app_server(folder / "log.txt", *options, environment={"TMPDIR": str(folder / "tmp")}) as found:
        yield found
    left = [path.name for path in (folder / "tmp").iterdir() if path.name.startswith("scarnet")]
    assert not left, f"The server left {left} behind"


@pytest.fixture(scope="module")
def reader(browser, address):
    """With the sample open and segmented; tests leave the outlines as they find them."""
    person = Reader(browser, address)
    person.open_sample()
    person.segment()
    yield person
    person.context.close()


def send(person, *paths):
    person.page.evaluate("window.trame.state.update({ message: '' })")
    with person.page.expect_file_chooser() as chooser:
        person.page.evaluate("scarnet.pick(false)")
    chooser.value.set_files([str(path) for path in paths])


def says(person, text):
    person.until(lambda: text in person.message(), f"Expected {text!r}")


def percent(report):
    return float(report["Scar, of LV"].split()[0])


#: Where the free wall of the sample's middle slice lies in the view once the heart fills it.
WALL = (0.47, 0.32)


def test_the_sample_is_measured_as_on_the_command_line(reader, sample_folder):
    series = read_lge(sample_folder)
    expected = quantify(series, segment(series, device="cpu").labels)
    report = reader.report()
    assert percent(report) == pytest.approx(expected.scar.percent_lv, abs=0.051)
    assert report["Scar volume"] == f"{expected.scar.volume_ml:.1f} mL"
    assert reader.page.is_visible("#bullseye") and reader.page.is_visible("#all-slices")
    assert not reader.faults


def test_nothing_is_fetched_from_elsewhere(reader, address):
    hosts = {url.split("/")[2] for url in reader.asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {address.split("/")[2]}


def test_it_says_research_use_only_at_any_size(reader):
    for width, height in ((1280, 800), (1024, 768), (768, 1024)):
        reader.page.set_viewport_size({"width": width, "height": height})
        box = reader.page.locator("#research-only").bounding_box()
        assert box["y"] + box["height"] <= height + 1
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= width
        assert reader.page.is_visible("#segment") and reader.page.locator(".sn-slice").bounding_box()["width"] > 250
    reader.page.set_viewport_size({"width": 1280, "height": 800})
    time.sleep(0.5)


def test_slices_the_most_doubtful_first_and_by_click(reader):
    doubts = reader.page.eval_on_selector_all(
        "#slices tr td:last-child", "cells => cells.map(c => Number(c.innerText))"
    )
    assert len(doubts) >= 8 and doubts[0] == max(doubts)
    first = reader.page.locator("#slices tr:nth-child(2) td:first-child")
    number = first.inner_text()
    first.click()
    reader.until(lambda: reader.slice_label() == f"Slice {number} of 10", "The slice was not shown")
    reader.page.click("#all-slices", position={"x": 250, "y": 120})  # the third of the second row of four
    reader.until(lambda: reader.slice_label() == "Slice 7 of 10", "A click among all slices did not show it")


def test_keys(reader):
    reader.press("Home", "ArrowUp")
    reader.until(lambda: reader.slice_label() == "Slice 2 of 10", "Arrow up")
    reader.press("End", "ArrowDown")
    reader.until(lambda: reader.slice_label() == "Slice 9 of 10", "Arrow down")
    picture = reader.page.get_attribute("#all-slices", "src")
    reader.press("o")
    reader.until(lambda: reader.page.get_attribute("#all-slices", "src") != picture, "Outlines stayed")
    reader.press("o")
    for key, tool in (
        ("p", "paint"),
        ("e", "erase"),
        ("d", "draw"),
        ("w", "window"),
        ("t", "threshold"),
        ("v", "view"),
    ):
        reader.press(key)
        pressed = f"#tool-{tool}[aria-pressed=true]"
        reader.page.wait_for_selector(pressed)
    reader.press("?")
    reader.page.wait_for_selector("text=undo, redo")
    reader.press("?")
    reader.page.keyboard.press("Escape")


def middle_slice(reader):
    reader.press("Home", *["ArrowUp"] * 5)
    reader.until(lambda: reader.slice_label() == "Slice 6 of 10", "The middle slice")


def test_strokes_stay_where_they_may_be_and_numbers_follow(reader):
    middle_slice(reader)
    before = reader.settled()
    reader.press("p", "2", "]", "]", "]")
    reader.stroke((0.05, 0.05), (0.1, 0.08))  # air: no muscle, no scar
    assert reader.settled() == before
    reader.stroke(WALL, (WALL[0] + 0.1, WALL[1]))
    reader.until(lambda: percent(reader.report()) > percent(before), "Scar was painted and the table did not follow")
    after = reader.settled()
    assert after["LV myocardium"] == before["LV myocardium"] and after["MVO"] == before["MVO"]
    assert f"model {percent(before):.1f} %" in reader.page.inner_text("#report")
    reader.press("Control+z")
    reader.until(lambda: reader.report() == before, "Undo")
    reader.press("Control+y")
    reader.until(lambda: reader.report() == after, "Redo")
    reader.press("Control+z")
    reader.until(lambda: reader.report() == before, "Undo after redo")
    reader.press("v")


def test_erasing_muscle_takes_its_scar_along_in_one_step(reader):
    middle_slice(reader)
    before = reader.settled()
    reader.press("e", "1", "]", "]")
    reader.stroke((0.42, 0.65), (0.58, 0.65))  # the inferior wall, where the infarct is
    reader.until(lambda: reader.report()["LV myocardium"] != before["LV myocardium"], "Muscle was erased")
    after = reader.settled()
    assert percent(after) < percent(before)
    reader.press("Control+z")
    reader.until(lambda: reader.report() == before, "One undo gives muscle and scar back")
    reader.press("v")


def test_drawing_and_thresholds(reader):
    middle_slice(reader)
    before = reader.settled()
    reader.press("d", "2")
    box = reader.page.locator(".sn-slice").bounding_box()
    mouse = reader.page.mouse
    corners = [(0.3, 0.2), (0.7, 0.2), (0.7, 0.45), (0.3, 0.45), (0.3, 0.2)]
    points = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
    mouse.move(*points[0])
    mouse.down()
    for point in points[1:]:
        mouse.move(*point, steps=5)
        time.sleep(0.1)
    mouse.up()
    reader.until(lambda: percent(reader.report()) > percent(before), "Scar was drawn")
    reader.settled()
    reader.press("Control+z")
    reader.until(lambda: reader.report() == before, "Undo of drawing")
    reader.press("t", "2")
    reader.page.click("#apply-threshold")
    reader.until(lambda: reader.report()["Scar volume"] != before["Scar volume"], "The threshold was applied")
    after = reader.settled()
    assert after["LV myocardium"] == before["LV myocardium"]
    reader.press("Control+z")
    reader.until(lambda: reader.report() == before, "Undo of the threshold")


def test_window_and_brush_follow_the_mouse_in_the_view(reader):
    def windows():
        return reader.page.eval_on_selector_all("[role=slider][aria-label=Window]", "s => s.map(e => e.ariaValueNow)")

    before = windows()
    reader.press("w")
    reader.stroke((0.5, 0.5), (0.8, 0.6))
    reader.until(lambda: windows() != before, "Window and level did not follow")
    reader.page.click("#window-reset")
    reader.press("p")
    label = reader.page.locator(".sn-slicebar label", has_text="Brush")
    size = label.inner_text()
    reader.page.keyboard.press("]")
    reader.until(lambda: label.inner_text() != size, "The brush did not grow")
    reader.press("v")


def test_a_landmark_is_placed_with_a_click_and_forgotten(reader):
    middle_slice(reader)
    before = reader.settled()
    segments = reader.page.get_attribute("#bullseye", "src")
    reader.page.click("#points")
    reader.page.click("#pick-rv_insertion")
    box = reader.page.locator(".sn-slice").bounding_box()
    reader.page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.6)
    time.sleep(0.3)
    reader.page.mouse.down()
    reader.page.mouse.up()
    reader.until(
        lambda: reader.page.get_attribute("#bullseye", "src") != segments, "Segments are counted from the point"
    )
    assert reader.settled() == before
    reader.page.click("#points")
    reader.page.click("#forget-points")
    reader.until(lambda: reader.page.get_attribute("#bullseye", "src") == segments, "The point was forgotten")


def test_sign_off_holds_until_the_next_correction(reader):
    middle_slice(reader)
    before = reader.settled()
    button = reader.page.locator("#reviewed")
    button.click()
    reader.until(lambda: "REVIEWED" == button.inner_text().strip().upper(), "Marked as reviewed")
    reader.press("p", "2", "]", "]", "]")
    reader.stroke(WALL, (WALL[0] + 0.1, WALL[1]))
    reader.until(lambda: "MARK AS" in button.inner_text().upper(), "A correction withdraws the review")
    reader.settled()
    reader.press("Control+z")
    reader.until(lambda: reader.report() == before, "Undo")
    reader.press("v")


def test_a_reload_finds_everything_again(reader):
    before = reader.settled()
    reader.page.reload()
    reader.page.wait_for_selector("#report")
    assert reader.report() == before and "10" in reader.slice_label()
    assert reader.page.is_enabled("#export")


def test_export_is_everything_the_command_line_exports(reader, tmp_path):
    reader.page.check("#with-scene")
    with reader.page.expect_download() as download:
        reader.page.click("#export")
    download.value.save_as(tmp_path / "export.zip")
    assert download.value.suggested_filename.startswith("ScarNet 2")
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        names = {name.split("/")[1] for name in archive.namelist()}
        assert archive.testzip() is None
    expected = (
        "labels.nii.gz segmentation.seg.nrrd report.json report.csv slices.csv segments.csv methods.csv report.html"
    )
    assert names >= {*expected.split(), "report.pdf", "segmentation.dcm", "report.dcm", "scene.mrb"}


def test_an_export_is_downloaded_by_the_page_that_asked_and_no_other(reader):
    page, downloads = reader.page, []
    other = reader.context.new_page()
    for name, shown in (("first", page), ("other", other)):
        shown.on("download", lambda _, name=name: downloads.append(name))
    other.goto(page.url)
    other.wait_for_selector("#report")
    with page.expect_download():
        page.click("#export")
    page.reload()
    page.wait_for_selector("#report")
    other.wait_for_timeout(1000)
    assert downloads == ["first"]
    other.close()


def test_corrections_are_lost_only_if_the_reader_agrees(reader, tmp_path):
    middle_slice(reader)
    page, model, asked, answer = reader.page, reader.settled(), [], False

    def on_dialog(dialog):
        asked.append(dialog.message)
        dialog.accept() if answer else dialog.dismiss()

    page.on("dialog", on_dialog)
    reader.press("e", "1", "]", "]")
    reader.stroke((0.42, 0.65), (0.58, 0.65))
    reader.until(lambda: reader.report()["LV myocardium"] != model["LV myocardium"], "Muscle was erased")
    corrected = reader.settled()
    (tmp_path / "letter.txt").write_text("Dear colleague")
    with page.expect_event("dialog"):
        page.click("#segment")
    page.click("#open")
    with page.expect_event("dialog"):
        page.click("#open-sample")
    with page.expect_event("dialog"):
        send(reader, tmp_path / "letter.txt")
    with page.expect_event("dialog"):
        page.evaluate(
            """() => {
              const transfer = new DataTransfer();
              transfer.items.add(new File(["Dear colleague"], "letter.txt"));
              window.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
            }"""
        )
    assert len(asked) == 4 and all("not exported" in question for question in asked)
    assert reader.settled() == corrected and not reader.message() and page.query_selector("#progress") is None
    answer = True
    send(reader, tmp_path / "letter.txt")
    says(reader, "No MR images with a position were found")
    assert len(asked) == 5 and reader.report() == corrected
    with page.expect_download():
        page.click("#export")
    send(reader, tmp_path / "letter.txt")
    says(reader, "No MR images with a position were found")
    assert len(asked) == 5  # it is in the export
    reader.press("e")
    reader.stroke((0.42, 0.35), (0.58, 0.35))
    reader.until(lambda: reader.report() != corrected, "More was erased")
    reader.settled()
    with page.expect_event("dialog"):
        page.click("#segment")
    reader.until(lambda: reader.report() == model, "Agreed: the model's again")
    assert len(asked) == 6
    page.remove_listener("dialog", on_dialog)


def test_a_double_click_segments_once_and_is_not_cancelled(reader):
    """And asks nothing: there is no correction. A question would be answered with no, and nothing segmented."""
    before = reader.settled()
    reader.page.evaluate("window.trame.state.update({ message: '' })")
    reader.page.dblclick("#segment")
    reader.page.wait_for_selector("#progress")
    for _ in range(2):
        reader.page.evaluate("window.trame.trigger('segment')")  # as from a second tab that shows it late
    says(reader, "Segmented")
    assert reader.settled() == before


# --- others' sessions, bad input, the door -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second(browser, address, reader):
    person = Reader(browser, address)
    yield person
    person.context.close()


def test_two_visitors_do_not_see_each_other(reader, second):
    assert reader.report() and not second.report()
    assert not second.page.query_selector("#slice-label")
    answer = second.page.request.get(second.page.url + "mosaic.jpg")
    assert answer.status == 404
    assert reader.page.request.get(reader.page.url + "mosaic.jpg").status == 200
    assert second.page.request.get(second.page.url + "export.zip").status == 404


def test_bad_files_are_refused_in_one_line_and_what_was_open_stays(second, phantom, tmp_path):
    second.open_sample()
    (tmp_path / "letter.txt").write_text("Dear colleague")
    send(second, tmp_path / "letter.txt")
    says(second, "No MR images with a position were found")
    (tmp_path / "half.nii.gz").write_bytes(b"\x1f\x8b not really")
    send(second, tmp_path / "half.nii.gz")
    says(second, "half.nii.gz")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04" + b"x" * 100)
    send(second, tmp_path / "broken.zip")
    second.until(lambda: second.message() != "", "A broken archive")
    (tmp_path / "large.dcm").write_bytes(bytes(45 * 10**6))
    send(second, tmp_path / "large.dcm")
    second.until(lambda: "MB" in second.message() or "larger than is allowed" in second.message(), "Too large")
    write_label_map(tmp_path / "a.nii.gz", phantom.labels, phantom.series.geometry)
    shutil.copy(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    send(second, tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    says(second, "2 image files")
    assert "of 10" in second.slice_label()
    assert "tmp" not in second.message()


def test_a_zip_with_two_stacks_is_opened_and_either_is_shown(second, small_phantom, phantom, tmp_path):
    for name, made in (("a", phantom), ("b", small_phantom)):
        write_dicom(made, tmp_path / name)
    study = pydicom.dcmread(next((tmp_path / "a").iterdir())).StudyInstanceUID
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(tmp_path.glob("?/*")):
            dataset = pydicom.dcmread(path)
            dataset.StudyInstanceUID = study
            dataset.save_as(path)
            archive.write(path, f"../../{path.parent.name}/{path.name}")  # a name that would lead out
    (tmp_path / "study.zip").write_bytes(packed.getvalue())
    send(second, tmp_path / "study.zip")
    second.page.wait_for_selector("#stack")
    options = second.page.eval_on_selector_all("#stack option", "o => o.map(e => [e.value, e.innerText])")
    assert len(options) == 2
    counts = set()
    for value, title in options:
        second.page.select_option("#stack", value)
        slices = title.split(":")[1].split()[0]
        second.until(lambda s=slices: second.slice_label().endswith(f"of {s}"), f"The stack of {slices} slices")
        counts.add(slices)
    assert counts == {str(phantom.labels.shape[0]), "5"}


#: Files that are dropped on the window: a list of [name, content in base64].
DROP = """files => {
  const transfer = new DataTransfer();
  for (const [name, content] of files)
    transfer.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name));
  window.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
}"""


def as_dropped(*paths) -> list[list[str]]:
    return [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]


def test_a_folder_is_chosen_and_a_file_dropped(second, small_phantom, phantom, tmp_path):
    second.page.evaluate("window.trame.trigger('open_sample')")
    second.until(lambda: second.slice_label().endswith("of 10"), "The sample")  # not five, as what is chosen next
    write_dicom(small_phantom, tmp_path / "LGE")
    with second.page.expect_file_chooser() as chooser:
        second.page.evaluate("scarnet.pick(true)")
    chooser.value.set_files(str(tmp_path / "LGE"))
    second.until(lambda: second.slice_label().endswith("of 5"), "The folder")
    write_label_map(tmp_path / "image.nii.gz", phantom.labels, phantom.series.geometry)
    second.page.evaluate(DROP, as_dropped(tmp_path / "image.nii.gz"))
    slices = phantom.labels.shape[0]
    second.until(lambda: second.slice_label().endswith(f"of {slices}"), "The file")


@pytest.mark.parametrize("received", (False, True), ids=("on its way", "received"))
def test_what_is_dropped_last_is_shown_though_it_is_read_sooner(second, small_phantom, phantom, tmp_path, received):
    second.page.evaluate("window.trame.trigger('open_sample')")
    second.until(lambda: second.slice_label().endswith("of 10") and not second.report(), "The sample")
    write_dicom(phantom, tmp_path / "LGE")
    write_label_map(tmp_path / "image.nii.gz", small_phantom.labels, small_phantom.series.geometry)
    first, last = as_dropped(*sorted((tmp_path / "LGE").iterdir())), as_dropped(tmp_path / "image.nii.gz")
    if received:
        with second.page.expect_response("**/files"):
            second.page.evaluate(DROP, first)
        second.page.evaluate(DROP, last)
    else:
        second.page.evaluate(f"([first, last]) => {{ const drop = {DROP}; drop(first); drop(last); }}", [first, last])
    second.until(lambda: second.slice_label().endswith("of 5"), "What was dropped last")
    time.sleep(2)
    assert second.slice_label().endswith("of 5")


def test_an_export_is_gone_once_another_patient_is_open(second):
    page = second.page
    page.evaluate("window.trame.trigger('open_sample')")
    second.until(lambda: second.slice_label().endswith("of 10"), "The sample")
    second.segment()
    with page.expect_download() as download:
        page.click("#export")
    address = download.value.url
    assert page.request.get(address).status == 200
    page.evaluate("window.trame.trigger('open_sample')")
    second.until(lambda: not second.report(), "Another stack")
    assert page.request.get(address).status == 404


def test_cancel_leaves_everything_as_it_was(second):
    second.page.evaluate("window.trame.trigger('open_sample')")
    second.until(lambda: second.slice_label().endswith("of 10"), "The sample")
    second.page.click("#segment")
    second.page.wait_for_selector("#progress")
    second.page.click("#segment")
    says(second, "Cancelled")
    assert not second.report()
    assert second.page.is_enabled("#segment")


def get(url, **headers):
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_door_lets_in_nobody_else(address):
    root, token = address.split("?token=")
    assert get(root) == 403 and get(f"{root}?token=guess") == 403 and get(f"{root}?token=") == 403
    assert get(f"{root}mosaic.jpg") == 403 and get(f"{root}ws") == 403
    assert get(f"{root}?token={token}", Host="evil.example") == 403
    assert get(f"{root}?token={token}", Origin="http://evil.example") == 403


def test_as_many_as_may_and_no_more(browser, address, reader, second):
    third = Reader(browser, address)
    fourth = Reader(browser, address, open_page=False)
    fourth.page.goto(address)
    assert "as many as may at once" in fourth.page.inner_text("body")
    assert reader.report() and np.isfinite(percent(reader.report()))
    third.context.close()
    fourth.context.close()


def test_a_study_comes_from_the_archive_and_results_go_back(second, archive, small_phantom, tmp_path):
    """From QIDO to STOW, on the page."""
    if archive is None:
        pytest.skip(
            "ORTHANC WITH DICOMWEB IS NOT INSTALLED (apt install orthanc orthanc-dicomweb): NO ARCHIVE WAS ASKED"
        )
    write_dicom(small_phantom, tmp_path / "LGE")
    for path in (tmp_path / "LGE").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientID = "P1"
        dataset.save_as(path)
        archive.ask("/instances", path.read_bytes())
    page = second.page
    page.click("#open")
    page.click("#open-archive")
    page.fill("#patient-id", "P9")
    page.click("#find")
    page.wait_for_selector("text=no study of this patient")
    page.fill("#patient-id", "P1")
    page.click("#find")
    page.click("#studies .v-list-item")
    second.until(lambda: second.slice_label().endswith("of 5"), "The study")
    page.wait_for_selector("#patient-id", state="hidden")
    second.segment()
    page.click("#store")
    says(second, "took 2 objects")
    series = [json.loads(archive.ask(f"/series/{s}")) for s in json.loads(archive.ask("/series"))]
    assert sorted(s["MainDicomTags"]["Modality"] for s in series) == ["MR", "SEG", "SR"]


def test_a_session_that_fails_says_so_and_a_new_one_starts(reader, address):
    """Last: it ends the reader's session as a crash would."""
    import psutil

    sessions = [
        process
        for process in psutil.process_iter(["cmdline"])
        if "scarnet.app.session" in (process.info["cmdline"] or []) and process.parent().pid == address.pid
    ]
    for process in sessions:
        process.kill()
    reader.page.wait_for_selector("#session-ended")
    assert "stopped unexpectedly" in reader.page.inner_text("#session-ended")
    reader.page.click("#session-ended button")
    reader.page.wait_for_selector("#sample")
