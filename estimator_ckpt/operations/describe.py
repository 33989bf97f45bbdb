"""Says what is in a checkpoint.

    description = describe("model_dir")
    for row in description.variables:
        print(row.name, row.shape, row.dtype)
    describe("model_dir", values=True).variables[0].values.mean

Reads the index; the object graph only if the keys give no names, and a tensor only for `values`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from estimator_ckpt import naming
from estimator_ckpt.bundle import TensorEntry, checksums
from estimator_ckpt.bundle.dtypes import dtype_name
from estimator_ckpt.checkpoint import Checkpoint, open_checkpoint
from estimator_ckpt.checkpoint.names import keys_by_name
from estimator_ckpt.errors import DamagedCheckpointError, NameClashError
from estimator_ckpt.naming.paths import is_slot_key
from estimator_ckpt.storage.files import Progress

if TYPE_CHECKING:
    from estimator_ckpt.operations.values import ValueSummary


class VariableRow(NamedTuple):
    """One variable. (A NamedTuple, as there may be 100,000 of them.)

    Attributes:
      name: as in a name-based checkpoint; the key where there is no such name.
      key: of its bytes; the name-based one in a dual checkpoint.
      shape: size of each dimension.
      dtype: TensorFlow's name of the element type.
      bytes: its size in the data files.
      slot_of: name of the variable whose slot it is, or None.
      values: what its values are like; None if that was not asked for, or they are no numbers.
    """

    name: str
    key: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    slot_of: str | None
    values: ValueSummary | None = None


@dataclass(frozen=True)
class CheckpointDescription:
    """What is in a checkpoint.

    Attributes:
      prefix: its path, without `.index`.
      format: "tf1", "tf2" or "dual".
      step: the global step, or None where it has none.
      num_shards: number of its data files.
      bytes: of all variables.
      variables: sorted by name, those of a scope together.
      other_keys: keys that belong to no variable, such as the object graph.
    """

    prefix: str
    format: str
    step: int | None
    num_shards: int
    bytes: int
    variables: tuple[VariableRow, ...]
    other_keys: tuple[str, ...]


def describe(
    checkpoint: str | os.PathLike[str],
    *,
    values: bool | Callable[[str], bool] = False,
    progress: Progress | None = None,
) -> CheckpointDescription:
    """Describes a checkpoint of any format.

    Args:
      checkpoint: a prefix, the path of an index, or a directory with a checkpoint (its latest).
      values: whether to read the tensors, too, and sum up their values; or a function that says
        so of a variable's name.
      progress: called with (prefix, bytes read, bytes in all) while tensors are read.

    Returns:
      The description.

    Raises:
      CheckpointNotFoundError: there is none.
      DamagedCheckpointError: it is damaged or incomplete.
    """
    opened = open_checkpoint(checkpoint)
    entries = opened.index.entries
    keys = keys_or_names(opened)
    rows = _rows(keys, entries)
    if values:
        rows = _with_values(opened, rows, values if callable(values) else None, progress)
    return CheckpointDescription(
        opened.prefix,
        naming.format_of(entries),
        global_step(opened, keys.get(naming.GLOBAL_STEP)),
        opened.index.num_shards,
        sum(row.bytes for row in rows),
        rows,
        tuple(key for key in (naming.OBJECT_GRAPH_KEY, naming.SAVE_COUNTER_KEY) if key in entries),
    )


def global_step(checkpoint: Checkpoint, key: str | None) -> int | None:
    """Finds out a checkpoint's global step: from its checksum, so that no data file is read.

    Args:
      checkpoint: of any format.
      key: of the step.

    Returns:
      The step; None where there is none, or it is no integer.
    """
    entry = checkpoint.index.entries.get(key or "")
    if entry is None or entry.parts or entry.shape or entry.dtype_name not in ("int64", "int32"):
        return None
    step = checksums.integer_of(entry.crc32c, entry.size)
    if step is not None:
        return step
    width = "<q" if entry.size == 8 else "<i"
    data = checkpoint.read_bytes(entry)
    if checksums.masked_crc32c(data) != entry.crc32c:
        raise DamagedCheckpointError(
            f"the global step in '{checkpoint.shard_paths[entry.shard_id]}' is damaged: its "
            "checksum is wrong; restore the checkpoint from a copy, or use another one"
        )
    return int(struct.unpack(width, data)[0])


def keys_or_names(checkpoint: Checkpoint) -> dict[str, str]:
    """Finds the variables of a checkpoint, also where not each has a name of its own.

    Args:
      checkpoint: of any format.

    Returns:
      {name: key}, or else {key: key}.
    """
    try:
        return keys_by_name(checkpoint)
    except NameClashError:  # no names for all: the keys tell them apart
        other = (naming.OBJECT_GRAPH_KEY, naming.SAVE_COUNTER_KEY)
        return {key: key for key in checkpoint.index.entries if key not in other}


def _rows(keys: Mapping[str, str], entries: Mapping[str, TensorEntry]) -> tuple[VariableRow, ...]:
    slot_of = _slots(keys)
    rows = []
    for name in sorted(keys, key=by_scope):
        key = keys[name]
        dtype, shape, _, _, size, _, parts = entry = entries[key]
        size = entry.bytes if parts else size
        rows.append(VariableRow(name, key, shape, dtype_name(dtype), size, slot_of.get(name)))
    return tuple(rows)


def by_scope(name: str) -> str:
    """Sorts names so that those of a scope stay together: a slash comes before any character."""
    return name.replace("/", "\0")


def _slots(keys: Mapping[str, str]) -> dict[str, str]:
    """Returns {name of a slot: that of its variable}, by its key or else by its name."""
    names = set(keys)
    owners = {name: owner for name in names if (owner := naming.slot_of(name, names)) is not None}
    slot_keys = {name: key for name, key in keys.items() if is_slot_key(key)}
    if slot_keys:
        by_path = {key.partition("/.ATTRIBUTES/")[0]: name for name, key in keys.items()}
        for name, key in slot_keys.items():
            path = key.partition("/.OPTIMIZER_SLOT/")[0]
            if path in by_path:
                owners[name] = by_path[path]
    return owners


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

    return tuple(
        row._replace(values=summarize(chunks(row.key))) if row.key in read else row for row in rows
    )
