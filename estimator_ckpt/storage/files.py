"""Files, wherever they lie; the only module that the rest asks of them.

    files.read(path), files.write_atomically(path, data), files.copy(source, target)

A path's scheme says which file system has it: none (or `file://`) is the local disk; `s3://`,
`gs://` and `az://` are object stores, through `obstore`; any other goes through `tf.io.gfile`, and
so do the stores where `obstore` is not installed. What they raise are OSErrors.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import functools
import os
import posixpath
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import IO, NamedTuple

from estimator_ckpt.errors import CheckpointWriteError, DamagedCheckpointError
from estimator_ckpt.messages import logger
from estimator_ckpt.storage import connecting
from estimator_ckpt.storage.gfile import GFile, reached_by_tensorflow
from estimator_ckpt.storage.local import Local
from estimator_ckpt.storage.looking import looking_once as looking_once
from estimator_ckpt.storage.protocol import CHUNK, FileSystem, Range, pour
from estimator_ckpt.storage.protocol import Bytes as Bytes
from estimator_ckpt.storage.protocol import Progress as Progress
from estimator_ckpt.storage.protocol import WritableFile as WritableFile
from estimator_ckpt.storage.reading import Reading
from estimator_ckpt.storage.scratch import scratch_path
from estimator_ckpt.storage.staging import staging_name

_log = logger(__name__)

PIECE = 256 * 1024
"""Bytes of a tensor that are read at once: whole elements of any type."""

_LOCAL = Local()


def _store(scheme: str) -> FileSystem:
    if not connecting.is_available():
        if connecting.is_available("tensorflow"):  # else an error says so
            _log.warning(
                "%s:// is reached through TensorFlow, with several times the requests, as obstore "
                'is not installed: pip install "estimator-ckpt[stores]"',
                scheme,
            )
        return GFile(scheme)
    from estimator_ckpt.storage.object_store import ObjectStore

    return ObjectStore(scheme)


SCHEMES: dict[str, Callable[[str], FileSystem]] = {
    "file": lambda scheme: _LOCAL,
    **dict.fromkeys(connecting.SCHEMES, _store),
}
"""Which file system has the paths of a scheme; those of any other are TensorFlow's."""


@functools.cache
def _of_scheme(scheme: str) -> FileSystem:
    return SCHEMES.get(scheme, GFile)(scheme)


@functools.cache
def _as_tensorflow_writes() -> FileSystem:
    """Returns what reaches keys on Google's store that `obstore` can't name, and jobs may have."""
    _log.warning(
        "gs:// paths with a part that is empty, '.' or '..' are reached through TensorFlow, with "
        "several times the requests, as to it they are other places, which obstore can't name"
    )
    return GFile("gs")


def _reach(path: str) -> tuple[FileSystem, str]:
    """Returns the file system of a path, and the path as that one takes it.

    Raises:
      OSError: no file can have this name.
    """
    if not _is_possible(path):
        raise OSError(errno.EINVAL, "no file can have this name", path)
    scheme, separator, _ = path.partition("://")
    if not separator:
        return _LOCAL, path
    scheme = scheme.lower()
    system = _of_scheme(scheme)
    is_googles = scheme == "gs" and not system.renames  # if it renames, it is TensorFlow's anyway
    if is_googles and _has_odd_part(path) and reached_by_tensorflow(scheme):
        system = _as_tensorflow_writes()
    return system, without_scheme(path)


def _has_odd_part(path: str) -> bool:
    """Returns whether a store's path says more than one without needless slashes and dots."""
    parts = path.partition("://")[2].split("/")
    end = -1 if parts[-1] == "" else len(parts)  # a slash at the end says nothing
    return not {"", ".", ".."}.isdisjoint(parts[1:end])


def _is_possible(path: str) -> bool:
    """Returns whether a file can have this name: without a null character, and encodable."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def is_remote(path: str) -> bool:
    """Returns whether a path has a scheme."""
    return "://" in path


def is_local(path: str) -> bool:
    """Returns whether a path is of this machine's own file system, `file://` or not."""
    return not is_remote(without_scheme(path))


def renames(path: str) -> bool:
    """Returns whether a file gets its name by a rename, as it does anywhere but on a store."""
    return _reach(path)[0].renames


