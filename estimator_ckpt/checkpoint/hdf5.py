"""What is in an HDF5 file: arrays, where their bytes are in it, or in pieces where they are packed.

    with open_hdf5("m.weights.h5") as file:
        for array in arrays_in(file):
            print(array.path, array.dtype, array.shape, array.place)

Only what the file itself holds is read: links to other files and arrays that are kept in other ones
are refused. What a file says of a shape is compared with its size before anything is read for it.
h5py, which reads the format, is loaded here and nowhere else.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import posixpath
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import IO, Any, NamedTuple

import numpy as np

from estimator_ckpt.bundle import dtypes
from estimator_ckpt.checkpoint.arrays import Array, dtype_number
from estimator_ckpt.errors import CheckpointArgumentError, DamagedCheckpointError
from estimator_ckpt.storage import files

_MOST_PACKED = 1032  # bytes that one byte can stand for, as deflate packs
_LARGEST_CHUNK = 1024 * 1024 * 1024  # bytes that are unpacked at once
_SLAB = 4 * files.PIECE
_MOST_GROUPS_DEEP = 100
_TYPE = "dtype"  # the attribute in which Keras names a type that HDF5 lacks
_OF_KERAS = {"bfloat16": 2}  # bytes of an element
_NUMBERS = {name: number for number, name in dtypes.DTYPE_NAMES.items()}
_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises for a file that is damaged."""


class StoredArray(NamedTuple):
    """An array in a file.

    Attributes:
      path: of it among the groups, such as `layers/dense/vars/0`.
      dtype: number of its element type in a checkpoint; None for what a checkpoint has no type for.
      shape: size of each dimension.
      place: where its bytes begin in the file, if they are there as in a checkpoint; else None.
      dataset: h5py's.
    """

    path: str
    dtype: int | None
    shape: tuple[int, ...]
    place: int | None
    dataset: Any

    @property
    def size(self) -> int:
        """How many bytes its elements take."""
        return math.prod(self.shape) * (dtypes.element_size(self.dtype or 0) or 0)

    def chunks(self) -> Iterator[bytes]:
        """Yields its elements as a checkpoint stores them, in C order, unpacked piece by piece."""
        with errors(self.path):
            for slab in _slabs(self.dataset, (), self.shape):
                yield np.ascontiguousarray(slab, slab.dtype.newbyteorder("<")).tobytes()


def h5py() -> ModuleType:
    """Returns the package.

    Raises:
      CheckpointArgumentError: it is not installed.
    """
    try:
        import h5py as package
    except ImportError as error:
        raise CheckpointArgumentError(
            "Keras' files are HDF5, which the package h5py reads and writes, and it is not "
            'installed: pip install "h5py>=3.8" (or, in a clone, pip install -e ".[keras]")'
        ) from error
    return package  # type: ignore[no-any-return]


class Window(io.RawIOBase):
    """Part of a file as a file of its own, to be read."""

    def __init__(self, file: IO[bytes], start: int, size: int):
        """Takes `size` bytes of a file from `start`."""
        self._file, self._start, self.length, self._at = file, start, size, 0

    def readable(self) -> bool:
        """Says that it can be read."""
        return True

    def seekable(self) -> bool:
        """Says that it can be read from anywhere."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to an offset."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Returns where it is."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Reads into a buffer."""
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self.length - self._at))
        self._file.seek(self._start + self._at)
        data = self._file.read(wanted)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


@contextlib.contextmanager
def open_hdf5(path: str, start: int = 0, size: int | None = None) -> Iterator[Any]:
    """Opens a file, or a part of one, for reading.

    Args:
      path: of the file.
      start: where in it the HDF5 file begins.
      size: how many bytes that has; None for all that follow.

    Yields:
      h5py's object.

    Raises:
      DamagedCheckpointError: it is no HDF5 file.
    """
    package = h5py()
    with files.open_file(path) as held:
        window = Window(held, start, files.size(path) - start if size is None else size)
        with errors():
            file = package.File(window, "r")
        try:
            yield file
        finally:
            file.close()


@contextlib.contextmanager
def errors(path: str = "") -> Iterator[None]:
    """Turns what h5py raises into one error."""
    try:
        yield
    except (DamagedCheckpointError, CheckpointArgumentError):
        raise
    except _ERRORS as error:
        what = f"'{path}' in it can't be read" if path else "it is no whole HDF5 file"
        raise DamagedCheckpointError(f"{what}: {error}") from error


def arrays_in(group: Any, size: int) -> Iterator[StoredArray]:
    """Yields the arrays below a group, those of a group sorted as h5py has them.

    Args:
      group: a group, or a file.
      size: bytes that the file has.

    Raises:
      DamagedCheckpointError: it can't be read, or leads elsewhere.
    """
    with errors():
        yield from _below(group, "", size, frozenset())


