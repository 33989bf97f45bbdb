"""Hooks that save a wrapped job's checkpoints while training goes on.

    spec = add_async_saving(spec, config, when_busy="wait")      # what wrap_model_fn does

At a save the variables are copied in memory between two steps; one thread then writes the files,
commits them, updates the state file, applies retention, emits the TF1 checkpoint and calls the
listeners, in the order that a save without this has.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from estimator_ckpt.estimator.background.preemption import PreemptionNotice
from estimator_ckpt.estimator.job_saver import job_saver
from estimator_ckpt.estimator.listeners import is_multi_worker
from estimator_ckpt.estimator.saver import CheckpointSaver
from estimator_ckpt.estimator.spec_hooks import add_chief_hooks, add_hooks, training_hooks
from estimator_ckpt.messages import logger

_log = logger(__name__)
# With these, training ends as it should, or TensorFlow makes a new session and goes on.
_ENDS = (
    StopIteration,
    tf.errors.OutOfRangeError,
    tf.errors.AbortedError,
    tf.errors.UnavailableError,
)
_IN_SPITE = "This job saves while training stands still, in spite of async_save: %s"


def add_async_saving(
    spec: Any, config: Any, when_busy: str, sigterm_secs: float = 120.0, memory: str = "give_back"
) -> Any:
    """Gives a training EstimatorSpec the hooks that save while training goes on.

    Where that can't be, it says why, and the job saves as it does without.

    Args:
      spec: its graph is the default one, whose job has a saver.
      config: the RunConfig.
      when_busy: what to do if the save before is still being written: "wait" or "skip".
      sigterm_secs: how long after a SIGTERM the process may take for its final checkpoint.
      memory: what becomes of the copies' memory between two saves: "give_back" or "keep".

    Returns:
      The spec, changed.
    """
    hooks = training_hooks(spec)
    if any(isinstance(hook, BackgroundSavingHook) for hook in hooks):
        return spec  # of a model_fn that calls a wrapped one
    saver = job_saver()
    if not isinstance(saver, CheckpointSaver):
        _log.warning(_IN_SPITE, f"its saver, a {type(saver).__name__}, is of its own kind")
        return spec
    saver.async_save = True
    saver.keeps_memory = memory == "keep"
    others = [hook for hook in hooks if isinstance(hook, tf.compat.v1.train.CheckpointSaverHook)]
    # A chief among workers in step has a saving hook that no model_fn can replace.
    is_driven = bool(config.cluster_spec) and is_multi_worker()
    saves = config.save_checkpoints_secs or config.save_checkpoints_steps
    if saves and not is_driven and not others:
        saving = AsyncCheckpointSaverHook(
            config.model_dir,
            save_secs=config.save_checkpoints_secs,
            save_steps=config.save_checkpoints_steps,
            save_graph_def=config.checkpoint_save_graph_def,
            when_busy=when_busy,
        )
        # Where Estimator has its own.
        spec = add_chief_hooks(spec, config.is_chief, saving, first=True)
    saver.prepares_memory = bool(saves) and (is_driven or config.is_chief)
    background = BackgroundSavingHook(all_saves=is_driven, savers=others, sigterm_secs=sigterm_secs)
    return add_hooks(spec, background)


class AsyncCheckpointSaverHook(tf.compat.v1.train.CheckpointSaverHook):
    """Saves when a CheckpointSaverHook does; of the saving itself, only a copy in memory is made.

    Estimator takes it for its own, and gives it the listeners. Of what it inherits it uses
    `_saver`, `_listeners`, `_save_path`, `_save_graph_def`, `_summary_writer` and
    `_global_step_tensor`.
    """

    def __init__(
        self,
        checkpoint_dir: str,
        *,
        save_secs: float | None = None,
        save_steps: int | None = None,
        save_graph_def: bool = True,
        when_busy: str = "wait",
    ):
        """Creates a hook, for the chief.

        Args:
          checkpoint_dir: the model_dir.
          save_secs: save every so many seconds.
          save_steps: or every so many steps.
          save_graph_def: whether the graph is saved, too.
          when_busy: what to do if the save before is still being written: "wait" or "skip". The
            final save always waits.
        """
        super().__init__(checkpoint_dir, save_secs, save_steps, save_graph_def=save_graph_def)
        self._skips = when_busy == "skip"
        self._others_save = False
        self._saved: int | None = None
        self._stops = False

    def begin(self) -> None:
        """Finds the job's saver; leaves the saving to a CheckpointSaverHook of the job's own."""
        self._others_save = _is_beside_another(self)
        if self._others_save:
            job_saver().async_save = False  # it has not been built yet
            _log.warning(
                "A CheckpointSaverHook of the job's own saves its checkpoints: it does that "
                "while training stands still, in spite of async_save"
            )
            return
        super().begin()
        self._saver = job_saver()

    def after_create_session(self, session: Any, coord: Any) -> None:
        """Writes the graph and the first checkpoint, which the hooks after this one find."""
        if self._others_save:
            return
        super().after_create_session(session, coord)
        self._saver.wait()
        self._stops = False  # as with CheckpointSaverHook, no listener stops what has not begun

    def before_run(self, run_context: Any) -> Any:
        """Asks for the global step."""
        return None if self._others_save else super().before_run(run_context)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Saves if it is time to; stops training if a listener has asked for that."""
        if self._others_save:
            return
        super().after_run(run_context, run_values)
        if self._stops:
            run_context.request_stop()

    def end(self, session: Any) -> None:
        """Saves the final checkpoint, and waits for it."""
        if self._others_save:
            return
        step = session.run(self._global_step_tensor)
        self._saver.wait()
        if step != self._saved:
            self._save(session, step)
            self._saver.wait()
        for listener in self._listeners:
            listener.end(session, step)

    def _save(self, session: Any, step: int) -> bool:
        if self._skips and self._saver.is_saving:
            _log.warning("No checkpoint for step %d: the one before is still being written", step)
            return False
        self._saver.wait()
        self._saved = step
        for listener in self._listeners:
            listener.before_save(session, step)
        _log.info("Saving checkpoints for %d into %s.", step, self._save_path)
        self._saver.save_in_background(
            session,
            self._save_path,
            step,
            write_meta_graph=self._save_graph_def,
            when_saved=lambda: self._after_save(session, step),
        )
        log = tf.compat.v1.SessionLog  # now, so that events have the order that they always have
        self._summary_writer.add_session_log(
            log(status=log.CHECKPOINT, checkpoint_path=self._save_path), step
        )
        return self._stops

    def _after_save(self, session: Any, step: int) -> None:
        for listener in self._listeners:
            if listener.after_save(session, step):
                _log.info("The saving listener %s has asked to stop training", listener)
                self._stops = True


