"""What is in the directory of a checkpoint that is to be, listed once.

    siblings = Siblings("out")
    siblings.shards("out/model.ckpt-10")          # data files of that prefix, of any count
    for prefix, index, shards in many:
        publish(prefix, index, shards, siblings=siblings)

To list a directory for each of the checkpoints in it would take the square of their number. What
others put there meanwhile is not overwritten: no new data file takes the name of an existing one.
"""

from __future__ import annotations

import os

from estimator_ckpt.checkpoint.leftovers import remove_leftovers
from estimator_ckpt.checkpoint.opening import shard_of
from estimator_ckpt.storage import files


class Siblings:
    """The data files in a directory, by the checkpoint that they belong to.

    What processes that are gone have left there is removed first.

    Args:
      directory: it need not exist.
      dry_run: whether to remove nothing.
    """

    def __init__(self, directory: str, *, dry_run: bool = False):
        names = files.names(directory)
        if not dry_run and remove_leftovers(directory, names):
            names = files.names(directory)
        self._shards: dict[str, list[str]] = {}
        for name in names:
            base = shard_of(name)
            if base is not None:
                self._shards.setdefault(base, []).append(name)

    def shards(self, prefix: str) -> list[str]:
        """Returns the data files of any count that there were for a prefix in the directory."""
        directory, base = os.path.split(prefix)
        return [os.path.join(directory, name) for name in self._shards.get(base, ())]
