"""Whether what is to be written is what is read: one answer, however either is spelled.

    prefix = other_prefix(target, checkpoint)       # raises if writing it would touch the source
    path = other_file("weights.npz", checkpoint)
    is_same_checkpoint("job/model.ckpt-5", "./job/../job/model.ckpt-5")

What counts is where a path leads: relative, absolute, through symbolic links, on a file system that
ignores case, through a hard link to the index. Data files are another matter: conversions
link them, so two checkpoints with the same data are still two.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Union

from estimator_ckpt.checkpoint.opening import (
    FOREIGN_SUFFIXES,
    META_SUFFIX,
    STATE_FILE,
    Checkpoint,
    file_of,
    index_path,
)
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.storage import files

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Source = Union[Checkpoint, Path]
"""What is read: an opened checkpoint, or a path as it was given (of a file, prefix, directory)."""


def other_prefix(target: Path, *sources: Source) -> str:
    """Makes sure, before any work, that a new checkpoint takes nothing away from what is read.

    Args:
      target: the prefix of the new checkpoint.
      *sources: what is read.

    Returns:
      The prefix as a string.

    Raises:
      CheckpointArgumentError: it is a source, or a file of one; or it is called like one file of a
        checkpoint or like one of Keras, or is a state file, a directory, or a file and a '/'.
    """
    prefix = os.fsdecode(target)
    require_prefix(prefix)
    if prefix.lower().endswith(FOREIGN_SUFFIXES):
        raise CheckpointArgumentError(
            f"'{prefix}' is called like a file of Keras, which a checkpoint of that prefix would "
            "hide from readers; give another prefix, or write a .weights.h5 or a .keras by "
            "estimator_ckpt.convert(source, target, like=model)"
        )
    if os.path.basename(prefix) == STATE_FILE and files.exists(prefix):
        raise CheckpointArgumentError(
            f"'{prefix}' is the state file of that directory; give another target"
        )
    places = files.places(prefix) | files.places(index_path(prefix.rstrip("/")))
    for source in sources:
        read = dict.fromkeys((*_paths(source), *_files(source)))
        stems = (stem for path in read for stem in _stems(path))
        if not all(places.isdisjoint(files.places(each)) for each in read) or any(
            is_same_checkpoint(prefix, path) for path in dict.fromkeys((*_paths(source), *stems))
        ):
            raise _both(prefix, source)
    if os.path.basename(prefix) in ("", os.curdir, os.pardir):
        bare = prefix.rstrip("/")
        is_file = files.exists(bare) and not files.is_directory(bare)
        folder = os.path.dirname(bare) if is_file else prefix
        raise CheckpointArgumentError(
            f"'{prefix}' is a {'file' if is_file else 'directory'}; give the prefix of the new "
            f"checkpoint, such as '{os.path.join(folder, 'model.ckpt')}'"
        )
    return prefix


def other_file(target: Path, *sources: Source) -> str:
    """Makes sure, before any work, that a new file replaces none of a checkpoint.

    Args:
      target: the file to be written.
      *sources: what is read.

    Returns:
      Its path as a string.

    Raises:
      CheckpointArgumentError: it is a source, or a file of one; or it is called like one file of a
        checkpoint, or like a state file, which readers of its directory would take it for.
    """
    path = os.fsdecode(target)
    for step in _steps(path):
        stem = file_of(step)
        if stem is not None:
            raise CheckpointArgumentError(
                f"'{path}' belongs to the checkpoint '{stem}', or would be taken for a file of it; "
                "give another target"
            )
        if os.path.basename(step) == STATE_FILE:
            raise CheckpointArgumentError(
                f"'{path}' is the state file of its directory, or would be taken for it; "
                "give another target"
            )
    for source in sources:
        if any(files.is_same(path, each) for each in (*_paths(source), *_files(source))) or any(
            is_same_checkpoint(path, each) for each in _paths(source)
        ):
            raise _both(path, source)
    return path


def require_prefix(prefix: str) -> None:
    """Makes sure that a new checkpoint is not called like one file of a checkpoint.

    Raises:
      CheckpointArgumentError: it is.
    """
    stem = file_of(prefix)
    if stem is not None:
        raise CheckpointArgumentError(
            f"'{prefix}' is called like one file of a checkpoint; "
            f"give the new one's prefix: '{stem}'"
        )


def require_other_directory(target: Path, source: Path) -> None:
    """Makes sure that a directory to be filled is not the one that is read.

    Raises:
      CheckpointArgumentError: it is.
    """
    if files.is_same(os.fsdecode(source), os.fsdecode(target)):
        raise CheckpointArgumentError(
            f"'{os.fsdecode(target)}' is both source and target; give another directory"
        )


def is_same_checkpoint(first: str, second: str) -> bool:
    """Returns whether two prefixes are of one checkpoint, which need not exist."""
    first, second = first.rstrip("/"), second.rstrip("/")
    if files.is_same(index_path(first), index_path(second)):
        return True
    return os.path.basename(first) == os.path.basename(second) and files.is_same(
        os.path.dirname(first) or ".", os.path.dirname(second) or "."
    )


def first_repeated(prefixes: Sequence[str]) -> str | None:
    """Returns a prefix whose checkpoint is there once more, under whatever name; or None."""
    for first, second in itertools.combinations(prefixes, 2):
        if is_same_checkpoint(first, second):
            return second
    return None


def _paths(source: Source) -> tuple[str, ...]:
    """Returns what stands for a source."""
    return (source.prefix,) if isinstance(source, Checkpoint) else (os.fsdecode(source),)


def _files(source: Source) -> tuple[str, ...]:
    """Returns the files that a source is read from."""
    if not isinstance(source, Checkpoint):
        return (os.fsdecode(source),)
    return (*source.file_paths, source.prefix + META_SUFFIX)


def _stems(path: str) -> Iterator[str]:
    """Yields the prefix of each checkpoint that a path leads to a file of."""
    return (stem for step in _steps(path) if (stem := file_of(step)) is not None)


def _steps(path: str) -> Iterator[str]:
    """Yields a path, and each one that symbolic links lead on to."""
    path = files.without_scheme(path)
    for _ in range(_MOST_LINKS):
        yield path
        if files.is_remote(path) or not os.path.islink(path):
            return
        path = os.path.join(os.path.dirname(path), os.readlink(path))


_MOST_LINKS = 40  # as Linux follows


def _both(target: str, source: Source) -> CheckpointArgumentError:
    read = _paths(source)[0]
    spelled = "" if read == target else f" (it leads to '{read}')"
    return CheckpointArgumentError(
        f"'{target}' is both source and target{spelled}; give another target"
    )
