"""The doors to DICOM: a stack from files, and the files of a stack that came by another way."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom

from scarnet.errors import InputError
from scarnet.series.assemble import identity
from scarnet.series.header import START_BYTES, Unusable, read_headers, starts_as_dicom
from scarnet.series.lge import LgeSeries, Reconstruction
from scarnet.series.members import Member
from scarnet.series.quiet import quiet
from scarnet.series.reconstruction import from_tags
from scarnet.series.stacks import ORIENTATION_TOLERANCE, SAME_POSITION_MM
from scarnet.series.study import Study, choose, load, read_study, study_of


def is_dicom(path: Path) -> bool:
    """A DICOM file by how it begins, whatever its name."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file:
            return starts_as_dicom(file.read(START_BYTES))
    except OSError:
        return False


def read_dicom(path: Path, *, stack: int | None = None) -> LgeSeries:
    """The best short-axis LGE stack of a folder, DICOMDIR or archive, or stack number `stack` (from 1) of its list.

    Of one image file: the stack that it belongs to, among the files beside it. Raises InputError, without patient data in
    its text, when there is none or it cannot be used.
    """
    study = read_study(path)
    if path.is_file() and sum(len(found.slices) for found, _ in study.stacks) == 1:
        beside = sorted(file for file in path.parent.iterdir() if file.is_file() or not file.exists())  # lost ones too
        study = study_of([Member(file) for file in beside])
        if stack is None:
            stack = _number_with(study, path)
    return load(study, choose(study, stack), name=path.name)


def _number_with(study: Study, file: Path) -> int | None:
    """Number (from 1) of the stack that holds an image file."""
    for number, (stack, _) in enumerate(study.stacks, 1):
        if any(picture.member.path == file for picture in stack.slices):
            return number
    return None


def with_dicom_files(series: LgeSeries, files: list[Path]) -> LgeSeries:
    """`series`, which came by another way (a volume in Slicer), with the DICOM image of every slice.

    Images are matched by where they lie, not by their order: a slice's image has its grid, its plane and its position to
    `SAME_POSITION_MM`. Raises InputError unless every slice has one, as after a transform of the volume.
    """
    geometry = series.geometry
    axes = np.stack([geometry.column_direction, geometry.row_direction])
    images = []
    with quiet():
        for file in files:
            try:
                images += read_headers(Member(Path(file)))
            except Unusable:
                continue
    images = [
        image
        for image in images
        if (image.rows, image.columns) == geometry.shape[1:]
        and np.abs(image.orientation - axes).max() < ORIENTATION_TOLERANCE
    ]
    found = []
    for origin in geometry.slice_origins_mm:
        near = [image for image in images if np.linalg.norm(image.position - origin) < SAME_POSITION_MM]
        if not near:
            raise InputError(
                "The volume's DICOM images are not in the database, or not where the volume lies: load the series again "
                "from the DICOM module, without a transform."
            )
        found.append(max(near, key=lambda image: image.acquired))
    with quiet():
        dataset = pydicom.dcmread(found[0].member.path, stop_before_pixels=True, force=True)
    reconstruction = from_tags(found[0])
    return replace(
        series,
        reconstruction=series.reconstruction if reconstruction == Reconstruction.UNKNOWN else reconstruction,
        source=replace(series.source, **identity(tuple(found), dataset)),
    )
