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

import difflib
import logging
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from estimator_ckpt import naming
from estimator_ckpt.bundle import (
    BundleIndex,
    Checkpoint,
    Shard,
    TensorEntry,
    files,
    open_checkpoint,
    publish,
)
from estimator_ckpt.bundle.checkpoint import index_path
from estimator_ckpt.conversion import keys_by_name
from estimator_ckpt.errors import NameClashError, VariableMismatchError
from estimator_ckpt.estimator import tensorflow_internals as internals
from estimator_ckpt.naming import OBJECT_GRAPH_KEY

_log = logging.getLogger(__name__)
_SHOWN = 10  # names in an error message


class MissingVariablesError(VariableMismatchError, tf.errors.NotFoundError):
    """The checkpoint lacks variables of the graph (as TensorFlow's NotFoundError says)."""

    def __init__(self, message: str):
        tf.errors.NotFoundError.__init__(self, None, None, message)


class ShapeMismatchError(VariableMismatchError, tf.errors.InvalidArgumentError):
    """Variables have other shapes in the checkpoint (as TensorFlow's InvalidArgumentError says)."""

    def __init__(self, message: str):
        tf.errors.InvalidArgumentError.__init__(self, None, None, message)


class _Restored(NamedTuple):
    """A tensor that a RestoreV2 op reads: its name, its slice ("" for the whole), its shape."""

    name: str
    slice_spec: str
    shape: Any


class _Builder(internals.BulkSaverBuilder):
    """Makes a Saver's ops, and remembers the tensors that have the names of what is restored."""

    def __init__(self, *, with_object_graph: bool):
        super().__init__()
        self._with_object_graph = with_object_graph
        self.saved_names: set[str] = set()
        self.restores: list[tuple[Any, list[_Restored]]] = []
        self.object_graph: Any = None  # the tensor to feed with the object graph

    def save_op(self, filename_tensor: Any, saveables: Sequence[Any]) -> Any:
        specs = [spec for saveable in saveables for spec in saveable.specs]
        names = [spec.name for spec in specs]
        slices = [spec.slice_spec for spec in specs]
        tensors = [spec.tensor for spec in specs]
        self.saved_names.update(names)
        if self._with_object_graph and self.object_graph is None:
            self.object_graph = tf.constant(b"", name="object_graph")
            names.append(OBJECT_GRAPH_KEY)
            slices.append("")
            tensors.append(self.object_graph)
        return tf.raw_ops.SaveV2(
            prefix=filename_tensor, tensor_names=names, shape_and_slices=slices, tensors=tensors
        )

    def bulk_restore(
        self, filename_tensor: Any, saveables: Any, preferred_shard: Any, restore_sequentially: Any
    ) -> Any:
        del preferred_shard, restore_sequentially
        specs = [spec for saveable in saveables for spec in saveable.specs]
        reads = [_Restored(spec.name, spec.slice_spec, _static_shape(spec)) for spec in specs]
        with tf.device("cpu:0"):
            names = tf.constant([read.name for read in reads], tf.string, name="restore_names")
            self.restores.append((names, reads))
            return tf.raw_ops.RestoreV2(
                prefix=filename_tensor,
                tensor_names=names,
                shape_and_slices=[read.slice_spec for read in reads],
                dtypes=[spec.dtype for spec in specs],
            )


