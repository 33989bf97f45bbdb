"""One directory of name-based checkpoints, one job: two would remove each other's.

    claimed = claim("model_dir/tf1", "model_dir")
    renew(claimed)                                  # before each checkpoint

A job has a random identity, in a file of its model_dir. A file in the directory has it, too, and
says where both are and which run of the job has the directory now. So a job that is restarted, or
moved, is known again, and another one is not, though it be under the same path elsewhere. A job
that was copied with its directory has the copy, and an identity of its own from then on.
"""

from __future__ import annotations

import functools
import json
import os
import posixpath
import secrets
from collections.abc import Callable, Mapping
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
_REMEMBERED = 8  # directories


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
    model_dir: str
    """Where the job was."""
    near: str | None
    """Where it is if it was moved or copied with the directory."""
    directory: str | None
    """Where the directory was."""

    @property
    def places(self) -> tuple[str, ...]:
        """Where the job may be, the likelier first."""
        return (self.model_dir,) if self.near is None else (self.near, self.model_dir)


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
    identity = _read(os.path.join(model_dir, IDENTITY_FILE)) or {}
    job = _job_in(identity)
    if owner is not None and not take_over:
        _require_own(directory, owner, model_dir, job)
    is_copy = owner is not None and job is not None and _is_copied(directory, owner, model_dir, job)
    fields = dict(identity)
    if job is None or is_copy:
        fields = {"job": secrets.token_hex(16), **({"was": job} if job is not None else {})}
    if elsewhere := _elsewhere(identity, directory, model_dir):
        fields["directories"] = elsewhere
    if fields != identity:
        # If it is killed here, the directory is still of what it was before.
        _write(os.path.join(model_dir, IDENTITY_FILE), fields)
    job = fields["job"]
    made = Claim(directory, model_dir, job, secrets.token_hex(8), owner is not None)
    _write_owner(made)
    if is_copy:
        _log.info(
            "'%s' was copied with '%s', and is a job of its own from now on", model_dir, directory
        )
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


def _elsewhere(identity: Mapping[str, Any], directory: str, model_dir: str) -> list[str]:
    """Returns the directories of a job that don't lie in its model_dir, this one the last."""
    known = _directories_in(identity)
    if files.is_same(os.path.dirname(directory.rstrip("/")) or os.curdir, model_dir):
        return known
    place = _absolute(directory)
    return [*(each for each in known if each != place), place][-_REMEMBERED:]


def directories_of(model_dir: str) -> list[str]:
    """Returns where else than in its model_dir a job has emitted to, as far as it is remembered."""
    return _directories_in(_read(os.path.join(model_dir, IDENTITY_FILE)) or {})


def _directories_in(identity: Mapping[str, Any]) -> list[str]:
    found = identity.get("directories")
    return [place for place in found if _is_text(place)] if isinstance(found, list) else []


def job_of(directory: str) -> str | None:
    """Returns the model_dir of the job that a directory is of, if that is there.

    Args:
      directory: any.
    """
    if not files.exists(os.path.join(directory, OWNER_FILE)):
        return None
    owner = _read_owner(directory)
    job = None if owner is None else owner.job
    if owner is None or job is None:
        return None
    for place in owner.places:
        if _may(place, functools.partial(_has, place, job), otherwise=False):
            return _absolute(place)
    return None


def _require_own(directory: str, owner: _Owner, model_dir: str, job: str | None) -> None:
    """Makes sure that a job is the one that a directory is of."""
    is_here = any(files.is_same(place, model_dir) for place in owner.places)
    if owner.job is None:  # then only the places tell
        is_other = not is_here and any(map(_is_there, owner.places))
    elif owner.job == job:
        others = _others_with(owner, model_dir, job)
        if is_here:  # unless the directory was copied to where another copy of the job is
            is_other = owner.near in others and _was_copied(directory, owner, model_dir)
        else:
            is_other = bool(others) and not _was_copied(directory, owner, model_dir)
    else:  # unless it was killed when it had got an identity of its own
        is_known = owner.job == _read_identity(model_dir, "was")
        is_other = not (is_known and (is_here or _was_copied(directory, owner, model_dir)))
    if not is_other:
        return
    elsewhere = [place for place in owner.places if not files.is_same(place, model_dir)]
    place = next(filter(_is_there, elsewhere), owner.model_dir)
    relation = "a copy of it" if owner.job is not None and owner.job == job else "another one"
    raise CheckpointArgumentError(
        f"'{directory}' has the name-based checkpoints of the job in '{place}', and this one saves "
        f"in '{model_dir}' and is {relation}: they would remove each other's. Which of them is to "
        "have the directory? If the other, give this one a directory of its own; if this one, "
        "tf1_take_over=True (--tf1_take_over; take_over=True of a hook or listener)"
    )


