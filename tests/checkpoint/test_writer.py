"""The streaming writer, against what TensorFlow writes for the same tensors."""

from __future__ import annotations

import errno
import os
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt.bundle import Extent, TensorPart
from estimator_ckpt.checkpoint import BundleWriter, open_checkpoint
from estimator_ckpt.errors import (
    CheckpointArgumentError,
    CheckpointExistsError,
    CheckpointWriteError,
)
from estimator_ckpt.storage import files

FLOAT32, INT64 = 1, 9
PLAIN = {
    "bfloat16": tf.cast([1.5, -2.0, 3.0], tf.bfloat16),
    "bool": tf.constant([[True], [False]]),
    "complex128": tf.constant([1 + 2j, 3 - 4j], tf.complex128),
    "complex64": tf.constant([[1 + 2j]], tf.complex64),
    "empty": tf.zeros([0, 4]),
    "empty strings": tf.zeros([0], tf.string),
    "float16": tf.constant([1.5, np.inf], tf.float16),
    "float64": tf.constant(np.pi, tf.float64),
    "größe/层": tf.constant([1], tf.int8),
    "int64": tf.constant(-7, tf.int64),
    "long strings": tf.constant([b"x" * 300, b"", b"\0\xff" * 20000]),
    "name with spaces": tf.constant([[2, 3]], tf.int32),
    "string": tf.constant([[b"a"], [b"bc"]]),
    "uint16": tf.constant([65535], tf.uint16),
    "w": tf.reshape(tf.range(600000, dtype=tf.float32), [1000, 600]),
}


def add(writer, key, tensor, pieces=3):
    value = tensor.numpy()
    if tensor.dtype == tf.string:
        strings = np.asarray(value, object).reshape(-1).tolist()
        entry = writer.append_strings(tensor.shape.as_list(), strings)
    else:
        data = np.ascontiguousarray(value).tobytes()
        step = len(data) // pieces + 1
        chunks = (data[at : at + step] for at in range(0, len(data), step))
        entry = writer.append(tensor.dtype.as_datatype_enum, tensor.shape.as_list(), chunks)
    writer.put(key, entry)


def contents(prefix):
    directory, base = os.path.split(os.fspath(prefix))
    found = {}
    for name in files.names(directory):
        if name.startswith(base):
            found[name[len(base) :]] = files.read(os.path.join(directory, name))
    return found


def restored(prefix, name, dtype):
    """Reads a tensor of a prefix that tf.train.load_checkpoint takes for a directory."""
    (tensor,) = tf.raw_ops.RestoreV2(
        prefix=prefix, tensor_names=[name], shape_and_slices=[""], dtypes=[dtype]
    )
    return tensor.numpy()


@pytest.mark.parametrize("names", [sorted(PLAIN), ["w"], ["empty"], ["string"]])
def test_the_files_are_byte_for_byte_those_of_tensorflow(save, tmp_path, names):
    tensors = {name: PLAIN[name] for name in names}
    save(tmp_path / "theirs", tensors)
    with BundleWriter(str(tmp_path / "ours")) as writer:
        for name, tensor in tensors.items():
            add(writer, name, tensor)
        written = writer.commit()
    ours = contents(tmp_path / "ours")
    assert ours == contents(tmp_path / "theirs")
    assert written == sum(map(len, ours.values()))


def test_parts_are_byte_for_byte_those_of_tensorflow(save, tmp_path):
    value = tf.reshape(tf.range(12.0), [6, 2])
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "theirs"),
        tensor_names=["kernel", "kernel"],
        shape_and_slices=["6 2 0,4:-", "6 2 4,2:-"],
        tensors=[value[:4], value[4:]],
    )
    whole = open_checkpoint(tmp_path / "theirs").index.entries["kernel"]
    with BundleWriter(str(tmp_path / "ours")) as writer:
        parts = []
        for start, length in ((0, 4), (4, 2)):
            data = value[start : start + length].numpy().tobytes()
            entry = writer.append(FLOAT32, (length, 2), [data])
            parts.append(TensorPart((Extent(start, length), Extent(0, -1)), entry))
        writer.put("kernel", whole._replace(parts=tuple(parts)))
        writer.commit()
    assert contents(tmp_path / "ours") == contents(tmp_path / "theirs")


def test_keys_may_share_bytes(values, tmp_path):
    with BundleWriter(str(tmp_path / "ckpt")) as writer:
        entry = writer.append(INT64, (), [(7).to_bytes(8, "little")])
        writer.put("a", entry)
        writer.put("b", entry)
        writer.commit()
    assert values(tmp_path / "ckpt") == {"a": 7, "b": 7}
    assert os.path.getsize(tmp_path / "ckpt.data-00000-of-00001") == 8


