"""A file that is read in many ranges: opened once, wherever it lies.

with files.reading("job/model.ckpt-10.data-00000-of-00001", [(4096, 1024)]) as file:
    file.read(4096, 1024)       # from several threads, too
"""

from __future__ import annotations

import abc
import os
import threading
from collections.abc import Callable
from typing import IO


class Reading(abc.ABC):
    """A file that is read from wherever it is wanted; to be closed, or used in a `with`."""

    @abc.abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """Returns bytes: fewer where the file ends before."""

    @abc.abstractmethod
    def close(self) -> None:
        """Gives back what reading takes."""

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Opened(Reading):
    """A file that can be opened, and is when it is first read."""

    def __init__(self, open_file: Callable[[], IO[bytes]]):
        """Takes what opens it."""
        self._open = open_file
        self._file: IO[bytes] | None = None
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        """Returns bytes: fewer where the file ends before."""
        if self._descriptor is None:
            with self._lock:
                if self._file is None:
                    self._file = self._open()
                    self._descriptor = _descriptor(self._file)
                if self._descriptor is None:
                    self._file.seek(offset)
                    return bytes(self._file.read(length))
        data = os.pread(self._descriptor, length, offset)
        while len(data) < length:  # a system reads 2 GiB at most at once
            more = os.pread(self._descriptor, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


def _descriptor(file: IO[bytes]) -> int | None:
    """Returns by what threads can read a file side by side, if the system has that."""
    if not hasattr(os, "pread"):
        return None
    try:
        return file.fileno()
    except (OSError, AttributeError):
        return None
