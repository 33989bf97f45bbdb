"""One directory of name-based checkpoints, one job: two would remove each other's.

    claim("model_dir/tf1", "model_dir")

A file in the directory says whose it is, so that a job which is restarted, or moved together with
its directory, is known again.
"""

from __future__ import annotations

import json
import logging
import os

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.storage import files

_log = logging.getLogger(__name__)

OWNER_FILE = "estimator_ckpt_job.json"


def claim(directory: str, model_dir: str) -> None:
    """Makes a directory that of a job, or makes sure that it is.

    Args:
      directory: where name-based checkpoints are emitted to.
      model_dir: where the job saves.

    Raises:
      CheckpointArgumentError: it is where the job itself saves, or another job's.
      OSError: the file system refused (or what `tf.io.gfile` raises).
    """
    if files.is_same(directory, model_dir):
        raise CheckpointArgumentError(
            f"'{directory}' is where the job itself saves; "
            "give the name-based checkpoints a directory of their own"
        )
    path = os.path.join(directory, OWNER_FILE)
    owners = _read(path, directory) if files.exists(path) else []
    if any(files.is_same(owner, model_dir) for owner in owners):
        return
    # None of them is there any more where the job was moved without the directory.
    if other := next(filter(files.is_directory, owners), None):
        raise CheckpointArgumentError(
            f"'{directory}' has the name-based checkpoints of the job in '{other}', and this one "
            f"saves in '{model_dir}': they would remove each other's. Give each job a directory of "
            f"its own; or, if the other will never run again, remove '{path}'"
        )
    files.make_directory(directory)
    files.write_atomically(path, json.dumps(_owner(directory, model_dir), indent=2).encode())


def _owner(directory: str, model_dir: str) -> dict[str, str]:
    """Says where a model_dir is, by itself and as seen from the directory: either may stay true."""
    if files.is_remote(directory) or files.is_remote(model_dir):
        remote = files.is_remote(model_dir)
        return {"model_dir": model_dir if remote else os.path.abspath(model_dir)}
    absolute = os.path.realpath(model_dir)
    try:
        return {
            "model_dir": absolute,
            "from_here": os.path.relpath(absolute, os.path.realpath(directory)),
        }
    except ValueError:  # on another drive of Windows
        return {"model_dir": absolute}


def _read(path: str, directory: str) -> list[str]:
    """Returns where the job may be that a directory is of, the likelier first."""
    try:
        found = json.loads(files.read(path))
        owners = [os.path.join(directory, found["from_here"])] if "from_here" in found else []
        return [*owners, os.fspath(found["model_dir"])]
    except (ValueError, TypeError, KeyError, AttributeError):
        _log.warning("'%s' can't be understood, so it is written anew", path)
        return []
