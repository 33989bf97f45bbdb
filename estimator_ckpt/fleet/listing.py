r"""Which model_dirs there are to do, and where what comes of each goes.

    given = read_list("dirs.txt")                    # [ModelDir("jobs/a"), ...]
    placed = in_places(given, output_root="out")     # [ModelDir("jobs/a", "out/jobs/a"), ...]
    chosen, refused = sorted_out(placed)             # each once; {ModelDir: why not}

A list has a model_dir a line, and after a tab its target, or the other side of a comparison. Blank
lines and those that begin with `#` are left out, and so are spaces at both ends of a name.
"""

from __future__ import annotations

import collections
import os
import posixpath
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Union

from estimator_ckpt.errors import CheckpointArgumentError, CheckpointNotFoundError
from estimator_ckpt.storage import files

_SCHEME = re.compile(r"^\w+:/+")
_DRIVE = re.compile(r"^([A-Za-z]):")


class ModelDir(NamedTuple):
    """One thing to do.

    Attributes:
      source: the model_dir.
      target: where to, or what to compare it with; None where a verb wants none, or not yet.
    """

    source: str
    target: str | None = None

    @property
    def is_remote(self) -> bool:
        """Whether a side of it lies on a store."""
        return not all(files.is_local(path) for path in self if path)


Path = Union[str, "os.PathLike[str]"]
Given = Union[Path, tuple[Path, Path], ModelDir]
"""A model_dir, or one with its target."""


def model_dir(given: Given) -> ModelDir:
    """Returns what is meant by a path, or a pair of them.

    Raises:
      CheckpointArgumentError: it is neither.
    """
    if isinstance(given, ModelDir):
        return given
    try:
        if isinstance(given, tuple):
            source, target = given
            return ModelDir(os.fsdecode(source), os.fsdecode(target))
        return ModelDir(os.fsdecode(given))
    except (TypeError, ValueError) as error:
        raise CheckpointArgumentError(
            f"{given!r} is neither a path nor a pair of source and target"
        ) from error


def read_list(path: str) -> list[ModelDir]:
    """Reads a list of model_dirs.

    Args:
      path: of the file, local or not; `-` for standard input. A pipe, as a shell's `<(...)` is one,
        is read once, until whoever writes it closes it.

    Raises:
      CheckpointArgumentError: a line has more than two columns; the message says which.
      CheckpointNotFoundError: there is no such file.
      OSError: it can't be read.
    """
    if path == "-":
        return list(parse_lines(sys.stdin.buffer.read().split(b"\n"), "standard input"))
    if not files.exists(path):
        raise CheckpointNotFoundError(f"there is no list of model_dirs '{path}'")
    if files.is_directory(path):
        raise CheckpointArgumentError(f"'{path}' is a directory; give a file with a list of them")
    return list(parse_lines(files.read_input(path).split(b"\n"), path))


def parse_lines(lines: Iterable[bytes], name: str) -> Iterator[ModelDir]:
    """Yields what the lines of a list say.

    Args:
      lines: without their ends; a carriage return is part of those.
      name: of the list, for messages.

    Raises:
      CheckpointArgumentError: a line has more than two columns, or is no text.
    """
    for number, line in enumerate(lines, start=1):
        if number == 1 and line.startswith(b"\xef\xbb\xbf"):
            line = line[3:]
        if b"\0" in line:
            raise CheckpointArgumentError(f"{name}:{number}: it is no text, but has zero bytes")
        text = os.fsdecode(line).strip()
        if not text or text.startswith("#"):
            continue
        cells = [cell.strip() for cell in text.split("\t")]
        if len(cells) > 2 or not all(cells):
            raise CheckpointArgumentError(
                f"{name}:{number}: it has {len(cells)} columns; a line is a model_dir, or a "
                "model_dir, a tab and a target"
            )
        yield ModelDir(*cells)


