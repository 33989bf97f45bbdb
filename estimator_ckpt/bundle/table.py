"""The sorted table that holds a checkpoint's index (LevelDB's table format).

    rows = read_table(open("model.ckpt-10.index", "rb").read())   # [(key, value), ...], sorted
    data = write_table(rows)                                      # the same bytes again

Reads blocks that are uncompressed or snappy-compressed and checks every block's checksum.
Writes as TensorFlow does (restart interval 16, blocks of 256 KiB, no compression, shortened
index keys), so that the bytes are the ones that TensorFlow would have written.

Source: LevelDB's `doc/table_format.md`; TensorFlow's `core/lib/io/table_builder.cc`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from operator import ge
from typing import NamedTuple

from estimator_ckpt.bundle import checksums
from estimator_ckpt.errors import DamagedCheckpointError

MAGIC = 0xDB4775248B80FB57
_FOOTER_SIZE = 48
TRAILER_SIZE = 5  # one byte of compression, four of checksum
_NO_COMPRESSION, _SNAPPY = 0, 1
_BLOCK_SIZE = 262144
_RESTART_INTERVAL = 16
# A snappy element of three bytes stands for at most 64 bytes of output.
_MOST_SNAPPY_RATIO = 64
# Each 16th key of a block is whole (_RESTART_INTERVAL), so what the others repeat of it is at most
# 15 times that; only long keys, beyond these bytes, are counted.
_LONG_KEY, _MOST_REPEATED = 1024, 16

Row = tuple[bytes, bytes]
_number = int.from_bytes


class Rows(NamedTuple):
    """The rows of a block: their keys, and where in its bytes the value of each is.

    Attributes:
      keys: sorted.
      block: the bytes; behind the last value there are four or more.
      starts: where each value begins.
      ends: and where it ends.
    """

    keys: list[bytes]
    block: bytes
    starts: list[int]
    ends: list[int]

    def pairs(self, count: int | None = None) -> list[Row]:
        """Returns the (key, value) rows, or only the first of them."""
        block, keys = self.block, self.keys[:count]
        return [(key, block[start:end]) for key, start, end in zip(keys, self.starts, self.ends)]


def read_table(data: bytes, on_damage: Callable[[str], None] | None = None) -> list[Row]:
    """Decodes a table.

    Args:
      data: the whole file.
      on_damage: called with what is wrong with a block, instead of raising; the rows of that block
        are left out.

    Returns:
      Its (key, value) rows, in the table's order, which is the order of the keys' bytes.

    Raises:
      DamagedCheckpointError: the bytes are not a table, or a checksum is wrong. With `on_damage`
        only if that leaves nothing to read.
    """
    return [row for rows in read_blocks(data, on_damage) for row in rows.pairs()]


def read_blocks(data: bytes, on_damage: Callable[[str], None] | None = None) -> list[Rows]:
    """Decodes a table as `read_table` does, block by block; no block is empty."""
    handles, metaindex_handle = _handles(data)
    if on_damage is None:
        blocks = [_rows_at(data, handle) for handle in handles]
    else:
        blocks = _readable_blocks(data, handles, metaindex_handle, on_damage)
    blocks = [rows for rows in blocks if rows.keys]
    last: list[bytes] = []
    for rows in blocks:
        keys = last + rows.keys
        if any(map(ge, keys, keys[1:])):
            before, after = next(pair for pair in zip(keys, keys[1:]) if pair[0] >= pair[1])
            raise DamagedCheckpointError(f"its keys are not sorted: {before!r} before {after!r}")
        last = keys[-1:]
    return blocks


def located_blocks(data: bytes) -> list[tuple[int, Rows]] | None:
    """Decodes a table as `read_blocks` does.

    Returns:
      Where each block begins, and its rows; None if one is compressed, and its rows lie nowhere.
    """
    handles = [_read_handle(handle, 0)[0] for handle in _handles(data)[0]]
    if any(data[offset + size] != _NO_COMPRESSION for offset, size in handles):
        return None
    return [(handle[0], _block_rows(_read_block(data, handle))) for handle in handles]


def first_rows(data: bytes) -> list[Row]:
    """Decodes the first block of a table: what is at its head, at the cost of just that.

    Args:
      data: the whole file.

    Returns:
      The first of its (key, value) rows; none of an empty table.

    Raises:
      DamagedCheckpointError: the bytes are not a table, or a checksum is wrong.
    """
    handles, _ = _handles(data)
    return _rows_at(data, handles[0]).pairs() if handles else []


def _handles(data: bytes) -> tuple[list[bytes], tuple[int, int]]:
    """Returns the encoded handles of the blocks, in order, and that of the metaindex, decoded."""
    if len(data) < _FOOTER_SIZE:
        raise DamagedCheckpointError(
            f"it has {len(data)} bytes, fewer than the {_FOOTER_SIZE} of a table's footer"
        )
    footer = data[-_FOOTER_SIZE:]
    (magic,) = struct.unpack("<Q", footer[40:])
    if magic != MAGIC:
        raise DamagedCheckpointError(
            f"it ends with {magic:#018x}, not with the magic number of a table, {MAGIC:#018x}"
        )
    metaindex_handle, position = _read_handle(footer, 0)
    index_handle, _ = _read_handle(footer, position)
    handles = [handle for _, handle in _block_rows(_read_block(data, index_handle)).pairs()]
    _require_in_order(handles)
    return handles, metaindex_handle


def _require_in_order(encoded_handles: Iterable[bytes]) -> None:
    """Makes sure that no block is read twice: they follow each other, as they were written."""
    end = 0
    for encoded_handle in encoded_handles:
        (offset, size), _ = _read_handle(encoded_handle, 0)
        if offset < end:
            raise DamagedCheckpointError(
                f"its block at byte {offset} should come after the one that ends at {end}"
            )
        end = offset + size + TRAILER_SIZE


def _rows_at(data: bytes, encoded_handle: bytes) -> Rows:
    handle, _ = _read_handle(encoded_handle, 0)
    return _block_rows(_read_block(data, handle))


def _readable_blocks(
    data: bytes,
    encoded_handles: Iterable[bytes],
    metaindex_handle: tuple[int, int],
    on_damage: Callable[[str], None],
) -> list[Rows]:
    """Reads all blocks, also the metaindex, which no reader looks at, and tells of damaged ones."""
    blocks = []
    try:
        _read_block(data, metaindex_handle)
    except DamagedCheckpointError as error:
        on_damage(str(error))
    for encoded_handle in encoded_handles:
        try:
            blocks.append(_rows_at(data, encoded_handle))
        except DamagedCheckpointError as error:
            on_damage(str(error))
    return blocks


def write_table(rows: Iterable[Row]) -> bytes:
    """Encodes rows as a table, byte for byte as TensorFlow does.

    Args:
      rows: (key, value) pairs, sorted by key, each key once.

    Returns:
      The bytes of the file.
    """
    output = bytearray()
    index: list[Row] = []
    block, restarts, last_key = bytearray(), [0], b""
    last_number = last_size = 0  # the last key as a number, and its size
    pending: bytes | None = None  # handle of the last written block, not yet in the index
    count = 0  # rows of the block; all in one loop, as there may be 100,000
    for key, value in rows:
        if pending is not None:
            index.append((_separator(last_key, key), pending))
            pending = None
        number, size, value_size = _number(key, "big"), len(key), len(value)
        if count % _RESTART_INTERVAL:
            # As `_shared_prefix` does, of which this is the half for one key.
            if size == last_size:
                shared = size - ((number ^ last_number).bit_length() + 7) // 8
            elif size > last_size:
                other = number >> 8 * (size - last_size)
                shared = last_size - ((other ^ last_number).bit_length() + 7) // 8
            else:
                other = last_number >> 8 * (last_size - size)
                shared = size - ((other ^ number).bit_length() + 7) // 8
        else:
            shared = 0
            if count:
                restarts.append(len(block))
        unshared = size - shared
        if shared < 128 and unshared < 128 and value_size < 128:
            block += bytes((shared, unshared, value_size)) + key[shared:] + value
        else:
            sizes = b"".join(map(write_varint, (shared, unshared, value_size)))
            block += sizes + key[shared:] + value
        last_key, last_number, last_size = key, number, size
        count += 1
        if len(block) + 4 * len(restarts) + 4 >= _BLOCK_SIZE:
            pending = _append_block(output, block, restarts)
            block, restarts, count = bytearray(), [0], 0
    if block:
        pending = _append_block(output, block, restarts)
    metaindex_handle = _append_block(output, bytearray(), [0])
    if pending is not None:
        index.append((_successor(last_key), pending))
    index_handle = _append_block(output, *_index_block(index))
    output += (metaindex_handle + index_handle).ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    return bytes(output)


def _index_block(rows: Sequence[Row]) -> tuple[bytearray, list[int]]:
    """Returns the rows of a block whose keys are all whole, and where each begins."""
    block, restarts = bytearray(), []
    for key, value in rows:
        restarts.append(len(block))
        block += b"\0" + write_varint(len(key)) + write_varint(len(value)) + key + value
    return block, restarts or [0]


def write_varint(number: int) -> bytes:
    """Encodes an unsigned integer in 7-bit groups, the least significant first."""
    # The shortest ones, which are nearly all, in one step.
    if number < 1 << 7:
        return bytes((number,))
    if number < 1 << 14:
        return bytes((number & 127 | 128, number >> 7))
    if number < 1 << 21:
        return bytes((number & 127 | 128, number >> 7 & 127 | 128, number >> 14))
    if number < 1 << 28:
        return bytes(
            (number & 127 | 128, number >> 7 & 127 | 128, number >> 14 & 127 | 128, number >> 21)
        )
    encoded = bytearray()
    while number >= 128:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Decodes an unsigned varint64 at `position`; returns it and the position behind it.

    Raises:
      DamagedCheckpointError: the bytes end within it, or it has more than ten, or than 64 bits.
    """
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise DamagedCheckpointError("it ends within a number")
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            if number >> 64:
                raise DamagedCheckpointError("a number in it has more than 64 bits")
            return number, position
    raise DamagedCheckpointError("a number in it has more than ten bytes")


