"""What every stack must be before anything is computed from it; each refusal says what, where and what to do next."""

import hashlib

import numpy as np

from scarnet.errors import InputError
from scarnet.series.geometry import StackGeometry

#: Fewer slices cannot hold a ventricle, and a slice distance needs a neighbour.
MINIMUM_SLICES = 2
#: Positions of a stack that covers a ventricle.
FULL_STACK = 5
#: Slices nearer than this belong to a 3-D acquisition (whole-heart LGE, CT), not to a 2-D short-axis stack.
MINIMUM_SLICE_DISTANCE_MM = 3.0
#: In-plane field of view of a cardiac scan; what is smaller is cut out, what is larger is not millimetres.
PLAUSIBLE_EXTENT_MM = (80.0, 700.0)
#: What is put in place of a spacing that a file does not state: typical 2-D LGE.
TYPICAL_SPACING_MM = (1.4, 1.4, 10.0)


#: Said of a stack whose geometry does not `states_orientation`.
NO_ORIENTATION = (
    "The file states no oblique orientation, as short-axis stacks have: which wall is anterior is not certain."
)


def check_pixels(image: np.ndarray, name: str) -> None:
    """Raise InputError unless `[slice, row, column]` holds a picture."""
    if not np.isfinite(image).all():
        count = int((~np.isfinite(image)).sum())
        raise InputError(
            f"{name} holds {count} values that are not numbers (NaN or infinite); export the series again."
        )
    if image.min() == image.max():
        raise InputError(f"{name} is constant ({image.min():g} everywhere); choose the LGE series itself.")


def check_slices(count: int, name: str) -> None:
    if count < MINIMUM_SLICES:
        raise InputError(f"{name} has {count} slice; a short-axis stack of several slices is needed.")


def check_geometry(geometry: StackGeometry, name: str, *, can_be_given: bool = True) -> None:
    """Raise InputError for a grid on which no short-axis LGE stack lies. `can_be_given`: whether --spacing could help."""
    or_give = ", or give the true spacing with --spacing" if can_be_given else ""
    check_slices(geometry.shape[0], name)
    distances = np.diff(geometry.slice_positions_mm)
    if distances.min() < 1e-3:
        raise InputError(
            f"{name} has two slices at the same position; choose one stack (one phase, one inversion time)."
        )
    distance = float(np.median(distances))
    if distance < MINIMUM_SLICE_DISTANCE_MM:
        raise InputError(
            f"{name} has slices {distance:.2f} mm apart: a 3-D or CT volume, not a 2-D short-axis LGE stack; "
            f"choose the short-axis series{or_give}."
        )
    extent = np.array(geometry.shape[1:]) * geometry.pixel_spacing_mm
    if extent.max() < PLAUSIBLE_EXTENT_MM[0] or extent.max() > PLAUSIBLE_EXTENT_MM[1]:
        raise InputError(
            f"{name} is {extent[1]:.0f} x {extent[0]:.0f} mm wide, which is no cardiac field of view; "
            f"correct the header's spacing{or_give}."
        )


def few_slices_notes(count: int) -> list[str]:
    return [f"{count} slices are fewer than a left ventricle fills."] if count < FULL_STACK else []


def lost_picture_notes(image: np.ndarray) -> list[str]:
    flat = [k + 1 for k in range(len(image)) if image[k].min() == image[k].max()]
    return [f"Slice {', '.join(map(str, flat))} is constant: its picture is missing."] if flat else []


def content_sha256(image: np.ndarray, geometry: StackGeometry) -> str:
    """Identity of a stack whatever file it lies in: pixel values and geometry to a micrometre."""
    digest = hashlib.sha256(np.ascontiguousarray(image, "<f4").tobytes())
    for values in (geometry.shape, geometry.pixel_spacing_mm, geometry.column_direction, geometry.row_direction):
        digest.update(np.round(np.asarray(values, "<f8"), 3).tobytes() + b"|")
    digest.update((np.round(geometry.slice_origins_mm.astype("<f8"), 3) + 0.0).tobytes())
    return digest.hexdigest()
