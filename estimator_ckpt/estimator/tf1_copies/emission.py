"""Emits name-based checkpoints into a directory of their own, and bears with what goes wrong there.

    emitter = Emitter("model_dir/tf1", Retention(keep_max=5), saver=None, on_error="continue")
    emitter.begin()
    emitter.emit(session, step)

It belongs to the job: `on_error="continue"` keeps training going where the directory can't be
written, as the job's own checkpoints have the same tensors and `convert` makes the others of them.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from estimator_ckpt.checkpoint import PublishCost, Shard, open_checkpoint, publish
from estimator_ckpt.checkpoint.opening import index_path
from estimator_ckpt.checkpoint.publishing import is_there
from estimator_ckpt.conversion.planning import plan, rebuild
from estimator_ckpt.errors import CheckpointArgumentError, DamagedCheckpointError
from estimator_ckpt.estimator.job_saver import job_saver
from estimator_ckpt.estimator.saver import CheckpointSaver
from estimator_ckpt.estimator.tf1_copies.ownership import claim
from estimator_ckpt.estimator.tf1_copies.retention import CheckpointDirectory, Retention
from estimator_ckpt.storage import files

_log = logging.getLogger(__name__)
_BASENAME = "model.ckpt"
ON_ERROR = ("continue", "stop")
# With these, TensorFlow makes a new session and goes on.
_PREEMPTIONS = (tf.errors.AbortedError, tf.errors.UnavailableError)


class Emitter:
    """Emits into one directory what the job's saver saved, or has that saver write it."""

    def __init__(self, output_dir: str, retention: Retention, saver: Any, on_error: str):
        """Creates an emitter.

        Args:
          output_dir: the directory.
          retention: what stays there.
          saver: the Saver of the job; None to find it in the graph.
          on_error: "continue" or "stop".

        Raises:
          CheckpointArgumentError: `on_error` is neither.
        """
        if on_error not in ON_ERROR:
            raise CheckpointArgumentError(
                f"on_error='{on_error}' is neither of {', '.join(ON_ERROR)}"
            )
        self._stops = on_error == "stop"
        self._missed: list[str] = []
        self._claimed: str | None = None
        self._says_copies = True
        self._output_dir = os.fspath(output_dir)
        self._retention = retention
        self._given_saver = saver
        self._saver: Any = None
        self._follows = False
        self._seen: str | None = None
        self._saved: str | None = None  # by this run
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
        self._note_saves()

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
        self._settle()
        newest = self._newest()
        if newest is not None and _step_of(newest) == step and files.exists(index_path(newest)):
            self._seen = newest
            self._link(newest)
        else:
            self._write(session, step)

    def tell_missed(self) -> None:
        """Says which steps have not been emitted, if there are any."""
        self._settle()
        if self._missed:
            _log.error(
                "'%s' lacks %s; to make what the job still has: estimator-ckpt convert "
                "%s %s --to=tf1 --all --overwrite",
                self._output_dir,
                ", ".join(self._missed),
                self._claimed or "MODEL_DIR",
                self._output_dir,
            )
            self._missed = []

    def _settle(self) -> None:
        """Waits for what the job's saver is writing in the background."""
        if isinstance(self._saver, CheckpointSaver):
            self._saver.wait()

    def _after_save(self, session: Any, prefix: str) -> None:
        del session
        self._link(prefix)

    def _note_saves(self) -> None:
        """Notes what the job saves: a Saver that keeps all checkpoints does not list them."""
        self._saved = None
        if isinstance(self._saver, CheckpointSaver):
            self._saver.after_save.insert(0, self._note)
            return
        save = self._saver.save

        def noted(*args: Any, **kwargs: Any) -> Any:
            path = save(*args, **kwargs)
            self._saved = path or self._saved
            return path

        self._saver.save = noted

    def _note(self, session: Any, prefix: str) -> None:
        del session
        self._saved = prefix

    def _newest(self) -> str | None:
        checkpoints = self._saver.last_checkpoints
        return self._saved or (checkpoints[-1] if checkpoints else None)

    def _link(self, source: str) -> None:
        """Publishes the name-based index of a checkpoint beside links to its data files."""
        if not self._is_chief():
            return
        with self._errors(os.path.basename(source), source):
            self._claim(os.path.dirname(source))
            self._publish(source, os.path.basename(source), move=False)

    def _write(self, session: Any, step: int) -> None:
        """Has the job's saver write the tensors, and publishes them."""
        base = f"{_BASENAME}-{step}"
        with self._errors(base, None):
            if newest := self._newest():
                self._claim(os.path.dirname(newest))
            files.make_directory(self._output_dir)
            with files.staging_directory(os.path.join(self._output_dir, base)) as staging:
                staged = os.path.join(staging, base)
                if isinstance(self._saver, CheckpointSaver):
                    self._saver.write(session, staged)
                else:
                    names = self._saver.saver_def
                    session.run(names.save_tensor_name, {names.filename_tensor_name: staged})
                self._publish(staged, base, move=True)

    @staticmethod
    def _is_chief() -> bool:
        """Returns whether this process saves for the job, and not into a folder of its own."""
        return bool(tf.distribute.get_strategy().extended.should_checkpoint)

    def _claim(self, model_dir: str) -> None:
        """Makes sure, once, that the directory is this job's."""
        if self._claimed != model_dir and self._is_chief():
            claim(self._output_dir, model_dir)
            self._claimed = model_dir

    def _publish(self, source: str, base: str, move: bool) -> None:
        checkpoint = open_checkpoint(source)
        index, shards = rebuild(checkpoint, plan(checkpoint, "tf1"))
        shards = [Shard(path=shard.path, move=move) for shard in shards]
        prefix = os.path.join(self._output_dir, base)
        if not is_there(prefix, index, shards):
            cost = publish(prefix, index, shards, overwrite=True)
            self._say_copies(source, cost)
        self.emitted = _step_of(prefix)
        self._directory.add(prefix)

    def _say_copies(self, source: str, cost: PublishCost) -> None:
        if cost.copied and self._says_copies:
            self._says_copies = False
            _log.warning(
                "The file system has no hard links from '%s' to '%s': all data is copied each time",
                os.path.dirname(source),
                self._output_dir,
            )

    @contextlib.contextmanager
    def _errors(self, base: str, source: str | None) -> Iterator[None]:
        """Says what could not be written, and what to do; raises it where that is wanted."""
        try:
            yield
        except Exception as error:
            if self._stops or not _is_bearable(error):
                raise
            if base not in self._missed:
                self._missed.append(base)
            later = (
                f"it can be made later: estimator-ckpt convert {source} "
                f"{os.path.join(self._output_dir, base)} --to=tf1 --overwrite"
                if source
                else "the job has not saved this step itself, so it can't be made later"
            )
            _log.error(
                "The TF1 checkpoint '%s' can't be put into '%s', and training goes on without it; "
                "%s. What happened: %s",
                base,
                self._output_dir,
                later,
                error,
            )
            return
        if base in self._missed:  # it was tried again
            self._missed.remove(base)
        if self._missed:
            _log.warning("TF1 checkpoints can be written to '%s' again", self._output_dir)
            self.tell_missed()


def _is_bearable(error: Exception) -> bool:
    """Returns whether files could not be written or read, and nothing else is wrong."""
    if isinstance(error, (CheckpointArgumentError, *_PREEMPTIONS)):
        return False
    return files.is_refusal(error) or isinstance(error, DamagedCheckpointError)


def _step_of(prefix: str) -> int | None:
    """Returns the number behind the last dash of a prefix, as CheckpointSaverHook names them."""
    number = prefix.rpartition("-")[2]
    return int(number) if number.isdigit() else None
