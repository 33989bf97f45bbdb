"""The keys that the tensors of a job have among the objects, and the index that has these keys.

    keys = default_keys(["dnn/kernel", "global_step"])
    index = keys.add_to(index_by_name, "dual")

A tensor is named by its piece: the name and, for a part of a partitioned variable, where in the
whole it is. By name there is only the whole; an object that holds a part has a key for that part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from estimator_ckpt import naming
from estimator_ckpt.bundle import BundleIndex, Extent, TensorEntry
from estimator_ckpt.bundle.index import have_parts
from estimator_ckpt.bundle.slice_spec import parse_slice_spec

Piece = tuple[str, tuple[Extent, ...]]
"""A name, and the extents of a part; () for the whole."""


def piece_of(name: str, slice_spec: str) -> Piece:
    """Returns the piece that SaveV2 and RestoreV2 are told of by a name and a slice."""
    return name, parse_slice_spec(slice_spec)[1]


class _Given(NamedTuple):
    """Which keys an index got in which order, for which names."""

    names: list[str]
    keys: list[str]
    name_of: list[str]


@dataclass(frozen=True)
class ObjectKeys:
    """The layout of one job.

    Attributes:
      by_piece: {piece: its keys}; more than one where several objects share it.
      graph: the serialized object graph.
    """

    by_piece: Mapping[Piece, tuple[str, ...]]
    graph: bytes = b""
    _given: dict[str, _Given] = field(default_factory=dict, init=False, repr=False, compare=False)

    def of(self, name: str, extents: tuple[Extent, ...] = ()) -> tuple[str, ...]:
        """Returns the keys of a whole tensor, or of a part."""
        return self.by_piece.get((name, extents), ())

    def add_to(self, by_name: BundleIndex, checkpoint_format: str) -> BundleIndex:
        """Gives an index by name, as TensorFlow wrote it, the keys of a format.

        Args:
          by_name: the index.
          checkpoint_format: "tf1", "tf2" or "dual".

        Returns:
          The index; it lacks the object graph.
        """
        given, entries = self._given.get(checkpoint_format), by_name.entries
        if given is None or given.names != list(entries) or have_parts(entries.values()):
            keyed = self._keyed(by_name, checkpoint_format)
        else:
            keyed = dict(zip(given.keys, map(entries.__getitem__, given.name_of)))
        return BundleIndex(keyed, by_name.num_shards, by_name.producer)

    def _keyed(self, by_name: BundleIndex, checkpoint_format: str) -> dict[str, TensorEntry]:
        """Returns the entries by key, and remembers which name each key is for."""
        entries: dict[str, TensorEntry] = {}
        name_of: dict[str, str] = {}
        for name, entry in by_name.entries.items():
            if name == naming.OBJECT_GRAPH_KEY:  # of ops that an earlier version made
                continue
            keys = self.of(name)
            if checkpoint_format != "tf1":
                entries.update(dict.fromkeys(keys, entry))
                name_of.update(dict.fromkeys(keys, name))
                for part in entry.parts:
                    entries.update(dict.fromkeys(self.of(name, part.extents), part.entry))
            if not keys or (checkpoint_format != "tf2" and name not in keys):
                entries[name] = entry
                name_of[name] = name
        if not have_parts(by_name.entries.values()):
            keys_in_order = sorted(name_of)
            self._given[checkpoint_format] = _Given(
                list(by_name.entries), keys_in_order, [name_of[key] for key in keys_in_order]
            )
        return entries


def default_keys(names: Iterable[str]) -> ObjectKeys:
    """Returns the keys of `Checkpoint(var_list={name: variable}, step=global_step)`."""
    names = sorted(names)
    layout = naming.Layout()
    graph = layout.object_graph(names, save_counter=False).data
    return ObjectKeys({(name, ()): (layout.key(name),) for name in names}, graph)
