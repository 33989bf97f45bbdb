"""Made-up checkpoints of every format, of which it is known what each tensor is.

    made = data.draw(made_checkpoints.checkpoints())
    made.write(prefix)
    made.tensors["dnn/kernel/Adam"].kind, made.tensors["dnn/kernel/Adam"].of    # slot, dnn/kernel

No TensorFlow and no reader of this project's takes part. All values differ, so that bytes tell
which tensor they are; all are whole numbers below 256, which bfloat16 holds exactly.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
from hypothesis import strategies as st

from estimator_ckpt.bundle import BundleIndex, Extent, TensorEntry, TensorPart, checksums
from estimator_ckpt.bundle.protos import TrackableObjectGraph
from estimator_ckpt.bundle.strings import string_scalar
from estimator_ckpt.checkpoint import Shard, publish
from estimator_ckpt.naming.object_graph import OBJECT_GRAPH_KEY
from estimator_ckpt.naming.paths import VARIABLE_VALUE, variable_key

FLOAT32, INT32, INT64 = 1, 3, 9
STEP = 7000
STEPS = (("step",), ("global_step",), ("model", "global_step"))
FORMATS = ("tf1", "dual", "tf2", "empty graph", "legacy", "keras", "keras3")
BY_NAME = ("tf1", "dual", "tf2", "empty graph")
# Names that a network can have, with the shapes; some are like slots, some need escapes.
NETWORK = {
    "dnn/kernel": (3, 2),
    "dnn/bias": (2,),
    "logits": (4, 2),
    "logits/kernel": (2, 4),
    "logits/bias": (4,),
    "m": (2,),
    "v": (3, 2),
    "att/m/kernel": (2, 2),
    "old/dnn/kernel": (3, 2),
    "größe x.y/w..S=": (5,),
    "empty": (0, 4),
    "a.Sb/.c": (2, 1),
    "scale": (),
}
# How optimizers call the slots of `{}`, and the counters and hyperparameters beside them.
SLOTS = {
    "none": ((), {}),
    "tf1 adam": (("{}/Adam", "{}/Adam_1"), {"beta1_power": "counter", "beta2_power": "counter"}),
    "tf1 momentum": (("{}/Momentum",), {}),
    "tf1 rmsprop": (("{}/RMSProp", "{}/RMSProp_1"), {}),
    "tf1 adam, scoped": (("train/{}/Adam", "train/{}/Adam_1"), {"train/beta1_power": "counter"}),
    "legacy adam": (
        ("training/Adam/{}/m", "training/Adam/{}/v"),
        {"training/Adam/iter": "counter", "training/Adam/learning_rate": "hyperparameter"},
    ),
    "keras adam": (("Adam/m/{}", "Adam/v/{}"), {"Adam/iteration": "counter"}),
    "keras3 adam": (
        ("adam/{flat}_momentum", "adam/{flat}_velocity"),
        {"adam/iteration": "counter", "adam/learning_rate": "hyperparameter"},
    ),
}
_OBJECTS = {"legacy": "legacy adam", "keras": "keras adam", "keras3": "keras3 adam"}


@dataclasses.dataclass
class Tensor:
    """A tensor, and what it is."""

    kind: str
    dtype: int
    shape: tuple[int, ...]
    data: bytes
    of: str | None = None
    parts: bool = False
    keys: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Made:
    """A checkpoint that can be written.

    Attributes:
      format: one of `FORMATS`.
      slots: how its optimizer calls slots, a key of `SLOTS`.
      tensors: {name: what it is, and all its keys}.
      graph: the object graph, serialized; None if there is none.
      shards: how many data files it has.
      nameless: names that nothing in the checkpoint says.
    """

    format: str
    slots: str
    tensors: dict[str, Tensor]
    graph: bytes | None
    shards: int
    nameless: frozenset[str]

    def write(self, prefix: str) -> str:
        shards = [b""] * self.shards
        entries = {}
        for number, tensor in enumerate(self.tensors.values()):
            whole = TensorEntry(tensor.dtype, tensor.shape)
            if tensor.parts:
                rows = tensor.shape[0]
                size = len(tensor.data) // rows
                parts = []
                for start, length in ((0, 1), (1, rows - 1)):
                    data = tensor.data[start * size : (start + length) * size]
                    entry = _put(shards, number + start, tensor.dtype, data)
                    entry = entry._replace(shape=(length, *tensor.shape[1:]))
                    others = [Extent(0, each) for each in tensor.shape[1:]]
                    parts.append(TensorPart((Extent(start, length), *others), entry))
                entry = whole._replace(parts=tuple(parts), shard_id=parts[0].entry.shard_id)
            else:
                entry = _put(shards, number, tensor.dtype, tensor.data)
                entry = entry._replace(shape=tensor.shape)
            entries.update(dict.fromkeys(tensor.keys, entry))
        if self.graph is not None:
            data, entry = string_scalar(self.graph, self.shards - 1, len(shards[-1]))
            shards[-1] += data
            entries[OBJECT_GRAPH_KEY] = entry
        index = BundleIndex(dict(sorted(entries.items())), self.shards)
        publish(prefix, index, [Shard(data=data) for data in shards])
        return prefix


def _put(shards: list[bytes], number: int, dtype: int, data: bytes) -> TensorEntry:
    shard = number % len(shards)
    offset = len(shards[shard])
    shards[shard] += data
    return TensorEntry(dtype, (), shard, offset, len(data), checksums.masked_crc32c(data))


class _Values:
    """Gives tensors that all differ."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def tensor(self, kind: str, shape: tuple[int, ...], of: str | None = None) -> Tensor:
        first = next(self._numbers)
        if kind in ("global_step", "save_counter", "table"):
            values = np.full(shape, STEP + first, "<i8")
            return Tensor(kind, INT64, shape, values.tobytes())
        if kind == "counter_int":
            return Tensor("counter", INT64, shape, np.full(shape, 500 + first, "<i8").tobytes())
        values = np.arange(math.prod(shape), dtype="<f4").reshape(shape) % 2
        values = values + first
        return Tensor(kind, FLOAT32, shape, values.astype("<f4").tobytes(), of)


