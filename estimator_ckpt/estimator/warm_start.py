"""Settings for `warm_start_from`, from a checkpoint of any format.

    estimator = tf.estimator.Estimator(
        model_fn, "new_model_dir",
        warm_start_from=warm_start_settings("old_model_dir", rename={"old_scope/": "new_scope/"}))

TensorFlow wants every variable's old name once there is one rule, fails on what the checkpoint
lacks, and knows object-based keys only by the names they were saved under. Which variables there
are is known once the graph is built; the settings work it out then, and log what came of it.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from estimator_ckpt import naming
from estimator_ckpt.checkpoint import Checkpoint, open_checkpoint
from estimator_ckpt.checkpoint.names import keys_by_name
from estimator_ckpt.compat import estimator as tf_estimator
from estimator_ckpt.errors import CheckpointArgumentError, VariableMismatchError
from estimator_ckpt.live.tensorflow_internals import grouped_variables, slice_info

_log = logging.getLogger(__name__)


def warm_start_settings(
    checkpoint: str | os.PathLike[str],
    *,
    include: str = ".*",
    rename: Mapping[str, str] | None = None,
    with_slots: bool = False,
    with_step: bool = False,
    vocab_info: Mapping[str, Any] | None = None,
) -> Any:
    """Makes settings that initialize the variables of a new model from an old checkpoint.

    Variables that the checkpoint lacks keep their own initial value. What was and was not
    warm-started is logged as a table when the graph is built.

    Args:
      checkpoint: a prefix, a model_dir (its latest checkpoint) or a SavedModel, in any format.
      include: a regular expression, searched for in the names of the new model's variables.
      rename: old to new names, `{"old": "new"}`, or scopes, `{"old_scope/": "new_scope/"}`; the
        first that matches decides, and slots follow their variable.
      with_slots: also take over optimizers' variables (slots, `beta1_power`).
      with_step: also take over the global step.
      vocab_info: `tf.estimator.VocabInfo` by the variables' new names, to remap embeddings.

    Returns:
      A `tf.estimator.WarmStartSettings`.

    Raises:
      CheckpointNotFoundError: there is no checkpoint.
      DamagedCheckpointError: it is damaged or incomplete.
      CheckpointArgumentError: `include` is no regular expression, or a rule of `rename` is unusable
        or matches nothing in the checkpoint.
      NameClashError: two variables of the checkpoint have, or would get, the same name.
    """
    try:
        included = re.compile(include)
    except re.error as error:
        raise CheckpointArgumentError(
            f"include='{include}' is no regular expression: {error}"
        ) from error
    opened = open_checkpoint(checkpoint)
    keys = keys_by_name(opened)
    rules = naming.rename_rules(rename)
    renamed = {new: keys[old] for old, new in rules.apply_all(keys).items()}
    settings = GraphWarmStartSettings(
        ckpt_to_initialize_from=opened.prefix,
        vars_to_warm_start=[include],
        var_name_to_vocab_info=dict(vocab_info or {}),
        var_name_to_prev_var_name=renamed,
    )
    settings.choice = _Choice(opened, included, with_slots, with_step)
    return settings


class GraphWarmStartSettings(tf_estimator.WarmStartSettings):
    """WarmStartSettings that fit themselves to the graph they are used in.

    As fields they hold what is asked for: `vars_to_warm_start` the pattern, and
    `var_name_to_prev_var_name` the key of each name that the checkpoint can offer. Unpacked, which
    is how Estimator passes them to `tf.compat.v1.train.warm_start`, they are the variables of the
    default graph to warm-start and the keys of just those, as TensorFlow wants it.
    """

    choice: _Choice

    def __iter__(self) -> Iterator[Any]:
        """Unpacks as the arguments of `tf.compat.v1.train.warm_start`, for the default graph."""
        prefix, keys, vocab_info = self[0], self[3], self[2]
        chosen, rows = self.choice.choose(keys, vocab_info)
        _log.warning("%s", _table(prefix, rows))
        variables = [variable for parts in chosen.values() for variable in parts]
        if not variables:
            raise VariableMismatchError(
                f"nothing of the checkpoint '{prefix}' fits the variables of this graph; it has "
                f"{', '.join(sorted(keys)[:10])}; give rename={{old: new}} or another include"
            )
        yield from (
            prefix,
            variables,
            {name: info for name, info in vocab_info.items() if name in chosen},
            {name: keys[name] for name in chosen},
        )


class _Choice:
    """Which variables of a graph are wanted from a checkpoint."""

    def __init__(
        self, checkpoint: Checkpoint, include: re.Pattern[str], with_slots: bool, with_step: bool
    ):
        self._entries = checkpoint.index.entries
        self._include = include
        self._with_slots = with_slots
        self._with_step = with_step

    def choose(
        self, keys: Mapping[str, str], vocab_info: Mapping[str, Any]
    ) -> tuple[dict[str, list[Any]], list[tuple[str, str]]]:
        """Returns {name: variables to warm-start (more than one for a partitioned one)}, and what
        to say of each variable of the graph.
        """
        variables = grouped_variables()
        _require_known(vocab_info, variables)
        rows = []
        chosen = {}
        for name, parts in sorted(variables.items()):
            reason = self._why_not(name, parts, keys, variables, vocab_info)
            if reason is None:
                chosen[name] = parts
            old = keys.get(name)
            rows.append((name, reason or f"from {old}"))
        return chosen, rows

    def _why_not(
        self,
        name: str,
        parts: list[Any],
        keys: Mapping[str, str],
        variables: Mapping[str, Any],
        vocab_info: Mapping[str, Any],
    ) -> str | None:
        if name == naming.GLOBAL_STEP:
            if not self._with_step:
                return "kept: the step is taken over only with with_step"
        elif not self._with_slots and naming.is_optimizer_state(name, variables):
            return "kept: optimizers' variables are taken over only with with_slots"
        elif not self._include.search(name):
            return "kept: include does not match"
        if name not in keys:
            return "kept: the checkpoint lacks it"
        if name not in vocab_info:
            self._require_equal_shape(name, parts, keys[name])
        return None

    def _require_equal_shape(self, name: str, parts: list[Any], key: str) -> None:
        info = slice_info(parts[0])
        shape = tf.TensorShape(info.full_shape if info is not None else parts[0].shape)
        found = self._entries[key].shape
        if not shape.is_compatible_with(found):
            raise VariableMismatchError(
                f"'{name}' is {shape} in the graph, and {tf.TensorShape(found)} in the checkpoint "
                f"as '{key}'; leave it out with include, or give vocab_info to remap its rows"
            )


def _require_known(vocab_info: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
    unknown = sorted(set(vocab_info) - set(variables))
    if unknown:
        raise VariableMismatchError(
            f"vocab_info names '{unknown[0]}', which is no variable of the graph; it has "
            f"{', '.join(sorted(variables)[:10])}"
        )


def _table(prefix: str, rows: list[tuple[str, str]]) -> str:
    width = max((len(name) for name, _ in rows), default=0)
    taken = sum(what.startswith("from ") for _, what in rows)
    lines = [f"Warm-started {taken} of {len(rows)} variables from '{prefix}':"]
    return "\n".join(lines + [f"  {name:<{width}}  {what}" for name, what in rows])
