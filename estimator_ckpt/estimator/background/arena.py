"""Memory for one snapshot after the other, given back to the system in between, or kept.

    arena = Arena(keeps=False)
    arena.prepare(1 << 30)                   # in a thread, so that it is there when it is needed
    memory = arena.memory(1 << 30)           # flat, of bytes
    arena.give_back()                        # it must not be used any more

To get a gigabyte anew from the system takes longer than to copy into one that is there. What is
given back is there the next time if nobody has needed it meanwhile; where a system can't do that,
it is freed. What is kept is there in any case.
"""

from __future__ import annotations

import mmap
import sys
import threading
from typing import Any

import numpy as np

from estimator_ckpt.messages import logger

_log = logger(__name__)
_HUGE_PAGE = 2 << 20
_TOUCHED_AT_ONCE = 8 << 20
_FREE = getattr(mmap, "MADV_FREE", None)
_HUGE = getattr(mmap, "MADV_HUGEPAGE", None)
# Children made by fork find zeros. Without that a page that both have is copied by whoever writes
# to it first: by us, at the next save.
_WIPE_ON_FORK = 18 if sys.platform == "linux" else None


class Arena:
    """One piece of memory."""

    def __init__(self, *, keeps: bool = False):
        """Creates it.

        Args:
          keeps: whether `give_back` gives nothing back.
        """
        self._keeps = keeps
        self._memory: mmap.mmap | None = None
        self._touching: threading.Thread | None = None
        self._is_needed = threading.Event()

    def prepare(self, size: int) -> None:
        """Gets so many bytes from the system in a thread of its own, which `memory` ends.

        What goes wrong there is logged: `memory` tries again. To be called before `memory` is.
        """
        self._touching = threading.Thread(
            target=self._touch, args=(size,), name="memory of the checkpoint writer", daemon=True
        )
        self._touching.start()

    def memory(self, size: int) -> Any:
        """Returns a flat array of so many bytes; its contents are arbitrary."""
        if self._touching is not None:
            self._is_needed.set()
            self._touching.join()
            self._touching = None
        return np.frombuffer(self._at_least(size), np.uint8, size)

    def give_back(self) -> None:
        """Lets the system have the memory, unless it is kept."""
        if not self._keeps and (_FREE is None or not self._advise(_FREE)):
            self._memory = None

    def _at_least(self, size: int) -> mmap.mmap:
        if self._memory is None or len(self._memory) < size:
            self._memory = None  # before more is asked for
            self._memory = _map(size)
            self._advise(_HUGE)
            self._advise(_WIPE_ON_FORK)
        return self._memory

    def _touch(self, size: int) -> None:
        try:
            memory = np.frombuffer(self._at_least(size), np.uint8, size)
        except (OSError, MemoryError, ValueError) as error:
            _log.warning(
                "The %d bytes for copies of the variables can't be had (%s); the next save asks "
                "for them again",
                size,
                error,
            )
            return
        for start in range(0, size, _TOUCHED_AT_ONCE):
            if self._is_needed.is_set():  # whoever copies touches the rest
                return
            memory[start : start + _TOUCHED_AT_ONCE : mmap.PAGESIZE] = 0

    def _advise(self, option: int | None) -> bool:
        if self._memory is None or option is None:
            return False
        try:
            self._memory.madvise(option)
        except OSError:  # a kernel that does not know it
            return False
        return True


def _map(size: int) -> mmap.mmap:
    """Returns memory of a little more bytes, as a table may grow; what is not used costs none."""
    size = -(-max(size + size // 16, 1) // _HUGE_PAGE) * _HUGE_PAGE
    if not hasattr(mmap, "MAP_ANONYMOUS"):  # Windows, whose mmap takes other arguments
        return mmap.mmap(-1, size)
    # Shared memory, which mmap gives by default, can be neither lazily freed nor in huge pages.
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
