"""The file system, local or through `tf.io.gfile`; the only module that touches it.

    files.read(path), files.write_atomically(path, data), files.link_or_copy(source, target)

A path with a scheme (`gs://`, `ram://`) goes through `tf.io.gfile`, which needs TensorFlow;
any other is local and does not.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import glob as local_glob
import os
import posixpath
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Protocol, Union, cast

from estimator_ckpt.errors import CheckpointWriteError, DamagedCheckpointError
from estimator_ckpt.messages import logger
from estimator_ckpt.storage.staging import staging_name

if TYPE_CHECKING:
    from types import ModuleType

_log = logger(__name__)

Progress = Callable[[str, int, int], None]
"""Called while a file is copied, with its path, the bytes done and the bytes in all."""

Bytes = Union[bytes, bytearray, memoryview]
"""What is written to a file, or summed."""


class WritableFile(Protocol):
    """A file that is open for writing, and need not be able to seek."""

    def write(self, data: Bytes, /) -> int:
        """Writes all of it, and returns how many bytes that are."""

    def flush(self) -> None:
        """Hands what was written to the system."""


_CHUNK = 16 * 1024 * 1024
PIECE = 256 * 1024
"""Bytes of a tensor that are read at once: whole elements of any type."""
# What a file system answers that has no hard links, or none to there.
_NO_LINK = frozenset(
    (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)
)

# What a file system answers that can't flush a directory.
_NO_SYNC = frozenset((errno.EINVAL, errno.EBADF, errno.ENOTSUP))


def is_remote(path: str) -> bool:
    """Returns whether a path has a scheme, so that `tf.io.gfile` has to reach it."""
    return "://" in path


def _gfile() -> ModuleType:
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        raise OSError(
            errno.EPROTONOSUPPORT,
            "a path with a scheme (gs://, s3://, hdfs://) is reached through TensorFlow, which is "
            f"not installed ({error}); pip install tensorflow, or copy the files to a local disk",
        ) from error
    module: ModuleType = tf.io.gfile
    return module


def is_refusal(error: BaseException) -> bool:
    """Returns whether an error is a file system's answer: an OSError, or tf.io.gfile's own."""
    if isinstance(error, OSError):
        return True
    tf = sys.modules.get("tensorflow")  # if it isn't loaded, the error is not from there
    return tf is not None and isinstance(error, tf.errors.OpError)


def is_link(path: str) -> bool:
    """Returns whether a path is a symbolic link, wherever that leads."""
    return not is_remote(path) and os.path.islink(path)


def exists(path: str) -> bool:
    """Returns whether there is a file or directory."""
    return bool(_gfile().exists(path)) if is_remote(path) else os.path.exists(path)


def is_directory(path: str) -> bool:
    """Returns whether there is a directory."""
    return bool(_gfile().isdir(path)) if is_remote(path) else os.path.isdir(path)


def size(path: str) -> int:
    """Returns a file's size in bytes."""
    return int(_gfile().stat(path).length) if is_remote(path) else os.path.getsize(path)


def modified(path: str) -> float:
    """Returns when a file was last changed, in Unix seconds."""
    if is_remote(path):
        return float(_gfile().stat(path).mtime_nsec) / 1e9
    return os.path.getmtime(path)


def changed(path: str) -> float:
    """Returns when a file or its names were last changed, in Unix seconds of the file system."""
    return modified(path) if is_remote(path) else os.stat(path).st_ctime


def is_same(first: str, second: str) -> bool:
    """Returns whether two paths lead to the same file or directory, which need not exist.

    Symbolic and hard links are followed, and case is ignored where the file system does. Of remote
    paths, those are taken for the same that differ in slashes and dots alone.
    """
    first, second = _without_scheme(first), _without_scheme(second)
    if is_remote(first) or is_remote(second):
        return _plain(first) == _plain(second)
    try:
        return os.path.realpath(first) == os.path.realpath(second) or os.path.samefile(
            first, second
        )
    except (OSError, ValueError):  # there is no such file or name, so it is not another one's
        return False


