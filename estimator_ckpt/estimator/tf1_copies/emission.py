"""Emits name-based checkpoints into a directory of their own, and bears with what goes wrong there.

    emitter = Emitter("model_dir/tf1", Settings(on_error="continue"))
    emitter.begin()
    emitter.emit(session, step)

It belongs to the job: `on_error="continue"` keeps training going where the directory can't be
written, as the job's own checkpoints have the same tensors and `convert` makes the others of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from estimator_ckpt.bundle.recurring import RecurringIndex
from estimator_ckpt.checkpoint import Checkpoint, PublishCost, Shard, open_checkpoint, publish
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.opening import META_SUFFIX, index_path, step_in_name
from estimator_ckpt.checkpoint.ownership import Claim, claim, renew
from estimator_ckpt.checkpoint.publishing import find_equal
from estimator_ckpt.conversion.committing import rebuild
from estimator_ckpt.conversion.planning import Conversion, plan
from estimator_ckpt.errors import (
    CheckpointArgumentError,
    CheckpointWriteError,
    DamagedCheckpointError,
)
from estimator_ckpt.estimator.job_saver import job_saver
from estimator_ckpt.estimator.options import ON_ERROR, require_choice
from estimator_ckpt.estimator.saver import CheckpointSaver
from estimator_ckpt.estimator.tf1_copies.catching_up import catch_up, saved_by
from estimator_ckpt.estimator.tf1_copies.finding import saver_of
from estimator_ckpt.estimator.tf1_copies.retention import CheckpointDirectory, Retention
from estimator_ckpt.messages import logger
from estimator_ckpt.storage import files

_log = logger(__name__)
_BASENAME = "model.ckpt"
# With these, TensorFlow makes a new session and goes on.
_PREEMPTIONS = (tf.errors.AbortedError, tf.errors.UnavailableError)


@dataclass(frozen=True)
class Settings:
    """How to emit.

    Attributes:
      keep_max: how many checkpoints to keep; None or 0 for all, "job" for as many as the job does.
      keep_every_n_hours: keep one more of each so many hours; None for as the job does.
      saver: the Saver of the job; None to find it.
      on_error: "continue" or "stop".
      take_over: whether the directory may be another job's until now.
      has_all: whether each checkpoint of the job is to be there.
    """

    keep_max: int | str | None = "job"
    keep_every_n_hours: float | None = None
    saver: Any = None
    on_error: str = "continue"
    take_over: bool = False
    has_all: bool = True

    def __post_init__(self) -> None:
        """Refuses what can't be meant, before anything is built."""
        require_choice("on_error", self.on_error, ON_ERROR)
        if isinstance(self.keep_max, str) and self.keep_max != "job":
            raise CheckpointArgumentError(
                f"keep_max='{self.keep_max}' must be a number, None for all, or 'job' for as many "
                "as the job's own Saver keeps"
            )


