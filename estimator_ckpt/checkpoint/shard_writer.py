r"""Writes a data file tensor by tensor, in pieces, so that none has to be in memory.

    with ShardWriter("out/staged", "out/model.ckpt-10") as shard:
        entry = shard.append(1, (2,), [b"\0\0\x80\x3f", b"\0\0\0\x40"])   # float32
        shard.close()

Source: `BundleWriter` in TensorFlow's `core/util/tensor_bundle/tensor_bundle.cc`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

from estimator_ckpt.bundle import checksums, dtypes
from estimator_ckpt.bundle.index import TensorEntry
from estimator_ckpt.bundle.strings import encode_strings
from estimator_ckpt.errors import CheckpointArgumentError, CheckpointError, CheckpointWriteError
from estimator_ckpt.storage import files


class ShardWriter:
    """A data file under construction; a context manager.

    Args:
      path: of the file, which does not exist yet.
      prefix: of the checkpoint that it is for, to name in errors.
      number: of this data file among the checkpoint's.
      progress: called with (prefix, bytes written, bytes in all) after each piece.
      total: the bytes that there will be in all, for `progress`.

    Attributes:
      size: the bytes written so far.

    Raises:
      CheckpointWriteError: no file can be made there. (When the block is entered.)
    """

    def __init__(
        self,
        path: str,
        prefix: str,
        number: int = 0,
        *,
        progress: files.Progress | None = None,
        total: int = 0,
    ):
        self.path = path
        self.size = 0
        self._prefix = prefix
        self._number = number
        self._progress = progress
        self._total = total
        self._stack = contextlib.ExitStack()
        self._file: files.WritableFile

    def __enter__(self) -> ShardWriter:
        with refusals(self._prefix):
            self._file = self._stack.enter_context(files.new_file(self.path))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._stack.close()
        except Exception as closing:  # it would hide what went wrong before
            if error is None or not files.is_refusal(closing):
                raise

    def close(self) -> None:
        """Flushes the file to the disk and closes it; does nothing the second time.

        Raises:
          CheckpointWriteError: the file system refused.
        """
        with refusals(self._prefix):
            self._stack.close()

    def append(
        self,
        dtype: int,
        shape: Sequence[int],
        chunks: Iterable[files.Bytes],
        crc32c: int | None = None,
    ) -> TensorEntry:
        """Writes the bytes of a tensor.

        Args:
          dtype: number of the element type.
          shape: size of each dimension.
          chunks: the tensor's bytes in C order, little-endian, in pieces of any size (`bytes` or
            contiguous buffers of bytes).
          crc32c: the masked checksum to store, for types whose checksum isn't that of their bytes
            (string, variant); None to compute it.

        Returns:
          Its entry.

        Raises:
          CheckpointArgumentError: there are more or fewer bytes than the shape needs.
          CheckpointWriteError: the file system refused.
        """
        offset, crc = self.size, 0
        for chunk in chunks:
            if crc32c is None:
                crc = checksums.extend(crc, chunk)
            with refusals(self._prefix):
                self._file.write(chunk)
            self.size += len(chunk)
            if self._progress:
                self._progress(self._prefix, self.size, max(self.size, self._total))
        size = self.size - offset
        element = dtypes.element_size(dtype)
        if element is not None and math.prod(shape) * element != size:
            raise CheckpointArgumentError(
                f"a {dtypes.dtype_name(dtype)} of shape {list(shape)} has "
                f"{math.prod(shape) * element} bytes, but {size} were given"
            )
        stored = checksums.mask(crc) if crc32c is None else crc32c
        return TensorEntry(dtype, tuple(shape), self._number, offset, size, stored)

    def append_joined(
        self, dtype: int, shapes: Sequence[Sequence[int]], data: memoryview
    ) -> list[TensorEntry]:
        """Writes tensors of one type whose bytes lie one behind the other; many small ones at once.

        Args:
          dtype: number of the element type, which is one of a fixed size.
          shapes: of the tensors.
          data: the bytes of all, in C order, little-endian.

        Returns:
          Their entries.

        Raises:
          CheckpointArgumentError: there are more or fewer bytes than the shapes need.
          CheckpointWriteError: the file system refused.
        """
        element = dtypes.element_size(dtype)
        entries, start = [], 0
        for shape in map(tuple, shapes):
            size = math.prod(shape) * (element or 0)
            crc = checksums.masked_crc32c(data[start : start + size])
            entries.append(TensorEntry(dtype, shape, self._number, self.size + start, size, crc))
            start += size
        if start != len(data):
            raise CheckpointArgumentError(
                f"{len(entries)} tensors of {dtypes.dtype_name(dtype)} have {start} bytes, but "
                f"{len(data)} were given"
            )
        with refusals(self._prefix):
            self._file.write(data)
        self.size += start
        if self._progress:
            self._progress(self._prefix, self.size, max(self.size, self._total))
        return entries

    def append_strings(self, shape: Sequence[int], values: Sequence[bytes]) -> TensorEntry:
        """Writes a string tensor.

        Args:
          shape: size of each dimension.
          values: the elements in C order.

        Returns:
          Its entry.

        Raises:
          CheckpointArgumentError: there are more or fewer elements than the shape needs.
          CheckpointWriteError: the file system refused.
        """
        if math.prod(shape) != len(values):
            raise CheckpointArgumentError(
                f"strings of shape {list(shape)} are {math.prod(shape)}, "
                f"but {len(values)} were given"
            )
        data, crc32c = encode_strings(values)
        return self.append(dtypes.STRING, shape, (data,), crc32c)


@contextlib.contextmanager
def refusals(prefix: str) -> Iterator[None]:
    """Makes what a file system answers a CheckpointWriteError.

    Args:
      prefix: of the checkpoint that is written.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, CheckpointError) or not files.is_refusal(error):
            raise
        raise CheckpointWriteError(
            f"can't write the checkpoint '{prefix}': {error}; nothing was left behind"
        ) from error
