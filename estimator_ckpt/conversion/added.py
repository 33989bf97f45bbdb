"""The tensors that a conversion adds: the object graph, `save_counter`.

data, entries = encode_added({"_CHECKPOINTABLE_OBJECT_GRAPH": graph}, shard_id=1)
"""

from __future__ import annotations

from collections.abc import Mapping

from estimator_ckpt.bundle import TensorEntry, dtypes
from estimator_ckpt.bundle.strings import int32_scalar, int64_scalar, string_scalar
from estimator_ckpt.checkpoint import BundleWriter


class Int32(int):
    """An integer that is to be stored as int32, not as int64."""


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
        elif isinstance(value, Int32):
            encoded, entries[key] = int32_scalar(value, shard_id, len(data))
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
            is_short = isinstance(value, Int32)
            data = value.to_bytes(4 if is_short else 8, "little", signed=True)
            entry = writer.append(dtypes.INT32 if is_short else dtypes.INT64, (), (data,))
        writer.put(key, entry)
