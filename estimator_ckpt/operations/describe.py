"""Says what is in a checkpoint.

    description = describe("model_dir")
    for row in description.variables:
        print(row.name, row.shape, row.dtype)
    describe("model_dir", values=True).variables[0].values.mean

Reads the index; the object graph only if the keys give no names, and a tensor only for `values`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from estimator_ckpt.bundle.allocation import many_objects
from estimator_ckpt.bundle.dtypes import dtype_name
from estimator_ckpt.checkpoint import Checkpoint
from estimator_ckpt.checkpoint.account import Account, open_account
from estimator_ckpt.checkpoint.opening import reading
from estimator_ckpt.checkpoint.sharing import Sharing, sharing
from estimator_ckpt.naming.filters import NameFilter
from estimator_ckpt.notebook import html_table
from estimator_ckpt.shown import Shown
from estimator_ckpt.storage.files import Progress

if TYPE_CHECKING:
    from estimator_ckpt.operations.values import ValueSummary


class VariableRow(NamedTuple):
    """One variable. (A NamedTuple, as there may be 100,000 of them.)

    Attributes:
      name: as in a name-based checkpoint; its path among the objects where it has no such name.
      key: of its bytes; the name-based one in a dual checkpoint.
      shape: size of each dimension.
      dtype: TensorFlow's name of the element type.
      bytes: its size in the data files.
      slot_of: name of the variable whose slot or average it is, or None.
      values: what its values are like; None if that was not asked for, or they are no numbers.
      role: the part that it plays: "variable", "slot", "average", "global_step", "counter",
        "hyperparameter", "table" or "iterator".
    """

    name: str
    key: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    slot_of: str | None
    values: ValueSummary | None = None
    role: str = "variable"


_PARTS = {"variable": "weights", "slot": "slots", "average": "averages"}
_ROLE_AND_BYTES = attrgetter("role", "bytes")


class Total(NamedTuple):
    """How many variables there are, and how many bytes they have."""

    variables: int
    bytes: int


@dataclass(frozen=True, repr=False)
class CheckpointDescription(Shown, verb="inspect"):
    """What is in a checkpoint.

    Attributes:
      prefix: its path, without `.index`.
      format: "tf1", "tf2" or "dual"; "keras" of a file of Keras.
      step: the global step, or None where it has none.
      num_shards: number of its data files.
      bytes: of all variables.
      variables: sorted by name, those of a scope together.
      other_keys: keys that belong to no variable, such as the object graph.
      shares: what it shares with others of its directory by hard links, the most first.
    """

    prefix: str
    format: str
    step: int | None
    num_shards: int
    bytes: int
    variables: tuple[VariableRow, ...]
    other_keys: tuple[str, ...]
    shares: tuple[Sharing, ...] = field(default=(), compare=False)

    def _repr_html_(self) -> str:
        step = "no step" if self.step is None else f"step {self.step}"
        caption = f"{self.prefix}: format {self.format}, {step}, {len(self.variables):,} variables"
        with_values = any(row.values for row in self.variables)
        numbers = ("min", "max", "mean", "std", "zeros", "nan", "inf") if with_values else ()
        rows = (
            (
                *(row.name, row.key, list(row.shape), row.dtype, row.bytes, row.slot_of),
                *(getattr(row.values, name, None) for name in numbers),
            )
            for row in self.variables
        )
        titles = ("name", "key", "shape", "dtype", "bytes", "slot of", *numbers)
        return html_table(f"{caption}, {self.bytes:,} bytes", titles, rows)

    def only(self, wanted: Callable[[str], bool]) -> CheckpointDescription:
        """Returns what it says of the variables whose names are wanted, with their bytes.

        Raises:
          CheckpointArgumentError: it is a `NameFilter`, and what is to be included is not there.
        """
        if isinstance(wanted, NameFilter):
            if wanted.takes_all:
                return self
            wanted.require_found([row.name for row in self.variables])
        rows = tuple(row for row in self.variables if wanted(row.name))
        return replace(self, variables=rows, bytes=sum(row.bytes for row in rows))

    @property
    def totals(self) -> dict[str, Total]:
        """How many there are of each part that variables play, and their bytes.

        The parts are "weights", "slots", "averages" and "others" (the step, counters, tables, ...),
        those that there are.
        """
        sizes: dict[str, list[int]] = {}
        for role, size in map(_ROLE_AND_BYTES, self.variables):
            sizes.setdefault(_PARTS.get(role, "others"), []).append(size)
        return {
            part: Total(len(sizes[part]), sum(sizes[part]))
            for part in dict.fromkeys((*_PARTS.values(), "others"))
            if part in sizes
        }


def describe(
    checkpoint: str | os.PathLike[str],
    *,
    values: bool | Callable[[str], bool] = False,
    names: str = "auto",
    progress: Progress | None = None,
) -> CheckpointDescription:
    """Describes a checkpoint of any format.

    Args:
      checkpoint: a prefix, the path of an index, or a directory with a checkpoint (its latest).
      values: whether to read the tensors, too, and sum up their values; or a function that says
        so of a variable's name.
      names: "auto", by name where there is one, else by the path among the objects; or "path", all
        by their paths.
      progress: called with (prefix, bytes read, bytes in all) while tensors are read.

    Returns:
      The description.

    Raises:
      CheckpointNotFoundError: there is none.
      DamagedCheckpointError: it is damaged or incomplete.
    """
    with many_objects():
        account = open_account(checkpoint, names)
        description = replace(described(account), shares=sharing(account.checkpoint))
    if not values:
        return description
    wanted = values if callable(values) else None
    rows = _with_values(account.checkpoint, description.variables, wanted, progress)
    return replace(description, variables=rows)


def described(account: Account) -> CheckpointDescription:
    """Describes a checkpoint that is open, without its values and what others share with it."""
    rows = _rows(account)
    opened = account.checkpoint
    return CheckpointDescription(
        opened.prefix,
        account.stored_as,
        account.global_step,
        opened.index.num_shards,
        sum(row.bytes for row in rows),
        rows,
        tuple(account.others),
    )


def _rows(account: Account) -> tuple[VariableRow, ...]:
    entries, roles, keys = account.entries, account.roles, account.key_of
    rows: list[VariableRow] = []
    dtypes = {dtype: dtype_name(dtype) for dtype in {entry.dtype for entry in entries.values()}}
    for name in sorted(keys, key=by_scope):
        key = keys[name]
        role = roles[name]
        kind = role.kind
        dtype, shape, _, _, size, _, parts = entry = entries[key]
        size = entry.bytes if parts else size
        slot_of = role.of if kind in ("slot", "average") else None
        row = (name, key, shape, dtypes[dtype], size, slot_of, None, kind)
        rows.append(tuple.__new__(VariableRow, row))  # as VariableRow(*row), in half of the time
    return tuple(rows)


def by_scope(name: str) -> str:
    """Sorts names so that those of a scope stay together: a slash comes before any character."""
    return name.replace("/", "\0")


def _with_values(
    checkpoint: Checkpoint,
    rows: tuple[VariableRow, ...],
    wanted: Callable[[str], bool] | None,
    progress: Progress | None,
) -> tuple[VariableRow, ...]:
    from estimator_ckpt.checkpoint import arrays  # numpy, which takes a while to load
    from estimator_ckpt.operations.values import summarize

    entries = checkpoint.index.entries
    read = {
        row.key
        for row in rows
        if (wanted is None or wanted(row.name))
        and arrays.numpy_dtype(entries[row.key].dtype) is not None
    }
    total = sum(entries[key].bytes for key in read)
    done = 0

    def chunks(key: str) -> Iterator[arrays.Array]:
        nonlocal done
        for chunk in arrays.array_chunks(checkpoint, entries[key]):
            done += chunk.nbytes
            if progress:
                progress(checkpoint.prefix, done, total)
            yield chunk

    in_order = sorted(read, key=lambda key: entries[key].stored[0][2:4])
    with reading(checkpoint, [entries[key] for key in in_order]):
        summaries = {key: summarize(chunks(key)) for key in in_order}
    return tuple(
        row._replace(values=summaries[row.key]) if row.key in summaries else row for row in rows
    )
