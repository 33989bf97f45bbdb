"""Reads tensors of a checkpoint into variables, eagerly or in a Session.

    assign(None, checkpoint, [Assignment("dnn/kernel", (variable,))], session=None)

Variables are read by TensorFlow, in batches, so that what is in memory at once stays small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from estimator_ckpt.checkpoint import Checkpoint, arrays, opening
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.live import tensorflow_internals as internals
from estimator_ckpt.live.data_loss import told_as_damage

_BATCH_BYTES = 256 * 1024 * 1024


class Assignment(NamedTuple):
    """What a variable gets.

    Attributes:
      key: of the tensor in the checkpoint.
      variables: the variable, or the parts of a partitioned one.
      value: what it gets instead of the tensor: a count, which is stored in another integer type.
      overlaps: whether only that part is copied that both have.
    """

    key: str
    variables: tuple[Any, ...]
    value: int | None = None
    overlaps: bool = False


def assign(
    objects: Any, checkpoint: Checkpoint, assignments: Sequence[Assignment], session: Any
) -> None:
    """Assigns values.

    Args:
      objects: what TensorFlow itself restores along the paths of objects, tables and what is built
        later included; None for nothing.
      checkpoint: the checkpoint.
      assignments: what else gets which value.
      session: in a graph, the Session; None for the default one.

    Raises:
      CheckpointArgumentError: in a graph there is no session, or values don't fit the type to which
        a map casts them. Nothing has been assigned then.
      DamagedTensorError: TensorFlow finds a tensor damaged.
    """
    eager = tf.executing_eagerly()
    session = session or (None if eager else tf.compat.v1.get_default_session())
    if not eager and session is None:
        raise CheckpointArgumentError(
            "in a graph, restoring needs a session: give session=..., or make one the default"
        )
    for key in {each.key for each in assignments}:
        entry = checkpoint.index.entries[key]
        if entry in checkpoint.refusing:
            for _ in arrays.array_chunks(checkpoint, entry):  # to the end, where it would refuse
                pass
    with told_as_damage(checkpoint.prefix):
        if objects is not None:
            is_root = isinstance(objects, tf.train.Checkpoint)
            root = objects if is_root else tf.train.Checkpoint(objects)
            status = root.restore(checkpoint.tensorflow_prefix).expect_partial()
            if not eager:
                status.run_restore_ops(session)
        apart = [each for each in assignments if _is_apart(each, checkpoint)]
        whole = [each for each in assignments if not _is_apart(each, checkpoint)]
        if is_finalized(session):
            for each in whole:
                _load(each, checkpoint, session)
            whole = []
        operations = []
        for batch in _batches(whole, checkpoint):
            operations += _read(batch, checkpoint)
        if operations and session is not None:
            session.run(operations)
    read = [each.key for each in apart if each.value is None]
    with opening.reading(checkpoint, [checkpoint.index.entries[key] for key in read]):
        for each in apart:
            _set(each, checkpoint, session)


def _is_apart(each: Assignment, checkpoint: Checkpoint) -> bool:
    """Whether a variable gets something else than what TensorFlow would read."""
    return each.value is not None or each.overlaps or each.key in checkpoint.changed


def is_finalized(session: Any) -> bool:
    """Returns whether a session's graph, or that of the default one, takes no more operations.

    So it is in an `init_fn` of a Scaffold.
    """
    session = session or tf.compat.v1.get_default_session()
    return not tf.executing_eagerly() and session is not None and bool(session.graph.finalized)


def _load(each: Assignment, checkpoint: Checkpoint, session: Any) -> None:
    """Gives variables their values through numpy, and without new operations.

    In a graph that takes no more of them, variables have initializers.
    """
    stored = arrays.read_array(checkpoint, checkpoint.index.entries[each.key])
    for variable in each.variables:
        info = internals.slice_info(variable)
        value = stored
        if info is not None:
            ends = zip(info.var_offset, info.var_shape)
            value = stored[tuple(slice(start, start + size) for start, size in ends)]
        _assign(variable, value, session)


def _assign(variable: Any, value: Any, session: Any) -> None:
    if session is None:
        variable.assign(value)
    else:
        variable.load(value, session)


def _read(batch: Sequence[Assignment], checkpoint: Checkpoint) -> list[Any]:
    """Reads tensors into variables; in a graph, returns the operations that do."""
    reads = [(each.key, variable) for each in batch for variable in each.variables]
    tensors = tf.raw_ops.RestoreV2(
        prefix=checkpoint.tensorflow_prefix,
        tensor_names=[key for key, _ in reads],
        shape_and_slices=[_slice_spec(variable) for _, variable in reads],
        dtypes=[variable.dtype.base_dtype for _, variable in reads],
    )
    if tf.executing_eagerly():
        for (_, variable), value in zip(reads, tensors):
            if isinstance(variable, tf.Variable):
                variable.assign(value, read_value=False)
            else:
                variable.assign(value)
        return []
    return [variable.assign(value).op for (_, variable), value in zip(reads, tensors)]


def _set(each: Assignment, checkpoint: Checkpoint, session: Any) -> None:
    """Sets a variable to a value that is not the tensor as it is stored."""
    if each.value is None and not each.overlaps:
        _load(each, checkpoint, session)
        return
    (variable,) = each.variables
    if each.value is not None:
        value = np.asarray(each.value, variable.dtype.base_dtype.as_numpy_dtype)
    else:
        value = variable.numpy() if session is None else session.run(variable)
        stored = arrays.read_array(checkpoint, checkpoint.index.entries[each.key])
        common = tuple(slice(0, min(sizes)) for sizes in zip(value.shape, stored.shape))
        value = np.array(value)
        value[common] = stored[common]
    _assign(variable, value, session)


def _batches(rows: Sequence[Assignment], checkpoint: Checkpoint) -> Iterator[list[Assignment]]:
    """Groups rows so that what is read at once stays small."""
    batch: list[Assignment] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += checkpoint.index.entries[row.key].bytes
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _slice_spec(variable: Any) -> str:
    info = internals.slice_info(variable)
    return "" if info is None else str(info.spec)
