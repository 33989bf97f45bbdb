"""The layout of a `tf.train.Checkpoint` that is the user's own.

    own = OwnLayout(checkpoint)
    keys, graph = own.keys_and_graph(names, "dual")

The keys are TensorFlow's for that Checkpoint. What it does not reach is saved all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from estimator_ckpt import naming
from estimator_ckpt.estimator import tensorflow_internals as internals

_log = logging.getLogger(__name__)
_SHOWN = 10


class OwnLayout:
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
