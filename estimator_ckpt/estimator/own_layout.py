"""The layout of a `tf.train.Checkpoint` that is the user's own.

    own = OwnLayout(checkpoint)
    keys, graph = own.keys_and_graph(names, "dual")

The keys are TensorFlow's for that Checkpoint. What it does not reach is saved all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from estimator_ckpt import naming
from estimator_ckpt.live import tensorflow_internals as internals
from estimator_ckpt.messages import logger
from estimator_ckpt.naming.paths import variable_key

_log = logger(__name__)
_SHOWN = 10

ObjectKeys = dict[str, tuple[str, ...]]
"""{name: the keys that its tensor has}; more than one where several objects share it."""


class OwnLayout:
    """The layout of a user's `tf.train.Checkpoint`, or of a Saver that saves by object."""

    def __init__(self, checkpoint: Any):
        self._saveables, stored = internals.frozen_saveables(checkpoint)
        graph = naming.ObjectGraph.parse(stored)
        self._names = graph.full_names
        self._graph, self._step_keys = graph.split_shared(naming.GLOBAL_STEP)
        counters = [
            naming.Leaf(path, naming.GLOBAL_STEP, variable_key(*path))
            for path in _untracked_counters(checkpoint, graph)
        ]
        self._step_keys += [leaf.key for leaf in counters]
        # As in the default layout: without the node of save_counter, assert_consumed() would fail.
        leaves = [*counters, naming.Leaf((naming.SAVE_COUNTER,))]
        self._graph = self._graph.with_leaves(leaves)

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

    def keys_and_graph(self, names: Sequence[str], to: str) -> tuple[ObjectKeys, bytes]:
        """Returns {name: keys} for the names that the Checkpoint reaches, and the object graph."""
        reached: ObjectKeys = {name: (name,) for name in names if naming.is_object_key(name)}
        reached.update({name: (key,) for key, name in self._names.items()})
        if self._step_keys:
            reached[naming.GLOBAL_STEP] = (*reached.get(naming.GLOBAL_STEP, ()), *self._step_keys)
        keys: ObjectKeys = {name: reached[name] for name in names if name in reached}
        lost = [name for name in names if name not in keys]
        if not lost:
            return keys, self._graph.data
        _log.warning(
            "The tf.train.Checkpoint of this job reaches %d of its %d variables; "
            "these are saved %s: %s",
            len(keys),
            len(names),
            "by name only" if to == "dual" else "in 'var_list'",
            ", ".join(lost[:_SHOWN]),
        )
        if to == "dual":
            return keys, self._graph.data
        layout = naming.Layout(step=None)
        keys.update({name: (layout.key(name),) for name in lost})
        leaves = [naming.Leaf(layout.path(name), name, layout.key(name)) for name in lost]
        return keys, self._graph.with_leaves(leaves).data


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


def _saved_name(saveable: Any) -> str:
    if isinstance(saveable, internals.BulkSaverBuilder.SaveableObject):
        return str(saveable.name)
    return internals.logical_name(saveable)
