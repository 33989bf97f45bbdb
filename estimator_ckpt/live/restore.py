"""Puts a checkpoint's values, of whatever format, into live variables.

    report = restore(model, "old_job", rename={"old_scope/": ""})
    print(report)

Every variable that got no value is an error, or is reported; shapes are checked before anything is
assigned.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from estimator_ckpt import naming
from estimator_ckpt.bundle import TensorEntry
from estimator_ckpt.checkpoint import Checkpoint, open_checkpoint
from estimator_ckpt.checkpoint.names import keys_by_name, read_object_graph
from estimator_ckpt.errors import CheckpointArgumentError, NameClashError, VariableMismatchError
from estimator_ckpt.live import tensorflow_internals as internals
from estimator_ckpt.live.data_loss import told_as_damage
from estimator_ckpt.live.objects import LiveObjects

_BATCH_BYTES = 256 * 1024 * 1024
_SHOWN = 10


@dataclass(frozen=True)
class RestoredValue:
    """A variable that got a value.

    Attributes:
      target: its key among the objects, or its name in the mapping.
      key: of the value in the checkpoint.
      by: "object", if it was found along the same path of objects, or "name".
    """

    target: str
    key: str
    by: str


@dataclass(frozen=True)
class Unrestored:
    """A variable that got no value, or a value that no variable took, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class RestoreReport:
    """What a restore did.

    Attributes:
      prefix: of the checkpoint.
      restored: variables that got a value.
      unmatched: variables that got none.
      left: keys of the checkpoint that nothing took. Where `deferred` says so, variables that are
        made later take theirs then.
      deferred: whether values are waiting for objects that are not built yet.
    """

    prefix: str
    restored: tuple[RestoredValue, ...]
    unmatched: tuple[Unrestored, ...]
    left: tuple[Unrestored, ...]
    deferred: bool = False


@dataclass(frozen=True)
class _Wanted:
    label: str
    name: str
    variables: tuple[Any, ...]
    is_counter: bool = False


def restore(
    target: Any,
    checkpoint: str | os.PathLike[str],
    *,
    rename: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    strict: bool = True,
    session: Any = None,
) -> RestoreReport:
    """Restores variables from a checkpoint of any format, eagerly or in a Session.

    Values are found along the path of objects where the checkpoint has an object graph, else by the
    variables' names. With `rename`, by name only.

    Args:
      target: a `tf.train.Checkpoint`, `tf.Module` or Keras model (as root, like
        `tf.train.Checkpoint(target)`), or a mapping from names to variables, or to the lists of the
        parts of partitioned ones.
      checkpoint: a prefix, a model_dir (its latest checkpoint) or a SavedModel.
      rename: old to new names, or scopes, of the checkpoint's variables.
      strict: whether a variable that gets no value is an error.
      session: in a graph, the Session; None for the default one.

    Returns:
      What was restored, and what was not.

    Raises:
      CheckpointNotFoundError: there is no checkpoint.
      DamagedCheckpointError: it is damaged or incomplete.
      VariableMismatchError: shapes or dtypes differ, or, if `strict`, variables get no value.
        Nothing has been assigned then.
      CheckpointArgumentError: a rule is unusable, or in a graph there is no session.
    """
    opened = open_checkpoint(checkpoint)
    live = None if isinstance(target, Mapping) else LiveObjects(target)
    wanted = list(_wanted_by_name(target) if live is None else _wanted_objects(live))
    graph = read_object_graph(opened)
    by_object = live.matches(graph) if live and graph is not None and not rename else {}
    names, no_names = _names(opened, rename)
    restored, unmatched = [], []
    for each in wanted:
        if each.label in by_object:
            restored.append(RestoredValue(each.label, by_object[each.label], "object"))
        elif each.name in names and each.variables:
            restored.append(RestoredValue(each.label, names[each.name], "name"))
        elif not each.is_counter:
            unmatched.append(Unrestored(each.label, _why_unmatched(each, names, no_names)))
    report = _report(opened, restored, unmatched, live is not None and graph is not None)
    _require_fitting(opened, wanted, restored)
    if unmatched and strict:
        raise VariableMismatchError(_unmatched_message(report))
    with told_as_damage(opened.prefix):
        _assign(target, opened, wanted, restored, session, bool(by_object) or report.deferred)
    return report


def _wanted_by_name(target: Mapping[str, Any]) -> Iterator[_Wanted]:
    for name, variable in target.items():
        parts = tuple(variable) if isinstance(variable, (list, tuple)) else (variable,)
        yield _Wanted(name, name, parts)


def _wanted_objects(live: LiveObjects) -> Iterator[_Wanted]:
    for key, value in live.values.items():
        variables = () if value.variable is None else (value.variable,)
        yield _Wanted(key, value.name, variables, key == naming.SAVE_COUNTER_KEY)


