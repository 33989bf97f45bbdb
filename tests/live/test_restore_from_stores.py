"""What `restore` reads of a store, and that TensorFlow need not reach it."""

from __future__ import annotations

import math
import os
import tempfile

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import convert, restore

COUNT, SIZE = 40, 12 * 1024 * 1024


@pytest.fixture
def on_store(s3_store, tmp_path, monkeypatch):
    """Puts checkpoints of all formats on a store; returns their values."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    random = np.random.default_rng(1)
    values = {f"v{n}": random.random(SIZE // 4 // COUNT, np.float32) for n in range(COUNT)}
    variables = {name: tf.Variable(value, name=name) for name, value in values.items()}
    tf.train.Checkpoint(var_list=variables).write(str(tmp_path / "tf2"))
    for to in ("tf1", "dual"):
        convert(tmp_path / "tf2", tmp_path / to, to=to)
    for path in tmp_path.iterdir():
        if path.is_file():
            s3_store.put(f"job/{path.name}", path.read_bytes())
    return values


@pytest.mark.parametrize("name", ["tf1", "tf2", "dual"])
def test_each_byte_comes_once_and_all_values_are_there(on_store, s3_store, tmp_path, name):
    new = {key: tf.Variable(tf.zeros_like(value), name=key) for key, value in on_store.items()}
    with s3_store.counted() as traffic:
        restore(tf.train.Checkpoint(var_list=new), f"{s3_store.url}/job/{name}")
    for key, value in on_store.items():
        np.testing.assert_array_equal(new[key].numpy(), value)
    size = sum(
        len(data) for key, data in s3_store.objects().items() if key.startswith(f"job/{name}.")
    )
    assert traffic.downloaded <= size + (1 << 16), str(traffic)
    assert traffic.requests <= 10 + math.ceil(size / (8 << 20)), str(traffic)
    assert not any(os.scandir(tmp_path / "scratch")), jobs.snapshot(tmp_path / "scratch")
