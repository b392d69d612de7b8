"""What the NIfTI reader of ITK mends without a word, read from the file itself: zero spacings and NaN voxels.

Header layout: NIfTI-1 (348 bytes) and NIfTI-2 (540 bytes), https://nifti.nimh.nih.gov.
"""

import gzip
import struct
from pathlib import Path

import numpy as np

_FLOATS = {16: "f4", 64: "f8"}


def stored_spacing_and_nonfinite(path: Path) -> tuple[tuple[float, float, float], int] | None:
    """Spacings (columns, rows, slices) as stored, and how many floating-point voxels are NaN or infinite.

    None when the file is no single-file NIfTI; what ITK then says of it stands. Raises OSError or EOFError if damaged.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with (gzip.open if packed else open)(path, "rb") as file:
        content = file.read()
    for order in "<>":
        size = struct.unpack_from(order + "i", content)[0] if len(content) > 540 else 0
        if size == 348:
            spacing = struct.unpack_from(order + "3f", content, 80)
            datatype = struct.unpack_from(order + "h", content, 70)[0]
            offset = int(struct.unpack_from(order + "f", content, 108)[0])
        elif size == 540:
            spacing = struct.unpack_from(order + "3d", content, 112)
            datatype = struct.unpack_from(order + "h", content, 12)[0]
            offset = struct.unpack_from(order + "q", content, 168)[0]
        else:
            continue
        kind = _FLOATS.get(datatype)
        if kind is None or offset <= 0:
            return spacing, 0
        width = int(kind[1])
        count = (len(content) - offset) // width
        voxels = np.frombuffer(content, order + kind, count, offset)
        return spacing, int(np.count_nonzero(~np.isfinite(voxels)))
    return None
