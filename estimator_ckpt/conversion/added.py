"""The tensors that a conversion adds: the object graph, `save_counter`.

data, entries = encode_added({"_CHECKPOINTABLE_OBJECT_GRAPH": graph}, shard_id=1)
"""

from __future__ import annotations

from collections.abc import Mapping

from estimator_ckpt.bundle import TensorEntry, dtypes
from estimator_ckpt.bundle.strings import int64_scalar, string_scalar
from estimator_ckpt.checkpoint import BundleWriter


def encode_added(
    added: Mapping[str, bytes | int], shard_id: int = 0
) -> tuple[bytes, dict[str, TensorEntry]]:
    """Encodes the tensors that a conversion adds.

    Args:
      added: {key: its value}.
      shard_id: number of the shard that they are for.

    Returns:
      The bytes of that shard, and {key: entry}.
    """
    data, entries = b"", {}
    for key, value in added.items():
        if isinstance(value, bytes):
            encoded, entries[key] = string_scalar(value, shard_id, len(data))
        else:
            encoded, entries[key] = int64_scalar(value, shard_id, len(data))
        data += encoded
    return data, entries


def added_size(added: Mapping[str, bytes | int]) -> int:
    """Returns the bytes that the tensors take which a conversion adds."""
    return len(encode_added(added)[0])


def put_added(writer: BundleWriter, added: Mapping[str, bytes | int]) -> None:
    """Writes the tensors that a conversion adds.

    Args:
      writer: of the new checkpoint.
      added: {key: its value}.
    """
    for key, value in added.items():
        if isinstance(value, bytes):
            entry = writer.append_strings((), (value,))
        else:
            entry = writer.append(dtypes.INT64, (), (value.to_bytes(8, "little", signed=True),))
        writer.put(key, entry)
