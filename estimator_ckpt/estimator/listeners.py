"""Calls CheckpointSaverListeners for the saves of a wrapped job, under each tf.distribute strategy.

    model_fn = wrap_model_fn(model_fn, saving_listeners=[listener])

Estimator drops those of a TrainSpec under MultiWorkerMirroredStrategy, and refuses those of
`train`. These hang on the job's Saver instead of on its CheckpointSaverHook.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.estimator.job_saver import job_saver
from estimator_ckpt.estimator.saver import CheckpointSaver

_MULTI_WORKER = (
    tf.distribute.MultiWorkerMirroredStrategy,
    tf.compat.v1.distribute.experimental.MultiWorkerMirroredStrategy,
)


def is_multi_worker() -> bool:
    """Returns whether the default graph is trained by workers in step."""
    return isinstance(tf.distribute.get_strategy(), _MULTI_WORKER)


class SavingListenersHook(tf.compat.v1.train.SessionRunHook):
    """Calls listeners as a CheckpointSaverHook calls its own; stops training if one asks for it."""

    def __init__(self, listeners: Sequence[Any]):
        """Creates a hook, for `training_hooks`.

        Args:
          listeners: `tf.compat.v1.train.CheckpointSaverListener`s; none in a process that is not
            the chief, whose hook then only hears of a stop.
        """
        self._listeners = list(listeners)
        self._saved: int | None = None  # the step of the last save
        self._runs_after_saver: bool | None = None
        self._is_running = False
        self._is_ending = False
        self._saver: Any = None
        self._is_asked = False  # to stop, by a listener
        self._stops = False
        self._flag: Any = None
        self._sum_of_flags: Any = None

    def begin(self) -> None:
        """Follows the job's saver."""
        saver = job_saver()
        if isinstance(saver, CheckpointSaver):
            self._saver = saver
            saver.before_save.append(self._before_save)
            saver.after_save.append(self._after_save)
        elif self._listeners:
            raise CheckpointArgumentError(
                f"the saver of this job, a {type(saver).__name__}, is of its own kind and tells "
                "nobody when it saves; give saving_listeners to Estimator.train or TrainSpec"
            )
        if is_multi_worker():
            self._sum_of_flags = tf.distribute.get_strategy().run(self._make_flag)
        for listener in self._listeners:
            listener.begin()

    def after_create_session(self, session: Any, coord: Any) -> None:
        """Sees whether the job's saving hook, which saves here, comes before this one."""
        del session, coord
        if self._runs_after_saver is None:
            self._runs_after_saver = self._saved is not None

    def before_run(self, run_context: Any) -> None:
        """Notes that training goes on: only then can a listener stop it."""
        del run_context
        self._is_running = True

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Stops training if a listener asked for it."""
        del run_values
        if self._stops:
            run_context.request_stop()

    def end(self, session: Any) -> None:
        """Tells the listeners that it is the end, after the final save."""
        self._is_running = False
        if self._saver is not None:
            self._saver.wait()
        step = tf.compat.v1.train.global_step(session, tf.compat.v1.train.get_global_step())
        if self._runs_after_saver or self._saved == step:
            self._end(session, step)
        else:
            self._is_ending = True  # the saving hook comes after this one, and still has to save

    def _before_save(self, session: Any, step: int) -> None:
        self._saved = step
        if self._is_running and self._saver.saves_in_background:
            self._stops = self._does_anyone_stop(session)  # after the save before this one
        for listener in self._listeners:
            listener.before_save(session, step)

    def _after_save(self, session: Any, prefix: str) -> None:
        del prefix
        asked = [bool(listener.after_save(session, self._saved)) for listener in self._listeners]
        self._is_asked |= any(asked) and self._is_running
        if self._is_running and not self._saver.saves_in_background:
            self._stops = self._does_anyone_stop(session)
        if self._is_ending:
            self._end(session, self._saved)

    def _end(self, session: Any, step: Any) -> None:
        self._is_ending = False
        for listener in self._listeners:
            listener.end(session, step)

    def _make_flag(self) -> Any:
        flag = tf.compat.v1.placeholder_with_default(0, [], name="stop_asked_for")
        self._flag = flag if self._flag is None else self._flag
        replica = tf.distribute.get_replica_context()
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, flag)

    def _does_anyone_stop(self, session: Any) -> bool:
        """Tells whether to stop; workers in step, which all save at the same one, agree on it."""
        if self._sum_of_flags is None:
            return self._is_asked
        sums = tf.distribute.get_strategy().experimental_local_results(self._sum_of_flags)
        return bool(session.run(sums[0], {self._flag: int(self._is_asked)}) > 0)
