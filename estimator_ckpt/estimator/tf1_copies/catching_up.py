"""What a run does first in its directory of name-based checkpoints: it makes good a kill.

    saved = saved_by("model_dir", saver.last_checkpoints)
    catch_up(directory, claimed, "model.ckpt-30", saved, place)

A run that is killed between the job's save and the emission has not put that checkpoint there; a
moment later, it has put it there and not listed it. Where the job saves the same step again as it
starts, that is made good by itself; a chief of parameter servers, which have gone on, does not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from estimator_ckpt.checkpoint.opening import index_path, read_state, step_in_name
from estimator_ckpt.checkpoint.ownership import Claim
from estimator_ckpt.errors import CheckpointError, DamagedCheckpointError
from estimator_ckpt.estimator.tf1_copies.retention import CheckpointDirectory
from estimator_ckpt.messages import logger
from estimator_ckpt.storage import files

_log = logger(__name__)


def saved_by(model_dir: str, listed: Iterable[str]) -> dict[str, str]:
    """Returns {name: prefix} of the checkpoints that a job lists and has.

    Args:
      model_dir: where it saves.
      listed: what its Saver lists, besides the state file: not all do.
    """
    try:
        _, in_state = read_state(model_dir)
    except DamagedCheckpointError as error:
        _log.warning("%s", error)
        in_state = ()
    names = map(os.path.basename, [*in_state, *listed])
    prefixes = {name: os.path.join(model_dir, name) for name in names}
    return {name: prefix for name, prefix in prefixes.items() if files.exists(index_path(prefix))}


def catch_up(
    directory: CheckpointDirectory,
    claimed: Claim,
    coming: str,
    saved: Mapping[str, str],
    place: Callable[[str, str], None] | None,
) -> None:
    """Lists what was put into a directory and not listed, and puts there what is missing.

    Args:
      directory: as its state file says.
      claimed: whose it is.
      coming: the name of the checkpoint that is added next.
      saved: as `saved_by` returns it.
      place: puts the checkpoint of a prefix there under a name; None where this directory need not
        have each of the job's.
    """
    found = [name for name in directory.unlisted() if name != coming]
    newest = max(map(step_in_name, directory.names), default=-1)
    # What was there before the job was may be anybody's, and is never removed for being old.
    ours = [
        name
        for name in found
        if claimed.is_known
        and (name in saved or newest < step_in_name(name) <= step_in_name(coming))
    ]
    directory.adopt(ours)
    missing = []
    if place is not None:
        missing = [name for name in directory.missing(list(saved), coming) if name not in found]
        for name in missing:
            try:
                place(saved[name], name)
            except CheckpointError as error:
                _log.warning("'%s' can't be put into '%s': %s", name, directory.path, error)
        directory.adopt(missing)
    listed = set(directory.names)
    _tell("lists %s, which an earlier run has put there and not listed", directory, ours, listed)
    _tell("gets %s, which an earlier run has saved and not put there", directory, missing, listed)
    others = [name for name in found if name not in listed]
    if others:
        _log.warning(
            "In '%s' lies %s, which is not listed and which no job will remove: remove it if it is "
            "of no use",
            directory.path,
            ", ".join(others),
        )


def _tell(text: str, directory: CheckpointDirectory, names: list[str], listed: set[str]) -> None:
    done = [name for name in names if name in listed]
    if done:
        _log.warning(f"'%s' now {text}", directory.path, ", ".join(done))
