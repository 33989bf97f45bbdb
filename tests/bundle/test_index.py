"""The index: byte for byte what TensorFlow writes, and TensorFlow reads what is written here."""

from __future__ import annotations

import random

import numpy as np
import pytest
import tensorflow as tf
import twins
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estimator_ckpt.bundle import checksums, dtypes
from estimator_ckpt.bundle.index import BundleIndex, TensorEntry, decode_index, encode_index

MADE_UP = settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# TensorFlow has no kernel that saves or makes tensors of these types.
NOT_SAVED = {
    *("resource", "variant", "float8_e5m2", "float8_e4m3fn"),
    *("float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz", "float4_e2m1fn"),
    *("int2", "uint2"),
    *(name for name in ("int4", "uint4") if not hasattr(tf.dtypes.experimental, name)),
}

NAMES = [
    "dnn/kernel",
    "with spaces and\ttabs",
    "größe/日本/😀",
    ".",
    "..",
    "/",
    "//a/",
    "a.Sb/.S",
    "x/.ATTRIBUTES/VARIABLE_VALUE",
    " ",
    "a",
    "n" * 1000,
    b"nul\x00inside",
    b"\x01",
    b"\xff\xff",
    b"not utf-8 \xfe\x80",
]


def decoded(prefix):
    """Decodes an index, having made sure that encoding it gives the identical file."""
    with open(f"{prefix}.index", "rb") as file:
        data = file.read()
    index = decode_index(data)
    assert encode_index(index) == data
    return index


def sample(number):
    """A small tensor of a type."""
    kind = tf.dtypes.as_dtype(number)
    if kind == tf.string:
        return tf.constant(["a", "", b"\x00\xff", "é" * 100])
    if kind.is_quantized:
        plain = {1: tf.uint8, 2: tf.uint16, 4: tf.int32}[kind.size]
        plain = tf.int8 if kind == tf.qint8 else plain
        return tf.bitcast(tf.constant([1, 2, 3], plain), kind)
    return tf.cast(tf.constant([1, 0, 3]), kind)


@pytest.mark.parametrize(
    "number",
    [number for number, name in dtypes.DTYPE_NAMES.items() if name not in NOT_SAVED],
    ids=dtypes.dtype_name,
)
def test_a_tensor_of_each_dtype_is_what_tensorflow_writes(save, tmp_path, number):
    tensor = sample(number)
    save(tmp_path / "ckpt", {"tensor": tensor})
    entry = decoded(tmp_path / "ckpt").entries["tensor"]
    stored = (tmp_path / "ckpt.data-00000-of-00001").read_bytes()
    assert (entry.dtype, entry.shape, entry.offset) == (number, tuple(tensor.shape), 0)
    assert entry.size == len(stored)
    assert entry.dtype_name == tensor.dtype.name
    if number != dtypes.STRING:
        assert entry.crc32c == checksums.masked_crc32c(stored)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,) * 8, (2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "string"])
def test_scalars_and_empty_tensors_are_what_tensorflow_writes(save, tmp_path, shape, dtype):
    tensor = np.zeros(shape) if dtype == "float32" else np.full(shape, "s", object)
    save(tmp_path / "ckpt", {"before": 1, "tensor": tf.constant(tensor, dtype)})
    entry = decoded(tmp_path / "ckpt").entries["tensor"]
    assert entry.shape == shape
    # A string tensor has the checksum of its lengths even where it has no element.
    assert (entry.size > 0) == (dtype == "string" or 0 not in shape)


def test_names_of_any_bytes_are_what_tensorflow_writes(save, tmp_path):
    save(tmp_path / "ckpt", {name: number for number, name in enumerate(NAMES)})
    keys = {key.encode("utf-8", "surrogateescape") for key in decoded(tmp_path / "ckpt").entries}
    assert keys == {name if isinstance(name, bytes) else name.encode() for name in NAMES}


def test_20001_entries_over_several_blocks_are_what_tensorflow_writes(save, tmp_path):
    names = [f"layer_{number * 7919 % 20_001}/weights" for number in range(20_001)]
    value = tf.constant(1.0)
    save(tmp_path / "ckpt", dict.fromkeys(names, value))
    assert (tmp_path / "ckpt.index").stat().st_size > 262144 + 1000
    assert decoded(tmp_path / "ckpt").entries.keys() == set(names)


def test_a_block_ends_where_tensorflow_ends_it(save, tmp_path):
    # One name fills the block up to a few bytes; lengths one apart hit the limit exactly, too.
    sizes = set()
    for length in range(262_144 - 80, 262_144 - 20):
        save(tmp_path / "ckpt", {"a" * length: 1.0, "b": 2.0})
        decoded(tmp_path / "ckpt")
        sizes.add((tmp_path / "ckpt.index").stat().st_size - length)
    assert len(sizes) > 1  # some have one block, some two


