"""A place on the local disk for what goes to a store, which has nowhere to stage it.

path = scratch_path("s3://bucket/job/model.ckpt-10.data")

It is this user's alone and goes with the process; if that is killed, whoever comes next removes it.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile

from estimator_ckpt.storage.staging import is_abandoned, staged_for, staging_name

_NAME = "estimator-ckpt"


def scratch_path(path: str) -> str:
    """Returns a fresh name on the local disk for what will be at `path`."""
    return os.path.join(_directory(os.getpid()), os.path.basename(staging_name(path)))


@functools.lru_cache(maxsize=1)
def _directory(process: int) -> str:
    root = tempfile.gettempdir()
    for name in os.listdir(root):
        if staged_for(name) == _NAME and is_abandoned(name):
            shutil.rmtree(os.path.join(root, name), ignore_errors=True)
    made = staging_name(os.path.join(root, _NAME))
    os.mkdir(made, 0o700)
    atexit.register(_remove, made, process)
    return made


def _remove(directory: str, process: int) -> None:
    if os.getpid() == process:  # and not a fork of it
        shutil.rmtree(directory, ignore_errors=True)