class Emitter:
    """Emits into one directory what the job's saver saved, or has that saver write it."""

    def __init__(self, output_dir: str, settings: Settings):
        """Creates an emitter.

        Args:
          output_dir: the directory.
          settings: how to emit.
        """
        self._settings = settings
        self._output_dir = os.fspath(output_dir)
        self._missed: list[str] = []
        self._says_copies = True
        self._saver: Any = None
        self._follows = False
        self._directory: CheckpointDirectory | None = None
        self._claimed: Claim | None = None
        self._planned: tuple[list[str], Conversion] | None = None
        self._index = RecurringIndex()
        self._seen: str | None = None
        self._saved: str | None = None  # by this run
        self.step_tensor: Any = None
        self.emitted: int | None = None
        """The step of the last checkpoint that was emitted."""

    def begin(self) -> None:
        """Begins a run, before the graph is finalized."""
        self.step_tensor = tf.compat.v1.train.get_global_step()
        if self.step_tensor is None:
            raise CheckpointArgumentError(
                "the graph has no global step, by which checkpoints are numbered; "
                "make one with tf.compat.v1.train.get_or_create_global_step()"
            )
        self._directory = self._claimed = self._planned = None
        self._seen = self._saved = self.emitted = None
        self._is_found = self._is_late = False
        self._saver = self._settings.saver or job_saver()
        if self._saver is not None:
            self._note_saves()

    def start(self, session: Any) -> None:
        """Finds the job's saver once the graph is finalized, if that has not happened."""
        if self._is_found:
            return
        self._is_found = True
        if self._settings.saver is not None or isinstance(self._saver, CheckpointSaver):
            return
        saver = saver_of(session.graph) or self._saver
        if saver is None:
            raise CheckpointArgumentError(
                f"the Saver of this job can't be found, so nothing can be put into "
                f"'{self._output_dir}'; give the hook or listener saver=..."
            )
        if saver is not self._saver:
            self._is_late = True
            self._saver = saver
            self._note_saves()

    def tell_late(self) -> None:
        """Says so where the job has saved before its Saver was found, and this tells of nothing."""
        told = getattr(self._saver, "saver_def", None)
        if self._is_late and self._newest() is None and not getattr(told, "max_to_keep", 1):
            _log.warning(
                "'%s' gets each checkpoint but one, the first checkpoint of this run is missing: "
                "the Saver of this job's Scaffold lists none; give the hook saver=... to have it",
                self._output_dir,
            )

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
        self.start(session)
        newest = self._newest()
        if newest is not None and newest != self._seen:
            self._seen = newest
            self._link(newest)
        if last and self.emitted is not None and self.emitted != self.step(session):
            self.emit(session, self.step(session))

    def emit(self, session: Any, step: int) -> None:
        """Emits one step: linked if the job has saved it, else written by the job's saver."""
        self.start(session)
        self._settle()
        newest = self._newest()
        if newest is not None and step_in_name(newest) == step and files.exists(index_path(newest)):
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
                self._claimed.model_dir if self._claimed else "MODEL_DIR",
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
        if isinstance(self._saver, CheckpointSaver):
            self._saver.after_save.insert(0, self._note)
            return
        save = self._saver.save

        def noted(*args: Any, **kwargs: Any) -> Any:
            path = save(*args, **kwargs)
            if path and kwargs.get("write_state", True):
                self._note(None, path)
            return path

        self._saver.save = noted

    def _note(self, session: Any, prefix: str) -> None:
        del session
        if not self._is_elsewhere(prefix):
            self._saved = prefix

    def _newest(self) -> str | None:
        checkpoints = self._saver.last_checkpoints
        return self._saved or (checkpoints[-1] if checkpoints else None)

    @files.looking_once()
    def _link(self, source: str) -> None:
        """Publishes the name-based index of a checkpoint beside links to its data files."""
        if not self._is_chief() or self._is_elsewhere(source):
            return
        model_dir, base = os.path.split(source)
        with self._errors(base, source):
            directory = self._open(model_dir, base)
            self._publish(source, directory, move=False)

    def _write(self, session: Any, step: int) -> None:
        """Has the job's saver write the tensors, and publishes them."""
        base = f"{_BASENAME}-{step}"
        with self._errors(base, None):
            newest = self._newest()
            model_dir = os.path.dirname(newest) if newest is not None else None
            directory = self._open(model_dir, base)
            files.make_directory(self._output_dir)
            with files.staging_directory(os.path.join(self._output_dir, base)) as staging:
                staged = os.path.join(staging, base)
                if isinstance(self._saver, CheckpointSaver):
                    self._saver.write(session, staged)
                else:
                    names = self._saver.saver_def
                    session.run(names.save_tensor_name, {names.filename_tensor_name: staged})
                self._publish(staged, directory, move=True)

    def _is_elsewhere(self, prefix: str) -> bool:
        """Returns whether something is saved, by a hook of the job's own, outside its model_dir."""
        model_dir = self._claimed.model_dir if self._claimed else None
        return model_dir is not None and not files.is_same(os.path.dirname(prefix), model_dir)

    @staticmethod
    def _is_chief() -> bool:
        """Returns whether this process saves for the job, and not into a folder of its own."""
        return bool(tf.distribute.get_strategy().extended.should_checkpoint)

    def _open(self, model_dir: str | None, base: str) -> CheckpointDirectory:
        """Makes sure that the directory is this run's; the first time, that nothing is forgotten.

        Args:
          model_dir: where the job saves; None if that is not known yet.
          base: the name of the checkpoint that is to be put there.
        """
        if self._claimed is not None:
            if not renew(self._claimed):
                self._directory = None  # it was removed
        elif model_dir is not None and self._is_chief():
            take_over = self._settings.take_over
            self._claimed = claim(self._output_dir, model_dir, take_over=take_over)
        if self._directory is None:
            keep_max, hours = self._settings.keep_max, self._settings.keep_every_n_hours
            retention = Retention.like(self._saver, keep_max, hours)
            self._directory = CheckpointDirectory(self._output_dir, retention)
            if self._claimed is not None:
                saved = saved_by(self._claimed.model_dir, self._saver.last_checkpoints)
                place = self._place if self._settings.has_all else None
                catch_up(self._directory, self._claimed, base, saved, place)
        return self._directory

    def _publish(self, source: str, directory: CheckpointDirectory, move: bool) -> None:
        base = os.path.basename(source)
        self._place(source, base, move=move)
        self.emitted = step_in_name(base)
        directory.add(os.path.join(self._output_dir, base))

    def _place(self, source: str, base: str, move: bool = False) -> None:
        written = self._saver.written if isinstance(self._saver, CheckpointSaver) else None
        if written is not None and written.prefix == source:
            checkpoint = written.open()
            conversion = self._plan_again(checkpoint)
        else:
            checkpoint = open_checkpoint(source)
            conversion = plan(Account(checkpoint), "tf1")
        index, shards = rebuild(checkpoint, conversion)
        shards = [Shard(path=shard.path, move=move) for shard in shards]
        prefix = os.path.join(self._output_dir, base)
        if find_equal(prefix, index, shards, linked=not move) is None:
            cost = publish(prefix, index, shards, overwrite=True, encode=self._index.encode)
            self._say_copies(source, cost)
        _place_graph(source, prefix)

    def _plan_again(self, checkpoint: Checkpoint) -> Conversion:
        """Returns the plan for what the job's saver has written, whose keys seldom change."""
        keys = list(checkpoint.index.entries)
        if self._planned is None or self._planned[0] != keys:
            self._planned = keys, plan(Account(checkpoint), "tf1")
        return self._planned[1]

    def _say_copies(self, source: str, cost: PublishCost) -> None:
        if not cost.copied or not self._says_copies:
            return
        self._says_copies = False
        origin = os.path.dirname(source)
        if files.is_same_store(origin, self._output_dir):
            text = "The store copies all data from '%s' to '%s' each time; none goes through here"
            _log.info(text, origin, self._output_dir)
        else:
            text = (
                "The file system has no hard links from '%s' to '%s': all data is copied each time"
            )
            _log.warning(text, origin, self._output_dir)

    @contextlib.contextmanager
    def _errors(self, base: str, source: str | None) -> Iterator[None]:
        """Says what could not be written, and what to do; raises it where that is wanted."""
        try:
            yield
        except Exception as error:
            if self._settings.on_error == "stop" or not _is_bearable(error):
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


def _place_graph(source: str, prefix: str) -> None:
    """Puts the graph that a job has saved beside a checkpoint beside its copy, too, and last."""
    graph, target = source + META_SUFFIX, prefix + META_SUFFIX
    try:
        if files.exists(graph):
            files.remove(target)
            if not files.try_link(graph, target):
                files.copy(graph, target)
    except Exception as error:
        if not files.is_refusal(error):
            raise
        raise CheckpointWriteError(f"can't put the graph '{graph}' there: {error}") from error


def _is_bearable(error: Exception) -> bool:
    """Returns whether files could not be written or read, and nothing else is wrong."""
    if isinstance(error, (CheckpointArgumentError, *_PREEMPTIONS)):
        return False
    return files.is_refusal(error) or isinstance(error, DamagedCheckpointError)