def _names(checkpoint: Checkpoint, rename: Any) -> tuple[dict[str, str], str]:
    """Returns {new name: key}, and why there is no such thing."""
    try:
        keys = keys_by_name(checkpoint)
    except NameClashError as error:
        if rename:
            raise
        return {}, str(error)
    rules = naming.rename_rules(rename)
    return {new: keys[old] for old, new in rules.apply_all(keys).items()}, ""


def _why_unmatched(wanted: _Wanted, names: Mapping[str, str], no_names: str) -> str:
    if not wanted.variables:
        return "it is no variable, and the checkpoint has nothing at its place among the objects"
    if no_names:
        return f"nothing is at its place among the objects, and by name: {no_names}"
    near = difflib.get_close_matches(wanted.name, names, 1)
    hint = f"; near is '{near[0]}'" if near else ""
    return f"the checkpoint has nothing called '{wanted.name}'{hint}"


def _report(
    checkpoint: Checkpoint,
    restored: list[RestoredValue],
    unmatched: list[Unrestored],
    may_defer: bool,
) -> RestoreReport:
    entries = checkpoint.index.entries
    taken = {entries[row.key] for row in restored if row.key in entries}
    left = [
        Unrestored(key, "no variable takes it")
        for key, entry in sorted(entries.items())
        if entry not in taken and key not in (naming.OBJECT_GRAPH_KEY, naming.SAVE_COUNTER_KEY)
    ]
    return RestoreReport(
        checkpoint.prefix,
        tuple(restored),
        tuple(unmatched),
        tuple(left),
        may_defer and bool(left) and not unmatched,
    )


def _require_fitting(
    checkpoint: Checkpoint, wanted: list[_Wanted], restored: list[RestoredValue]
) -> None:
    variables = {each.label: each.variables for each in wanted}
    wrong = []
    for row in restored:
        entry = checkpoint.index.entries.get(row.key)
        for variable in variables[row.target][:1]:
            if entry is not None and not _fits(variable, entry):
                wrong.append(
                    f"'{row.target}' is {variable.dtype.base_dtype.name}{_shape(variable)}, in the "
                    f"checkpoint '{row.key}' is {entry.dtype_name}{tf.TensorShape(entry.shape)}"
                )
    if wrong:
        raise VariableMismatchError(
            f"{len(wrong)} variables don't fit the checkpoint '{checkpoint.prefix}', and nothing "
            f"was restored: {_listed(wrong)}; use a model of the same shapes, or restore only what "
            "fits by giving a mapping of names to variables"
        )


def _fits(variable: Any, entry: TensorEntry) -> bool:
    same_type = int(variable.dtype.base_dtype.as_datatype_enum) == entry.dtype
    return same_type and bool(_shape(variable).is_compatible_with(entry.shape))


def _shape(variable: Any) -> tf.TensorShape:
    info = internals.slice_info(variable)
    return tf.TensorShape(info.full_shape if info is not None else variable.shape)


def _unmatched_message(report: RestoreReport) -> str:
    rows = [f"'{row.name}': {row.reason}" for row in report.unmatched]
    taken = len(report.restored)
    message = (
        f"{len(rows)} of {len(rows) + taken} variables get no value from '{report.prefix}', and "
        f"nothing was restored: {_listed(rows)}. "
    )
    if report.left:
        message += f"Not taken: {_listed([row.name for row in report.left])}. "
    return message + "Give rename={old: new}, or strict=False to restore the others"


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return "; ".join(items[:_SHOWN]) + more


def _assign(
    target: Any,
    checkpoint: Checkpoint,
    wanted: list[_Wanted],
    restored: list[RestoredValue],
    session: Any,
    with_objects: bool,
) -> None:
    eager = tf.executing_eagerly()
    session = session or (None if eager else tf.compat.v1.get_default_session())
    if not eager and session is None:
        raise CheckpointArgumentError(
            "in a graph, restoring needs a session: give session=..., or make one the default"
        )
    if with_objects:  # TensorFlow's own way, which also knows tables and what is built later
        root = target if isinstance(target, tf.train.Checkpoint) else tf.train.Checkpoint(target)
        status = root.restore(checkpoint.prefix).expect_partial()
        if not eager:
            status.run_restore_ops(session)
    variables = {each.label: each.variables for each in wanted}
    named = [row for row in restored if row.by == "name"]
    operations = []
    for batch in _batches(named, checkpoint):
        reads = [(row.key, variable) for row in batch for variable in variables[row.target]]
        tensors = tf.raw_ops.RestoreV2(
            prefix=checkpoint.prefix,
            tensor_names=[key for key, _ in reads],
            shape_and_slices=[_slice_spec(variable) for _, variable in reads],
            dtypes=[variable.dtype.base_dtype for _, variable in reads],
        )
        assigned = [variable.assign(value) for (_, variable), value in zip(reads, tensors)]
        operations += [] if eager else [operation.op for operation in assigned]
    if operations:
        session.run(operations)


def _batches(rows: list[RestoredValue], checkpoint: Checkpoint) -> Iterator[list[RestoredValue]]:
    """Groups rows so that what is read at once stays small."""
    batch: list[RestoredValue] = []
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
