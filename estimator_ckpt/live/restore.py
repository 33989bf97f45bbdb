"""Puts a checkpoint's values, of whatever format, into live variables.

    report = restore(model, "old_job", rename={"old_scope/": ""})
    print(report)

Every variable that got no value is an error, or is reported; shapes are checked before anything is
assigned. What each variable gets is decided in a `Plan`; nothing is assigned before that is whole.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from estimator_ckpt import naming
from estimator_ckpt.bundle.allocation import many_objects
from estimator_ckpt.checkpoint.account import Account, open_account
from estimator_ckpt.checkpoint.derived import derived
from estimator_ckpt.checkpoint.variable_rows import variable_rows
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.live.assigning import Assignment, assign, is_finalized
from estimator_ckpt.live.objects import LiveObjects
from estimator_ckpt.live.other_backends import by_path
from estimator_ckpt.live.restore_plan import Plan
from estimator_ckpt.live.restore_report import RestoreReport
from estimator_ckpt.live.wanted import mapping_rows, wanted_by_name, wanted_objects
from estimator_ckpt.messages import escaped, listed, logger
from estimator_ckpt.naming.matcher import NamedShape
from estimator_ckpt.naming.rules import same_shape_and_type

_log = logger(__name__)
ON_MISMATCH = ("error", "skip", "overlap")
"""What to do about a variable that has another shape or type in the checkpoint."""


@many_objects()
def restore(
    target: Any,
    checkpoint: str | os.PathLike[str],
    *,
    rename: naming.Rules = None,
    strict: bool | str = True,
    on_mismatch: str = "error",
    exclude: str | Sequence[str] | None = None,
    averages: str | None = None,
    session: Any = None,
) -> RestoreReport:
    """Restores variables from a checkpoint of any format, eagerly or in a Session.

    Values are found along the path of objects where the checkpoint has an object graph, else by the
    variables' names; those of an optimizer also where it calls them otherwise, if they mean the
    same. With `rename`, by name only.

    Args:
      target: a `tf.train.Checkpoint`, `tf.Module` or Keras model (as root, like
        `tf.train.Checkpoint(target)`), or a mapping from names to variables, or to the lists of the
        parts of partitioned ones. What is of Keras 3 on JAX or PyTorch, as {path: variable}.
      checkpoint: a prefix, a model_dir (its latest checkpoint) or a SavedModel.
      rename: old to new names, or scopes, of the checkpoint's variables; or a map (`propose_map`),
        and then nothing else that is a variable is taken.
      strict: whether it is an error that a variable gets no value (hyperparameters of optimizers
        keep their own), that two variables of different names get the same tensor, or that none
        is built yet, and no value can wait; "names": also that a variable gets, along its path,
        what was saved from a variable that is elsewhere here.
      on_mismatch: what to do about a variable whose shape or type is another in the checkpoint:
        "error"; "skip" it, with a warning; or "overlap": copy what both have, such as the rows
        of an embedding that has grown, with a warning. With `strict`, the others still have to get
        a value.
      exclude: regular expressions; variables in whose name (or key, among objects) one is found
        keep the value that they have.
      averages: what averages have behind the variable's name and a `/`, as
        "ExponentialMovingAverage": each variable gets its average where there is one, else its own
        value, with a warning; None for its own value in any case.
      session: in a graph, the Session; None for the default one. Where the graph is finalized, as
        in an `init_fn` of a Scaffold, `target` has to be a mapping.

    Returns:
      What was restored, and what was not.

    Raises:
      CheckpointNotFoundError: there is no checkpoint.
      DamagedCheckpointError: it is damaged or incomplete.
      VariableMismatchError: shapes or dtypes differ, or, if `strict`, variables get no value or not
        their own. Nothing has been assigned then.
      CheckpointArgumentError: an argument is unusable, a rule or a pattern matches nothing, or in a
        graph there is no session.
    """
    if on_mismatch not in ON_MISMATCH:
        raise CheckpointArgumentError(
            f"on_mismatch='{on_mismatch}' must be 'error', 'skip' or 'overlap'"
        )
    if strict not in (True, False, "names"):
        raise CheckpointArgumentError(f"strict={strict!r} must be True, False or 'names'")
    account = open_account(checkpoint)
    target = by_path(target, () if rename else account.key_of)
    rules = naming.rename_rules(rename)
    _require_names_if_finalized(target, session)
    live = None if isinstance(target, Mapping) else LiveObjects(target)
    wanted = list(wanted_by_name(target) if live is None else wanted_objects(live))
    beyond = {} if live is None else live.keras.matches_beyond(account.key_of)
    wanted += wanted_by_name(beyond)
    account, left = derived(account, _fitted(rules, account, target, live, on_mismatch))
    plan = Plan(account, live, wanted, on_mismatch)
    if live is not None:
        reached = {getattr(each, "path", None) for each in beyond.values()}
        plan.tell_unreached([path for path in live.unreached if path not in reached])
    plan.leave_out(exclude)
    plan.take_averages(averages)
    plan.match(left)
    plan.check(strict)
    report = plan.report()
    by_object = any(row.by == "object" for row in report.restored) or report.deferred
    objects = plan.whole.root if by_object and not plan.whole.are_variables else None
    assignments = plan.assignments()
    if by_object and plan.whole.are_variables:
        assignments += _counter_of_saves(plan.whole.root, account, assignments)
    assign(objects, account.checkpoint, assignments, session)
    _tell(report, strict, [] if live is None else live.unbuilt)
    return report


def _counter_of_saves(
    root: Any, account: Account, assignments: Sequence[Assignment]
) -> list[Assignment]:
    """Returns what its counter of saves gets, which a Checkpoint has from its first use on."""
    if not isinstance(root, tf.train.Checkpoint):
        return []
    counter = root.save_counter  # which makes one
    taken = any(each.key == naming.SAVE_COUNTER_KEY for each in assignments)
    if taken or naming.SAVE_COUNTER_KEY not in account.entries:
        return []
    return [Assignment(naming.SAVE_COUNTER_KEY, (counter,))]


def _fitted(
    rules: naming.RenameRules, account: Account, target: Any, live: LiveObjects | None, misfits: str
) -> naming.RenameRules:
    """Returns rules for this checkpoint and target, against which those of a map are checked."""
    if rules.variable_map is None:
        return rules
    fits = same_shape_and_type if misfits == "error" else _whatever_the_shape
    if live is not None:
        return live.fitted(rules, account, fits)
    return rules.for_target(variable_rows(account), mapping_rows(target), fits=fits)


def _whatever_the_shape(one: NamedShape, other: NamedShape) -> bool:
    return True


def _require_names_if_finalized(target: Any, session: Any) -> None:
    if not isinstance(target, Mapping) and is_finalized(session):
        raise CheckpointArgumentError(
            f"the graph is finalized, and restoring a {type(target).__name__} needs operations of "
            "its own; restore before that, or give a mapping from names to variables, as "
            "{v.op.name: v for v in tf.compat.v1.global_variables()}"
        )


def _tell(report: RestoreReport, strict: bool | str, unbuilt: Sequence[str]) -> None:
    """Logs what a reader of the report should not have to look for."""
    notes = [f"'{row.target}': {row.note}" for row in report.restored if row.note]
    if notes:
        _log.warning("Restored from '%s', but look at: %s", report.prefix, listed(notes))
    if report.unmatched:
        rows = [f"  {escaped(row.name)}: {escaped(row.reason)}" for row in report.unmatched]
        count, prefix = len(rows), escaped(report.prefix)
        head = f"{count} variables keep the values that they have, and get none from '{prefix}':"
        _log.warning("\n".join([head, *rows]))
    if unbuilt and report.left and not report.deferred:
        _log.warning(
            "Not built yet, and without variables: %s. What is found by name can't wait until they "
            "are: build them, and restore again",
            listed(unbuilt),
        )
    if not report.restored and not strict:
        later = f", {len(report.left)} values wait for what is built later" * report.deferred
        _log.warning("Nothing was restored from '%s'%s", report.prefix, later)
