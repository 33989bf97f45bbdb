"""The names of an Estimator's variables, whatever the format of its checkpoints.

    for name in estimator_ckpt.variable_names(estimator):
        value = estimator.get_variable_value(name)       # of a raw or a dual job

`Estimator.get_variable_names()` lists the keys of a checkpoint. A dual one has those of the objects
besides, as TensorFlow 2 needs them, and the object graph, which is no variable.
"""

from __future__ import annotations

from typing import Any

from estimator_ckpt.checkpoint.account import open_account
from estimator_ckpt.errors import CheckpointNotFoundError


def variable_names(estimator: Any) -> list[str]:
    """Lists what `get_variable_names()` lists for a job that is not wrapped.

    Args:
      estimator: a `tf.estimator.Estimator` that has been trained, wrapped or not.

    Returns:
      The names of the variables in its latest checkpoint, sorted.

    Raises:
      CheckpointNotFoundError: it has no checkpoint.
      DamagedCheckpointError: its index is damaged.
      NameClashError: two of its variables have the same name.
    """
    latest = estimator.latest_checkpoint()
    if latest is None:
        raise CheckpointNotFoundError(
            f"there is no checkpoint in the model_dir '{estimator.model_dir}'; train the Estimator "
            "first"
        )
    return sorted(open_account(latest).key_of)
