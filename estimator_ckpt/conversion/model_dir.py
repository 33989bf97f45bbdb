"""Converts all checkpoints of a model_dir, its state file included.

    reports = convert_all("job", "job_tf2", to="tf2")

What a job's own readers find in the old directory by its state file, others find in the new one.
"""

from __future__ import annotations

import os
from typing import Any

from estimator_ckpt.checkpoint.identity import other_prefix, require_other_directory
from estimator_ckpt.checkpoint.opening import find_listed, read_state, write_state
from estimator_ckpt.checkpoint.siblings import Siblings
from estimator_ckpt.conversion.committing import apply
from estimator_ckpt.conversion.converting import planner
from estimator_ckpt.conversion.report import ConversionReport
from estimator_ckpt.errors import CheckpointNotFoundError
from estimator_ckpt.storage import files

_OF_APPLY = ("names", "overwrite", "copy", "compact", "progress")


@files.looking_once()
def convert_all(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    dry_run: bool = False,
    **options: Any,
) -> tuple[ConversionReport, ...]:
    """Converts each checkpoint that a state file lists, the oldest first.

    Args:
      source: a directory with a state file.
      target: another directory; the checkpoints keep their names in it. Its state file is written
        last, and lists what the source's lists.
      dry_run: only say what would be done.
      **options: as for `convert`.

    Returns:
      What was done for each.

    Raises:
      CheckpointArgumentError: source and target are the same directory.
      CheckpointNotFoundError: the source has no state file, or that names no checkpoint.
      CheckpointError: as `convert`. What was converted before stays, without a state file.
    """
    old, new = os.fsdecode(source), os.fsdecode(target)
    require_other_directory(new, old)
    latest, listed = read_state(old)
    if latest is None:
        raise CheckpointNotFoundError(
            f"'{old}' has no state file that lists its checkpoints; convert them one by one"
        )
    prefixes = [find_listed(old, prefix) for prefix in listed or (latest,)]
    targets = [os.path.join(new, os.path.basename(prefix)) for prefix in prefixes]
    for prefix, goal in zip(prefixes, targets):  # before any is converted
        other_prefix(goal, prefix)
    applied = {name: options.pop(name) for name in _OF_APPLY if name in options}
    planned = planner(**options)
    siblings = None if dry_run else Siblings(new)  # one look at the directory for all
    reports = tuple(
        apply(prefix, goal, planned, dry_run=dry_run, siblings=siblings, **applied)
        for prefix, goal in zip(prefixes, targets)
    )
    if not dry_run:
        write_state(new, os.path.join(new, os.path.basename(latest)), targets)
    return reports
