"""Writes the tensors that a conversion makes of others, so that they are in a data file.

with written_anew(conversion.checkpoint, conversion, "out/ckpt-10", progress) as found:
    found.shard_paths[-1]          # a file that is gone afterwards, if nothing has moved it
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from estimator_ckpt.bundle import TensorEntry
from estimator_ckpt.checkpoint import Checkpoint
from estimator_ckpt.checkpoint.opening import reading
from estimator_ckpt.checkpoint.shard_writer import ShardWriter
from estimator_ckpt.conversion.planning import Conversion
from estimator_ckpt.storage import files


@contextlib.contextmanager
def written_anew(
    checkpoint: Checkpoint,
    conversion: Conversion,
    prefix: str,
    progress: files.Progress | None = None,
) -> Iterator[Checkpoint]:
    """Writes what has to be made to one new data file beside the target.

    Args:
      checkpoint: the source.
      conversion: what of it is needed.
      prefix: of the target.
      progress: called with (prefix, bytes written, bytes in all).

    Yields:
      The source with that file as its last one, where there is something to make; else as it is.

    Raises:
      CheckpointWriteError: the file system refused.
      DamagedCheckpointError: a checksum of the source is wrong.
    """
    index = checkpoint.index
    made = checkpoint.made.keys()
    needed = made and made & {index.entries[key] for key in conversion.sources.values()}
    if not needed:
        yield checkpoint
        return
    from estimator_ckpt.checkpoint import arrays  # numpy, which takes a while to load

    files.require_writable(prefix)
    path, number = files.staging_path(prefix + ".data"), index.num_shards
    new: dict[TensorEntry, TensorEntry] = {}
    total = sum(entry.size for entry in needed)
    try:
        writer = ShardWriter(path, prefix, number, progress=progress, total=total)
        with reading(checkpoint, needed), writer as shard:
            for entry in sorted(needed, key=lambda entry: entry.offset):
                chunks = arrays.byte_chunks(checkpoint, entry)
                new[entry] = shard.append(entry.dtype, entry.shape, chunks)
            shard.close()
        entries = {key: new.get(entry, entry) for key, entry in index.entries.items()}
        yield _WithFile(checkpoint.prefix, replace(index, entries=entries), path)
    finally:
        files.remove(path)


class _WithFile(Checkpoint):
    """A checkpoint that has one more data file, of another name."""

    def __init__(self, prefix: str, index: object, path: str):
        super().__init__(prefix, index)  # type: ignore[arg-type]
        object.__setattr__(self, "shard_paths", (*self.shard_paths, path))
