"""Undo and redo of corrections: what every segment looked like, packed small.

trame-slicer's own undo keeps two whole copies of the segmentation for every stroke, which after a few hundred strokes is
more than all the rest; and what follows a stroke (scar that goes with erased muscle) is no step of its own to a reader.
"""

import zlib
from dataclasses import dataclass

import numpy as np

#: Steps that can be undone; a step of a whole stack is a few kB.
MAXIMUM_STEPS = 200

Masks = dict[str, np.ndarray]


@dataclass(frozen=True)
class _State:
    shape: tuple[int, ...]
    packed: dict[str, bytes]


def _pack(masks: Masks) -> _State:
    shape = next(iter(masks.values())).shape if masks else ()
    return _State(shape, {name: zlib.compress(np.packbits(mask).tobytes(), 1) for name, mask in masks.items()})


def _unpack(state: _State) -> Masks:
    size = int(np.prod(state.shape))
    return {
        name: np.unpackbits(np.frombuffer(zlib.decompress(packed), np.uint8), count=size)
        .reshape(state.shape)
        .astype(bool)
        for name, packed in state.packed.items()
    }


class History:
    """States of one segmentation, in the order in which they were seen. Masks are bool, all of one shape, by name."""

    def __init__(self):
        self.clear()

    def clear(self) -> None:
        self._states: list[_State] = []
        self._now = -1

    @property
    def now(self) -> _State | None:
        """How it is, to be compared; None while nothing was seen."""
        return self._states[self._now] if self._states else None

    @property
    def can_undo(self) -> bool:
        return self._now > 0

    @property
    def can_redo(self) -> bool:
        return self._now < len(self._states) - 1

    def see(self, masks: Masks) -> None:
        """Take in how the segmentation is; a step only where that differs from what was last seen, undone or redone."""
        state = _pack(masks)
        if self._states and state == self._states[self._now]:
            return
        self._states = [*self._states[: self._now + 1], state][-MAXIMUM_STEPS - 1 :]
        self._now = len(self._states) - 1

    def undo(self) -> Masks:
        """How it was before; only while `can_undo`."""
        self._now -= 1
        return _unpack(self._states[self._now])

    def redo(self) -> Masks:
        """How it was before `undo`; only while `can_redo`."""
        self._now += 1
        return _unpack(self._states[self._now])
