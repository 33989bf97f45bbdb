"""What a live object would save: its keys, its variables, its object graph.

    live = LiveObjects(tf.train.Checkpoint(model=model))
    live.values["model/kernel/.ATTRIBUTES/VARIABLE_VALUE"].name        # "dense/kernel"

Nothing is saved or read; the keys are those that TensorFlow gives these objects.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from estimator_ckpt import naming
from estimator_ckpt.bundle import TensorEntry
from estimator_ckpt.errors import VariableMismatchError
from estimator_ckpt.live import tensorflow_internals as internals
from estimator_ckpt.naming.object_graph import parse_object_graph

_log = logging.getLogger(__name__)
_SHOWN = 10


@dataclass(frozen=True)
class LiveValue:
    """Something that an object would save.

    Attributes:
      key: under which.
      name: its name-based name; "" if it has none.
      variable: the variable, or None for what is none (a table, an iterator, Python state).
      belongs_to_optimizer: whether it is a slot, or an optimizer's own variable.
    """

    key: str
    name: str
    variable: Any
    belongs_to_optimizer: bool


@dataclass(frozen=True)
class FoundSources:
    """Where the values of live objects are in a checkpoint.

    Attributes:
      sources: {key of a live value: key in the checkpoint}.
      graph: the objects' serialized graph, without the optimizers' values that were not found.
      counters: keys of `save_counter`, which no checkpoint by name has.
    """

    sources: Mapping[str, str]
    graph: bytes
    counters: tuple[str, ...]


class LiveObjects:
    """The objects below a root, as TensorFlow would save them."""

    def __init__(self, root: Any):
        """Looks at a `tf.train.Checkpoint`, `tf.Module`, Keras model or any other trackable."""
        self.graph: bytes = internals.frozen_saveables(root)[1]
        """The serialized `TrackableObjectGraph`."""
        self.values: dict[str, LiveValue] = {}
        """{key: what would be saved under it}."""
        proto = parse_object_graph(self.graph)
        objects = dict(enumerate(tf.train.TrackableView(root).descendants()))
        optimizers = _below_optimizers(proto, objects)
        for number, node in enumerate(proto.nodes):  # slots come last, after their variables
            for slot in node.slot_variables:
                variable = objects[slot.original_variable_node_id]
                made = objects[number].get_slot(variable, slot.slot_name)
                objects[slot.slot_variable_node_id] = made
                optimizers.add(slot.slot_variable_node_id)
        for number, node in enumerate(proto.nodes):
            for attribute in node.attributes:
                held = objects.get(number)
                self.values[attribute.checkpoint_key] = LiveValue(
                    attribute.checkpoint_key,
                    attribute.full_name,
                    held if isinstance(held, tf.Variable) else None,
                    number in optimizers,
                )

    def matches(self, saved_graph: bytes) -> dict[str, str]:
        """Finds what a checkpoint has for these objects, along equal paths from the roots.

        Args:
          saved_graph: the checkpoint's serialized object graph.

        Returns:
          {key of a live value: key in the checkpoint}.
        """
        return naming.match_graphs(self.graph, saved_graph)

    def find_sources(
        self, names: Mapping[str, str], entries: Mapping[str, TensorEntry], keys: Mapping[str, str]
    ) -> FoundSources:
        """Finds the values of these objects in a checkpoint by name.

        Args:
          names: {name: name in the checkpoint}.
          entries: {key in the checkpoint: entry}.
          keys: {name in the checkpoint: key}.

        Returns:
          Where they are. Optimizers' values that are not there are left out, with a warning.

        Raises:
          VariableMismatchError: a variable is not there, or has another shape or dtype.
        """
        sources: dict[str, str] = {}
        counters: list[str] = []
        absent: list[LiveValue] = []
        lost: list[LiveValue] = []
        for key, value in self.values.items():
            name = next(filter(names.__contains__, _candidates(value)), None)
            if name is not None:
                sources[key] = keys[names[name]]
            elif key == naming.SAVE_COUNTER_KEY:
                counters.append(key)
            else:
                (lost if value.belongs_to_optimizer else absent).append(value)
        if absent:
            raise VariableMismatchError(_absent_message(absent, names))
        _require_equal_types(self.values, sources, entries)
        if lost:
            _log.warning(
                "The checkpoint has nothing for %d values of optimizers, which keep their own: %s",
                len(lost),
                ", ".join(value.name or value.key for value in lost[:_SHOWN]),
            )
        graph = naming.prune(self.graph, {value.key for value in lost})
        if not counters and naming.SAVE_COUNTER_KEY not in sources:
            # Without its node, assert_consumed() would miss it.
            graph = naming.add_leaves(graph, [naming.Leaf((naming.SAVE_COUNTER,))])
        return FoundSources(sources, graph, tuple(counters))


def _candidates(value: LiveValue) -> list[str]:
    """Returns the names that a value may have in a checkpoint by name, the likeliest first."""
    names = [value.name] if value.name else []
    if value.belongs_to_optimizer:
        names += naming.corresponding_slots(value.name)
    return names


def _absent_message(absent: list[LiveValue], names: Mapping[str, str]) -> str:
    shown = []
    for value in absent[:_SHOWN]:
        near = difflib.get_close_matches(value.name, names, 1)
        shown.append(f"'{value.name}' ({value.key})" + (f", near: '{near[0]}'" if near else ""))
    return (
        f"the checkpoint lacks {len(absent)} variables of the objects that it should be like: "
        f"{'; '.join(shown)}; give rename={{old: new}}"
    )


def _require_equal_types(
    values: Mapping[str, LiveValue],
    sources: Mapping[str, str],
    entries: Mapping[str, TensorEntry],
) -> None:
    for key, source in sources.items():
        variable, entry = values[key].variable, entries[source]
        if variable is None:
            continue
        dtype = variable.dtype.base_dtype
        if dtype.as_datatype_enum != entry.dtype or not variable.shape.is_compatible_with(
            entry.shape
        ):
            raise VariableMismatchError(
                f"'{values[key].name}' ({key}) is {dtype.name}{variable.shape}, but "
                f"{entry.dtype_name}{tf.TensorShape(entry.shape)} in the checkpoint, as '{source}'"
            )


def _below_optimizers(proto: Any, objects: dict[int, Any]) -> set[int]:
    """Returns the nodes that only an optimizer leads to."""
    roots = {number for number, each in objects.items() if internals.is_optimizer(each)}
    free, below = {0} - roots, set(roots)
    for start, found in ((free, free), (roots, below)):
        pending = list(start)
        while pending:
            for child in proto.nodes[pending.pop()].children:
                if child.node_id not in found and child.node_id not in roots:
                    found.add(child.node_id)
                    pending.append(child.node_id)
    return below - free
