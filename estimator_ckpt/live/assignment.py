"""Assignment maps for `tf1.train.init_from_checkpoint`, from checkpoints of any format.

    tf1.train.init_from_checkpoint("job", assignment_map("job", {"old_scope/": "new_scope/"}))

TensorFlow's forms take name-based names; with an object-based checkpoint they find nothing. The map
that is returned has the checkpoint's keys, and each variable of the graph by itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from estimator_ckpt.checkpoint.account import open_account
from estimator_ckpt.errors import CheckpointArgumentError, VariableMismatchError
from estimator_ckpt.live import tensorflow_internals as internals
from estimator_ckpt.live.objects import variable_in
from estimator_ckpt.messages import near


def assignment_map(
    checkpoint: str | os.PathLike[str], mapping: Mapping[str, Any]
) -> dict[str, Any]:
    """Makes an assignment map that fits a checkpoint of any format.

    Args:
      checkpoint: a prefix, a model_dir (its latest checkpoint) or a SavedModel.
      mapping: the five forms of `init_from_checkpoint`, by name-based names:
        `{"old_scope/": "new_scope/"}` all variables of a scope,
        `{"old": "new"}` one variable by name,
        `{"old": variable}` one variable,
        `{"old": [part, part]}` the parts of a partitioned variable,
        `{"/": "new_scope/"}` all variables, from the root.

    Returns:
      {key in the checkpoint: variable, or list of parts}, for the default graph.

    Raises:
      CheckpointNotFoundError: there is no checkpoint.
      DamagedCheckpointError: it is damaged or incomplete.
      NameClashError: its tensors have no names of their own.
      VariableMismatchError: a name is in neither the checkpoint nor the graph.
      CheckpointArgumentError: a form is none of these.
    """
    account = open_account(checkpoint)
    if account.checkpoint.is_foreign:
        raise CheckpointArgumentError(
            f"init_from_checkpoint reads no file of Keras; make a checkpoint of it first: "
            f"estimator-ckpt convert '{account.checkpoint.prefix}' TARGET --to=tf1"
        )
    keys = account.key_of
    graph = _variables_by_name()
    found: dict[str, Any] = {}
    for old, new in mapping.items():
        pairs = _expand(old, new, graph)
        for name, variable in pairs.items():
            if name not in keys:
                raise VariableMismatchError(_missing("checkpoint", name, keys))
            if keys[name] in found:
                raise CheckpointArgumentError(
                    f"'{name}' of the checkpoint would go to two variables; TensorFlow takes a key "
                    "once: call init_from_checkpoint twice"
                )
            found[keys[name]] = variable
    return found


def _expand(old: str, new: Any, graph: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {name in the checkpoint: variable} for one entry of a map."""
    if not isinstance(new, str):
        return {old: list(map(_held, new)) if isinstance(new, (list, tuple)) else _held(new)}
    if old.endswith("/") != (new.endswith("/") or not new):
        raise CheckpointArgumentError(
            f"'{old}': '{new}' mixes a scope with a variable; end both with '/', or neither"
        )
    if not old.endswith("/"):
        if new not in graph:
            raise VariableMismatchError(_missing("graph", new, graph))
        return {old: graph[new]}
    scope = "" if new == "/" else new
    prefix = "" if old == "/" else old
    pairs = {
        prefix + name[len(scope) :]: variable
        for name, variable in graph.items()
        if name.startswith(scope)
    }
    if not pairs:
        raise VariableMismatchError(f"the graph has no variable in the scope '{new}'")
    return pairs


def _held(variable: Any) -> Any:
    """Returns what TensorFlow takes for a variable: of one of Keras 3, what it holds."""
    held = variable_in(variable)
    return variable if held is None else held


def _variables_by_name() -> dict[str, Any]:
    return {
        name: parts[0] if internals.slice_info(parts[0]) is None else parts
        for name, parts in internals.grouped_variables().items()
    }


def _missing(where: str, name: str, names: Mapping[str, Any]) -> str:
    return f"the {where} has no variable '{name}'{near(name, names)}"