@st.composite
def checkpoints(draw, formats=FORMATS, slots=tuple(SLOTS), odd=True):
    """Draws a checkpoint.

    Args:
      draw: hypothesis gives it.
      formats: of which it may be.
      slots: how its slots may be called, where they are held by name.
      odd: whether there may be tensors without a name, and without an object.
    """
    kind = draw(st.sampled_from(formats))
    style = _OBJECTS.get(kind) or draw(st.sampled_from(slots))
    network = draw(st.lists(st.sampled_from(sorted(NETWORK)), min_size=1, max_size=5, unique=True))
    tensors = _tensors(network, style, draw)
    for tensor in tensors.values():
        if tensor.shape and tensor.shape[0] > 1 and tensor.kind in ("variable", "slot"):
            tensor.parts = draw(st.integers(0, 4)) == 0
    shards = draw(st.integers(1, 3))
    return lay_out(kind, style, tensors, shards, draw if odd else None)


def _tensors(network, style, draw) -> dict[str, Tensor]:
    values = _Values()
    tensors = {name: values.tensor("variable", NETWORK[name]) for name in network}
    patterns, scalars = SLOTS[style]
    for name in network:
        # An optimizer may train a part of the network only.
        if patterns and draw(st.integers(0, 5)):
            for pattern in patterns:
                slot = pattern.format(name, flat=name.replace("/", "_"))
                tensors[slot] = values.tensor("slot", NETWORK[name], name)
        if not draw(st.integers(0, 3)):
            average = f"{name}/ExponentialMovingAverage"
            tensors[average] = values.tensor("average", NETWORK[name], name)
    for name, kind in scalars.items():
        is_int = name.endswith(("iter", "iteration"))
        tensors[name] = values.tensor("counter_int" if is_int else kind, ())
    if draw(st.booleans()):
        step = values.tensor("global_step", ())
        if draw(st.booleans()):  # some programs make it themselves
            step.dtype, step.data = INT32, step.data[:4]
        tensors["global_step"] = step
    if draw(st.booleans()):
        tensors["words-keys"] = values.tensor("table", (3,))
        tensors["words-values"] = values.tensor("table", (3,))
    return tensors


def lay_out(kind, style, tensors, shards=1, draw=None) -> Made:
    """Gives tensors their keys, and makes the object graph."""
    graph = _Graph()
    nameless: set[str] = set()
    values = _Values()
    if kind in ("tf1", "dual", "empty graph"):
        for name, tensor in tensors.items():
            tensor.keys.append(name)
    if kind in ("dual", "tf2"):
        container, step = "var_list", "step"
        for name, tensor in tensors.items():
            if tensor.kind == "table" and kind == "tf2":
                tensor.keys.append(f"words/.ATTRIBUTES/table-{name.rpartition('-')[2]}")
                continue
            if kind == "dual" and draw and not draw(st.integers(0, 5)):
                continue  # it has a name only
            path = (container, name)
            if name == "global_step" and not (draw and draw(st.booleans())):
                path = (step,)  # as a wrapped job has it; a converter may leave it in the container
            tensor.keys.append(graph.add(path, name))
    if kind in _OBJECTS:
        _lay_out_objects(kind, style, tensors, graph, nameless, draw)
    if kind in ("dual", "tf2", *_OBJECTS):
        counter = values.tensor("save_counter", ())
        counter.keys.append(graph.add(("save_counter",), "save_counter"))
        tensors = {**tensors, "save_counter": counter}
    data = b"" if kind == "empty graph" else graph.proto.SerializeToString()
    return Made(kind, style, tensors, None if kind == "tf1" else data, shards, frozenset(nameless))


