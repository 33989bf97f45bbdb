"""The `tf.train.Checkpoint` of a training job's Scaffold, which answers as the job's Saver, too.

    checkpoint = answering_as(checkpoint, saver)        # the same object
    checkpoint.save(session, "model_dir/best", global_step=3)        # the Saver
    checkpoint.save("elsewhere/ckpt")                                # the Checkpoint

Hooks take `scaffold.saver` in `begin()`, when it is still a Checkpoint, and go on using it as a
`tf1.train.Saver` for as long as the job runs.
"""

from __future__ import annotations

import functools
import os
from typing import Any


class AnswersAsSaver:
    """What a class of Checkpoints needs to answer as a Saver; all that it lacks is the Saver's.

    `save` and `restore`, which both have, go to the Saver if they are given a session.
    """

    job_saver: Any
    """The `CheckpointSaver` of the job."""

    def save(self, *args: Any, **kwargs: Any) -> Any:
        """Saves as `tf1.train.Saver.save(sess, ...)`, or as `Checkpoint.save(prefix, ...)`."""
        if _has_session(args, kwargs):
            return self.job_saver.save(*args, **kwargs)
        checkpoint: Any = super()
        return checkpoint.save(*args, **kwargs)

    def restore(self, *args: Any, **kwargs: Any) -> Any:
        """Restores as `tf1.train.Saver.restore(sess, path)`, or as `Checkpoint.restore(path)`."""
        if _has_session(args, kwargs):
            return self.job_saver.restore(*args, **kwargs)
        checkpoint: Any = super()
        return checkpoint.restore(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # Only for what a Checkpoint lacks: `saver_def`, `last_checkpoints`, `export_meta_graph` ...
        if name.startswith("__") or "job_saver" not in self.__dict__:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        return getattr(self.job_saver, name)


def answering_as(checkpoint: Any, saver: Any) -> Any:
    """Has a Checkpoint answer as a Saver, besides all that it does.

    Args:
      checkpoint: a `tf.train.Checkpoint`, maybe of a class of the user's own; it is changed.
      saver: the Saver that takes its place when the graph is finalized.

    Returns:
      The same Checkpoint.
    """
    its_class: Any = type(checkpoint)
    if not issubclass(its_class, AnswersAsSaver):
        object.__setattr__(checkpoint, "__class__", _answering_class(its_class))
    object.__setattr__(checkpoint, "job_saver", saver)
    return checkpoint


@functools.cache
def _answering_class(checkpoint_class: type) -> type:
    return type(f"Job{checkpoint_class.__name__}", (AnswersAsSaver, checkpoint_class), {})


def _has_session(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tells a Saver's arguments, of which the first is a session, from a Checkpoint's: a path."""
    if "sess" in kwargs:
        return True
    if not args or isinstance(args[0], (str, bytes, os.PathLike)):
        return False
    return args[0] is not None or len(args) > 1 or "save_path" in kwargs
