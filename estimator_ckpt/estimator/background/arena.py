"""Memory for one snapshot after the other, given back to the system in between.

    arrays = arena.arrays([4096, 12])        # flat, of bytes
    arena.give_back()                        # they must not be used any more

To get a gigabyte anew from the system takes longer than to copy into one that is there. What is
given back is there the next time if nobody has needed it meanwhile; where a system can't do that,
it is freed.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np

_ALIGNMENT = 64
_HUGE_PAGE = 2 << 20
_FREE = getattr(mmap, "MADV_FREE", None)
_HUGE = getattr(mmap, "MADV_HUGEPAGE", None)


class Arena:
    """One piece of memory that holds many arrays."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None

    def arrays(self, sizes: Sequence[int]) -> list[Any]:
        """Returns flat arrays of so many bytes; their contents are arbitrary."""
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + -(-size // _ALIGNMENT) * _ALIGNMENT)
        if self._memory is None or len(self._memory) < starts[-1]:
            self._memory = None  # before more is asked for
            self._memory = _map(starts[-1])
            self._advise(_HUGE)
        return [
            np.frombuffer(self._memory, np.uint8, size, start) for size, start in zip(sizes, starts)
        ]

    def give_back(self) -> None:
        """Lets the system have the memory."""
        if _FREE is None or not self._advise(_FREE):
            self._memory = None

    def _advise(self, option: int | None) -> bool:
        if self._memory is None or option is None:
            return False
        try:
            self._memory.madvise(option)
        except OSError:  # a kernel that does not know it
            return False
        return True


def _map(size: int) -> mmap.mmap:
    """Returns memory of at least so many bytes, a little more, as a table may grow."""
    size = -(-max(size, 1) // _HUGE_PAGE) * _HUGE_PAGE
    if not hasattr(mmap, "MAP_ANONYMOUS"):  # Windows, whose mmap takes other arguments
        return mmap.mmap(-1, size)
    # Shared memory, which mmap gives by default, can be neither lazily freed nor in huge pages.
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
