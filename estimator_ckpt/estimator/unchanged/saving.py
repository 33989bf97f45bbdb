"""Saves of which only what changed is written; the rest are hard links to what the last one wrote.

    linking = LinkedSaves(groups, Bounds(files=8, room=2.0))     # while the graph is built
    taken = linking.take(session, "model_dir/model.ckpt-10", graph, copies=False)
    with contextlib.closing(taken):
        written = taken.write("staging", flushes=False)          # the index by name, data files
        ...                                                      # published
        taken.is_published("model_dir/model.ckpt-10", 2)

One op hands over the tensors that the Saver's own ops save, in the variables' memory. Each block of
them is hashed; what has the hash that it had when it was last saved is not written. The file that
has it gets one more name at once, before any step may run, so that nothing can take it away.
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from estimator_ckpt.bundle import BundleIndex, TensorEntry, checksums, dtypes
from estimator_ckpt.bundle.strings import encode_strings
from estimator_ckpt.checkpoint.opening import open_checkpoint, shard_path
from estimator_ckpt.checkpoint.shard_writer import refusals
from estimator_ckpt.errors import CheckpointError
from estimator_ckpt.estimator.background.arena import Arena
from estimator_ckpt.estimator.background.copying import Copier
from estimator_ckpt.estimator.background.snapshot import Saved, as_array, cpu_of, with_part
from estimator_ckpt.estimator.unchanged.base import Base, Tensor, base_of
from estimator_ckpt.estimator.unchanged.blocks import blocks_of
from estimator_ckpt.estimator.unchanged.bounds import Bounds, Use, files_to_keep
from estimator_ckpt.estimator.unchanged.hashing import THREADS, hash_all
from estimator_ckpt.estimator.unchanged.places import DataFile, Placed, entry_of
from estimator_ckpt.estimator.writing import WrittenTensors
from estimator_ckpt.messages import logger
from estimator_ckpt.naming import OBJECT_GRAPH_KEY
from estimator_ckpt.storage import files
from estimator_ckpt.storage.local import NO_LINKS

_log = logger(__name__)
_GRAPH = Tensor(OBJECT_GRAPH_KEY, "", dtypes.STRING, ())
_WRITTEN_AT_ONCE = 1 << 20


class _Data(NamedTuple):
    """A tensor as it is now: its bytes, block by block, and the checksum of strings."""

    tensor: Tensor
    blocks: Sequence[memoryview]
    crc: int | None = None


class LinkedSaves:
    """The saves of one Saver into one directory."""

    def __init__(
        self,
        groups: Sequence[Sequence[Saved]],
        bounds: Bounds,
        *,
        directory: str | None = None,
        keeps_memory: bool = False,
    ):
        """Adds the op that hands over the tensors to the default graph.

        Args:
          groups: what each data file of a checkpoint would have.
          bounds: of each checkpoint.
          directory: the one whose checkpoints share data files; None for that of the first save.
            Those elsewhere have links to nothing, and nothing will be linked to them.
          keeps_memory: whether the memory for copies is kept between two saves.
        """
        self._directory = directory
        self._saved = [each for group in groups for each in group if each.name != OBJECT_GRAPH_KEY]
        self._bounds = bounds
        self._copier = Copier(Arena(keeps=keeps_memory))
        self._arrays: list[Any] = []
        self._base: Base | None = None
        self._sources: Mapping[tuple[str, str], tuple[str, str]] = {}
        self._restored: str | None = None
        self._has_links = True
        self._said: set[str] = set()
        tensors = [each.tensor for each in self._saved]
        with tf.device(cpu_of(tensors[0].device)):
            outputs = tf.numpy_function(self._hand_over, tensors, [tf.bool], name="unchanged")
        self._done = outputs[0]

    def restored(self, prefix: str, sources: Mapping[tuple[str, str], tuple[str, str]]) -> None:
        """Notes what was restored: what the first save of a run is compared with.

        Args:
          prefix: of the checkpoint.
          sources: of each name and slice, the key and the slice under which it was there.
        """
        self._restored, self._sources = prefix, sources

    def take(self, session: Any, prefix: str, graph: bytes | None, *, copies: bool) -> TakenTensors:
        """Takes all tensors as they are now, and links the files of those that are unchanged.

        Args:
          session: whose variables they are.
          prefix: of the checkpoint that they are for.
          graph: the object graph, to be saved, too; None for none.
          copies: whether what is to be written is copied, as it will be written when steps run
            again. Else none may run until it is closed.

        Returns:
          What to write, to be closed when all is written and published.
        """
        session.run(self._done)
        arrays, self._arrays = self._arrays, []
        data = [_data_of(*pair) for pair in zip(self._saved, arrays)]
        if graph is not None:
            encoded, crc = encode_strings((graph,))
            data.append(_Data(_GRAPH, [memoryview(encoded)], crc))
        blocks = [block for each in data for block in each.blocks]
        links = self._has_links and self._is_here(prefix)
        hashes = hash_all(blocks) if links else [b""] * len(blocks)
        earlier: list[Placed | None] = [None] * len(blocks)
        names: dict[DataFile, str] = {}
        if links and (base := self._find_base(data)) is not None:
            earlier = _equal(data, hashes, base)
            names = self._link(prefix, base, earlier, sum(map(len, blocks)))
        kept = [place if place is not None and place.file in names else None for place in earlier]
        counts = [(each.tensor, len(each.blocks), each.crc) for each in data]
        taken = TakenTensors(self, prefix, counts, hashes, kept, names, links=links)
        try:
            taken.take_bytes(blocks, self._copier if copies else None)
        except BaseException:
            taken.close()
            raise
        return taken

    def _hand_over(self, *arrays: Any) -> Any:
        self._arrays = list(map(as_array, arrays))
        return np.bool_(True)

    def _is_here(self, prefix: str) -> bool:
        directory = os.path.dirname(prefix) or "."
        if self._directory is None:
            self._directory = directory
        return files.is_same(directory, self._directory)

    def _find_base(self, data: Sequence[_Data]) -> Base | None:
        """Returns what to compare with; the first time, what was restored in that directory."""
        restored, self._restored = self._restored, None
        if self._base is not None or restored is None or not self._is_here(restored):
            return self._base
        tensors = [each.tensor for each in data]
        keys = [self._sources.get((each.name, each.slice_spec)) for each in tensors]
        sources = {tensor: key for tensor, key in zip(tensors, keys) if key is not None}
        sources[_GRAPH] = (OBJECT_GRAPH_KEY, "")
        try:
            self._base = base_of(open_checkpoint(restored), sources)
        except Exception as error:
            if not isinstance(error, CheckpointError) and not files.is_refusal(error):
                raise
            self._say(
                f"What is unchanged since '{restored}' can't be told, and all is written: {error}"
            )
        return self._base

    def _link(
        self, prefix: str, base: Base, earlier: Sequence[Placed | None], needed: int
    ) -> dict[DataFile, str]:
        """Gives the files that stay in use one more name each, for the checkpoint to be."""
        live = dict.fromkeys(base.files, 0)
        for place in filter(None, earlier):
            live[place.file] += place.size
        used = {file: Use(file.identity.size, size) for file, size in live.items()}
        changed = needed - sum(live.values())
        kept = files_to_keep(used, written=changed, needed=needed, bounds=self._bounds)
        names: dict[DataFile, str] = {}
        try:
            for file in base.files:
                if file in kept and (name := self._link_one(prefix, file)) is not None:
                    names[file] = name
        except BaseException:
            _remove(names.values())
            raise
        return names

    def _link_one(self, prefix: str, file: DataFile) -> str | None:
        """Returns a new name of a file, if it is there as it was; else says why it is not."""
        reason = "it was removed"
        for path in reversed(file.paths):
            name = files.staging_path(prefix + ".data")
            try:
                files.link(path, name)
            except FileNotFoundError:
                continue
            except OSError as error:
                reason = str(error.strerror or error)
                if error.errno in NO_LINKS and file.is_own:
                    self._has_links = False
                    reason += "; all is written from now on, as without unchanged='link'"
                continue
            if files.identity(name) == file.identity:
                return name
            _remove([name])
            reason = "it was changed or replaced since it was written"
        self._say(
            f"'{file.paths[-1]}' can't be linked, and what is unchanged in it is written again: "
            f"{reason}"
        )
        return None

    def _say(self, text: str) -> None:
        """Warns of something; of what is alike, once."""
        kind = text.rpartition(": ")[2]
        if kind not in self._said:
            self._said.add(kind)
            _log.warning("%s", text)

    def now_is(self, base: Base) -> None:
        """Notes what the next save is compared with."""
        self._base = base


class TakenTensors:
    """The tensors of one step, as they are to be saved; to be closed."""

    def __init__(
        self,
        saves: LinkedSaves,
        prefix: str,
        tensors: Sequence[tuple[Tensor, int, int | None]],
        hashes: Sequence[bytes],
        kept: Sequence[Placed | None],
        names: Mapping[DataFile, str],
        *,
        links: bool,
    ):
        self._saves = saves
        self._prefix = prefix
        self._tensors = tensors  # each with the number of its blocks, and the checksum of strings
        self._hashes = hashes
        self._kept = kept
        self._names = names
        self._links = links
        self._bytes: list[memoryview] = []  # of what is to be written
        self._copier: Copier | None = None
        self._placed: dict[Tensor, list[Placed]] = {}
        self._files: list[DataFile] = []

    def take_bytes(self, blocks: Sequence[memoryview], copier: Copier | None) -> None:
        """Takes the bytes that are to be written: copies of them if there is a copier."""
        changed = [block for block, place in zip(blocks, self._kept) if place is None]
        if copier is not None:
            self._copier = copier
            copies = copier.copy([np.frombuffer(block, np.uint8) for block in changed])
            changed = [memoryview(each) for each in copies.arrays()]
        self._bytes = changed

    def write(self, directory: str, *, flushes: bool) -> WrittenTensors:
        """Writes what has changed into one data file.

        Args:
          directory: where to.
          flushes: whether all data is flushed to the disk.

        Returns:
          The index by name, the paths of the data files by number, and the entry of the graph.

        Raises:
          CheckpointWriteError: the file system refused.
        """
        paths = list(self._names.values())
        self._files = list(self._names)
        with refusals(self._prefix):
            for file in self._files:
                if flushes and not file.is_flushed:
                    files.sync(self._names[file])
                    file.is_flushed = True
            if self._bytes or not paths:
                paths.append(os.path.join(directory, "data"))
                crcs = _write(paths[-1], self._bytes, flushes=flushes)
                made = DataFile(files.identity(paths[-1]), flushed=flushes, own=True)
                self._files.append(made)
                self._place(crcs, made)
            else:
                self._place([], None)
        self._bytes = []
        return self._indexed(paths)

    def is_published(self, prefix: str, count: int, *, is_new: bool) -> None:
        """Notes that the checkpoint is in place: the next one is compared with it.

        Args:
          prefix: of the checkpoint.
          count: how many data files it has.
          is_new: whether they are those that were written and linked, or others with equal bytes.
        """
        for number, file in enumerate(self._files):
            file.add_path(shard_path(prefix, number, count))
            if not is_new:
                file.identity = files.identity(file.paths[-1])
        if self._links:
            self._saves.now_is(Base(self._files, self._placed))

    def close(self) -> None:
        """Gives back what was taken."""
        _remove(self._names.values())
        self._bytes = []
        if self._copier is not None:
            self._copier.arena.give_back()
            self._copier = None

    def _place(self, crcs: Sequence[int], made: DataFile | None) -> None:
        """Puts together where each block is now."""
        crc_of, offset, number = iter(crcs), 0, 0
        sizes = iter([len(block) for block in self._bytes])
        for tensor, count, checksum in self._tensors:
            placed = []
            for _ in range(count):
                place = self._kept[number]
                if place is None:
                    assert made is not None
                    size, crc = next(sizes), next(crc_of)
                    crc = crc if checksum is None else checksum
                    place = Placed(self._hashes[number], made, offset, size, crc)
                    offset += size
                placed.append(place)
                number += 1
            self._placed[tensor] = placed

    def _indexed(self, paths: list[str]) -> WrittenTensors:
        numbers = {file: number for number, file in enumerate(self._files)}
        entries: dict[str, TensorEntry] = {}
        for tensor, placed in self._placed.items():
            entry = entry_of(tensor.shape, tensor.dtype, placed, numbers)
            if tensor.slice_spec:
                entry = with_part(entries.get(tensor.name), tensor.slice_spec, entry)
            entries[tensor.name] = entry
        graph = entries.pop(OBJECT_GRAPH_KEY, None)
        return WrittenTensors(BundleIndex(entries, len(paths)), paths, graph)


def _data_of(saved: Saved, array: Any) -> _Data:
    dtype = saved.tensor.dtype.base_dtype.as_datatype_enum
    tensor = Tensor(saved.name, saved.slice_spec, dtype, tuple(array.shape))
    if tensor.dtype == dtypes.STRING:
        encoded, crc = encode_strings([bytes(each) for each in array.flat])
        return _Data(tensor, [memoryview(encoded)], crc)
    data = memoryview(array.reshape(-1).view(np.uint8))
    blocks = blocks_of(tensor.shape, tensor.dtype)
    return _Data(tensor, [data[each.start : each.start + each.size] for each in blocks])


def _equal(data: Sequence[_Data], hashes: Sequence[bytes], base: Base) -> list[Placed | None]:
    """Returns for each block where it is already, or None."""
    found: list[Placed | None] = []
    for each in data:
        before = base.placed.get(each.tensor, ())
        if len(before) != len(each.blocks):
            found += [None] * len(each.blocks)
            continue
        for block, place in zip(each.blocks, before):
            is_equal = place.hash == hashes[len(found)] and place.size == len(block)
            found.append(place if is_equal else None)
    return found


def _write(path: str, blocks: Sequence[memoryview], *, flushes: bool) -> list[int]:
    """Writes blocks to a new file; returns their CRC32Cs, which threads work out meanwhile."""
    with concurrent.futures.ThreadPoolExecutor(THREADS) as threads:
        crcs = threads.map(lambda block: checksums.extend(0, block), blocks)
        with files.new_local_file(path, sync=flushes) as file:
            for block in blocks:
                for start in range(0, len(block), _WRITTEN_AT_ONCE):
                    file.write(block[start : start + _WRITTEN_AT_ONCE])
        return list(crcs)


def _remove(names: Any) -> None:
    for name in names:
        files.try_to_remove(name)
