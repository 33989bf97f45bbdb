"""Says what is in a checkpoint.

    description = describe("model_dir")
    for row in description.variables:
        print(row.name, row.shape, row.dtype)

Reads the index, the object graph and the global step; no other tensor.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from estimator_ckpt import naming
from estimator_ckpt.bundle import Checkpoint, open_checkpoint
from estimator_ckpt.conversion import keys_by_name
from estimator_ckpt.errors import NameClashError
from estimator_ckpt.naming.paths import is_slot_key


@dataclass(frozen=True)
class VariableRow:
    """One variable.

    Attributes:
      name: as in a name-based checkpoint; the key where there is no such name.
      key: of its bytes; the name-based one in a dual checkpoint.
      shape: size of each dimension.
      dtype: TensorFlow's name of the element type.
      bytes: its size in the data files.
      slot_of: name of the variable whose slot it is, or None.
    """

    name: str
    key: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    slot_of: str | None


@dataclass(frozen=True)
class CheckpointDescription:
    """What is in a checkpoint.

    Attributes:
      prefix: its path, without `.index`.
      format: "tf1", "tf2" or "dual".
      step: the global step, or None where it has none.
      num_shards: number of its data files.
      bytes: of all variables.
      variables: sorted by name.
      other_keys: keys that belong to no variable, such as the object graph.
    """

    prefix: str
    format: str
    step: int | None
    num_shards: int
    bytes: int
    variables: tuple[VariableRow, ...]
    other_keys: tuple[str, ...]


def describe(checkpoint: str | os.PathLike[str]) -> CheckpointDescription:
    """Describes a checkpoint of any format.

    Args:
      checkpoint: a prefix, or a directory with a checkpoint (its latest).

    Returns:
      The description.

    Raises:
      CheckpointNotFoundError: there is none.
      DamagedCheckpointError: it is damaged or incomplete.
    """
    opened = open_checkpoint(checkpoint)
    entries = opened.index.entries
    keys = _keys(opened)
    rows = tuple(
        VariableRow(
            name,
            key,
            entries[key].shape,
            entries[key].dtype_name,
            entries[key].bytes,
            _slot_of(name, key, keys),
        )
        for name, key in sorted(keys.items())
    )
    return CheckpointDescription(
        opened.prefix,
        naming.format_of(entries),
        _step(opened, keys),
        opened.index.num_shards,
        sum(row.bytes for row in rows),
        rows,
        tuple(key for key in (naming.OBJECT_GRAPH_KEY, naming.SAVE_COUNTER_KEY) if key in entries),
    )


def _keys(checkpoint: Checkpoint) -> dict[str, str]:
    try:
        return keys_by_name(checkpoint)
    except NameClashError:  # no names for all: the keys tell them apart
        other = (naming.OBJECT_GRAPH_KEY, naming.SAVE_COUNTER_KEY)
        return {key: key for key in checkpoint.index.entries if key not in other}


def _slot_of(name: str, key: str, keys: dict[str, str]) -> str | None:
    if is_slot_key(key):
        owner = key.partition("/.OPTIMIZER_SLOT/")[0]
        for other, other_key in keys.items():
            if other_key.partition("/.ATTRIBUTES/")[0] == owner:
                return other
    return naming.slot_of(name, keys)


def _step(checkpoint: Checkpoint, keys: dict[str, str]) -> int | None:
    entry = checkpoint.index.entries.get(keys.get(naming.GLOBAL_STEP, ""))
    if entry is None or entry.parts or entry.shape or entry.bytes not in (4, 8):
        return None
    width = "<q" if entry.bytes == 8 else "<i"
    return int(struct.unpack(width, checkpoint.read_bytes(entry))[0])
