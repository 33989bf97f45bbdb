"""Copies in memory what a Saver saves, between two steps, to be written while training goes on.

    op = SnapshotOp(groups)                       # while the graph is built
    snapshot = op.take(session)                   # one run of one op; the values are of one step
    index, paths = snapshot.write("staging", "model_dir/model.ckpt-10")

The tensors are those that the Saver's own ops save, so no op is added for a variable. The op hands
them over as arrays that share the variables' memory, and several threads copy those at once:
fetching them would copy in one thread. Whoever runs it sees to it that no step runs meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from estimator_ckpt.bundle import BundleIndex, TensorEntry, TensorPart, dtypes
from estimator_ckpt.bundle.slice_spec import parse_slice_spec
from estimator_ckpt.checkpoint.arrays import numpy_dtype
from estimator_ckpt.checkpoint.shard_writer import ShardWriter
from estimator_ckpt.estimator.background.arena import Arena
from estimator_ckpt.estimator.background.copying import ALIGNMENT, Copier, Copies

_WRITTEN_AT_ONCE = 1 << 20


class Saved(NamedTuple):
    """A tensor that a Saver saves.

    Attributes:
      name: its key.
      slice_spec: as in SaveV2: "" for a whole tensor.
      tensor: a `tf.Tensor`.
    """

    name: str
    slice_spec: str
    tensor: Any


def why_impossible(groups: Sequence[Sequence[Saved]]) -> str | None:
    """Returns the reason why these tensors can't be copied in memory; None if they can."""
    for saved in (each for group in groups for each in group):
        if tf.DeviceSpec.from_string(saved.tensor.device).job == "ps":
            return f"'{saved.name}' is on a parameter server"
        dtype = saved.tensor.dtype.base_dtype
        if dtype != tf.string and numpy_dtype(dtype.as_datatype_enum) is None:
            return f"'{saved.name}' is of type {dtype.name}, which no array can hold"
    return None


class _Tensor(NamedTuple):
    """What a data file has of a tensor: its key, the number of its type, its slice."""

    name: str
    dtype: int
    slice_spec: str


class SnapshotOp:
    """The op that copies the tensors of a graph."""

    def __init__(self, groups: Sequence[Sequence[Saved]], *, keeps_memory: bool = False):
        """Adds the op to the default graph.

        Args:
          groups: what each data file of a checkpoint has, in the order of its bytes.
          keeps_memory: whether the memory for the copies is kept between two of them.
        """
        self._groups = [
            [
                _Tensor(each.name, each.tensor.dtype.base_dtype.as_datatype_enum, each.slice_spec)
                for each in group
            ]
            for group in groups
        ]
        self._arena = Arena(keeps=keeps_memory)
        self._copier = Copier(self._arena)
        self._copies: Copies | None = None
        tensors = [each.tensor for group in groups for each in group]
        self._known_bytes = sum(map(_known_bytes, tensors)) + ALIGNMENT * len(tensors)
        with tf.device(cpu_of(tensors[0].device)):
            outputs = tf.numpy_function(self._copy, tensors, [tf.bool], name="snapshot")
        self._done = outputs[0]

    def prepare(self) -> None:
        """Gets the memory from the system while others go on; to be called once, before `take`."""
        self._arena.prepare(self._known_bytes)

    def take(self, session: Any) -> Snapshot:
        """Copies all tensors as they are now; the snapshot before must have been written."""
        session.run(self._done)
        copies, self._copies = self._copies, None
        assert copies is not None  # the op has just run
        return Snapshot(self._groups, copies, self._arena)

    def _copy(self, *arrays: Any) -> Any:
        self._copies = self._copier.copy(list(map(as_array, arrays)))
        return np.bool_(True)


class Snapshot:
    """The values of one step."""

    def __init__(self, groups: Sequence[Sequence[_Tensor]], copies: Copies, arena: Arena):
        self._groups = groups
        self._copies: Copies | None = copies
        self._arena = arena

    def close(self) -> None:
        """Forgets the values; does nothing the second time."""
        if self._copies is not None:
            self._copies = None
            self._arena.give_back()

    def write(self, directory: str, prefix: str) -> tuple[BundleIndex, list[str]]:
        """Writes the data files of a checkpoint, as TensorFlow does, and forgets the values.

        Args:
          directory: where to.
          prefix: of the checkpoint that they are for.

        Returns:
          The index by name, and the paths of the data files by number.

        Raises:
          CheckpointWriteError: the file system refused.
        """
        copies = self._copies
        if copies is None:
            raise ValueError("this snapshot was written already")
        entries: dict[str, TensorEntry] = {}
        paths = []
        with contextlib.closing(self):
            first = 0
            for number, group in enumerate(self._groups):
                paths.append(os.path.join(directory, f"data-{number:05d}"))
                with ShardWriter(paths[-1], prefix, number) as shard:
                    _write(shard, group, copies, first, entries)
                    shard.close()
                first += len(group)
        return BundleIndex(entries, len(paths)), paths


def _write(
    shard: ShardWriter,
    group: Sequence[_Tensor],
    copies: Copies,
    begin: int,
    entries: dict[str, TensorEntry],
) -> None:
    """Writes the tensors of a data file, whose copies begin with that of a number."""
    kinds = copies.places.kinds
    for first, last, data in copies.joined(begin, begin + len(group)):
        dtype = group[first - begin].dtype
        shapes = [shape for _, shape in kinds[first:last]]
        if dtype == dtypes.STRING:
            made = [shard.append_strings(data.shape, [bytes(each) for each in data.flat])]
        elif last == first + 1:
            made = [shard.append(dtype, shapes[0], _buffers(data))]
        else:
            made = shard.append_joined(dtype, shapes, memoryview(data))
        for (name, _, slice_spec), entry in zip(group[first - begin : last - begin], made):
            if slice_spec:
                entry = with_part(entries.get(name), slice_spec, entry)
            entries[name] = entry


def with_part(whole: TensorEntry | None, slice_spec: str, part: TensorEntry) -> TensorEntry:
    """Returns the entry of a tensor with one more part; None is one that has none yet."""
    shape, extents = parse_slice_spec(slice_spec)
    whole = whole or TensorEntry(part.dtype, shape, shard_id=part.shard_id)
    return whole._replace(parts=(*whole.parts, TensorPart(extents, part)))


def _buffers(flat: Any) -> Iterator[memoryview]:
    data = memoryview(flat)
    for start in range(0, len(data), _WRITTEN_AT_ONCE):
        yield data[start : start + _WRITTEN_AT_ONCE]


def _known_bytes(tensor: Any) -> int:
    """Returns how many bytes a tensor has, as far as the graph tells."""
    elements = tensor.shape.num_elements()
    return 0 if elements is None or tensor.dtype == tf.string else elements * tensor.dtype.size


def as_array(value: Any) -> Any:
    """Returns what TensorFlow hands over as an array: one string alone comes as bytes."""
    return np.asarray(value, object) if isinstance(value, bytes) else value


def cpu_of(device: str) -> str:
    """Returns the first CPU of the machine that a device is of."""
    spec = tf.DeviceSpec.from_string(device)
    return str(spec.replace(device_type="CPU", device_index=0).to_string())
