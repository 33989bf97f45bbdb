"""What TARGET means: the prefix of a checkpoint, or a folder for one.

Synopsis:

    do = into("new/", lambda prefix, **options: rename("job", prefix, rules, **options), ["job"])
    do(overwrite=True)    # writes new/model.ckpt-50, and new/checkpoint, which lists it

Nothing is written as the hidden file `new/.index`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from estimator_ckpt.cli.filters import CHECKPOINT
from estimator_ckpt.errors import CheckpointArgumentError, CheckpointError
from estimator_ckpt.storage import files

TARGET = """\
TARGET is the prefix of the new checkpoint; or a folder, one that is there or whose name ends in \
'/': the checkpoint is FOLDER/model.ckpt-STEP then, and the folder's state file lists it."""
FROM_TO = f"""\
SOURCE is a checkpoint of any format: {CHECKPOINT}. It is never changed. {TARGET}"""
_Report = TypeVar("_Report")


@dataclass(frozen=True)
class Place:
    """Where a new checkpoint goes.

    Attributes:
      prefix: of the checkpoint.
      folder: whose state file is to list it; None where a prefix was given.
      latest: what that state file names as the latest, or None.
      listed: what it lists.
    """

    prefix: str
    folder: str | None = None
    latest: str | None = None
    listed: Sequence[str] = ()

    def written(self) -> None:
        """Has the state file list it: as the latest, unless one of a later step is there."""
        if self.folder is None:
            return
        from estimator_ckpt.checkpoint.opening import step_in_name, write_state

        others = [each for each in self.listed if not files.is_same(each, self.prefix)]
        stays = self.latest is not None and step_in_name(self.latest) > step_in_name(self.prefix)
        listed = [self.prefix, *others] if stays else [*others, self.prefix]
        latest = self.latest if stays and self.latest is not None else self.prefix
        write_state(self.folder, latest, listed)


def into(
    target: str,
    write: Callable[..., _Report],
    sources: Sequence[str],
    step: Callable[[], int | None] | None = None,
) -> Callable[..., _Report]:
    """Returns what writes to where a target leads, and has a folder's state file list it.

    Args:
      target: as it was typed.
      write: writes, given the prefix and options.
      sources: checkpoints, whose greatest global step names the new one in a folder.
      step: tells that step, where the sources are no checkpoints.

    Raises:
      DamagedCheckpointError: the folder's state file can't be read.
    """
    place = place_of(target, step or (lambda: step_of(*sources)), () if step else sources)

    def do(**options: Any) -> _Report:
        report = write(place.prefix, **options)
        if not options.get("dry_run"):
            place.written()
        return report

    return do


def place_of(target: str, step: Callable[[], int | None], sources: Sequence[str] = ()) -> Place:
    """Returns where a target leads.

    Args:
      target: as it was typed.
      step: tells the global step of the source; it is only asked where that is needed. What it
        raises is left to be raised by what reads the source.
      sources: the checkpoints that are read.

    Raises:
      CheckpointArgumentError: the folder is that of a source.
      DamagedCheckpointError: the folder's state file can't be read.
    """
    from estimator_ckpt.checkpoint.opening import index_path, read_state

    bare = target.rstrip("/") or target
    is_folder = files.is_directory(bare) or (target.endswith("/") and not files.exists(bare))
    if not is_folder or files.exists(index_path(bare)):
        return Place(target)  # a prefix; or what no checkpoint can have for one, as writing it says
    for source in sources:
        if any(files.is_same(bare, folder) for folder in _folders(source)):
            raise CheckpointArgumentError(
                f"'{target}' is both source and target: a checkpoint there, listed by the state "
                "file, would change the source's folder; give another one"
            )
    latest, listed = read_state(bare)
    try:
        found = step()
    except Exception as error:
        if not (isinstance(error, CheckpointError) or files.is_refusal(error)):
            raise
        found = None
    name = "model.ckpt" if found is None else f"model.ckpt-{found}"
    return Place(os.path.join(bare, name), bare, latest, listed)


def _folders(source: str) -> tuple[str, ...]:
    """The folders that a source is of: itself, that of its checkpoint, and where links lead."""
    from estimator_ckpt.checkpoint.opening import find_prefix, index_path

    try:
        prefix = find_prefix(source)
        real = prefix if files.is_remote(prefix) else os.path.realpath(index_path(prefix))
        return source, os.path.dirname(prefix) or os.curdir, os.path.dirname(real)
    except Exception as error:
        if not (isinstance(error, CheckpointError) or files.is_refusal(error)):
            raise
        return (source,)


def step_of(*checkpoints: str) -> int | None:
    """Returns the greatest global step of checkpoints; None where none has one."""
    from estimator_ckpt.checkpoint.account import open_account

    steps = [open_account(checkpoint).global_step for checkpoint in checkpoints]
    return max((step for step in steps if step is not None), default=None)
