"""The bytes of one entry of an index, where it has no slices: nearly all have none.

    data = encode_fields(1, (784, 10), shard_id=0, offset=0, size=31360, crc32c=0x1234)
    decode_fields(data)                # (1, (784, 10), 0, 0, 31360, 0x1234, ())

As `BundleEntryProto` does it, which takes several times as long: there may be 100,000 entries.
Type and shape, which many entries have in common, are left to it.
"""

from __future__ import annotations

import functools
import math
import struct

from estimator_ckpt.bundle import dtypes, protos
from estimator_ckpt.bundle.table import write_varint

# Field numbers with their wire types, as each stands before its value.
DTYPE, SHAPE, _SHARD_ID, _OFFSET, _SIZE, _CRC32C = b"\x08\x12\x18\x20\x28\x35"
_CRC32C_BYTES = 5  # with its tag
KINDS_OF_SHAPES = 4096
_pack_crc32c = struct.Struct("<BI").pack

Shape = tuple[int, ...]
Fields = tuple[int, Shape, int, int, int, int, tuple[()]]
"""dtype, shape, shard_id, offset, size, crc32c, and no parts: what a `TensorEntry` is made of."""


def decode_fields(data: bytes) -> Fields | None:
    """Decodes an entry that is written as TensorFlow writes those without slices.

    Args:
      data: a serialized `BundleEntryProto`.

    Returns:
      Its fields; None for one that only a `BundleEntryProto` can decode, if anything can, and for
      one whose size is not what its type and shape say.

    Raises:
      DecodeError: its type and shape can't be decoded.
    """
    try:
        if data[0] != DTYPE or data[2] != SHAPE or data[1] >= 128 or data[3] >= 128:
            return None
        position = 4 + data[3]
        dtype, shape, expected_size = decode_head(data[:position])
        shard_id = offset = size = crc32c = 0
        end = len(data)
        while position < end:
            tag = data[position]
            if tag == _CRC32C and position + _CRC32C_BYTES == end:
                crc32c = int.from_bytes(data[position + 1 :], "little")
                break
            # A varint, in place: `read_varint` would take twice as long.
            number = data[position + 1]
            position += 2
            if number >= 128:
                number &= 127
                shift = 7
                while (byte := data[position]) >= 128 and shift < 64:
                    number |= (byte & 127) << shift
                    shift += 7
                    position += 1
                number |= byte << shift
                position += 1
                if byte >= 128 or (number >> 31 and (tag == _SHARD_ID or number >> 63)):
                    return None
            if tag == _SIZE:
                size = number
            elif tag == _OFFSET:
                offset = number
            elif tag == _SHARD_ID:
                shard_id = number
            else:
                return None
    except IndexError:
        return None
    if size != expected_size:
        return None
    return dtype, shape, shard_id, offset, size, crc32c, ()


def encode_fields(
    dtype: int, shape: Shape, shard_id: int, offset: int, size: int, crc32c: int
) -> bytes:
    """Encodes an entry without slices, byte for byte as a `BundleEntryProto` does."""
    data = _encode_head(dtype, shape)
    if shard_id:
        data += b"\x18" + write_varint(shard_id)
    if offset:
        data += b"\x20" + write_varint(offset)
    if size:
        data += _encode_size(size)
    return data + _pack_crc32c(_CRC32C, crc32c) if crc32c else data


@functools.lru_cache(KINDS_OF_SHAPES)
def _encode_size(size: int) -> bytes:
    return b"\x28" + write_varint(size)


@functools.lru_cache(KINDS_OF_SHAPES)
def decode_head(data: bytes) -> tuple[int, Shape, int | None]:
    """Decodes dtype and shape; returns them, and the size of such a tensor if that tells it."""
    proto = protos.BundleEntryProto.FromString(data)
    shape = tuple(dim.size for dim in proto.shape.dim)
    element = dtypes.element_size(proto.dtype)
    is_told = element is not None and min(shape, default=0) >= 0
    return proto.dtype, shape, math.prod(shape) * (element or 0) if is_told else None


@functools.lru_cache(KINDS_OF_SHAPES)
def _encode_head(dtype: int, shape: Shape) -> bytes:
    proto = protos.BundleEntryProto(dtype=dtype)
    proto.shape.SetInParent()
    for size in shape:
        proto.shape.dim.add().size = size
    return bytes(proto.SerializeToString())