def _others_with(owner: _Owner, model_dir: str, job: str) -> list[str]:
    """Returns the places, but for this job's, where one of the same identity is, or may be."""
    elsewhere = [place for place in owner.places if not files.is_same(place, model_dir)]
    return [place for place in elsewhere if _may(place, functools.partial(_has, place, job))]


def _has(model_dir: str, job: str) -> bool:
    return _read_identity(model_dir) == job


def _is_there(place: str) -> bool:
    return _may(place, functools.partial(files.is_directory, place))


def _may(place: str, ask: Callable[[], bool], otherwise: bool = True) -> bool:
    """Returns an answer about another job's place; `otherwise` where it can't be reached from here.

    It may be in a store that this job has no rights in, or of a kind that is not known here.
    """
    try:
        return ask()
    except Exception as error:
        if not files.is_refusal(error):
            raise
        _log.warning("'%s', where this job or another one was, can't be reached: %s", place, error)
        return otherwise


def _was_copied(directory: str, owner: _Owner, model_dir: str) -> bool:
    """Returns whether the job that a directory was of has another one, which this is a copy of.

    Records of early versions don't say where the directory was: beside the job as it is now.
    """
    original = owner.directory
    if original is None and (seen := _relative(directory, model_dir)) is not None:
        original = _joined(owner.model_dir, seen)
    if original is None or files.is_same(original, directory):
        return False
    return _may(original, functools.partial(_is_of, original, owner.job), otherwise=False)


def _is_of(directory: str, job: str | None) -> bool:
    owner = _read_owner(directory)
    return owner is not None and owner.job == job


def _is_copied(directory: str, owner: _Owner, model_dir: str, job: str) -> bool:
    """Returns whether a job and its directory were copied, and what they were copied from is there.

    They share nothing then, so that the copy just needs an identity of its own.
    """
    if owner.job != job or not _others_with(owner, model_dir, job):
        return False
    is_near = owner.near is not None and files.is_same(owner.near, model_dir)
    return is_near or _was_copied(directory, owner, model_dir)


def _read_identity(model_dir: str, field: str = "job") -> str | None:
    return _job_in(_read(os.path.join(model_dir, IDENTITY_FILE)) or {}, field)


def _job_in(identity: Mapping[str, Any], field: str = "job") -> str | None:
    job = identity.get(field)
    return job if isinstance(job, str) and job else None


def _read_owner(directory: str) -> _Owner | None:
    """Returns what the owner's file says; None if there is none that can be understood."""
    found = _read(os.path.join(directory, OWNER_FILE))
    if found is None:
        return None
    fields = ("model_dir", "from_here", "job", "run", "directory")
    model_dir, *others = map(found.get, fields)
    if not _is_text(model_dir) or not all(field is None or _is_text(field) for field in others):
        _say_unreadable(os.path.join(directory, OWNER_FILE))
        return None
    from_here, job, run, was_at = others
    near = _joined(directory, from_here) if from_here is not None else None
    return _Owner(job, run, model_dir, near, was_at)


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


def _write(path: str, fields: Mapping[str, Any]) -> None:
    files.write_atomically(path, json.dumps(fields, indent=2).encode())


def _place(directory: str, model_dir: str) -> dict[str, str]:
    """Says where a model_dir is, by itself and as seen from the directory: either may stay true."""
    near = _relative(model_dir, directory)
    return {
        "model_dir": _absolute(model_dir),
        **({"from_here": near} if near is not None else {}),
        "directory": _absolute(directory),
    }


def _absolute(path: str) -> str:
    return path if files.is_remote(path) else os.path.realpath(path)


def _relative(path: str, start: str) -> str | None:
    """Returns a path as seen from a directory; None from another store, bucket or drive."""
    scheme, bucket, inside = _split(path)
    start_scheme, start_bucket, start_inside = _split(start)
    if (scheme, bucket) != (start_scheme, start_bucket):
        return None
    if scheme:
        return posixpath.relpath("/" + inside, "/" + start_inside)
    try:
        return os.path.relpath(os.path.realpath(path), os.path.realpath(start))
    except ValueError:  # on another drive of Windows
        return None


def _joined(directory: str, seen: str) -> str | None:
    """Undoes `_relative`; None if it would lead out of the bucket. Stores know no `..`."""
    scheme, bucket, inside = _split(directory)
    if not scheme:
        return os.path.join(directory, seen)
    found = posixpath.normpath(posixpath.join(inside, seen))
    return None if found.split("/")[0] == ".." else f"{scheme}://{bucket}/{found}"


def _split(path: str) -> tuple[str, str, str]:
    """Returns scheme, bucket and what is in it of a remote path; ("", "", path) of a local one."""
    if not files.is_remote(path):
        return "", "", path
    scheme, _, rest = path.partition("://")
    bucket, _, inside = rest.partition("/")
    return scheme, bucket, posixpath.normpath(inside or ".")