def _without_scheme(path: str) -> str:
    """Returns the local path of a `file://` one, and any other as it is."""
    scheme, _, rest = path.partition("://")
    return rest[rest.find("/") :] if scheme == "file" and "/" in rest else path


def _plain(path: str) -> str:
    scheme, separator, rest = path.partition("://")
    if not separator:
        return os.path.realpath(path)
    return f"{scheme}://{posixpath.normpath(rest.strip('/'))}"


def is_equal(first: str, second: str) -> bool:
    """Returns whether two local files have the same bytes."""
    if os.path.samefile(first, second):
        return True
    if os.path.getsize(first) != os.path.getsize(second):
        return False
    with open(first, "rb") as one, open(second, "rb") as other:
        while chunk := one.read(_CHUNK):
            if other.read(len(chunk)) != chunk:
                return False
    return True


def glob(directory: str, pattern: str) -> list[str]:
    """Returns the sorted paths in a directory whose names match a pattern."""
    if is_remote(directory):
        names = _gfile().listdir(directory) if is_directory(directory) else []
        return sorted(
            os.path.join(directory, name) for name in names if fnmatch.fnmatchcase(name, pattern)
        )
    return sorted(local_glob.glob(os.path.join(local_glob.escape(directory), pattern)))


def names(directory: str) -> list[str]:
    """Returns the sorted names in a directory; none where there is none, or it can't be listed."""
    if is_remote(directory):
        found = _gfile().listdir(directory) if is_directory(directory) else []
        return sorted(name.rstrip("/") for name in found)
    try:
        return sorted(os.listdir(directory or "."))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []  # files can be put into one that can't be listed, and such are refused there


def read(path: str, offset: int = 0, length: int = -1) -> bytes:
    """Returns `length` bytes of a file from `offset`, or all that follow it."""
    with open_file(path) as file:
        file.seek(offset)
        return bytes(file.read(length))


def read_chunks(path: str, offset: int, length: int) -> Iterator[bytes]:
    """Yields `length` bytes of a file from `offset`, in pieces of `PIECE`.

    Each piece but the last is a whole number of elements of any type.

    Raises:
      DamagedCheckpointError: the file ends before.
    """
    if not length:
        return
    with open_file(path) as file:
        file.seek(offset)
        while length:
            wanted = min(length, PIECE)
            chunk = bytes(file.read(wanted))
            if len(chunk) < wanted:
                raise DamagedCheckpointError(
                    f"'{path}' ends {length - len(chunk)} bytes too early; "
                    "it was cut short: restore it from a copy"
                )
            length -= wanted
            yield chunk


def open_file(path: str) -> IO[bytes]:
    """Opens a file for reading; the caller closes it.

    Raises:
      OSError: it can't be read; or it is a pipe or a device, which may have no end.
    """
    if is_remote(path):
        return cast("IO[bytes]", _gfile().GFile(path, "rb"))
    kind = os.stat(path).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", path)
    return open(path, "rb")