def is_refusal(error: BaseException) -> bool:
    """Returns whether an error is a file system's answer: an OSError, or tf.io.gfile's own."""
    if isinstance(error, OSError):
        return True
    tf = sys.modules.get("tensorflow")  # if it isn't loaded, the error is not from there
    return tf is not None and isinstance(error, tf.errors.OpError)


def is_link(path: str) -> bool:
    """Returns whether a path is a symbolic link, wherever that leads."""
    if not _is_possible(path):
        return False
    system, path = _reach(path)
    return system is _LOCAL and os.path.islink(path)


def exists(path: str) -> bool:
    """Returns whether there is a file or directory; on a store, a file."""
    if not _is_possible(path):
        return False
    system, path = _reach(path)
    return system.exists(path)


def is_directory(path: str) -> bool:
    """Returns whether there is a directory."""
    if not _is_possible(path):
        return False
    system, path = _reach(path)
    return system.is_directory(path)


def size(path: str) -> int:
    """Returns a file's size in bytes."""
    system, path = _reach(path)
    return system.status(path).size


def modified(path: str) -> float:
    """Returns when a file was last changed, in Unix seconds."""
    system, path = _reach(path)
    return system.status(path).modified


def changed(path: str) -> float:
    """Returns when a file or its names were last changed, in Unix seconds of the file system."""
    system, path = _reach(path)
    return system.status(path).changed


def is_same(first: str, second: str) -> bool:
    """Returns whether two paths lead to the same file or directory, which need not exist.

    Symbolic and hard links are followed, and case is ignored where the file system does. Of remote
    paths, those are taken for the same that differ in slashes and dots alone.
    """
    return not places(first).isdisjoint(places(second))


def places(path: str) -> frozenset[object]:
    """Returns what two paths have in common if, and only if, they are the same: see `is_same`."""
    path = without_scheme(path)
    if is_remote(path):
        return frozenset((plain(path),))
    try:
        real = os.path.realpath(path)
    except (OSError, ValueError):  # there is no such name, so it is not another one's
        return frozenset()
    try:
        found = os.stat(real)
    except (OSError, ValueError):
        return frozenset((real,))
    return frozenset((real, (found.st_dev, found.st_ino)))


def without_scheme(path: str) -> str:
    """Returns the local path of a `file://` one, and any other as it is."""
    scheme, _, rest = path.partition("://")
    return rest[rest.find("/") :] if scheme.lower() == "file" and "/" in rest else path


def plain(path: str) -> str:
    """Returns a remote path without needless slashes and dots."""
    scheme, _, rest = path.partition("://")
    return f"{scheme}://{posixpath.normpath(rest.strip('/'))}"


def is_equal(first: str, second: str) -> bool:
    """Returns whether two local files have the same bytes."""
    if os.path.samefile(first, second):
        return True
    if os.path.getsize(first) != os.path.getsize(second):
        return False
    with open(first, "rb") as one, open(second, "rb") as other:
        while chunk := one.read(CHUNK):
            if other.read(len(chunk)) != chunk:
                return False
    return True


def glob(directory: str, pattern: str) -> list[str]:
    """Returns the sorted paths in a directory whose names match a pattern.

    As in a shell, a name that begins with a dot matches only a pattern that does.
    """
    return [
        os.path.join(directory, name)
        for name in names(directory)
        if fnmatch.fnmatchcase(name, pattern)
        and (not name.startswith(".") or pattern.startswith("."))
    ]


def names(directory: str) -> list[str]:
    """Returns the sorted names in a directory; none where there is none, or it can't be listed."""
    if not _is_possible(directory):
        return []
    system, directory = _reach(directory)
    return sorted(system.names(directory))


def look_again(directory: str) -> None:
    """Forgets, within `looking_once`, what is in a directory, as others may have changed it."""
    system, directory = _reach(directory)
    system.look_again(directory)


def read(path: str, offset: int = 0, length: int = -1) -> bytes:
    """Returns `length` bytes of a file from `offset`, or all that follow it."""
    system, path = _reach(path)
    return system.read(path, offset, length)


