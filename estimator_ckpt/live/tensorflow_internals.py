"""Every use of a TensorFlow name that is not public stands here, with the reason beside it.

But for those of `compat`, which is what restores such names.

All of them exist under these names in TensorFlow 2.12 to 2.21.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.checkpoint.graph_view import ObjectGraphView

# Saver.save takes a session only if it is one of these; ours passes on to the real one.
from tensorflow.python.client.session import SessionInterface as SessionInterface

# What a variable is that is one, and no several of a strategy.
from tensorflow.python.ops.ref_variable import RefVariable
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

# What `init_from_checkpoint`, and with it a warm start, makes initializers by, which stand in
# attributes of variables that have no public setters.
from tensorflow.python.training import checkpoint_utils, warm_starting_util

# A Saver makes its ops through a builder, its documented argument `builder`; the class that has
# one RestoreV2 for many tensors is not exported.
from tensorflow.python.training.saver import BulkSaverBuilder as BulkSaverBuilder

# What the `var_list` of a Saver stands for: the tensors, their names and slices.
from tensorflow.python.training.saving import saveable_object_util

from estimator_ckpt.naming import OBJECT_GRAPH_KEY
from estimator_ckpt.naming.paths import VARIABLE_VALUE

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
    """Returns the constructor arguments of a `tf1.train.Saver`: it has no public getters.

    A Saver that has been built has its variables, unless it was made of a SaverDef.
    """
    options = {name: getattr(saver, f"_{name}") for name in _SAVER_OPTIONS}
    return options if saver._var_list is not None else {**options, "saver_def": saver.saver_def}


def creation_number(variable: Any) -> int | None:
    """Returns a number that grows from one eager variable to the next; None where it has none.

    TensorFlow counts the objects that it makes, and puts the count behind a name that it keeps.
    """
    number = str(getattr(variable, "_unique_id", "")).rpartition("_")[2]
    return int(number) if tf.executing_eagerly() and number.isdigit() else None


def writes_v1(saver: Any) -> bool:
    """Returns whether a `tf1.train.Saver` writes TensorFlow's V1 format."""
    saver_def = saver.saver_def
    version = saver._write_version if saver_def is None else saver_def.version
    return bool(version == tf.compat.v1.train.SaverDef.V1)


def is_plain_saver(saver: Any) -> bool:
    """Returns whether a saver is a `tf1.train.Saver` and nothing else, with the usual builder."""
    return type(saver) is tf.compat.v1.train.Saver and (
        saver._builder is None or type(saver._builder) is BulkSaverBuilder
    )


def saver_variables(saver: Any) -> Any:
    """Returns the `var_list` of a `tf1.train.Saver`, None if it is still to be collected."""
    return saver._var_list


def is_object_based(saver: Any) -> bool:
    """Returns whether a `tf1.train.Saver` saves by object, as that of `model_to_estimator` does.

    The last of what it saves is then the object graph.
    """
    saved = saver._var_list
    last = saved[-1] if isinstance(saved, (list, tuple)) and saved else None
    return isinstance(last, BulkSaverBuilder.SaveableObject) and last.name == OBJECT_GRAPH_KEY


# Estimator caches a read of the global step in this collection of each graph that it trains.
_READ_STEP = "global_step_read_op_cache"


def is_export_for_training() -> bool:
    """Returns whether the default graph is a training graph that Estimator makes to export it.

    Nothing that a model_fn is given says so, but such a graph has placeholders and is not run.
    """
    graph = tf.compat.v1.get_default_graph()
    return not graph.get_collection(_READ_STEP) and any(
        operation.type == "Placeholder" for operation in graph.get_operations()
    )


def all_saveables() -> list[Any]:
    """Returns what a default Saver saves: global variables, and SAVEABLE_OBJECTS (tables)."""
    graph_keys = tf.compat.v1.GraphKeys
    others = tf.compat.v1.get_collection(graph_keys.SAVEABLE_OBJECTS)
    return [*tf.compat.v1.global_variables(), *others]


