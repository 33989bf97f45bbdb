"""Which checkpoints of a directory stay, and the state file that lists them.

    directory = CheckpointDirectory("model_dir/tf1", Retention(keep_max=5))
    directory.add("model_dir/tf1/model.ckpt-10")

Adding one writes the state file first and then removes what it no longer lists; what can't be
removed is tried again with the next one. Only what lies in the directory is ever removed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from estimator_ckpt.checkpoint.opening import (
    INDEX_SUFFIX,
    STATE_FILE,
    index_path,
    open_checkpoint,
    read_state,
    step_in_name,
    write_state,
)
from estimator_ckpt.checkpoint.publishing import remove_checkpoint
from estimator_ckpt.errors import CheckpointError
from estimator_ckpt.messages import logger
from estimator_ckpt.storage import files

_log = logger(__name__)
_SECONDS_PER_HOUR = 3600.0
_NOT_KEPT = "not kept: "  # begins a comment in the state file, with the names in JSON


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

    @classmethod
    def like(
        cls, saver: Any, keep_max: int | str | None, keep_every_n_hours: float | None
    ) -> Retention:
        """Returns what is wanted, and where nothing is, what a Saver keeps.

        Args:
          saver: of the job. One that doesn't tell keeps what TensorFlow's do by default.
          keep_max: "job" for as many as the Saver.
          keep_every_n_hours: None for as the Saver does.
        """
        told = getattr(saver, "saver_def", None) or cls()
        if isinstance(keep_max, str):
            keep_max = getattr(told, "max_to_keep", cls.keep_max)
        if keep_every_n_hours is None:
            keep_every_n_hours = getattr(
                told, "keep_checkpoint_every_n_hours", cls.keep_every_n_hours
            )
        return cls(keep_max, keep_every_n_hours)

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
        self.path = path
        self._retention = retention
        self._preserve_after = time.time() + retention.keep_every_n_hours * _SECONDS_PER_HOUR
        _, listed = read_state(path)
        here = [self._here(prefix) for prefix in listed]
        self._kept = [
            Kept(prefix, files.modified(index_path(prefix)))
            for prefix in here
            if prefix is not None and files.exists(index_path(prefix))
        ]
        # No longer kept, but maybe still there: of a job that was killed before it removed them.
        self._removed = self._left_to_remove()

    @property
    def names(self) -> list[str]:
        """The checkpoints that it lists, the oldest first."""
        return [os.path.basename(each.prefix) for each in self._kept]

    def add(self, prefix: str) -> None:
        """Makes a checkpoint that was just written the latest, and removes those no longer kept."""
        others = [each for each in self._kept if each.prefix != prefix]
        kept, removed, preserve_after = self._retention.split(
            [*others, Kept(prefix, time.time())], self._preserve_after
        )
        old = {*self._removed, *(each.prefix for each in removed)} - {each.prefix for each in kept}
        self._removed = sorted(each for each in old if files.exists(index_path(each)))
        names = [os.path.basename(each) for each in self._removed]
        comments = [_NOT_KEPT + json.dumps(names)] if names else []
        write_state(self.path, prefix, [each.prefix for each in kept], comments)
        self._kept, self._preserve_after = kept, preserve_after
        self._removed = [each for each in self._removed if not _try_to_remove(each)]

    def missing(self, names: Sequence[str], coming: str) -> list[str]:
        """Returns those of a job's checkpoints that would be kept, and are not listed.

        Args:
          names: those that the job lists.
          coming: the one that is added next.
        """
        known = {*self.names, coming}
        all_names = sorted({*names, *known}, key=step_in_name)
        within = all_names[-(self._retention.keep_max or len(all_names)) :]
        return [name for name in within if name in names and name not in known]

    def unlisted(self) -> list[str]:
        """Returns the checkpoints that are there, and neither listed nor about to be removed."""
        paths = files.glob(self.path, "*" + INDEX_SUFFIX)
        known = {*self.names, *map(os.path.basename, self._removed)}
        found = [os.path.basename(path)[: -len(INDEX_SUFFIX)] for path in paths]
        return sorted({name for name in found if name} - known, key=step_in_name)

    def adopt(self, names: Iterable[str]) -> None:
        """Lists, in the order of their steps, complete checkpoints that are there; others not."""
        for name in names:
            prefix = os.path.join(self.path, name)
            try:
                open_checkpoint(prefix)
            except CheckpointError as error:
                _log.warning("'%s' is not listed: %s", prefix, error)
                continue
            new = Kept(prefix, files.modified(index_path(prefix)))
            place = sum(step_in_name(each) <= step_in_name(name) for each in self.names)
            self._kept.insert(place, new)

    def _here(self, prefix: str) -> str | None:
        """Returns a listed prefix as one that lies in the directory; None for one that does not."""
        folder, base = os.path.split(prefix)
        here = os.path.join(self.path, base)
        is_here = files.is_same(folder or ".", self.path or ".")
        if base and (is_here or not files.exists(index_path(prefix))):  # or it was moved
            return here
        _log.warning(
            "The state file of '%s' names '%s', which does not lie there: it is left alone and no "
            "longer listed",
            self.path,
            prefix,
        )
        return None

    def _left_to_remove(self) -> list[str]:
        """Returns what the state file says is not kept, and was there already when it said so."""
        path = os.path.join(self.path, STATE_FILE)
        if not files.exists(path):
            return []
        since = files.modified(path)
        prefixes = [os.path.join(self.path, name) for name in _names_not_kept(files.read(path))]
        listed = {each.prefix for each in self._kept}
        return [
            prefix
            for prefix in prefixes
            if prefix not in listed
            and files.exists(index_path(prefix))
            and files.modified(index_path(prefix)) <= since
        ]


def _names_not_kept(state: bytes) -> list[str]:
    """Returns the names in the comments of a state file; passes over whatever else they have."""
    found: list[str] = []
    for line in state.decode("utf-8", "replace").splitlines():
        if line.startswith("# " + _NOT_KEPT):
            try:
                names = json.loads(line[len("# " + _NOT_KEPT) :])
            except (ValueError, RecursionError):
                continue
            found += [name for name in names if _is_name(name)] if isinstance(names, list) else []
    return found


def _is_name(name: object) -> bool:
    """Returns whether something is the name of a file, and no path."""
    return isinstance(name, str) and bool(name) and "\0" not in name and name == _base(name)


def _base(name: str) -> str:
    return os.path.basename(name.replace("\\", "/"))


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
