"""NIfTI files, read from their bytes: the voxels, and where they lie.

Not by ITK's reader, which fills what is missing from a cut file with zeros, takes the spacing from `pixdim` whatever the
`sform` says, and refuses grids that are sheared, as stacks are whose slices drift from one breath-hold to the next.

Header layout: NIfTI-1 (348 bytes) and NIfTI-2 (540 bytes), https://nifti.nimh.nih.gov.
"""

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scarnet.errors import InputError
from scarnet.series.checks import check_slices

#: Where a field lies and how it is written, by the header's size, which is its first number.
_LAYOUTS = {
    348: {
        "magic": (344, "4s"),
        "dim": (40, "8h"),
        "datatype": (70, "h"),
        "bitpix": (72, "h"),
        "pixdim": (76, "8f"),
        "offset": (108, "f"),
        "scale": (112, "2f"),
        "units": (123, "b"),
        "codes": (252, "2h"),
        "quaternion": (256, "3f"),
        "shift": (268, "3f"),
        "sform": (280, "12f"),
    },
    540: {
        "magic": (4, "4s"),
        "datatype": (12, "h"),
        "bitpix": (14, "h"),
        "dim": (16, "8q"),
        "pixdim": (104, "8d"),
        "offset": (168, "q"),
        "scale": (176, "2d"),
        "codes": (344, "2i"),
        "quaternion": (352, "3d"),
        "shift": (376, "3d"),
        "sform": (400, "12d"),
        "units": (500, "i"),
    },
}
#: Grey values by `datatype`; others are colours and complex numbers.
_GREYS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
#: Millimetres in the unit of length (the lowest three bits of `xyzt_units`): metre, millimetre, micrometre.
_MILLIMETRES = {1: 1000.0, 3: 0.001}
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


@dataclass(frozen=True, eq=False)
class NiftiImage:
    """`voxels` `[slice, row, column]` after the header's scaling; `affine_lps` 4x4; `notes`: sentences for the user."""

    voxels: np.ndarray
    affine_lps: np.ndarray
    notes: tuple[str, ...] = ()


def read_nifti(path: Path, *, spacing_mm: tuple[float, float, float] | None = None) -> NiftiImage:
    """A single grey volume. `spacing_mm`: columns, rows, slices, instead of what the header states. Raises InputError."""
    try:
        content = _content(path)
        header = _header(content)
        _check_dimensions(header, path.name)
        voxels = _voxels(content, header, path.name)
    except PermissionError:
        raise
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, struct.error, zlib.error) as error:
        raise InputError(
            f"{path.name} cannot be read as an image: it is damaged or not what its name says; export it again."
        ) from error
    affine, notes = _placed(header, voxels.shape, spacing_mm, path.name)
    return NiftiImage(voxels, affine, notes)


def _content(path: Path) -> bytes:
    """Unpacked where it is packed, whatever the file is called."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with (gzip.open if packed else open)(path, "rb") as file:
        return file.read()


def _header(content: bytes) -> dict[str, tuple]:
    """Fields as stored, the byte `order` and the header's `size`. Raises ValueError for what is no NIfTI file that holds its own voxels."""
    for order in "<>":
        size = struct.unpack_from(order + "i", content)[0]
        layout = _LAYOUTS.get(size)
        if layout:
            header = {name: struct.unpack_from(order + kind, content, place) for name, (place, kind) in layout.items()}
            if header["magic"][0][:2] == b"n+" and 1 <= header["dim"][0] <= 7:
                return {**header, "order": (order,), "size": (size,)}
    raise ValueError("no NIfTI header")


def _size(header: dict[str, tuple]) -> tuple[int, ...]:
    """Columns, rows, slices and what dimensions are beyond."""
    return header["dim"][1 : header["dim"][0] + 1]


