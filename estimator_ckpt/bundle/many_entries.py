"""The bytes of many entries at once: what `entry_bytes` does for one of them.

    fields, others = decode_many(rows.block, rows.starts, rows.ends, num_shards=1)
    values = encode_many(index.entries.values())

Where there are many, numpy goes through all their bytes in a few steps; where there are few, it
would take longer to load it.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from estimator_ckpt.bundle import protos
from estimator_ckpt.bundle.entry_bytes import (
    DTYPE,
    KINDS_OF_SHAPES,
    SHAPE,
    Fields,
    Shape,
    decode_fields,
    decode_head,
    encode_fields,
)

if TYPE_CHECKING:
    import numpy as np

_SHARD_ID, _OFFSET, _SIZE, _CRC32C = b"\x18\x20\x28\x35"
_FEW, _MANY = 200, 5_000
"""With numpy loaded, more than the first pay; that many pay to load it."""
_BEYOND = bytes(512)  # more than the bytes that are looked at behind the last entry
_NOTHING: Fields = (0, (), 0, 0, 0, 0, ())
_NO_SIZE = -1
_LONGEST = 9  # bytes of a varint that are decoded here: 63 bits


def decode_many(
    data: bytes, starts: Sequence[int], ends: Sequence[int], num_shards: int
) -> tuple[Iterable[Fields], list[int]]:
    """Decodes entries that are written as TensorFlow writes those without slices.

    Args:
      data: the bytes that they are in.
      starts: where each begins.
      ends: where each ends.
      num_shards: how many data files there are.

    Returns:
      The fields of each, as `decode_fields` returns them; and the numbers of those that only a
      `BundleEntryProto` can decode, if anything can, or that are in no data file: theirs mean
      nothing.
    """
    if len(starts) < (_FEW if "numpy" in sys.modules else _MANY):
        return _one_by_one(data, starts, ends, num_shards)
    import numpy as np

    array = np.frombuffer(data + _BEYOND, np.uint8)
    start, end = np.array(starts), np.array(ends)
    position = start + 4 + array[start + 3]
    heads = map(data.__getitem__, map(slice, starts, position.tolist()))
    dtypes, shapes, sizes = zip(*map(_head, heads))
    columns = []
    for tag in (_SHARD_ID, _OFFSET, _SIZE):
        column, position = _varints(array, position, tag)
        columns.append(column)
    has_crc = array[position] == _CRC32C
    crc32c = np.zeros(len(start), np.int64)
    for byte in (4, 3, 2, 1):
        crc32c = crc32c << 8 | array[position + byte]
    crc32c *= has_crc
    position += 5 * has_crc
    shard_id, _, size = columns
    fits = (position == end) & (shard_id < num_shards) & (size == np.array(sizes))
    columns.append(crc32c)
    fields = zip(dtypes, shapes, *(column.tolist() for column in columns), itertools.repeat(()))
    return fields, np.flatnonzero(~fits).tolist()


def _one_by_one(
    data: bytes, starts: Sequence[int], ends: Sequence[int], num_shards: int
) -> tuple[Iterable[Fields], list[int]]:
    made: list[Fields] = []
    others = []
    for number, (start, end) in enumerate(zip(starts, ends)):
        try:
            fields = decode_fields(data[start:end])
        except protos.DecodeError:
            fields = None
        if fields is None or fields[2] >= num_shards:  # its shard
            others.append(number)
            fields = _NOTHING
        made.append(fields)
    return made, others


@functools.lru_cache(KINDS_OF_SHAPES)
def _head(data: bytes) -> tuple[int, Shape, int]:
    """Returns dtype, shape and the size that they tell; `_NO_SIZE` for what is no such head."""
    if len(data) < 4 or data[0] != DTYPE or data[2] != SHAPE or data[1] >= 128 or data[3] >= 128:
        return 0, (), _NO_SIZE
    try:
        dtype, shape, size = decode_head(data)
    except protos.DecodeError:
        return 0, (), _NO_SIZE
    # What takes more than 63 bits is decoded one by one.
    return dtype, shape, _NO_SIZE if size is None or size >> 63 else size


def _varints(
    array: np.ndarray[Any, Any], position: np.ndarray[Any, Any], tag: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Decodes a field where there is one, else takes it for 0.

    Returns:
      The numbers, and the positions behind them; 0, where no entry ends, for one that is too long.
    """
    import numpy as np

    goes_on = array[position] == tag
    position = position + goes_on
    numbers = np.zeros(len(position), np.int64)
    for place in range(_LONGEST):
        byte = array[position]
        numbers |= np.where(goes_on, byte & 127, 0).astype(np.int64) << (7 * place)
        position += goes_on
        goes_on &= byte >= 128
        if not goes_on.any():
            break
    return numbers, np.where(goes_on, 0, position)


def encode_many(entries: Iterable[tuple[Any, ...]]) -> list[bytes]:
    """Encodes entries as `encode_fields` does, but for their slices.

    Args:
      entries: of each dtype, shape, shard_id, offset, size, crc32c and what is left out.

    Returns:
      The bytes of each.
    """
    made = []
    # What is around the offset is the same for many.
    around: dict[tuple[int, Shape, int, int], tuple[bytes, bytes]] = {}
    for dtype, shape, shard_id, offset, size, crc32c, _ in entries:
        if not crc32c or not 128 <= offset < 1 << 28:
            made.append(encode_fields(dtype, shape, shard_id, offset, size, crc32c))
            continue
        kind = dtype, shape, shard_id, size
        found = around.get(kind)
        if found is None:
            head = encode_fields(dtype, shape, shard_id, 0, 0, 0)
            whole = encode_fields(dtype, shape, shard_id, 0, size, 0)
            found = around[kind] = head + b"\x20", whole[len(head) :] + b"\x35"
        # A varint, in place: `write_varint` would take twice as long.
        low = offset & 127 | 128
        if offset < 1 << 14:
            number = bytes((low, offset >> 7))
        elif offset < 1 << 21:
            number = bytes((low, offset >> 7 & 127 | 128, offset >> 14))
        else:
            number = bytes((low, offset >> 7 & 127 | 128, offset >> 14 & 127 | 128, offset >> 21))
        made.append(found[0] + number + found[1] + crc32c.to_bytes(4, "little"))
    return made
