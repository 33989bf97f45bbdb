"""The Saver that a wrapped job ends up with: restores any format, writes tf1, tf2 or dual.

    saver = CheckpointSaver("dual", max_to_keep=5)       # builds itself when the graph is finalized
    saver.save(session, "model_dir/model.ckpt", global_step=10)
    saver.restore(session, "model_dir/model.ckpt-10")

It saves what a default `tf1.train.Saver` would, with that Saver's own ops, so everything that this
can save is saved. TensorFlow writes the tensors once, by name, into a staging directory; the index
with the keys of the wanted format is then published beside them. Restoring feeds the ops with the
keys under which the checkpoint at hand has each tensor.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from estimator_ckpt.bundle.allocation import many_objects
from estimator_ckpt.bundle.recurring import RecurringIndex
from estimator_ckpt.checkpoint import Checkpoint, open_checkpoint
from estimator_ckpt.checkpoint.opening import STATE_FILE, index_path, require_data
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.estimator.background.snapshot import Snapshot, SnapshotOp, why_impossible
from estimator_ckpt.estimator.background.worker import Background
from estimator_ckpt.estimator.object_keys import ObjectKeys, default_keys
from estimator_ckpt.estimator.own_layout import OwnLayout
from estimator_ckpt.estimator.restoring import find_sources
from estimator_ckpt.estimator.save_call import (
    SaveCall,
    checked_save_call,
    make_parent,
    number_of_step,
    path_text,
)
from estimator_ckpt.estimator.saver_ops import OpsBuilder
from estimator_ckpt.estimator.unchanged.bounds import Bounds
from estimator_ckpt.estimator.unchanged.saving import LinkedSaves, TakenTensors
from estimator_ckpt.estimator.writing import (
    PublishingSession,
    Written,
    WrittenTensors,
    flush_state,
    write_checkpoint,
)
from estimator_ckpt.live import tensorflow_internals as internals
from estimator_ckpt.live.data_loss import told_as_damage
from estimator_ckpt.messages import logger
from estimator_ckpt.naming import OBJECT_GRAPH_KEY
from estimator_ckpt.storage import files

_log = logger(__name__)


class CheckpointSaver(tf.compat.v1.train.Saver):
    """A `tf1.train.Saver` for checkpoints of any format. See the module's docstring.

    Of what it inherits it uses `_var_list`, `_is_built`, `_is_empty` and `_reshape`: a subclass
    that builds itself late has to, and nothing public tells. TensorFlow 2.12 to 2.21 have them.
    """

    def __init__(
        self,
        checkpoint_format: str,
        *,
        checkpoint: Any = None,
        var_list: Any = None,
        **saver_options: Any,
    ):
        """Creates a Saver that builds its ops in `build()`, which finalizing a graph calls.

        Args:
          checkpoint_format: what to write: "tf1", "tf2" or "dual".
          checkpoint: a `tf.train.Checkpoint` that gives the layout of tf2 and dual, and maybe more
            to save; None for `Checkpoint(var_list={name: variable}, step=global_step)`.
          var_list: what to save, as for `tf1.train.Saver`; None for all saveables of the graph at
            the time of building.
          **saver_options: further arguments of `tf1.train.Saver`.

        Raises:
          CheckpointArgumentError: it is made with eager execution.
        """
        if tf.executing_eagerly():
            raise CheckpointArgumentError(
                "CheckpointSaver saves the variables of a graph through a Session; make it in a "
                "tf.Graph, or use tf.train.Checkpoint, which saves with eager execution"
            )
        self.builds_when_asked = False
        """Whether the ops are made when they are first needed, if that is before `build()`."""
        self.may_export = False
        """Whether `restore` before `build`, as in an export, only warns of other shapes."""
        self._builds = OpsBuilder()
        super().__init__(**{**saver_options, "builder": self._builds, "defer_build": True})
        self._wanted = var_list
        self._format = checkpoint_format
        self.checkpoint = checkpoint
        self._object_keys = ObjectKeys({})
        self._index, self._index_by_name = RecurringIndex(), RecurringIndex()
        self._has_recovered = False
        self._graph: Any = None
        self.written: Written | None = None
        """What `write` has written last."""
        self.model_dir: str | None = None
        """Where the job saves. What is saved elsewhere is not announced; None for anywhere."""
        self.sync_data = False
        """Whether tensors are flushed to the disk before a checkpoint appears."""
        self.async_save = False
        """Whether `save_in_background` will be called; to be set before the Saver is built."""
        self.keeps_memory = False
        """Whether the memory for copies is kept between two saves; to be set before building."""
        self.prepares_memory = False
        """Whether that memory is had from the system as soon as the Saver is built."""
        self.unchanged: Bounds | None = None
        """Within which bounds a checkpoint has links to what has not changed since the last one;
        None for no such links. To be set before the Saver is built."""
        self._snapshot: SnapshotOp | None = None
        self._linked: LinkedSaves | None = None
        self._background = Background("checkpoint writer")
        self.saves_in_background = False
        """Whether `save` returns before the checkpoint is written, as `save_in_background` does."""
        self.before_save: list[Callable[[Any, int], None]] = []
        """Called with (session, global step) before each save of the job's."""
        self.after_save: list[Callable[[Any, str], None]] = []
        """Called with (session, prefix) after each save of the job's."""

    @property
    def saver_def(self) -> Any:
        """The `SaverDef`; None until the ops are made."""
        if self.builds_when_asked and not tf.compat.v1.get_default_graph().finalized:
            self.build()
        return self._saver_def

    @saver_def.setter
    def saver_def(self, value: Any) -> None:
        self._saver_def = value

    def build(self) -> None:
        """Adds the ops for what is to be saved now; does nothing the second time."""
        if self._is_built:
            return
        self._graph = tf.compat.v1.get_default_graph()
        self._var_list = (
            internals.all_saveables()
            if self._wanted is None
            else internals.with_replicas(self._wanted)
        )
        own = OwnLayout(self.checkpoint) if self.checkpoint is not None else None
        if own:
            self._var_list = own.match(self._var_list, is_chosen=self._wanted is not None)
        super().build()
        if self._is_empty:
            return
        if not self._builds.saves:  # the Saver was made with `saver_def`
            self._builds.find(self.saver_def)
        saved = [
            each for group in self._builds.saves for each in group if each.name != OBJECT_GRAPH_KEY
        ]
        if own:
            self._object_keys = own.keys(saved, self._format)
        else:
            self._object_keys = default_keys({each.name for each in saved})
        if self.unchanged is not None:
            self._linked = self._make_linked_saves(self.unchanged)
        if self.async_save and self._linked is None:
            self._snapshot = self._make_snapshot_op()

    def save(
        self,
        sess: Any,
        save_path: Any,
        global_step: Any = None,
        latest_filename: str | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True,
        write_state: bool = True,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> Any:
        """Saves as `tf1.train.Saver.save` does; the checkpoint appears at once, in this format."""
        options = {
            "latest_filename": latest_filename,
            "meta_graph_suffix": meta_graph_suffix,
            "write_meta_graph": write_meta_graph,
            "write_state": write_state,
            "strip_default_attrs": strip_default_attrs,
            "save_debug_info": save_debug_info,
        }
        call = self._checked(sess, save_path, global_step, options)
        if self.saves_in_background and self._is_the_jobs(call):
            return self._save_in_background(sess, call, None)
        self.wait()
        self._announce(sess, call)
        return self._save(sess, None, call)

    def save_in_background(
        self,
        sess: Any,
        save_path: Any,
        global_step: Any = None,
        *,
        when_saved: Callable[[], None] | None = None,
        **options: Any,
    ) -> Any:
        """Copies in memory what `save` saves, and does all else of it while training goes on.

        It waits for the save before it. No step may run until it returns. In the session of
        another graph it does what `save` does.

        Args:
          sess: a Session.
          save_path: as for `save`.
          global_step: as for `save`.
          when_saved: called after all else, in the thread that writes.
          **options: the other arguments of `save`.

        Returns:
          What `save` would return. Until `wait` returns, there may be no such checkpoint yet.

        Raises:
          TypeError: an argument is wrong, as for `save`, like ValueError and RuntimeError.
          BaseException: what went wrong with the save before this one.
        """
        call = self._checked(sess, save_path, global_step, options)
        return self._save_in_background(sess, call, when_saved)

    def _save_in_background(
        self, sess: Any, call: SaveCall, when_saved: Callable[[], None] | None
    ) -> Any:
        if not self._is_empty:
            make_parent(call.prefix, sharded=self._sharded)
        self.wait()
        self._announce(sess, call)
        linked = self._linked_saves(sess, call.prefix)
        taken: Snapshot | TakenTensors
        if linked is not None:
            taken = linked.take(sess, call.prefix, self._saved_graph, copies=True)
        elif self._snapshot is not None and sess.graph is self._graph:
            taken = self._snapshot.take(sess)
        else:  # why there is none, has been said; it copies what the graph has that it is of
            path = self._save(sess, None, call)
            if when_saved:
                when_saved()
            return path
        scope = (
            tf.distribute.get_strategy().scope()
            if tf.distribute.has_strategy()
            else contextlib.nullcontext()
        )

        def work() -> None:
            with sess.graph.as_default(), scope, contextlib.closing(taken):
                self._save(sess, taken, call)
                if when_saved:
                    when_saved()

        self._background.start(work)
        return call.prefix

    @property
    def is_saving(self) -> bool:
        """Whether a checkpoint is being written in the background."""
        return self._background.is_busy

    def wait(self) -> None:
        """Waits for what is being written in the background.

        Raises:
          BaseException: what went wrong there.
        """
        self._background.wait()

    def check(self) -> None:
        """Raises what went wrong in the background, if anything did; does not wait."""
        self._background.check()

    def _checked(
        self, sess: Any, save_path: Any, global_step: Any, options: dict[str, Any]
    ) -> SaveCall:
        if self.saver_def is None and not self._is_built:
            raise RuntimeError("`build()` should be called before save if defer_build==True")
        return checked_save_call(
            sess,
            save_path,
            global_step,
            sharded=self._sharded,
            padded=self._pad_step_number,
            options=options,
        )

    def _is_the_jobs(self, call: SaveCall) -> bool:
        """Returns whether a job resumes from what is saved: it is listed in the model_dir.

        One of workers in step who is not the chief saves into a folder of its own.
        """
        if call.state_file != STATE_FILE or self._is_empty:
            return False
        if self.model_dir is None or not _is_chief():
            return True
        return files.is_same(os.path.dirname(call.path) or ".", self.model_dir)

    def _announce(self, sess: Any, call: SaveCall) -> None:
        self._leave_others_alone(call.path)
        if self.before_save and self._is_the_jobs(call):
            step = number_of_step(sess, call.step)
            for announce in self.before_save:
                announce(sess, step)

    def _save(self, sess: Any, taken: Snapshot | TakenTensors | None, call: SaveCall) -> Any:
        """Does what `tf1.train.Saver.save` does, with what is in the session or was taken of it."""
        session = PublishingSession(
            sess, self.saver_def, lambda prefix: self.write(sess, prefix, taken)
        )
        with sess.graph.as_default():
            path = super().save(session, call.path, call.step, **call.options)
        if path is not None and call.state_file is not None:
            flush_state(path, call.state_file)
            if self._is_the_jobs(call):
                for announce in self.after_save:
                    announce(sess, path)
        return path

    def _make_snapshot_op(self) -> SnapshotOp | None:
        groups = self._builds.saves
        reason = why_impossible(groups)
        if reason is not None:
            _log.warning("Checkpoints are saved while training stands still: %s", reason)
            return None
        snapshot = SnapshotOp(groups, keeps_memory=self.keeps_memory)
        if self.prepares_memory:
            snapshot.prepare()
        return snapshot

    def _make_linked_saves(self, bounds: Bounds) -> LinkedSaves | None:
        groups = self._builds.saves
        reason = why_impossible(groups)
        if reason is None and self.model_dir is not None and not files.is_local(self.model_dir):
            reason = f"'{self.model_dir}' is not on a local disk, and has no hard links"
        if reason is not None:
            _log.warning("unchanged='link' has no effect, all is written at each save: %s", reason)
            return None
        return LinkedSaves(groups, bounds, directory=self.model_dir, keeps_memory=self.keeps_memory)

    def _linked_saves(self, sess: Any, prefix: str) -> LinkedSaves | None:
        """Returns what saves with links, if this can: on a disk, and from the graph it is of."""
        is_able = sess.graph is self._graph and files.is_local(prefix)
        return self._linked if is_able else None

    @property
    def _saved_graph(self) -> bytes | None:
        return None if self._format == "tf1" else self._object_keys.graph

    def export_meta_graph(self, filename: Any = None, *args: Any, **options: Any) -> Any:
        """Writes or returns the graph, as `tf1.train.Saver` does; to a store in one request."""
        special = args or options.get("as_text") or options.get("save_debug_info")
        if filename is None or special or files.renames(path_text(filename)):
            return super().export_meta_graph(filename, *args, **options)
        graph = super().export_meta_graph(**options)
        files.write(path_text(filename), graph.SerializeToString(deterministic=True))
        return graph

    @files.looking_once()
    def restore(self, sess: Any, save_path: Any) -> None:
        """Restores from a checkpoint of any format.

        Args:
          sess: a Session.
          save_path: the checkpoint's prefix.

        Raises:
          MissingVariablesError: the checkpoint lacks variables; the message lists what is missing
            on either side.
          ShapeMismatchError: variables have other shapes in it.
          DamagedCheckpointError: it is damaged or incomplete.
        """
        exports = self.may_export and not self._is_built  # export_saved_model restores at once
        self.build()
        prefix = path_text(save_path) if save_path is not None else None
        if self._is_empty or prefix is None or not files.exists(index_path(prefix)):
            super().restore(sess, prefix)  # says what is wrong, or reads TensorFlow's V1 files
            return
        with many_objects():
            feed = self._feed(sess, prefix, exports=exports)
        _log.info("Restoring parameters from %s", prefix)
        feed[self.saver_def.filename_tensor_name] = prefix
        with told_as_damage(prefix):
            sess.run(self.saver_def.restore_op_name, feed)

    def _feed(self, sess: Any, prefix: str, *, exports: bool) -> dict[Any, Any]:
        """Returns what the ops that restore are to read, of which all is there and fits."""
        checkpoint = open_checkpoint(prefix, require_data=False)
        restores = self._builds.restores
        sources = find_sources(
            checkpoint,
            [each.reads for each in restores],
            self._object_keys,
            # A job's own tf.train.Checkpoint saves only the tables that it reaches.
            may_lack=[bool(each.table) and self.checkpoint is not None for each in restores],
            reshape=self._reshape,
            exports=exports,
        )
        require_data(checkpoint, {key for group in sources for key, _ in group})
        if self._linked is not None:
            reads = [
                pair for each, found in zip(restores, sources) for pair in zip(each.reads, found)
            ]
            self._linked.restored(
                prefix, {(read.name, read.slice_spec): source for read, source in reads}
            )
        feed: dict[Any, Any] = {}
        for each, found in zip(restores, sources):
            if each.reads and not found:
                feed.update(zip(each.table, sess.run(list(each.table.values()))))
                name = each.reads[0].name.rpartition("-")[0]
                _log.warning("'%s' lacks the table '%s', which stays as it is", prefix, name)
                continue
            # By name, as sess may be of another graph with such ops.
            feed[each.names.name] = np.array([key for key, _ in found], dtype=object)
            feed[each.slices.name] = np.array([slice_spec for _, slice_spec in found], dtype=object)
        return feed

    def recover_last_checkpoints(self, checkpoint_paths: Any) -> None:
        """Takes checkpoints of an earlier run for its own, as `tf1.train.Saver` does."""
        super().recover_last_checkpoints(checkpoint_paths)
        self._has_recovered = True

    def _leave_others_alone(self, save_path: Any) -> None:
        """Forgets what was recovered, and would be deleted in its turn, if it lies elsewhere.

        Workers in step all recover the model_dir's checkpoints, and all save: the chief there, the
        others into folders of their own.
        """
        if self._has_recovered:
            self._has_recovered = False
            if self.model_dir is not None and _is_chief():
                return
            own = os.path.abspath(os.path.dirname(save_path))
            if not any(os.path.abspath(os.path.dirname(p)) == own for p in self.last_checkpoints):
                self.set_last_checkpoints_with_time([])

    def write(
        self, sess: Any, prefix: str, snapshot: Snapshot | TakenTensors | None = None
    ) -> None:
        """Writes a checkpoint, without state file and retention; replaces one of this prefix.

        Args:
          sess: a Session.
          prefix: of the checkpoint.
          snapshot: what to write; None for what is in the session now.
        """
        make_parent(prefix, sharded=self._sharded)
        linked = self._linked_saves(sess, prefix)
        if snapshot is None and linked is not None:
            held = linked.take(sess, prefix, self._saved_graph, copies=False)
            with contextlib.closing(held):
                self._write(sess, prefix, held)
        else:
            self._write(sess, prefix, snapshot)

    def _write(self, sess: Any, prefix: str, taken: Snapshot | TakenTensors | None) -> None:
        def write_tensors(staging: str) -> WrittenTensors:
            if isinstance(taken, TakenTensors):
                return taken.write(staging, flushes=self.sync_data or self.async_save)
            if taken is not None:
                return WrittenTensors(*taken.write(staging, prefix))
            return self._save_tensors(sess, os.path.join(staging, os.path.basename(prefix)))

        written = write_checkpoint(
            prefix,
            write_tensors,
            self._object_keys,
            self._format,
            sync_data=self.sync_data,
            encode=self._index.encode,
        )
        self.written = written
        if isinstance(taken, TakenTensors):
            taken.is_published(prefix, written.num_shards, is_new=written.is_new)

    def _save_tensors(self, sess: Any, prefix: str) -> WrittenTensors:
        """Has TensorFlow write the data files."""
        feed: dict[Any, Any] = {self.saver_def.filename_tensor_name: prefix}
        sess.run(self.saver_def.save_tensor_name, feed)
        written = Checkpoint(prefix, self._index_by_name.decode(files.read(index_path(prefix))))
        require_data(written, written.index.entries)
        if self.sync_data:
            for path in written.shard_paths:
                files.sync(path)
        return WrittenTensors(written.index, written.shard_paths)


def _is_chief() -> bool:
    return bool(tf.distribute.get_strategy().extended.should_checkpoint)
