"""Partitioned variables: their slices' rows and keys, renamed and renumbered."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimator_ckpt.bundle.index import (
    BundleIndex,
    Extent,
    TensorEntry,
    decode_index,
    encode_index,
)

tf1 = tf.compat.v1


def decoded(prefix):
    """Decodes an index, having made sure that encoding it gives the identical file."""
    with open(f"{prefix}.index", "rb") as file:
        data = file.read()
    index = decode_index(data)
    assert encode_index(index) == data
    return index


@pytest.fixture
def partitioned(tmp_path):
    """A checkpoint of tf1.train.Saver; `table` has three parts, with slots that have, too."""

    def numbered(shape, dtype, partition_info):
        start = partition_info.var_offset[0] * 2
        return tf.reshape(tf.range(start, start + shape[0] * 2, dtype=dtype), shape)

    with tf1.Graph().as_default(), tf1.Session() as session:
        table = tf1.get_variable(
            "table",
            [10, 2],
            initializer=numbered,
            partitioner=tf1.fixed_size_partitioner(3),
            use_resource=False,
        )
        bias = tf1.get_variable("bias", initializer=np.ones(2, np.float32))
        loss = tf1.reduce_sum(tf.convert_to_tensor(table)) + tf1.reduce_sum(bias)
        train = tf1.train.MomentumOptimizer(0.0, 0.5).minimize(loss)
        session.run(tf1.global_variables_initializer())
        session.run(train)
        return tf1.train.Saver().save(session, str(tmp_path / "model.ckpt"))


@pytest.fixture
def in_three_shards(save, merge, tmp_path):
    """`p` has slices in the shards 1 and 2 of three."""
    save(tmp_path / "part0", {"first": 1})
    save(tmp_path / "part1", {"p": tf.ones([2, 3])}, {"p": "5 3 0,2:-"})
    save(tmp_path / "part2", {"p": tf.fill([3, 3], 2.0)}, {"p": "5 3 2,3:-"})
    merge([tmp_path / f"part{number}" for number in range(3)], tmp_path / "ckpt")
    return tmp_path / "ckpt"


def test_a_partitioned_variable_is_one_entry_with_parts(partitioned):
    index = decoded(partitioned)
    assert set(index.entries) == {"bias", "bias/Momentum", "table", "table/Momentum"}
    table = index.entries["table"]
    assert (table.shape, table.size, table.bytes) == ((10, 2), 0, 80)
    assert [part.extents for part in table.parts] == [
        (Extent(0, 4), Extent(0, 2)),
        (Extent(4, 3), Extent(0, 2)),
        (Extent(7, 3), Extent(0, 2)),
    ]
    assert [part.entry.shape for part in table.parts] == [(4, 2), (3, 2), (3, 2)]
    assert table.stored == tuple(part.entry for part in table.parts)


def test_a_saver_that_writes_several_shards_is_understood(tmp_path):
    config = tf1.ConfigProto(device_count={"CPU": 2})
    with tf1.Graph().as_default(), tf1.Session(config=config) as session:
        for number in range(2):
            with tf1.device(f"/cpu:{number}"):
                tf1.get_variable(f"v{number}", initializer=np.ones(3, np.float32))
        session.run(tf1.global_variables_initializer())
        prefix = tf1.train.Saver(sharded=True).save(session, str(tmp_path / "model.ckpt"))
    entries = decoded(prefix).entries
    assert {key: entry.shape for key, entry in entries.items()} == {"v0": (3,), "v1": (3,)}


@pytest.mark.parametrize("name", ["renamed", "a/much/longer name", b"\x01nul\x00, ff\xff."])
def test_a_renamed_variable_keeps_its_slices(partitioned, tmp_path, name):
    index = decoded(partitioned)
    text = name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
    renamed = BundleIndex({text: index.entries["table"]})
    (tmp_path / "new.index").write_bytes(encode_index(renamed))
    (tmp_path / "new.data-00000-of-00001").symlink_to(f"{partitioned}.data-00000-of-00001")
    (whole,) = tf.raw_ops.RestoreV2(
        prefix=str(tmp_path / "new"),
        tensor_names=[name],
        shape_and_slices=[""],
        dtypes=[tf.float32],
    )
    np.testing.assert_array_equal(whole, np.arange(20).reshape(10, 2))
    (part,) = tf.raw_ops.RestoreV2(  # a slice that crosses the parts
        prefix=str(tmp_path / "new"),
        tensor_names=[name],
        shape_and_slices=["10 2 3,3:1,1"],
        dtypes=[tf.float32],
    )
    np.testing.assert_array_equal(part, [[7], [9], [11]])


def test_slices_in_several_shards_are_what_tensorflow_writes(in_three_shards, values):
    entry = decoded(in_three_shards).entries["p"]
    assert [part.entry.shard_id for part in entry.parts] == [1, 2]
    # A dimension that is whole, `-` in TensorFlow's text form, has length -1.
    assert entry.parts[1].extents == (Extent(2, 3), Extent(0, -1))
    assert values(in_three_shards)["p"] == [[1.0] * 3] * 2 + [[2.0] * 3] * 3


def test_renumbered_shards_are_read_by_tensorflow(in_three_shards, tmp_path, values):
    entry = decoded(in_three_shards).entries["p"].in_shards({1: 1, 2: 0})
    (tmp_path / "new.index").write_bytes(encode_index(BundleIndex({"p": entry}, 2)))
    for old, new in ((1, 1), (2, 0)):
        target = tmp_path / f"new.data-{new:05d}-of-00002"
        target.symlink_to(f"{in_three_shards}.data-{old:05d}-of-00003")
    assert values(tmp_path / "new") == {"p": [[1.0] * 3] * 2 + [[2.0] * 3] * 3}


def test_an_entry_can_be_decoded_after_its_shards_were_renumbered(in_three_shards):
    # TensorFlow gives the whole the number of its first shard, which may be beyond the new count.
    entry = decoded(in_three_shards).entries["p"]
    assert entry.shard_id == 1
    alone = entry._replace(shape=(2, 3), parts=entry.parts[:1]).in_shards({1: 0})
    index = BundleIndex({"p": alone}, num_shards=1)
    assert decode_index(encode_index(index)) == index


def test_a_plain_entry_is_renumbered():
    assert TensorEntry(1, (1,), shard_id=2, size=4).in_shards({2: 4}).shard_id == 4


@st.composite
def slices(draw):
    """A shape, and the extents of a slice of it, in TensorFlow's text form with its shape."""
    dims = []
    for _ in range(draw(st.integers(1, 4))):
        length = draw(st.integers(1, 3))
        start = draw(st.one_of(st.integers(0, 300), st.integers(0, 2**40)))
        # The element count of the whole has to fit 63 bits, or TensorFlow aborts the process:
        # below 2**44 so far, three more dimensions of at most 54 stay below 2**62.
        if math.prod(size for size, _, _ in dims) * (start + length + 1) >= 2**44:
            start = min(start, 50)
        dims.append((start + length + draw(st.integers(0, 1)), start, length))
    shape = " ".join(str(size) for size, _, _ in dims)
    spec = ":".join(f"{start},{length}" for _, start, length in dims)
    return f"{shape} {spec}", tuple(length for _, _, length in dims)


names = st.binary(min_size=1, max_size=20).filter(lambda name: not name.startswith(b"\0"))
awkward = st.lists(st.sampled_from([b"\x00", b"\xff", b"\x01", b"a"]), max_size=8).map(b"".join)


@settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(name=st.one_of(names, awkward.map(lambda end: b"x" + end)), part=slices())
def test_the_keys_of_slices_are_what_tensorflow_writes(save, tmp_path, name, part):
    spec, shape = part
    save(tmp_path / "ckpt", {name: tf.zeros(shape, tf.uint8)}, {name: spec})
    (key,) = decoded(tmp_path / "ckpt").entries
    assert key.encode("utf-8", "surrogateescape") == name


@pytest.mark.parametrize("exponent", range(63))
def test_starts_of_every_magnitude_are_what_tensorflow_writes(save, tmp_path, exponent):
    for start in (2**exponent - 1, 2**exponent):
        spec = f"{start + 2} {start},1"
        save(tmp_path / "ckpt", {"v": tf.zeros([1], tf.uint8)}, {"v": spec})
        (part,) = decoded(tmp_path / "ckpt").entries["v"].parts
        assert part.extents == (Extent(start, 1),)
