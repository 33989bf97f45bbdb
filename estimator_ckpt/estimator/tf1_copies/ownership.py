"""One directory of name-based checkpoints, one job: two would remove each other's.

    claimed = claim("model_dir/tf1", "model_dir")
    renew(claimed)                                  # before each checkpoint

A job has a random identity, in a file of its model_dir. A file in the directory has it, too, and
says where the job is and which run of it has the directory now. So a job that is restarted, or
moved, is known again, and another one is not, though it be under the same path elsewhere.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from estimator_ckpt.errors import CheckpointArgumentError, CheckpointWriteError
from estimator_ckpt.messages import logger
from estimator_ckpt.storage import files

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

_log = logger(__name__)

OWNER_FILE = "estimator_ckpt_job.json"
"""In the directory: whose it is."""
IDENTITY_FILE = "estimator_ckpt_job_id.json"
"""In the model_dir: which job this is."""


@dataclass(frozen=True)
class Claim:
    """That a directory is a run's.

    Attributes:
      directory: where name-based checkpoints are emitted to.
      model_dir: where the job saves.
      job: the job's identity.
      run: that of this run, which has claimed the directory last.
      is_known: whether the directory was this job's before.
    """

    directory: str
    model_dir: str
    job: str
    run: str
    is_known: bool


@dataclass(frozen=True)
class _Owner:
    """What the owner's file says; `job` is None in one of an early version."""

    job: str | None
    run: str | None
    places: tuple[str, ...]  # where the job may be, the likelier first


def claim(directory: str, model_dir: str, *, take_over: bool = False) -> Claim:
    """Makes a directory that of a job, or makes sure that it is.

    Args:
      directory: where name-based checkpoints are emitted to.
      model_dir: where the job saves.
      take_over: whether this job may have the directory of another one.

    Raises:
      CheckpointArgumentError: it is where the job itself saves; or another job's, and it is not to
        be taken over.
      OSError: the file system refused (or what `tf.io.gfile` raises).
    """
    if files.is_same(directory, model_dir):
        raise CheckpointArgumentError(
            f"'{directory}' is where the job itself saves; "
            "give the name-based checkpoints a directory of their own"
        )
    owner = _read_owner(directory)
    job = _read_identity(model_dir)
    if owner is not None and not take_over:
        _require_own(directory, owner, model_dir, job)
    if job is None or (owner is not None and _is_copied_with_it(owner, model_dir, job)):
        # If it is killed here, the directory is still of what it was before.
        fields = {"job": secrets.token_hex(16), **({"was": job} if job is not None else {})}
        _write(os.path.join(model_dir, IDENTITY_FILE), fields)
        job = fields["job"]
    made = Claim(directory, model_dir, job, secrets.token_hex(8), owner is not None)
    _write_owner(made)
    return made


def renew(claimed: Claim) -> bool:
    """Makes sure that a directory is still a run's; one that was removed is claimed anew.

    Returns:
      Whether it was there.

    Raises:
      CheckpointWriteError: another job, or another run of this one, has claimed it since.
      OSError: the file system refused (or what `tf.io.gfile` raises).
    """
    owner = _read_owner(claimed.directory)
    if owner is None:
        _log.warning("'%s' was removed; it is made anew", claimed.directory)
        _write_owner(claimed)
        return False
    if (owner.job, owner.run) != (claimed.job, claimed.run):
        other = "another run of this job" if owner.job == claimed.job else "another job"
        raise CheckpointWriteError(
            f"{other} has claimed '{claimed.directory}' since, from '{owner.places[-1]}', so "
            f"nothing of '{claimed.model_dir}' is put there any more; end one of them, or give "
            "each a directory of its own"
        )
    return True


def _require_own(directory: str, owner: _Owner, model_dir: str, job: str | None) -> None:
    """Makes sure that a job is the one that a directory is of."""
    elsewhere = _others(owner, model_dir)
    if owner.job is None:  # then only the places tell
        is_other = not _is_here(owner, model_dir) and bool(elsewhere)
    elif _is_here(owner, model_dir) and owner.job == _read_identity(model_dir, "was"):
        is_other = False  # it was killed when it had got an identity of its own
    elif owner.job == job:
        is_other = not _is_here(owner, model_dir) and job in map(_read_identity, elsewhere)
    else:
        is_other = True
    if not is_other:
        return
    place = elsewhere[0] if elsewhere else owner.places[-1]
    relation = "a copy of it" if owner.job is not None and owner.job == job else "another one"
    raise CheckpointArgumentError(
        f"'{directory}' has the name-based checkpoints of the job in '{place}', and this one saves "
        f"in '{model_dir}' and is {relation}: they would remove each other's. Which of them is to "
        "have the directory? If the other, give this one a directory of its own; if this one, "
        "tf1_take_over=True (--tf1_take_over; take_over=True of a hook or listener)"
    )


def _is_here(owner: _Owner, model_dir: str) -> bool:
    return any(files.is_same(place, model_dir) for place in owner.places)


def _others(owner: _Owner, model_dir: str) -> list[str]:
    """Returns the directories where the owner may be, but for this job's."""
    return [
        place
        for place in owner.places
        if not files.is_same(place, model_dir) and files.is_directory(place)
    ]


def _is_copied_with_it(owner: _Owner, model_dir: str, job: str) -> bool:
    """Returns whether a job and its directory were copied, and what they were copied from is there.

    They share nothing then, so that the copy just needs an identity of its own.
    """
    return _is_here(owner, model_dir) and job in map(_read_identity, _others(owner, model_dir))


def _read_identity(model_dir: str, field: str = "job") -> str | None:
    found = _read(os.path.join(model_dir, IDENTITY_FILE))
    job = found.get(field) if found is not None else None
    return job if isinstance(job, str) and job else None


def _read_owner(directory: str) -> _Owner | None:
    """Returns what the owner's file says; None if there is none that can be understood."""
    found = _read(os.path.join(directory, OWNER_FILE))
    if found is None:
        return None
    model_dir, *others = (found.get(name) for name in ("model_dir", "from_here", "job", "run"))
    if not _is_text(model_dir) or not all(field is None or _is_text(field) for field in others):
        _say_unreadable(os.path.join(directory, OWNER_FILE))
        return None
    from_here, job, run = others
    near = [os.path.join(directory, from_here)] if from_here is not None else []
    return _Owner(job, run, (*near, model_dir))


def _read(path: str) -> dict[str, Any] | None:
    """Returns the fields of a file; None, which is said, if there are none."""
    if not files.exists(path):
        return None
    try:
        found = json.loads(files.read(path))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        _say_unreadable(path)
        return None
    return found


def _is_text(field: object) -> TypeGuard[str]:
    return isinstance(field, str) and "\0" not in field


def _say_unreadable(path: str) -> None:
    _log.warning("'%s' can't be understood, so it is written anew", path)


def _write_owner(claimed: Claim) -> None:
    files.make_directory(claimed.directory)
    fields = {
        "job": claimed.job,
        "run": claimed.run,
        **_place(claimed.directory, claimed.model_dir),
    }
    _write(os.path.join(claimed.directory, OWNER_FILE), fields)


def _write(path: str, fields: dict[str, str]) -> None:
    files.write_atomically(path, json.dumps(fields, indent=2).encode())


def _place(directory: str, model_dir: str) -> dict[str, str]:
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
