"""Says in what two checkpoints differ, variable by variable, whatever their formats are.

    difference = diff("job/model.ckpt-100", "converted/ckpt-100")
    for change in difference.changes:
        print(change.kind, change.name, change.new_name)
    diff("a/ckpt", "b/ckpt", values=True, tolerance=1e-6)    # how far values are apart

Without `values` only the two indexes are read: what has equal type, shape and checksums is equal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from estimator_ckpt import naming
from estimator_ckpt.bundle import TensorEntry
from estimator_ckpt.bundle.slice_spec import checksum_of_whole
from estimator_ckpt.checkpoint import Checkpoint
from estimator_ckpt.checkpoint.account import open_account
from estimator_ckpt.checkpoint.opening import reading
from estimator_ckpt.conversion.planning import fitted
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.naming.filters import NameFilter
from estimator_ckpt.notebook import html_table
from estimator_ckpt.operations.describe import by_scope
from estimator_ckpt.shown import Shown
from estimator_ckpt.storage.files import Progress

if TYPE_CHECKING:
    from estimator_ckpt.operations.distance import Distance

KINDS = ("removed", "added", "renamed", "shape", "dtype", "values", "unknown")
"""What can be said of a variable that is not equal; `unknown` takes `values` to tell."""


@dataclass(frozen=True)
class VariableChange:
    """A variable that is not the same in both checkpoints.

    Attributes:
      kind: one of `KINDS`: only the first has it, or only the second; it has the same bytes under
        another name; its shape, its type (of equal shape) or its values (of equal shape and type)
        differ; or it is partitioned in another way or made by a map: only its values would tell.
      name: in the first checkpoint, by the names of the second if it was renamed by a rule; in the
        second, if the first hasn't got it.
      new_name: in the second checkpoint, if it is another one.
      shape: in the first checkpoint, or None.
      new_shape: in the second.
      dtype: in the first checkpoint, or None.
      new_dtype: in the second.
      max_difference: the greatest absolute one between two values; None where it was not asked for
        or there are no numbers. Two NaN don't differ; NaN and a number do, by NaN.
      mean_difference: the mean absolute one.
    """

    kind: str
    name: str
    new_name: str | None = None
    shape: tuple[int, ...] | None = None
    new_shape: tuple[int, ...] | None = None
    dtype: str | None = None
    new_dtype: str | None = None
    max_difference: float | None = None
    mean_difference: float | None = None


@dataclass(frozen=True, repr=False)
class Difference(Shown, verb="diff"):
    """In what two checkpoints differ.

    Attributes:
      first: the prefix of the first.
      second: that of the second.
      formats: of both.
      equal: how many variables are equal, those within the tolerance included.
      within_tolerance: how many of them differ, but no more than allowed.
      changes: all other variables, in the order of `KINDS`, then of names.
    """

    first: str
    second: str
    formats: tuple[str, str]
    equal: int
    within_tolerance: int
    changes: tuple[VariableChange, ...]

    @property
    def same(self) -> bool:
        """Whether all variables are equal."""
        return not self.changes

    def _repr_html_(self) -> str:
        rows = [dataclasses.astuple(change) for change in self.changes]
        titles = [field.name.replace("_", " ") for field in dataclasses.fields(VariableChange)]
        used = [at for at, _ in enumerate(titles) if any(row[at] is not None for row in rows)]
        caption = f"{self.first} and {self.second}: {self.equal:,} variables equal"
        return html_table(
            caption, [titles[at] for at in used], ([row[at] for at in used] for row in rows)
        )


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    values: bool = False,
    tolerance: float = 0.0,
    rename: naming.Rules = None,
    names: str = "auto",
    wanted: Callable[[str], bool] | None = None,
    progress: Progress | None = None,
) -> Difference:
    """Compares two checkpoints of any formats by the names of their variables.

    Args:
      a: a prefix, the path of an index, or a directory with a checkpoint (its latest).
      b: the other one.
      values: read what differs, and say how far values are apart.
      tolerance: variables whose values differ by no more than this are equal; implies `values`.
      rename: rules that give the variables of `a` the names that they should have in `b`.
      names: how tensors are called, "auto" or "path", as for `describe`.
      wanted: says of a name, in either checkpoint, whether to compare the variable.
      progress: called with (prefix of b, bytes read of it, bytes in all), if values are read.

    Returns:
      The difference. Object graph and `save_counter` are no variables and take no part.

    Raises:
      CheckpointNotFoundError: there is none.
      CheckpointArgumentError: a rule matches nothing, or the tolerance is negative.
      DamagedCheckpointError: one is damaged or incomplete.
      NameClashError: two variables would get the same name.
    """
    if not tolerance >= 0:
        raise CheckpointArgumentError(f"tolerance={tolerance} should be 0 or more")
    first, second = _Side(a, rename, names), _Side(b, None, names)
    if isinstance(wanted, NameFilter):
        wanted.require_found(first.keys.keys() | second.keys.keys())
    changes: list[VariableChange] = []
    suspects: list[str] = []  # of equal shape, but it takes their values to tell
    equal = 0
    for name in sorted(first.keys.keys() & second.keys.keys(), key=by_scope):
        if wanted is None or wanted(name):
            kind = _kind(first, second, name)
            if kind is None:
                equal += 1
            elif kind == "shape" or not (values or tolerance):
                changes.append(_change(kind, name, first.entry(name), second.entry(name)))
            else:
                suspects.append(name)
    removed, added = first.without(second, wanted), second.without(first, wanted)
    for old, new in _renamed(removed, added).items():
        changes.append(_change("renamed", old, removed.pop(old), added.pop(new), new_name=new))
    changes += [_change("removed", name, entry, None) for name, entry in removed.items()]
    changes += [_change("added", name, None, entry) for name, entry in added.items()]
    within = 0
    for name, distance in _distances(first, second, suspects, progress):
        kind = _kind(first, second, name)
        if kind != "dtype" and distance is not None and distance.max <= tolerance:
            equal += 1
            within += distance.differing
            continue
        kind = "values" if kind == "unknown" else str(kind)
        changes.append(_change(kind, name, first.entry(name), second.entry(name), distance))
    changes.sort(key=lambda change: (KINDS.index(change.kind), by_scope(change.name)))
    formats = (first.format, second.format)
    return Difference(
        first.checkpoint.prefix, second.checkpoint.prefix, formats, equal, within, tuple(changes)
    )


class _Side:
    """One of the two checkpoints, with its variables by name."""

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        rename: naming.Rules,
        names: str,
    ):
        account = open_account(checkpoint, names)
        account, rules = fitted(naming.rename_rules(rename), account)
        self.checkpoint: Checkpoint = account.checkpoint
        self.format = account.stored_as
        self.keys: Mapping[str, str] = account.key_of
        if rules:
            edited = naming.rename(self.keys, rules, roles=account.roles)
            self.keys = {new: self.keys[old] for new, old in edited.names.items()}

    def entry(self, name: str) -> TensorEntry:
        return self.checkpoint.index.entries[self.keys[name]]

    def without(self, other: _Side, wanted: Callable[[str], bool] | None) -> dict[str, TensorEntry]:
        """Returns what the other one hasn't got, in order."""
        names = sorted(self.keys.keys() - other.keys.keys(), key=by_scope)
        return {name: self.entry(name) for name in names if wanted is None or wanted(name)}


