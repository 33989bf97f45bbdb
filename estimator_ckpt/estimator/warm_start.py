"""Settings for `warm_start_from`, from a checkpoint of any format.

    estimator = tf.estimator.Estimator(
        model_fn, "new_model_dir",
        warm_start_from=warm_start_settings("old_model_dir", rename={"old_scope/": "new_scope/"}))

TensorFlow wants every variable's old name once there is one rule, fails on what the checkpoint
lacks, and knows object-based keys only by the names they were saved under. Which variables there
are is known once the graph is built; the settings work it out then, and log what came of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from estimator_ckpt import naming
from estimator_ckpt.checkpoint.account import Account, open_account
from estimator_ckpt.checkpoint.fitting import misfit
from estimator_ckpt.checkpoint.variable_rows import variable_rows
from estimator_ckpt.compat import estimator as tf_estimator
from estimator_ckpt.errors import CheckpointArgumentError, VariableMismatchError
from estimator_ckpt.live.objects import dtype_of, named_by_name, offered_roles, shape_of
from estimator_ckpt.live.tensorflow_internals import grouped_variables
from estimator_ckpt.live.wanted import mapping_rows
from estimator_ckpt.messages import escaped, listed, logger
from estimator_ckpt.naming.correspondence import Match, correspond
from estimator_ckpt.naming.matcher import NamedShape
from estimator_ckpt.naming.roles import Role
from estimator_ckpt.naming.rules import same_shape_and_type
from estimator_ckpt.naming.variable_map import VariableMap

_log = logger(__name__)


def warm_start_settings(
    checkpoint: str | os.PathLike[str],
    *,
    include: str = ".*",
    rename: naming.Rules = None,
    on_mismatch: str = "error",
    with_slots: bool = False,
    with_step: bool = False,
    vocab_info: Mapping[str, Any] | None = None,
    averages: str | None = None,
) -> Any:
    """Makes settings that initialize the variables of a new model from an old checkpoint.

    Variables that the checkpoint lacks keep their own initial value. What was and was not
    warm-started is logged as a table when the graph is built.

    Args:
      checkpoint: a prefix, a model_dir (its latest checkpoint) or a SavedModel, in any format.
      include: a regular expression, searched for in the names of the new model's variables.
      rename: old to new names, `{"old": "new"}`, or scopes, `{"old_scope/": "new_scope/"}`, or the
        text of rules; the first that matches decides, and slots follow their variable. Or a map
        (`propose_map`), and then nothing else that is a variable is taken.
      on_mismatch: what to do about a variable whose shape is another in the checkpoint: "error", or
        "skip" it, which the table says.
      with_slots: also take over optimizers' variables (slots, `beta1_power`) and moving averages,
        those of another optimizer where they mean the same.
      with_step: also take over the global step.
      vocab_info: `tf.estimator.VocabInfo` by the variables' new names, to remap embeddings.
      averages: what averages have behind the variable's name and a `/`, as
        "ExponentialMovingAverage": each variable gets its average where there is one, else its own
        value, as the table says; None for its own value in any case.

    Returns:
      A `tf.estimator.WarmStartSettings`.

    Raises:
      CheckpointNotFoundError: there is no checkpoint.
      DamagedCheckpointError: it is damaged or incomplete.
      CheckpointArgumentError: `include` is no regular expression, or a rule of `rename` is unusable
        or matches nothing in the checkpoint, or a map changes values: convert by it first.
      NameClashError: two variables of the checkpoint have, or would get, the same name.
    """
    try:
        included = re.compile(include)
    except re.error as error:
        raise CheckpointArgumentError(
            f"include='{include}' is no regular expression: {error}"
        ) from error
    if on_mismatch not in ("error", "skip"):
        raise CheckpointArgumentError(f"on_mismatch='{on_mismatch}' must be 'error' or 'skip'")
    account = open_account(checkpoint)
    rules = naming.rename_rules(rename)
    if rules.variable_map is not None:
        _require_no_changes(rules.variable_map)
        rules = rules.for_target(variable_rows(account))
    names = rules.offered(account.roles)
    averaged = {} if averages is None else naming.average_of(account.roles, suffix=averages)
    renamed = {new: account.key_of[averaged.get(old, old)] for new, old in names.items()}
    settings = GraphWarmStartSettings(
        ckpt_to_initialize_from=account.checkpoint.tensorflow_prefix,
        vars_to_warm_start=[include],
        var_name_to_vocab_info=dict(vocab_info or {}),
        var_name_to_prev_var_name=renamed,
    )
    settings.choice = _Choice(
        account, rules, names, averaged, included, with_slots, with_step, on_mismatch
    )
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
        chosen, rows = self.choice.choose(vocab_info)
        _log.warning(_table(prefix, rows))  # lines of our own, whose names are escaped
        if not chosen:
            raise VariableMismatchError(
                f"nothing of the checkpoint '{prefix}' fits the variables of this graph; it has "
                f"{listed(sorted(keys))}; give rename={{old: new}} or another include"
            )
        yield from (
            prefix,
            [variable for _, parts in chosen.values() for variable in parts],
            {name: info for name, info in vocab_info.items() if name in chosen},
            {name: key for name, (key, _) in chosen.items()},
        )


class _Choice:
    """Which variables of a graph are wanted from a checkpoint."""

    def __init__(
        self,
        account: Account,
        rules: naming.RenameRules,
        names: Mapping[str, str],
        averages: Mapping[str, str],
        include: re.Pattern[str],
        with_slots: bool,
        with_step: bool,
        on_mismatch: str,
    ):
        self._account = account
        self._rules = rules
        self._names = names  # {new name: name in the checkpoint}
        self._averages = averages  # {name in the checkpoint: that of its average}
        self._include = include
        self._with_slots = with_slots
        self._with_step = with_step
        self._on_mismatch = on_mismatch

    def choose(
        self, vocab_info: Mapping[str, Any]
    ) -> tuple[dict[str, tuple[str, list[Any]]], list[tuple[str, str]]]:
        """Returns {name: (key, variables to warm-start; more than one for a partitioned one)}, and
        what to say of each variable of the graph.

        Raises:
          VariableMismatchError: variables have other shapes in the checkpoint.
        """
        variables = grouped_variables()
        _require_known(vocab_info, variables)
        self._check_map(variables, vocab_info)
        roles = named_by_name({name: parts[0] for name, parts in variables.items()})
        matches = correspond(roles, offered_roles(self._account, self._names))
        rows: list[tuple[str, str]] = []
        chosen: dict[str, tuple[str, list[Any]]] = {}
        misfits: list[str] = []
        for name, parts in sorted(variables.items()):
            match = matches[name]
            reason = self._reason_kept(name, roles[name], match)
            if reason is None and match.name is not None:
                old, note = self._averaged(self._names[match.name], roles[name], match.reason)
                entry = self._account.entry(old)
                key = self._account.key_of[old]
                wrong = misfit(entry, shape_of(parts[0]), dtype_of(parts[0]))
                if wrong is None or name in vocab_info:
                    chosen[name] = key, parts
                else:
                    misfits.append(f"'{name}': {wrong}, as '{key}'")
                    reason = f"skipped: {wrong}"
                rows.append((name, reason or " ".join(filter(None, (f"from {key}", note)))))
            else:
                rows.append((name, reason or ""))
        if misfits and self._on_mismatch == "error":
            raise VariableMismatchError(
                f"{len(misfits)} variables of the graph don't fit the checkpoint: "
                f"{listed(misfits)}; leave them out with include, give "
                "on_mismatch='skip', or vocab_info to remap the rows of an embedding"
            )
        return chosen, rows

    def _averaged(self, old: str, role: Role, reason: str) -> tuple[str, str]:
        """Returns whose value is taken for that of a variable, and a note on it."""
        if self._averages and role.kind == "variable":
            if old in self._averages:
                return self._averages[old], "(its average)"
            reason = "; ".join(filter(None, (reason, "it has no average")))
        return old, f"({reason})" if reason else ""

    def _check_map(self, variables: Mapping[str, Any], vocab_info: Mapping[str, Any]) -> None:
        """Raises CheckpointArgumentError where rules are of a map that doesn't fit the graph."""

        def fits(one: NamedShape, other: NamedShape) -> bool:
            may_differ = self._on_mismatch == "skip" or other.name in vocab_info
            return may_differ or same_shape_and_type(one, other)

        if self._rules.variable_map is not None:
            target = mapping_rows(variables)
            self._rules.for_target(variable_rows(self._account), target, fits=fits)

    def _reason_kept(self, name: str, role: Role, match: Match) -> str | None:
        if role.kind == "global_step":
            if not self._with_step:
                return "kept: the step is taken over only with with_step"
        elif role.is_training_state and not self._with_slots:
            return "kept: optimizers' variables are taken over only with with_slots"
        if role.kind != "global_step" and not self._include.search(name):
            return "kept: include does not match"
        if match.name is None:
            return f"kept: the checkpoint lacks it: {match.reason}"
        return None


