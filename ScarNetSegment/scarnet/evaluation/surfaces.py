"""Distances between the surfaces of two masks, in mm.

SimpleITK finds the surfaces (voxels of a mask with a face to the outside) and the exact distances; they run between the centres
of voxels, as in MONAI and MedPy.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from scarnet.series import StackGeometry


@dataclass(frozen=True)
class SurfaceDistances:
    """mm; nan where either mask is empty.

    Attributes
        hausdorff_mm: the largest distance from a point of one surface to the other surface, whichever way it is larger.
        hd95_mm: the 95th percentile each way, the larger of the two.
        mean_mm: the mean over all points of both surfaces (average symmetric surface distance).
    """

    hausdorff_mm: float
    hd95_mm: float
    mean_mm: float


def surface_distances(a: np.ndarray, b: np.ndarray, geometry: StackGeometry) -> SurfaceDistances:
    """Of two bool arrays `[slice, row, column]`. Slices are taken to lie evenly, at their median distance.

    An LGE stack has few slices 8 to 10 mm apart: the first and last slice of a mask are surface everywhere.
    """
    if not a.any() or not b.any():
        return SurfaceDistances(*[float("nan")] * 3)
    row_mm, column_mm = geometry.pixel_spacing_mm
    slice_mm = float(np.nan_to_num(np.median(geometry.slice_weights_mm), nan=1.0))
    box = tuple(slice(max(n.min() - 1, 0), n.max() + 2) for n in np.nonzero(a | b))
    images = []
    for mask in (a, b):
        padded = np.pad(mask[box].astype(np.uint8), 1)  # a mask that reaches the edge of the images ends there
        images.append(sitk.GetImageFromArray(padded))
        images[-1].SetSpacing((float(column_mm), float(row_mm), slice_mm))
    contours = [sitk.LabelContour(image) for image in images]
    from_b, from_a = (_distances(contours[i], contours[1 - i]) for i in (0, 1))
    return SurfaceDistances(
        hausdorff_mm=float(max(from_a.max(), from_b.max())),
        hd95_mm=float(max(np.percentile(from_a, 95), np.percentile(from_b, 95))),
        mean_mm=float(np.concatenate([from_a, from_b]).mean()),
    )


def _distances(surface: sitk.Image, points: sitk.Image) -> np.ndarray:
    """mm from each voxel of `points` to the nearest of `surface`."""
    distance = sitk.SignedMaurerDistanceMap(
        surface, squaredDistance=False, useImageSpacing=True, insideIsPositive=False
    )
    return np.abs(sitk.GetArrayViewFromImage(distance))[sitk.GetArrayViewFromImage(points) > 0]
