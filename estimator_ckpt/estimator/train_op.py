"""Tells a train_op that trains nothing.

    warn_if_nothing_is_trained(spec.train_op)

In a graph, `apply_gradients` of today's `tf.keras.optimizers` returns the update of the optimizer's
own counter, and no variable of the model is ever updated: the job runs, saves, and learns nothing.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from estimator_ckpt.messages import logger

_log = logger(__name__)
_READS = frozenset(
    ("ReadVariableOp", "VarIsInitializedOp", "VariableShape", "ResourceGather", "ResourceGatherNd")
)
_UPDATES_OF_REFERENCES = ("Assign", "Apply", "Scatter", "CountUpTo")


def warn_if_nothing_is_trained(train_op: Any) -> None:
    """Logs a warning if a train_op updates none of the default graph's trainable variables.

    Args:
      train_op: a tensor or an operation. Under a tf.distribute strategy nothing is looked at.
    """
    variables = tf.compat.v1.trainable_variables()
    if train_op is None or not variables or tf.distribute.has_strategy():
        return
    updates = {update for variable in variables for update in _updates(variable.op)}
    if not _reaches(getattr(train_op, "op", train_op), updates):
        _log.warning(
            "The train_op of this job updates none of its %d trainable variables. Those of "
            "tf.keras.optimizers never do in a graph: use tf.keras.optimizers.legacy or "
            "tf.compat.v1.train",
            len(variables),
        )


def _updates(variable: tf.Operation) -> list[tf.Operation]:
    """Returns the operations that may change a variable."""
    handle = variable.outputs[0]
    if handle.dtype == tf.resource:
        return [user for user in handle.consumers() if user.type not in _READS]
    return [
        user
        for user in handle.consumers()
        if any(word in user.type for word in _UPDATES_OF_REFERENCES)
    ]


def _reaches(operation: tf.Operation, wanted: set[tf.Operation]) -> bool:
    """Returns whether running an operation runs one of those that are wanted."""
    seen = {operation}
    pending = [operation]
    while pending:
        current = pending.pop()
        if current in wanted:
            return True
        for needed in [*current.control_inputs, *(tensor.op for tensor in current.inputs)]:
            if needed not in seen:
                seen.add(needed)
                pending.append(needed)
    return False
