"""Object stores, through `obstore`: ranges, server-side copies, conditional and multipart puts.

    store = ObjectStore("s3")
    store.put_new("s3://bucket/job/model.ckpt-10.index", data)     # FileExistsError if there is one
    store.copy("s3://bucket/job/a", "s3://bucket/job/b")           # no byte comes here

A directory is no more than the beginning of names. An object appears whole, or not at all; none can
be renamed. What is asked is remembered within `looking_once`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import posixpath
import queue
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Literal, cast

from estimator_ckpt.messages import logger
from estimator_ckpt.storage import by_boto3, connecting, ranges
from estimator_ckpt.storage.gfile import replace_by_tensorflow
from estimator_ckpt.storage.looking import Known, Listing, known
from estimator_ckpt.storage.protocol import (
    Bytes,
    FileSystem,
    Progress,
    Range,
    Status,
    WritableFile,
    pour,
)
from estimator_ckpt.storage.reading import Reading
from estimator_ckpt.storage.refusing import (
    is_beyond,
    is_of_odd_key,
    is_too_large_to_copy,
    refusals,
)
from estimator_ckpt.storage.requesting import Requested

_log = logger(__name__)

PART = 16 * 1024 * 1024
"""Bytes of a part of a multipart upload; smaller files are put in one request."""
_PARTS_IN_FLIGHT = 4
_AHEAD = 64 * 1024  # what is asked for at least where a file is read in small pieces


class ObjectStore(FileSystem):
    """The buckets of one kind of store.

    Args:
      scheme: "s3", "gs" or "az".
    """

    renames = False

    def __init__(self, scheme: str):
        self._scheme = scheme

    def status(self, path: str) -> Status:
        path = self._plain(path)
        seen = known()
        if seen and (found := _remembered(seen, path)) is not None:
            return found
        if seen and _is_absent(seen, path):
            raise _absent(path)
        store, key = self._at(path)
        import obstore

        try:
            with refusals(path):
                status = _status(obstore.head(store, key))
        except FileNotFoundError:
            if seen:
                seen.status[path] = None
            raise
        if seen:
            seen.status[path] = status
        return status

    def exists(self, path: str) -> bool:
        try:
            self.status(path)
        except FileNotFoundError:
            return False
        return True

    def is_directory(self, path: str) -> bool:
        path = self._plain(path)
        seen = known()
        folder, _, name = path.rpartition("/")
        if seen and path not in seen.listings and folder in seen.listings:
            return name in seen.listings[folder].directories
        if seen:
            listing = self._list(path)
            return bool(listing.files or listing.directories) or not self._at(path)[1]
        import obstore

        store, key = self._at(path)
        try:
            with refusals(path):
                page = next(iter(obstore.list(store, key or None, chunk_size=2)), None)
        except OSError as error:
            if is_of_odd_key(error):
                return True
            raise
        return bool(page) or not key

    def names(self, directory: str) -> list[str]:
        listing = self._list(self._plain(directory))
        return [*listing.files, *listing.directories]

    def look_again(self, directory: str) -> None:
        if seen := known():
            seen.listings.pop(self._plain(directory), None)

    def read(self, path: str, offset: int = 0, length: int = -1) -> bytes:
        path = self._plain(path)
        if length >= 0:
            return next(self.read_ranges(path, [(offset, length)]))
        seen = known()
        body = seen.bodies.get(path) if seen else None
        if body is None:
            body = self._get_all(path)
            if seen:
                seen.keep(path, body)
        return body[offset:] if offset else body

    def read_ranges(self, path: str, wanted: Sequence[Range]) -> Iterator[bytes]:
        path = self._plain(path)
        return ranges.fetch(wanted, lambda offset, length: self._get(path, offset, length))

    def reading(self, path: str, wanted: Sequence[Range]) -> Reading:
        path = self._plain(path)
        return Requested(lambda offset, length: self._get(path, offset, length), wanted)

    def chunks(self, path: str) -> Iterator[tuple[bytes, int]]:
        path = self._plain(path)
        import obstore

        store, key = self._at(path)
        seen = known()
        size = None if seen is None else (_remembered(seen, path) or _NO_STATUS).size
        first = b""
        if size is None:
            try:
                with refusals(path):
                    answer = obstore.get(store, key, options={"range": (0, ranges.REQUEST)})
                    size, first = answer.meta["size"], bytes(answer.bytes())
            except OSError as error:
                if not is_beyond(error):
                    raise
                return  # it is empty
            yield first, size
        cuts = ranges.Run(len(first), size).cuts
        for chunk in ranges.in_flight(lambda *cut: self._get(path, *cut), cuts):
            yield chunk, size

    def open_file(self, path: str) -> IO[bytes]:
        path = self._plain(path)
        return cast("IO[bytes]", _Reader(self, path))

    @contextlib.contextmanager
    def new_file(self, path: str) -> Iterator[WritableFile]:
        path = self._plain(path)
        upload = _Upload(self, path)
        try:
            yield upload
        except BaseException:
            upload.abort()
            raise
        upload.close()
        self._written(path)

    def write(self, path: str, data: bytes) -> None:
        path = self._plain(path)
        if not (self._may_be_remembered(path) and replace_by_tensorflow(path, data)):
            self.put(path, data)
        self._written(path)

    def put_new(self, path: str, data: bytes) -> None:
        path = self._plain(path)
        try:
            self.put(path, data, "create")
        except FileExistsError:
            # A put whose answer got lost was made again, and met itself.
            if self._get_all(path) != data:
                raise
        self._written(path)

    def put(
        self,
        path: str,
        data: Bytes | Iterable[Bytes],
        mode: Literal["create", "overwrite"] = "overwrite",
    ) -> None:
        """Puts an object: bytes in one request, pieces of them in parts."""
        import obstore

        store, key = self._at(path)
        with refusals(path):
            if isinstance(data, (bytes, bytearray, memoryview)):
                obstore.put(store, key, data, mode=mode, use_multipart=False)
            else:
                obstore.put(store, key, data, chunk_size=PART, max_concurrency=_PARTS_IN_FLIGHT)

    def remove(self, path: str) -> None:
        self.remove_many([path])

    def remove_many(self, paths: Sequence[str]) -> None:
        import obstore

        by_bucket: dict[str, list[str]] = {}
        for path in map(self._plain, paths):
            by_bucket.setdefault(_root(path), []).append(path)
        for root, each in by_bucket.items():
            store = self._at(root)[0]
            keys = [self._at(path)[1] for path in each]
            try:
                with refusals(each[0]):
                    obstore.delete(store, keys[0] if len(keys) == 1 else keys)
            except FileNotFoundError:
                # Some stores say that there was none, and maybe have left others.
                for path, key in zip(each, keys) if len(keys) > 1 else ():
                    with contextlib.suppress(FileNotFoundError), refusals(path):
                        obstore.delete(store, key)
            if seen := known():
                for path in each:
                    seen.removed(path)

    def remove_tree(self, path: str) -> None:
        import obstore

        path = self._plain(path)
        store, key = self._at(path)
        with refusals(path):
            pages = list(obstore.list(store, key or None))
        root = _root(path)
        self.remove_many([f"{root}/{each['path']}" for page in pages for each in page])
        if seen := known():
            seen.listings.pop(path, None)

    def rename(self, source: str, target: str) -> None:
        """Copies and removes: two steps, and what is at the target is replaced."""
        self.copy(source, target)
        self.remove(source)

    def copy(self, source: str, target: str, progress: Progress | None = None) -> None:
        source, target = self._plain(source), self._plain(target)
        import obstore

        store, old = self._at(source)
        new = self._at(target)[1]
        is_across = _root(source) != _root(target)
        if is_across and self._scheme != "s3":
            self._carry(source, target, progress)
            return
        if is_across:
            bucket = _root(source).partition("://")[2]
            store = connecting.connect(self._scheme, bucket, across=True)
            new = target.partition("://")[2]
        try:
            with refusals(source):
                obstore.copy(store, old, new)
        except OSError as error:
            if is_too_large_to_copy(error):
                self._copy_large(source, target, progress)
            elif is_across and not isinstance(error, FileNotFoundError):
                _log.info("'%s' goes through this machine: %s", source, error)
                self._carry(source, target, progress)
            else:
                raise
        self._written(target)
        if progress:
            size = self.status(source).size
            progress(target, size, size)

    def _copy_large(self, source: str, target: str, progress: Progress | None) -> None:
        """Copies more than S3 copies in one piece."""
        if by_boto3.is_available():
            by_boto3.copy_large(self._at(source)[0], source, target)
            return
        _log.warning(
            "'%s' is too large for one copy on the server's side, and goes through this machine; "
            "pip install boto3 to copy it there in parts",
            source,
        )
        self._carry(source, target, progress)

    def _carry(self, source: str, target: str, progress: Progress | None) -> None:
        """Copies through this machine."""
        with self.new_file(target) as file:
            pour(self.chunks(source), file, target, progress)

    def _get(self, path: str, offset: int, length: int) -> bytes:
        import obstore

        store, key = self._at(path)
        try:
            with refusals(path):
                return bytes(obstore.get_range(store, key, start=offset, length=length))
        except FileNotFoundError:
            self._gone(path)
            raise
        except OSError as error:
            if is_beyond(error):
                return b""
            raise

    def _get_all(self, path: str) -> bytes:
        import obstore

        store, key = self._at(path)
        try:
            with refusals(path):
                return bytes(obstore.get(store, key).bytes())
        except FileNotFoundError:
            self._gone(path)
            raise

    def _list(self, path: str) -> Listing:
        import obstore

        seen = known()
        if seen and path in seen.listings:
            return seen.listings[path]
        store, key = self._at(path)
        try:
            with refusals(path):
                answer = obstore.list_with_delimiter(store, key or None)
                objects: Sequence[Any] = answer["objects"]
                prefixes = answer["common_prefixes"]
        except OSError as error:
            if not (is_of_odd_key(error) and self._scheme == "s3" and by_boto3.is_available()):
                raise
            objects, prefixes, odd = by_boto3.list_folder(store, path)
            for each in odd:
                _log.warning("'%s/%s' is passed over: no path leads there", _root(path), each)
        listing = Listing(
            # An object of the directory's own name and a slash marks it for other tools.
            {
                posixpath.basename(each["path"]): _status(each)
                for each in objects
                if each["path"] != key
            },
            # A key may begin with a slash; nothing that has a name is below that.
            {posixpath.basename(each.rstrip("/")) for each in prefixes} - {""},
        )
        if seen:
            seen.listings[path] = listing
        return listing

    def _plain(self, path: str) -> str:
        scheme, _, rest = path.partition("://")
        bucket, _, key = rest.partition("/")
        if not bucket:
            raise OSError(errno.EINVAL, f"a path of a store is {scheme}://bucket/name", path)
        key = posixpath.normpath("/" + key).strip("/")
        return f"{scheme}://{bucket}/{key}".rstrip("/")

    def _at(self, path: str) -> tuple[Any, str]:
        """Returns the store and the key of a plain path."""
        bucket, _, key = path.partition("://")[2].partition("/")
        with refusals(path):
            return connecting.connect(self._scheme, bucket), key

    def _may_be_remembered(self, path: str) -> bool:
        """Returns whether TensorFlow, in this process, may remember the file that is there."""
        return self._scheme == "gs" and "tensorflow" in sys.modules and self.exists(path)

    def _written(self, path: str) -> None:
        if seen := known():
            seen.written(path)

    def _gone(self, path: str) -> None:
        if seen := known():
            seen.removed(path)


_NO_STATUS: Any = type("_NoStatus", (), {"size": None})


def _root(path: str) -> str:
    scheme, _, rest = path.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def _status(meta: Any) -> Status:
    # Whole seconds: a HEAD tells no less, a listing of some stores does, and both are compared.
    modified = float(int(meta["last_modified"].timestamp()))
    return Status(int(meta["size"]), modified, modified)


def _absent(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "No such file or directory", path)


def _remembered(seen: Known, path: str) -> Status | None:
    """Returns what is known of a file; None if that is nothing, or that there is none."""
    if (found := seen.status.get(path)) is not None:
        return found
    folder, _, name = path.rpartition("/")
    listing = seen.listings.get(folder)
    return listing.files.get(name) if listing else None


def _is_absent(seen: Known, path: str) -> bool:
    if path in seen.status:
        return seen.status[path] is None
    folder, _, name = path.rpartition("/")
    listing = seen.listings.get(folder)
    return listing is not None and name not in listing.files


class _Reader(io.RawIOBase):
    """A file that is read where it is read: no request before, and none for its size only.

    Small pieces come from one that is a little larger.
    """

    def __init__(self, store: ObjectStore, path: str):
        self.name = path
        self._store = store
        self._position = 0
        self._begins, self._held = 0, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset += self._store.status(self.name).size
        if offset < 0:
            raise ValueError(f"negative seek position {offset}")
        self._position = offset
        return offset

    def read(self, length: int | None = -1, /) -> bytes:
        if length is None or length < 0:
            data = b"".join(self._rest())
        else:
            data = self._of_held(length)
            if missing := length - len(data):
                at = self._position + len(data)
                if missing >= _AHEAD:
                    data += next(self._store.read_ranges(self.name, [(at, missing)]))
                else:
                    self._begins = at
                    self._held = next(self._store.read_ranges(self.name, [(at, _AHEAD)]))
                    data += self._held[:missing]
        self._position += len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _of_held(self, length: int) -> bytes:
        start = self._position - self._begins
        return self._held[start : start + length] if 0 <= start < len(self._held) else b""

    def _rest(self) -> Iterator[bytes]:
        if self._position == 0:
            yield self._store.read(self.name)
            return
        size = self._store.status(self.name).size
        yield from self._store.read_ranges(
            self.name, [(self._position, max(0, size - self._position))]
        )


class _Aborted(Exception):
    """Whoever writes has given up."""


class _Upload:
    """A new object: put whole where it is small, else in parts while it is written."""

    def __init__(self, store: ObjectStore, path: str):
        self._store = store
        self._path = path
        self._held = bytearray()
        self._queue: queue.Queue[bytes | _Aborted | None] = queue.Queue(maxsize=1)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def write(self, data: Bytes, /) -> int:
        self._held += data
        while len(self._held) > PART:
            self._send(bytes(self._held[:PART]))
            del self._held[:PART]
        return len(data)

    def flush(self) -> None:
        """Nothing is there before all of it is."""

    def close(self) -> None:
        if self._thread is None:
            self._store.put(self._path, bytes(self._held))
            return
        self._send(bytes(self._held))
        self._end(None)
        if self._error:
            raise self._error

    def abort(self) -> None:
        """Leaves nothing, neither an object nor parts of one."""
        if self._thread is not None:
            self._end(_Aborted())

    def _send(self, part: bytes) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._put, daemon=True)
            self._thread.start()
        self._hand_over(part)
        if self._error:
            raise self._error

    def _end(self, last: _Aborted | None) -> None:
        assert self._thread is not None
        self._hand_over(last)
        self._thread.join()

    def _hand_over(self, item: bytes | _Aborted | None) -> None:
        while self._thread is not None and self._thread.is_alive():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue  # unless the thread has ended meanwhile

    def _put(self) -> None:
        try:
            self._store.put(self._path, self._parts())
        except BaseException as error:
            self._error = error

    def _parts(self) -> Iterator[bytes]:
        while (part := self._queue.get()) is not None:
            if isinstance(part, _Aborted):
                raise part
            yield part