def _read_handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def _read_block(data: bytes, handle: tuple[int, int]) -> bytes:
    offset, size = handle
    end = offset + size
    if end + TRAILER_SIZE > len(data):
        raise DamagedCheckpointError(
            f"a block should reach to byte {end + TRAILER_SIZE}, but it ends at {len(data)}"
        )
    (stored,) = struct.unpack_from("<I", data, end + 1)
    if checksums.masked_crc32c(data[offset : end + 1]) != stored:
        raise DamagedCheckpointError(f"the block at byte {offset} has a wrong checksum")
    compression = data[end]
    if compression == _NO_COMPRESSION:
        return data[offset:end]
    if compression == _SNAPPY:
        return _unsnap(data[offset:end])
    raise DamagedCheckpointError(
        f"the block at byte {offset} has compression {compression}; 0 (none) and 1 (snappy) exist"
    )


def _unsnap(block: bytes) -> bytes:
    size, _ = read_varint(block, 0)
    if size > _MOST_SNAPPY_RATIO * len(block):
        raise DamagedCheckpointError(f"a block of {len(block)} bytes claims to unpack to {size}")
    import cramjam  # here: TensorFlow compresses no index

    try:
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise DamagedCheckpointError(f"a compressed block can't be unpacked: {error}") from error