def test_a_checkpoint_without_tensors_can_be_read(values, tmp_path):
    with BundleWriter(str(tmp_path / "ckpt")) as writer:
        writer.commit()
    assert values(tmp_path / "ckpt") == {}


@pytest.mark.parametrize("prefix", ["ram://writer/ckpt", "ram://writer/empty/"])
def test_a_remote_target(prefix):
    with BundleWriter(prefix) as writer:
        add(writer, "w", PLAIN["w"])
        add(writer, "bool", PLAIN["bool"])
        writer.commit()
    np.testing.assert_array_equal(restored(prefix, "w", tf.float32), PLAIN["w"].numpy())
    assert len(contents(prefix)) == 2
    tf.io.gfile.rmtree("ram://writer")


def test_an_empty_basename(tmp_path):
    with BundleWriter(f"{tmp_path}/") as writer:
        add(writer, "int64", PLAIN["int64"])
        writer.commit()
    assert restored(f"{tmp_path}/", "int64", tf.int64) == -7


def test_progress_reaches_the_total(tmp_path):
    calls = []
    with BundleWriter(
        str(tmp_path / "ckpt"), progress=lambda *call: calls.append(call), total=2400000
    ) as writer:
        add(writer, "w", PLAIN["w"])
        assert len(calls) == 3
        writer.commit()
    assert calls[-1] == (str(tmp_path / "ckpt"), 2400000, 2400000)


def test_an_existing_checkpoint_is_refused_before_any_work_and_replaced_if_asked(
    save, values, tmp_path
):
    save(tmp_path / "ckpt", {"old": [1.0]})
    with pytest.raises(CheckpointExistsError, match="overwrite"):
        BundleWriter(str(tmp_path / "ckpt")).__enter__()
    assert len(os.listdir(tmp_path)) == 2
    with BundleWriter(str(tmp_path / "ckpt"), overwrite=True) as writer:
        add(writer, "int64", PLAIN["int64"])
        assert values(tmp_path / "ckpt") == {"old": [1.0]}  # until it is committed
        writer.commit()
    assert values(tmp_path / "ckpt") == {"int64": -7}


def fail_in_the_middle(writer, monkeypatch):
    def chunks():
        yield b"1234"
        raise KeyboardInterrupt

    writer.append(FLOAT32, (2,), chunks())


def fill_the_disk(writer, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer._shard, "_file", type("Full", (), {"write": refuse})())
    writer.append(FLOAT32, (1,), [b"1234"])


def fail_when_published(writer, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files, "rename", refuse)
    writer.commit()


def forget_to_commit(writer, monkeypatch):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("fail", "error"),
    [
        (fail_in_the_middle, KeyboardInterrupt),
        (fill_the_disk, CheckpointWriteError),
        (fail_when_published, CheckpointWriteError),
        (forget_to_commit, KeyboardInterrupt),
    ],
)
def test_a_failure_leaves_nothing_behind(monkeypatch, tmp_path, fail, error):
    with pytest.raises(error), BundleWriter(str(tmp_path / "ckpt")) as writer:
        add(writer, "bool", PLAIN["bool"])
        fail(writer, monkeypatch)
    assert os.listdir(tmp_path) == []


def test_what_can_not_be_written_is_refused(tmp_path):
    with BundleWriter(str(tmp_path / "ckpt")) as writer:
        with pytest.raises(CheckpointArgumentError, match=r"\[2\] has 8 bytes, but 4 were given"):
            writer.append(FLOAT32, (2,), [b"1234"])
        with pytest.raises(CheckpointArgumentError, match="are 2, but 1 were given"):
            writer.append_strings((2,), [b"a"])
        entry = writer.append(FLOAT32, (), [b"1234"])
        for key in ("", "\0slice"):
            with pytest.raises(CheckpointArgumentError, match="keeps that name"):
                writer.put(key, entry)
        writer.put("w", entry)
        with pytest.raises(CheckpointArgumentError, match="two tensors would be called 'w'"):
            writer.put("w", entry)
    assert os.listdir(tmp_path) == []


def test_memory_is_bounded_by_a_piece(tmp_path):
    piece = bytes(1 << 20)
    tracemalloc.start()
    try:
        with BundleWriter(str(tmp_path / "ckpt")) as writer:
            for number in range(4):
                chunks = (bytes(piece) for _ in range(8))
                writer.put(f"v{number}", writer.append(FLOAT32, (2 << 20,), chunks))
            writer.commit()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert os.path.getsize(tmp_path / "ckpt.data-00000-of-00001") == 32 << 20
    assert peak < 4 << 20
