"""What a reader waits for at the page of `scarnet app`, with one visitor and with several at once, and a long session's memory.

    python Testing/measure_app.py [--visitors 1,4] [--strokes 200]

Drives Chromium; says the load of the computer before each round, since every figure depends on it.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import psutil
from playwright.async_api import async_playwright

from app_server import CHROMIUM_ARGUMENTS, PATIENCE_SECONDS, app_server, chromium
from scarnet.app.visitors import memory_mb
from scarnet.resources import shipped

STROKES = 12
#: Mean brightness of the slice view, 0 to 255; -1 until there is a picture.
BRIGHTNESS = """() => {
  const shown = document.querySelector(".sn-slice img, .sn-slice canvas");
  if (!shown || !(shown.naturalWidth || shown.width)) return -1;
  const small = document.createElement("canvas");
  small.width = small.height = 32;
  const context = small.getContext("2d");
  context.drawImage(shown, 0, 0, 32, 32);
  const pixels = context.getImageData(0, 0, 32, 32).data;
  return pixels.reduce((sum, value, k) => sum + (k % 4 < 3 ? value : 0), 0) / (32 * 32 * 3);
}"""
REPORT = "() => document.querySelector('#report')?.innerText ?? ''"


async def until(page, script, true, what):
    started = time.monotonic()
    while not true(value := await page.evaluate(script)):
        if time.monotonic() - started > PATIENCE_SECONDS:
            raise TimeoutError(f"{what}: {value!r}")
        await asyncio.sleep(0.005)
    return time.monotonic() - started


async def stroke(page, number):
    """Paint scar across the wall, or take it back, somewhere else each time; seconds until the table has followed."""
    box = await page.locator(".sn-slice").bounding_box()
    x, y = box["x"] + box["width"] * (0.42 + 0.01 * (number % 12)), box["y"] + box["height"] * 0.32
    before = await page.evaluate(REPORT)
    await page.keyboard.press("p" if number % 2 == 0 else "e")
    await page.mouse.move(x, y)
    await asyncio.sleep(0.05)
    await page.mouse.down()
    await page.mouse.move(x + 25, y + 3, steps=6)
    await asyncio.sleep(0.05)
    await page.mouse.up()
    return await until(page, REPORT, lambda now: now and now != before, "the table did not follow a stroke")


async def visit(browser, address, strokes):
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    started = time.monotonic()
    await page.goto(address)
    await page.wait_for_selector("[data-ready]")
    await until(page, BRIGHTNESS, lambda mean: mean > 5, "no image")
    figures = {"page open to first image": time.monotonic() - started}
    started = time.monotonic()
    await page.click("#segment")
    await until(page, REPORT, lambda now: bool(now), "no report")
    figures["click to report"] = time.monotonic() - started
    await asyncio.sleep(1)
    for key in ("Home", *["ArrowUp"] * 5, "2", "]", "]", "]"):
        await page.keyboard.press(key)
        await asyncio.sleep(0.15)
    await stroke(page, 0)  # makes the brush
    figures["stroke to table"] = [await stroke(page, number) for number in range(1, strokes + 1)]
    return context, page, figures


def sessions(server_pid):
    return [process for process in psutil.Process(server_pid).children() if "scarnet.app.session" in process.cmdline()]


async def measure(visitors: int, strokes: int, long_strokes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sample = str(shipped("SampleData/LGEShortAxis"))
        with app_server(Path(folder) / "log.txt", sample, "--visitors", str(visitors)) as address:
            await asyncio.sleep(20)  # the session that is kept ready has started
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
                load = os.getloadavg()[0]
                found = await asyncio.gather(*(visit(browser, address, strokes) for _ in range(visitors)))
                print(f"{visitors} visitor(s) at once; {os.cpu_count()} cores, load before {load:.1f}")
                for name in ("page open to first image", "click to report"):
                    values = [figures[name] for _, _, figures in found]
                    print(f"  {name}: " + ", ".join(f"{v:.2f}" for v in sorted(values)) + " s")
                values = sorted(v for _, _, figures in found for v in figures["stroke to table"])
                print(
                    f"  stroke to table: median {statistics.median(values):.2f} s, worst {values[-1]:.2f} s of {len(values)}"
                )
                used = [memory_mb(process.pid) for process in sessions(address.pid)]
                print("  memory of each session: " + ", ".join(f"{mb:.0f}" for mb in sorted(used)) + " MB")
                if long_strokes:
                    await long_session(found[0][1], address.pid, long_strokes)
                await browser.close()


async def long_session(page, server_pid: int, strokes: int) -> None:
    (session,) = sessions(server_pid)
    before = memory_mb(session.pid)
    steps = [before]
    for number in range(1, strokes + 1):
        await stroke(page, number)
        if number % 50 == 0:
            steps.append(memory_mb(session.pid))
    print(
        f"  {strokes} strokes: memory "
        + ", ".join(f"{mb:.0f}" for mb in steps)
        + f" MB, {100 * (steps[-1] / before - 1):+.1f} %"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", default="1,4")
    parser.add_argument("--strokes", type=int, default=200, help="of the long session; 0 for none")
    options = parser.parse_args()
    for count in (int(n) for n in options.visitors.split(",")):
        asyncio.run(measure(count, STROKES, options.strokes if count == 1 else 0))
