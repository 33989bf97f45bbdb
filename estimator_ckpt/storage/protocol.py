"""What a file system has to answer; a new one is one class, and its line in `files.SCHEMES`.

    class Memory(FileSystem):
        renames = False
        def status(self, path): ...

What it raises are OSErrors. Paths are given as they are, with their scheme.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import IO, NamedTuple, Protocol, Union

from estimator_ckpt.storage.reading import Opened, Reading

Progress = Callable[[str, int, int], None]
"""Called while a file is copied, with its path, the bytes done and the bytes in all."""

Bytes = Union[bytes, bytearray, memoryview]
"""What is written to a file, or summed."""

Range = tuple[int, int]
"""Where bytes begin in a file, and how many they are."""

CHUNK = 16 * 1024 * 1024
"""Bytes that are copied at once."""


class WritableFile(Protocol):
    """A file that is open for writing, and need not be able to seek."""

    def write(self, data: Bytes, /) -> int:
        """Writes all of it, and returns how many bytes that are."""

    def flush(self) -> None:
        """Hands what was written to the system."""


def pour(
    chunks: Iterable[tuple[bytes, int]],
    file: WritableFile,
    target: str,
    progress: Progress | None = None,
) -> None:
    """Writes pieces to a file, each of which comes with the size of the whole, and tells of it."""
    done = 0
    for chunk, total in chunks:
        file.write(chunk)
        done += len(chunk)
        if progress:
            progress(target, done, total)


class Status(NamedTuple):
    """What a file system tells of a file.

    Attributes:
      size: in bytes.
      modified: when its bytes were last changed, in Unix seconds of the file system's clock.
      changed: when those or its names were.
    """

    size: int
    modified: float
    changed: float


class FileSystem(abc.ABC):
    """Where bytes lie, in one way.

    Attributes:
      renames: whether a file gets its name in one step by a rename, so that it is staged beside it.
        Else what is written appears whole and under its final name, or not at all.
    """

    renames: bool = True

    @abc.abstractmethod
    def status(self, path: str) -> Status:
        """Returns what there is to know of a file; raises FileNotFoundError if there is none."""

    @abc.abstractmethod
    def exists(self, path: str) -> bool:
        """Returns whether there is a file (or a directory, where those are more than names)."""

    @abc.abstractmethod
    def is_directory(self, path: str) -> bool:
        """Returns whether there is a directory."""

    @abc.abstractmethod
    def names(self, directory: str) -> list[str]:
        """Returns the names in a directory, in any order; none if there is none."""

    @abc.abstractmethod
    def open_file(self, path: str) -> IO[bytes]:
        """Opens a file for reading."""

    @abc.abstractmethod
    def new_file(self, path: str) -> AbstractContextManager[WritableFile]:
        """Opens a new file for writing; once the block is left, its bytes are safe."""

    @abc.abstractmethod
    def remove(self, path: str) -> None:
        """Removes a file, if it is there."""

    @abc.abstractmethod
    def remove_tree(self, path: str) -> None:
        """Removes a directory with what is in it, if it is there."""

    @abc.abstractmethod
    def rename(self, source: str, target: str) -> None:
        """Renames a file over another, in one step where `renames` says so."""

    @abc.abstractmethod
    def copy(self, source: str, target: str, progress: Progress | None = None) -> None:
        """Copies a file within the file system, to a name that is free."""

    def read(self, path: str, offset: int = 0, length: int = -1) -> bytes:
        """Returns `length` bytes of a file from `offset`, or all that follow it."""
        with self.open_file(path) as file:
            file.seek(offset)
            return bytes(file.read(length))

    def read_ranges(self, path: str, ranges: Sequence[Range]) -> Iterator[bytes]:
        """Yields the bytes of each range, which are fewer where the file ends before."""
        with self.open_file(path) as file:
            at = 0
            for offset, length in ranges:
                if offset != at:
                    file.seek(offset)
                yield (data := bytes(file.read(length)))
                at = offset + len(data)

    def reading(self, path: str, wanted: Sequence[Range]) -> Reading:
        """Opens a file for ranges of it, in any order."""
        return Opened(lambda: self.open_file(path))

    def chunks(self, path: str) -> Iterator[tuple[bytes, int]]:
        """Yields a file in pieces, each with the size of the whole."""
        size = self.status(path).size
        with self.open_file(path) as file:
            while chunk := bytes(file.read(CHUNK)):
                yield chunk, size

    def write(self, path: str, data: bytes) -> None:
        """Writes what `new_file` does, at once."""
        with self.new_file(path) as file:
            file.write(data)

    def put_new(self, path: str, data: bytes) -> None:
        """Writes a file in one step, where none exists.

        Only for those that don't rename.

        Raises:
          FileExistsError: there is one; it is as it was.
        """
        raise NotImplementedError

    def remove_many(self, paths: Sequence[str]) -> None:
        """Removes files, those that are there."""
        for path in paths:
            self.remove(path)

    def try_link(self, source: str, target: str) -> bool:
        """Makes a hard link to a file; returns False where there are none to there."""
        return False

    def look_again(self, directory: str) -> None:
        """Forgets what it may remember of a directory."""

    def make_directory(self, path: str) -> None:
        """Makes a directory and those above it, where they are needed."""

    def sync(self, path: str) -> None:
        """Flushes a file that others have written, where that is needed."""

    def sync_directory(self, path: str) -> None:
        """Flushes a directory's names, where that is needed."""

    def require_writable(self, directory: str) -> None:
        """Makes a directory and tries to make a file in it, where that costs nothing."""
        self.make_directory(directory)
