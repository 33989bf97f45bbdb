"""Hooks that emit name-based (TF1) checkpoints beside those of a training job.

    estimator.train(input_fn, hooks=[Tf1CheckpointSaverHook("model_dir/tf1")])
    estimator.train(input_fn, saving_listeners=[Tf1CheckpointListener("model_dir/tf1")])

Where the job has just saved the same step, its data files are linked and only a new index is
written. Both work on wrapped and unwrapped model_fns, and leave the job's own saving alone.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.estimator.tf1_copies.emission import Emitter, Settings


class Tf1CheckpointListener(tf.compat.v1.train.CheckpointSaverListener):
    """Emits a name-based checkpoint after each save of the CheckpointSaverHook it listens to."""

    def __init__(
        self,
        output_dir: str,
        *,
        keep_max: int | str | None = "job",
        keep_every_n_hours: float | None = None,
        saver: Any = None,
        on_error: str = "continue",
        take_over: bool = False,
    ):
        """Creates a listener, for `saving_listeners`.

        Args:
          output_dir: the directory of the name-based checkpoints; not the model_dir.
          keep_max: how many of them to keep; None or 0 for all, "job" for as many as the job's own
            Saver keeps.
          keep_every_n_hours: keep one more of each so many hours; None for as the Saver does.
          saver: the Saver of the job; None to find it, in the graph or in the Scaffold.
          on_error: what to do where a checkpoint can't be emitted, as on a full disk: "continue"
            training and log what to run later, or "stop" with the error.
          take_over: whether the directory may be another job's until now, as after that job was
            copied; else that is refused.

        Raises:
          CheckpointArgumentError: `on_error` or `keep_max` is none of these.
        """
        settings = Settings(keep_max, keep_every_n_hours, saver, on_error, take_over)
        self._emitter = Emitter(output_dir, settings)

    def begin(self) -> None:
        """Finds the job's saver."""
        self._emitter.begin()

    def after_save(self, session: Any, global_step_value: int) -> None:
        """Emits the step that has just been saved."""
        self._emitter.emit(session, global_step_value)

    def end(self, session: Any, global_step_value: int) -> None:
        """Says what is missing."""
        del session, global_step_value
        self._emitter.tell_missed()


class Tf1CheckpointSaverHook(tf.compat.v1.train.SessionRunHook):
    """Emits name-based checkpoints beside each checkpoint of the job, or at its own pace."""

    def __init__(
        self,
        output_dir: str,
        *,
        save_steps: int | None = None,
        save_secs: float | None = None,
        keep_max: int | str | None = "job",
        keep_every_n_hours: float | None = None,
        saver: Any = None,
        on_error: str = "continue",
        take_over: bool = False,
    ):
        """Creates a hook, for `hooks` of `Estimator.train` or those of an EstimatorSpec.

        Args:
          output_dir: the directory of the name-based checkpoints; not the model_dir.
          save_steps: emit every so many steps; by default, whenever the job saves.
          save_secs: emit every so many seconds.
          keep_max: how many checkpoints to keep; None or 0 for all, "job" for as many as the job's
            own Saver keeps.
          keep_every_n_hours: keep one more of each so many hours; None for as the Saver does.
          saver: the Saver of the job; None to find it, in the graph or in the Scaffold.
          on_error: what to do where a checkpoint can't be emitted, as on a full disk: "continue"
            training and log what to run later, or "stop" with the error.
          take_over: whether the directory may be another job's until now, as after that job was
            copied; else that is refused.

        Raises:
          CheckpointArgumentError: both `save_steps` and `save_secs` are given, or `on_error` or
            `keep_max` is none of these.
        """
        if save_steps is not None and save_secs is not None:
            raise CheckpointArgumentError(
                f"save_steps={save_steps} and save_secs={save_secs} are both given; "
                "give one of them, or none to emit a checkpoint whenever the job saves one"
            )
        self._timer = None
        if save_steps is not None or save_secs is not None:
            self._timer = tf.compat.v1.train.SecondOrStepTimer(
                every_steps=save_steps, every_secs=save_secs
            )
        has_all = self._timer is None
        settings = Settings(keep_max, keep_every_n_hours, saver, on_error, take_over, has_all)
        self._emitter = Emitter(output_dir, settings)
        self._due: int | None = None  # a step that ended and is to be emitted

    def begin(self) -> None:
        """Finds the job's saver, and is told of its saves where that is a wrapped job's."""
        self._emitter.begin()
        if self._timer:
            self._timer.reset()
        else:
            self._emitter.follow()

    def after_create_session(self, session: Any, coord: Any) -> None:
        """Finds the saver that the Scaffold brings; starts the hook's own pace with this step."""
        del coord
        self._emitter.start(session)
        if self._timer:
            self._due = self._emitter.step(session)
            self._timer.update_last_triggered_step(self._due)
        else:
            self._emitter.tell_late()

    def before_run(self, run_context: Any) -> Any:
        """Emits what the last step left: by now every hook has seen it, the saving one too."""
        self._emit_due(run_context.session)
        return tf.compat.v1.train.SessionRunArgs(self._emitter.step_tensor)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Sees whether the hook's own pace makes a checkpoint due."""
        if self._timer and self._timer.should_trigger_for_step(run_values.results + 1):
            step = self._emitter.step(run_context.session)
            if self._timer.should_trigger_for_step(step):
                self._timer.update_last_triggered_step(step)
                self._due = step

    def end(self, session: Any) -> None:
        """Emits the final step, if that has not happened."""
        step = self._emitter.step(session)
        if self._timer:
            self._due = None if self._emitter.emitted == step else step
        self._emit_due(session, last=True)
        self._emitter.tell_missed()

    def _emit_due(self, session: Any, last: bool = False) -> None:
        if self._timer is None:
            self._emitter.emit_new(session, last)
        elif self._due is not None:
            self._emitter.emit(session, self._due)
            self._due = None
