"""Puts a checkpoint in its place: shards first, the index last, in one step.

    publish("out/model.ckpt-10", index, [Shard(path="in/model.ckpt-10.data-00000-of-00001")])

A reader sees the whole new checkpoint or none of it; where one is replaced, the old or the new.
That works because the shards of the new one never take the name of an existing file: they get
another count (`-of-00002`, padded with an empty shard), and renaming the index switches over. On a
store, which has no rename, the index is put under its name, where none is to be on that condition.
The index is there before, under a temporary name: it tells whose shards are whose if the process is
killed, and whoever publishes to that directory next removes them. So it goes with the shards of
what was replaced: whoever has the old index open can read on until then.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from estimator_ckpt.bundle.index import BundleIndex, encode_index
from estimator_ckpt.checkpoint.identity import require_prefix
from estimator_ckpt.checkpoint.leftovers import (
    count_in_place,
    count_of,
    counts_in_work,
)
from estimator_ckpt.checkpoint.opening import (
    META_SUFFIX,
    Checkpoint,
    existing_shards,
    index_path,
    open_checkpoint,
    shard_path,
)
from estimator_ckpt.checkpoint.siblings import Siblings
from estimator_ckpt.errors import (
    CheckpointExistsError,
    CheckpointWriteError,
    DamagedCheckpointError,
)
from estimator_ckpt.messages import logger
from estimator_ckpt.storage import files, staging

_log = logger(__name__)


@dataclass(frozen=True)
class Shard:
    """One data file to be: an existing file to link, copy or move, or new bytes.

    Attributes:
      path: the file to take; None for new bytes.
      data: the bytes to write, where there is no path.
      move: whether the file leaves its old place: it is renamed; or, from the local disk to a
        store, copied, and whoever has made it removes it.
    """

    path: str | None = None
    data: bytes = b""
    move: bool = False


@dataclass(frozen=True)
class PublishCost:
    """What publishing took, in bytes.

    Attributes:
      linked: bytes of data files that were hard-linked or moved.
      copied: bytes of data files that were copied.
      written: bytes of new data files and of the index.
      num_shards: how many data files there are: more than were given, where their names were taken.
    """

    linked: int = 0
    copied: int = 0
    written: int = 0
    num_shards: int = 0


def publish(
    prefix: str,
    index: BundleIndex,
    shards: Sequence[Shard],
    *,
    overwrite: bool = False,
    copy: bool = False,
    progress: files.Progress | None = None,
    siblings: Siblings | None = None,
    encode: Callable[[BundleIndex], bytes] = encode_index,
) -> PublishCost:
    """Writes a checkpoint that consists of an index and existing or new shards.

    Args:
      prefix: where to.
      index: what is in the shards; its `num_shards` is set here.
      shards: the data files, by the shard numbers that the index uses.
      overwrite: whether a checkpoint that has this prefix may be replaced.
      copy: copy data files even where they could be linked.
      progress: called while files are copied.
      siblings: what is in the directory; None to look.
      encode: encodes the index; what saves again and again knows the last one.

    Returns:
      What it took.

    Raises:
      CheckpointArgumentError: the prefix ends as the name of one of a checkpoint's files does.
      CheckpointExistsError: files of the prefix exist, and `overwrite` is false.
      CheckpointWriteError: the file system refused; what existed is unchanged.
    """
    require_prefix(prefix)
    directory = os.path.dirname(prefix)
    stale = (siblings or Siblings(directory)).shards(prefix)
    if not overwrite:
        _require_free(prefix, stale)
    files.require_writable(prefix)
    replaced = count_in_place(prefix) if stale else None
    count = _free_count(prefix, max(1, len(shards)), stale)
    renames = files.renames(prefix)
    encoded = encode(replace(index, num_shards=count))
    made: list[tuple[str, str | None]] = []  # each new file, with where it was moved from
    try:
        cost = PublishCost(written=len(encoded), num_shards=count)
        staged = files.stage(index_path(prefix), encoded)
        made.append((staged, None))
        if not renames:
            _require_alone(prefix, staged, count)
        for number in range(count):
            shard = shards[number] if number < len(shards) else Shard()
            path = shard_path(prefix, number, count)
            moves = shard.move and files.can_rename(shard.path or "", path)
            made.append((path, shard.path if moves else None))
            try:
                cost = _place(shard, made[-1][0], copy, progress, cost)
            except FileExistsError:
                made.pop()  # another process has just made it, and needs it
                raise
        files.sync_directory(directory)
        if stale and not overwrite and renames:
            _require_free(prefix)  # whose data files those are may have gone on meanwhile
        # Last: nothing is undone once it is in place.
        files.commit(staged, index_path(prefix), encoded, replace=overwrite)
    except BaseException as error:
        left = [path for path, origin in reversed(made) if not _undo(path, origin)]
        if files.is_refusal(error):
            raise CheckpointWriteError(
                f"can't write the checkpoint '{prefix}': {error}; "
                + (f"remove what was left behind: {left}" if left else "nothing was left behind")
            ) from error
        raise
    _tidy(prefix, [path for path in stale if count_of(path) != replaced])
    return cost


def find_equal(
    prefix: str, index: BundleIndex, shards: Sequence[Shard], *, linked: bool = False
) -> Checkpoint | None:
    """Returns the checkpoint in place, if `publish` would only replace it by its like.

    Args:
      prefix: of the checkpoint.
      index: as for `publish`.
      shards: as for `publish`.
      linked: whether its data files have to be links to these already.

    Returns:
      It, if it has these entries and, byte for byte, these data files; maybe empty ones more.
      Where files are remote, always None: to compare them takes longer than to replace them.
    """
    if any(files.is_remote(path) for path in (prefix, *(each.path or "" for each in shards))):
        return None
    try:
        found = open_checkpoint(prefix)
        paths = found.shard_paths
        if dict(found.index.entries) != dict(index.entries) or len(paths) < len(shards):
            return None
        padding = paths[len(shards) :]
        is_equal = _is_link if linked else _is_equal
        if all(map(is_equal, shards, paths)) and all(files.size(path) == 0 for path in padding):
            return found
    except (DamagedCheckpointError, FileNotFoundError):
        pass  # so it is no equal
    return None


def _is_link(shard: Shard, path: str) -> bool:
    if shard.path is None:
        return _is_equal(shard, path)
    return os.path.samefile(shard.path, path)


def _is_equal(shard: Shard, path: str) -> bool:
    if shard.path is None:
        return files.read(path) == shard.data
    return files.is_equal(shard.path, path)


def remove_checkpoint(prefix: str) -> None:
    """Removes a checkpoint, with the graph that lies beside it; a reader finds all of it or none.

    Where that is interrupted or refused, whoever publishes to that directory next goes on with it.

    Raises:
      OSError: the file system refused (or what `tf.io.gfile` raises).
    """
    staged = staging.removal_name(index_path(prefix))
    files.rename(index_path(prefix), staged)  # first: without an index, there is no checkpoint
    files.remove_many([prefix + META_SUFFIX, *existing_shards(prefix)])
    files.remove(staged)


def require_free(prefix: str, siblings: Siblings | None = None) -> None:
    """Makes sure, before any work, that nothing has a checkpoint's prefix.

    Args:
      prefix: of the checkpoint that is to be.
      siblings: what is in its directory; None to look.

    Raises:
      CheckpointExistsError: files of the prefix exist.
    """
    _require_free(prefix, (siblings or Siblings(os.path.dirname(prefix))).shards(prefix))


def _undo(path: str, origin: str | None) -> bool:
    """Removes a new file, or moves it back where it came from; returns whether it could."""
    if origin is None:
        return files.try_to_remove(path)
    try:
        if files.exists(path):
            files.rename(path, origin)
    except Exception as error:
        if not files.is_refusal(error):
            raise
        _log.warning("'%s' can't be moved back to '%s': %s", path, origin, error)
        return False
    return True


def _tidy(prefix: str, stale: Sequence[str]) -> None:
    """Removes data files of no index; that it can't is no reason to call it a failure."""
    try:
        files.sync_directory(os.path.dirname(prefix))
    except Exception as error:
        if not files.is_refusal(error):
            raise
        _log.warning("'%s' is in place, but is maybe not on the disk yet: %s", prefix, error)
        return  # then what it replaced is still of use
    in_work = counts_in_work(prefix) if stale else set()
    files.try_to_remove_many([path for path in stale if count_of(path) not in in_work])