def read_input(path: str) -> bytes:
    """Returns all that a user hands over as lines: of a file, or of a local pipe.

    Args:
      path: of the file; or of a pipe, as a shell's `<(...)` makes one, which is read once, until
        whoever writes it closes it.

    Raises:
      OSError: it can't be read; or it is a device.
    """
    local = without_scheme(path)
    if is_remote(local) or not stat.S_ISFIFO(os.stat(local).st_mode):
        return read(path)
    with open(local, "rb") as pipe:
        return pipe.read()


def read_ranges(path: str, ranges: Sequence[Range]) -> Iterator[bytes]:
    """Yields ranges of a file, which is opened once.

    On a store, neighbours come together, in requests of 8 MiB at most, several at a time.

    Args:
      path: of the file.
      ranges: (offset, length) of each, in the order in which they are wanted.

    Yields:
      The bytes of each range: fewer where the file ends before.

    Raises:
      OSError: the file can't be read.
    """
    system, path = _reach(path)
    return system.read_ranges(path, ranges)


def reading(path: str, ranges: Sequence[Range]) -> Reading:
    """Opens a file for ranges of it, which are read in any order, and by several threads.

    On a store it comes in requests of 8 MiB at most, some ahead, in the order of the bytes.

    Args:
      path: of the file, which is opened when it is first read.
      ranges: (offset, length) of what will be read, each as often as it will be; on a store,
        anything else has a request of its own.
    """
    system, path = _reach(path)
    return system.reading(path, ranges)


def read_chunks(
    path: str, offset: int, length: int, opened: Reading | None = None
) -> Iterator[bytes]:
    """Yields `length` bytes of a file from `offset`, in pieces of `PIECE`.

    Each piece but the last is a whole number of elements of any type.

    Args:
      path: of the file.
      offset: where they begin.
      length: how many they are.
      opened: the file, where it is read otherwise, too; it stays open.

    Raises:
      DamagedCheckpointError: the file ends before.
    """
    if not length:
        return
    with contextlib.nullcontext(opened) if opened else reading(path, [(offset, length)]) as file:
        end = offset + length
        for start in range(offset, end, PIECE):
            wanted = min(PIECE, end - start)
            chunk = file.read(start, wanted)
            if len(chunk) < wanted:
                raise DamagedCheckpointError(
                    f"'{path}' ends {end - start - len(chunk)} bytes too early; "
                    "it was cut short: restore it from a copy"
                )
            yield chunk


def open_file(path: str) -> IO[bytes]:
    """Opens a file for reading; the caller closes it.

    On a store, what is read is asked for when it is read; who knows what he wants is better served
    by `read_ranges`.

    Raises:
      OSError: it can't be read; or it is a pipe or a device, which may have no end.
    """
    system, path = _reach(path)
    return system.open_file(path)


@contextlib.contextmanager
def new_file(path: str) -> Iterator[WritableFile]:
    """Opens a new file for writing in pieces, and flushes it to the disk at the end.

    On a store it appears when the block is left, if that is without an error.

    Raises:
      FileExistsError: there is one, or a symbolic link (local files only).
    """
    system, path = _reach(path)
    with system.new_file(path) as file:
        yield file


@contextlib.contextmanager
def whole_file(path: str) -> Iterator[WritableFile]:
    """Opens a file for writing in pieces, which takes its place when the block is left.

    What is there is replaced then; if the block is left by an error, it stays as it is.
    """
    if not renames(path):
        with new_file(path) as file:
            yield file
        return
    staged = staging_name(path)
    try:
        with new_file(staged) as file:
            yield file
        rename(staged, path)
        sync_directory(os.path.dirname(path))
    except BaseException:
        remove(staged)
        raise


@contextlib.contextmanager
def new_local_file(path: str, *, sync: bool) -> Iterator[WritableFile]:
    """Opens a new local file for writing in pieces.

    Args:
      path: of the file.
      sync: whether it is flushed to the disk at the end.

    Raises:
      FileExistsError: there is one, or a symbolic link.
    """
    with open(without_scheme(path), "xb") as file:
        yield file
        if sync:
            file.flush()
            os.fsync(file.fileno())


