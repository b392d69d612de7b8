"""Figures of reading studies: python Testing/measure_series.py [zoo|hostile|speed] (all without an argument).

zoo: every variant, what came back and the error of its scar volume. hostile: how many bad inputs were tried and how each
ended. speed: a study of 5,000 files, LGE among 40 series, against pydicom reading the headers of the same files.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom

from scarnet.conventions import scar_mask
from scarnet.errors import InputError
from scarnet.phantom.study import small_hearts, write_study
from scarnet.phantom.zoo import ZOO, Variant, named
from scarnet.series import read_lge


def zoo(folder: Path) -> None:
    hearts = small_hearts()
    whole = hearts["psir"]
    expected = scar_mask(whole.labels).sum(axis=(1, 2)) @ whole.series.geometry.voxel_volumes_ml
    print(f"{len(ZOO)} variants; scar of the whole heart {expected:.3f} mL")
    for variant in ZOO:
        truth = write_study(variant, folder / variant.name, hearts)
        try:
            series = read_lge(truth.path)
        except InputError as error:
            print(f"{variant.name:38} refused{'' if variant.refused else ' WRONGLY'}: {error}")
            continue
        same = np.array_equal(series.image, truth.series.image)
        measured = scar_mask(truth.labels).sum(axis=(1, 2)) @ series.geometry.voxel_volumes_ml
        verdict = "WRONGLY READ" if variant.refused or not same else "read"
        print(
            f"{variant.name:38} {verdict}: {len(series.image)} slices, {series.reconstruction.value}, "
            f"scar {measured:.3f} mL ({100 * (measured / expected - 1):+.4f} %), {len(series.warnings)} warnings"
        )


def hostile(folder: Path, tries: int = 300) -> None:
    """Random damage to single files and whole studies of six kinds, each time to another number of bytes."""
    hearts, rng, ends, slowest = small_hearts(), np.random.default_rng(0), Counter(), 0.0
    names = ("siemens-psir", "philips-enhanced", "zip", "dicomdir", "jpeg-2000", "rle")
    for name in names:
        truth = write_study(named(name), folder / name, hearts)
        files = [truth.path] if truth.path.is_file() else sorted(p for p in truth.path.iterdir() if p.is_file())
        usual = set(read_lge(truth.path).warnings)
        for _ in range(tries // len(names)):
            file = files[rng.integers(len(files))]
            content = file.read_bytes()
            bad = bytearray(content)
            reach = len(bad) if rng.random() < 0.5 else min(len(bad), 2500)
            for place in rng.integers(0, reach, int(rng.choice([1, 4, 32]))):
                bad[place] = rng.integers(256)
            if rng.random() < 0.2:
                bad = bad[: rng.integers(len(bad))]
            file.write_bytes(bad)
            started = time.process_time()
            try:
                series = read_lge(truth.path)
                same = np.array_equal(series.image, truth.series.image)
                if same and series.geometry.matches(truth.series.geometry):
                    ends["read as it was written"] += 1
                elif set(series.warnings) - usual:
                    ends["read, changed, with a warning"] += 1
                else:
                    moved = not series.geometry.matches(truth.series.geometry)
                    ends[f"read, {'MOVED' if moved else 'pixels changed'}, without a warning"] += 1
            except InputError:
                ends["refused in one line"] += 1
            except Exception as error:
                ends[f"CRASH {type(error).__name__}"] += 1
            slowest = max(slowest, time.process_time() - started)
            file.write_bytes(content)
    for end, count in ends.most_common():
        print(f"{count:5}  {end}")
    print(f"{sum(ends.values())} bad inputs; slowest {slowest:.2f} s of processor time")


SCAN = """
import resource, sys, time
from pathlib import Path
import pydicom
from scarnet.series import read_lge
from scarnet.series.study import read_study
folder = Path(sys.argv[1])
def theirs():
    for file in folder.iterdir():
        pydicom.dcmread(file, stop_before_pixels=True)
def seconds(work):
    started, cpu = time.monotonic(), time.process_time()
    work()
    return time.process_time() - cpu, time.monotonic() - started
seconds(theirs)
own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
a, b = [], []
for _ in range(2):
    b.append(seconds(lambda: read_study(folder)))
    a.append(seconds(theirs))
series = read_lge(folder)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
a, b = min(a), min(b)
print(f"plain header scan {a[0]:.2f} s of processor time ({a[1]:.2f} s), list of the study {b[0]:.2f} s ({b[1]:.2f} s): "
      f"{a[0] / b[0]:.2f} times its speed")
print(f"peak memory {peak:.0f} MB, of which {own:.0f} MB before; {len(series.image)} slices: {series.warnings[0]}")
"""


def speed(folder: Path, files: int = 5000, series: int = 40) -> None:
    """Headers padded to some 120 elements and 8 kB of private-free text, as scanners' are long."""
    truth = write_study(
        Variant("s", others=("cine", "cine_lax", "lax", "t1", "perfusion")), folder / "some", small_hearts()
    )
    study = folder / "study"
    study.mkdir()
    sources = [pydicom.dcmread(p) for p in sorted(truth.path.iterdir())]
    lge = [ds for ds in sources if ds.Rows > 32]
    rest = [ds for ds in sources if ds.Rows == 32]
    for ds in sources:
        for n in range(60):
            ds.add_new((0x0018, 0x9100 + 0), "CS", "NO") if n == 0 else ds.add_new((0x0040, 0xA000 + n), "LO", "x" * 60)
    for n, ds in enumerate(lge):
        ds.save_as(study / f"lge{n}")
    for n in range(files - len(lge)):
        ds = rest[n % len(rest)]
        ds.SeriesInstanceUID = f"2.25.{1 + n % (series - 1)}"
        ds.SeriesNumber, ds.SOPInstanceUID = 100 + n % (series - 1), f"2.25.9{n}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(study / f"{n:05d}")
    size = sum(p.stat().st_size for p in study.iterdir()) / 2**20
    print(f"{files} files, {series} series, {size:.0f} MB")
    subprocess.run([sys.executable, "-c", SCAN, str(study)], check=True)


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["zoo", "hostile", "speed"]
    for name in wanted:
        with tempfile.TemporaryDirectory() as temporary:
            {"zoo": zoo, "hostile": hostile, "speed": speed}[name](Path(temporary))
    print(f"Whole run: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")
