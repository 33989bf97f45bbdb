"""Checkpoints of each format, with every kind of tensor, for the tools that read and write them."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import convert

tf1 = tf.compat.v1


def _values(seed: int, step: int) -> dict[str, tf.Tensor]:
    random = np.random.RandomState(seed)
    return {
        "bfloat16": tf.cast(random.randn(5), tf.bfloat16),
        "bool": tf.constant([bool(seed % 2), True]),
        "complex": tf.constant(random.randn(3) + 1j * random.randn(3), tf.complex64),
        "dnn/kernel": tf.constant(random.randn(40, 7), tf.float32),
        "dnn/kernel/Adam": tf.constant(random.randn(40, 7), tf.float32),
        "double": tf.constant(random.randn(2, 2), tf.float64),
        "empty": tf.zeros([0, 4]),
        "global_step": tf.constant(step, tf.int64),
        "half": tf.constant(random.randn(4), tf.float16),
        "name with spaces/größe.x": tf.constant(random.randn(3), tf.float32),
        "scalar": tf.constant(random.randn(), tf.float32),
        "string": tf.constant([[b"seed"], [b"%d" % seed]]),
    }


@pytest.fixture
def make_checkpoint(tmp_path):
    """Writes a checkpoint with TensorFlow: make_checkpoint(name, format, seed, step).

    Returns its prefix and {name: tensor}. It has two shards; `parts` is a variable in two parts.
    """

    def make(name, to="tf1", seed=0, step=10, replace=None):
        values = {**_values(seed, step), **(replace or {})}
        parts = tf.constant(np.random.RandomState(seed + 100).randn(6, 2), tf.float32)
        staged = [str(tmp_path / f"staged-{name}-{number}") for number in range(2)]
        tf.raw_ops.SaveV2(
            prefix=staged[0],
            tensor_names=list(values),
            shape_and_slices=[""] * len(values),
            tensors=list(values.values()),
        )
        tf.raw_ops.SaveV2(
            prefix=staged[1],
            tensor_names=["parts", "parts"],
            shape_and_slices=["6 2 0,4:-", "6 2 4,2:-"],
            tensors=[parts[:4], parts[4:]],
        )
        merged = str(tmp_path / f"merged-{name}")
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=staged, destination_prefix=merged)
        prefix = str(tmp_path / name)
        os.makedirs(os.path.dirname(prefix), exist_ok=True)
        convert(merged, prefix, to=to)
        return prefix, {**values, "parts": parts}

    return make


@pytest.fixture
def large_checkpoint(tmp_path):
    """Writes four float32 tensors of 4 MiB each: large_checkpoint(name, seed); returns prefix."""

    def make(name, seed=0):
        random = np.random.RandomState(seed)
        names = [f"v{number}" for number in range(4)]
        tf.raw_ops.SaveV2(
            prefix=str(tmp_path / name),
            tensor_names=names,
            shape_and_slices=[""] * 4,
            tensors=[random.rand(1024, 1024).astype(np.float32) for _ in names],
        )
        return str(tmp_path / name)

    return make
