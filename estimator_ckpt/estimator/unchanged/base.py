"""What a new checkpoint is compared with: each block of the last one, its hash and where it lies.

    base = base_of(open_checkpoint("model_dir/model.ckpt-10"), {tensor: (key, "")})
    base.placed[tensor]                     # [Placed(hash, file, offset, size, crc), ...]

Within a run a save knows that of the one before. The first one after a start has it from the
checkpoint that was restored, which is read for it: what does not have its checksum is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from estimator_ckpt.bundle import TensorEntry, checksums, dtypes
from estimator_ckpt.bundle.combining import combine
from estimator_ckpt.bundle.index import Extent
from estimator_ckpt.bundle.slice_spec import filled, parse_slice_spec, start_in_row
from estimator_ckpt.bundle.tensor_checksum import stored_checksum
from estimator_ckpt.checkpoint import Checkpoint
from estimator_ckpt.errors import DamagedCheckpointError
from estimator_ckpt.estimator.unchanged.blocks import blocks_of
from estimator_ckpt.estimator.unchanged.hashing import hash_of, in_threads
from estimator_ckpt.estimator.unchanged.places import DataFile, Placed
from estimator_ckpt.messages import logger
from estimator_ckpt.storage import files
from estimator_ckpt.storage.reading import Reading

_log = logger(__name__)


class Tensor(NamedTuple):
    """What is saved: a tensor by its name, its slice as in SaveV2, its type and its own shape."""

    name: str
    slice_spec: str
    dtype: int
    shape: tuple[int, ...]


class Base(NamedTuple):
    """A checkpoint that is in place.

    Attributes:
      files: its data files, in their order.
      placed: the blocks of each tensor.
    """

    files: Sequence[DataFile]
    placed: Mapping[Tensor, Sequence[Placed]]


class _Wanted(NamedTuple):
    """A block that lies within what a stored entry has: whose it is, and where."""

    tensor: Tensor
    number: int
    offset: int
    size: int


def base_of(checkpoint: Checkpoint, sources: Mapping[Tensor, tuple[str, str]]) -> Base:
    """Reads a checkpoint, each tensor once, to have the hashes of its blocks.

    Args:
      checkpoint: a local one.
      sources: the key of each tensor, and the slice of what is there that it is; "" for all.

    Returns:
      What is in it and has its checksum; a tensor of which a block has not is left out.

    Raises:
      OSError: it can't be read.
    """
    paths = checkpoint.shard_paths
    data_files = [DataFile(files.identity(path), [path]) for path in paths]
    wanted: dict[TensorEntry, list[_Wanted]] = {}
    for tensor, (key, slice_spec) in sources.items():
        entry = checkpoint.index.entries.get(key)
        if entry is not None:
            for stored, block in _find(tensor, entry, slice_spec):
                wanted.setdefault(stored, []).append(block)
    placed: dict[Tensor, dict[int, Placed]] = {}
    damaged = []
    for shard, file in enumerate(data_files):
        entries = [entry for entry in wanted if entry.shard_id == shard]
        with files.reading(paths[shard], []) as reading:
            for each, blocks in zip(entries, _read(reading, file, entries, wanted)):
                if blocks is None:
                    damaged.append(each)
                    continue
                for block, place in zip(wanted[each], blocks):
                    placed.setdefault(block.tensor, {})[block.number] = place
    if damaged:
        _log.warning(
            "In '%s', %d tensors do not have their checksums, such as '%s': they are written anew",
            checkpoint.prefix,
            len(damaged),
            wanted[damaged[0]][0].tensor.name,
        )
    whole = {
        tensor: [found[number] for number in sorted(found)]
        for tensor, found in placed.items()
        if len(found) == len(blocks_of(tensor.shape, tensor.dtype))
    }
    return Base(data_files, whole)


def _find(tensor: Tensor, entry: TensorEntry, slice_spec: str) -> list[tuple[TensorEntry, _Wanted]]:
    """Returns the blocks of a tensor, each with the stored entry that has its bytes in a row."""
    shape, place = parse_slice_spec(slice_spec) if slice_spec else (tensor.shape, ())
    if entry.dtype != tensor.dtype or entry.shape != shape:
        return []
    outer = filled(place, shape)
    boxes = [(filled(part.extents, shape), part.entry) for part in entry.parts] or [
        (filled((), shape), entry)
    ]
    found = []
    for number, block in enumerate(blocks_of(tensor.shape, tensor.dtype)):
        inner = filled(block.extents, tensor.shape)
        box = [Extent(one.start + other.start, other.length) for one, other in zip(outer, inner)]
        for whole, stored in boxes:
            start = start_in_row(box, whole)
            if start is None:
                continue
            if tensor.dtype == dtypes.STRING:
                offset, size = 0, stored.size
            else:
                offset, size = start * (dtypes.element_size(tensor.dtype) or 0), block.size
            found.append((stored, _Wanted(tensor, number, stored.offset + offset, size)))
            break
    return found


def _read(
    reading: Reading,
    file: DataFile,
    stored: Sequence[TensorEntry],
    wanted: Mapping[TensorEntry, list[_Wanted]],
) -> list[list[Placed] | None]:
    """Reads entries of a data file; returns their blocks, or None for one with another checksum."""

    def placed(block: _Wanted) -> Placed:
        data = reading.read(block.offset, block.size)
        if len(data) < block.size:
            raise DamagedCheckpointError(f"'{file.paths[0]}' is too short")
        crc = 0 if block.tensor.dtype == dtypes.STRING else checksums.extend(0, data)
        return Placed(hash_of(data), file, block.offset, block.size, crc)

    blocks = [block for entry in stored for block in wanted[entry]]
    found = iter(in_threads(placed, blocks, [block.size for block in blocks]))
    return [_checked(entry, [next(found) for _ in wanted[entry]], reading) for entry in stored]


def _checked(entry: TensorEntry, placed: list[Placed], reading: Reading) -> list[Placed] | None:
    """Returns blocks that make up an entry; none if they don't; None if its checksum is another."""
    if entry.dtype == dtypes.STRING:
        try:
            crc32c = stored_checksum(entry, iter((reading.read(entry.offset, entry.size),)))
        except DamagedCheckpointError:
            return None
        return [placed[0]._replace(crc=crc32c)] if crc32c == entry.crc32c else None
    crc, end = 0, entry.offset
    for each in sorted(placed, key=lambda each: (each.offset, each.size)):
        if each.offset != end:
            return []
        crc, end = combine(crc, each.crc, each.size), end + each.size
    is_all = end == entry.offset + math.prod(entry.shape) * (dtypes.element_size(entry.dtype) or 0)
    if not is_all:
        return []
    return placed if checksums.mask(crc) == entry.crc32c else None
