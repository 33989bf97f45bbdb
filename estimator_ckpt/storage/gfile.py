"""What else TensorFlow reaches: `hdfs://`, `ram://`, and stores where `obstore` is not installed.

GFile("hdfs").names("hdfs://namenode/job")
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from estimator_ckpt.messages import logger
from estimator_ckpt.storage.protocol import (
    Bytes,
    FileSystem,
    Progress,
    Range,
    Status,
    WritableFile,
)

if TYPE_CHECKING:
    from types import ModuleType

_log = logger(__name__)
_Method = TypeVar("_Method", bound=Callable[..., Any])
_CODES = {
    "NotFoundError": errno.ENOENT,
    "AlreadyExistsError": errno.EEXIST,
    "PermissionDeniedError": errno.EACCES,
    "UnauthenticatedError": errno.EACCES,
    "UnimplementedError": errno.EPROTONOSUPPORT,
    "DeadlineExceededError": errno.ETIMEDOUT,
    "ResourceExhaustedError": errno.ENOSPC,
}


def _tensorflow(scheme: str) -> ModuleType:
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        how = (
            'pip install "estimator-ckpt[stores]", or tensorflow'
            if scheme in ("s3", "gs", "az")
            else "pip install tensorflow"
        )
        raise OSError(
            errno.EPROTONOSUPPORT,
            f"a path with the scheme {scheme}:// needs a module that is not installed ({error}); "
            f"{how}; or copy the files to a local disk",
        ) from error
    module: ModuleType = tf
    return module


@contextlib.contextmanager
def _refusals(scheme: str, path: str) -> Iterator[None]:
    """Makes OSErrors of TensorFlow's own."""
    tf = _tensorflow(scheme)
    try:
        yield
    except tf.errors.OpError as error:
        code = _CODES.get(type(error).__name__, errno.EIO)
        raise OSError(code, str(error.message).strip() or os.strerror(code), path) from error


def _refusing(method: _Method) -> _Method:
    @functools.wraps(method)
    def refusing(self: GFile, path: str, *arguments: Any, **options: Any) -> Any:
        with _refusals(self._scheme, path):
            return method(self, path, *arguments, **options)

    return cast("_Method", refusing)


def replace_by_tensorflow(path: str, data: bytes) -> bool:
    """Replaces a file on Google's store, so that TensorFlow knows of it; in one step, as ever.

    For 5 seconds (`GCS_STAT_CACHE_MAX_AGE`), TensorFlow remembers how large a file there is, and
    would read so much of the new one. What it has written itself it forgets.

    Returns:
      Whether it could. Where it has no access, there is nothing that it remembers; where it may
      only read, it still does.
    """
    try:
        GFile("gs").write(path, data)
    except OSError as error:
        _log.info("TensorFlow itself can't replace '%s': %s", path, error)
        return False
    return True


def reached_by_tensorflow(scheme: str) -> bool:
    """Returns whether TensorFlow is loaded in this process, and reaches paths of a scheme."""
    tf = sys.modules.get("tensorflow")
    return tf is not None and scheme in tf.io.gfile.get_registered_schemes()


class GFile(FileSystem):
    """A file system of TensorFlow.

    Args:
      scheme: of its paths, to name in errors.
    """

    def __init__(self, scheme: str):
        self._scheme = scheme

    @property
    def _gfile(self) -> Any:
        return _tensorflow(self._scheme).io.gfile

    @_refusing
    def status(self, path: str) -> Status:
        found = self._gfile.stat(path)
        modified = float(found.mtime_nsec) / 1e9
        return Status(int(found.length), modified, modified)

    @_refusing
    def exists(self, path: str) -> bool:
        return bool(self._gfile.exists(path))

    @_refusing
    def is_directory(self, path: str) -> bool:
        return bool(self._gfile.isdir(path))

    @_refusing
    def names(self, directory: str) -> list[str]:
        if not self._gfile.isdir(directory):
            return []
        return [name.rstrip("/") for name in self._gfile.listdir(directory)]

    @_refusing
    def open_file(self, path: str) -> IO[bytes]:
        return cast("IO[bytes]", self._gfile.GFile(path, "rb"))

    @_refusing
    def read(self, path: str, offset: int = 0, length: int = -1) -> bytes:
        return super().read(path, offset, length)

    def read_ranges(self, path: str, ranges: Sequence[Range]) -> Iterator[bytes]:
        with _refusals(self._scheme, path):
            yield from super().read_ranges(path, ranges)

    @contextlib.contextmanager
    def new_file(self, path: str) -> Iterator[WritableFile]:
        with _refusals(self._scheme, path), self._gfile.GFile(path, "wb") as file:
            file.write(b"")  # without it, there would be no file where nothing is written
            yield _AppendOnly(file)

    @_refusing
    def remove(self, path: str) -> None:
        if self._gfile.exists(path):
            self._gfile.remove(path)

    @_refusing
    def remove_tree(self, path: str) -> None:
        if self._gfile.exists(path):
            self._gfile.rmtree(path)

    @_refusing
    def rename(self, source: str, target: str) -> None:
        self._gfile.rename(source, target, overwrite=True)

    @_refusing
    def copy(self, source: str, target: str, progress: Progress | None = None) -> None:
        self._gfile.copy(source, target, overwrite=False)

    @_refusing
    def make_directory(self, path: str) -> None:
        self._gfile.makedirs(path)


class _AppendOnly:
    """A file as what it is: without `seek`, which tf.io.gfile has, but not for writing."""

    def __init__(self, file: WritableFile):
        self._file = file

    def write(self, data: Bytes, /) -> int:
        self._file.write(bytes(data))
        return len(data)

    def flush(self) -> None:
        self._file.flush()
