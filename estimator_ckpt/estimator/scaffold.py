"""The Scaffold of a wrapped job: its saver is a `tf.train.Checkpoint`.

    scaffold = checkpoint_scaffold(checkpoint_format="dual")
    with tf.compat.v1.train.MonitoredTrainingSession(checkpoint_dir=..., scaffold=scaffold):
        ...

When TensorFlow finalizes it, a `CheckpointSaver` built on that Checkpoint takes its place, where
TensorFlow's own freezing would lose what the old job did (retention, other formats, tables, parts).
Until then, that Checkpoint answers as the Saver, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from estimator_ckpt.estimator.job_checkpoint import AnswersAsSaver, answering_as
from estimator_ckpt.estimator.job_saver import register_job_saver
from estimator_ckpt.estimator.saver import CheckpointSaver
from estimator_ckpt.estimator.unchanged.bounds import Bounds
from estimator_ckpt.live import tensorflow_internals as internals
from estimator_ckpt.messages import logger
from estimator_ckpt.naming import GLOBAL_STEP

_log = logger(__name__)
_SAVERS = tf.compat.v1.GraphKeys.SAVERS
_CHECKPOINTS = (tf.train.Checkpoint, tf.compat.v1.train.Checkpoint)
_DEFAULT_SAVER_OPTIONS = {"sharded": True, "save_relative_paths": True}

CheckpointFn = Callable[[dict[str, Any], Any], tf.train.Checkpoint]
"""Takes {name: variable} and the global step's variable; returns the Checkpoint to save."""


class CheckpointScaffold(tf.compat.v1.train.Scaffold):
    """A Scaffold whose saver, in training a `tf.train.Checkpoint`, is replaced in finalizing it."""

    checkpoint_saver: Any = None
    """What saves and restores once the graph is finalized."""
    is_default: bool = False
    """Whether it takes the place of the default saver, which finalizing puts where hooks look."""

    def finalize(self) -> Any:
        """Puts the Saver in its place, then finalizes the graph."""
        if self.checkpoint_saver is not None:
            internals.set_scaffold_saver(self, self.checkpoint_saver)
            if self.is_default:
                _collect(self.checkpoint_saver)
        return super().finalize()


def checkpoint_scaffold(
    *,
    checkpoint_format: str = "dual",
    checkpoint_fn: CheckpointFn | None = None,
    config: Any = None,
    scaffold: Any = None,
    sync_data: bool = False,
    unchanged: str = "write",
    unchanged_files: int = 8,
    unchanged_room: float = 2.0,
) -> Any:
    """Makes the Scaffold that trains the default graph; all its variables have to exist.

    Args:
      checkpoint_format: what to write, "dual" or "tf2".
      checkpoint_fn: gives the Checkpoint; None for `Checkpoint(var_list={name: v}, step=step)`.
      config: a RunConfig, for its retention; None for TensorFlow's defaults.
      scaffold: the job's own Scaffold, which is changed and returned: code that has hold of it,
        such as a hook, goes on working. Its fields stay, and its saver's options and variables.
      sync_data: flush the tensors to the disk before a checkpoint appears.
      unchanged: what a save does with what has not changed since the last one: "write" or "link".
      unchanged_files: with "link", the most data files that a checkpoint may have.
      unchanged_room: with "link", the most bytes of these, in multiples of what it needs.

    Returns:
      A `CheckpointScaffold`, of the class of `scaffold` too. Under a tf.distribute strategy, which
      makes a new Scaffold with the saver of the first replica's, one that has the Saver already.
    """
    if getattr(scaffold, "checkpoint_saver", None) is not None:
        return scaffold  # of a model_fn that calls a wrapped one
    if scaffold is None:
        scaffold = tf.compat.v1.train.Scaffold()
    variables = _variables_by_name()
    step = tf.compat.v1.train.get_global_step()
    own = checkpoint_fn(variables, step) if checkpoint_fn else None
    saver = take_over_saver(checkpoint_format, scaffold, config, checkpoint=own)
    register_job_saver(saver)
    if config is not None and isinstance(saver, CheckpointSaver):
        saver.model_dir = config.model_dir
    if sync_data and isinstance(saver, CheckpointSaver):
        saver.sync_data = True
    elif sync_data:
        _log.warning("sync_data has no effect: this job's saver is of its own kind")
    if unchanged == "link" and isinstance(saver, CheckpointSaver):
        saver.unchanged = Bounds(unchanged_files, unchanged_room)
    elif unchanged == "link":
        _log.warning("unchanged='link' has no effect: this job's saver is of its own kind")
    if scaffold.saver is None:
        _collect(saver)
    if not isinstance(saver, CheckpointSaver) or tf.distribute.has_strategy():
        internals.set_scaffold_saver(scaffold, saver)
        return scaffold
    scaffold.__class__ = _checkpoint_class(scaffold.__class__)
    scaffold.checkpoint_saver = saver
    checkpoint = saver.checkpoint or _default_checkpoint(variables, step)
    if isinstance(checkpoint, _CHECKPOINTS):
        internals.set_scaffold_saver(scaffold, answering_as(checkpoint, saver))
    else:  # a Saver that saves by object gave the layout
        internals.set_scaffold_saver(scaffold, saver)
    return scaffold