def _require_free(prefix: str, stale: Sequence[str] = ()) -> None:
    if files.exists(index_path(prefix)):
        raise CheckpointExistsError(
            f"the checkpoint '{prefix}' exists; give another target, or say that it may be "
            "overwritten (overwrite=True, --overwrite)"
        )
    # Those that a staged index names are of an unfinished checkpoint: maybe of a killed process, of
    # which nothing can tell that it is gone. None of them is written to.
    in_work = counts_in_work(prefix) if stale else set()
    lost = [path for path in stale if count_of(path) not in in_work]
    if lost:
        raise CheckpointExistsError(
            f"there are data files of '{prefix}' without an index, such as "
            f"'{lost[0]}'; remove them, give another target, or say that they may be overwritten "
            "(overwrite=True, --overwrite)"
        )


def _free_count(prefix: str, count: int, stale: Sequence[str]) -> int:
    """Returns a number of shards, `count` or more, whose file names are all free."""
    taken = {count_of(path) for path in stale}
    if not files.renames(prefix):
        taken |= counts_in_work(prefix)  # nothing there keeps two from writing the same name
    while count in taken:
        count += 1
    return count


def _require_alone(prefix: str, staged: str, count: int) -> None:
    """Makes sure, on a store, that no other process has written these data files, or is about to.

    Each has put its staged index before it looks, so of two at least one sees the other, or what
    that has written meanwhile.
    """
    files.look_again(os.path.dirname(prefix))
    there = {count_of(path) for path in existing_shards(prefix)}
    if count in there | counts_in_work(prefix, but=staged):
        raise OSError(
            errno.EBUSY,
            "another process is writing it at this moment; wait for that, or give another target",
        )


def _place(
    shard: Shard, target: str, copy: bool, progress: files.Progress | None, cost: PublishCost
) -> PublishCost:
    if shard.path is None:
        with files.new_file(target) as file:
            file.write(shard.data)
        return replace(cost, written=cost.written + len(shard.data))
    size = files.size(shard.path)
    if shard.move and files.can_rename(shard.path, target):
        files.rename(shard.path, target)
    elif shard.move:
        files.copy(shard.path, target, progress)  # from the local disk to a store
    elif copy or not files.try_link(shard.path, target):
        files.copy(shard.path, target, progress)
        return replace(cost, copied=cost.copied + size)
    return replace(cost, linked=cost.linked + size)
