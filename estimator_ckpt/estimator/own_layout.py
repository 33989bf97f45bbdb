"""The layout of a `tf.train.Checkpoint` that is the user's own.

    own = OwnLayout(checkpoint)
    var_list = own.match(var_list, is_chosen=True)
    keys = own.keys(saved, "dual")

The keys are TensorFlow's for that Checkpoint. What it saves and what the Saver saves by name is
matched by the variables, whatever they are called on either side; the names are the Saver's. What
the Checkpoint does not reach is saved all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from estimator_ckpt import naming
from estimator_ckpt.estimator.object_keys import ObjectKeys, Piece, piece_of
from estimator_ckpt.live import tensorflow_internals as internals
from estimator_ckpt.messages import logger
from estimator_ckpt.naming.paths import variable_key

_log = logger(__name__)
_SHOWN = 10
_PASSES_ON = ("Identity", "ReadVariableOp")
_DEPTH = 4  # of replicas' values a mean is made, of a table an export


class OwnLayout:
    """The layout of a user's `tf.train.Checkpoint`, or of a Saver that saves by object."""

    def __init__(self, checkpoint: Any):
        self._saveables, stored = internals.frozen_saveables(checkpoint)
        graph = naming.ObjectGraph.parse(stored)
        self._graph, self._step_keys = graph.split_shared(naming.GLOBAL_STEP)
        counters = [
            naming.Leaf(path, naming.GLOBAL_STEP, variable_key(*path))
            for path in _untracked_counters(checkpoint, graph)
        ]
        self._step_keys += [leaf.key for leaf in counters]
        # As in the default layout: without the node of save_counter, assert_consumed() would fail.
        leaves = [*counters, naming.Leaf((naming.SAVE_COUNTER,))]
        self._graph = self._graph.with_leaves(leaves)
        self._reached: dict[Piece, tuple[str, ...]] = {}

    def match(self, var_list: Any, *, is_chosen: bool) -> Any:
        """Matches what the Checkpoint saves with what a name-based Saver saves.

        Args:
          var_list: what the Saver saves, as for `tf1.train.Saver`.
          is_chosen: whether the job says so itself: what it leaves out is then not saved.

        Returns:
          The `var_list`, with what else the Checkpoint saves, under its own keys.
        """
        pieces = {
            _origin(spec.tensor): piece_of(spec.name, spec.slice_spec)
            for spec in internals.saved_specs(var_list)
        }
        omitted = set()
        if is_chosen:
            omitted = {
                _origin(spec.tensor) for spec in internals.saved_specs(internals.all_saveables())
            }
        left_out: list[str] = []
        extra = {}
        for saveable in self._saveables:
            origins = {spec.name: _origin(spec.tensor) for spec in saveable.specs}
            if origins.keys() and all(origin in pieces for origin in origins.values()):
                for key, origin in origins.items():
                    self._reach(pieces[origin], key)
            elif any(origin in omitted for origin in origins.values()):
                left_out += origins
            else:
                extra[saveable.name] = saveable
                for key in origins:
                    self._reach((key, ()), key)
        if self._step_keys:
            step = pieces.get(_origin(tf.convert_to_tensor(tf.compat.v1.train.get_global_step())))
            if step is None:
                left_out += self._step_keys
            else:
                self._reach(step, *self._step_keys)
        named = {key: name for (name, _), keys in self._reached.items() for key in keys}
        for key in extra:
            named.pop(key, None)
        self._graph = self._graph.without(set(left_out)).with_names(named)
        return {**var_list, **extra} if isinstance(var_list, dict) else [*var_list, *extra.values()]

    def keys(self, saved: Iterable[Any], to: str) -> ObjectKeys:
        """Returns the keys of what is saved, and the object graph.

        Args:
          saved: the tensors, each with a name and a slice.
          to: the format.
        """
        pieces: dict[str, set[Piece]] = {}
        for each in saved:
            piece = piece_of(each.name, each.slice_spec)
            pieces.setdefault(each.name, set()).add(piece)
        keys = {
            piece: self._reached[piece]
            for of_one in pieces.values()
            for piece in of_one
            if piece in self._reached
        }
        lost = sorted(name for name, of_one in pieces.items() if not of_one <= keys.keys())
        in_parts = [name for name, of_one in pieces.items() if (name, ()) not in of_one]
        if lost:
            _log.warning(
                "The tf.train.Checkpoint of this job reaches %d of its %d variables; "
                "these are saved %s: %s",
                len(pieces) - len(lost),
                len(pieces),
                "by name only" if to == "dual" else "in 'var_list'",
                ", ".join(lost[:_SHOWN]),
            )
        if to == "dual":
            return ObjectKeys(keys, self._graph.data)
        layout = naming.Layout(step=None)
        added = sorted({*lost, *in_parts})  # of parts alone, no name could be told
        keys.update({(name, ()): (layout.key(name),) for name in added})
        leaves = [naming.Leaf(layout.path(name), name, layout.key(name)) for name in added]
        return ObjectKeys(keys, self._graph.with_leaves(leaves).data)

    def _reach(self, piece: Piece, *keys: str) -> None:
        self._reached[piece] = (*self._reached.get(piece, ()), *keys)


def _origin(tensor: Any, depth: int = _DEPTH) -> object:
    """Identifies what a tensor is read from: a variable, or what a few ops make of some.

    Each side has made its own ops to read the same.
    """
    operation = tensor.op
    if operation.type in _PASSES_ON:
        return _origin(operation.inputs[0], depth)
    if operation.type == "Const":
        return operation.get_attr("value").SerializeToString()
    if not (depth and operation.inputs):
        return tensor.name
    origins = tuple(_origin(each, depth - 1) for each in operation.inputs)
    return operation.type, tensor.value_index, origins


def _untracked_counters(checkpoint: Any, graph: naming.ObjectGraph) -> list[tuple[str, ...]]:
    """Returns where eager optimizers look for their steps that are counted in the global step."""
    if isinstance(checkpoint, tf.compat.v1.train.Saver):
        return []  # it does not tell its objects
    step = tf.compat.v1.train.get_global_step()
    objects = tf.train.TrackableView(checkpoint).descendants()  # in the order of the graph's nodes
    return [
        (*path, "iter")
        for trackable, path in zip(objects, graph.paths)
        if internals.counts_in(trackable, step)
        and all(child is not step for child in tf.train.TrackableView.children(trackable).values())
    ]
