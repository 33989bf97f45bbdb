"""What is known of the last index makes no difference to the bytes, or to what is read in them."""

from __future__ import annotations

import crafted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator_ckpt.bundle import BundleIndex, Extent, TensorEntry, TensorPart
from estimator_ckpt.bundle.index import decode_index, encode_index
from estimator_ckpt.bundle.recurring import RecurringIndex
from estimator_ckpt.bundle.table import read_table
from estimator_ckpt.errors import DamagedCheckpointError

KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
CRCS = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**32 - 1, 0x35353535])


@st.composite
def entries(draw):
    shape = tuple(draw(st.lists(st.integers(0, 300), max_size=3)))
    size = 4
    for each in shape:
        size *= each
    place = draw(st.integers(0, 2)), draw(st.integers(0, 2**34)), size
    return TensorEntry(1, shape, *place, draw(CRCS))


def partitioned(crc):
    parts = tuple(
        TensorPart((Extent(start, 2),), TensorEntry(1, (2,), 0, 4 * start, 8, crc + start))
        for start in (0, 2)
    )
    return TensorEntry(1, (4,), parts=parts)


INDEXES = st.builds(BundleIndex, st.dictionaries(KEYS, entries(), max_size=40), st.just(3))


@st.composite
def following(draw):
    """Some indexes; most are the one before with other checksums, some with more that is other."""
    made = [draw(INDEXES)]
    for _ in range(draw(st.integers(1, 6))):
        last = made[-1]
        changed = {key: each._replace(crc32c=draw(CRCS)) for key, each in last.entries.items()}
        if changed and draw(st.integers(0, 3)) == 0:
            key = draw(st.sampled_from(sorted(changed)))
            other = draw(entries() | st.builds(partitioned, st.integers(1, 99)) | st.none())
            name = draw(st.just(key) | KEYS)
            del changed[key]
            if other is not None:
                changed[name] = other
        if draw(st.integers(0, 5)) == 0:
            changed = dict(reversed(changed.items()))
        made.append(BundleIndex(changed, last.num_shards, draw(st.sampled_from([1, 1, 1, 2]))))
    return made


@settings(deadline=None, max_examples=150)
@given(following())
def test_they_are_encoded_and_decoded_as_by_themselves(indexes):
    encoding, decoding = RecurringIndex(), RecurringIndex()
    for index in indexes:
        data = encode_index(index)
        assert encoding.encode(index) == data
        found = decoding.decode(data)
        assert found == decode_index(data)
        assert list(found.entries) == sorted(index.entries, key=lambda key: key.encode())


def many(crc):
    """An index of several blocks."""
    names = [f"tower/layer_{number:05d}/kernel" for number in range(12_000)]
    return BundleIndex(
        {
            name: TensorEntry(1, (2, number + 1), 0, 128 * number, 8 * number + 8, crc + number)
            for number, name in enumerate(names)
        }
    )


def test_of_several_blocks_each_gets_its_checksum():
    recurring, reading = RecurringIndex(), RecurringIndex()
    for crc in (1, 1000, 99):
        data = recurring.encode(many(crc))
        assert len(data) > 262144  # of one
        assert data == encode_index(many(crc))
        assert reading.decode(data) == many(crc)


@pytest.mark.parametrize("at", [0, 40, 300_000, -60, -1])
def test_damage_is_told_as_ever(at):
    recurring = RecurringIndex()
    recurring.decode(encode_index(many(1)))
    data = bytearray(encode_index(many(2)))
    data[at] ^= 0x40
    with pytest.raises(DamagedCheckpointError) as alone:
        decode_index(bytes(data))
    with pytest.raises(DamagedCheckpointError) as known:
        recurring.decode(bytes(data))
    assert str(known.value) == str(alone.value)
    assert recurring.decode(encode_index(many(3))) == many(3)


def test_a_compressed_index_is_read_each_time():
    recurring = RecurringIndex()
    for crc in (1, 2, 3):
        data = crafted.compressed(read_table(encode_index(many(crc))))
        assert recurring.decode(data) == many(crc)


def test_from_the_second_time_on_it_only_replaces_checksums(monkeypatch):
    writing, reading = RecurringIndex(), RecurringIndex()
    reading.decode(writing.encode(many(1)))
    monkeypatch.setattr("estimator_ckpt.bundle.recurring.encode_index", None)
    monkeypatch.setattr("estimator_ckpt.bundle.recurring.decode_index", None)
    for crc in (2, 3):
        assert reading.decode(writing.encode(many(crc))) == many(crc)
