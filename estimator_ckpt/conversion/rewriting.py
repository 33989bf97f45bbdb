"""Writes a checkpoint like another one, with other values or types in some of its tensors.

    rewrite(checkpoint, "out/ckpt")               # the same tensors, and no other bytes
    rewrite(checkpoint, "out/ckpt", changes)      # changes: what becomes of which tensor
    rewrite(checkpoint, "out/ckpt", changes, conversion=plan(account, edit=edit))

Format, layout and object graph stay as they are; keys of the same bytes still share them, and
partitioned variables keep their parts. Tensors are read and written in pieces.
"""

from __future__ import annotations

import math
import os
from collections.abc import Hashable, Iterable
from typing import Protocol

from estimator_ckpt.bundle import TensorEntry, dtypes
from estimator_ckpt.checkpoint import BundleWriter, Checkpoint
from estimator_ckpt.checkpoint.identity import other_prefix
from estimator_ckpt.checkpoint.opening import reading
from estimator_ckpt.checkpoint.siblings import Siblings
from estimator_ckpt.conversion.added import added_size, put_added
from estimator_ckpt.conversion.planning import Conversion
from estimator_ckpt.storage.files import Progress

Change = Hashable
"""What becomes of a tensor, in a tool's own terms; None if it stays as it is.

Keys that share bytes share the new ones if their changes are equal.
"""


class Changes(Protocol):
    """What a tool does to the tensors of a checkpoint."""

    def of(self, key: str, entry: TensorEntry) -> Change:
        """Returns the change to the tensor of a key; None to keep it."""

    def dtype(self, change: Change, entry: TensorEntry) -> int:
        """Returns the new element type of a tensor that changes."""

    def chunks(self, change: Change, entry: TensorEntry, part: int) -> Iterable[bytes]:
        """Returns the new bytes of a tensor that changes, or of one of its parts."""


class _NoChanges:
    """Leaves all tensors as they are."""

    def of(self, key: str, entry: TensorEntry) -> Change:
        return None

    def dtype(self, change: Change, entry: TensorEntry) -> int:
        return entry.dtype

    def chunks(self, change: Change, entry: TensorEntry, part: int) -> Iterable[bytes]:
        raise NotImplementedError  # nothing changes


def rewrite(
    checkpoint: Checkpoint,
    target: str | os.PathLike[str],
    changes: Changes | None = None,
    *,
    conversion: Conversion | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    siblings: Siblings | None = None,
) -> int:
    """Writes a checkpoint that is another one but for some values.

    Args:
      checkpoint: the other one.
      target: the prefix of the new one.
      changes: what becomes of its tensors; None if they stay as they are.
      conversion: which keys the new one has; None for those of the other one.
      overwrite: whether `target` may be replaced.
      progress: called with (target, bytes written, bytes in all).
      siblings: what is in the directory of the target; None to look.

    Returns:
      The bytes that were written.

    Raises:
      CheckpointArgumentError: the target is the checkpoint itself.
      CheckpointExistsError: the target exists, and `overwrite` is false.
      CheckpointWriteError: the file system refused.
      DamagedCheckpointError: a checksum of the checkpoint is wrong.
    """
    prefix = other_prefix(target, checkpoint)
    every = checkpoint.index.entries
    conversion = conversion or Conversion({key: key for key in every}, (), {})
    changes = changes or _NoChanges()
    entries = {key: every[old] for key, old in conversion.sources.items()}
    # The key of a part of a partitioned variable shares what becomes of the whole.
    wholes = {part.entry: key for key, entry in entries.items() for part in entry.parts}
    change_of = {}
    for key, entry in entries.items():
        old = conversion.sources[wholes.get(entry, key)]
        change_of[key] = changes.of(old, every[old])
    # What has to be written once: each place in the data files with what becomes of it there.
    pieces: dict[tuple[TensorEntry, Change], tuple[TensorEntry, int]] = {}
    for key, entry in sorted(entries.items(), key=lambda row: not row[1].parts):  # wholes first
        for number, stored in enumerate(entry.stored):
            pieces.setdefault((stored, change_of[key]), (entry, number))
    in_order = sorted(pieces, key=lambda piece: (piece[0].shard_id, piece[0].offset))
    total = sum(_new_size(stored, changes, change) for stored, change in in_order)
    total += added_size(conversion.added)
    new: dict[tuple[TensorEntry, Change], TensorEntry] = {}
    with (
        reading(checkpoint, [stored for stored, _ in in_order]),
        BundleWriter(
            prefix, overwrite=overwrite, progress=progress, total=total, siblings=siblings
        ) as writer,
    ):
        for stored, change in in_order:
            new[stored, change] = (
                _copied(writer, checkpoint, stored)
                if change is None
                else writer.append(
                    changes.dtype(change, stored),
                    stored.shape,
                    changes.chunks(change, *pieces[stored, change]),
                )
            )
        for key, entry in entries.items():
            change = change_of[key]
            written = [new[stored, change] for stored in entry.stored]
            writer.put(key, _in_parts(entry, written) if entry.parts else written[0])
        put_added(writer, conversion.added)
        return writer.commit()


def _copied(writer: BundleWriter, checkpoint: Checkpoint, stored: TensorEntry) -> TensorEntry:
    from estimator_ckpt.checkpoint import arrays  # numpy, which takes a while to load

    chunks = arrays.byte_chunks(checkpoint, stored)
    crc32c = None if stored in checkpoint.made else stored.crc32c
    return writer.append(stored.dtype, stored.shape, chunks, crc32c)


def _in_parts(entry: TensorEntry, written: list[TensorEntry]) -> TensorEntry:
    parts = tuple(part._replace(entry=new) for part, new in zip(entry.parts, written))
    return entry._replace(dtype=written[0].dtype, shard_id=0, parts=parts)


def _new_size(stored: TensorEntry, changes: Changes, change: Change) -> int:
    if change is None:
        return stored.size
    element = dtypes.element_size(changes.dtype(change, stored)) or 0
    return math.prod(stored.shape) * element