def _kind(one: _Side, other: _Side, name: str) -> str | None:
    first, second = one.entry(name), other.entry(name)
    if first.shape != second.shape:
        return "shape"
    if first.dtype != second.dtype:
        return "dtype"
    is_made = first in one.checkpoint.made  # of others, by a map, so that it has no checksum
    if is_made:
        return "unknown"
    if _extents(first) != _extents(second):
        whole = checksum_of_whole(first)
        if whole is None or (other_whole := checksum_of_whole(second)) is None:
            return "unknown"
        return None if whole == other_whole else "values"
    return None if _checksums(first) == _checksums(second) else "values"


def _extents(entry: TensorEntry) -> Sequence[object]:
    return sorted(part.extents for part in entry.parts)


def _checksums(entry: TensorEntry) -> list[tuple[object, ...]]:
    if not entry.parts:
        return [(entry.size, entry.crc32c)]
    return sorted((part.extents, part.entry.size, part.entry.crc32c) for part in entry.parts)


def _renamed(
    removed: Mapping[str, TensorEntry], added: Mapping[str, TensorEntry]
) -> dict[str, str]:
    """Pairs variables of the same bytes; among several, those whose names end most alike."""
    groups: dict[object, tuple[list[str], list[str]]] = {}
    for side, variables in enumerate((removed, added)):
        for name, entry in variables.items():
            if entry.bytes:  # all empty tensors are alike
                same = (entry.dtype, entry.shape, tuple(_checksums(entry)))
                groups.setdefault(same, ([], []))[side].append(name)
    pairs: dict[str, str] = {}
    for old, new in groups.values():
        pairs.update(_by_ending(old, new))
    return pairs


def _by_ending(old: list[str], new: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    most = max((name.count("/") + 1 for name in old if new), default=0)
    for count in range(most, -1, -1):  # as many last parts of the name have to be equal
        free: dict[tuple[str, ...], list[str]] = {}
        taken = set(pairs.values())
        for name in reversed([name for name in new if name not in taken]):
            free.setdefault(_ending(name, count), []).append(name)
        for name in old:
            if name not in pairs and free.get(_ending(name, count)):
                pairs[name] = free[_ending(name, count)].pop()
    return pairs


def _ending(name: str, count: int) -> tuple[str, ...]:
    return tuple(name.split("/")[-count:]) if count else ()


def _distances(
    first: _Side, second: _Side, names: list[str], progress: Progress | None
) -> Iterable[tuple[str, Distance | None]]:
    if not names:
        return
    from estimator_ckpt.operations.distance import distance  # numpy, which takes a while to load

    total = sum(second.entry(name).bytes for name in names)
    done = 0
    names = sorted(names, key=lambda name: first.entry(name).stored[0][2:4])
    with contextlib.ExitStack() as stack:
        for side in (first, second):
            stack.enter_context(reading(side.checkpoint, map(side.entry, names)))
        for name in names:
            apart = distance(
                first.checkpoint, first.entry(name), second.checkpoint, second.entry(name)
            )
            yield name, apart
            done += second.entry(name).bytes
            if progress:
                progress(second.checkpoint.prefix, done, total)


def _change(
    kind: str,
    name: str,
    first: TensorEntry | None,
    second: TensorEntry | None,
    distance: Distance | None = None,
    new_name: str | None = None,
) -> VariableChange:
    return VariableChange(
        kind,
        name,
        new_name,
        first.shape if first else None,
        second.shape if second else None,
        first.dtype_name if first else None,
        second.dtype_name if second else None,
        distance.max if distance else None,
        distance.mean if distance else None,
    )
