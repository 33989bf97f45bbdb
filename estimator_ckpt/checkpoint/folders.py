"""Which folders have checkpoints, and which checkpoints a folder has.

    list(with_checkpoints("jobs"))          # ["jobs/a", "jobs/b/tf1", ...]
    checkpoints_in("jobs/a")                # ["jobs/a/model.ckpt-9", "jobs/a/model.ckpt-10"]

Only names are looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from estimator_ckpt.checkpoint.opening import INDEX_SUFFIX, STATE_FILE, find_prefix
from estimator_ckpt.storage import files

_VARIABLES = "variables"  # of a SavedModel, which stands for them


def with_checkpoints(directory: str) -> Iterator[str]:
    """Yields a directory, if it has checkpoints, and those below it that have some, by name.

    Args:
      directory: where to look; links to directories are not followed.

    Yields:
      Model_dirs, SavedModels, and directories with checkpoints that no state file lists; and
      what can't be listed, which whoever looks into it says.
    """
    try:
        names = files.names(directory)
    except Exception as error:
        if not files.is_refusal(error):
            raise
        yield directory
        return
    below = [name.rstrip("/") for name in names if _is_directory(os.path.join(directory, name))]
    if _VARIABLES in below and os.path.basename(directory.rstrip("/")) != _VARIABLES:
        inside = files.names(os.path.join(directory, _VARIABLES))
        if _VARIABLES + INDEX_SUFFIX in inside:
            below.remove(_VARIABLES)
            names = [*names, STATE_FILE]
    if any(name == STATE_FILE or name.endswith(INDEX_SUFFIX) for name in names):
        yield directory
    for name in below:
        yield from with_checkpoints(os.path.join(directory, name))


def checkpoints_in(path: str) -> list[str]:
    """Returns the prefixes of all checkpoints of a directory, by name, numbers by their size.

    Args:
      path: a directory; of what is none, the checkpoint that it stands for is returned.

    Raises:
      CheckpointNotFoundError: there is none.
    """
    if not files.is_directory(path) or files.exists(path + INDEX_SUFFIX):
        return [find_prefix(path)]
    names = [
        name[: -len(INDEX_SUFFIX)] for name in files.names(path) if name.endswith(INDEX_SUFFIX)
    ]
    if not names:
        return [find_prefix(path)]
    return [os.path.join(path, name) for name in sorted(names, key=_natural)]


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _is_directory(path: str) -> bool:
    path = path.rstrip("/")
    return files.is_directory(path) and not files.is_link(path)