def _lay_out_objects(kind, style, tensors, graph, nameless, draw) -> None:
    """Lays tensors out as a Keras model with its optimizer does."""
    places: dict[str, tuple[str, ...]] = {}
    unnamed = False
    for number, (name, tensor) in enumerate(tensors.items()):
        if tensor.kind in ("variable", "average"):
            places[name] = ("model", f"layer-{number}", name.rpartition("/")[2] or "w")
            unnamed = draw is not None and not draw(st.integers(0, 7))
            tensor.keys.append(graph.add(places[name], "" if unnamed else name))
            if unnamed:
                nameless.add(name)
        elif tensor.kind == "global_step":
            place = draw(st.sampled_from(STEPS)) if draw else STEPS[0]
            tensor.keys.append(graph.add(place, name))
        elif tensor.kind == "table":
            tensor.keys.append(f"words/.ATTRIBUTES/table-{name.rpartition('-')[2]}")
    optimizer = graph.node(("optimizer",))
    trained = list(dict.fromkeys(each.of for each in tensors.values() if each.kind == "slot"))
    at = 0
    for name, tensor in tensors.items():
        if tensor.kind in ("counter", "hyperparameter"):
            last = name.rpartition("/")[2]
            last = {"iteration": "_iterations", "learning_rate": "_learning_rate"}.get(last, last)
            if kind == "legacy":
                last = last.lstrip("_")
            tensor.keys.append(graph.add(("optimizer", last), name))
            if kind != "legacy":
                graph.link(("optimizer", "_variables", str(at)), ("optimizer", last))
                at += 1
    if kind == "keras":  # as every optimizer of Keras since 2.11 has, trained or not
        graph.node(("optimizer", "_variables"))
    count = dict.fromkeys(("m", "v"), 0)
    for name, tensor in tensors.items():
        if tensor.kind != "slot":
            continue
        pattern = SLOTS[style][0][0].format(tensor.of, flat=tensor.of.replace("/", "_"))
        slot = "m" if name == pattern else "v"
        owner = places[tensor.of]
        if kind == "legacy":
            tensor.keys.append(graph.add_slot(owner, slot, name))
            continue
        path = ("optimizer", "_variables", str(at))
        at += 1
        tensor.keys.append(graph.add(path, name))
        listed = {"m": "_momentums", "v": "_velocities"}[slot]
        if kind == "keras":
            graph.link(("optimizer", listed, str(count[slot])), path)
        count[slot] += 1
    if kind == "keras3":
        for number, name in enumerate(trained):
            graph.link(("optimizer", "_trainable_variables", str(number)), places[name])
    assert optimizer


class _Graph:
    """An object graph in the making, by TensorFlow's own message."""

    def __init__(self) -> None:
        self.proto = TrackableObjectGraph()
        self.proto.nodes.add().has_checkpoint_values.value = True
        self._numbers: dict[tuple[str, ...], int] = {(): 0}

    def node(self, path: tuple[str, ...]) -> int:
        if path not in self._numbers:
            parent = self.node(path[:-1])
            self._numbers[path] = len(self.proto.nodes)
            self.proto.nodes.add().has_checkpoint_values.value = True
            self.proto.nodes[parent].children.add(node_id=self._numbers[path], local_name=path[-1])
        return self._numbers[path]

    def link(self, path: tuple[str, ...], to: tuple[str, ...]) -> None:
        """Makes an object the child of another one, too."""
        parent = self.node(path[:-1])
        self.proto.nodes[parent].children.add(node_id=self._numbers[to], local_name=path[-1])

    def add(self, path: tuple[str, ...], full_name: str) -> str:
        key = variable_key(*path)
        self._value(self.node(path), full_name, key)
        return key

    def add_slot(self, owner: tuple[str, ...], slot: str, full_name: str) -> str:
        end = "/.ATTRIBUTES/VARIABLE_VALUE"
        key = f"{variable_key(*owner)[: -len(end)]}/.OPTIMIZER_SLOT/optimizer/{slot}{end}"
        number = len(self.proto.nodes)
        self.proto.nodes.add().has_checkpoint_values.value = True
        self._value(number, full_name, key)
        self.proto.nodes[self.node(("optimizer",))].slot_variables.add(
            original_variable_node_id=self.node(owner),
            slot_name=slot,
            slot_variable_node_id=number,
        )
        return key

    def _value(self, number: int, full_name: str, key: str) -> None:
        self.proto.nodes[number].attributes.add(
            name=VARIABLE_VALUE, full_name=full_name, checkpoint_key=key
        )
