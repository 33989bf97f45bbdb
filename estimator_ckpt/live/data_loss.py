"""TensorFlow's word for a damaged tensor, said as this library says it.

    with told_as_damage("model_dir/model.ckpt-10"):
        session.run(restore_op)               # raises DamagedTensorError

Those who catch TensorFlow's DataLossError go on to catch it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from estimator_ckpt.errors import DamagedCheckpointError


class DamagedTensorError(DamagedCheckpointError, tf.errors.DataLossError):
    """A tensor of a checkpoint is damaged (as TensorFlow's DataLossError says)."""

    def __init__(self, message: str):
        """Creates one, of no operation."""
        tf.errors.DataLossError.__init__(self, None, None, message)


@contextlib.contextmanager
def told_as_damage(prefix: str) -> Iterator[None]:
    """Runs what has TensorFlow read a checkpoint.

    Args:
      prefix: of the checkpoint.

    Raises:
      DamagedTensorError: TensorFlow finds a checksum wrong, or a file too short.
    """
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.OutOfRangeError) as error:
        raise DamagedTensorError(
            f"the checkpoint '{prefix}' is damaged: {error.message}; `estimator-ckpt verify` says "
            "which tensors are; restore it from a copy, or use another one"
        ) from error
