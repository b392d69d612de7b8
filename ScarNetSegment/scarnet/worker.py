"""Segmentation in a process of its own, which Slicer can kill: a JSON job in, .npy arrays out, progress as JSON lines.

Run as `python worker.py JOB_FOLDER` by any Python that has numpy, scipy and onnxruntime; Slicer is not imported. With
`--end-with-stdin` it ends when its standard input closes, as it does when whoever holds the other end is gone: an orphan
would go on using the computer unseen. Events on standard output, ASCII, one object a line: `progress` (done, total,
text), `warning` (text), `done`, `error` (text, exit_code). The result appears as `JOB_FOLDER/result` only when it is whole.
"""

import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

if __package__ in (None, ""):  # started as a script: the engine lies beside it
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from scarnet.errors import ScarNetError
from scarnet.segmentation import ScarSegmentation, segment
from scarnet.series import LgeSeries, Reconstruction, StackGeometry

_GEOMETRY_FIELDS = ("shape", "pixel_spacing_mm", "column_direction", "row_direction", "slice_origins_mm")


def write_job(
    folder: Path,
    series: LgeSeries,
    *,
    model: str = "default",
    device: str = "auto",
    lv_center_lps_mm=None,
) -> Path:
    """Everything the worker needs, in `folder`; the image and its geometry, nothing else of the patient."""
    folder = Path(folder)
    np.save(folder / "image.npy", series.image)
    geometry = {name: np.asarray(getattr(series.geometry, name)).tolist() for name in _GEOMETRY_FIELDS}
    job = {
        "geometry": geometry,
        "reconstruction": series.reconstruction.value,
        "model": str(model),
        "device": device,
        "lv_center_lps_mm": None if lv_center_lps_mm is None else [float(c) for c in lv_center_lps_mm],
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    return folder


def read_result(folder: Path) -> ScarSegmentation:
    """What the worker left in `folder`. Raises FileNotFoundError unless it finished."""
    result = Path(folder) / "result"
    facts = json.loads((result / "facts.json").read_text(encoding="utf-8"))
    return ScarSegmentation(
        labels=np.load(result / "labels.npy"),
        probabilities=np.load(result / "probabilities.npy"),
        lv_center_lps_mm=np.array(facts["lv_center_lps_mm"]),
        slice_doubt=np.array(facts["slice_doubt"]),
        model=facts["model"],
        parameters=facts["parameters"],
        warnings=tuple(facts["warnings"]),
        percent_lv_interval=None if facts["percent_lv_interval"] is None else tuple(facts["percent_lv_interval"]),
        slice_scar_doubt=None if facts["slice_scar_doubt"] is None else np.array(facts["slice_scar_doubt"]),
    )


def _write_result(folder: Path, segmentation: ScarSegmentation) -> None:
    part = folder / "result.part"
    part.mkdir()
    np.save(part / "labels.npy", segmentation.labels)
    np.save(part / "probabilities.npy", segmentation.probabilities)
    facts = {
        "lv_center_lps_mm": segmentation.lv_center_lps_mm.tolist(),
        "slice_doubt": segmentation.slice_doubt.tolist(),
        "model": segmentation.model,
        "parameters": segmentation.parameters,
        "warnings": list(segmentation.warnings),
        "percent_lv_interval": segmentation.percent_lv_interval,
        "slice_scar_doubt": None if segmentation.slice_scar_doubt is None else segmentation.slice_scar_doubt.tolist(),
    }
    (part / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    part.rename(folder / "result")


def _emit(event: str, **fields) -> None:
    print(json.dumps({"event": event, **fields}, ensure_ascii=True), flush=True)


def run_job(folder: Path) -> int:
    """Do the job in `folder`; returns the exit code."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    series = LgeSeries(
        np.load(folder / "image.npy"), StackGeometry(**job["geometry"]), Reconstruction(job["reconstruction"])
    )

    def attempt(device: str) -> ScarSegmentation:
        return segment(
            series,
            model=job["model"],
            device=device,
            lv_center_lps_mm=job["lv_center_lps_mm"],
            on_progress=lambda done, total, text: _emit("progress", done=done, total=total, text=text),
        )

    try:
        try:
            result = attempt(job["device"])
        except MemoryError:
            if job["device"] == "cpu":
                raise
            text = "The GPU has too little memory; the processor was used instead."
            _emit("warning", text=text)
            result = attempt("cpu")
            result = replace(result, warnings=(*result.warnings, text))
        _write_result(folder, result)
    except ScarNetError as error:
        _emit("error", text=str(error), exit_code=error.exit_code)
        return error.exit_code
    except MemoryError:
        _emit(
            "error",
            text="There is too little memory to run this model; close other programs or choose a smaller model.",
            exit_code=1,
        )
        return 1
    _emit("done")
    return 0


def _end_with_stdin() -> None:
    while os.read(0, 1024):  # not sys.stdin: its lock, held here, would abort the interpreter's own end
        pass
    os._exit(1)


if __name__ == "__main__":
    if "--end-with-stdin" in sys.argv[2:]:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    sys.exit(run_job(Path(sys.argv[1])))
