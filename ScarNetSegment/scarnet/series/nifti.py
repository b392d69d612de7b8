"""NIfTI files, by nibabel: the voxels, and where they lie.

Not by ITK's reader, which fills what is missing from a cut file with zeros, takes the spacing from `pixdim` whatever the
`sform` says, and refuses grids that are sheared, as stacks are whose slices drift from one breath-hold to the next.

nibabel is imported where a file is read: Slicer does without it. Fields are those of https://nifti.nimh.nih.gov.
"""

import gzip
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scarnet.errors import InputError
from scarnet.series.checks import check_slices

#: Millimetres in nibabel's names of units; "unknown" is taken for millimetres.
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
#: NIfTI's axes point to the right and forward where DICOM's point to the left and back.
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])
#: `pixdim` and the columns of the `sform` say the same spacing where they agree to this: headers round to some decimals.
SPACING_RTOL = 1e-2
#: Corners that lie further apart by `qform` than by `sform` are two places.
SAME_PLACE_MM = 1.0
#: Cosine between rows and columns that rounding of the `sform` to two or three decimals makes; they are made perpendicular.
ROUNDED_COSINE = 1e-2
#: Cosine from which on a grid is sheared: 0.005 mm over a stack of 100 mm.
SHEARED_COSINE = 5e-5
#: Bytes of NIfTI-1's header at which `qform_code` and `sform_code`, and the `sform`, stand.
_CODES_AT, _SFORM_AT = 252, 280


@dataclass(frozen=True, eq=False)
class NiftiImage:
    """`voxels` `[slice, row, column]` after the header's scaling; `affine_lps` 4x4; `notes`: sentences for the user."""

    voxels: np.ndarray
    affine_lps: np.ndarray
    notes: tuple[str, ...] = ()


def read_nifti(path: Path, *, spacing_mm: tuple[float, float, float] | None = None) -> NiftiImage:
    """A single grey volume. `spacing_mm`: columns, rows, slices, instead of what the header states. Raises InputError."""
    from nibabel.spatialimages import HeaderDataError

    try:
        content = _content(path)
        header = _header(content)
        _check_dimensions(header, path.name)
        voxels = _voxels(content, header, path.name)
        affine, notes = _placed(header, voxels.shape, spacing_mm, path.name)
    except PermissionError:
        raise
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error, HeaderDataError) as error:
        raise InputError(
            f"{path.name} cannot be read as an image: it is damaged or not what its name says; export it again."
        ) from error
    return NiftiImage(voxels, affine, notes)


def _content(path: Path) -> bytes:
    """Unpacked where it is packed, whatever the file is called."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with (gzip.open if packed else open)(path, "rb") as file:
        return file.read()


def _header(content: bytes):
    """nibabel's, as stored: its checks would mend a spacing of zero without a word. Raises ValueError for what is no NIfTI file
    that holds its own voxels."""
    from nibabel import Nifti1Header, Nifti2Header

    for kind in (Nifti1Header, Nifti2Header):
        first = content[: kind.sizeof_hdr]
        if kind.may_contain_header(first):
            header = kind(first, check=False)
            if header["magic"].item().startswith(b"n+") and 1 <= header["dim"][0] <= 7:
                return header
    raise ValueError("no NIfTI header")


def _check_dimensions(header, name: str) -> None:
    size = tuple(int(n) for n in header.get_data_shape())
    if min(size) < 1:
        raise ValueError("impossible dimensions")
    if len(size) < 3:
        check_slices(1, name)
    if header.get_data_dtype().kind not in "iuf":
        raise InputError(f"{name} is a colour or vector image; an LGE series of plain grey values is needed.")
    if any(n > 1 for n in size[3:]):
        raise InputError(f"{name} has {len(size)} dimensions {size}; give one volume (one phase, one inversion time).")


def _voxels(content: bytes, header, name: str) -> np.ndarray:
    if int(header["vox_offset"]) < header.sizeof_hdr or header["bitpix"] != 8 * header.get_data_dtype().itemsize:
        raise ValueError("impossible place or size of voxels")
    values = header.raw_data_from_fileobj(io.BytesIO(content))  # raises OSError where the file was cut off
    values = values.reshape(values.shape[:3]).T
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        lost = int(np.count_nonzero(~np.isfinite(values)))
        raise InputError(f"{name} holds {lost} values that are not numbers (NaN or infinite); export the series again.")
    slope, intercept = (float(v) if np.isfinite(v) else 0.0 for v in (header["scl_slope"], header["scl_inter"]))
    if slope == 0 or (slope, intercept) == (1.0, 0.0):  # as most files, and as files that state no scaling
        return np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, which is refused in words
        return np.ascontiguousarray(values.astype(np.float64) * slope + intercept, np.float32)


def _placed(
    header, shape: tuple[int, int, int], given: tuple[float, float, float] | None, name: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Index to LPS mm, 4x4, and what is to be said of it.

    Directions and place are the `sform`'s where there is one, as nibabel has them, else the `qform`'s. The spacing is
    `pixdim`'s, which carries more decimals, unless the `sform` is alone to state one.
    """
    unit = _MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    pixdim = np.array(header["pixdim"][1:4], float) * unit
    pixdim[len(header.get_data_shape()) :] = 1.0  # of axes that the file does not have
    sform, qform = _place(header.get_sform(coded=True)[0], unit), _qform(header, unit)
    spacing, notes = pixdim, []
    if sform is not None:
        lengths = np.linalg.norm(sform[:, :3], axis=0)
        if np.array_equal(pixdim, np.ones(3)):  # what is written where nothing is known
            spacing = lengths
        elif given is None and not np.allclose(lengths, pixdim, rtol=SPACING_RTOL, atol=0) and (pixdim > 0).all():
            raise InputError(
                f"{name} states two spacings, {_by(pixdim)} mm (pixdim) and {_by(lengths)} mm (sform); correct the header, "
                "or give the true one with --spacing."
            )
    if given is not None:
        spacing = np.asarray(given, float)
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise InputError(
            f"{name} states a spacing of {_by(spacing)} mm; all must be positive: correct the header, or give the spacing "
            "with --spacing."
        )
    places = [_affine(place, spacing, name) for place in (sform, qform) if place is not None]
    if len(places) == 2:
        apart = _corners_apart_mm(*places, shape)
        if apart > SAME_PLACE_MM:
            notes.append(
                f"The file states two places up to {apart:.0f} mm apart (sform and qform): the sform's was used. Check that "
                "walls are named rightly."
            )
    affine = places[0] if places else np.diag([*spacing, 1.0])  # no place at all: the axes are the array's own
    return affine, tuple(notes)


