"""Hooks that emit name-based (TF1) checkpoints beside those of a training job.

    estimator.train(input_fn, hooks=[Tf1CheckpointSaverHook("model_dir/tf1")])
    estimator.train(input_fn, saving_listeners=[Tf1CheckpointListener("model_dir/tf1")])

Where the job has just saved the same step, its data files are linked and only a new index is
written. Both work on wrapped and unwrapped model_fns, and leave the job's own saving alone.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import tensorflow as tf

from estimator_ckpt.bundle import Shard, files, open_checkpoint, publish
from estimator_ckpt.bundle.checkpoint import index_path
from estimator_ckpt.conversion import plan, rebuild
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.estimator.retention import CheckpointDirectory, Retention
from estimator_ckpt.estimator.saver import CheckpointSaver, job_saver

_log = logging.getLogger(__name__)
_BASENAME = "model.ckpt"
_FOREVER = 10000.0


class Tf1CheckpointListener(tf.compat.v1.train.CheckpointSaverListener):
    """Emits a name-based checkpoint after each save of the CheckpointSaverHook it listens to."""

    def __init__(
        self,
        output_dir: str,
        *,
        keep_max: int | None = 5,
        keep_every_n_hours: float = _FOREVER,
        saver: Any = None,
    ):
        """Creates a listener, for `saving_listeners`.

        Args:
          output_dir: the directory of the name-based checkpoints; not the model_dir.
          keep_max: how many of them to keep; None or 0 for all.
          keep_every_n_hours: keep one more of each so many hours.
          saver: the Saver of the job; None to find it in the graph, where a wrapped job's is, and
            an unwrapped one's unless its Scaffold brings it.
        """
        self._emitter = _Emitter(output_dir, Retention(keep_max, keep_every_n_hours), saver)

    def begin(self) -> None:
        """Finds the job's saver."""
        self._emitter.begin()

    def after_save(self, session: Any, global_step_value: int) -> None:
        """Emits the step that has just been saved."""
        self._emitter.emit(session, global_step_value)


class Tf1CheckpointSaverHook(tf.compat.v1.train.SessionRunHook):
    """Emits name-based checkpoints beside each checkpoint of the job, or at its own pace."""

    def __init__(
        self,
        output_dir: str,
        *,
        save_steps: int | None = None,
        save_secs: float | None = None,
        keep_max: int | None = 5,
        keep_every_n_hours: float = _FOREVER,
        saver: Any = None,
    ):
        """Creates a hook, for `hooks` of `Estimator.train` or those of an EstimatorSpec.

        Args:
          output_dir: the directory of the name-based checkpoints; not the model_dir.
          save_steps: emit every so many steps; by default, whenever the job saves.
          save_secs: emit every so many seconds.
          keep_max: how many checkpoints to keep; None or 0 for all.
          keep_every_n_hours: keep one more of each so many hours.
          saver: the Saver of the job; None to find it in the graph, where a wrapped job's is, and
            an unwrapped one's unless its Scaffold brings it.

        Raises:
          CheckpointArgumentError: both `save_steps` and `save_secs` are given.
        """
        if save_steps is not None and save_secs is not None:
            raise CheckpointArgumentError(
                f"save_steps={save_steps} and save_secs={save_secs} are both given; "
                "give one of them, or none to emit a checkpoint whenever the job saves one"
            )
        self._emitter = _Emitter(output_dir, Retention(keep_max, keep_every_n_hours), saver)
        self._timer = None
        if save_steps is not None or save_secs is not None:
            self._timer = tf.compat.v1.train.SecondOrStepTimer(
                every_steps=save_steps, every_secs=save_secs
            )
        self._due: int | None = None  # a step that ended and is to be emitted

    def begin(self) -> None:
        """Finds the job's saver, and is told of its saves where that is a wrapped job's."""
        self._emitter.begin()
        if self._timer:
            self._timer.reset()
        else:
            self._emitter.follow()

    def after_create_session(self, session: Any, coord: Any) -> None:
        """Starts the hook's own pace with the first step."""
        del coord
        if self._timer:
            self._due = self._emitter.step(session)
            self._timer.update_last_triggered_step(self._due)

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

    def _emit_due(self, session: Any, last: bool = False) -> None:
        if self._timer is None:
            self._emitter.emit_new(session, last)
        elif self._due is not None:
            self._emitter.emit(session, self._due)
            self._due = None


