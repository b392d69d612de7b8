"""The running `scarnet app` and a browser on its page, for tests."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

#: A computer that trains a network beside the tests is slow.
PATIENCE_SECONDS = 240
CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu"]


class Address(str):
    """Of the page, with the token. `pid`: of the server."""

    pid: int


@contextlib.contextmanager
def app_server(log: Path, *arguments: str, environment: dict | None = None):
    """`scarnet app` with these arguments on a free port; yields its address, with the token."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "scarnet.cli", "app", "--no-browser", "--port", "0", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **(environment or {})},
        )
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := re.search(r"http://\S+", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        address = Address(found.group(0))
        address.pid = process.pid
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def chromium():
    """Path of Debian's Chromium; skips, loudly, where it is not."""
    found = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
    if found is None:
        pytest.skip("CHROMIUM IS NOT INSTALLED (apt install chromium): THE PAGE WAS NOT TESTED IN A BROWSER")
    return found


class Reader:
    """A person at the page, with a browser of their own: cookies are not shared with another's."""

    def __init__(self, browser, address: str, *, width: int = 1280, height: int = 800, open_page: bool = True):
        self.context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        self.page = self.context.new_page()
        self.page.set_default_timeout(1000 * PATIENCE_SECONDS)
        self.asked, self.faults = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        if open_page:
            self.page.goto(address)
            self.page.wait_for_selector("[data-ready]")

    def open_sample(self):
        self.page.click("#sample")
        self.page.wait_for_selector("#slice-label")
        self.page.wait_for_selector(".sn-slice img, .sn-slice canvas")

    def segment(self):
        self.page.click("#segment")
        self.page.wait_for_selector("#report")
        self.page.wait_for_function("document.querySelector('#segment').innerText.includes('SEGMENT')")
        self.settled()

    def report(self) -> dict[str, str]:
        """Measure to value, as the table shows them."""
        rows = self.page.eval_on_selector_all("#report tr", "rows => rows.map(r => [...r.cells].map(c => c.innerText))")
        return {row[0]: row[1] for row in rows}

    def settled(self, seconds: float = 0.6):
        """Wait until the report has been the same for a while."""
        before, since = self.report(), time.monotonic()
        while time.monotonic() - since < seconds:
            time.sleep(0.05)
            if (now := self.report()) != before:
                before, since = now, time.monotonic()
        return before

    def until(self, true, what: str):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not true():
            assert time.monotonic() < deadline, f"{what}; the page says: {self.message()!r}, {self.report()}"
            time.sleep(0.03)

    def message(self) -> str:
        found = self.page.query_selector("#message-text")
        return found.inner_text() if found else ""

    def stroke(self, start: tuple[float, float], end: tuple[float, float], steps: int = 8):
        """With the button down, from and to these shares of the slice view's width and height."""
        box = self.page.locator(".sn-slice").bounding_box()
        (x0, y0), (x1, y1) = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in (start, end)]
        mouse = self.page.mouse
        mouse.move(x0, y0)
        time.sleep(0.3)
        mouse.down()
        for step in range(1, steps + 1):  # slowly: what a busy computer has no time for is left out of a stroke
            mouse.move(x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps)
            time.sleep(0.06)
        time.sleep(0.3)
        mouse.up()

    def press(self, *keys: str):
        for key in keys:
            self.page.keyboard.press(key)
            time.sleep(0.1)

    def slice_label(self) -> str:
        return self.page.inner_text("#slice-label")
