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
from collections.abc import Callable, Iterable

from estimator_ckpt.bundle import checksums
from estimator_ckpt.errors import DamagedCheckpointError

MAGIC = 0xDB4775248B80FB57
_FOOTER_SIZE = 48
_TRAILER_SIZE = 5  # one byte of compression, four of checksum
_NO_COMPRESSION, _SNAPPY = 0, 1
_BLOCK_SIZE = 262144
_RESTART_INTERVAL = 16
# A snappy element of three bytes stands for at most 64 bytes of output.
_MOST_SNAPPY_RATIO = 64
# Each 16th key of a block is whole (_RESTART_INTERVAL), so what the others repeat of it is at most
# 15 times that; only long keys, beyond these bytes, are counted.
_LONG_KEY, _MOST_REPEATED = 1024, 16

Row = tuple[bytes, bytes]


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
    handles, metaindex_handle = _handles(data)
    if on_damage is None:
        rows = [row for handle in handles for row in _rows_at(data, handle)]
    else:
        rows = _readable_rows(data, handles, metaindex_handle, on_damage)
    for (before, _), (after, _) in zip(rows, rows[1:]):
        if before >= after:
            raise DamagedCheckpointError(f"its keys are not sorted: {before!r} before {after!r}")
    return rows


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
    return _rows_at(data, handles[0]) if handles else []


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
    handles = [handle for _, handle in _block_rows(_read_block(data, index_handle))]
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
        end = offset + size + _TRAILER_SIZE


def _rows_at(data: bytes, encoded_handle: bytes) -> list[Row]:
    handle, _ = _read_handle(encoded_handle, 0)
    return _block_rows(_read_block(data, handle))


def _readable_rows(
    data: bytes,
    encoded_handles: Iterable[bytes],
    metaindex_handle: tuple[int, int],
    on_damage: Callable[[str], None],
) -> list[Row]:
    """Reads all blocks, also the metaindex, which no reader looks at, and tells of damaged ones."""
    rows = []
    try:
        _read_block(data, metaindex_handle)
    except DamagedCheckpointError as error:
        on_damage(str(error))
    for encoded_handle in encoded_handles:
        try:
            rows.extend(_rows_at(data, encoded_handle))
        except DamagedCheckpointError as error:
            on_damage(str(error))
    return rows


def write_table(rows: Iterable[Row]) -> bytes:
    """Encodes rows as a table, byte for byte as TensorFlow does.

    Args:
      rows: (key, value) pairs, sorted by key, each key once.

    Returns:
      The bytes of the file.
    """
    output = bytearray()
    block, index = _BlockBuilder(_RESTART_INTERVAL), _BlockBuilder(1)
    pending: bytes | None = None  # handle of the last written block, not yet in the index
    last_key = b""
    for key, value in rows:
        if pending is not None:
            index.add(_separator(last_key, key), pending)
            pending = None
        block.add(key, value)
        last_key = key
        if block.size() >= _BLOCK_SIZE:
            pending = _append_block(output, block.finish())
            block = _BlockBuilder(_RESTART_INTERVAL)
    if not block.empty():
        pending = _append_block(output, block.finish())
    metaindex_handle = _append_block(output, _BlockBuilder(_RESTART_INTERVAL).finish())
    if pending is not None:
        index.add(_successor(last_key), pending)
    index_handle = _append_block(output, index.finish())
    output += (metaindex_handle + index_handle).ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    return bytes(output)


def write_varint(number: int) -> bytes:
    """Encodes an unsigned integer in 7-bit groups, the least significant first."""
    if number < 128:
        return bytes((number,))
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
    if end + _TRAILER_SIZE > len(data):
        raise DamagedCheckpointError(
            f"a block should reach to byte {end + _TRAILER_SIZE}, but it ends at {len(data)}"
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


def _block_rows(block: bytes) -> list[Row]:
    if len(block) < 4:
        raise DamagedCheckpointError("a block is too short for its restart count")
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    limit = len(block) - 4 - 4 * restarts
    if limit < 0:
        raise DamagedCheckpointError(f"a block of {len(block)} bytes claims {restarts} restarts")
    rows = []
    key = b""
    position = repeated = 0
    while position < limit:
        header = block[position : position + 3]
        if len(header) == 3 and max(header) < 128:  # nearly always: three one-byte varints
            shared, unshared, value_size = header
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
        rows.append((key, block[middle:end]))
        position = end
    return rows


class _BlockBuilder:
    """One block under construction: entries that share a prefix with the one before."""

    def __init__(self, restart_interval: int):
        self._interval = restart_interval
        self._buffer = bytearray()
        self._restarts = [0]
        self._since_restart = 0
        self._last_key = b""

    def add(self, key: bytes, value: bytes) -> None:
        if self._since_restart < self._interval:
            shared = _shared_prefix(self._last_key, key)
        else:
            shared = 0
            self._restarts.append(len(self._buffer))
            self._since_restart = 0
        unshared, value_size = len(key) - shared, len(value)
        if shared < 128 and unshared < 128 and value_size < 128:
            self._buffer += bytes((shared, unshared, value_size))
        else:
            for number in (shared, unshared, value_size):
                self._buffer += write_varint(number)
        self._buffer += key[shared:]
        self._buffer += value
        self._last_key = key
        self._since_restart += 1

    def size(self) -> int:
        return len(self._buffer) + 4 * len(self._restarts) + 4

    def empty(self) -> bool:
        return not self._buffer

    def finish(self) -> bytes:
        count = len(self._restarts)
        return bytes(self._buffer) + struct.pack(f"<{count + 1}I", *self._restarts, count)


def _append_block(output: bytearray, block: bytes) -> bytes:
    """Appends a block with its trailer to `output`; returns its encoded handle."""
    handle = write_varint(len(output)) + write_varint(len(block))
    block += bytes((_NO_COMPRESSION,))
    output += block + struct.pack("<I", checksums.masked_crc32c(block))
    return handle


def _shared_prefix(first: bytes, second: bytes) -> int:
    """Returns how many leading bytes are equal; as numbers, since a loop is slow in Python."""
    size = min(len(first), len(second))
    difference = int.from_bytes(first[:size], "big") ^ int.from_bytes(second[:size], "big")
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
