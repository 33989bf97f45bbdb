"""The object graph: the tree of objects that TF2 stores in each checkpoint.

    graph = ObjectGraph.parse(data)          # once; all else is asked of it
    graph.full_names                         # {key: name-based name}
    graph.matches(other)                     # {key: the other's key at the same place}
    ObjectGraph.of([Leaf(("var_list", "dnn/kernel"), "dnn/kernel", key), ...]).data

A graph is never changed: what changes one returns another. Which optimizers are in it, and whose
slots, is told by `estimator_ckpt.naming.optimizers`.

Source: TensorFlow's `core/protobuf/trackable_object_graph.proto`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from estimator_ckpt.bundle import protos
from estimator_ckpt.bundle.protos import Message
from estimator_ckpt.bundle.table import write_varint
from estimator_ckpt.errors import DamagedCheckpointError
from estimator_ckpt.naming.paths import VARIABLE_VALUE, variable_key

OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
# Fields of a TrackableObjectGraph and of a TrackableObject, as each stands before its size.
_NODES, _CHILDREN, _ATTRIBUTES = b"\x0a", b"\x0a", b"\x12"
_VALUE = b"\x0a\x0e" + VARIABLE_VALUE.encode()
# Without it, TensorFlow would not match an object that has no value here to a live one.
_HAS_VALUES = b"\x2a\x02\x08\x01"
_SIZES = [write_varint(size) for size in range(512)]  # nearly all that there are


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


Value = tuple[str, str]
"""The full name of a variable and its key, either may be "", as a `Leaf` has them."""
Tree = dict[Optional[str], Any]
"""{name of a child: the tree below it, or its `Value`}, and {None: the object's own `Value`}."""
_NO_VALUE = ("", "")


class ObjectGraph:
    """A `TrackableObjectGraph`, decoded, whose references are sound."""

    def __init__(self, proto: Message):
        """Takes a message that nobody changes any more; see `parse` and `of`."""
        self.proto = proto

    @classmethod
    def parse(cls, data: bytes) -> ObjectGraph:
        """Decodes a serialized graph, and makes sure that what it refers to is there.

        Args:
          data: the serialized `TrackableObjectGraph`.

        Returns:
          The graph.

        Raises:
          DamagedCheckpointError: it can't be decoded, has no root, or refers to objects it lacks.
        """
        try:
            proto = protos.TrackableObjectGraph.FromString(data)
        except protos.DecodeError as error:
            raise DamagedCheckpointError(f"the object graph can't be decoded: {error}") from error
        count = len(proto.nodes)
        if not count:
            raise DamagedCheckpointError("the object graph has no object, not even a root")
        for node in proto.nodes:
            ids = [child.node_id for child in node.children]
            for slot in node.slot_variables:
                ids += (slot.original_variable_node_id, slot.slot_variable_node_id)
            if ids and not (min(ids) >= 0 and max(ids) < count):
                raise DamagedCheckpointError(
                    f"the object graph has {count} objects, but refers to those from {min(ids)} "
                    f"to {max(ids)}"
                )
        return cls(proto)

    @classmethod
    def of(cls, leaves: Iterable[Leaf]) -> ObjectGraph:
        """Makes the graph of variables, numbered breadth first, as TensorFlow does.

        Args:
          leaves: the variables, each with a path of its own.
        """
        return cls.of_tree(_tree_of(leaves))

    @classmethod
    def of_tree(cls, tree: Tree) -> ObjectGraph:
        """As `of`, of variables that are in their tree already.

        Args:
          tree: {name of a child: the tree below it, or the `Value` that it has}.
        """
        graph = cls.__new__(cls)
        graph.data = _grow((), tree)
        return graph

    @functools.cached_property
    def proto(self) -> Message:
        """The `TrackableObjectGraph`, which nobody changes."""
        return protos.TrackableObjectGraph.FromString(self.data)

    @functools.cached_property
    def data(self) -> bytes:
        """The serialized `TrackableObjectGraph`."""
        return bytes(self.proto.SerializeToString(deterministic=True))

    @property
    def nodes(self) -> Sequence[Message]:
        """The objects; the first is the root."""
        nodes: Sequence[Message] = self.proto.nodes
        return nodes

    @functools.cached_property
    def paths(self) -> Sequence[tuple[str, ...]]:
        """The path from the root to each node, as its keys have it.

        () for the root, and for what no child leads to (an optimizer's slots).
        """
        paths: dict[int, tuple[str, ...]] = {0: ()}
        self._breadth_first(paths)
        return [paths.get(number, ()) for number in range(len(self.nodes))]

    def paths_around(self, avoided: Collection[int]) -> dict[int, tuple[str, ...]]:
        """Returns {node: the shortest path to it that leads through none of these nodes}.

        A node that no such path leads to is not there.

        Args:
          avoided: nodes.
        """
        paths: dict[int, tuple[str, ...]] = {0: ()}
        self._breadth_first(paths, avoided)
        return paths

    @functools.cached_property
    def full_names(self) -> dict[str, str]:
        """{key: the name-based name that its variable had}, without those that had none."""
        return {
            attribute.checkpoint_key: attribute.full_name
            for node in self.nodes
            for attribute in node.attributes
            if attribute.full_name
        }

    @functools.cached_property
    def node_of(self) -> dict[str, int]:
        """{key: the node whose value it has}."""
        return {
            attribute.checkpoint_key: number
            for number, node in enumerate(self.nodes)
            for attribute in node.attributes
        }

    def key_of(self, number: int) -> str | None:
        """Returns the key of the variable that a node is, or None if it is none."""
        for attribute in self.nodes[number].attributes:
            if attribute.name == VARIABLE_VALUE:
                return str(attribute.checkpoint_key)
        return None

    def children_of(self, number: int) -> dict[str, int]:
        """Returns {local name: node} of a node's children."""
        return {child.local_name: child.node_id for child in self.nodes[number].children}

    def pairs(self, other: ObjectGraph, start: Mapping[int, int] | None = None) -> dict[int, int]:
        """Finds the objects that two graphs have in common: those at equal paths.

        Args:
          other: the other graph.
          start: {node here: node there} from which paths lead; None for the roots.

        Returns:
          {node here: node there}, slots of matching optimizers and variables included.
        """
        pairs = {0: 0} if start is None else dict(start)
        order = list(pairs)
        for number in order:  # it grows while it is walked
            others = other.children_of(pairs[number])
            for child in self.nodes[number].children:
                if child.node_id not in pairs and child.local_name in others:
                    pairs[child.node_id] = others[child.local_name]
                    order.append(child.node_id)
        for number in order:
            slots = {
                (slot.original_variable_node_id, slot.slot_name): slot.slot_variable_node_id
                for slot in other.nodes[pairs[number]].slot_variables
            }
            for slot in self.nodes[number].slot_variables:
                found = slots.get((pairs.get(slot.original_variable_node_id, -1), slot.slot_name))
                if found is not None:
                    pairs[slot.slot_variable_node_id] = found
        return pairs

    def matches(self, other: ObjectGraph, pairs: Mapping[int, int] | None = None) -> dict[str, str]:
        """Finds the values that two graphs have in common: those at equal paths from the roots.

        Args:
          other: the other graph.
          pairs: what `pairs(other)` returned, if that is known already.

        Returns:
          {key here: key there}, slots of matching optimizers and variables included.
        """
        keys: dict[str, str] = {}
        for number, theirs in (self.pairs(other) if pairs is None else pairs).items():
            saved = {each.name: each.checkpoint_key for each in other.nodes[theirs].attributes}
            for attribute in self.nodes[number].attributes:
                if attribute.name in saved:
                    keys[attribute.checkpoint_key] = saved[attribute.name]
        return keys

    def leading_to(self, nodes: Iterable[int]) -> set[int]:
        """Returns nodes, and all from which a path of children or of slots leads to one of them."""
        parents: dict[int, list[int]] = {}
        for number, _ in enumerate(self.nodes):
            for below in self.next_to(number):
                parents.setdefault(below, []).append(number)
        return _reached(nodes, lambda number: parents.get(number, ()))

    def below_all(self, nodes: Iterable[int]) -> set[int]:
        """Returns nodes, and all to which a path of children or of slots leads from one of them."""
        return _reached(nodes, self.next_to)

    def next_to(self, number: int) -> list[int]:
        """Returns the children of a node, and the slots that it has as an optimizer."""
        node = self.nodes[number]
        return [child.node_id for child in node.children] + [
            slot.slot_variable_node_id for slot in node.slot_variables
        ]

    def with_leaves(self, leaves: Iterable[Leaf]) -> ObjectGraph:
        """Returns the graph with more variables, below objects that may exist already."""
        proto = self._copy()
        proto.MergeFromString(_grow(proto.nodes, _tree_of(leaves)))
        return ObjectGraph(proto)

    def with_names(self, names: Mapping[str, str]) -> ObjectGraph:
        """Returns the graph with other full names, {key: name}."""
        proto = self._copy()
        for node in proto.nodes:
            for attribute in node.attributes:
                attribute.full_name = names.get(attribute.checkpoint_key, attribute.full_name)
        return ObjectGraph(proto)

    def without(self, dropped: Collection[str]) -> ObjectGraph:
        """Takes saved values out.

        Args:
          dropped: keys that the checkpoint no longer has.

        Returns:
          The graph without them, and without the slots that lose their value.
        """
        proto = self._copy()
        emptied = set()
        for number, node in enumerate(proto.nodes):
            kept = [each for each in node.attributes if each.checkpoint_key not in dropped]
            if len(kept) < len(node.attributes):
                del node.attributes[:]
                node.attributes.extend(kept)
                emptied.add(number)
        for node in proto.nodes:
            slots = [
                each for each in node.slot_variables if each.slot_variable_node_id not in emptied
            ]
            if len(slots) < len(node.slot_variables):
                del node.slot_variables[:]
                node.slot_variables.extend(slots)
        return ObjectGraph(proto)

    def below(self, child: str) -> ObjectGraph:
        """Returns the graph as seen from a child of its root; as it is where there is none."""
        proto = self._copy()
        for each in proto.nodes[0].children:
            if each.local_name == child:
                proto.nodes[0].CopyFrom(proto.nodes[each.node_id])
                break
        return ObjectGraph(proto)

    def split_shared(self, full_name: str) -> tuple[ObjectGraph, list[str]]:
        """Gives a variable that several objects share a node and a key for each of them.

        TensorFlow stores a shared variable once, under the first path to it. Loaded into objects
        that don't share it, only the first would get its value.

        Args:
          full_name: the variable's name.

        Returns:
          The graph, and the keys that were added.
        """
        split = ObjectGraph(self._copy())
        graph = split.proto
        paths: dict[int, tuple[str, ...]] = {0: ()}
        added = []
        for number in split._breadth_first(paths):
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
        return split, added

    def _copy(self) -> Message:
        proto = protos.TrackableObjectGraph()
        proto.CopyFrom(self.proto)
        return proto

    def _breadth_first(
        self, paths: dict[int, tuple[str, ...]], avoided: Collection[int] = ()
    ) -> list[int]:
        """Lists the nodes, and fills in the first path to each, which is the one its keys have."""
        order = [0]
        for number in order:  # it grows while it is walked
            for child in self.nodes[number].children:
                if child.node_id not in paths and child.node_id not in avoided:
                    paths[child.node_id] = (*paths[number], child.local_name)
                    order.append(child.node_id)
        return order


def _reached(nodes: Iterable[int], next_to: Callable[[int], Iterable[int]]) -> set[int]:
    found = set(nodes)
    pending = list(found)
    while pending:
        for number in next_to(pending.pop()):
            if number not in found:
                found.add(number)
                pending.append(number)
    return found


def _grow(nodes: Sequence[Message], tree: Tree) -> bytes:
    """Adds the objects of a tree to those that there are, breadth first.

    Args:
      nodes: of a graph, to which children and values are added.
      tree: the objects.

    Returns:
      The new nodes as a `TrackableObjectGraph` has them. There may be 100,000, and to make each as
      a message takes several times as long.
    """
    known = len(nodes)
    count = max(known, 1)  # with the root
    new = []
    queue: list[tuple[int, Tree | Value]] = [(0, tree)]
    for number, branch in queue:  # it grows while it is walked
        if isinstance(branch, tuple):
            data = _attribute(*branch)
        else:
            value = branch.pop(None, _NO_VALUE)
            held = nodes[number].children if number < known else ()
            numbers = {child.local_name: child.node_id for child in held}
            names = [name for name in branch if name is not None and name not in numbers]
            numbers.update(zip(names, range(count, count + len(names))))
            queue.extend(zip(map(numbers.__getitem__, branch), branch.values()))
            data = _children(count, names) + _attribute(*value)
            count += len(names)
        data += _HAS_VALUES
        if number < known:
            nodes[number].MergeFromString(data)
        else:
            size = len(data)
            new.append(_NODES + (_SIZES[size] if size < 512 else write_varint(size)) + data)
    return b"".join(new)


def _children(first: int, names: Iterable[str]) -> bytes:
    """Returns the field of children that are numbered from `first` on."""
    fields = []
    for number, name in enumerate(names, first):
        called = _field(b"\x12", name.encode()) if name else b""
        data = b"\x08" + (_SIZES[number] if number < 512 else write_varint(number)) + called
        size = len(data)
        fields.append(_CHILDREN + (_SIZES[size] if size < 512 else write_varint(size)) + data)
    return b"".join(fields)


def _attribute(full_name: str, key: str) -> bytes:
    if not key:
        return b""
    called = _field(b"\x12", full_name.encode()) if full_name else b""
    return _field(_ATTRIBUTES, _VALUE + called + _field(b"\x1a", key.encode()))


def _field(tag: bytes, data: bytes) -> bytes:
    size = len(data)
    return tag + (_SIZES[size] if size < 512 else write_varint(size)) + data


def _tree_of(leaves: Iterable[Leaf]) -> Tree:
    tree: Tree = {}
    for path, full_name, key in leaves:
        branch = tree
        for name in path:
            branch = branch.setdefault(name, {})
        branch.clear()
        branch[None] = (full_name, key)
    return tree
