"""One call of `tf1.train.Saver.save`, checked before anything is written or waited for.

    call = checked_save_call(session, "model_dir/model.ckpt", step_tensor, sharded=True, options={})
    call.prefix, call.step, call.state_file        # "model_dir/model.ckpt-10", 10, "checkpoint"

What is wrong is told at once, in TensorFlow's words, also where the save itself goes on in the
background.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from estimator_ckpt.checkpoint.opening import STATE_FILE
from estimator_ckpt.live.tensorflow_internals import SessionInterface
from estimator_ckpt.storage import files

_SAVE = inspect.signature(tf.compat.v1.train.Saver.save)


class SaveCall(NamedTuple):
    """What a Saver was told.

    Attributes:
      path: where to, without the step.
      step: the number to append, or None.
      prefix: of the checkpoint.
      state_file: the name of the state file that lists it; None for none.
      options: the other arguments of `save`, by name.
    """

    path: str
    step: int | None
    prefix: str
    state_file: str | None
    options: Mapping[str, Any]


def checked_save_call(
    session: Any,
    save_path: Any,
    global_step: Any,
    *,
    sharded: bool,
    padded: bool = False,
    options: Mapping[str, Any],
) -> SaveCall:
    """Makes sure that the arguments of `Saver.save` are usable.

    Args:
      session: a Session.
      save_path: str, bytes or `os.PathLike`.
      global_step: None, a number, a tensor or a tensor's name.
      sharded: whether the Saver is.
      padded: whether it pads the step.
      options: what else `save` was given, by name.

    Raises:
      TypeError: one of them is of another type, or there is no such argument.
      ValueError: `latest_filename` is a path, or collides with `save_path`.
      RuntimeError: the checkpoint would have the name of the state file.
    """
    given = _SAVE.bind(None, session, save_path, global_step, **options)
    given.apply_defaults()
    if not isinstance(session, SessionInterface):
        raise TypeError(f"'sess' must be a Session; {session}")
    state_file = given.arguments["latest_filename"] or STATE_FILE
    if os.path.split(state_file)[0]:
        raise ValueError("'latest_filename' must not contain path components")
    path = path_text(save_path)
    step = None if global_step is None else number_of_step(session, global_step)
    number = "" if step is None else f"-{step:08d}" if padded else f"-{step}"
    if step is None and os.path.basename(path) == state_file and not sharded:
        raise ValueError(
            f"'latest_filename' collides with 'save_path': '{state_file}' and '{path}'"
        )
    writes_state = bool(given.arguments["write_state"])
    if writes_state and os.path.basename(path + number) == state_file:
        raise RuntimeError(
            f"Save path '{path + number}' conflicts with path used for checkpoint state.  "
            "Please use a different save path."
        )
    return SaveCall(path, step, path + number, state_file if writes_state else None, dict(options))


def path_text(path: Any) -> str:
    """Returns a path as text, be it str, bytes or `os.PathLike`; raises a TypeError for others."""
    return str(tf.compat.as_str(os.fspath(path)))


def number_of_step(session: Any, step: Any) -> int:
    """Returns the step that a Saver was told, be it a tensor, or else the session's."""
    if step is None:
        step = tf.compat.v1.train.get_global_step(session.graph)
    if isinstance(step, (int, np.integer)):
        return int(step)
    return int(tf.compat.v1.train.global_step(session, step))


def make_parent(prefix: str, *, sharded: bool) -> None:
    """Makes the directory of a checkpoint where a `tf1.train.Saver` makes it.

    That is the last directory alone, and not if the Saver is sharded. A store has none.

    Raises:
      ValueError: there is none, and none is made.
    """
    parent = os.path.dirname(prefix)
    if not files.renames(parent):
        return
    if files.is_directory(parent or "."):
        return
    is_next = files.is_directory(os.path.dirname(parent) or ".") and not files.exists(parent)
    if sharded or not is_next:
        raise ValueError(f"Parent directory of {prefix} doesn't exist, can't save.")
    files.make_directory(parent)
