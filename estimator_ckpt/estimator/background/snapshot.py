"""Copies in memory what a Saver saves, between two steps, to be written while training goes on.

    op = SnapshotOp(groups)                       # while the graph is built
    snapshot = op.take(session)                   # one run of one op; the values are of one step
    index, paths = snapshot.write("staging", "model_dir/model.ckpt-10")

The tensors are those that the Saver's own ops save, so no op is added for a variable. The op hands
them over as arrays that share the variables' memory, and several threads copy those at once:
fetching them would copy in one thread. Whoever runs it sees to it that no step runs meanwhile.
"""

from __future__ import annotations

import concurrent.futures
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

_COPIED_AT_ONCE = 8 << 20
_WRITTEN_AT_ONCE = 1 << 20
_THREADS = min(8, os.cpu_count() or 1)


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


class SnapshotOp:
    """The op that copies the tensors of a graph."""

    def __init__(self, groups: Sequence[Sequence[Saved]]):
        """Adds the op to the default graph.

        Args:
          groups: what each data file of a checkpoint has, in the order of its bytes.
        """
        self._groups = groups
        self._arena = Arena()
        self._copies: list[Any] = []
        tensors = [each.tensor for group in groups for each in group]
        with tf.device(_cpu_of(tensors[0].device)):
            outputs = tf.numpy_function(self._copy, tensors, [tf.bool], name="snapshot")
        self._done = outputs[0]

    def take(self, session: Any) -> Snapshot:
        """Copies all tensors as they are now; the snapshot before must have been written."""
        session.run(self._done)
        copies, self._copies = self._copies, []
        return Snapshot(self._groups, copies, self._arena)

    def _copy(self, *arrays: Any) -> Any:
        plain = [array.dtype != object for array in arrays]
        memory = iter(
            self._arena.arrays([a.nbytes for a, is_plain in zip(arrays, plain) if is_plain])
        )
        self._copies = [
            next(memory).view(array.dtype).reshape(array.shape) if is_plain else array.copy()
            for array, is_plain in zip(arrays, plain)
        ]
        pairs = zip(self._copies, arrays, plain)
        pieces = [piece for *pair, is_plain in pairs if is_plain for piece in _pieces(*pair)]
        if len(pieces) < 2 or sum(source.nbytes for _, source in pieces) < _COPIED_AT_ONCE:
            _copy_all(pieces)
        else:
            per_thread = [pieces[number :: 4 * _THREADS] for number in range(4 * _THREADS)]
            with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
                list(threads.map(_copy_all, per_thread))
        return np.bool_(True)


class Snapshot:
    """The values of one step."""

    def __init__(self, groups: Sequence[Sequence[Saved]], arrays: list[Any], arena: Arena):
        self._groups = groups
        self._arrays = arrays[::-1]  # to be taken from the end
        self._arena = arena

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
        entries: dict[str, TensorEntry] = {}
        paths = []
        try:
            for number, group in enumerate(self._groups):
                paths.append(os.path.join(directory, f"data-{number:05d}"))
                with ShardWriter(paths[-1], prefix, number) as shard:
                    for saved in group:
                        self._append(shard, saved, entries)
                    shard.close()
        finally:
            self._arrays.clear()
            self._arena.give_back()
        return BundleIndex(entries, len(paths)), paths

    def _append(self, shard: ShardWriter, saved: Saved, entries: dict[str, TensorEntry]) -> None:
        array = self._arrays.pop()
        number = saved.tensor.dtype.base_dtype.as_datatype_enum
        if number == dtypes.STRING:
            entry = shard.append_strings(array.shape, [bytes(each) for each in array.flat])
        else:
            entry = shard.append(number, array.shape, _buffers(array))
        if saved.slice_spec:
            shape, extents = parse_slice_spec(saved.slice_spec)
            whole = entries.get(saved.name, TensorEntry(number, shape, shard_id=entry.shard_id))
            parts = (*whole.parts, TensorPart(extents, entry))
            entry = whole._replace(parts=parts)
        entries[saved.name] = entry


def _pieces(target: Any, source: Any) -> Iterator[tuple[Any, Any]]:
    """Yields pairs of flat arrays of a few megabytes, to be copied one to the other."""
    target, source = (array.reshape(-1).view(np.uint8) for array in (target, source))
    for start in range(0, source.size, _COPIED_AT_ONCE):
        part = slice(start, start + _COPIED_AT_ONCE)
        yield target[part], source[part]


def _copy_all(pieces: Sequence[tuple[Any, Any]]) -> None:
    for target, source in pieces:
        np.copyto(target, source)


def _buffers(array: Any) -> Iterator[memoryview]:
    data = memoryview(array.reshape(-1).view(np.uint8))
    for start in range(0, len(data), _WRITTEN_AT_ONCE):
        yield data[start : start + _WRITTEN_AT_ONCE]


def _cpu_of(device: str) -> str:
    spec = tf.DeviceSpec.from_string(device)
    return str(spec.replace(device_type="CPU", device_index=0).to_string())
