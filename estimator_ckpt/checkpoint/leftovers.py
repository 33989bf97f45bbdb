"""Removes what was interrupted in a directory, and what was replaced there before.

    remove_leftovers("model_dir")

Only what is certainly nobody's: staged files and directories whose process is gone, or whose own
removal was refused. A staged index names data files: those of a checkpoint that was not finished,
or whose removal was not. And data files that a checkpoint had before it was replaced, which readers
may have needed until now.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from estimator_ckpt.bundle.index import count_shards
from estimator_ckpt.checkpoint.opening import (
    INDEX_SUFFIX,
    existing_shards,
    index_path,
    shard_of,
)
from estimator_ckpt.errors import DamagedCheckpointError
from estimator_ckpt.messages import logger
from estimator_ckpt.storage import files, staging

_log = logger(__name__)
_COUNT = re.compile(r"-of-(\d{5})$")


def remove_leftovers(directory: str, names: Sequence[str] | None = None) -> bool:
    """Removes what is left over in a directory, and says so of what was interrupted.

    What can't be removed is said, too, and stays. Names that are not this library's are left alone.

    Args:
      directory: one where checkpoints are, or will be.
      names: what is in it, if that is known.

    Returns:
      Whether there was anything.
    """
    names = files.names(directory) if names is None else names
    any_removed = False
    for name in names:
        path = os.path.join(directory, name)
        target = staging.staged_for(path)
        if target is None or not staging.is_abandoned(path):
            continue
        any_removed = True
        _log.warning("Removing '%s', left over from what was interrupted", path)
        if target.endswith(INDEX_SUFFIX) and not files.is_link(path):
            _remove_unfinished(path, target[: -len(INDEX_SUFFIX)])
        else:
            files.try_to_remove(path)
    for path in replaced_shards(directory, None if any_removed else names):
        any_removed = True
        _log.info("Removing '%s': its checkpoint has been saved again since", path)
        files.try_to_remove(path)
    return any_removed


def replaced_shards(directory: str, names: Sequence[str] | None = None) -> list[str]:
    """Returns the data files that a checkpoint had before the one in place, which needs others.

    Those are older than its index, and no staged index names them.

    Args:
      directory: one where checkpoints are.
      names: what is in it, if that is known.
    """
    found: dict[str, list[str]] = {}
    for name in files.names(directory) if names is None else names:
        base = shard_of(name)
        if base is not None:
            prefix = os.path.join(directory, base)
            found.setdefault(prefix, []).append(os.path.join(directory, name))
    return [path for prefix, shards in found.items() for path in _replaced(prefix, shards)]


def count_in_place(prefix: str) -> int | None:
    """Returns how many data files the checkpoint of a prefix has; None if no index tells it."""
    try:
        return count_shards(files.read(index_path(prefix)))
    except DamagedCheckpointError:
        return None
    except Exception as error:
        if not files.is_refusal(error):
            raise
        return None


def count_of(shard: str) -> int:
    """Returns of how many data files one is."""
    match = _COUNT.search(shard)
    assert match, shard
    return int(match[1])


def counts_in_work(prefix: str, but: str | None = None) -> set[int]:
    """Returns how many data files those checkpoints have that processes are putting into place.

    Args:
      prefix: of the checkpoints.
      but: a staged index that does not count.
    """
    directory, base = os.path.split(index_path(prefix))
    counts = set()
    for name in files.names(directory):
        staged = os.path.join(directory, name)
        if staging.staged_for(name) != base or staged == but or staging.is_abandoned(name):
            continue
        try:
            counts.add(count_shards(files.read(staged)))
        except DamagedCheckpointError:
            continue  # it is being written, and comes before any data file
        except Exception as error:
            if not files.is_refusal(error):
                raise
    return counts


def _replaced(prefix: str, shards: list[str]) -> list[str]:
    if len({count_of(shard) for shard in shards}) == 1:
        return []  # the common case, for which no index has to be read
    count = count_in_place(prefix)
    if count is None or sum(count_of(shard) == count for shard in shards) < count:
        return []  # what is in place is damaged, so the others may be of use
    needed = {count, *counts_in_work(prefix)}
    since = files.modified(index_path(prefix))
    return [
        shard for shard in shards if count_of(shard) not in needed and files.modified(shard) < since
    ]


def _remove_unfinished(staged: str, prefix: str) -> None:
    """Removes a staged index, and before it the data files that only this one names."""
    claimed = staging.removal_name(index_path(prefix))
    try:
        before = files.changed(staged)
        files.rename(staged, claimed)  # so that no other process does the same
        since = files.changed(claimed)
        for path in _unfinished_shards(claimed, prefix):
            # A newer one is of a process that has begun to write this checkpoint again: the index
            # that it has staged tells, or the time, where the file system's clock can tell it.
            is_newer = since > before and files.changed(path) > since
            if not is_newer and count_of(path) not in counts_in_work(prefix, but=claimed):
                files.remove(path)
        files.remove(claimed)
    except Exception as error:
        if not files.is_refusal(error):
            raise
        _log.warning("'%s' can't be removed: %s", staged, error)


def _unfinished_shards(staged: str, prefix: str) -> list[str]:
    """Returns the data files that a staged index names, if the index in place does not."""
    try:
        count = count_shards(files.read(staged))
    except DamagedCheckpointError:
        return []  # it was not finished either, and comes before any data file
    shards = [path for path in existing_shards(prefix) if count_of(path) == count]
    if shards and files.exists(index_path(prefix)) and count_in_place(prefix) in (count, None):
        return []  # they are in use; or there is no telling, as the index is damaged
    return shards