def _block_rows(block: bytes) -> Rows:
    if len(block) < 4:
        raise DamagedCheckpointError("a block is too short for its restart count")
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    limit = len(block) - 4 - 4 * restarts
    if limit < 0:
        raise DamagedCheckpointError(f"a block of {len(block)} bytes claims {restarts} restarts")
    keys: list[bytes] = []
    starts: list[int] = []
    ends: list[int] = []
    key = b""
    position = repeated = 0
    while position < limit:
        # Behind the rows are four bytes or more, so there are three here.
        shared, unshared, value_size = block[position : position + 3]
        if (shared | unshared | value_size) < 128:  # nearly always: three one-byte varints
            position += 3
        else:
            shared, position = read_varint(block, position)
            unshared, position = read_varint(block, position)
            value_size, position = read_varint(block, position)
        middle = position + unshared
        end = middle + value_size
        if shared > len(key) or end > limit:
            raise DamagedCheckpointError("an entry reaches beyond its block")
        if shared > _LONG_KEY:
            repeated += shared
            if repeated > _MOST_REPEATED * len(block):
                raise DamagedCheckpointError(
                    f"the keys of a block are far longer than its {len(block)} bytes"
                )
        key = key[:shared] + block[position:middle]
        keys.append(key)
        starts.append(middle)
        ends.append(end)
        position = end
    return Rows(keys, block, starts, ends)


def _append_block(output: bytearray, rows: bytearray, restarts: Sequence[int]) -> bytes:
    """Appends a block with its trailer to `output`; returns its encoded handle."""
    count = len(restarts)
    block = bytes(rows) + struct.pack(f"<{count + 1}I", *restarts, count)
    handle = write_varint(len(output)) + write_varint(len(block))
    block += bytes((_NO_COMPRESSION,))
    output += block + struct.pack("<I", checksums.masked_crc32c(block))
    return handle


def _shared_prefix(first: bytes, second: bytes) -> int:
    """Returns how many leading bytes are equal; as numbers, since a loop is slow in Python."""
    size, other = len(first), len(second)
    if size != other:
        size = min(size, other)
        first, second = first[:size], second[:size]
    difference = _number(first, "big") ^ _number(second, "big")
    return size - (difference.bit_length() + 7) // 8


def _separator(start: bytes, limit: bytes) -> bytes:
    """Returns a short key that is at least `start` and less than `limit`."""
    at = _shared_prefix(start, limit)
    if at >= min(len(start), len(limit)):
        return start
    byte = start[at]
    if byte < 0xFF and byte + 1 < limit[at]:
        return start[:at] + bytes((byte + 1,))
    return start


def _successor(key: bytes) -> bytes:
    """Returns a short key that is at least `key`."""
    for at, byte in enumerate(key):
        if byte != 0xFF:
            return key[:at] + bytes((byte + 1,))
    return key
