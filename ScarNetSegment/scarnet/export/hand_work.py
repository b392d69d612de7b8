"""Segmentations that a hand saved over ours: told by their hash, kept under another name, never overwritten."""

import json
import os
from pathlib import Path

from scarnet.files import sha256_of

#: The segmentation as files, in the folder of a run.
SEGMENTATION_NAMES = ("labels.nii.gz", "segmentation.seg.nrrd")
#: Where report.json keeps their SHA-256, in its provenance.
WRITTEN_KEY = "written_sha256"


def provenance_in(folder: Path) -> dict | None:
    """Of the report.json that we left in `folder`; None where there is none of ours."""
    try:
        report = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
        return dict(report["provenance"]) if report["schema"].startswith("scarnet-report/") else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def written_before(folder: Path) -> dict[str, str] | None:
    """SHA-256 of the segmentations that a run left in `folder`, by name, as its report.json says; None where there is no such report."""
    facts = provenance_in(folder)
    if facts is None:
        return None
    written = facts.get(WRITTEN_KEY)
    return written if isinstance(written, dict) else {}


def edited_names(folder: Path, written: dict[str, str]) -> list[str]:
    """Names in `written` whose files are there and have another SHA-256."""
    paths = {name: Path(folder) / name for name in written}
    return [name for name, path in paths.items() if path.is_file() and sha256_of(path) != written[name]]


def keep_edits(folder: Path, written: dict[str, str]) -> list[tuple[str, str]]:
    """Rename what was edited to `corrected...`, and a correction that has that name already to `earlier-1-corrected...`, say.

    Returns names before and after.
    """
    folder, moves = Path(folder), []
    for name in edited_names(folder, written):
        target = folder / f"corrected{name.removeprefix(name.split('.')[0])}"
        if target.exists():
            number = 1
            while (earlier := folder / f"earlier-{number}-{target.name}").exists():
                number += 1
            os.replace(target, earlier)
            moves.append((target.name, earlier.name))
        os.replace(folder / name, target)
        moves.append((name, target.name))
    return moves


def keep_edits_of_run(folder: Path) -> list[tuple[str, str]]:
    """`keep_edits` in a folder that a run is to write to. What nobody can tell to be as it was written is kept too."""
    written = written_before(folder) or {}
    return keep_edits(folder, {name: written.get(name, "") for name in SEGMENTATION_NAMES})
