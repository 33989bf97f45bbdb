"""Which live objects TensorFlow may restore by itself, whole, and what waits for it then.

    whole = whole_objects(live, stored, pairs, apart={number_of_the_optimizer})
    tf.train.Checkpoint(whole.root).restore(prefix)

TensorFlow restores all that is below an object: variables, tables, states; and has values wait for
what is built later. An object that has, or leads to, one that must be kept apart is not restored
itself; what is below it and leads to none still is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from estimator_ckpt import naming
from estimator_ckpt.live import tensorflow_internals as internals
from estimator_ckpt.live.objects import LiveObjects, variable_in
from estimator_ckpt.naming.object_graph import ObjectGraph
from estimator_ckpt.naming.optimizers import is_optimizer, optimizer_state
from estimator_ckpt.naming.paths import VARIABLE_VALUE
from estimator_ckpt.naming.roles import Role


class WholeObjects(NamedTuple):
    """What TensorFlow restores.

    Attributes:
      root: the object to restore; None for nothing.
      pairs: {node here: node in the checkpoint}, of all objects that it restores.
      waiting: keys in the checkpoint of what may be built later below these objects.
      are_variables: whether assigning values to variables comes to the same: nothing waits, and
        nothing else is to be restored.
    """

    root: Any
    pairs: Mapping[int, int]
    waiting: Collection[str]
    are_variables: bool = False


NOTHING = WholeObjects(None, {}, ())


def whole_objects(
    live: LiveObjects, stored: ObjectGraph, pairs: Mapping[int, int], apart: Collection[int]
) -> WholeObjects:
    """Finds the largest objects that lead to none that is to be kept apart.

    Args:
      live: the live objects.
      stored: the checkpoint's object graph.
      pairs: {node here: node there}, at equal paths.
      apart: nodes of the live graph that TensorFlow must not restore.
    """
    parted = live.graph.leading_to(apart) if apart else set()
    root: Any = live.objects[0]
    covered = pairs
    if 0 in parted:
        # Below an optimizer nothing is whole: where its slots are, TensorFlow wants to make them.
        tree, start = _around(live, stored, pairs, parted)
        holder = tf.Module()
        holder.tree = tree  # which makes a trackable of it
        root = holder.tree if start else None
        covered = live.graph.pairs(stored, start)
    there = set(covered.values())
    later = stored.below_all(there) - there
    waiting = {
        attribute.checkpoint_key
        for number in later
        for attribute in stored.nodes[number].attributes
    }
    plain = (
        root is live.objects[0]
        and later <= {stored.children_of(0).get(naming.SAVE_COUNTER)}  # made by its first use
        and _are_variables(live, stored, covered)
    )
    return WholeObjects(root, covered, waiting, plain)


def _are_variables(live: LiveObjects, stored: ObjectGraph, pairs: Mapping[int, int]) -> bool:
    """Returns whether what is paired are variables, and objects that have no values themselves."""
    if not tf.executing_eagerly() or internals.is_checkpoint_of_its_own(live.objects[0]):
        return False
    for here, there in pairs.items():
        values = {each.name for each in live.graph.nodes[here].attributes}
        values |= {each.name for each in stored.nodes[there].attributes}
        if live.graph.nodes[here].HasField("registered_saver"):
            return False
        if values and (
            values != {VARIABLE_VALUE}
            or not internals.is_plain_variable(variable_in(live.objects.get(here)))
        ):
            return False
    return True


def _around(
    live: LiveObjects, stored: ObjectGraph, pairs: Mapping[int, int], parted: Collection[int]
) -> tuple[dict[str, Any], dict[int, int]]:
    """Returns a tree of dictionaries that hold the whole objects, and these, paired."""
    trees: dict[int, dict[str, Any]] = {0: {}}
    order = [0]
    within: list[tuple[int, str, int]] = []  # (parent, name, child), from the root down
    start: dict[int, int] = {}
    for number in order:  # it grows while it is walked
        others = stored.children_of(pairs[number])
        for name, child in live.graph.children_of(number).items():
            there = others.get(name)
            if there is None or pairs.get(child) != there or name == naming.SAVE_COUNTER:
                continue
            if child not in parted:
                trees[number][name] = live.objects[child]
                start[child] = there
            elif child not in trees and not is_optimizer(stored, there):
                trees[child] = {}
                order.append(child)
                within.append((number, name, child))
    for parent, name, child in reversed(within):
        if trees[child]:
            trees[parent][name] = trees[child]
    return trees[0], start


def foreign_optimizers(
    live: LiveObjects,
    stored: ObjectGraph,
    pairs: Mapping[int, int],
    roles: Mapping[str, Role],
) -> set[int]:
    """Finds the optimizers that stand where the checkpoint has one of another kind.

    What waits for their slots would be another optimizer's: their places and names are alike, but
    `_variables/2` is the mean of squares in Adam of Keras 2, and the mean of gradients in Keras 3.

    Args:
      live: the live objects.
      stored: the checkpoint's object graph.
      pairs: {node here: node there}, at equal paths.
      roles: {key: role}, of the checkpoint.

    Returns:
      Their nodes in the live graph.
    """
    if not live.kinds:
        return set()
    kinds = {
        value.optimizer: roles[key].optimizer
        for key, value in optimizer_state(stored).items()
        if key in roles and roles[key].optimizer
    }
    return {
        number
        for number, kind in live.kinds.items()
        if number in pairs
        and (
            kinds.get("/".join(stored.paths[pairs[number]]), kind) != kind
            or _has_slots_otherwise(live.objects[number], stored, pairs[number])
            or _counts_otherwise(live.graph, number, stored, pairs)
        )
    }


def _has_slots_otherwise(optimizer: Any, stored: ObjectGraph, number: int) -> bool:
    """Returns whether one has slots of variables, and the other a list of its own."""
    if hasattr(optimizer, "get_slot"):
        return "_variables" in stored.children_of(number)
    return bool(stored.nodes[number].slot_variables)


def _counts_otherwise(
    graph: ObjectGraph, number: int, stored: ObjectGraph, pairs: Mapping[int, int]
) -> bool:
    """Returns whether something stands at another place in the list of all that it has."""
    here, there = graph.children_of(number), stored.children_of(pairs[number])
    if "_variables" not in here or "_variables" not in there:
        return False
    items = graph.children_of(here["_variables"])
    others = stored.children_of(there["_variables"])
    back = {other: number for number, other in pairs.items()}
    return any(at in others and pairs.get(item) != others[at] for at, item in items.items()) or any(
        back.get(other) != items.get(at)
        for at, other in others.items()
        if back.get(other) in here.values()
    )