@contextlib.contextmanager
def new_file(path: str) -> Iterator[WritableFile]:
    """Opens a new file for writing in pieces, and flushes it to the disk at the end.

    Raises:
      FileExistsError: there is one, or a symbolic link (local files only).
    """
    if is_remote(path):
        with _gfile().GFile(path, "wb") as file:
            file.write(b"")  # without it, there would be no file where nothing is written
            yield _AppendOnly(file)
        return
    with open(path, "xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def append(path: str, data: bytes, *, sync: bool = False) -> None:
    """Writes to the end of a local file that nobody reads yet.

    Args:
      path: of the file, which is there.
      data: what is added.
      sync: whether it is flushed to the disk.
    """
    with open(path, "r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())


class _AppendOnly:
    """A remote file as what it is: without `seek`, which tf.io.gfile has, but not for writing."""

    def __init__(self, file: WritableFile):
        self._file = file

    def write(self, data: Bytes, /) -> int:
        self._file.write(bytes(data))
        return len(data)

    def flush(self) -> None:
        self._file.flush()


def make_directory(path: str) -> None:
    """Makes a directory and those above it, where they don't exist."""
    if is_remote(path):
        _gfile().makedirs(path)
    elif path:
        os.makedirs(path, exist_ok=True)


def remove(path: str) -> None:
    """Removes a file, if it is there."""
    if is_remote(path):
        if exists(path):
            _gfile().remove(path)
        return
    try:
        os.remove(path)
    except FileNotFoundError:
        pass


def remove_tree(path: str) -> None:
    """Removes a directory with what is in it, if it is there."""
    if is_remote(path):
        if exists(path):
            _gfile().rmtree(path)
    elif os.path.isdir(path):
        shutil.rmtree(path)


def try_to_remove(path: str) -> bool:
    """Removes a file or directory; where that is refused, says so and returns False.

    Of a symbolic link just the link is removed.
    """
    try:
        if is_directory(path) and not is_link(path):
            remove_tree(path)
        else:
            remove(path)
    except Exception as error:
        if not is_refusal(error):
            raise
        _log.warning("'%s' is of no use any more, but can't be removed: %s", path, error)
        return False
    return True


@contextlib.contextmanager
def staging_directory(path: str) -> Iterator[str]:
    """Makes a directory beside `path`, for what will take its place; it is removed at the end.

    It is new, and nobody else's: other users can't put anything into it, or links in its place.
    """
    staging = staging_name(path)
    make_directory(os.path.dirname(path))
    if is_remote(path):
        make_directory(staging)
    else:
        os.mkdir(staging, 0o700)
    try:
        yield staging
    finally:
        try_to_remove(staging)


def write(path: str, data: bytes) -> None:
    """Writes a new file and flushes it to the disk; raises what `new_file` does."""
    with new_file(path) as file:
        file.write(data)


def write_atomically(path: str, data: bytes) -> None:
    """Replaces a file by rename, so that there is always the old or the new one, never less."""
    staged = stage(path, data)
    try:
        rename(staged, path)
    except BaseException:
        try_to_remove(staged)
        raise
    sync_directory(os.path.dirname(path))


def stage(path: str, data: bytes) -> str:
    """Writes what will be renamed to `path` beside it, all of it or nothing; returns its name."""
    staged = staging_name(path)
    try:
        write(staged, data)
    except FileExistsError:
        raise  # a stranger's
    except BaseException:
        try_to_remove(staged)
        raise
    return staged


def rename(source: str, target: str) -> None:
    """Renames a file over another, atomically where the file system can."""
    if is_remote(source):
        _gfile().rename(source, target, overwrite=True)
    else:
        os.replace(source, target)


def sync(path: str) -> None:
    """Flushes a local file that others have written to the disk."""
    if is_remote(path):
        return
    # Windows flushes only what is open for writing; nothing is written here.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: str) -> None:
    """Flushes a local directory's names to the disk, where the system can."""
    if is_remote(path) or not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def try_link(source: str, target: str) -> bool:
    """Makes a hard link to a file; returns False where the file system has none to there."""
    if is_remote(source) or is_remote(target):
        return False
    try:
        # A link to what a symbolic link names, as the copy would be of that too.
        os.link(os.path.realpath(source), target)
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    return True


def copy(source: str, target: str, progress: Progress | None = None) -> None:
    """Copies a file in chunks and flushes the copy to the disk."""
    if is_remote(source) or is_remote(target):
        _gfile().copy(source, target, overwrite=False)
        return
    total = os.path.getsize(source)
    done = 0
    with open(source, "rb") as reader, open(target, "xb") as writer:
        while chunk := reader.read(_CHUNK):
            writer.write(chunk)
            done += len(chunk)
            if progress:
                progress(target, done, total)
        writer.flush()
        os.fsync(writer.fileno())


def require_writable_directory(directory: str) -> None:
    """Makes sure, before any work, that files can be made in a directory.

    Raises:
      CheckpointWriteError: the directory can't be made, or no file can be made in it.
    """
    try:
        make_directory(directory)
        if not is_remote(directory):
            with tempfile.TemporaryFile(dir=directory or "."):
                pass
    except Exception as error:
        if not is_refusal(error):
            raise
        raise CheckpointWriteError(
            f"can't write to the directory '{directory or '.'}': "
            f"{getattr(error, 'strerror', None) or error}; "
            "give a target where files can be made"
        ) from error
