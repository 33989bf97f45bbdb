r"""Writes a new checkpoint tensor by tensor, in pieces, so that none has to be in memory.

    with BundleWriter("out/model.ckpt-10") as writer:
        entry = writer.append(1, (2,), [b"\0\0\x80\x3f", b"\0\0\0\x40"])   # float32
        writer.put("dnn/bias", entry)
        writer.put("var_list/dnn.Sbias/.ATTRIBUTES/VARIABLE_VALUE", entry)      # the same bytes
        writer.commit()

The bytes go to a file under a temporary name beside the target, and take their place when the
checkpoint is committed. Whoever leaves the block without that leaves nothing behind.

Source: `BundleWriter` in TensorFlow's `core/util/tensor_bundle/tensor_bundle.cc`.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from estimator_ckpt.bundle import checksums, dtypes, files
from estimator_ckpt.bundle.index import BundleIndex, TensorEntry
from estimator_ckpt.bundle.publish import Shard, publish, require_free
from estimator_ckpt.bundle.tensors import encode_strings
from estimator_ckpt.errors import CheckpointArgumentError, CheckpointError, CheckpointWriteError


class BundleWriter:
    """A checkpoint under construction, with one data file; a context manager.

    Args:
      prefix: of the checkpoint. Its directory is made as needed.
      overwrite: whether a checkpoint that has this prefix may be replaced.
      progress: called with (prefix, bytes written, bytes in all) after each piece.
      total: the bytes that there will be in all, for `progress`.

    Raises:
      CheckpointExistsError: files of the prefix exist, and `overwrite` is false.
      CheckpointWriteError: no file can be made there. (Both when the block is entered.)
    """

    def __init__(
        self,
        prefix: str,
        *,
        overwrite: bool = False,
        progress: files.Progress | None = None,
        total: int = 0,
    ):
        self._prefix = prefix
        self._overwrite = overwrite
        self._progress = progress
        self._total = total
        self._staged = files.staging_name(prefix + ".data")
        self._stack = contextlib.ExitStack()
        self._file: Any = None
        self._size = 0
        self._entries: dict[str, TensorEntry] = {}

    def __enter__(self) -> BundleWriter:
        if not self._overwrite:
            require_free(self._prefix)
        files.require_writable_directory(os.path.dirname(self._prefix))
        with self._refusals():
            self._file = self._stack.enter_context(files.new_file(self._staged))
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
        finally:
            files.remove(self._staged)

    def append(
        self, dtype: int, shape: Sequence[int], chunks: Iterable[bytes], crc32c: int | None = None
    ) -> TensorEntry:
        """Writes the bytes of a tensor; `put` gives it a key.

        Args:
          dtype: number of the element type.
          shape: size of each dimension.
          chunks: the tensor's bytes in C order, little-endian, in pieces of any size.
          crc32c: the masked checksum to store, for types whose checksum isn't that of their bytes
            (string, variant); None to compute it.

        Returns:
          Its entry.

        Raises:
          CheckpointArgumentError: there are more or fewer bytes than the shape needs.
          CheckpointWriteError: the file system refused.
        """
        offset, crc = self._size, 0
        for chunk in chunks:
            if crc32c is None:
                crc = checksums.extend(crc, chunk)
            with self._refusals():
                self._file.write(chunk)
            self._size += len(chunk)
            if self._progress:
                self._progress(self._prefix, self._size, max(self._size, self._total))
        size = self._size - offset
        element = dtypes.element_size(dtype)
        if element is not None and math.prod(shape) * element != size:
            raise CheckpointArgumentError(
                f"a {dtypes.dtype_name(dtype)} of shape {list(shape)} has "
                f"{math.prod(shape) * element} bytes, but {size} were given"
            )
        stored = checksums.mask(crc) if crc32c is None else crc32c
        return TensorEntry(dtype, tuple(shape), 0, offset, size, stored)

    def append_strings(self, shape: Sequence[int], values: Sequence[bytes]) -> TensorEntry:
        """Writes a string tensor; `put` gives it a key.

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

    def put(self, key: str, entry: TensorEntry) -> None:
        """Gives a tensor a key; it may have several, and an entry may have others as its parts.

        Args:
          key: a new one.
          entry: from `append`, or one whose parts are.

        Raises:
          CheckpointArgumentError: no tensor can have this key, or another has it.
        """
        if not key or key.startswith("\0"):
            raise CheckpointArgumentError(
                f"a tensor can't be called {key!r}: a checkpoint keeps that name for itself"
            )
        if key in self._entries:
            raise CheckpointArgumentError(f"two tensors would be called '{key}'")
        self._entries[key] = entry

    def commit(self) -> int:
        """Puts the checkpoint in its place; nothing can be written to it any more.

        Returns:
          The bytes that were written, the index's among them.

        Raises:
          CheckpointExistsError: files of the prefix exist, and `overwrite` is false.
          CheckpointWriteError: the file system refused; what existed is unchanged.
        """
        with self._refusals():
            self._stack.close()
        shard = Shard(path=self._staged, move=True)
        index = BundleIndex(self._entries)
        cost = publish(self._prefix, index, [shard], overwrite=self._overwrite)
        return self._size + cost.written

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if isinstance(error, CheckpointError) or not files.is_refusal(error):
                raise
            raise CheckpointWriteError(
                f"can't write the checkpoint '{self._prefix}': {error}; nothing was left behind"
            ) from error
