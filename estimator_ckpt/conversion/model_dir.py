"""Converts all checkpoints of a model_dir, its state file included.

    reports = convert_all("job", "job_tf2", to="tf2")

What a job's own readers find in the old directory by its state file, others find in the new one.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from estimator_ckpt import messages
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.identity import other_prefix, require_other_directory
from estimator_ckpt.checkpoint.opening import find_listed, read_state, write_state
from estimator_ckpt.checkpoint.siblings import Siblings
from estimator_ckpt.conversion.committing import Prepared, carry_out, prepare
from estimator_ckpt.conversion.converting import planner
from estimator_ckpt.conversion.planning import Conversion
from estimator_ckpt.conversion.report import ConversionReport
from estimator_ckpt.errors import (
    CheckpointError,
    CheckpointExistsError,
    CheckpointNotFoundError,
    DamagedCheckpointError,
)
from estimator_ckpt.storage import files
from estimator_ckpt.storage.files import Progress

_Result = TypeVar("_Result")
_OF_WRITING = ("overwrite", "copy", "compact", "progress")
_MOST_KEYS = 200_000  # of plans that are kept in memory
_AT_ONCE, _MANY = 16, 8
"""How many are written at the same time, and of how many on."""


@files.looking_once()
def convert_all(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    dry_run: bool = False,
    resume: bool = False,
    on_error: Callable[[str, Exception], None] | None = None,
    **options: Any,
) -> tuple[ConversionReport, ...]:
    """Converts each checkpoint that a state file lists, the oldest first.

    Args:
      source: a directory with a state file.
      target: another directory; the checkpoints keep their names in it. Its state file is written
        last, and lists what the source's lists.
      dry_run: only say what would be done.
      resume: leave alone what is there already and is equal, by its keys, types, shapes and
        checksums, as a run before this one may have left it; the report says that it `existed`.
      on_error: called with the prefix of each checkpoint that can't be converted, and why: the
        others are. None: all can be, or nothing is written.
      **options: as for `convert`.

    Returns:
      What was done for each that was converted.

    Raises:
      CheckpointArgumentError: source and target are the same directory.
      CheckpointExistsError: with `resume`, the target's state file lists checkpoints that the
        source has not, and `overwrite` is false.
      CheckpointNotFoundError: there is no such directory, it has no state file, or that names no
        checkpoint.
      CheckpointError: as `convert`: before anything is written where that can be told from the
        indexes. Else what was converted before stays, without a state file.
    """
    old, new = os.fsdecode(source), os.fsdecode(target)
    require_other_directory(new, old)
    latest, listed = _listed(old)
    goals = {prefix: os.path.join(new, os.path.basename(prefix)) for prefix in listed}
    state = os.path.join(new, os.path.basename(latest)), tuple(goals.values())
    overwrite = bool(options.get("overwrite"))
    is_written = resume and _is_written(new, state, overwrite)
    written_by = {name: options.pop(name) for name in _OF_WRITING if name in options}
    if written_by.get("progress"):
        written_by["progress"] = _by_one_at_a_time(written_by["progress"])
    names = options.pop("names", "auto")
    siblings = Siblings(new, dry_run=dry_run)  # one look at the directory for all
    ready = _Ready(old, goals, planner(**options), names, resume, overwrite, siblings)

    def done(prefix: str) -> ConversionReport:
        made, existed = ready.take(prefix)
        return carry_out(made, existed=existed, dry_run=dry_run, siblings=siblings, **written_by)

    failed: dict[str, Exception] = {}
    are_apart = len(set(goals.values())) == len(goals)  # else one may be there once another is
    if not dry_run and len(goals) > 1:  # before any is converted
        room = _MOST_KEYS if are_apart else 0
        failed = ready.prepare(room)
        if failed and on_error is None:
            raise _nothing_written(failed, len(goals))
    # Each waits for the disk several times, and what waits together is flushed together.
    waits = are_apart and files.renames(new) and not dry_run
    count = _AT_ONCE if waits and len(goals) >= _MANY else 1
    reports = {}
    with in_turn(done, [prefix for prefix in goals if prefix not in failed], count) as results:
        for prefix in goals:
            if prefix not in failed:
                try:
                    reports[goals[prefix]] = next(results)()
                except Exception as error:
                    failed[prefix] = _expected(error)
            if prefix in failed:
                if on_error is None:
                    raise failed[prefix]
                on_error(prefix, failed[prefix])
    if reports and not dry_run and not (is_written and not failed):
        latest = state[0] if state[0] in reports else [*reports][-1]
        write_state(new, latest, [*reports])
    return tuple(reports.values())


def _listed(directory: str) -> tuple[str, tuple[str, ...]]:
    """Returns the latest checkpoint, and all, the latest among them, by a state file.

    Raises:
      CheckpointNotFoundError: it names none.
    """
    latest, listed = read_state(directory)
    if latest is None and not files.is_directory(directory):
        raise CheckpointNotFoundError(f"there is no directory '{directory}'")
    if latest is None:
        raise CheckpointNotFoundError(
            f"'{directory}' has no state file that lists its checkpoints; convert them one by one"
        )
    if os.path.basename(latest) not in map(os.path.basename, listed):
        listed = (*listed, latest)
    return latest, listed


@dataclass
class _Ready:
    """What is planned of each checkpoint; some plans are kept, so that each is made once.

    Attributes:
      directory: where all are.
      goals: {prefix: the new one's}.
      planned: makes the plan of one.
      names: as for `convert`.
      resume: whether what is there already and is equal is left alone.
      overwrite: whether what else is there may be replaced.
      siblings: what is in the new directory.
    """

    directory: str
    goals: Mapping[str, str]
    planned: Callable[[Account], Conversion]
    names: str
    resume: bool
    overwrite: bool
    siblings: Siblings
    _kept: dict[str, tuple[Prepared, bool]] = field(default_factory=dict)

    def prepare(self, room: int) -> dict[str, Exception]:
        """Plans all, keeps plans of so many keys, and returns what can't be converted, and why."""
        failed = {}
        for prefix in self.goals:
            try:
                made = self.take(prefix)
            except Exception as error:
                failed[prefix] = _expected(error)
                continue
            room -= made[0].size
            if room > 0:
                self._kept[prefix] = made
        return failed

    def take(self, prefix: str) -> tuple[Prepared, bool]:
        """Returns the plan of one, and whether what it would write is there already."""
        if prefix in self._kept:
            return self._kept.pop(prefix)
        found, goal = find_listed(self.directory, prefix), self.goals[prefix]
        other_prefix(goal, found)
        made = prepare(found, goal, self.planned, self.names)
        existed = self.resume and made.is_there()
        if not existed:
            made.require_writable(self.overwrite, self.siblings)
        return made, existed


def _by_one_at_a_time(progress: Progress) -> Progress:
    """Returns what several threads may call."""
    lock = threading.Lock()

    def called(path: str, done: int, total: int) -> None:
        with lock:
            progress(path, done, total)

    return called


def _expected(error: Exception) -> Exception:
    """Returns an error that a checkpoint or a file system may have; raises any other."""
    if not (isinstance(error, CheckpointError) or files.is_refusal(error)):
        raise error
    return error


@contextlib.contextmanager
def in_turn(
    work: Callable[[str], _Result], items: Sequence[str], count: int
) -> Iterator[Iterator[Callable[[], _Result]]]:
    """Does some work for each item, several at the same time where that is asked for.

    When the block is left, no more is begun, and what was begun is done.

    Args:
      work: for one of them.
      items: for which.
      count: how many at the same time; 1 for one after the other, in this thread.

    Yields:
      For each item, in their order, what returns or raises what the work did.
    """
    if count == 1:
        yield (functools.partial(work, item) for item in items)
        return
    import concurrent.futures  # here, as it takes a while to load

    pool = concurrent.futures.ThreadPoolExecutor(count)
    try:
        futures = [pool.submit(work, item) for item in items]
        yield (future.result for future in futures)
    finally:
        pool.shutdown(cancel_futures=True)


def _nothing_written(failed: dict[str, Exception], count: int) -> Exception:
    first, *others = failed.values()
    if not isinstance(first, CheckpointError):
        return first
    more = f", and {len(others):,} more" if others else ""
    return type(first)(
        f"{first}{more}; nothing was written: {count - len(failed):,} of {count:,} checkpoints can "
        "be converted, by --keep_going (on_error=...)"
    )


def _is_written(directory: str, state: tuple[str, tuple[str, ...]], overwrite: bool) -> bool:
    """Returns whether a directory has this state; refuses one that lists other checkpoints."""
    try:
        found = read_state(directory)
    except DamagedCheckpointError:
        if overwrite:
            return False
        raise
    others = [prefix for prefix in found[1] if prefix not in state[1]]
    if others and not overwrite:
        raise CheckpointExistsError(
            f"the state file of '{directory}' lists {messages.listed(others, 3)}, which the source "
            "has not; give another target, or overwrite it"
        )
    return found == state
