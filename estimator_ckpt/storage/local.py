"""The local disk: flushes, hard links, renames.

Local().try_link("in/ckpt.data-00000-of-00001", "out/ckpt.data-00000-of-00001")
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from typing import IO

from estimator_ckpt.storage import protocol
from estimator_ckpt.storage.protocol import FileSystem, Progress, Status, WritableFile

NO_LINKS = frozenset((errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS))
"""What a file system answers that has no hard links, or none to there."""
_NO_MORE_LINKS = errno.EMLINK

# What a file system answers that can't flush a directory.
_NO_SYNC = frozenset((errno.EINVAL, errno.EBADF, errno.ENOTSUP))


class Local(FileSystem):
    """Files of this machine, and what is mounted on it."""

    def status(self, path: str) -> Status:
        found = os.stat(path)
        return Status(found.st_size, found.st_mtime, found.st_ctime)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def is_directory(self, path: str) -> bool:
        return os.path.isdir(path)

    def names(self, directory: str) -> list[str]:
        try:
            return os.listdir(directory or ".")
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []  # files can be put into one that can't be listed, and are refused there

    def open_file(self, path: str) -> IO[bytes]:
        kind = os.stat(path).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", path)
        return open(path, "rb")

    @contextlib.contextmanager
    def new_file(self, path: str) -> Iterator[WritableFile]:
        with open(path, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def remove(self, path: str) -> None:
        try:
            os.remove(path)
        except FileNotFoundError:
            pass

    def remove_tree(self, path: str) -> None:
        if os.path.isdir(path):
            shutil.rmtree(path)

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def copy(self, source: str, target: str, progress: Progress | None = None) -> None:
        total = os.path.getsize(source)
        with open(source, "rb") as reader, self.new_file(target) as writer:
            chunks = iter(lambda: reader.read(protocol.CHUNK), b"")
            protocol.pour(((chunk, total) for chunk in chunks), writer, target, progress)

    def link(self, source: str, target: str) -> None:
        """Makes a hard link to what a symbolic link names, as the copy would be of that too."""
        os.link(os.path.realpath(source), target)

    def try_link(self, source: str, target: str) -> bool:
        try:
            self.link(source, target)
        except OSError as error:
            if error.errno in NO_LINKS or error.errno == _NO_MORE_LINKS:
                return False
            raise
        return True

    def make_directory(self, path: str) -> None:
        if path:
            os.makedirs(path, exist_ok=True)

    def sync(self, path: str) -> None:
        # Windows flushes only what is open for writing; nothing is written here.
        descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_directory(self, path: str) -> None:
        if not hasattr(os, "O_DIRECTORY"):
            return
        descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise
        finally:
            os.close(descriptor)

    def require_writable(self, directory: str) -> None:
        self.make_directory(directory)
        with tempfile.TemporaryFile(dir=directory or "."):
            pass
