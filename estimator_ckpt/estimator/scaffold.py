"""The Scaffold of a wrapped job: its saver is a `tf.train.Checkpoint`.

    scaffold = checkpoint_scaffold(checkpoint_format="dual")
    with tf.compat.v1.train.MonitoredTrainingSession(checkpoint_dir=..., scaffold=scaffold):
        ...

When TensorFlow finalizes it, a `CheckpointSaver` built on that Checkpoint takes its place, where
TensorFlow's own freezing would lose what the old job did (retention, other formats, tables, parts).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from estimator_ckpt.estimator import tensorflow_internals as internals
from estimator_ckpt.estimator.saver import CheckpointSaver, register_job_saver
from estimator_ckpt.naming import GLOBAL_STEP

_SAVERS = tf.compat.v1.GraphKeys.SAVERS
_DEFAULT_SAVER_OPTIONS = {"sharded": True, "save_relative_paths": True}

CheckpointFn = Callable[[dict[str, Any], Any], tf.train.Checkpoint]
"""Takes {name: variable} and the global step's variable; returns the Checkpoint to save."""


class CheckpointScaffold(tf.compat.v1.train.Scaffold):
    """A Scaffold whose saver is a `tf.train.Checkpoint` until it is finalized."""

    def __init__(self, saver: CheckpointSaver, checkpoint: Any, copy_from_scaffold: Any = None):
        """Takes every field of `copy_from_scaffold` but its saver.

        Args:
          saver: what saves and restores once the graph is finalized.
          checkpoint: the `tf.train.Checkpoint` that `saver` is built on.
          copy_from_scaffold: the Scaffold of the unwrapped job, if it had one.
        """
        super().__init__(saver=checkpoint, copy_from_scaffold=copy_from_scaffold)
        self._checkpoint_saver = saver

    def finalize(self) -> Any:
        """Puts the Saver in the Checkpoint's place, then finalizes the graph."""
        internals.set_scaffold_saver(self, self._checkpoint_saver)
        return super().finalize()


def checkpoint_scaffold(
    *,
    checkpoint_format: str = "dual",
    checkpoint_fn: CheckpointFn | None = None,
    config: Any = None,
    copy_from_scaffold: Any = None,
) -> Any:
    """Makes the Scaffold that trains the default graph; all its variables have to exist.

    Args:
      checkpoint_format: what to write, "dual" or "tf2".
      checkpoint_fn: gives the Checkpoint; None for `Checkpoint(var_list={name: v}, step=step)`.
      config: a RunConfig, for its retention; None for TensorFlow's defaults.
      copy_from_scaffold: a Scaffold whose fields stay, its saver's options and variables too.

    Returns:
      A `CheckpointScaffold`; where its class would not survive (a tf.distribute strategy makes a
      new Scaffold) or a class of the user's own has to, one with a `CheckpointSaver`.
    """
    variables = _variables_by_name()
    step = tf.compat.v1.train.get_global_step()
    own = checkpoint_fn(variables, step) if checkpoint_fn else None
    saver = take_over_saver(checkpoint_format, copy_from_scaffold, config, checkpoint=own)
    register_job_saver(saver)
    old = copy_from_scaffold
    own_class = old is not None and type(old) is not tf.compat.v1.train.Scaffold
    if own_class or tf.distribute.has_strategy():
        return with_saver(old, saver)
    return CheckpointScaffold(saver, own or _default_checkpoint(variables, step), old)


def take_over_saver(
    checkpoint_format: str, scaffold: Any, config: Any, checkpoint: Any = None
) -> CheckpointSaver:
    """Makes a CheckpointSaver with what the job's own saver had: its options and its variables.

    Args:
      checkpoint_format: what to write.
      scaffold: the job's Scaffold, or None. Without a saver in it, the one in the SAVERS collection
        counts, as for TensorFlow; without any, RunConfig's retention applies.
      config: a RunConfig, or None.
      checkpoint: the Checkpoint that gives the layout, or None.

    Returns:
      The Saver. It stands in the SAVERS collection where the job's own one stood.
    """
    saver = scaffold.saver if scaffold is not None else None
    collected = tf.compat.v1.get_collection_ref(_SAVERS)
    if saver is None and collected:
        saver = collected[0]
    if saver is None:
        return CheckpointSaver(checkpoint_format, checkpoint=checkpoint, **_options_of(config))
    made = CheckpointSaver(
        checkpoint_format,
        checkpoint=checkpoint,
        var_list=internals.saver_variables(saver),
        **internals.saver_options(saver),
    )
    collected[:] = [made if each is saver else each for each in collected]
    return made


def with_saver(scaffold: Any, saver: Any) -> Any:
    """Returns the Scaffold with another saver, or a new one."""
    if scaffold is None:
        return tf.compat.v1.train.Scaffold(saver=saver)
    internals.set_scaffold_saver(scaffold, saver)
    return scaffold


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
