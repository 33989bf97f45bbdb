"""Converts all checkpoints of a model_dir, its state file included.

    reports = convert_all("job", "job_tf2", to="tf2")

What a job's own readers find in the old directory by its state file, others find in the new one.
"""

from __future__ import annotations

import os
from typing import Any

from estimator_ckpt import messages
from estimator_ckpt.checkpoint.identity import other_prefix, require_other_directory
from estimator_ckpt.checkpoint.opening import find_listed, read_state, write_state
from estimator_ckpt.checkpoint.siblings import Siblings
from estimator_ckpt.conversion.committing import apply
from estimator_ckpt.conversion.converting import planner
from estimator_ckpt.conversion.report import ConversionReport
from estimator_ckpt.errors import (
    CheckpointExistsError,
    CheckpointNotFoundError,
    DamagedCheckpointError,
)
from estimator_ckpt.storage import files

_OF_APPLY = ("names", "overwrite", "copy", "compact", "progress")


@files.looking_once()
def convert_all(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    dry_run: bool = False,
    resume: bool = False,
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
      **options: as for `convert`.

    Returns:
      What was done for each.

    Raises:
      CheckpointArgumentError: source and target are the same directory.
      CheckpointExistsError: with `resume`, the target's state file lists checkpoints that the
        source has not, and `overwrite` is false.
      CheckpointNotFoundError: there is no such directory, it has no state file, or that names no
        checkpoint.
      CheckpointError: as `convert`. What was converted before stays, without a state file.
    """
    old, new = os.fsdecode(source), os.fsdecode(target)
    require_other_directory(new, old)
    latest, listed = read_state(old)
    if latest is None and not files.is_directory(old):
        raise CheckpointNotFoundError(f"there is no directory '{old}'")
    if latest is None:
        raise CheckpointNotFoundError(
            f"'{old}' has no state file that lists its checkpoints; convert them one by one"
        )
    if os.path.basename(latest) not in map(os.path.basename, listed):
        listed = (*listed, latest)
    prefixes = [find_listed(old, prefix) for prefix in listed]
    targets = [os.path.join(new, os.path.basename(prefix)) for prefix in prefixes]
    state = os.path.join(new, os.path.basename(latest)), tuple(targets)
    is_written = resume and _is_written(new, state, bool(options.get("overwrite")))
    for prefix, goal in zip(prefixes, targets):  # before any is converted
        other_prefix(goal, prefix)
    applied = {name: options.pop(name) for name in _OF_APPLY if name in options}
    planned = planner(**options)
    siblings = None if dry_run else Siblings(new)  # one look at the directory for all
    reports = tuple(
        apply(prefix, goal, planned, dry_run=dry_run, siblings=siblings, resume=resume, **applied)
        for prefix, goal in zip(prefixes, targets)
    )
    if not dry_run and not is_written:
        write_state(new, *state)
    return reports


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
