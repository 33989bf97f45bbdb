"""Averages the variables of several checkpoints.

    average(["job/model.ckpt-800", "job/model.ckpt-900"], "averaged/model.ckpt-900")
    report = average("job", "averaged/model.ckpt-900", last=5)
    print(report.averaged, report.kept)
    average("job", "averaged/model.ckpt-900", last=5, exclude="Adam")

Sums are in float64 (complex128 for complex numbers); each variable keeps its type. What can't be
averaged (integers, bools, strings) and the global step are the newest checkpoint's, and so are
format and layout. Tensors are read in pieces, of all checkpoints side by side.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from estimator_ckpt import naming
from estimator_ckpt.bundle import Extent, TensorEntry
from estimator_ckpt.checkpoint import Checkpoint, arrays, opening
from estimator_ckpt.checkpoint.account import Account, open_account
from estimator_ckpt.checkpoint.identity import first_repeated, other_prefix
from estimator_ckpt.checkpoint.opening import find_listed, read_state
from estimator_ckpt.conversion.planning import plan
from estimator_ckpt.conversion.report import DroppedKey
from estimator_ckpt.conversion.rewriting import Change, rewrite
from estimator_ckpt.errors import (
    CheckpointArgumentError,
    CheckpointNotFoundError,
    VariableMismatchError,
)
from estimator_ckpt.shown import Shown
from estimator_ckpt.storage.files import Progress

_MOST_DIFFERENCES = 5  # that an error lists


@dataclass(frozen=True, repr=False)
class AverageReport(Shown, verb="average"):
    """What was averaged.

    Attributes:
      prefix: of the checkpoint that was written.
      format: its format, that of the newest source.
      sources: the prefixes of the checkpoints that were averaged, in the order of the sums.
      newest: the one that gave all that isn't averaged: that of the highest global step.
      step: its global step, or None where it has none.
      averaged: names of the variables that are averages, sorted.
      kept: names of those that are the newest checkpoint's, sorted.
      dropped: keys of the newest checkpoint that were left out, and why.
      bytes_written: the size of the new checkpoint's files.
    """

    prefix: str
    format: str
    sources: tuple[str, ...]
    newest: str
    step: int | None
    averaged: tuple[str, ...]
    kept: tuple[str, ...]
    dropped: tuple[DroppedKey, ...]
    bytes_written: int


def average(
    checkpoints: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    *,
    last: int | None = None,
    include: str | Sequence[str] = ".*",
    exclude: str | Sequence[str] | None = None,
    names: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> AverageReport:
    """Writes the average of checkpoints, which may be of different formats.

    Args:
      checkpoints: prefixes, or directories (their latest checkpoints); with `last`, a model_dir.
      target: the prefix of the new checkpoint.
      last: average this many checkpoints, the last that the model_dir's state file lists.
      include: regular expressions; a variable is taken if one is found in its name, and so is the
        global step in any case. Slots have names of their own.
      exclude: regular expressions; a variable is not taken if one is found in its name.
      names: how tensors are called, "auto" or "path", as for `convert`.
      overwrite: whether `target` may be replaced.
      progress: called with (target, bytes written, bytes in all).

    Returns:
      What was averaged.

    Raises:
      CheckpointArgumentError: there is nothing to average, a checkpoint is given twice, or a
        pattern is no regular expression or matches no variable.
      CheckpointNotFoundError: there is no such checkpoint, or the state file lists fewer.
      VariableMismatchError: of what is taken, the checkpoints don't have the same names, shapes
        and types.
      NameClashError: not all is to be taken, and there is no name for each tensor.
      DamagedCheckpointError: one is damaged or incomplete.
      CheckpointExistsError: `target` exists and `overwrite` is false.
      CheckpointWriteError: the file system refused to write the target.
    """
    sources = _sources(checkpoints, last)
    accounts = [open_account(each, names) for each in sources]
    opened = [account.checkpoint for account in accounts]
    prefix = other_prefix(target, *sources, *opened)
    prefixes = [each.prefix for each in opened]
    if twice := first_repeated(prefixes):
        raise CheckpointArgumentError(f"'{twice}' is given twice; it would count double")
    steps = [account.global_step for account in accounts]
    newest = max(range(len(opened)), key=lambda at: (-1 if steps[at] is None else steps[at], at))
    wanted = naming.NameFilter(include, exclude, always=(naming.GLOBAL_STEP,))
    means = _Means(accounts, newest, wanted)
    conversion = None
    if not wanted.takes_all:
        conversion = plan(
            accounts[newest], edit=lambda account: naming.choose(account.key_of, wanted)
        )
    with means.reading():
        written = rewrite(
            opened[newest],
            prefix,
            means,
            conversion=conversion,
            overwrite=overwrite,
            progress=progress,
        )
    return AverageReport(
        prefix,
        accounts[newest].format,
        tuple(prefixes),
        prefixes[newest],
        steps[newest],
        tuple(sorted(means.averaged)),
        tuple(sorted(set(filter(wanted, means.names.values())) - means.averaged)),
        conversion.dropped if conversion else (),
        written,
    )


class _Means:
    """What becomes of the newest checkpoint's tensors: the means of all, or nothing."""

    def __init__(self, accounts: Sequence[Account], newest: int, wanted: naming.NameFilter):
        checkpoints = [account.checkpoint for account in accounts]
        self._checkpoints = checkpoints
        self._step = accounts[newest].step_name
        self._newest = newest
        self.names = accounts[newest].name_of
        entries = [{name: each.entry(name) for name in each.key_of} for each in accounts]
        wanted.checked({name: None for each in entries for name in each})
        self._entries = [
            {name: entry for name, entry in each.items() if wanted(name)} for each in entries
        ]
        self.averaged: set[str] = set()
        _require_agreement(checkpoints, self._entries, newest)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Opens the data files of all but the newest, for what is averaged of them."""
        with contextlib.ExitStack() as stack:
            for number, checkpoint in enumerate(self._checkpoints):
                if number != self._newest:
                    entries = self._entries[number].items()
                    averaged = [entry for name, entry in entries if self._is_averaged(name, entry)]
                    stack.enter_context(opening.reading(checkpoint, averaged))
            yield

    def _is_averaged(self, name: str, entry: TensorEntry) -> bool:
        return name != self._step and arrays.is_floating(entry.dtype)

    def of(self, key: str, entry: TensorEntry) -> Change:
        name = self.names.get(key)
        if name is None or not self._is_averaged(name, entry):
            return None
        self.averaged.add(name)
        found = [entries[name] for entries in self._entries]
        found[self._newest] = entry
        return tuple(found)

    def dtype(self, change: Change, entry: TensorEntry) -> int:
        return entry.dtype

    def chunks(self, change: Change, entry: TensorEntry, part: int) -> Iterator[bytes]:
        found = cast("tuple[TensorEntry, ...]", change)
        dtype = arrays.numpy_dtype(entry.dtype)
        wide = np.complex128 if dtype is not None and dtype.kind == "c" else np.float64
        streams = [
            _part_chunks(checkpoint, each, entry, part)
            for checkpoint, each in zip(self._checkpoints, found)
        ]
        # Infinities and what overflows a narrow type are results, not mistakes.
        with np.errstate(all="ignore"):
            for pieces in itertools.zip_longest(
                *streams
            ):  # to the end of each: it is checked there
                total = pieces[0].astype(wide)
                for piece in pieces[1:]:
                    total += piece
                total /= len(pieces)
                yield total.astype(dtype).tobytes()


def _part_chunks(
    checkpoint: Checkpoint, entry: TensorEntry, whole: TensorEntry, part: int
) -> Iterator[arrays.Array]:
    """Reads what one part of a partitioned `whole` is in `entry`, which may have other parts."""
    if _cuts(entry) == _cuts(whole):
        return arrays.array_chunks(checkpoint, entry.stored[part])
    array = arrays.read_array(checkpoint, entry)
    if whole.parts:
        array = array[arrays.slices(whole.parts[part].extents)]
    return arrays.split(array)


def _cuts(entry: TensorEntry) -> list[tuple[Extent, ...]]:
    return [part.extents for part in entry.parts]


def _sources(
    checkpoints: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], last: int | None
) -> list[str | os.PathLike[str]]:
    if is_one := isinstance(checkpoints, (str, os.PathLike)):
        given = [checkpoints]
    else:
        given = list(checkpoints)
    if last is None:
        if is_one:
            raise CheckpointArgumentError(
                f"'{os.fspath(given[0])}' alone is nothing to average; give several "
                "checkpoints, or say how many of a model_dir's last ones (last=N, --last=N)"
            )
        if not given:
            raise CheckpointArgumentError("there is nothing to average; give checkpoints")
        return given
    if len(given) != 1 or last < 1:
        raise CheckpointArgumentError(
            f"last={last} is for one model_dir and a number of 1 or more; {len(given)} were given"
        )
    directory = os.fspath(given[0])
    _, listed = read_state(directory)
    if len(listed) < last:
        raise CheckpointNotFoundError(
            f"the state file of '{directory}' lists {len(listed)} checkpoints, not {last}; give a "
            "smaller number, or the checkpoints one by one"
        )
    return [find_listed(directory, prefix) for prefix in listed[-last:]]


def _require_agreement(
    checkpoints: Sequence[Checkpoint], entries: Sequence[dict[str, TensorEntry]], newest: int
) -> None:
    expected = entries[newest]
    for checkpoint, found in zip(checkpoints, entries):
        if differences := list(_differences(expected, found)):
            more = len(differences) - _MOST_DIFFERENCES
            raise VariableMismatchError(
                f"'{checkpoint.prefix}' and '{checkpoints[newest].prefix}' can't be averaged: "
                f"the first {'; '.join(differences[:_MOST_DIFFERENCES])}"
                + (f"; and {more} more differences" if more > 0 else "")
            )


def _differences(expected: dict[str, TensorEntry], found: dict[str, TensorEntry]) -> Iterator[str]:
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield f"lacks '{name}'"
        elif name not in expected:
            yield f"also has '{name}'"
        elif found[name][:2] != expected[name][:2]:
            yield f"has '{name}' as {_said(found[name])} instead of {_said(expected[name])}"


def _said(entry: TensorEntry) -> str:
    return f"{entry.dtype_name} {list(entry.shape)}"
