"""What an object graph tells of the optimizers in it: their slots, counters and hyperparameters.

    state = optimizer_state(graph)
    state["optimizer/_variables/1/.ATTRIBUTES/VARIABLE_VALUE"].role        # "slot"

Legacy Keras optimizers, and those of tf.compat.v1.train, tell their slots and the variables these
belong to. Those of Keras since 2.11 and of Keras 3 list what they have: its place in a list such as
`_momentums` is that of its variable in `_trainable_variables`, where there is such a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from estimator_ckpt.naming.object_graph import ObjectGraph
from estimator_ckpt.naming.slots import power

_COUNTERS = frozenset(("iter", "_iterations", "iterations"))
_LISTS_OF_ALL = frozenset(("_variables", "_trainable_variables"))


class OptimizerValue(NamedTuple):
    """A value that belongs to an optimizer.

    Attributes:
      role: "slot", "counter" or "hyperparameter".
      optimizer: path of the optimizer from the root, as its keys have it.
      slot: what the graph calls the value; "" where it does not say.
      owner: key of the slot's variable; None where the graph does not say.
    """

    role: str
    optimizer: str
    slot: str = ""
    owner: str | None = None


def optimizer_state(graph: ObjectGraph) -> dict[str, OptimizerValue]:
    """Finds what belongs to optimizers.

    Args:
      graph: of a checkpoint, or of live objects.

    Returns:
      {key: what it is}.
    """
    state: dict[str, OptimizerValue] = {}
    for number in range(len(graph.nodes)):
        if is_optimizer(graph, number):
            for node, value in _values(graph, number):
                key = graph.key_of(node)
                if key is not None:
                    state.setdefault(key, value)
    return state


def is_optimizer(graph: ObjectGraph, number: int) -> bool:
    """Returns whether a node is an optimizer, which nothing in a graph says outright."""
    node = graph.nodes[number]
    if node.slot_variables:
        return True
    names = {child.local_name for child in node.children}
    counts = not names.isdisjoint(_COUNTERS)
    return counts and not names.isdisjoint(("learning_rate", "_learning_rate", "_variables"))


def _values(graph: ObjectGraph, number: int) -> Iterator[tuple[int, OptimizerValue]]:
    path = "/".join(graph.paths[number])
    node = graph.nodes[number]
    for slot in node.slot_variables:
        owner = graph.key_of(slot.original_variable_node_id)
        yield (
            slot.slot_variable_node_id,
            OptimizerValue("slot", path, slot.slot_name, owner),
        )
    children = graph.children_of(number)
    lists = {name: graph.children_of(child) for name, child in children.items()}
    trained = lists.get("_trainable_variables", {})
    weights = set(trained.values())
    for name, child in children.items():
        if graph.key_of(child) is not None and child not in weights:
            is_counter = name in _COUNTERS or power(name)
            yield child, OptimizerValue("counter" if is_counter else "hyperparameter", path, name)
    for name, items in lists.items():
        if name not in _LISTS_OF_ALL:
            for at, item in items.items():
                if at.isdecimal() and item not in weights:
                    owner = graph.key_of(trained[at]) if at in trained else None
                    yield item, OptimizerValue("slot", path, _singular(name), owner)
    for item in lists.get("_variables", {}).values():
        if item not in weights:
            yield item, OptimizerValue("slot", path)


def _singular(name: str) -> str:
    """Returns what the slots in a list are called: `_momentums`, `_velocities`."""
    stem = name.lstrip("_")
    if stem.endswith("ies"):
        return f"{stem[:-3]}y"
    return stem[:-1] if stem.endswith("s") and not stem.endswith("ss") else stem