def _check_dimensions(header: dict[str, tuple], name: str) -> None:
    size = _size(header)
    if min(size) < 1:
        raise ValueError("impossible dimensions")
    if len(size) < 3:
        check_slices(1, name)
    if header["datatype"][0] not in _GREYS:
        raise InputError(f"{name} is a colour or vector image; an LGE series of plain grey values is needed.")
    if any(n > 1 for n in size[3:]):
        raise InputError(f"{name} has {len(size)} dimensions {size}; give one volume (one phase, one inversion time).")


def _voxels(content: bytes, header: dict[str, tuple], name: str) -> np.ndarray:
    kind = np.dtype(header["order"][0] + _GREYS[header["datatype"][0]])
    shape = (*_size(header), 1, 1)[2::-1]
    offset, count = int(header["offset"][0]), math.prod(shape)
    if offset < header["size"][0] or header["bitpix"][0] != 8 * kind.itemsize:
        raise ValueError("impossible place or size of voxels")
    if len(content) - offset < count * kind.itemsize:
        raise EOFError("cut off")
    values = np.frombuffer(content, kind, count, offset).reshape(shape)
    if kind.kind == "f" and not np.isfinite(values).all():
        lost = int(np.count_nonzero(~np.isfinite(values)))
        raise InputError(f"{name} holds {lost} values that are not numbers (NaN or infinite); export the series again.")
    slope, intercept = (float(v) if math.isfinite(v) else 0.0 for v in header["scale"])
    if slope == 0 or (slope, intercept) == (1.0, 0.0):  # as most files, and as files that state no scaling
        return values.astype(kind.newbyteorder("="))
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, which is refused in words
        return (values.astype(np.float64) * slope + intercept).astype(np.float32)


def _placed(
    header: dict[str, tuple], shape: tuple[int, int, int], given: tuple[float, float, float] | None, name: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Index to LPS mm, 4x4, and what is to be said of it.

    Directions and place are the `sform`'s where there is one, as nibabel has them, else the `qform`'s. The spacing is
    `pixdim`'s, which carries more decimals, unless the `sform` is alone to state one.
    """
    unit = _MILLIMETRES.get(header["units"][0] & 7, 1.0)
    pixdim = np.array(header["pixdim"][1:4], float) * unit
    pixdim[len(_size(header)) :] = 1.0  # of axes that the file does not have
    qform, sform = _qform(header, unit), _sform(header, unit)
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


def _sform(header: dict[str, tuple], unit: float) -> np.ndarray | None:
    """`(3, 4)` in LPS, None where it is not set."""
    matrix = _LPS_FROM_RAS @ np.array(header["sform"], float).reshape(3, 4) * unit
    usable = np.isfinite(matrix).all() and np.linalg.norm(matrix[:, :3], axis=0).min() > 0
    return matrix if header["codes"][1] > 0 and usable else None


def _qform(header: dict[str, tuple], unit: float) -> np.ndarray | None:
    """`(3, 4)` in LPS with unit columns, None where it is not set."""
    b, c, d = header["quaternion"]
    shift = np.array(header["shift"], float) * unit
    if header["codes"][0] <= 0 or not (np.isfinite([b, c, d]).all() and np.isfinite(shift).all()):
        return None
    a = math.sqrt(max(1.0 - (b * b + c * c + d * d), 0.0))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    if header["pixdim"][0] < 0:
        rotation[:, 2] *= -1
    return _LPS_FROM_RAS @ np.column_stack([rotation / np.linalg.norm(rotation, axis=0), shift])


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
    """Where a NIfTI-1 file's voxels lie, as its `sform` alone: a `qform` cannot hold a sheared grid, nor does ITK write one."""
    content = bytearray(_content(path))
    order = _header(content)["order"][0]
    struct.pack_into(order + "2h", content, _LAYOUTS[348]["codes"][0], 0, 1)
    struct.pack_into(order + "12f", content, _LAYOUTS[348]["sform"][0], *(_LPS_FROM_RAS @ affine_lps[:3]).ravel())
    path.write_bytes(gzip.compress(content, mtime=0) if path.name.lower().endswith(".gz") else content)