class CheckpointSaver(tf.compat.v1.train.Saver):
    """A `tf1.train.Saver` for checkpoints of any format. See the module's docstring."""

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
        """
        self._builds = _Builder(with_object_graph=checkpoint_format != "tf1")
        super().__init__(**{**saver_options, "builder": self._builds, "defer_build": True})
        self._wanted = var_list
        self._format = checkpoint_format
        self._checkpoint = checkpoint
        self._layout = naming.Layout()
        self._object_keys: dict[str, str] = {}  # the key of each name
        self._graph_bytes = b""
        self.after_save: list[Callable[[Any, str], None]] = []
        """Called with (session, prefix) after each save that updated the state file."""

    def build(self) -> None:
        """Adds the ops for what is to be saved now; does nothing the second time."""
        if self._is_built:
            return
        self._var_list = internals.all_saveables() if self._wanted is None else self._wanted
        own = _OwnLayout(self._checkpoint) if self._checkpoint is not None else None
        if own:
            self._var_list = own.add_untracked_by_name(self._var_list)
        super().build()
        names = sorted(self._builds.saved_names)
        if own:
            self._object_keys, self._graph_bytes = own.keys_and_graph(names, self._format)
        else:
            self._object_keys = {name: self._layout.key(name) for name in names}
            self._graph_bytes = self._layout.object_graph(names, save_counter=False)

    def save(self, sess: Any, save_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Saves as `tf1.train.Saver.save` does; the checkpoint appears at once, in this format."""
        if not isinstance(sess, internals.SessionInterface):
            return super().save(sess, save_path, *args, **kwargs)
        path = super().save(_PublishingSession(sess, self), save_path, *args, **kwargs)
        if path is not None and kwargs.get("write_state", True):
            for call in self.after_save:
                call(sess, path)
        return path

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
        if not self._is_built:
            self.build()  # export_saved_model calls restore() at once
        prefix = os.fspath(save_path) if save_path is not None else None
        if self._is_empty or prefix is None or not files.exists(index_path(prefix)):
            super().restore(sess, save_path)  # says what is wrong, or reads TensorFlow's V1 files
            return
        checkpoint = open_checkpoint(prefix)
        feed = self._restore_feed(checkpoint)
        _log.info("Restoring parameters from %s", prefix)
        sess.run(
            self.saver_def.restore_op_name, {self.saver_def.filename_tensor_name: prefix, **feed}
        )

    def write(self, sess: Any, prefix: str) -> None:
        """Writes a checkpoint, without state file and retention; replaces one of this prefix."""
        directory, base = os.path.split(prefix)
        if not files.is_directory(directory or "."):
            raise ValueError(f"Parent directory of {prefix} doesn't exist, can't save.")
        staging = files.staging_name(prefix)
        files.make_directory(staging)
        staged = os.path.join(staging, base)
        feed: dict[Any, Any] = {self.saver_def.filename_tensor_name: staged}
        if self._builds.object_graph is not None:
            feed[self._builds.object_graph] = self._graph_bytes
        try:
            sess.run(self.saver_def.save_tensor_name, feed)
            written = open_checkpoint(staged)
            index = self._in_format(written.index)
            shards = [Shard(path=path, move=True) for path in written.shard_paths]
            publish(prefix, index, shards, overwrite=True)
        finally:
            files.remove_tree(staging)

    def _in_format(self, by_name: BundleIndex) -> BundleIndex:
        """Gives the index that TensorFlow wrote the keys of this Saver's format."""
        entries: dict[str, TensorEntry] = {}
        for name, entry in by_name.entries.items():
            key = name if name == OBJECT_GRAPH_KEY else self._object_keys.get(name)
            if key is not None and self._format != "tf1":
                entries[key] = entry
            if key is None or (self._format != "tf2" and key != name):
                entries[name] = entry
        return BundleIndex(entries, by_name.num_shards, by_name.producer)

    def _restore_feed(self, checkpoint: Checkpoint) -> dict[Any, Any]:
        """Finds the key of each tensor to restore, and makes sure of its shape."""
        keys = _KeyFinder(checkpoint, self._object_keys)
        reads = [read for _, group in self._builds.restores for read in group]
        missing = sorted({read.name for read in reads if keys.find(read.name) is None})
        if missing:
            raise MissingVariablesError(_missing_message(checkpoint, keys, missing, reads))
        if not self._reshape:
            _require_equal_shapes(checkpoint, keys, reads)
        return {
            names: np.array([keys.find(read.name) for read in group], dtype=object)
            for names, group in self._builds.restores
        }


# A graph collection would be the place, but TensorFlow warns of each that it can't serialize. The
# Saver is referred to weakly, as it refers to its graph.
_job_savers: weakref.WeakKeyDictionary[Any, weakref.ref[CheckpointSaver]] = (
    weakref.WeakKeyDictionary()
)


def register_job_saver(saver: CheckpointSaver) -> None:
    """Makes a saver known as that of the default graph's job; the first one counts."""
    _job_savers.setdefault(tf.compat.v1.get_default_graph(), weakref.ref(saver))


def job_saver() -> Any:
    """Returns the saver of the job that the default graph is for, or None where none is known.

    A wrapped job's is registered; an unwrapped one's is in the SAVERS collection, unless its
    Scaffold brings it.
    """
    registered = _job_savers.get(tf.compat.v1.get_default_graph())
    saver = registered() if registered else None
    if saver is None:
        saver = next(iter(tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.SAVERS)), None)
    return saver


class _PublishingSession(internals.SessionInterface):
    """A session in which running the save op writes in the Saver's format."""

    def __init__(self, session: Any, saver: CheckpointSaver):
        self._session = session
        self._saver = saver

    @property
    def graph(self) -> Any:
        return self._session.graph

    @property
    def sess_str(self) -> Any:
        return self._session.sess_str

    def run(self, fetches: Any, feed_dict: Any = None, **kwargs: Any) -> Any:
        saver_def = self._saver.saver_def
        if fetches != saver_def.save_tensor_name:
            return self._session.run(fetches, feed_dict, **kwargs)
        prefix = feed_dict[saver_def.filename_tensor_name]
        self._saver.write(self._session, prefix)
        return prefix


