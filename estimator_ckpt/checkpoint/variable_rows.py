"""The variables of a checkpoint as what a map of variables is proposed from.

    propose(variable_rows(open_account("old_job")), variable_rows(open_account("new_job")))

Names, shapes and types are the index's; the order in which a graph made the variables is in the
`.meta` that a Saver writes beside it. Of the values, the index has checksums. No tensor is read.
"""

from __future__ import annotations

import struct

from estimator_ckpt.bundle import TensorEntry, checksums, protos
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.errors import DamagedCheckpointError
from estimator_ckpt.naming.matcher import NamedShape
from estimator_ckpt.storage import files

_GLOBAL_VARIABLES = "variables"  # what the collection of all of them is called
_MOST_BYTES = 1 << 20  # of what may be all zeros or ones; what is larger seldom begins so


def variable_rows(account: Account) -> list[NamedShape]:
    """Returns the variables of a checkpoint, without slots, averages, counters and the like.

    Args:
      account: of a checkpoint of any format.

    Raises:
      DamagedCheckpointError: the `.meta` beside it is no MetaGraphDef.
    """
    created = creation_order(account.checkpoint.prefix)
    return [
        NamedShape(
            name,
            tuple(entry.shape),
            entry.dtype_name,
            created.get(name),
            checksum=_checksum(entry),
        )
        for name in account.key_of
        if account.roles[name].kind == "variable"
        for entry in (account.entry(name),)
    ]


def _checksum(entry: TensorEntry) -> int | None:
    """Returns the checksum of a value; None of one that many variables begin with."""
    if entry.parts:
        return None
    if entry.size <= _MOST_BYTES:
        first = [bytes(entry.size)]
        if entry.dtype_name == "float32":
            first.append(struct.pack("<f", 1) * (entry.size // 4))
        if entry.crc32c in map(checksums.masked_crc32c, first):
            return None
    return entry.crc32c


def creation_order(prefix: str) -> dict[str, int]:
    """Reads in which order a graph made its variables from the `.meta` beside a checkpoint.

    Args:
      prefix: of the checkpoint.

    Returns:
      {name: place}; nothing where there is no such file. A partitioned variable has the place of
      its first part.

    Raises:
      DamagedCheckpointError: the file is no MetaGraphDef.
    """
    path = f"{prefix}.meta"
    if not files.exists(path):
        return {}
    places: dict[str, int] = {}
    try:
        for collection in protos.MetaGraphDef.FromString(files.read(path)).collection_def:
            if collection.key == _GLOBAL_VARIABLES:
                for data in collection.value.bytes_list.value:
                    variable = protos.VariableDef.FromString(data)
                    name = variable.slice.full_name or variable.variable_name.partition(":")[0]
                    places.setdefault(name, len(places))
    except protos.DecodeError as error:
        raise DamagedCheckpointError(
            f"'{path}' is no graph of TensorFlow's: {error}; remove it, and the order in which the "
            "variables were made is not used"
        ) from error
    return places
