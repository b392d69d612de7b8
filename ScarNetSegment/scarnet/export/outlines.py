"""Outlines of labelled pixels as curves, for drawing over an image at any size."""

from collections import defaultdict

import numpy as np

from scarnet.export.figure import Command

Loop = list[tuple[int, int]]


def boundary_loops(mask: np.ndarray) -> list[Loop]:
    """Corners `(row, column)` of the loops between pixels in and out of `mask` (bool `[row, column]`), one pixel edge apart.

    Outer loops run clockwise on the page and holes the other way, so that the signed area of all is the number of pixels.
    Pixels that touch at a corner alone lie in loops of their own.
    """
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    following: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    # Neighbour that must be out, start and end of the edge then passed with the inside on the right.
    for out, start, end in (
        (padded[:-2, 1:-1], (0, 0), (0, 1)),
        (padded[1:-1, 2:], (0, 1), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (1, 0)),
        (padded[1:-1, :-2], (1, 0), (0, 0)),
    ):
        for r, c in np.argwhere(inside & ~out).tolist():
            following[r + start[0], c + start[1]].append((r + end[0], c + end[1]))
    loops = []
    while following:
        start = next(iter(following))
        loop, corner, heading = [], start, (0, 0)
        while corner in following:
            ends = following[corner]
            # Where two loops meet, turn right: stay with the same pixel.
            right = (corner[0] + heading[1], corner[1] - heading[0])
            end = right if right in ends else ends[0]
            ends.remove(end)
            if not ends:
                del following[corner]
            loop.append(corner)
            heading, corner = (end[0] - corner[0], end[1] - corner[1]), end
            if corner == start:
                break
        loops.append(loop)
    return loops


def smooth_outline(mask: np.ndarray) -> tuple[Command, ...]:
    """Path (x = column, y = row, in pixels from the corner of the first) around `mask`, its corners rounded.

    Each corner becomes a curve between the middles of its two pixel edges: never further than a quarter of a pixel's
    diagonal from the pixels themselves, and stairs become slopes that keep their area.
    """
    commands: list[Command] = []
    for loop in boundary_loops(mask):
        curve: list[Command] = []
        for before, corner, after in zip([loop[-1], *loop[:-1]], loop, [*loop[1:], loop[0]], strict=True):
            if after[0] - corner[0] == corner[0] - before[0] and after[1] - corner[1] == corner[1] - before[1]:
                continue  # straight on
            first = ((before[1] + corner[1]) / 2, (before[0] + corner[0]) / 2)
            last = ((corner[1] + after[1]) / 2, (corner[0] + after[0]) / 2)
            if not curve:
                curve.append(("M", *first))
            elif curve[-1][-2:] != first:
                curve.append(("L", *first))
            curve.append(("Q", corner[1], corner[0], *last))
        commands += [*curve, ("Z",)]
    return tuple(commands)