def child(group: Any, name: str) -> Any:
    """Returns what a group has under a name, which may be a path; only what is in the file itself.

    Raises:
      DamagedCheckpointError: there is nothing, or a link to elsewhere.
    """
    found = group
    with errors(posixpath.join(group.name or "/", name)):
        for part in filter(None, name.split("/")):
            link = found.get(part, getlink=True)
            if not isinstance(link, h5py().HardLink):
                raise DamagedCheckpointError(
                    f"'{name}' in it is {'a link to elsewhere' if link is not None else 'missing'}"
                )
            found = found[part]
    return found


def stored_array(path: str, dataset: Any, size: int) -> StoredArray | None:
    """Returns an array that is in a file; None for one without elements or shape.

    Args:
      path: what it is called.
      dataset: h5py's.
      size: bytes that the file has.

    Raises:
      DamagedCheckpointError: its elements can't be in this file.
    """
    if dataset.shape is None:
        return None
    if dataset.external or dataset.is_virtual:
        raise DamagedCheckpointError(f"'{path}' in it is kept in other files, which are not read")
    shape, dtype = tuple(map(int, dataset.shape)), dataset.dtype
    number = _number(dataset)
    needed = math.prod(shape) * dtype.itemsize
    if dataset.chunks is not None:
        chunk = math.prod(dataset.chunks) * dtype.itemsize
        if needed > size * _MOST_PACKED or chunk > _LARGEST_CHUNK:
            raise DamagedCheckpointError(
                f"'{path}' in it can't have the shape {list(shape)} in chunks of "
                f"{list(dataset.chunks)}: the file has {size:,} bytes"
            )
        return StoredArray(path, number, shape, None, dataset)
    if needed > size:
        raise DamagedCheckpointError(
            f"'{path}' in it can't have the shape {list(shape)}: the file has {size:,} bytes"
        )
    place = dataset.id.get_offset()
    if place is not None and place + needed > size:
        raise DamagedCheckpointError(f"'{path}' in it ends behind the file's end")
    is_as_stored = dtype.itemsize == 1 or dtype.kind == "V" or dtype.newbyteorder("<") == dtype
    return StoredArray(path, number, shape, place if is_as_stored else None, dataset)


def attribute(group: Any, name: str) -> list[str]:
    """Returns the texts in an attribute, which may be in several: `name0`, `name1`, ...

    Keras splits those that are too large for one. None where there is no such attribute.
    """
    with errors(name):
        if name in group.attrs:
            parts = [group.attrs[name]]
        else:
            split = (f"{name}{number}" for number in itertools.count())
            there = itertools.takewhile(lambda each: each in group.attrs, split)
            parts = [group.attrs[each] for each in there]
        texts = [text for part in parts for text in np.asarray(part).reshape(-1).tolist()]
        return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]


def _below(group: Any, path: str, size: int, above: frozenset[Any]) -> Iterator[StoredArray]:
    package = h5py()
    address = package.h5o.get_info(group.id).addr
    if address in above or len(above) > _MOST_GROUPS_DEEP:
        raise DamagedCheckpointError(f"the group '{path}' in it is within itself, or too deep")
    for name in group:
        inner = posixpath.join(path, name)
        held = child(group, name)
        if isinstance(held, package.Group):
            yield from _below(held, inner, size, above | {address})
        elif isinstance(held, package.Dataset):
            found = stored_array(inner, held, size)
            if found is not None:
                yield found


def _number(dataset: Any) -> int | None:
    dtype = dataset.dtype
    if dtype.kind != "V":
        return None if dtype.hasobject else dtype_number(dtype)
    named = dataset.attrs.get(_TYPE)
    if isinstance(named, str) and _OF_KERAS.get(named) == dtype.itemsize:
        return _NUMBERS[named]
    return None


def _slabs(dataset: Any, at: tuple[Any, ...], shape: Sequence[int]) -> Iterator[Array]:
    """Yields a packed array in C order, some rows of it at a time."""
    row = math.prod(shape[1:]) * dataset.dtype.itemsize
    if not shape or row * shape[0] <= _SLAB:
        yield np.asarray(dataset[(*at, Ellipsis)])
        return
    if row > _SLAB:
        for index in range(shape[0]):
            yield from _slabs(dataset, (*at, index), shape[1:])
        return
    step = max(1, _SLAB // max(1, row))
    together = dataset.chunks[len(at)] if dataset.chunks else 1
    if step > together:
        step -= step % together
    for start in range(0, shape[0], step):
        yield np.asarray(dataset[(*at, slice(start, start + step))])
