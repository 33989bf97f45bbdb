"""Tensors as arrays, as TensorFlow reads them."""

from __future__ import annotations

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from estimator_ckpt.bundle import dtypes
from estimator_ckpt.checkpoint import arrays, open_checkpoint
from estimator_ckpt.errors import CheckpointArgumentError, DamagedCheckpointError

VALUES = {
    "bfloat16": tf.cast([1.5, -2.0], tf.bfloat16),
    "bool": tf.constant([[True], [False]]),
    "complex128": tf.constant([1 + 2j], tf.complex128),
    "complex64": tf.constant([[1 + 2j]], tf.complex64),
    "empty": tf.zeros([0, 4]),
    "float16": tf.constant([1.5, np.inf], tf.float16),
    "float8_e4m3fn": tf.cast([1.5, -2.0], tf.dtypes.experimental.float8_e4m3fn),
    "float8_e5m2": tf.cast([1.5, -2.0], tf.dtypes.experimental.float8_e5m2),
    "int64": tf.constant(-7, tf.int64),
    "large": tf.reshape(tf.range(700001, dtype=tf.float64), [700001, 1]),
    "strings": tf.constant([[b"a\0"], [b""]]),
    "string": tf.constant(b"one"),
    "no strings": tf.zeros([3, 0], tf.string),
    "uint8": tf.constant([[1, 2], [3, 4]], tf.uint8),
}


@pytest.fixture
def checkpoint(save, tmp_path):
    save(tmp_path / "ckpt", VALUES)
    return open_checkpoint(tmp_path / "ckpt")


@pytest.mark.parametrize("name", VALUES)
def test_a_tensor_is_the_array_that_tensorflow_has(checkpoint, name):
    array = arrays.read_array(checkpoint, checkpoint.index.entries[name])
    expected = np.asarray(VALUES[name].numpy())
    assert array.shape == expected.shape
    np.testing.assert_array_equal(array, expected)
    if VALUES[name].dtype != tf.string:
        assert array.dtype == expected.dtype
        pieces = list(arrays.array_chunks(checkpoint, checkpoint.index.entries[name]))
        assert all(piece.ndim == 1 and piece.nbytes <= 256 << 10 for piece in pieces)
        flat = np.concatenate([np.empty(0, array.dtype), *pieces])
        np.testing.assert_array_equal(flat, expected.reshape(-1))


@pytest.mark.parametrize("number", dtypes.DTYPE_NAMES)
def test_types_are_those_of_tensorflow(number):
    dtype = arrays.numpy_dtype(number)
    name = dtypes.dtype_name(number)
    if dtype is None:
        is_known = name.lstrip("q")[:3] in ("str", "res", "var", "int", "uin")
        assert is_known or not hasattr(ml_dtypes, name)
        return
    if number in types_pb2.DataType.values():  # else a later TensorFlow has it
        assert dtype == tf.as_dtype(number).as_numpy_dtype
    assert dtype.itemsize == dtypes.element_size(number)
    assert arrays.dtype_number(dtype) == number
    if dtype.isbuiltin == 1:
        assert arrays.dtype_number(dtype.newbyteorder(">")) == number


def test_only_floating_types_are_floating():
    floating = {name for number, name in dtypes.DTYPE_NAMES.items() if arrays.is_floating(number)}
    assert floating == {
        *("float16", "float32", "float64", "bfloat16", "float8_e5m2", "float8_e4m3fn"),
        *("float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz", "float4_e2m1fn"),
        *("complex64", "complex128"),
    }
    assert arrays.numpy_dtype(14) == ml_dtypes.bfloat16


