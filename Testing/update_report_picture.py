"""Writes Resources/report.png, README's picture: the two pages of the shipped sample's report. Needs pdftoppm (poppler-utils)."""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PATH = Path(__file__).resolve().parent.parent / "Resources" / "report.png"
DOTS_PER_INCH = 96
LARGEST_BYTES = 250_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "scarnet.cli", "demo", "-o", folder], check=True)
        report = Path(folder) / "report.pdf"
        subprocess.run(["pdftoppm", "-r", str(DOTS_PER_INCH), "-png", report, Path(folder) / "page"], check=True)
        pages = [Image.open(path).convert("RGB") for path in sorted(Path(folder).glob("page-*.png"))]
    gap = 16
    width = sum(page.width + gap for page in pages) - gap
    picture = Image.new("RGB", (width, pages[0].height), (120, 130, 140))
    for index, page in enumerate(pages):
        picture.paste(page, (index * (page.width + gap), 0))
    for colors in (256, 200, 160, 128, 96, 64):
        picture.quantize(colors, Image.Quantize.MAXCOVERAGE, 2, dither=Image.Dither.NONE).save(PATH, optimize=True)
        if PATH.stat().st_size <= LARGEST_BYTES:
            return
    raise SystemExit(f"{PATH.name} is larger than {LARGEST_BYTES} bytes")


if __name__ == "__main__":
    main()