def append(path: str, data: bytes, *, sync: bool = False) -> None:
    """Writes to the end of a local file that nobody reads yet.

    Args:
      path: of the file, which is there.
      data: what is added.
      sync: whether it is flushed to the disk.
    """
    with open(without_scheme(path), "r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def make_directory(path: str) -> None:
    """Makes a directory and those above it, where they don't exist."""
    system, path = _reach(path)
    system.make_directory(path)


def remove(path: str) -> None:
    """Removes a file, if it is there."""
    system, path = _reach(path)
    system.remove(path)


def remove_many(paths: Sequence[str]) -> None:
    """Removes files of one directory, those that are there; on a store, many in one request."""
    if paths and not renames(paths[0]):
        system, _ = _reach(paths[0])
        system.remove_many(paths)
        return
    for path in paths:
        remove(path)


def remove_tree(path: str) -> None:
    """Removes a directory with what is in it, if it is there."""
    system, path = _reach(path)
    system.remove_tree(path)


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


def try_to_remove_many(paths: Sequence[str]) -> None:
    """Removes files of one directory; where that is refused, says so."""
    if not paths or renames(paths[0]):
        for path in paths:
            try_to_remove(path)
        return
    try:
        remove_many(paths)
    except OSError as error:
        _log.warning("%s are of no use any more, but can't be removed: %s", paths, error)


def staging_path(path: str) -> str:
    """Returns a fresh name for a file that will be moved to `path`.

    It is beside it; for a store, on the local disk.
    """
    return staging_name(path) if renames(path) else scratch_path(path)


@contextlib.contextmanager
def staging_directory(path: str) -> Iterator[str]:
    """Makes a directory for what will be moved to `path`; it is removed at the end.

    It is beside it; for a store, on the local disk. It is new, and nobody else's: other users can't
    put anything into it, or links in its place.
    """
    staging = staging_path(path)
    make_directory(os.path.dirname(staging))
    system, place = _reach(staging)
    if system is _LOCAL:
        os.mkdir(place, 0o700)
    else:
        system.make_directory(place)
    try:
        yield staging
    finally:
        try_to_remove(staging)


def write(path: str, data: bytes) -> None:
    """Writes a new file and flushes it to the disk; raises what `new_file` does."""
    system, path = _reach(path)
    system.write(path, data)


def write_atomically(path: str, data: bytes) -> None:
    """Replaces a file in one step, so that there is always the old or the new one, never less."""
    if not renames(path):
        write(path, data)
        return
    staged = stage(path, data)
    try:
        rename(staged, path)
    except BaseException:
        try_to_remove(staged)
        raise
    sync_directory(os.path.dirname(path))


def stage(path: str, data: bytes) -> str:
    """Writes what will be at `path` beside it, all of it or nothing; returns its name."""
    staged = staging_name(path)
    try:
        with new_file(staged) as file:
            file.write(data)
    except FileExistsError:
        raise  # a stranger's
    except BaseException:
        try_to_remove(staged)
        raise
    return staged


def commit(staged: str, path: str, data: bytes, *, replace: bool) -> None:
    """Puts what `stage` has written in its place, in one step.

    Args:
      staged: its name, which is gone afterwards.
      path: its place.
      data: what was staged.
      replace: whether what is there is replaced. Where files are renamed, it is in any case.

    Raises:
      FileExistsError: there is a file (on a store only).
    """
    system, place = _reach(path)
    if system.renames:
        rename(staged, path)
        return
    if replace:
        write(path, data)
    else:
        system.put_new(place, data)
    try_to_remove(staged)


def rename(source: str, target: str) -> None:
    """Renames a file over another, in one step where the file system can.

    To another file system it is moved: copied, and removed then.
    """
    (old_system, old), (new_system, new) = _reach(source), _reach(target)
    if old_system is new_system:
        new_system.rename(old, new)
    else:
        copy(source, target)
        old_system.remove(old)


def can_rename(source: str, target: str) -> bool:
    """Returns whether a file can be renamed to another name, in one step and without a copy."""
    (old_system, _), (new_system, _) = _reach(source), _reach(target)
    return old_system is new_system and new_system.renames


def is_same_store(first: str, second: str) -> bool:
    """Returns whether two paths are of one bucket of a store, which copies by itself."""
    if renames(first) or renames(second):
        return False
    return plain(first).split("/")[:3] == plain(second).split("/")[:3]


def sync(path: str) -> None:
    """Flushes a local file that others have written to the disk."""
    system, path = _reach(path)
    system.sync(path)


def sync_directory(path: str) -> None:
    """Flushes a local directory's names to the disk, where the system can."""
    system, path = _reach(path)
    system.sync_directory(path)


def try_link(source: str, target: str) -> bool:
    """Makes a hard link to a file; returns False where the file system has none to there."""
    (old_system, old), (new_system, new) = _reach(source), _reach(target)
    return old_system is new_system and new_system.try_link(old, new)


def link(source: str, target: str) -> None:
    """Makes a hard link to a local file.

    Raises:
      OSError: the file system refused, or has none; its number says which.
    """
    _LOCAL.link(without_scheme(source), without_scheme(target))


class Identity(NamedTuple):
    """What tells a local file, and that nothing has been written to it.

    Attributes:
      device: the number of its file system.
      inode: its own number there.
      size: in bytes.
      modified: when its bytes were last changed, in nanoseconds.
    """

    device: int
    inode: int
    size: int
    modified: int


def identity(path: str) -> Identity:
    """Returns what tells a local file; raises FileNotFoundError if there is none."""
    found = os.stat(without_scheme(path))
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def inodes(directory: str) -> dict[str, int]:
    """Returns {name: inode} of what a local directory has; no file is asked."""
    with os.scandir(without_scheme(directory) or ".") as entries:
        return {entry.name: entry.inode() for entry in entries}


def has_other_names(path: str) -> bool:
    """Returns whether a local file has more than one name; False if there is none."""
    try:
        return os.stat(without_scheme(path)).st_nlink > 1
    except FileNotFoundError:
        return False


def copy(source: str, target: str, progress: Progress | None = None) -> None:
    """Copies a file and flushes the copy to the disk; within a store, the store does it."""
    (old_system, old), (new_system, new) = _reach(source), _reach(target)
    if old_system is new_system:
        new_system.copy(old, new, progress)
        return
    if new_system is not _LOCAL and new_system.exists(new):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    with new_system.new_file(new) as file:
        pour(old_system.chunks(old), file, target, progress)


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Yields where a file is on the local disk: a copy of a remote one, which goes afterwards.

    It is for what is read here and there, by readers that need a file.
    """
    system, plain = _reach(path)
    if system is _LOCAL:
        yield plain
        return
    local = scratch_path(path)
    try:
        copy(path, local)
        yield local
    finally:
        _LOCAL.remove(local)


def require_place(path: str) -> None:
    """Makes sure, and makes nothing, that a local file can be made, with the directories above it.

    Raises:
      CheckpointWriteError: no file can have this name; or its directory, or what that would be
        made in, is none, or takes no files.
    """
    directory = _directory_of(path)
    system, wanted = _reach(directory)
    if system is not _LOCAL:
        return
    found = wanted
    while found and not os.path.lexists(found):
        found = os.path.dirname(found)
    found = found or os.curdir
    if os.path.isdir(found) and os.access(found, os.W_OK | os.X_OK):
        return
    number = errno.EEXIST if found == wanted else errno.ENOTDIR  # as making it would say
    number = errno.EACCES if os.path.isdir(found) else number
    raise _unwritable(directory, os.strerror(number))


def require_writable(path: str) -> None:
    """Makes sure, before any work, that a file can be made, and makes the directories above it.

    Raises:
      CheckpointWriteError: no file can have this name; or its directory can't be made, or no file
        can be made in it.
    """
    directory = _directory_of(path)
    try:
        system, path = _reach(directory)
        system.require_writable(path)
    except Exception as error:
        if not is_refusal(error):
            raise
        raise _unwritable(directory, getattr(error, "strerror", None) or error) from error


def _directory_of(path: str) -> str:
    if not _is_possible(path):
        raise CheckpointWriteError(
            f"can't write '{path}': no file can have this name; give another target"
        )
    return os.path.dirname(path)


def _unwritable(directory: str, why: object) -> CheckpointWriteError:
    return CheckpointWriteError(
        f"can't write to the directory '{directory or '.'}': {why}; "
        "give a target where files can be made"
    )
