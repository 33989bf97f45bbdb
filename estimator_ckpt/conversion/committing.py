"""Carries out a plan: links or copies the data files, and writes a new index beside them.

report = apply("model_dir", "out/ckpt-10", lambda account: plan(account, "tf2"))
report.bytes_unused                                     # what the data files have for nothing
apply("model_dir", "out/ckpt-10", planned, compact=True)    # copies only what is used
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, TypedDict

from estimator_ckpt import naming
from estimator_ckpt.bundle import BundleIndex, TensorEntry, checksums
from estimator_ckpt.bundle.allocation import many_objects
from estimator_ckpt.bundle.index import have_parts
from estimator_ckpt.checkpoint import (
    Checkpoint,
    PublishCost,
    Shard,
    open_checkpoint,
    publish,
)
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.identity import other_prefix
from estimator_ckpt.checkpoint.opening import index_path
from estimator_ckpt.checkpoint.publishing import require_free
from estimator_ckpt.checkpoint.siblings import Siblings
from estimator_ckpt.conversion.added import encode_added
from estimator_ckpt.conversion.making import written_anew
from estimator_ckpt.conversion.planning import Conversion
from estimator_ckpt.conversion.report import ConversionReport, KeyChange
from estimator_ckpt.conversion.rewriting import rewrite
from estimator_ckpt.errors import CheckpointNotFoundError, DamagedCheckpointError
from estimator_ckpt.storage import files
from estimator_ckpt.storage.files import Progress

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Of a TensorEntry, of which there may be 100,000.
_SHARD, _OFFSET, _SIZE = itemgetter(2), itemgetter(3), itemgetter(4)


class WriteOptions(TypedDict, total=False):
    """How a checkpoint is written.

    Keys:
      overwrite: whether `target` may be replaced.
      copy: copy the data files even where they could be linked.
      compact: copy only the bytes that the target uses.
      dry_run: only say what would be done.
      progress: called while data files are copied.
    """

    overwrite: bool
    copy: bool
    compact: bool
    dry_run: bool
    progress: Progress | None


class ApplyOptions(WriteOptions, total=False):
    """What whoever changes a checkpoint passes on to `apply`: `names`, too."""

    names: str


@files.looking_once()
def apply(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    planned: Callable[[Account], Conversion],
    *,
    names: str = "auto",
    **options: Unpack[WriteOptions],
) -> ConversionReport:
    """Carries out a conversion.

    Args:
      source: a checkpoint's prefix, or a model_dir (its latest checkpoint), in any format.
      target: the prefix of the new checkpoint.
      planned: makes the plan for the source.
      names: how tensors are called, "auto" or "path".
      **options: how the target is written.

    Returns:
      What was done. After a dry run, no bytes.

    Raises:
      CheckpointError: as `convert`, in a dry run, too.
    """
    return carry_out(prepare(source, target, planned, names), **options)


@dataclass(frozen=True)
class Prepared:
    """A conversion that is planned, and not yet carried out.

    Attributes:
      prefix: of the new checkpoint.
      checkpoint: the source, as a map changes it, where one does.
      conversion: the plan.
    """

    prefix: str
    checkpoint: Checkpoint
    conversion: Conversion

    @property
    def size(self) -> int:
        """How many keys are held in memory for it."""
        return len(self.checkpoint.index.entries) + len(self.conversion.sources)

    def is_there(self) -> bool:
        """Returns whether the new checkpoint is there already, as `is_there` says it."""
        return is_there(self.prefix, self.checkpoint, self.conversion)

    def require_writable(self, overwrite: bool, siblings: Siblings | None) -> None:
        """Makes sure, and makes nothing, that it can be written."""
        if not overwrite:
            siblings = siblings or Siblings(os.path.dirname(self.prefix), dry_run=True)
            require_free(self.prefix, siblings)
        files.require_place(self.prefix)


def prepare(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    planned: Callable[[Account], Conversion],
    names: str = "auto",
) -> Prepared:
    """Opens a checkpoint and plans what becomes of it.

    Args are those of `apply`.

    Raises:
      CheckpointError: as `convert`, but for what only writing tells.
    """
    with many_objects():
        checkpoint = open_checkpoint(source)
        prefix = other_prefix(target, source, checkpoint)
        conversion = planned(Account(checkpoint, names))
    return Prepared(prefix, conversion.checkpoint or checkpoint, conversion)


def carry_out(
    prepared: Prepared,
    *,
    existed: bool = False,
    overwrite: bool = False,
    copy: bool = False,
    compact: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    siblings: Siblings | None = None,
) -> ConversionReport:
    """Writes what is planned, in any thread.

    Args:
      prepared: the plan.
      existed: whether it is there already, and is left alone.
      overwrite: as in `WriteOptions`, as are the next four.
      copy: likewise.
      compact: likewise.
      dry_run: likewise.
      progress: likewise.
      siblings: what is in the directory of the target; None to look.

    Returns:
      What was done.
    """
    prefix, checkpoint, conversion = prepared.prefix, prepared.checkpoint, prepared.conversion
    compact = compact or checkpoint.is_foreign
    cost, unused = PublishCost(), 0
    if existed:
        index, _ = rebuild(checkpoint, conversion)
    elif dry_run:
        prepared.require_writable(overwrite, siblings)
        index, shards = rebuild(checkpoint, conversion)
        unused = _unused(index, shards)
    elif compact:
        index, _ = rebuild(checkpoint, conversion)
        written = rewrite(
            checkpoint,
            prefix,
            conversion=conversion,
            overwrite=overwrite,
            progress=progress,
            siblings=siblings,
        )
        cost = PublishCost(written=written)
    else:
        index, cost, unused = _link(
            checkpoint,
            conversion,
            prefix,
            overwrite=overwrite,
            copy=copy,
            progress=progress,
            siblings=siblings,
        )
    with many_objects():
        targets = sorted(conversion.sources)
        return ConversionReport(
            prefix,
            naming.format_of(index.entries),
            tuple(map(KeyChange, map(conversion.sources.__getitem__, targets), targets)),
            conversion.dropped,
            tuple(sorted(conversion.added)),
            cost.linked,
            cost.copied,
            cost.written,
            conversion.notes,
            0 if compact else unused,
            dry_run,
            existed,
        )


def _link(
    checkpoint: Checkpoint,
    conversion: Conversion,
    prefix: str,
    *,
    overwrite: bool,
    copy: bool,
    progress: Progress | None,
    siblings: Siblings | None,
) -> tuple[BundleIndex, PublishCost, int]:
    """Writes an index, and links or copies the data files of the source as they are.

    Returns:
      The index, what it took, and how many bytes of the data files it does not use.
    """
    if checkpoint.made and not overwrite:
        require_free(prefix, siblings)
    with written_anew(checkpoint, conversion, prefix, progress) as found:
        index, shards = rebuild(found, conversion)
        unused = _unused(index, shards)
        made = sum(files.size(shard.path) for shard in shards if shard.path and shard.move)
        cost = publish(
            prefix,
            index,
            shards,
            overwrite=overwrite,
            copy=copy,
            progress=progress,
            siblings=siblings,
        )
    return index, replace(cost, linked=cost.linked - made, written=cost.written + made), unused


def is_there(prefix: str, checkpoint: Checkpoint, conversion: Conversion) -> bool:
    """Returns whether a target holds what a conversion would write, in whatever data files.

    That is so if it is complete, and has the same keys, each of the same type, shape and checksum.
    What the conversion makes of other tensors is made for that, and not written.
    """
    if not files.exists(index_path(prefix)):
        return False
    try:
        found = open_checkpoint(prefix).index.entries
    except (DamagedCheckpointError, CheckpointNotFoundError):
        return False
    wanted = rebuild(checkpoint, conversion)[0].entries
    if wanted.keys() != found.keys():
        return False
    keys_made = _keys_made(checkpoint)
    made = {key for key, old in conversion.sources.items() if old in keys_made}
    if not all(
        _contents(entry) == _contents(found[key])
        for key, entry in wanted.items()
        if key not in made
    ):
        return False
    entries = checkpoint.index.entries
    sums = {key: _sum_of_made(checkpoint, entries[conversion.sources[key]]) for key in made}
    return all(
        _contents(wanted[key]._replace(crc32c=sums[key])) == _contents(found[key]) for key in made
    )


def _contents(entry: TensorEntry) -> tuple[object, ...]:
    """Returns what an index says of a tensor but for where it lies."""
    parts = sorted((part.extents, *_contents(part.entry)) for part in entry.parts)
    return entry.dtype, entry.shape, entry.size, 0 if parts else entry.crc32c, parts


def _keys_made(checkpoint: Checkpoint) -> set[str]:
    if not checkpoint.made:
        return set()
    return {key for key, entry in checkpoint.index.entries.items() if entry in checkpoint.made}


def _sum_of_made(checkpoint: Checkpoint, entry: TensorEntry) -> int:
    from estimator_ckpt.checkpoint import arrays  # numpy, which most conversions need not load

    crc = 0
    for chunk in arrays.byte_chunks(checkpoint, entry):
        crc = checksums.extend(crc, chunk)
    return checksums.mask(crc)


def _unused(index: BundleIndex, shards: Sequence[Shard]) -> int:
    """Counts the bytes of existing data files that no tensor of an index uses."""
    entries: Collection[TensorEntry] = index.entries.values()
    if have_parts(entries):
        entries = [stored for entry in entries for stored in entry.stored]
    taken = {
        number: shard.path for number, shard in enumerate(shards) if shard.path and not shard.move
    }
    used = sum(
        _bytes_at([entry for entry in entries if entry.shard_id == number]) for number in taken
    )
    return sum(map(files.size, taken.values())) - used


def _bytes_at(entries: Collection[TensorEntry]) -> int:
    """Counts the bytes of tensors of one data file, those at one place once: of the largest."""
    sizes = list(map(_SIZE, entries))
    used = dict(zip(map(_OFFSET, entries), sizes))
    if sum(used.values()) < sum(sizes):
        for offset, size in zip(map(_OFFSET, entries), sizes):
            if size > used[offset]:
                used[offset] = size
    return sum(used.values())


@many_objects()
def rebuild(checkpoint: Checkpoint, conversion: Conversion) -> tuple[BundleIndex, list[Shard]]:
    """Makes the index of the target and names the shards that it needs.

    Args:
      checkpoint: the source.
      conversion: what is wanted of it.

    Returns:
      The index, and the data files for its shard numbers: those of the source that it uses, one
      with what is made of others, and a small new one with what was added.
    """
    sources = conversion.sources
    entries = dict(zip(sources, map(checkpoint.index.entries.__getitem__, sources.values())))
    partitioned: dict[str, TensorEntry] = {}
    whole: Collection[TensorEntry] = entries.values()
    if have_parts(whole):
        partitioned = {key: entry for key, entry in entries.items() if entry.parts}
        whole = [entry for entry in whole if not entry.parts]
    shards_of = set(map(_SHARD, whole))
    shards_of.update(part.shard_id for entry in partitioned.values() for part in entry.stored)
    used = sorted(shards_of)
    numbers = {old: new for new, old in enumerate(used)}
    moved = any(old != new for old, new in numbers.items())
    changed = entries if moved else partitioned
    entries.update([(key, entry.in_shards(numbers)) for key, entry in changed.items()])
    count, paths = checkpoint.index.num_shards, checkpoint.shard_paths
    # In a dry run, what is made of other tensors has no file yet; else one that is moved.
    shards = [
        Shard(path=paths[number], move=number == count) if number < len(paths) else Shard()
        for number in used
    ]
    if conversion.added:
        data, new_entries = encode_added(conversion.added, len(shards))
        entries.update(new_entries)
        shards.append(Shard(data=data))
    return replace(checkpoint.index, entries=entries, num_shards=len(shards)), shards
