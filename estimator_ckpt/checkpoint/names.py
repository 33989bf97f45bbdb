"""Tells which variable each key of a checkpoint belongs to, whatever its format.

    names_by_key(checkpoint)        # {"var_list/dnn.Sbias/.ATTRIBUTES/VARIABLE_VALUE": "dnn/bias"}
    keys_by_name(checkpoint)        # {"dnn/bias": "dnn/bias"} of a dual one

Names come from the keys where they have them, else from the object graph; no tensor is read.
"""

from __future__ import annotations

from estimator_ckpt import naming
from estimator_ckpt.bundle import TensorEntry
from estimator_ckpt.bundle.strings import decode_strings
from estimator_ckpt.checkpoint import Checkpoint
from estimator_ckpt.errors import DamagedCheckpointError, NameClashError


def read_object_graph(checkpoint: Checkpoint) -> bytes | None:
    """Reads a checkpoint's object graph, whose checksum and references it checks.

    Args:
      checkpoint: of any format.

    Returns:
      The serialized `TrackableObjectGraph`; None where there is none (it is name-based).

    Raises:
      DamagedCheckpointError: it is damaged.
    """
    entry = checkpoint.index.entries.get(naming.OBJECT_GRAPH_KEY)
    if entry is None:
        return None
    try:
        (graph,), crc32c = decode_strings(checkpoint.read_bytes(entry), 1)
        if crc32c != entry.crc32c:
            raise DamagedCheckpointError("its checksum is wrong")
        naming.parse_object_graph(graph)
    except DamagedCheckpointError as error:
        raise DamagedCheckpointError(
            f"the object graph of '{checkpoint.prefix}', in "
            f"'{checkpoint.shard_paths[entry.shard_id]}', is damaged: {error}; "
            "restore the checkpoint from a copy, or use another one"
        ) from error
    return graph


def names_by_key(checkpoint: Checkpoint) -> dict[str, str]:
    """Finds the variable that each key of a checkpoint belongs to.

    Args:
      checkpoint: of any format.

    Returns:
      {key: name}, without the keys that belong to no variable. In a dual checkpoint two keys have
      the same name.

    Raises:
      NameClashError: there is no name for each tensor.
    """
    entries = checkpoint.index.entries
    if naming.OBJECT_GRAPH_KEY not in entries:
        return {key: key for key in entries}
    names: dict[str, str] = {}
    owners: dict[object, str] = {}
    places: dict[str, object] = {}
    firsts: dict[object, str] = {}
    for key, entry in entries.items():
        place = _place(entry)
        if naming.is_object_key(key):
            places[key] = place
            firsts.setdefault(place, key)
        elif key != naming.OBJECT_GRAPH_KEY:
            names[key] = key
            owners[place] = key
    # Keys of the same bytes are one variable's; the first of them has to have a name.
    unnamed = [key for place, key in firsts.items() if place not in owners]
    found = naming.variable_names(
        unnamed, lambda: naming.full_names(read_object_graph(checkpoint) or b"")
    )
    for key, place in places.items():
        name = owners.get(place) or found.get(firsts[place])
        if name is not None:
            names[key] = name
    return names


def keys_by_name(checkpoint: Checkpoint) -> dict[str, str]:
    """Finds a key for each variable of a checkpoint; of a dual one, the name-based key.

    Args:
      checkpoint: of any format.

    Returns:
      {name: key}.

    Raises:
      NameClashError: there is no name for each tensor.
    """
    entries = checkpoint.index.entries
    keys: dict[str, str] = {}
    for key, name in names_by_key(checkpoint).items():  # name-based keys come first
        other = keys.setdefault(name, key)
        if other is not key and entries[other] != entries[key]:
            raise NameClashError(
                f"the name '{name}' would belong to two tensors: '{other}' and '{key}'"
            )
    return keys


def _place(entry: TensorEntry) -> object:
    """Identifies a tensor by the place of its bytes; an empty one has none, and equals no other."""
    return entry if entry.size or entry.bytes else object()