class _Emitter:
    """Emits into one directory what the job's saver saved, or has that saver write it."""

    def __init__(self, output_dir: str, retention: Retention, saver: Any):
        self._output_dir = os.fspath(output_dir)
        self._retention = retention
        self._given_saver = saver
        self._saver: Any = None
        self._follows = False
        self._seen: str | None = None
        self.step_tensor: Any = None
        self.emitted: int | None = None
        """The step of the last checkpoint that was emitted."""

    def begin(self) -> None:
        """Finds the saver, before the graph is finalized; without any, makes one."""
        self.step_tensor = tf.compat.v1.train.get_global_step()
        if self.step_tensor is None:
            raise CheckpointArgumentError(
                "the graph has no global step, by which checkpoints are numbered; "
                "make one with tf.compat.v1.train.get_or_create_global_step()"
            )
        self._saver = self._given_saver or job_saver()
        if self._saver is None:
            _log.warning(
                "The saver of this job is not in the SAVERS collection, so checkpoints for '%s' "
                "are written, not linked; give the hook saver=... to link them",
                self._output_dir,
            )
            self._saver = CheckpointSaver("tf1", sharded=True)
            self._saver.build()
        self._directory = CheckpointDirectory(self._output_dir, self._retention)
        self.emitted = None

    def follow(self) -> None:
        """Emits right after each save of a wrapped job, whatever the order of the hooks."""
        self._follows = isinstance(self._saver, CheckpointSaver)
        if self._follows:
            self._saver.after_save.append(self._after_save)

    def step(self, session: Any) -> int:
        """Returns the global step of the session."""
        return int(session.run(self.step_tensor))

    def emit_new(self, session: Any, last: bool) -> None:
        """Emits the job's newest checkpoint if that is a new one; at the end, the final step."""
        if self._follows:
            return
        newest = self._newest()
        if newest is not None and newest != self._seen:
            self._seen = newest
            self._link(newest)
        if last and self.emitted is not None and self.emitted != self.step(session):
            self.emit(session, self.step(session))

    def emit(self, session: Any, step: int) -> None:
        """Emits one step: linked if the job has saved it, else written by the job's saver."""
        newest = self._newest()
        if newest is not None and _step_of(newest) == step and files.exists(index_path(newest)):
            self._seen = newest
            self._link(newest)
        else:
            self._write(session, step)

    def _after_save(self, session: Any, prefix: str) -> None:
        del session
        self._link(prefix)

    def _newest(self) -> str | None:
        checkpoints = self._saver.last_checkpoints
        return checkpoints[-1] if checkpoints else None

    def _link(self, source: str) -> None:
        """Publishes the name-based index of a checkpoint beside links to its data files."""
        if os.path.abspath(os.path.dirname(source)) == os.path.abspath(self._output_dir):
            raise CheckpointArgumentError(
                f"'{self._output_dir}' is where the job itself saves; "
                "give the name-based checkpoints a directory of their own"
            )
        self._publish(source, os.path.basename(source), move=False)

    def _write(self, session: Any, step: int) -> None:
        """Has the job's saver write the tensors, and publishes them."""
        base = f"{_BASENAME}-{step}"
        files.make_directory(self._output_dir)
        staging = files.staging_name(os.path.join(self._output_dir, base))
        files.make_directory(staging)
        staged = os.path.join(staging, base)
        try:
            if isinstance(self._saver, CheckpointSaver):
                self._saver.write(session, staged)
            else:
                saver_def = self._saver.saver_def
                session.run(saver_def.save_tensor_name, {saver_def.filename_tensor_name: staged})
            self._publish(staged, base, move=True)
        finally:
            files.remove_tree(staging)

    def _publish(self, source: str, base: str, move: bool) -> None:
        checkpoint = open_checkpoint(source)
        index, shards = rebuild(checkpoint, plan(checkpoint, "tf1"))
        shards = [Shard(path=shard.path, move=move) for shard in shards]
        prefix = os.path.join(self._output_dir, base)
        publish(prefix, index, shards, overwrite=True)
        self._directory.add(prefix)
        self.emitted = _step_of(prefix)


def _step_of(prefix: str) -> int | None:
    """Returns the number behind the last dash of a prefix, as CheckpointSaverHook names them."""
    number = prefix.rpartition("-")[2]
    return int(number) if number.isdigit() else None
