"""The bytes of tensors that have no numpy array: strings, and scalars made without numpy.

    data, entry = string_scalar(graph.SerializeToString(), shard_id=0, offset=0)
    data, crc32c = encode_strings([b"a", b"bc"])             # a tensor of two strings

Source: `WriteStringTensor` in TensorFlow's `core/util/tensor_bundle/tensor_bundle.cc`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

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
    data, crc32c = encode_strings((value,))
    return data, TensorEntry(dtypes.STRING, (), shard_id, offset, len(data), crc32c)


def encode_strings(values: Sequence[bytes]) -> tuple[bytes, int]:
    """Encodes the elements of a string tensor.

    Args:
      values: the elements in C order.

    Returns:
      Their bytes (all lengths as varints, the lengths' checksum, the strings), and the masked
      CRC32C for the entry, which covers the lengths as fixed-size integers.
    """
    crc = _extend_lengths(map(len, values))
    length_checksum = struct.pack("<I", checksums.mask(crc))
    joined = b"".join(values)
    crc = checksums.extend(checksums.extend(crc, length_checksum), joined)
    data = b"".join(write_varint(len(value)) for value in values) + length_checksum + joined
    return data, checksums.mask(crc)


def decode_strings(data: bytes, count: int) -> tuple[list[bytes], int]:
    """Decodes the elements of a string tensor.

    Args:
      data: the tensor's bytes.
      count: how many elements it has.

    Returns:
      The elements in C order, and the masked CRC32C that the entry should have.

    Raises:
      DamagedCheckpointError: the bytes aren't those of so many strings, or the lengths' checksum is
        wrong.
    """
    lengths, position = [], 0
    for _ in range(count):
        length, position = read_varint(data, position)
        lengths.append(length)
    crc = _extend_lengths(lengths)
    length_checksum = data[position : position + 4]
    if length_checksum != struct.pack("<I", checksums.mask(crc)):
        raise DamagedCheckpointError("the lengths of its strings have a wrong checksum")
    position += 4
    if position + sum(lengths) != len(data):
        raise DamagedCheckpointError(
            f"its strings should have {sum(lengths)} bytes, but have {len(data) - position}"
        )
    crc = checksums.extend(checksums.extend(crc, length_checksum), data[position:])
    values = []
    for length in lengths:
        values.append(data[position : position + length])
        position += length
    return values, checksums.mask(crc)


def _extend_lengths(lengths: Iterable[int]) -> int:
    """Returns the unmasked CRC32C of lengths: each as 32 bits, or as 64 where it needs them."""
    return checksums.extend(
        0, b"".join(struct.pack("<I" if each < 1 << 32 else "<Q", each) for each in lengths)
    )


def int64_scalar(value: int, shard_id: int, offset: int) -> tuple[bytes, TensorEntry]:
    """Encodes a scalar int64; arguments and results as for `string_scalar`."""
    data = struct.pack("<q", value)
    crc = checksums.masked_crc32c(data)
    return data, TensorEntry(dtypes.INT64, (), shard_id, offset, len(data), crc)


def int32_scalar(value: int, shard_id: int, offset: int) -> tuple[bytes, TensorEntry]:
    """Encodes a scalar int32; arguments and results as for `string_scalar`."""
    data = struct.pack("<i", value)
    crc = checksums.masked_crc32c(data)
    return data, TensorEntry(dtypes.INT32, (), shard_id, offset, len(data), crc)
