"""Which shapes hold the same bytes in the same order, and what else would make one of another.

    same_bytes((7, 7, 512, 4096), (25088, 4096))      # True: dimensions are merged
    same_bytes((60, 384), (384, 60))                  # False: that is a transposition
    is_transposed((60, 384), (384, 60))               # True

Shapes alone can prove a map wrong; they seldom prove one right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

Shape = Sequence[int]


def same_bytes(one: Shape, other: Shape) -> bool:
    """Returns whether a shape is the other with neighbouring dimensions merged or split.

    Any two shapes of as many elements could be read so; but `[60, 384]` as `[384, 60]` is a
    different matrix. Here one has to be a refinement of the other.
    """
    if tuple(one) == tuple(other):
        return True
    ones, others = _bounds(one), _bounds(other)
    if math.prod(one) != math.prod(other):
        return False
    return ones <= others or others <= ones


def _bounds(shape: Shape) -> set[int]:
    """The sizes of what the leading dimensions span: where dimensions end, in elements."""
    return set(accumulate(squeezed(shape), lambda size, dimension: size * dimension))


def squeezed(shape: Shape) -> tuple[int, ...]:
    """Returns a shape without its dimensions of 1."""
    return tuple(size for size in shape if size != 1)


def is_transposed(one: Shape, other: Shape) -> bool:
    """Returns whether a shape has the dimensions of the other in a different order."""
    ones, others = squeezed(one), squeezed(other)
    return ones != others and sorted(ones) == sorted(others)


def is_square(shape: Shape) -> bool:
    """Returns whether a transposition would not show: the last two dimensions are the same."""
    sizes = squeezed(shape)
    return len(sizes) >= 2 and sizes[-1] == sizes[-2]


def turned_order(rank: int, to_kernel: bool) -> tuple[int, ...]:
    """Returns the axes that make `[out, in, *window]` of PyTorch a `[*window, in, out]`.

    Args:
      rank: of the kernel, 2 or more.
      to_kernel: whether this way; else the way back.
    """
    axes = tuple(range(rank))
    return (*axes[2:], 1, 0) if to_kernel else (rank - 1, rank - 2, *axes[: rank - 2])


def hides_turning(one: Shape, other: Shape, to_kernel: bool) -> bool:
    """Returns whether a kernel has the other's shape whether or not its axes are turned."""
    if len(one) != len(other) or len(one) < 2:
        return is_square(one)
    turned = tuple(one[axis] for axis in turned_order(len(one), to_kernel))
    return turned == tuple(other) or (is_square(one) and is_square(other))


def parts_of(whole: Shape, part: Shape) -> int:
    """Returns how many of `part`, one after another along an axis, are a `whole`, or 0."""
    wholes, parts = squeezed(whole), squeezed(part)
    if len(wholes) != len(parts):
        return 0
    different = [axis for axis, size in enumerate(wholes) if size != parts[axis]]
    if len(different) != 1:
        return 0
    count, rest = divmod(wholes[different[0]], parts[different[0]])
    return count if not rest and count > 1 else 0