def with_replicas(var_list: Any) -> Any:
    """Returns a Saver's `var_list` in which mirrored variables have the names that it gives them.

    A Saver that is not built within a replica takes such variables in a list, but not by a name.
    """
    if not isinstance(var_list, dict):
        return var_list
    return {
        name: variable._gather_saveables_for_checkpoint()[VARIABLE_VALUE](name)
        if isinstance(variable, tf.distribute.DistributedValues)
        else variable
        for name, variable in var_list.items()
    }


def saved_specs(var_list: Any) -> list[Any]:
    """Returns what a `tf1.train.Saver` saves for its `var_list`: specs with name, slice, tensor."""
    by_name = (
        var_list if isinstance(var_list, dict) else saveable_object_util.op_list_to_dict(var_list)
    )
    saveables = saveable_object_util.validate_and_slice_inputs(by_name)
    return [spec for saveable in saveables for spec in saveable.specs]


def slice_info(variable: Any) -> Any:
    """Returns what a part of a partitioned variable knows of the whole; None for another one."""
    return getattr(variable, "_save_slice_info", None)


def logical_name(variable: Any) -> str:
    """Returns a variable's name in a name-based checkpoint; that of the whole for a part."""
    info = slice_info(variable)
    return str(info.full_name if info is not None else variable.op.name)


def grouped_variables() -> dict[str, list[Any]]:
    """Returns the global variables of the default graph by name, the parts of one together."""
    grouped: dict[str, list[Any]] = {}
    for variable in tf.compat.v1.global_variables():
        grouped.setdefault(logical_name(variable), []).append(variable)
    return grouped


def frozen_saveables(root: Any) -> tuple[list[Any], bytes]:
    """Returns what an object saves, under its keys, and the serialized object graph.

    This is what Scaffold.finalize itself does with a Checkpoint. A Saver that saves by object was
    made of just that.
    """
    if isinstance(root, tf.compat.v1.train.Saver):
        *saveables, graph = root._var_list
    else:
        *saveables, graph = ObjectGraphView(root).frozen_saveable_objects()
    value = tf.get_static_value(graph.specs[0].tensor)
    return saveables, value if isinstance(value, bytes) else value.item()


def counts_in(trackable: Any, step: Any) -> bool:
    """Returns whether an object is an optimizer that counts its steps in the variable `step`.

    A legacy Keras optimizer doesn't track a variable that was assigned to its `iterations`; and the
    property makes a new variable where there is none.
    """
    return step is not None and getattr(trackable, "_iterations", None) is step


def is_plain_variable(variable: Any) -> bool:
    """Returns whether a variable is just one of TensorFlow, and restored by an assignment."""
    return type(variable) in (ResourceVariable, RefVariable)


def is_checkpoint_of_its_own(root: Any) -> bool:
    """Returns whether an object is a Checkpoint of a class that may restore in its own way."""
    return isinstance(root, tf.train.Checkpoint) and type(root) is not tf.train.Checkpoint


def checkpoint_initializers() -> tuple[Any, Any, Any]:
    """Returns what makes initializers from a checkpoint: of many variables; of one; of one that is
    remapped by its vocabulary.
    """
    return (
        checkpoint_utils._init_from_checkpoint,
        checkpoint_utils._set_checkpoint_initializer,
        warm_starting_util._warm_start_var_with_vocab,
    )


def set_checkpoint_initializers(of_many: Any, of_one: Any, remapped: Any) -> None:
    """Has TensorFlow call these in the place of what `checkpoint_initializers` returns."""
    checkpoint_utils._init_from_checkpoint = of_many
    checkpoint_utils._set_checkpoint_initializer = of_one
    warm_starting_util._warm_start_var_with_vocab = remapped


def set_initializer(variable: Any, value: Any) -> None:
    """Has a plain variable initialized to a tensor, as `init_from_checkpoint` does."""
    if isinstance(variable, RefVariable):
        checked = variable.shape.is_fully_defined()
        variable._initializer_op = tf.compat.v1.assign(variable, value, validate_shape=checked)
    else:
        variable._initializer_op = tf.raw_ops.AssignVariableOp(
            resource=variable.handle, value=value
        )
    value.set_shape(variable.shape)
    variable._initial_value = value


def set_scaffold_saver(scaffold: Any, saver: Any) -> None:
    """Gives a Scaffold another saver: its property `saver` can't be set."""
    scaffold._saver = saver
