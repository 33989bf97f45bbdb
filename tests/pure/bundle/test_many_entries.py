"""Many entries at once are decoded and encoded as each of them is."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimator_ckpt.bundle import many_entries
from estimator_ckpt.bundle.entry_bytes import encode_fields
from estimator_ckpt.bundle.index import BundleIndex, TensorEntry, decode_index, encode_index
from estimator_ckpt.bundle.many_entries import decode_many, encode_many

numbers = st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1))
entries = st.tuples(
    st.sampled_from([1, 7, 9, 10, 14, 99, 300]),
    st.lists(st.one_of(st.integers(0, 9), st.integers(-1, 2**40)), max_size=4).map(tuple),
    st.one_of(st.just(0), st.integers(0, 2**31 - 1)),
    numbers,
    numbers,
    st.integers(0, 2**32 - 1),
)
good = st.builds(
    lambda shape, shard, offset, crc: (1, (shape,), shard, offset, 4 * shape, crc),
    st.integers(0, 2**36),
    st.integers(0, 3),
    numbers,
    st.integers(0, 2**32 - 1),
)


def decoded(values, at_once, num_shards=2):
    """Decodes values, as they stand in a block, with numpy or without."""
    data, starts, ends = b"\0\x18\x18", [], []
    for value in values:
        starts.append(len(data))
        data += value
        ends.append(len(data))
        data += b"\x18\x20\x28"  # as the sizes of the next row may be
    few = many_entries._FEW
    many_entries._FEW = 0 if at_once else sys.maxsize
    try:
        fields, others = decode_many(data + bytes(4), starts, ends, num_shards)
        return list(fields), others
    finally:
        many_entries._FEW = few


@pytest.fixture(autouse=True, scope="module")
def with_numpy():
    import numpy  # noqa: F401


@given(
    st.lists(
        st.one_of(
            good.map(lambda row: encode_fields(*row)),
            entries.map(lambda row: encode_fields(*row)),
            st.binary(max_size=30),
            st.tuples(good, st.integers(0, 40), st.integers(0, 255)).map(
                lambda row: changed(encode_fields(*row[0]), *row[1:])
            ),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_many_are_decoded_as_each_of_them_is(values):
    at_once, others = decoded(values, at_once=True)
    one_by_one, undecoded = decoded(values, at_once=False)
    # What is left to a protocol buffer may be more, and is never taken for something else.
    assert set(undecoded) <= set(others)
    for number, fields in enumerate(at_once):
        if number not in others:
            assert fields == one_by_one[number]


def changed(data, at, byte):
    at %= len(data)
    return data[:at] + bytes((byte,)) + data[at + 1 :]


@given(st.lists(good.filter(lambda row: row[5] and row[2] < 2), min_size=1, max_size=30))
def test_what_tensorflow_writes_is_left_to_nothing_else(rows):
    fields, others = decoded([encode_fields(*row) for row in rows], at_once=True)
    assert others == []
    assert [row[:6] for row in fields] == rows


@given(st.lists(st.one_of(good, entries), max_size=30))
def test_many_are_encoded_as_each_of_them_is(rows):
    assert encode_many((*row, ()) for row in rows) == [encode_fields(*row) for row in rows]


@given(st.dictionaries(st.text(min_size=1, max_size=12), good, max_size=20))
def test_names_of_any_kind_are_kept(rows):
    rows = {name.lstrip("\0") or "a": row for name, row in rows.items()}
    made = {name: TensorEntry(*row) for name, row in rows.items()}
    index = BundleIndex(made, num_shards=4)
    assert decode_index(encode_index(index)) == index