def in_places(
    given: Iterable[ModelDir], output_root: str | None = None, source_root: str | None = None
) -> list[ModelDir]:
    """Gives each that has no target its place below a root.

    That is the root and the path as it is given: `jobs/a` goes to `ROOT/jobs/a`, `/data/a` to
    `ROOT/data/a`, `s3://bucket/a` to `ROOT/bucket/a`. So it is the same whatever else is in a list.

    Args:
      given: what there is to do.
      output_root: the root; None if all have targets.
      source_root: a directory that all are below, for their paths from there instead.

    Raises:
      CheckpointArgumentError: one has no target, and there is no root; or it is not below
        `source_root`.
    """
    return [each if each.target else _placed(each, output_root, source_root) for each in given]


def _placed(each: ModelDir, output_root: str | None, source_root: str | None) -> ModelDir:
    if not output_root:
        raise CheckpointArgumentError(
            f"'{each.source}' has no target; give a root for all (output_root), or a target each "
            "(in a list, behind a tab)"
        )
    path = each.source
    if source_root is not None:
        path = _below(path, source_root)
    elif not files.is_remote(path):
        path = posixpath.normpath(path.replace(os.sep, "/"))
        path = os.path.abspath(path).replace(os.sep, "/") if path.startswith("..") else path
    # As an absolute path, so that it leads nowhere else than below the root.
    parts = posixpath.normpath("/" + _DRIVE.sub(r"\1", _SCHEME.sub("", path)))
    return each._replace(target=posixpath.join(output_root, parts.strip("/")))


def _below(path: str, root: str) -> str:
    remote = files.is_remote(path) or files.is_remote(root)
    full, above = (path, root) if remote else (os.path.abspath(path), os.path.abspath(root))
    above = above.rstrip("/") + "/"
    if not full.startswith(above) or ".." in full[len(above) :].split("/"):
        raise CheckpointArgumentError(f"'{path}' is not below '{root}'; leave source_root out")
    return full[len(above) :]


def sorted_out(
    given: Sequence[ModelDir], *, writes: bool = True
) -> tuple[list[ModelDir], dict[ModelDir, str]]:
    """Takes each once, and refuses what would be written where others read or write.

    Args:
      given: what there is to do.
      writes: whether targets are written to.

    Returns:
      What is left of it, in order: what leads to the same places is there once. And of these,
      which can't be done, and why.
    """
    reals = {path: real(path) for each in given for path in each if path is not None}
    first: dict[tuple[str | None, ...], ModelDir] = {}
    for each in given:
        first.setdefault(tuple(None if path is None else reals[path] for path in each), each)
    chosen = list(first.values())
    if not writes:
        return chosen, {}
    reads = {reals[each.source]: each.source for each in chosen}
    into = collections.defaultdict(list)
    for each in chosen:
        if each.target is not None:
            into[reals[each.target]].append(each)
    refused = {}
    for path, several in into.items():
        for each in several:
            reason = why_not(each, reads.get(path), [other.source for other in several])
            if reason:
                refused[each] = reason
    return chosen, refused


def why_not(each: ModelDir, read: str | None, sources: Sequence[str]) -> str | None:
    """Says why one can't be done beside others; None if it can.

    Args:
      each: which.
      read: a model_dir that is where its target is, if there is one.
      sources: of all that have this target.
    """
    if read is not None:
        also = "its source" if read == each.source else f"the model_dir '{read}', a source too"
        return f"the target '{each.target}' is {also}; nothing is changed in place: give another"
    others = [source for source in sources if source != each.source]
    if others:
        return f"the target '{each.target}' is that of '{others[0]}', too; give each its own"
    return None


def real(path: str) -> str:
    """Returns the same text for all paths that lead to the same place."""
    path = files.without_scheme(path)
    if files.is_remote(path):
        return files.plain(path)
    try:
        return os.path.normcase(os.path.realpath(path))
    except ValueError:  # a null character: there is no such path, as whoever opens it says
        return path