@pytest.mark.parametrize(
    "cuts",
    [
        ["6 4 0,4:-", "6 4 4,2:-"],
        ["6 4 4,2:-", "6 4 0,4:-"],
        ["6 4 -:0,1", "6 4 -:1,3"],
        ["6 4 0,3:0,4", "6 4 3,3:0,4"],
        ["6 4 0,3:0,2", "6 4 3,3:0,2", "6 4 0,3:2,2", "6 4 3,3:2,2"],
    ],
)
@pytest.mark.parametrize("dtype", [tf.float32, tf.string])
def test_a_partitioned_variable_is_put_together(tmp_path, cuts, dtype):
    whole = tf.reshape(tf.range(24), [6, 4])
    whole = tf.strings.as_string(whole) if dtype == tf.string else tf.cast(whole, dtype)
    parts = []
    for cut in cuts:
        places = cut.split(" ")[-1].split(":")
        ranges = [[int(n) for n in place.split(",")] for place in places if place != "-"]
        full = [[0, 6], [0, 4]]
        ranges = [ranges.pop(0) if place != "-" else full[at] for at, place in enumerate(places)]
        (row, rows), (column, columns) = ranges
        parts.append(whole[row : row + rows, column : column + columns])
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "ckpt"),
        tensor_names=["w"] * len(cuts),
        shape_and_slices=cuts,
        tensors=parts,
    )
    checkpoint = open_checkpoint(tmp_path / "ckpt")
    entry = checkpoint.index.entries["w"]
    assert len(entry.parts) == len(cuts)
    np.testing.assert_array_equal(arrays.read_array(checkpoint, entry), whole.numpy())
    if dtype != tf.string:
        flat = np.concatenate(list(arrays.array_chunks(checkpoint, entry)))
        np.testing.assert_array_equal(flat, whole.numpy().reshape(-1))


def test_several_shards(save, merge, tmp_path):
    for number in range(3):
        save(tmp_path / f"part{number}", {f"v{number}": tf.fill([number + 1], float(number))})
    merge([tmp_path / f"part{number}" for number in range(3)], tmp_path / "ckpt")
    checkpoint = open_checkpoint(tmp_path / "ckpt")
    assert checkpoint.index.num_shards == 3
    for number in range(3):
        array = arrays.read_array(checkpoint, checkpoint.index.entries[f"v{number}"])
        np.testing.assert_array_equal(array, np.full([number + 1], number, np.float32))


@pytest.mark.parametrize("name", ["large", "strings", "bool"])
def test_damage_is_found_and_named(checkpoint, name):
    entry = checkpoint.index.entries[name]
    with open(checkpoint.shard_paths[0], "r+b") as file:
        file.seek(entry.offset + entry.size - 1)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes((byte[0] ^ 1,)))
    with pytest.raises(DamagedCheckpointError, match=f"'{name}' in .*ckpt.data.*' is damaged"):
        arrays.read_array(checkpoint, entry)
    with pytest.raises(DamagedCheckpointError, match=f"'{name}'"):
        list(arrays.byte_chunks(checkpoint, entry))


def test_a_file_that_gets_shorter_is_damage(checkpoint):
    with open(checkpoint.shard_paths[0], "r+b") as file:
        file.truncate(checkpoint.index.entries["large"].offset + 100)
    with pytest.raises(DamagedCheckpointError, match="bytes too early"):
        list(arrays.array_chunks(checkpoint, checkpoint.index.entries["large"]))


def test_missing_parts_are_damage(tmp_path):
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "ckpt"),
        tensor_names=["w"],
        shape_and_slices=["4 2 0,2:-"],
        tensors=[tf.zeros([2, 2])],
    )
    checkpoint = open_checkpoint(tmp_path / "ckpt")
    for read in (arrays.read_array, lambda *args: list(arrays.array_chunks(*args))):
        with pytest.raises(DamagedCheckpointError, match="parts don't make up the whole"):
            read(checkpoint, checkpoint.index.entries["w"])


def test_types_that_numpy_lacks_are_refused_by_name(save, tmp_path):
    save(tmp_path / "ckpt", {"q": tf.quantization.quantize([1.0], 0, 2, tf.qint8).output})
    checkpoint = open_checkpoint(tmp_path / "ckpt")
    with pytest.raises(CheckpointArgumentError, match="'q' is of type qint8"):
        arrays.read_array(checkpoint, checkpoint.index.entries["q"])
    data = b"".join(arrays.byte_chunks(checkpoint, checkpoint.index.entries["q"]))
    assert len(data) == 1


def test_remote_files_are_read_in_pieces(save):
    save("ram://arrays/ckpt", VALUES)
    checkpoint = open_checkpoint("ram://arrays/ckpt")
    array = arrays.read_array(checkpoint, checkpoint.index.entries["large"])
    np.testing.assert_array_equal(array, VALUES["large"].numpy())
    tf.io.gfile.rmtree("ram://arrays")


def test_memory_is_bounded_by_a_piece(checkpoint):
    tracemalloc.start()
    try:
        total = sum(
            piece.sum()
            for piece in arrays.array_chunks(checkpoint, checkpoint.index.entries["large"])
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 700000 * 700001 / 2
    assert peak < 1 << 20 < checkpoint.index.entries["large"].size