def _require_no_changes(variable_map: VariableMap) -> None:
    """A warm start has TensorFlow read the checkpoint itself, as it is."""
    changes = variable_map.applied_changes()
    if changes:
        shown = [f"'{change.target}' ({change.transformation})" for change in changes]
        raise CheckpointArgumentError(
            f"a warm start takes values as they are stored, and the map changes {len(changes)}: "
            f"{listed(shown)}; make a checkpoint by the map first (convert(rename=map), "
            "estimator-ckpt convert --rename=@map.txt), and start from that, without rename"
        )


def _require_known(vocab_info: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
    unknown = sorted(set(vocab_info) - set(variables))
    if unknown:
        raise VariableMismatchError(
            f"vocab_info names '{unknown[0]}', which is no variable of the graph; it has "
            f"{listed(sorted(variables))}"
        )


def _table(prefix: str, rows: list[tuple[str, str]]) -> str:
    rows = [(escaped(name), escaped(what)) for name, what in rows]
    width = max((len(name) for name, _ in rows), default=0)
    taken = sum(what.startswith("from ") for _, what in rows)
    lines = [f"Warm-started {taken} of {len(rows)} variables from '{escaped(prefix)}':"]
    return "\n".join(lines + [f"  {name:<{width}}  {what}" for name, what in rows])
