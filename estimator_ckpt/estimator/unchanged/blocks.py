"""Cuts a tensor into blocks that are hashed, and written or not, each by itself.

    for block in blocks_of((1_000_000, 64), dtypes.FLOAT32):
        block.start, block.size, block.extents      # its bytes, and the slice that it is

Where the cuts are depends on shape and type alone, so a later save, and a later run, cuts alike. A
block is a slice with contiguous bytes: what TensorFlow reads as a part of a partitioned variable.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

from estimator_ckpt.bundle import dtypes
from estimator_ckpt.bundle.index import Extent

BLOCK = 4 << 20
"""Bytes of a block, about."""

_MOST_BLOCKS = 1024  # of a tensor, about: TensorFlow compares each slice of one with each other
_MOST_DIMENSIONS = 8  # of a slice that TensorFlow reads
# Types of which TensorFlow puts slices together: those in `BundleReader::GetSliceValue`, in
# core/util/tensor_bundle/tensor_bundle.cc. A tensor of any other is one block.
_IN_SLICES = frozenset(
    number
    for number, name in dtypes.DTYPE_NAMES.items()
    if name
    in (
        *("float32", "float64", "bfloat16", "complex64", "complex128", "bool"),
        *("int8", "int16", "int32", "int64", "uint8"),
    )
)


class Block(NamedTuple):
    """A piece of a tensor.

    Attributes:
      start: where its bytes begin in the tensor.
      size: their number; of strings 0, as no shape tells it.
      extents: the slice that it is; () for the whole tensor.
    """

    start: int
    size: int
    extents: tuple[Extent, ...]


@functools.lru_cache(65536)
def blocks_of(shape: tuple[int, ...], dtype: int) -> tuple[Block, ...]:
    """Returns the blocks of a tensor, in the order of its bytes; at least one.

    Args:
      shape: size of each dimension.
      dtype: number of the element type.
    """
    element = dtypes.element_size(dtype) or 0
    size = math.prod(shape) * element
    most = max(BLOCK, -(-size // _MOST_BLOCKS))
    if size <= most or dtype not in _IN_SLICES or len(shape) > _MOST_DIMENSIONS:
        return (Block(0, size, ()),)
    return tuple(_cut(shape, element, most))


def _cut(shape: tuple[int, ...], element: int, most: int) -> Iterator[Block]:
    """Cuts along the first dimension whose rows are no longer than a block."""
    axis, row = 0, math.prod(shape[1:]) * element
    while row > most:
        axis += 1
        row //= shape[axis]
    rows = most // row
    inner = tuple(Extent(0, size) for size in shape[axis + 1 :])
    start = 0
    for outer in range(math.prod(shape[:axis])):
        before = _indices(outer, shape[:axis])
        for first in range(0, shape[axis], rows):
            count = min(rows, shape[axis] - first)
            yield Block(start, count * row, (*before, Extent(first, count), *inner))
            start += count * row


def _indices(number: int, shape: tuple[int, ...]) -> tuple[Extent, ...]:
    """Returns the place of one of the rows of the outer dimensions, counted through."""
    found: list[Extent] = []
    for size in reversed(shape):
        number, index = divmod(number, size)
        found.append(Extent(index, 1))
    return tuple(reversed(found))


def joined(first: tuple[Extent, ...], second: tuple[Extent, ...]) -> tuple[Extent, ...] | None:
    """Returns the slice that two neighbours make up, if they make up one; else None.

    Args:
      first: of a block, or of blocks in a row.
      second: of the block behind it.
    """
    differing = [number for number, pair in enumerate(zip(first, second)) if pair[0] != pair[1]]
    if len(differing) != 1:
        return None
    (number,) = differing
    one, other = first[number], second[number]
    if one.start + one.length != other.start:
        return None
    return (*first[:number], Extent(one.start, one.length + other.length), *first[number + 1 :])
