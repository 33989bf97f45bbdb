"""Where the bytes of each block lie, and the entries of an index that say so.

    file = DataFile(identity, ["model_dir/model.ckpt-10.data-00000-of-00001"])
    placed = [Placed(hash, file, offset, size, crc), ...]       # of each block of a tensor
    entry = entry_of(shape, dtype, placed, {file: 0})

A tensor whose blocks lie one behind the other in one file is one plain entry; any other has parts,
each of as many blocks in a row as make up a slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from estimator_ckpt.bundle import TensorEntry, TensorPart, checksums, dtypes
from estimator_ckpt.bundle.combining import combine
from estimator_ckpt.bundle.index import Extent
from estimator_ckpt.estimator.unchanged.blocks import Block, blocks_of, joined
from estimator_ckpt.storage import files

_PATHS_KNOWN = 4


class DataFile:
    """A data file, whatever names it has.

    Attributes:
      identity: what tells that it is this one, and that nothing was written to it since.
      paths: names that it has, or had, the newest last.
      is_flushed: whether it is on the disk for certain.
      is_own: whether this process has written it.
    """

    def __init__(
        self,
        identity: files.Identity,
        paths: Sequence[str] = (),
        *,
        flushed: bool = False,
        own: bool = False,
    ):
        """Takes what is known of it."""
        self.identity = identity
        self.paths = list(paths)
        self.is_flushed = flushed
        self.is_own = own

    def add_path(self, path: str) -> None:
        """Notes one more name of it; the oldest ones are forgotten."""
        self.paths = [*(each for each in self.paths if each != path), path][-_PATHS_KNOWN:]


class Placed(NamedTuple):
    """A block that lies in a data file.

    Attributes:
      hash: of its bytes.
      file: where it is.
      offset: where it begins there.
      size: the number of its bytes.
      crc: their unmasked CRC32C; of strings, what their entry has.
    """

    hash: bytes
    file: DataFile
    offset: int
    size: int
    crc: int


def entry_of(
    shape: tuple[int, ...], dtype: int, placed: Sequence[Placed], numbers: Mapping[DataFile, int]
) -> TensorEntry:
    """Returns the entry of a tensor.

    Args:
      shape: of the tensor.
      dtype: the number of its element type.
      placed: its blocks, in the order of its bytes.
      numbers: of the data files in the checkpoint.
    """
    runs = _runs(blocks_of(shape, dtype), placed)
    if len(runs) == 1 or _are_in_a_row(placed):
        first, crc = placed[0], _crc_of(placed)
        masked = crc if dtype == dtypes.STRING else checksums.mask(crc)
        size = sum(each.size for each in placed)
        return TensorEntry(dtype, shape, numbers[first.file], first.offset, size, masked)
    parts = []
    for extents, run in runs:
        part_shape = tuple(extent.length for extent in extents)
        size, crc = sum(each.size for each in run), checksums.mask(_crc_of(run))
        number = numbers[run[0].file]
        entry = TensorEntry(dtype, part_shape, number, run[0].offset, size, crc)
        parts.append(TensorPart(extents, entry))
    # The whole has no bytes; TensorFlow gives it the number of its first part's file.
    return TensorEntry(dtype, shape, parts[0].entry.shard_id, parts=tuple(parts))


def flat(entry: TensorEntry) -> TensorEntry:
    """Returns an entry whose parts have bytes, of one of which some parts have parts themselves."""
    if not any(part.entry.parts for part in entry.parts):
        return entry
    parts: list[TensorPart] = []
    for part in entry.parts:
        parts += [
            TensorPart(_within(part.extents, inner.extents), inner.entry)
            for inner in part.entry.parts
        ] or [part]
    return entry._replace(parts=tuple(parts))


def _within(outer: Sequence[Extent], inner: Sequence[Extent]) -> tuple[Extent, ...]:
    return tuple(
        Extent(max(one.start, 0) + other.start, other.length) for one, other in zip(outer, inner)
    )


def _runs(
    blocks: Sequence[Block], placed: Sequence[Placed]
) -> list[tuple[tuple[Extent, ...], list[Placed]]]:
    """Puts blocks together that are one slice, and lie one behind the other in one file."""
    runs: list[tuple[tuple[Extent, ...], list[Placed]]] = []
    for block, place in zip(blocks, placed):
        if runs and _follows(runs[-1][1][-1], place):
            whole = joined(runs[-1][0], block.extents)
            if whole is not None:
                runs[-1][1].append(place)
                runs[-1] = (whole, runs[-1][1])
                continue
        runs.append((block.extents, [place]))
    return runs


def _are_in_a_row(placed: Sequence[Placed]) -> bool:
    return all(map(_follows, placed, placed[1:]))


def _follows(one: Placed, other: Placed) -> bool:
    return one.file is other.file and one.offset + one.size == other.offset


def _crc_of(placed: Sequence[Placed]) -> int:
    crc = placed[0].crc
    for each in placed[1:]:
        crc = combine(crc, each.crc, each.size)
    return crc