class _KeyFinder:
    """Finds tensors by their name-based names in a checkpoint of any format."""

    def __init__(self, checkpoint: Checkpoint, object_keys: Mapping[str, str]):
        self._checkpoint = checkpoint
        self._entries = checkpoint.index.entries
        self._object_keys = object_keys
        self._own: dict[str, str] | None = None

    def find(self, name: str) -> str | None:
        """Returns the key: the name itself, the key of our layout, or of the checkpoint's own."""
        if name in self._entries:
            return name
        key = self._object_keys.get(name)
        if key in self._entries:
            return key
        return self.by_name.get(name)

    @property
    def by_name(self) -> dict[str, str]:
        """{name: key} by the checkpoint's own object graph."""
        if self._own is None:
            try:
                self._own = keys_by_name(self._checkpoint)
            except NameClashError as error:
                _log.warning("In '%s', %s", self._checkpoint.prefix, error)
                self._own = {}
        return self._own


class _OwnLayout:
    """The layout of a user's `tf.train.Checkpoint`."""

    def __init__(self, checkpoint: Any):
        *self._saveables, graph = internals.frozen_saveables(checkpoint)
        self._graph = tf.get_static_value(graph.specs[0].tensor).item()
        self._names = naming.full_names(self._graph)

    def add_untracked_by_name(self, var_list: Any) -> Any:
        """Adds what the Checkpoint saves and a name-based Saver would not, under its own keys."""
        known = set(var_list) if isinstance(var_list, dict) else set(map(_saved_name, var_list))
        extra = {
            saveable.name: saveable
            for saveable in self._saveables
            if any(self._names.get(spec.name) not in known for spec in saveable.specs)
        }
        if isinstance(var_list, dict):
            return {**var_list, **extra}
        return [*var_list, *extra.values()]

    def keys_and_graph(self, names: Sequence[str], to: str) -> tuple[dict[str, str], bytes]:
        """Returns {name: key} for the names that the Checkpoint reaches, and the object graph."""
        by_name = {name: key for key, name in self._names.items()}
        keys = {name: by_name.get(name, name) for name in names}
        keys = {name: key for name, key in keys.items() if naming.is_object_key(key)}
        lost = [name for name in names if name not in keys]
        if not lost:
            return keys, self._graph
        _log.warning(
            "The tf.train.Checkpoint of this job reaches %d of its %d variables; "
            "these are saved %s: %s",
            len(keys),
            len(names),
            "by name only" if to == "dual" else "in 'var_list'",
            ", ".join(lost[:_SHOWN]),
        )
        if to == "dual":
            return keys, self._graph
        layout = naming.Layout(step=None)
        keys.update({name: layout.key(name) for name in lost})
        leaves = [naming.Leaf(layout.path(name), name, keys[name]) for name in lost]
        return keys, naming.add_leaves(self._graph, leaves)


def _saved_name(saveable: Any) -> str:
    if isinstance(saveable, internals.BulkSaverBuilder.SaveableObject):
        return str(saveable.name)
    return internals.logical_name(saveable)


def _static_shape(spec: Any) -> Any:
    """Returns the shape of what a spec restores; of the whole variable for a slice of one."""
    if spec.slice_spec:
        return tf.TensorShape([int(size) for size in spec.slice_spec.split(" ")[:-1]])
    tensor = spec.tensor
    return tensor.shape if tensor is not None else tf.TensorShape(None)


def _require_equal_shapes(
    checkpoint: Checkpoint, keys: _KeyFinder, reads: Sequence[_Restored]
) -> None:
    wrong = {}
    for read in reads:
        shape = checkpoint.index.entries[keys.find(read.name) or ""].shape
        if not read.shape.is_compatible_with(shape):
            wrong[read.name] = f"'{read.name}' is {read.shape}, in the checkpoint {shape}"
    if wrong:
        raise ShapeMismatchError(
            f"the checkpoint '{checkpoint.prefix}' has other shapes than the graph: "
            f"{_listed(list(wrong.values()))}; use a model of the same shapes, or warm-start only "
            "what fits with estimator_ckpt.warm_start_settings(checkpoint, include=...)"
        )


def _missing_message(
    checkpoint: Checkpoint, keys: _KeyFinder, missing: Sequence[str], reads: Sequence[_Restored]
) -> str:
    wanted = {read.name for read in reads}
    unused = sorted(set(keys.by_name) - wanted)
    near = {
        name: close[0] for name in missing if (close := difflib.get_close_matches(name, unused, 1))
    }
    shown = [f"'{name}'" + (f" (near: '{near[name]}')" if name in near else "") for name in missing]
    message = f"the checkpoint '{checkpoint.prefix}' lacks {len(missing)} of the {len(wanted)} "
    message += f"variables of the graph: {_listed(shown)}. "
    if unused:
        message += f"It has {len(unused)} that the graph lacks: {_listed(unused)}. "
    return message + (
        "Use the model that it was saved from, or start a new model_dir from it with "
        "warm_start_from=estimator_ckpt.warm_start_settings(checkpoint, rename={old: new})"
    )


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
