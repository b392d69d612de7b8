"""Which patients a folder holds, and what each is called in the output."""

import hashlib
import hmac
import json
import re
import secrets
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scarnet.errors import InputError, UsageError
from scarnet.files import replacing
from scarnet.series.dicom import is_dicom
from scarnet.series.image_file import KINDS

#: Words in the name of a file or folder that holds outlines, not images.
_OUTLINES = re.compile(r"(^|[_\-. ])(labels?|masks?|seg|segmentation|contours?|gt|truth|corrected)([_\-. ]|$)", re.I)
#: Where a folder holds images so named (as for `scarnet train`), the others in it are not images.
_NAMED_IMAGE = re.compile(r"_image$", re.I)
#: Of a study in one file.
ARCHIVE_SUFFIX = ".zip"
PSEUDONYMS_NAME = "pseudonyms.json"


@dataclass(frozen=True)
class Patient:
    """`key` names folder and row in the output; `path` is what `scarnet.series.read_lge` is given."""

    key: str
    path: Path


def find_patients(root: Path, *, leave_out: Path | None = None) -> list[Patient]:
    """Every patient below `root`, by key.

    - DICOM: the highest folder below `root` whose images are all of one study; nothing else is sought inside it.
    - NIfTI, NRRD, MetaImage, zip archive: every file that is not named as outlines; where there are `*_image` files, these alone.
    - A folder directly in `root` that holds neither is listed too: reading it will say why it cannot be used.

    `leave_out`: the output, where it lies inside `root`. Hidden files and folders are passed over. Raises InputError
    where there is no folder or nobody in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give one that holds a folder or an image file for each patient.")
    scan = _Scan(root, None if leave_out is None else Path(leave_out).resolve())
    found: list[Path] = []
    if scan.own_studies(root):
        if len(studies := scan.studies(root)) > 1:
            raise InputError(
                f"DICOM images lie loose in {root}, of {len(studies)} studies with those below; put each patient's into a "
                "folder of its own."
            )
        return _named(root, [root])
    for child in scan.folders(root):
        below = list(scan.patients_in(child))
        found += below or [child]
    found += scan.image_files(root)
    if not found:
        raise InputError(
            f"{root} holds no patient: neither folders of DICOM images nor files {', '.join(KINDS)} or .zip."
        )
    return _named(root, found)


class _Scan:
    """One walk through the tree; studies are read from one image of each folder, and once."""

    def __init__(self, root: Path, leave_out: Path | None):
        self._root, self._leave_out, self._known = root, leave_out, {}

    def folders(self, folder: Path) -> list[Path]:
        """Below `folder`, hidden ones, the output and links back to where it lies left out."""
        above = {folder.resolve(), *folder.resolve().parents, self._leave_out}
        return [p for p in self._visible(folder) if p.is_dir() and p.resolve() not in above]

    def files(self, folder: Path) -> list[Path]:
        return [p for p in self._visible(folder) if p.is_file()]

    def _visible(self, folder: Path) -> list[Path]:
        try:
            return [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
        except PermissionError:  # reading the patient will say so
            return []

    def own_studies(self, folder: Path) -> set[str]:
        """Of the images directly in a folder: all are asked in the root, one is elsewhere."""
        studies: set[str] = set()
        for path in self.files(folder):
            if not _suffix(path) and path.name.upper() != "DICOMDIR" and is_dicom(path):
                studies.add(_study(path) or str(folder))  # without a UID, folders are not taken together
                if folder != self._root:
                    break
        return studies

    def studies(self, folder: Path) -> set[str]:
        """Of the images in a folder and below."""
        if folder not in self._known:
            below = [self.studies(child) for child in self.folders(folder)]
            self._known[folder] = self.own_studies(folder).union(*below)
        return self._known[folder]

    def patients_in(self, folder: Path) -> Iterator[Path]:
        own, studies = self.own_studies(folder), self.studies(folder)
        if own or len(studies) == 1:
            yield folder
            return
        for child in self.folders(folder):
            if studies or not _OUTLINES.search(child.name):
                yield from self.patients_in(child)
        yield from self.image_files(folder)

    def image_files(self, folder: Path) -> list[Path]:
        images = [p for p in self.files(folder) if _suffix(p) and not p.name.lower().endswith(".seg.nrrd")]
        named = [p for p in images if _NAMED_IMAGE.search(_stem(p))]
        return named or [p for p in images if not _OUTLINES.search(_stem(p))]


def _study(path: Path) -> str:
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom comments on odd values, naming them
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
        return str(header.get("StudyInstanceUID", ""))
    except Exception:  # damaged: reading the patient will say so
        return ""


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(_suffix(path))]


def _suffix(path: Path) -> str:
    """Of an image file or an archive; empty for others."""
    known = (*KINDS, ARCHIVE_SUFFIX)
    return next((s for s in sorted(known, key=len, reverse=True) if path.name.lower().endswith(s)), "")


def _named(root: Path, paths: list[Path]) -> list[Patient]:
    """Keys from relative paths: letters, digits, `-`, `_` and `.`; a short hash where that alone would not tell them apart."""
    keys: dict[str, list[tuple[Path, str]]] = {}
    for path in paths:
        relative = path.relative_to(root)
        plain = relative if path.is_dir() else relative.with_name(_NAMED_IMAGE.sub("", _stem(path)) or _stem(path))
        text = "__".join(plain.parts) or "patient"
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip(".") or "patient"
        if safe != text or len(safe) > 120:
            safe = f"{safe[:120]}-{_short_hash(relative)}"
        keys.setdefault(safe.lower(), []).append((path, safe))
    patients = []
    for same in keys.values():
        for path, safe in same:
            patients.append(Patient(safe if len(same) == 1 else f"{safe}-{_short_hash(path.relative_to(root))}", path))
    return sorted(patients, key=lambda patient: patient.key)


def _short_hash(relative: Path) -> str:
    return hashlib.sha256(relative.as_posix().encode()).hexdigest()[:8]


def with_kept_keys(patients: list[Patient], root: Path, known: dict[str, str]) -> list[Patient]:
    """The same patients, of whom those in the output already keep their key, whoever has joined them since.

    `known`: path below `root` to key. A newcomer whose key one of them holds gets the short hash.
    """
    paths = {patient.path.relative_to(root).as_posix(): patient for patient in patients}
    held = {known[path].lower() for path in paths if path in known}
    renamed = []
    for path, patient in paths.items():
        new = patient.key if patient.key.lower() not in held else f"{patient.key}-{_short_hash(Path(path))}"
        renamed.append(Patient(known.get(path, new), patient.path))
    return sorted(renamed, key=lambda patient: patient.key)


def with_pseudonyms(patients: list[Patient], output: Path) -> list[Patient]:
    """The same patients under keyed hashes of their names, which they keep whoever joins them.

    The key and who is who are in `pseudonyms.json` in `output`, readable by its owner alone: whoever holds that file can
    name the patients, and without it the names cannot be guessed from the hashes.
    """
    path = Path(output) / PSEUDONYMS_NAME
    try:
        stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        secret, known = stored.get("secret") or secrets.token_hex(32), dict(stored.get("patients", {}))
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{path} cannot be read ({type(error).__name__}); restore it, or choose a new output."
        ) from error
    held = {path: key for key, path in known.items()}
    renamed = []
    for patient in patients:
        digest = hmac.new(bytes.fromhex(secret), patient.key.encode(), hashlib.sha256).hexdigest()
        renamed.append(Patient(held.get(str(patient.path), f"P-{digest[:12]}"), patient.path))
        known[renamed[-1].key] = str(patient.path)
    with replacing(path) as part:
        part.write_text(json.dumps({"secret": secret, "patients": known}, indent=1) + "\n", encoding="utf-8")
    path.chmod(0o600)
    return sorted(renamed, key=lambda patient: patient.key)
