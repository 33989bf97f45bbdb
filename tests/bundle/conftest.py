"""TensorFlow as the writer and the reader of bundles."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest


@pytest.fixture(scope="session")
def save():
    """Writes a bundle of one shard with TensorFlow: save(prefix, {name: value}, {name: slice})."""
    import tensorflow as tf

    def save(prefix: Any, tensors: Mapping[Any, Any], slices: Mapping[Any, str] | None = None):
        tf.raw_ops.SaveV2(
            prefix=os.fspath(prefix),
            tensor_names=list(tensors),
            shape_and_slices=[(slices or {}).get(name, "") for name in tensors],
            tensors=[tf.convert_to_tensor(value) for value in tensors.values()],
        )

    return save


@pytest.fixture(scope="session")
def merge():
    """Makes one bundle of several with TensorFlow: merge(prefixes, target)."""
    import tensorflow as tf

    def merge(prefixes: Any, target: Any):
        tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=[os.fspath(prefix) for prefix in prefixes],
            destination_prefix=os.fspath(target),
            delete_old_dirs=False,
        )

    return merge


@pytest.fixture(scope="session")
def values():
    """Reads all tensors of a checkpoint with TensorFlow, {key: list}; it checks their checksums."""
    import tensorflow as tf

    def values(prefix: Any) -> dict[str, Any]:
        reader = tf.train.load_checkpoint(os.fspath(prefix))
        return {
            key: reader.get_tensor(key).tolist()
            if hasattr(reader.get_tensor(key), "tolist")
            else reader.get_tensor(key)
            for key in reader.get_variable_to_shape_map()
        }

    return values