@settings(MADE_UP, max_examples=12)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 2500), longest=st.integers(1, 400))
def test_made_up_names_are_what_tensorflow_writes(save, tmp_path, seed, count, longest):
    # Few letters make long common prefixes; \xff is the one that a separator can't increment.
    source = random.Random(seed)
    names = {
        b"n" + bytes(source.choices(b"\x00a\xfe\xff", k=source.randrange(longest)))
        for _ in range(count)
    }
    value = tf.constant(0, tf.int8)
    save(tmp_path / "ckpt", dict.fromkeys(sorted(names), value))
    assert len(decoded(tmp_path / "ckpt").entries) == len(names)


def test_several_shards_are_what_tensorflow_writes(save, merge, tmp_path):
    save(tmp_path / "part0", {"a": [1.0, 2.0], "z": "text"})
    save(tmp_path / "part1", {"b": True})
    save(tmp_path / "part2", {"c": 1 + 2j, "empty": tf.zeros([0, 4])})
    merge([tmp_path / f"part{number}" for number in range(3)], tmp_path / "ckpt")
    index = decoded(tmp_path / "ckpt")
    assert index.num_shards == 3
    shards = {key: entry.shard_id for key, entry in index.entries.items()}
    assert shards == {"a": 0, "z": 0, "b": 1, "c": 2, "empty": 2}


def test_an_object_based_checkpoint_is_what_tensorflow_writes(tmp_path):
    variables = {"dnn/kernel": tf.Variable([[1.0]]), "b.c": tf.Variable(2)}
    prefix = tf.train.Checkpoint(var_list=variables, step=tf.Variable(7)).save(tmp_path / "ckpt")
    assert set(decoded(prefix).entries) == {
        "_CHECKPOINTABLE_OBJECT_GRAPH",
        "save_counter/.ATTRIBUTES/VARIABLE_VALUE",
        "step/.ATTRIBUTES/VARIABLE_VALUE",
        "var_list/b..c/.ATTRIBUTES/VARIABLE_VALUE",
        "var_list/dnn.Skernel/.ATTRIBUTES/VARIABLE_VALUE",
    }


@pytest.mark.parametrize(
    "name", [key for key, is_compressed in twins.INDEXES.items() if not is_compressed]
)
def test_a_third_party_index_is_encoded_identically(third_party, name):
    assert decoded(third_party / name).entries


@pytest.mark.parametrize(
    "name", [key for key, is_compressed in twins.INDEXES.items() if is_compressed]
)
def test_tensorflow_reads_what_is_written_from_a_compressed_index(
    third_party, tmp_path, values, name
):
    data = (third_party / f"{name}.index").read_bytes()
    written = encode_index(decode_index(data))
    assert len(written) > len(data)
    (tmp_path / "ckpt.index").write_bytes(written)
    (tmp_path / "ckpt.data-00000-of-00001").symlink_to(third_party / f"{name}.data-00000-of-00001")
    expected = values(third_party / name)
    assert expected
    assert values(tmp_path / "ckpt") == expected


def test_every_third_party_index_is_in_one_of_these_tests(third_party):
    found = {
        str(path.relative_to(third_party))[: -len(".index")]
        for path in third_party.rglob("*.index")
    }
    assert found == set(twins.INDEXES)


made_up_names = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda name: not name.startswith("\0")
)


@MADE_UP
@given(tensors=st.dictionaries(made_up_names, st.binary(max_size=50), min_size=1, max_size=30))
def test_tensorflow_reads_made_up_indexes(tmp_path, values, tensors):
    data, entries = b"", {}
    for name, value in tensors.items():
        crc = checksums.masked_crc32c(value)
        entries[name] = TensorEntry(4, (len(value),), 0, len(data), len(value), crc)
        data += value
    index = BundleIndex(entries)
    assert decode_index(encode_index(index)) == index
    (tmp_path / "ckpt.index").write_bytes(encode_index(index))
    (tmp_path / "ckpt.data-00000-of-00001").write_bytes(data)
    assert values(tmp_path / "ckpt") == {name: list(value) for name, value in tensors.items()}


def test_two_keys_may_have_the_same_bytes_and_shards_may_be_unused(save, tmp_path, values):
    save(tmp_path / "one", {"w": [1.0, 2.0]})
    entry = decoded(tmp_path / "one").entries["w"]
    index = BundleIndex({"w": entry, "w2": entry._replace(shape=(2, 1))}, num_shards=2)
    (tmp_path / "ckpt.index").write_bytes(encode_index(index))
    (tmp_path / "one.data-00000-of-00001").rename(tmp_path / "ckpt.data-00000-of-00002")
    assert values(tmp_path / "ckpt") == {"w": [1.0, 2.0], "w2": [[1.0], [2.0]]}
