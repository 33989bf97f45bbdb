"""Every use of a TensorFlow name that is not public stands here, with the reason beside it.

All of them exist under these names in TensorFlow 2.12 to 2.21.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.checkpoint.graph_view import ObjectGraphView

# Saver.save takes a session only if it is one of these; ours passes on to the real one.
from tensorflow.python.client.session import SessionInterface as SessionInterface

# A Saver makes its ops through a builder, its documented argument `builder`; the class that has
# one RestoreV2 for many tensors is not exported.
from tensorflow.python.training.saver import BulkSaverBuilder as BulkSaverBuilder

# What of a Saver's constructor arguments is readable afterwards, all but what is saved.
_SAVER_OPTIONS = (
    "reshape",
    "sharded",
    "max_to_keep",
    "keep_checkpoint_every_n_hours",
    "name",
    "restore_sequentially",
    "allow_empty",
    "write_version",
    "pad_step_number",
    "save_relative_paths",
    "filename",
)


def saver_options(saver: Any) -> dict[str, Any]:
    """Returns the constructor arguments of a `tf1.train.Saver`: it has no public getters."""
    return {name: getattr(saver, f"_{name}") for name in _SAVER_OPTIONS}


def is_plain_saver(saver: Any) -> bool:
    """Returns whether a saver is a `tf1.train.Saver` and nothing else, with the usual builder."""
    return type(saver) is tf.compat.v1.train.Saver and (
        saver._builder is None or type(saver._builder) is BulkSaverBuilder
    )


def saver_variables(saver: Any) -> Any:
    """Returns the `var_list` of a `tf1.train.Saver`, None if it is still to be collected."""
    return saver._var_list


def all_saveables() -> list[Any]:
    """Returns what a default Saver saves: global variables, and SAVEABLE_OBJECTS (tables)."""
    graph_keys = tf.compat.v1.GraphKeys
    return tf.compat.v1.global_variables() + tf.compat.v1.get_collection(
        graph_keys.SAVEABLE_OBJECTS
    )


def logical_name(variable: Any) -> str:
    """Returns a variable's name in a name-based checkpoint; that of the whole for a part."""
    info = getattr(variable, "_save_slice_info", None)
    return str(info.full_name if info is not None else variable.op.name)


def frozen_saveables(checkpoint: Any) -> list[Any]:
    """Returns what a `tf.train.Checkpoint` saves, under its keys, the object graph included.

    This is what Scaffold.finalize itself does with a Checkpoint.
    """
    return list(ObjectGraphView(checkpoint).frozen_saveable_objects())


def counts_in(trackable: Any, step: Any) -> bool:
    """Returns whether an object is an optimizer that counts its steps in the variable `step`.

    A legacy Keras optimizer doesn't track a variable that was assigned to its `iterations`; and the
    property makes a new variable where there is none.
    """
    return step is not None and getattr(trackable, "_iterations", None) is step


def set_scaffold_saver(scaffold: Any, saver: Any) -> None:
    """Gives a Scaffold another saver: its property `saver` can't be set."""
    scaffold._saver = saver
