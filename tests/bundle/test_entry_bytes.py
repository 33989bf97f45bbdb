"""The bytes of an index's entries, against the protocol buffer that they are."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from estimator_ckpt.bundle.entry_bytes import decode_fields, encode_fields
from estimator_ckpt.bundle.protos import BundleEntryProto

int64 = st.integers(0, 2**63 - 1)
fields = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([1, 7, 9, 10, 14, 99, 300]),
        "shape": st.lists(st.integers(-1, 2**40), max_size=8).map(tuple),
        "shard_id": st.integers(0, 2**31 - 1),
        "offset": int64,
        "size": int64,
        "crc32c": st.integers(0, 2**32 - 1),
    }
)


def as_proto(dtype, shape, **others):
    proto = BundleEntryProto(dtype=dtype, **others)
    proto.shape.SetInParent()
    for size in shape:
        proto.shape.dim.add().size = size
    return proto


def fields_of(proto):
    shape = tuple(dim.size for dim in proto.shape.dim)
    return (proto.dtype, shape, proto.shard_id, proto.offset, proto.size, proto.crc32c, ())


@given(fields)
def test_an_entry_is_encoded_as_a_protocol_buffer_encodes_it(values):
    data = as_proto(**values).SerializeToString()
    assert encode_fields(**values) == data
    assert decode_fields(data) in (None, fields_of(as_proto(**values)))


def test_an_entry_as_tensorflow_writes_it_is_decoded():
    data = as_proto(1, (784, 10), shard_id=3, offset=2**40, size=31360, crc32c=7)
    assert decode_fields(data.SerializeToString()) == (1, (784, 10), 3, 2**40, 31360, 7, ())


@pytest.mark.parametrize(
    ("dtype", "shape", "size"), [(1, (2,), 7), (1, (), 0), (9, (3, 0), 8), (10, (5,), 6)]
)
def test_an_entry_whose_size_does_not_fit_is_left_to_those_that_say_so(dtype, shape, size):
    assert decode_fields(as_proto(dtype, shape, size=size).SerializeToString()) is None


@given(st.one_of(st.binary(max_size=40), fields.map(lambda f: as_proto(**f).SerializeToString())))
def test_any_other_bytes_are_decoded_as_a_protocol_buffer_or_not_at_all(data):
    for damaged in (
        data,
        data[:-1],
        data + b"\x28\x80\x80",
        data[::-1],
        b"\x08\x01\x12\x00" + data,
    ):
        try:
            found = decode_fields(damaged)
        except DecodeError:
            with pytest.raises(DecodeError):
                BundleEntryProto.FromString(damaged)
            continue
        if found is not None:
            proto = BundleEntryProto.FromString(damaged)
            assert not proto.slices
            assert fields_of(proto) == found