def restoring_scaffold(scaffold: Any, config: Any, *, evaluates: bool) -> Any:
    """Gives a job's own Scaffold a Saver that restores any format, to evaluate or predict with.

    Export saves through that Saver too, into a SavedModel; that is name-based.

    Args:
      scaffold: the job's own, which is changed and returned.
      config: a RunConfig, or None.
      evaluates: leave the Scaffold without a saver if it has none, and put the Saver into the
        SAVERS collection: InMemoryEvaluatorHook takes no other.
    """
    saver = take_over_saver("tf1", scaffold, config)
    if isinstance(saver, CheckpointSaver):
        saver.may_export = True
    if scaffold.saver is not None:
        internals.set_scaffold_saver(scaffold, saver)
    elif evaluates:
        _collect(saver)
    else:
        exporter = saver
        if saver in tf.compat.v1.get_collection(_SAVERS):
            # TensorFlow looks for a saver in that collection everywhere but in an export.
            exporter = CheckpointSaver("tf1", **_options_of(config))
            exporter.may_export = True
        scaffold.__class__ = _checkpoint_class(scaffold.__class__)
        scaffold.checkpoint_saver, scaffold.is_default = saver, True
        internals.set_scaffold_saver(scaffold, exporter)
    return scaffold


def take_over_saver(
    checkpoint_format: str, scaffold: Any, config: Any, checkpoint: Any = None
) -> Any:
    """Makes a CheckpointSaver with what the job's own saver had: its options and its variables.

    Args:
      checkpoint_format: what to write.
      scaffold: the job's Scaffold. Without a saver in it, the one in the SAVERS collection counts,
        as for TensorFlow; without any, RunConfig's retention applies.
      config: a RunConfig, or None.
      checkpoint: the Checkpoint that gives the layout, or None. A Checkpoint that the Scaffold has
        as its saver gives it, unless there is this one.

    Returns:
      The Saver. It stands in the SAVERS collection where the job's own one stood. A saver of
      a class of the user's own, which may do anything, is returned as it is, with a warning.
    """
    saver = scaffold.saver
    collected = tf.compat.v1.get_collection_ref(_SAVERS)
    if saver is None and collected:
        saver = collected[0]
    if isinstance(saver, AnswersAsSaver):
        saver = saver.job_saver
    if isinstance(saver, CheckpointSaver):
        return saver
    if saver is None or isinstance(saver, _CHECKPOINTS):
        checkpoint = checkpoint or saver
        return CheckpointSaver(checkpoint_format, checkpoint=checkpoint, **_options_of(config))
    if not internals.is_plain_saver(saver):
        _log.warning(
            "The saver of this job, a %s, is of its own kind: it stays, and saves as it always did",
            type(saver).__name__,
        )
        return saver
    if internals.writes_v1(saver):
        _say_that_v2_is_written()
    by_object = internals.is_object_based(saver)
    made = CheckpointSaver(
        checkpoint_format,
        checkpoint=checkpoint or (saver if by_object else None),
        var_list=None if by_object else internals.saver_variables(saver),
        **internals.saver_options(saver),
    )
    made.builds_when_asked = saver.saver_def is not None  # as the job's own is made already
    collected[:] = [made if each is saver else each for each in collected]
    return made


@functools.cache  # once, not at each train and evaluate
def _say_that_v2_is_written() -> None:
    _log.warning(
        "The saver of this job asks for TensorFlow's V1 format (write_version=V1), which has no "
        "index: wrapped, the job writes V2, which every TensorFlow since 0.12 reads. It resumes "
        "from the V1 checkpoints that it has"
    )


@functools.cache
def _checkpoint_class(scaffold_class: type) -> type:
    """Returns the CheckpointScaffold of a class; one that is the user's own stays a base."""
    if issubclass(CheckpointScaffold, scaffold_class):
        return CheckpointScaffold
    if issubclass(scaffold_class, CheckpointScaffold):
        return scaffold_class
    return type(f"Checkpoint{scaffold_class.__name__}", (CheckpointScaffold, scaffold_class), {})


def _collect(saver: Any) -> None:
    """Puts a default saver into the SAVERS collection, where hooks look for it."""
    collected = tf.compat.v1.get_collection_ref(_SAVERS)
    if not collected:
        collected.append(saver)


def _options_of(config: Any) -> dict[str, Any]:
    options: dict[str, Any] = dict(_DEFAULT_SAVER_OPTIONS)
    if config is not None:
        options["max_to_keep"] = config.keep_checkpoint_max
        options["keep_checkpoint_every_n_hours"] = config.keep_checkpoint_every_n_hours
    return options


def _variables_by_name() -> dict[str, Any]:
    return {variable.op.name: variable for variable in tf.compat.v1.global_variables()}


def _default_checkpoint(variables: dict[str, Any], step: Any) -> Any:
    held = {name: variable for name, variable in variables.items() if name != GLOBAL_STEP}
    if step is None:
        return tf.train.Checkpoint(var_list=held)
    return tf.train.Checkpoint(var_list=held, step=step)
