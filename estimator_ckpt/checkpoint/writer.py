r"""Writes a new checkpoint tensor by tensor, in pieces, so that none has to be in memory.

    with BundleWriter("out/model.ckpt-10") as writer:
        entry = writer.append(1, (2,), [b"\0\0\x80\x3f", b"\0\0\0\x40"])   # float32
        writer.put("dnn/bias", entry)
        writer.put("var_list/dnn.Sbias/.ATTRIBUTES/VARIABLE_VALUE", entry)      # the same bytes
        writer.commit()

The bytes go to a file under a temporary name beside the target (for a store, on the local disk),
and take their place when the checkpoint is committed. Whoever leaves the block without that leaves
nothing behind.

Source: `BundleWriter` in TensorFlow's `core/util/tensor_bundle/tensor_bundle.cc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType

from estimator_ckpt.bundle.index import BundleIndex, TensorEntry
from estimator_ckpt.checkpoint.publishing import Shard, publish, require_free
from estimator_ckpt.checkpoint.shard_writer import ShardWriter
from estimator_ckpt.checkpoint.siblings import Siblings
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.storage import files


class BundleWriter:
    """A checkpoint under construction, with one data file; a context manager.

    Args:
      prefix: of the checkpoint. Its directory is made as needed.
      overwrite: whether a checkpoint that has this prefix may be replaced.
      progress: called with (prefix, bytes written, bytes in all) after each piece.
      total: the bytes that there will be in all, for `progress`.
      siblings: what is in the directory; None to look.

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
        siblings: Siblings | None = None,
    ):
        self._siblings = siblings
        self._prefix = prefix
        self._overwrite = overwrite
        staged = files.staging_path(prefix + ".data")
        self._shard = ShardWriter(staged, prefix, progress=progress, total=total)
        self._entries: dict[str, TensorEntry] = {}

    def __enter__(self) -> BundleWriter:
        if not self._overwrite:
            require_free(self._prefix, self._siblings)
        files.require_writable(self._prefix)
        self._shard.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._shard.__exit__(kind, error, traceback)
        finally:
            files.remove(self._shard.path)

    def append(
        self, dtype: int, shape: Sequence[int], chunks: Iterable[bytes], crc32c: int | None = None
    ) -> TensorEntry:
        """Writes the bytes of a tensor as `ShardWriter.append` does; `put` gives it a key."""
        return self._shard.append(dtype, shape, chunks, crc32c)

    def append_strings(self, shape: Sequence[int], values: Sequence[bytes]) -> TensorEntry:
        """Writes a string tensor as `ShardWriter.append_strings` does; `put` gives it a key."""
        return self._shard.append_strings(shape, values)

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
        self._shard.close()
        shard = Shard(path=self._shard.path, move=True)
        index = BundleIndex(self._entries)
        cost = publish(
            self._prefix, index, [shard], overwrite=self._overwrite, siblings=self._siblings
        )
        return self._shard.size + cost.written