def _by(lengths: np.ndarray) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths)


def _place(affine: np.ndarray | None, unit: float) -> np.ndarray | None:
    """`(3, 4)` in LPS, mm; None where none is stated, or none that could be."""
    if affine is None:
        return None
    place = _LPS_FROM_RAS @ affine[:3] * unit
    return place if np.isfinite(place).all() and np.linalg.norm(place[:, :3], axis=0).min() > 0 else None


def _qform(header, unit: float) -> np.ndarray | None:
    from nibabel.spatialimages import HeaderDataError

    header = header.copy()
    header["pixdim"][1:4] = 1.0  # directions and place alone: a spacing of zero is `pixdim`'s matter
    try:
        place = _place(header.get_qform(coded=True)[0], 1.0)
    except (HeaderDataError, ValueError):  # a quaternion that is none
        return None
    if place is not None:
        place[:, 3] *= unit
    return place


def _affine(place: np.ndarray, spacing: np.ndarray, name: str) -> np.ndarray:
    """4x4 with the directions and the first corner of a place. Raises InputError for rows that lie askew in the slice."""
    columns, rows, slices = (place[:, :3] / np.linalg.norm(place[:, :3], axis=0)).T
    cosine = columns @ rows
    if abs(cosine) > ROUNDED_COSINE or abs(np.cross(columns, rows) @ slices) < 0.1:
        raise InputError(f"{name}: the axes of its slices are not at right angles (sform); correct the header.")
    rows = (rows - cosine * columns) / np.linalg.norm(rows - cosine * columns)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([columns, rows, slices]) * spacing
    affine[:3, 3] = place[:, 3]
    return affine


def _corners_apart_mm(a: np.ndarray, b: np.ndarray, shape: tuple[int, int, int]) -> float:
    corners = np.array([[i, j, k, 1] for k in (0, shape[0]) for j in (0, shape[1]) for i in (0, shape[2])])
    return float(np.linalg.norm(corners @ (a - b).T, axis=1).max())


def is_sheared(affine: np.ndarray) -> bool:
    """Whether the axes of a 4x4 are not at right angles."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > SHEARED_COSINE)


def write_sform(path: Path, affine_lps: np.ndarray) -> None:
    """Where the voxels of a NIfTI-1 file of this machine lie, as its `sform` alone: a `qform` cannot hold a sheared grid, nor does ITK
    write one."""
    content = bytearray(_content(path))
    struct.pack_into("=2h", content, _CODES_AT, 0, 1)
    struct.pack_into("=12f", content, _SFORM_AT, *(_LPS_FROM_RAS @ affine_lps[:3]).ravel())
    path.write_bytes(gzip.compress(content, mtime=0) if path.name.lower().endswith(".gz") else content)
