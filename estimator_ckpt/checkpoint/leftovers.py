"""Removes what processes that were killed have left in a directory.

    remove_leftovers("model_dir")

Only what is certainly nobody's: staged files and directories whose process is gone. A staged index
names data files: those of a checkpoint that was not finished, or whose removal was not.
"""

from __future__ import annotations

import logging

from estimator_ckpt.bundle.index import decode_index
from estimator_ckpt.checkpoint.opening import INDEX_SUFFIX, existing_shards, index_path
from estimator_ckpt.errors import DamagedCheckpointError
from estimator_ckpt.storage import files, staging

_log = logging.getLogger(__name__)


def remove_leftovers(directory: str) -> None:
    """Removes what is left over in a directory from processes that are gone, and says so.

    What can't be removed is said, too, and stays. Names that are not this library's are left alone.

    Args:
      directory: one where checkpoints are, or will be.
    """
    for path in files.glob(directory, staging.PATTERN):
        path = path.rstrip("/")
        target = staging.staged_for(path)
        if target is None or not staging.is_abandoned(path):
            continue
        _log.warning("Removing '%s', left over from a process that was stopped", path)
        if target.endswith(INDEX_SUFFIX):
            _remove_unfinished(path, target[: -len(INDEX_SUFFIX)])
        else:
            files.try_to_remove(path)


def _remove_unfinished(staged: str, prefix: str) -> None:
    """Removes a staged index, and before it the data files that only this one names."""
    claimed = files.staging_name(index_path(prefix))
    try:
        files.rename(staged, claimed)  # so that no other process does the same
        since = files.changed(claimed)
        for path in _unfinished_shards(claimed, prefix):
            # A newer one is of a process that has begun to write this checkpoint again.
            if files.changed(path) < since:
                files.remove(path)
        files.remove(claimed)
    except Exception as error:
        if not files.is_refusal(error):
            raise
        _log.warning("'%s' can't be removed: %s", staged, error)


def _unfinished_shards(staged: str, prefix: str) -> list[str]:
    """Returns the data files that a staged index names, if the index in place does not."""
    try:
        count = decode_index(files.read(staged)).num_shards
    except DamagedCheckpointError:
        return []  # it was not finished either, and comes before any data file
    shards = [path for path in existing_shards(prefix) if path.endswith(f"-of-{count:05d}")]
    if shards and files.exists(index_path(prefix)):
        try:
            if decode_index(files.read(index_path(prefix))).num_shards == count:
                return []
        except DamagedCheckpointError:
            return []  # there is no telling what it names
    return shards
