"""What `scarnet segment` left in a folder, read back: to tell a reader's corrections from what the model drew."""

import json
from pathlib import Path

import numpy as np

from scarnet.errors import InputError
from scarnet.export.hand_work import provenance_in
from scarnet.export.segmentation_file import read_segmentation
from scarnet.segmentation import ScarSegmentation
from scarnet.series import LgeSeries


def holds_run(folder: Path) -> bool:
    """Whether `folder` holds the report of what `scarnet segment` drew, not of what was measured afterwards."""
    facts = provenance_in(folder) or {}
    return bool(facts.get("model")) and "read_from_file_sha256" not in (facts.get("segmentation") or {})


def read_run(folder: Path, series: LgeSeries) -> ScarSegmentation:
    """The model's labels and what is known of the run, without probabilities.

    `folder` holds labels.nii.gz and report.json of a run on `series`. Raises InputError where they are absent, damaged, of
    another image, or not by a model.
    """
    folder = Path(folder)
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        facts = report["provenance"]
        parameters = facts.get("segmentation") or {}
        content, model = facts["input"]["content_sha256"], facts["model"]
        doubt = np.array([s["doubt"] if s["doubt"] is not None else 0.0 for s in report["slices"]])
        scar_doubt = [s.get("scar_doubt") for s in report["slices"]]
        interval = report["scar"].get("percent_lv_interval")
        center = np.array(parameters.get("lv_center_lps_mm") or [np.nan] * 3, float)
        edited = bool(facts.get("edits"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} holds no report.json that can be read ({type(error).__name__}); give the folder that scarnet segment wrote."
        ) from error
    if not model or edited:
        raise InputError(f"{folder} is not what a model drew alone; give the folder that scarnet segment wrote.")
    if content != series.source.content_sha256:
        raise InputError(f"{folder} was made from another image, or from this one with another spacing.")
    labels, _ = read_segmentation(folder / "labels.nii.gz", series)
    return ScarSegmentation(
        labels,
        None,
        center,
        doubt,
        slice_scar_doubt=None if None in scar_doubt else np.array(scar_doubt, float),
        percent_lv_interval=None if interval is None else tuple(interval),
        model=model,
        parameters=parameters,
    )
