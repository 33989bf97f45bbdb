"""The bytes of the few small tensors that this library reads and writes itself.

    data, crc = encode_string(graph.SerializeToString())     # a scalar of dtype string

Source: `WriteStringTensor` in TensorFlow's `core/util/tensor_bundle/tensor_bundle.cc`.
"""

from __future__ import annotations

import struct

from estimator_ckpt.bundle import checksums, dtypes
from estimator_ckpt.bundle.index import TensorEntry
from estimator_ckpt.bundle.table import read_varint, write_varint
from estimator_ckpt.errors import DamagedCheckpointError


def string_scalar(value: bytes, shard_id: int, offset: int) -> tuple[bytes, TensorEntry]:
    """Encodes a scalar string.

    Args:
      value: the string.
      shard_id: the shard that it will be in.
      offset: where in that shard.

    Returns:
      Its bytes (the length as a varint, that length's checksum, the string) and its entry.
    """
    fixed_length = struct.pack("<I" if len(value) < 1 << 32 else "<Q", len(value))
    crc = checksums.extend(0, fixed_length)
    length_checksum = struct.pack("<I", checksums.mask(crc))
    crc = checksums.extend(checksums.extend(crc, length_checksum), value)
    data = write_varint(len(value)) + length_checksum + value
    entry = TensorEntry(dtypes.STRING, (), shard_id, offset, len(data), checksums.mask(crc))
    return data, entry


def parse_string_scalar(data: bytes) -> bytes:
    """Decodes a scalar string.

    Raises:
      DamagedCheckpointError: its length or that length's checksum is wrong.
    """
    length, position = read_varint(data, 0)
    fixed_length = struct.pack("<I" if length < 1 << 32 else "<Q", length)
    stored = data[position : position + 4]
    if stored != struct.pack("<I", checksums.masked_crc32c(fixed_length)):
        raise DamagedCheckpointError("the length of a string has a wrong checksum")
    value = data[position + 4 :]
    if len(value) != length:
        raise DamagedCheckpointError(f"a string of {length} bytes has {len(value)}")
    return value


def int64_scalar(value: int, shard_id: int, offset: int) -> tuple[bytes, TensorEntry]:
    """Encodes a scalar int64; arguments and results as for `string_scalar`."""
    data = struct.pack("<q", value)
    crc = checksums.masked_crc32c(data)
    return data, TensorEntry(dtypes.INT64, (), shard_id, offset, len(data), crc)
