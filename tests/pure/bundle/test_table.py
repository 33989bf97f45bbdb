"""The table: round trips, tables of other writers, and bytes that are no table."""

from __future__ import annotations

import struct

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator_ckpt.bundle import checksums
from estimator_ckpt.bundle.table import read_table, read_varint, write_table, write_varint
from estimator_ckpt.errors import DamagedCheckpointError

MAGIC = 0xDB4775248B80FB57
BLOCK_SIZE = 262144
ONE_RESTART = struct.pack("<II", 0, 1)
ROWS = [(b"", b"header"), (b"dnn/bias", b"1"), (b"dnn/kernel", b"22"), (b"global_step", b"")]

small_tables = st.dictionaries(st.binary(max_size=300), st.binary(max_size=300), max_size=60)
# Values of tens of kilobytes end a block every few rows; keys that differ late share prefixes.
large_tables = st.dictionaries(
    st.one_of(st.binary(max_size=8), st.binary(max_size=3).map(lambda end: b"\xff" * 40 + end)),
    st.integers(0, 150_000).map(lambda size: bytes((size % 256,)) * size),
    min_size=5,
    max_size=25,
)


def block_of(rows):
    """A block as a writer without prefix sharing would make it: a restart at every row."""
    body, restarts = b"", []
    for key, value in rows:
        restarts.append(len(body))
        body += write_varint(0) + write_varint(len(key)) + write_varint(len(value)) + key + value
    return body + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table_of(*blocks, compression=0):
    """A table of these data blocks, whatever is in them, with correct checksums."""
    data, index = b"", []

    def append(block, kind):
        nonlocal data
        handle = write_varint(len(data)) + write_varint(len(block))
        covered = block + bytes((kind,))
        data += covered + struct.pack("<I", checksums.masked_crc32c(covered))
        return handle

    for number, block in enumerate(blocks):
        index.append((b"%08d" % number, append(block, compression)))
    footer = append(block_of([]), 0) + append(block_of(index), 0)
    return data + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def block_count(data):
    """How many data blocks a table has, found by walking the index block."""
    _, at = read_varint(data[-48:], 0)
    _, at = read_varint(data[-48:], at)
    offset, at = read_varint(data[-48:], at)
    size, _ = read_varint(data[-48:], at)
    return struct.unpack_from("<I", data, offset + size - 4)[0]


def test_rows_come_back_in_order():
    assert read_table(write_table(ROWS)) == ROWS


def test_a_table_without_rows_can_be_written_and_read():
    assert read_table(write_table([])) == []


@settings(deadline=None, max_examples=150)
@given(small_tables)
def test_any_rows_come_back(table):
    rows = sorted(table.items())
    assert read_table(write_table(rows)) == rows


@settings(deadline=None, max_examples=40)
@given(large_tables)
def test_any_rows_of_several_blocks_come_back(table):
    rows = sorted(table.items())
    data = write_table(rows)
    assert read_table(data) == rows
    # Each block but the last is full, and none has a whole block more than it needed.
    size = sum(len(key) + len(value) for key, value in rows)
    assert block_count(data) <= size // BLOCK_SIZE + 1


def test_a_block_ends_once_it_reaches_256_kib():
    overhead = 3 + 2 + 4 + 4  # lengths (the value's takes 3 bytes), key, restart, restart count
    just_under = BLOCK_SIZE - overhead - 2
    rows = [(b"a", bytes(just_under)), (b"b", b"")]
    assert block_count(write_table(rows)) == 1
    rows[0] = (b"a", bytes(just_under + 2))
    assert block_count(write_table(rows)) == 2


def test_rows_with_a_common_prefix_store_it_once_between_restarts():
    prefix = b"p" * 100
    rows = [(prefix + b"%02d" % number, b"") for number in range(16)]
    assert write_table(rows).count(prefix) == 1
    assert write_table([*rows, (prefix + b"16", b"")]).count(prefix) == 2


@pytest.mark.parametrize("compression", [0, 1])
def test_the_tables_of_other_writers_are_read(compression):
    halves = [block_of(ROWS[:2]), block_of(ROWS[2:])]
    if compression:
        halves = [bytes(cramjam.snappy.compress_raw(half)) for half in halves]
    assert read_table(table_of(*halves, compression=compression)) == ROWS


def test_a_well_compressed_block_is_read():
    rows = [(b"key", b"\0" * 1_000_000)]
    packed = bytes(cramjam.snappy.compress_raw(block_of(rows)))
    assert len(packed) < 60_000
    assert read_table(table_of(packed, compression=1)) == rows


def test_every_flipped_byte_is_noticed():
    data = write_table(ROWS)
    metaindex, at = read_varint(data[-48:], 0)
    metaindex_size, _ = read_varint(data[-48:], at)
    unread = range(metaindex, metaindex + metaindex_size + 5)  # and parts of the footer
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        try:
            assert read_table(bytes(damaged)) == ROWS
            assert at in unread or at >= len(data) - 48
        except DamagedCheckpointError:
            assert at not in unread


def test_every_truncation_is_noticed():
    data = write_table(ROWS)
    for size in range(len(data)):
        with pytest.raises(DamagedCheckpointError):
            read_table(data[:size])


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.sampled_from([0, 1]))
def test_any_block_with_a_correct_checksum_is_rows_or_damaged(block, compression):
    try:
        rows = read_table(table_of(block, compression=compression))
    except DamagedCheckpointError:
        return
    assert rows == sorted(rows)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_changed_block_with_a_correct_checksum_is_rows_or_damaged(data):
    block = bytearray(block_of(ROWS))
    for _ in range(data.draw(st.integers(1, 4))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_table(table_of(bytes(block)))
    except DamagedCheckpointError:
        pass


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes, fewer than the 48"),
        (bytes(48), "not with the magic number of a table"),
        (table_of(block_of(ROWS), compression=7), "compression 7; 0 .* and 1 .* exist"),
        (table_of(block_of(ROWS[::-1])), "keys are not sorted"),
        (table_of(block_of(ROWS), block_of(ROWS)), "keys are not sorted"),
        (table_of(block_of([ROWS[1], ROWS[1]])), "keys are not sorted"),
        (table_of(b"abc"), "too short for its restart count"),
        (table_of(struct.pack("<I", 3)), "claims 3 restarts"),
        (table_of(b"\0\x05\0a" + ONE_RESTART), "reaches beyond its block"),
        (table_of(b"\x01\x01\0a" + ONE_RESTART), "reaches beyond its block"),
        (table_of(b"\x80\x80\x80\x80\x40" + bytes(20), compression=1), "claims to unpack to"),
        (table_of(b"\x08" + b"\xff" * 20, compression=1), "can't be unpacked"),
    ],
)
def test_the_message_says_what_is_wrong(data, message):
    with pytest.raises(DamagedCheckpointError, match=message):
        read_table(data)


@given(st.integers(0, 2**64 - 1))
def test_varints_come_back_with_the_position_behind_them(number):
    encoded = write_varint(number)
    assert read_varint(b"x" + encoded + b"y", 1) == (number, 1 + len(encoded))
    assert len(encoded) == max(1, (number.bit_length() + 6) // 7)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9])
def test_a_varint_that_is_cut_off_is_damaged(data):
    with pytest.raises(DamagedCheckpointError, match="ends within a number"):
        read_varint(data, 0)


def test_a_varint_of_more_than_ten_bytes_is_damaged():
    with pytest.raises(DamagedCheckpointError, match="more than ten bytes"):
        read_varint(b"\x80" * 11, 0)
