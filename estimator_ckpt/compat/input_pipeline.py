"""A hook that saves where a job's input is, which TensorFlow removed together with Estimators.

    hook = tf.data.experimental.CheckpointInputPipelineHook(estimator)     # after compat.install()
    estimator.train(input_fn, hooks=[hook])

Beside `model.ckpt-5` it saves `input.ckpt-5`, and in another run the input goes on there. Each
process has an input of its own, and so a file of its own; the chief's has the plain name.
"""

from __future__ import annotations

import os
import types
from typing import Any

import tensorflow as tf

_ITERATORS = "iterators"  # the collection of all iterators of a graph
_POLICIES = ("fail", "warn", "ignore")


class CheckpointInputPipelineHook(tf.compat.v1.train.SessionRunHook):
    """Saves the input's iterators at the pace of the model's checkpoints, and restores them."""

    def __init__(self, estimator: Any, external_state_policy: str | None = None):
        """Creates a hook, for `hooks` of `Estimator.train`.

        Args:
          estimator: the Estimator.
          external_state_policy: what to do if the input depends on a state that can't be saved, as
            that of a random function: "fail", which is the default, "warn" or "ignore".

        Raises:
          ValueError: there is no such policy.
        """
        self._policy = external_state_policy or _POLICIES[0]
        if self._policy not in _POLICIES:
            raise ValueError(
                f"external_state_policy='{external_state_policy}'; give one of {_POLICIES} or None"
            )
        config = estimator.config
        suffix = "" if config.is_chief else f"_{config.task_type}_{config.task_id}"
        self._model_dir = os.fspath(estimator.model_dir)
        self._basename = f"input{suffix}.ckpt"
        self._state_file = f"checkpoint_input{suffix}"
        self._pace = {
            "save_secs": config.save_checkpoints_secs,
            "save_steps": config.save_checkpoints_steps,
        }
        self._saver: Any = None
        # Not a base class: Estimator would take this for the hook that saves the model.
        self._saving_hook: Any = None

    def begin(self) -> None:
        """Collects the iterators of the graph."""
        policy = None if self._policy == _POLICIES[0] else self._policy
        saveables = [
            tf.data.experimental.make_saveable_from_iterator(
                # All that it asks an iterator for; the collection holds no more.
                types.SimpleNamespace(_iterator_resource=resource),
                external_state_policy=policy,
            )
            for resource in tf.compat.v1.get_collection(_ITERATORS)
        ]
        if not saveables:
            raise ValueError(
                "the graph has no iterator, so there is no input to save: "
                "let input_fn return a tf.data.Dataset"
            )
        self._saver = _Saver(saveables, self._state_file)
        self._saving_hook = tf.compat.v1.train.CheckpointSaverHook(
            self._model_dir, saver=self._saver, checkpoint_basename=self._basename, **self._pace
        )
        self._saving_hook.begin()

    def after_create_session(self, session: Any, coord: Any) -> None:
        """Restores the iterators, which are initialized by now, or saves them the first time."""
        saved = tf.train.latest_checkpoint(self._model_dir, latest_filename=self._state_file)
        if saved is None:
            self._saving_hook.after_create_session(session, coord)
        else:
            self._saver.restore(session, saved)

    def before_run(self, run_context: Any) -> Any:
        """Asks for what tells whether to save."""
        return self._saving_hook.before_run(run_context)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Saves if it is time."""
        self._saving_hook.after_run(run_context, run_values)

    def end(self, session: Any) -> None:
        """Saves where the input is at the end."""
        self._saving_hook.end(session)


class _Saver(tf.compat.v1.train.Saver):
    """A Saver with a state file of its own, beside that of the model."""

    def __init__(self, saveables: list[Any], state_file: str):
        super().__init__(saveables)
        self._state_file = state_file

    def save(self, sess: Any, save_path: str, *arguments: Any, **named_arguments: Any) -> Any:
        """Saves as usual."""
        named_arguments["latest_filename"] = self._state_file
        return super().save(sess, save_path, *arguments, **named_arguments)