def _is_beside_another(hook: Any) -> bool:
    """Tells whether a session's list of hooks has another CheckpointSaverHook.

    Estimator makes none of its own then. No hook is told of the others, and no model_fn of those
    that `train` is given; the list that holds them all refers to each.
    """
    kind = tf.compat.v1.train.CheckpointSaverHook
    lists = [each for each in gc.get_referrers(hook) if isinstance(each, list)]
    return any(isinstance(each, kind) and each is not hook for hooks in lists for each in hooks)


class BackgroundSavingHook(tf.compat.v1.train.SessionRunHook):
    """Stops training if a save has failed, and has whatever ends it wait for the last one."""

    def __init__(self, *, all_saves: bool, sigterm_secs: float, savers: Sequence[Any] = ()):
        """Creates a hook, for `training_hooks`.

        Args:
          all_saves: whether all saves of the job's saver go on in the background; for workers in
            step, who must then stop together, too.
          sigterm_secs: how long after a SIGTERM the process may take for its final checkpoint.
          savers: `CheckpointSaverHook`s of the job's own, whose saves go on in the background
            where nothing looks for the checkpoint right after them.
        """
        self._is_in_step = all_saves
        self._savers = savers
        self._notice = PreemptionNotice(sigterm_secs)
        self._outer: BaseException | None = None

    def begin(self) -> None:
        """Finds the job's saver."""
        self._outer = sys.exc_info()[1]  # being handled by whoever has called for training
        self._saver = job_saver()
        reason = next(filter(None, map(_reason_to_stand_still, self._savers)), None)
        if reason is not None:
            _log.warning(_IN_SPITE, reason)
            self._saver.prepares_memory = False
        self._saver.saves_in_background = self._is_in_step or bool(self._savers and not reason)

    def after_create_session(self, session: Any, coord: Any) -> None:
        """Begins to watch for SIGTERM, and has the end of the session wait."""
        del session
        if self._savers:
            self._saver.wait()  # the hooks after this one find the first checkpoint
        self._notice.watch()
        coord.register_thread(_LastSave(self._saver, self._notice, self._outer))

    def before_run(self, run_context: Any) -> None:
        """Raises what went wrong in the background."""
        del run_context
        self._saver.check()

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Stops training after a SIGTERM."""
        del run_values
        if not self._notice.is_given:
            return
        if self._is_in_step:  # the others still train: there can't be one more save
            self._saver.wait()
            self._notice.obey()
        run_context.request_stop()


class _LastSave:
    """What a Coordinator takes for a thread that it has to wait for.

    It asks whether a thread is alive when the session is about to be closed, however training
    has ended, and gives up on one after two minutes. This one answers when all is written.
    """

    name = "checkpoint writer"

    def __init__(
        self, saver: CheckpointSaver, notice: PreemptionNotice, outer: BaseException | None
    ):
        self._saver = saver
        self._notice = notice
        self._outer = outer

    def is_alive(self) -> bool:
        """Waits for the checkpoint that is being written, and returns False.

        What went wrong with it is raised, unless training itself ends with an exception.
        """
        ending = sys.exc_info()[1]
        try:
            self._saver.wait()
        except Exception as error:
            if ending is None or ending is self._outer or isinstance(ending, _ENDS):
                raise
            _log.exception(
                "Besides what ends training (%s: %s), the checkpoint that was being written has "
                "failed: %s",
                type(ending).__name__,
                ending,
                error,
            )
        finally:
            self._notice.obey()
        return False


def _reason_to_stand_still(hook: Any) -> str | None:
    """Returns why what a CheckpointSaverHook saves has to be there when its `save` returns."""
    if type(hook) is not tf.compat.v1.train.CheckpointSaverHook:
        return f"its own saving hook, a {type(hook).__name__}, may look for what it has saved"
    if hook._listeners:
        return "its own CheckpointSaverHook has listeners, which look for what it has saved"
    return None
