"""As many at once as a device's memory holds, and fewer where that was too many. Knows neither torch nor GPUs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Of the memory that is free: what a first try may take, since allocators round up and others use the device too.
SHARE_OF_FREE = 0.7


@dataclass(frozen=True)
class DeviceMemory:
    """What a device says of its memory, in bytes.

    `free`: what can be had now. `peak`: the most that was in use since `reset_peak`. `release` gives unused memory back.
    `is_exhausted`: whether an exception says that there was too little.
    """

    free: Callable[[], int]
    used: Callable[[], int]
    peak: Callable[[], int]
    reset_peak: Callable[[], None]
    release: Callable[[], None]
    is_exhausted: Callable[[BaseException], bool]


class Batches:
    """`run` on arrays `[n, ...]` of any length, in pieces along the first axis; the result is that of one piece.

    The first item is run alone, and tells what one takes. Where a piece is too large all the same it is halved, down to one.
    """

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], memory: DeviceMemory):
        self._run, self._memory = run, memory
        self._bytes_each: dict[tuple[int, ...], float] = {}  # by the shape of an item

    def __call__(self, items: np.ndarray) -> np.ndarray:
        """Raises MemoryError where even one item is too much."""
        shape, results, start = items.shape[1:], [], 0
        while start < len(items):
            size = self._size(shape, len(items) - start)
            part = items[start : start + size]
            try:
                results.append(self._run(part) if shape in self._bytes_each else self._measured(part))
                start += size
                continue
            except Exception as error:
                if not self._memory.is_exhausted(error):
                    raise
            # Only now the exception is gone, and with it what its frames held.
            self._memory.release()
            if size == 1:
                raise MemoryError("The device has too little memory for this network.")
            self._bytes_each[shape] = SHARE_OF_FREE * self._memory.free() / (size // 2)  # it takes more than one showed
        return np.concatenate(results)

    def _size(self, shape: tuple[int, ...], wanted: int) -> int:
        """How many to try; one as long as nothing is known."""
        each = self._bytes_each.get(shape)
        if each is None:
            return 1
        fits = wanted if each <= 0 else int(SHARE_OF_FREE * self._memory.free() / each)
        return max(min(fits, wanted), 1)

    def _measured(self, one: np.ndarray) -> np.ndarray:
        self._memory.reset_peak()
        before = self._memory.used()
        result = self._run(one)
        self._bytes_each[one.shape[1:]] = max(self._memory.peak() - before, 0)
        return result
