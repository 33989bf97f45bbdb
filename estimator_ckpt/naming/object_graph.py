"""The object graph: the tree of objects that TF2 stores in each checkpoint.

    graph = build_object_graph([Leaf(("var_list", "dnn/kernel"), "dnn/kernel", key), ...])
    full_names(graph)                 # {key: name-based name}

Source: TensorFlow's `core/protobuf/trackable_object_graph.proto`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from estimator_ckpt.bundle.protos import TrackableObjectGraph
from estimator_ckpt.errors import DamagedCheckpointError
from estimator_ckpt.naming.paths import VARIABLE_VALUE, variable_key

OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"


class Leaf(NamedTuple):
    """A variable in the tree.

    Attributes:
      path: names of the objects from the root to the variable.
      full_name: its name in a name-based checkpoint; "" if it has none.
      key: its key in the checkpoint; "" for an object without a saved value.
    """

    path: tuple[str, ...]
    full_name: str = ""
    key: str = ""


def build_object_graph(leaves: Iterable[Leaf]) -> bytes:
    """Builds the object graph of a tree of variables.

    Nodes are numbered breadth first, as TensorFlow numbers them.

    Args:
      leaves: the variables, each with a path of its own.

    Returns:
      The serialized `TrackableObjectGraph`.
    """
    graph = TrackableObjectGraph()
    graph.nodes.add()
    _grow(graph, leaves)
    return bytes(graph.SerializeToString(deterministic=True))


def add_leaves(data: bytes, leaves: Iterable[Leaf]) -> bytes:
    """Adds variables to an object graph, below objects of the root that may exist already.

    Args:
      data: the serialized `TrackableObjectGraph`.
      leaves: the variables.

    Returns:
      The serialized graph with them.
    """
    graph = parse_object_graph(data)
    _grow(graph, leaves)
    return bytes(graph.SerializeToString(deterministic=True))


def _grow(graph: Any, leaves: Iterable[Leaf]) -> None:
    """Adds leaves and the objects on their paths to a graph, breadth first."""
    tree: dict[str, Any] = {}
    for leaf in leaves:
        branch = tree
        for name in leaf.path[:-1]:
            branch = branch.setdefault(name, {})
        branch[leaf.path[-1]] = leaf
    queue: list[tuple[int, Any]] = [(0, tree)]
    for number, item in queue:  # it grows while it is walked
        node = graph.nodes[number]
        # Without this, TensorFlow would not match an object that has no value here to a live one.
        node.has_checkpoint_values.value = True
        if isinstance(item, Leaf):
            if item.key:
                node.attributes.add(
                    name=VARIABLE_VALUE, full_name=item.full_name, checkpoint_key=item.key
                )
            continue
        existing = {child.local_name: child.node_id for child in node.children}
        for name, below in item.items():
            if name not in existing:
                existing[name] = len(graph.nodes)
                node.children.add(node_id=existing[name], local_name=name)
                graph.nodes.add()
            queue.append((existing[name], below))


def split_shared(data: bytes, full_name: str) -> tuple[bytes, list[str]]:
    """Gives a variable that several objects share a node and a key for each of them.

    TensorFlow stores a shared variable once, under the first path to it. Loaded into objects that
    don't share it, only the first would get its value.

    Args:
      data: the serialized `TrackableObjectGraph`.
      full_name: the variable's name.

    Returns:
      The serialized graph, and the keys that were added.
    """
    graph = parse_object_graph(data)
    paths: dict[int, tuple[str, ...]] = {0: ()}
    added = []
    for number in _breadth_first(graph, paths):
        for child in graph.nodes[number].children:
            path = (*paths[number], child.local_name)
            shared = graph.nodes[child.node_id]
            if paths[child.node_id] == path or not any(
                attribute.full_name == full_name for attribute in shared.attributes
            ):
                continue
            child.node_id = len(graph.nodes)
            graph.nodes.add().CopyFrom(shared)
            added.append(variable_key(*path))
            graph.nodes[child.node_id].attributes[0].checkpoint_key = added[-1]
            paths[child.node_id] = path
    return bytes(graph.SerializeToString(deterministic=True)), added


def match_graphs(first: bytes, second: bytes) -> dict[str, str]:
    """Finds the values that two object graphs have in common: those at equal paths from the roots.

    Args:
      first: a serialized `TrackableObjectGraph`.
      second: another.

    Returns:
      {key in the first: key in the second}, slots of matching optimizers and variables included.
    """
    ours, theirs = parse_object_graph(first), parse_object_graph(second)
    pairs = {0: 0}
    order = [0]
    for number in order:  # it grows while it is walked
        others = {each.local_name: each.node_id for each in theirs.nodes[pairs[number]].children}
        for child in ours.nodes[number].children:
            if child.node_id not in pairs and child.local_name in others:
                pairs[child.node_id] = others[child.local_name]
                order.append(child.node_id)
    for number in order:
        slots = {
            (slot.original_variable_node_id, slot.slot_name): slot.slot_variable_node_id
            for slot in theirs.nodes[pairs[number]].slot_variables
        }
        for slot in ours.nodes[number].slot_variables:
            found = slots.get((pairs.get(slot.original_variable_node_id, -1), slot.slot_name))
            if found is not None:
                pairs[slot.slot_variable_node_id] = found
    keys: dict[str, str] = {}
    for number, other in pairs.items():
        saved = {each.name: each.checkpoint_key for each in theirs.nodes[other].attributes}
        for attribute in ours.nodes[number].attributes:
            if attribute.name in saved:
                keys[attribute.checkpoint_key] = saved[attribute.name]
    return keys


def subgraph(data: bytes, child: str) -> bytes:
    """Returns an object graph as seen from a child of its root.

    Args:
      data: the serialized `TrackableObjectGraph`.
      child: the name of one of the root's children.

    Returns:
      The serialized graph with that child as the root; keys stay as they are.
    """
    graph = parse_object_graph(data)
    for each in graph.nodes[0].children:
        if each.local_name == child:
            graph.nodes[0].CopyFrom(graph.nodes[each.node_id])
            break
    return bytes(graph.SerializeToString(deterministic=True))


def prune(data: bytes, dropped: Collection[str]) -> bytes:
    """Takes saved values out of an object graph.

    Args:
      data: the serialized `TrackableObjectGraph`.
      dropped: keys that the checkpoint no longer has.

    Returns:
      The serialized graph without them, and without the slots that lose their value.
    """
    graph = parse_object_graph(data)
    emptied = set()
    for number, node in enumerate(graph.nodes):
        kept = [each for each in node.attributes if each.checkpoint_key not in dropped]
        if len(kept) < len(node.attributes):
            del node.attributes[:]
            node.attributes.extend(kept)
            emptied.add(number)
    for node in graph.nodes:
        slots = [each for each in node.slot_variables if each.slot_variable_node_id not in emptied]
        if len(slots) < len(node.slot_variables):
            del node.slot_variables[:]
            node.slot_variables.extend(slots)
    return bytes(graph.SerializeToString(deterministic=True))


def node_paths(data: bytes) -> list[tuple[str, ...]]:
    """Returns the path from the root to each node of an object graph, as its keys have it.

    Args:
      data: the serialized `TrackableObjectGraph`.

    Returns:
      Names of the objects on the way, by node; () for the root, and for what no child leads to (an
      optimizer's slots).
    """
    graph = parse_object_graph(data)
    paths: dict[int, tuple[str, ...]] = {0: ()}
    _breadth_first(graph, paths)
    return [paths.get(number, ()) for number in range(len(graph.nodes))]


def _breadth_first(graph: Any, paths: dict[int, tuple[str, ...]]) -> list[int]:
    """Lists the nodes, and fills in the first path to each, which is the one its keys have."""
    order = [0]
    for number in order:  # it grows while it is walked
        for child in graph.nodes[number].children:
            if child.node_id not in paths:
                paths[child.node_id] = (*paths[number], child.local_name)
                order.append(child.node_id)
    return order


def parse_object_graph(data: bytes) -> Any:
    """Decodes a serialized object graph, and makes sure that what it refers to is there.

    Raises:
      DamagedCheckpointError: it can't be decoded, has no root, or refers to objects it lacks.
    """
    graph = _decode(data)
    count = len(graph.nodes)
    if not count:
        raise DamagedCheckpointError("the object graph has no object, not even a root")
    for node in graph.nodes:
        ids = [child.node_id for child in node.children]
        for slot in node.slot_variables:
            ids += (slot.original_variable_node_id, slot.slot_variable_node_id)
        if ids and not (min(ids) >= 0 and max(ids) < count):
            raise DamagedCheckpointError(
                f"the object graph has {count} objects, but refers to those from {min(ids)} "
                f"to {max(ids)}"
            )
    return graph


def _decode(data: bytes) -> Any:
    try:
        return TrackableObjectGraph.FromString(data)
    except DecodeError as error:
        raise DamagedCheckpointError(f"the object graph can't be decoded: {error}") from error


def full_names(data: bytes) -> dict[str, str]:
    """Reads from an object graph which name-based name each key had.

    Args:
      data: the serialized `TrackableObjectGraph`.

    Returns:
      {checkpoint key: name}, without the keys whose object had no name.

    Raises:
      DamagedCheckpointError: it can't be decoded.
    """
    return {
        attribute.checkpoint_key: attribute.full_name
        for node in _decode(data).nodes
        for attribute in node.attributes
        if attribute.full_name
    }
