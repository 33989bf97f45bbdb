"""An index that is damaged is refused, and by no other error than CheckpointError."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator_ckpt.bundle.index import (
    BundleIndex,
    Extent,
    TensorEntry,
    TensorPart,
    decode_index,
    encode_index,
)
from estimator_ckpt.bundle.protos import BundleEntryProto, BundleHeaderProto
from estimator_ckpt.bundle.table import read_table, write_table
from estimator_ckpt.errors import CheckpointError, DamagedCheckpointError

WHOLE = TensorEntry(1, (2, 3), 0, 0, 24, 7)
PART = TensorEntry(1, (1, 3), 0, 24, 12, 8)
PARTS = tuple(TensorPart((Extent(row, 1), Extent(0, -1)), PART) for row in range(2))
INDEX = BundleIndex({"w": WHOLE, "table": TensorEntry(1, (2, 3), parts=PARTS)})
DATA = encode_index(INDEX)
ROWS = dict(read_table(DATA))


def changed(**rows):
    """The index with some rows changed, named by what they hold; None removes a row."""
    keys = {
        "header": b"",
        "w": b"w",
        "table": b"table",
        "part": min(k for k in ROWS if k[:1] == b"\0"),
    }
    table = {**ROWS, **{keys[name]: value for name, value in rows.items()}}
    return write_table(sorted((key, value) for key, value in table.items() if value is not None))


def entry(key, **fields):
    """A row's value with some fields changed."""
    proto = BundleEntryProto.FromString(ROWS[key])
    for name, value in fields.items():
        setattr(proto, name, value)
    return proto.SerializeToString()


def header(**fields):
    return BundleHeaderProto(**fields).SerializeToString()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "fewer than the 48 of a table's footer"),
        (write_table([]), "no header"),
        (changed(header=None), "no header"),
        (changed(header=header(num_shards=1, endianness=1)), "big-endian"),
        (changed(header=header()), "claims 0 shards"),
        (changed(header=header(num_shards=-1)), "claims -1 shards"),
        (changed(w=b"\xff\xff"), "can't be decoded"),
        (changed(w=entry(b"w", shard_id=1)), "'w' .*shard 1.* has 1 shards"),
        (changed(w=entry(b"w", shard_id=-1)), "'w' .*shard -1"),
        (changed(w=entry(b"w", offset=-8)), "'w' .* 24 bytes at -8"),
        (changed(w=entry(b"w", size=-24)), "'w' .* -24 bytes"),
        (
            changed(w=entry(b"w", size=23)),
            r"'w' has 23 bytes, but float32 of shape \[2, 3\] has 24",
        ),
        (changed(w=entry(b"w", dtype=2)), "'w' has 24 bytes, but float64 .* has 48"),
        (changed(part=None), r"the slice .* of 'table' is missing"),
        (changed(table=None), "2 slices in it belong to no variable"),
        (changed(part=b"\xff\xff"), "can't be decoded"),
    ],
)
def test_the_message_says_what_is_wrong(data, message):
    with pytest.raises(DamagedCheckpointError, match=message):
        decode_index(data)


def test_the_index_that_these_tests_damage_is_sound():
    assert changed() == DATA
    assert decode_index(DATA) == INDEX


def test_an_unknown_dtype_is_no_damage():
    index = decode_index(changed(w=entry(b"w", dtype=99)))
    assert (index.entries["w"].dtype, index.entries["w"].dtype_name) == (99, "dtype_99")


@pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_is_noticed(change):
    noticed = 0
    for at in range(len(DATA)):
        damaged = bytearray(DATA)
        damaged[at] ^= change
        try:
            assert decode_index(bytes(damaged)) == INDEX  # where no reader looks, as in padding
        except DamagedCheckpointError:
            noticed += 1
    assert noticed > len(DATA) - 60


def test_every_truncation_is_noticed():
    for size in range(len(DATA)):
        with pytest.raises(DamagedCheckpointError):
            decode_index(DATA[:size])


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    with pytest.raises(DamagedCheckpointError):
        decode_index(data)


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_any_change_under_a_correct_checksum_raises_no_other_error(data):
    rows = {}
    for key, value in ROWS.items():
        key, value = bytearray(key), bytearray(value)
        for field in (key, value):
            if field and data.draw(st.integers(0, 2)) == 0:
                field[data.draw(st.integers(0, len(field) - 1))] = data.draw(st.integers(0, 255))
        rows[bytes(key)] = bytes(value)
    try:
        index = decode_index(write_table(sorted(rows.items())))
    except CheckpointError:
        return
    assert decode_index(encode_index(index)) == index


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.binary(max_size=12), st.binary(max_size=30), max_size=5))
def test_any_rows_after_a_header_raise_no_other_error(rows):
    rows[b""] = ROWS[b""]
    try:
        decode_index(write_table(sorted(rows.items())))
    except CheckpointError:
        pass
