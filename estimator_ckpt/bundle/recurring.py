"""Indexes that follow each other, of which mostly the checksums alone are others.

    recurring = RecurringIndex()
    data = recurring.encode(index)           # as `encode_index` does; from the second time on, in
    data = recurring.encode(next_index)      # the bytes of the last one the checksums are replaced

    index = recurring.decode(data)           # likewise, as `decode_index` does

A job saves the same tensors again and again: names, types, shapes, places and sizes stay. Where
they don't, all is encoded or decoded anew. One object is for one kind of checkpoint.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estimator_ckpt.bundle import checksums
from estimator_ckpt.bundle.allocation import many_objects
from estimator_ckpt.bundle.index import BundleIndex, TensorEntry, decode_index, encode_index
from estimator_ckpt.bundle.table import TRAILER_SIZE, Rows, located_blocks

_CRC32C, _PARTS = 5, 6
"""The numbers of fields of a `TensorEntry`."""
_CHECKSUM = "<u4"


class RecurringIndex:
    """Encodes and decodes indexes of one kind."""

    def __init__(self) -> None:
        """Knows none yet."""
        self._known: _Known | None = None

    @many_objects()
    def encode(self, index: BundleIndex) -> bytes:
        """Encodes an index: its bytes are those that `encode_index` returns."""
        columns = _columns(index)
        places = None if self._known is None else self._known.places_of(index, columns)
        if places is not None:
            return places.with_checksums(columns[_CRC32C])
        data = encode_index(index)
        self._known = _known(index, columns, data)
        return data

    @many_objects()
    def decode(self, data: bytes) -> BundleIndex:
        """Decodes an index: it is what `decode_index` returns, or raises."""
        known = self._known
        if known is not None and (crcs := known.checksums(data)) is not None:
            fields = zip(*known.columns[:_CRC32C], crcs, itertools.repeat(()))
            # As map(TensorEntry._make, fields), in a third of the time.
            made = map(tuple.__new__, itertools.repeat(TensorEntry), fields)
            return BundleIndex(dict(zip(known.keys, made)), known.num_shards, known.producer)
        index = decode_index(data)
        self._known = _known(index, _columns(index), data)
        return index


@dataclass
class _Known:
    """An index and its bytes.

    Attributes:
      keys: of its entries.
      columns: of its entries, each field of all of them.
      num_shards: as of the index.
      producer: likewise.
      data: the bytes.
    """

    keys: list[str]
    columns: Sequence[tuple[Any, ...]]
    num_shards: int
    producer: int
    data: bytes

    def places_of(self, index: BundleIndex, columns: Sequence[tuple[Any, ...]]) -> _Places | None:
        """Returns where the checksums are to be put for an index; None if it is another one."""
        is_like = (
            (self.num_shards, self.producer) == (index.num_shards, index.producer)
            and self.columns[:_CRC32C] == columns[:_CRC32C]
            and self.columns[_PARTS] == columns[_PARTS]
            and self.keys == list(index.entries)
        )
        return self._places if is_like and 0 not in columns[_CRC32C] else None

    def checksums(self, data: bytes) -> list[int] | None:
        """Returns the checksums of the tensors in other bytes; None if those are of another one."""
        return None if self._places is None else self._places.checksums(data)

    @functools.cached_property
    def _places(self) -> _Places | None:
        blocks = located_blocks(self.data)
        return None if blocks is None else _Places(self.data, blocks, self.keys)


def _known(index: BundleIndex, columns: Sequence[tuple[Any, ...]], data: bytes) -> _Known | None:
    """Returns what is to be known of an index; None where more changes than checksums would."""
    # One of 0 has no bytes; of parts, each has rows of its own.
    if not columns or 0 in columns[_CRC32C] or any(columns[_PARTS]):
        return None
    return _Known(list(index.entries), columns, index.num_shards, index.producer, data)


def _columns(index: BundleIndex) -> Sequence[tuple[Any, ...]]:
    return tuple(zip(*index.entries.values()))


class _Places:
    """Where in the bytes of an index checksums are: those of tensors, and those of its blocks."""

    def __init__(self, data: bytes, blocks: Sequence[tuple[int, Rows]], keys: Sequence[str]):
        end_of: dict[bytes, int] = {}
        self._data = np.frombuffer(data, np.uint8)
        self._blocks: list[tuple[int, int]] = []
        is_checksum = np.zeros(len(data), bool)
        for start, rows in blocks:
            end = start + len(rows.block) + TRAILER_SIZE
            self._blocks.append((start, end))
            is_checksum[end - 4 : end] = True
            end_of.update(zip(rows.keys, (start + each for each in rows.ends)))
        # The last field of an entry, of four bytes.
        ends = [end_of[key.encode("utf-8", "surrogateescape")] for key in keys]
        self._at = np.array(ends)[:, np.newaxis] + np.arange(-4, 0)
        is_checksum[self._at] = True
        self._is_other = ~is_checksum

    def with_checksums(self, crcs: Sequence[int]) -> bytes:
        """Returns the bytes with other checksums of the tensors, in the order of the keys."""
        array = self._data.copy()
        array[self._at] = np.array(crcs, _CHECKSUM).view(np.uint8).reshape(-1, 4)
        for start, end in self._blocks:
            crc = checksums.masked_crc32c(memoryview(array[start : end - 4]))
            array[end - 4 : end] = np.frombuffer(crc.to_bytes(4, "little"), np.uint8)
        return bytes(array)

    def checksums(self, data: bytes) -> list[int] | None:
        """Returns the checksums of the tensors; None where more is other than checksums."""
        array = np.frombuffer(data, np.uint8)
        if array.shape != self._data.shape or np.any((array != self._data) & self._is_other):
            return None
        for start, end in self._blocks:
            crc = checksums.masked_crc32c(data[start : end - 4])
            if crc != int.from_bytes(data[end - 4 : end], "little"):
                return None  # it is damaged
        found: list[int] = array[self._at].view(_CHECKSUM).ravel().tolist()
        return found
