"""Which checkpoints of a directory stay, and the state file that lists them.

    directory = CheckpointDirectory("model_dir/tf1", Retention(keep_max=5))
    directory.add("model_dir/tf1/model.ckpt-10")

Adding one writes the state file first and then removes what it no longer lists; what can't be
removed is tried again with the next one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from estimator_ckpt.checkpoint.opening import index_path, read_state, write_state
from estimator_ckpt.checkpoint.publishing import remove_checkpoint
from estimator_ckpt.storage import files

_log = logging.getLogger(__name__)
_SECONDS_PER_HOUR = 3600.0


class Kept(NamedTuple):
    """A checkpoint of the directory: its prefix, and when it was written, in Unix seconds."""

    prefix: str
    time: float


@dataclass(frozen=True)
class Retention:
    """What to keep, as RunConfig says it.

    Attributes:
      keep_max: so many of the newest; None or 0 for all.
      keep_every_n_hours: and one of each so many hours of training.
    """

    keep_max: int | None = 5
    keep_every_n_hours: float = 10000.0

    def split(
        self, checkpoints: Sequence[Kept], preserve_after: float
    ) -> tuple[list[Kept], list[Kept], float]:
        """Tells what to keep, what to remove, and the time after which to preserve the next one.

        Args:
          checkpoints: from the oldest to the newest.
          preserve_after: one that is written later than this is preserved when it gets old.

        Returns:
          The newest ones, those to remove (one that is preserved is in neither list: it stays, and
          nothing looks at it again), and the new `preserve_after`.
        """
        count = self.keep_max or len(checkpoints)
        old, newest = list(checkpoints[:-count]), list(checkpoints[-count:])
        removed = []
        for checkpoint in old:
            if checkpoint.time > preserve_after:
                preserve_after += self.keep_every_n_hours * _SECONDS_PER_HOUR
            else:
                removed.append(checkpoint)
        return newest, removed, preserve_after


class CheckpointDirectory:
    """A directory of checkpoints with a state file and a retention of its own."""

    def __init__(self, path: str, retention: Retention):
        """Goes on from the state file that the directory has, if it has one."""
        self._path = path
        self._retention = retention
        self._preserve_after = time.time() + retention.keep_every_n_hours * _SECONDS_PER_HOUR
        _, listed = read_state(path)
        self._kept = [
            Kept(prefix, files.modified(index_path(prefix)))
            for prefix in listed
            if files.exists(index_path(prefix))
        ]
        self._removed: list[str] = []  # no longer kept, but maybe still there

    def add(self, prefix: str) -> None:
        """Makes a checkpoint that was just written the latest, and removes those no longer kept."""
        others = [each for each in self._kept if each.prefix != prefix]
        kept, removed, preserve_after = self._retention.split(
            [*others, Kept(prefix, time.time())], self._preserve_after
        )
        write_state(self._path, prefix, [each.prefix for each in kept])
        self._kept, self._preserve_after = kept, preserve_after
        old = {*self._removed, *(each.prefix for each in removed)} - {each.prefix for each in kept}
        self._removed = [each for each in sorted(old) if not _try_to_remove(each)]


def _try_to_remove(prefix: str) -> bool:
    if not files.exists(index_path(prefix)):
        return True
    try:
        remove_checkpoint(prefix)
    except Exception as error:
        if not files.is_refusal(error):
            raise
        _log.warning("'%s' is no longer kept, but can't be removed: %s", prefix, error)
        return False
    return True
