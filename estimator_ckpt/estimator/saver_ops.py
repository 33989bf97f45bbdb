"""The ops of a Saver, made as TensorFlow makes them, and what they save and restore.

builder = OpsBuilder()                          # for `tf1.train.Saver(builder=...)`
builder.saves, builder.restores                 # filled when the Saver is built
builder.find(saver_def)                         # or from the ops that a SaverDef names
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from estimator_ckpt.estimator.background.snapshot import Saved
from estimator_ckpt.estimator.restoring import Read, sizes, slice_shape, static_shape
from estimator_ckpt.live import tensorflow_internals as internals

_SHARES = 4
_MANY = 1_000  # tensors that are worth more than one read


class Restore(NamedTuple):
    """A RestoreV2 op.

    Attributes:
      names: the tensor of the names of what it reads, which can be fed.
      slices: likewise.
      reads: what it reads, if nothing is fed.
      table: {tensor that a table is given: the one that it has}, by their names; {} for variables.
    """

    names: Any
    slices: Any
    reads: list[Read]
    table: Mapping[str, str] = {}


class OpsBuilder(internals.BulkSaverBuilder):
    """Makes a Saver's ops, and remembers the tensors that say what is restored."""

    def __init__(self) -> None:
        super().__init__()
        self.saves: list[list[Saved]] = []  # one for each SaveV2 op, and so for each data file
        self.restores: list[Restore] = []

    def save_op(self, filename_tensor: Any, saveables: Sequence[Any]) -> Any:
        """Makes the op that writes a data file."""
        specs = [spec for saveable in saveables for spec in saveable.specs]
        saved = [Saved(spec.name, spec.slice_spec, spec.tensor) for spec in specs]
        self.saves.append(saved)
        names, slices, tensors = zip(*saved)
        return tf.raw_ops.SaveV2(
            prefix=filename_tensor, tensor_names=names, shape_and_slices=slices, tensors=tensors
        )

    def bulk_restore(
        self, filename_tensor: Any, saveables: Any, preferred_shard: Any, restore_sequentially: Any
    ) -> Any:
        """Makes the ops that read tensors, whose names and slices can be fed."""
        del preferred_shard, restore_sequentially
        made: dict[int, Any] = {}
        variables = [each for each in saveables if not _is_table(each)]
        tables = [each for each in saveables if _is_table(each)]
        for group in [*_shares(variables), *([each] for each in tables)]:
            specs = [spec for saveable in group for spec in saveable.specs]
            if specs:
                tensors = self._restore(filename_tensor, specs, is_table=_is_table(group[0]))
                made.update(zip(map(id, specs), tensors))
        return [made[id(spec)] for saveable in saveables for spec in saveable.specs]

    def _restore(self, filename_tensor: Any, specs: Sequence[Any], *, is_table: bool) -> Any:
        reads = [Read(spec.name, spec.slice_spec, sizes(static_shape(spec))) for spec in specs]
        with tf.device("cpu:0"):
            names = tf.constant([read.name for read in reads], tf.string, name="restore_names")
            slices = tf.constant(
                [read.slice_spec for read in reads], tf.string, name="restore_slices"
            )
            tensors = tf.raw_ops.RestoreV2(
                prefix=filename_tensor,
                tensor_names=names,
                shape_and_slices=slices,
                dtypes=[spec.dtype for spec in specs],
            )
        held = {new.name: spec.tensor.name for new, spec in zip(tensors, specs)}
        self.restores.append(Restore(names, slices, reads, held if is_table else {}))
        return tensors

    def find(self, saver_def: Any) -> None:
        """Finds the ops of a Saver that this graph had before, as an imported graph has them.

        Args:
          saver_def: the `SaverDef` that names them.
        """
        graph = tf.compat.v1.get_default_graph()
        for operation in _reached(graph, saver_def.save_tensor_name, "SaveV2"):
            names, slices = _texts(operation.inputs[1]), _texts(operation.inputs[2])
            saved = list(map(Saved, names, slices, operation.inputs[3:]))
            self.saves.append(saved)
        for operation in _reached(graph, saver_def.restore_op_name, "RestoreV2"):
            names, slices = _texts(operation.inputs[1]), _texts(operation.inputs[2])
            shapes = map(sizes, map(_restored_shape, slices, operation.outputs))
            reads = list(map(Read, names, slices, shapes))
            self.restores.append(Restore(operation.inputs[1], operation.inputs[2], reads))


def _shares(saveables: Sequence[Any]) -> list[Sequence[Any]]:
    """Splits many saveables into equal shares, which are read at the same time.

    A RestoreV2 op reads tensors that are not large one after another.
    """
    count = _SHARES if len(saveables) >= _MANY else 1
    ordered = sorted(saveables, key=lambda each: str(each.name)) if count > 1 else saveables
    ends = [len(ordered) * number // count for number in range(count + 1)]
    return [ordered[start:end] for start, end in zip(ends, ends[1:])]


def _is_table(saveable: Any) -> bool:
    names = [spec.name for spec in saveable.specs]
    return len(names) == 2 and names[0].endswith("-keys") and names[1].endswith("-values")


def _reached(graph: Any, name: str, kind: str) -> list[tf.Operation]:
    """Returns the operations of a kind that running an element runs, in the order of making."""
    found, seen = [], set()
    pending = [graph.as_graph_element(name)]
    while pending:
        element = pending.pop()
        operation = getattr(element, "op", element)
        if operation in seen:
            continue
        seen.add(operation)
        if operation.type == kind:
            found.append(operation)
        else:
            pending += [*operation.inputs, *operation.control_inputs]
    order = {operation: number for number, operation in enumerate(graph.get_operations())}
    return sorted(found, key=order.__getitem__)


def _texts(tensor: Any) -> list[str]:
    # Not by `tf.get_static_value`, after which a tensor may not be fed.
    return [text.decode() for text in tf.make_ndarray(tensor.op.get_attr("value"))]


def _restored_shape(slice_spec: str, tensor: Any) -> tf.TensorShape:
    """Returns the shape of the variable that a restored tensor is assigned to, if it is known."""
    if slice_spec:
        return slice_shape(slice_spec)
    shapes = (
        _shape_of_variable(user.inputs[0].op)
        for user in _users(tensor)
        if user.type in ("Assign", "AssignVariableOp")
    )
    return next(shapes, tf.TensorShape(None))


def _users(tensor: Any) -> Iterator[tf.Operation]:
    for user in tensor.consumers():
        if user.type == "Identity":
            yield from _users(user.outputs[0])
        else:
            yield user


def _shape_of_variable(variable: tf.Operation) -> tf.TensorShape:
    has_shape = variable.type in ("VarHandleOp", "VariableV2", "Variable")
    return tf.TensorShape(variable.get_attr("shape") if has_shape else None)
