"""How far the values of two tensors are apart, read in pieces.

distance(checkpoint, entry, other_checkpoint, other_entry)      # Distance(max=..., mean=...)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from estimator_ckpt.bundle import TensorEntry, dtypes
from estimator_ckpt.checkpoint import Checkpoint
from estimator_ckpt.checkpoint.arrays import Array, array_chunks, numpy_dtype, read_array


@dataclass(frozen=True)
class Distance:
    """How far two tensors of one shape are apart.

    Attributes:
      max: the greatest absolute difference; NaN where one has a NaN and the other has not.
      mean: the mean absolute difference.
      differing: whether any bytes differ; those of 0.0 and -0.0 do, though not by any distance.
    """

    max: float
    mean: float
    differing: bool


def distance(
    first: Checkpoint, first_entry: TensorEntry, second: Checkpoint, second_entry: TensorEntry
) -> Distance | None:
    """Works out how far two tensors of the same shape are apart.

    Args:
      first: a checkpoint.
      first_entry: of a tensor in it.
      second: another one.
      second_entry: of a tensor in that, of the same shape; the type may be another.

    Returns:
      The distance, in float64; None where a type has no numbers, unless both are equal strings.

    Raises:
      DamagedCheckpointError: a checksum is wrong.
    """
    if first_entry.dtype == second_entry.dtype == dtypes.STRING:
        same = bool(
            np.array_equal(read_array(first, first_entry), read_array(second, second_entry))
        )
        return Distance(0.0, 0.0, False) if same else None
    if numpy_dtype(first_entry.dtype) is None or numpy_dtype(second_entry.dtype) is None:
        return None
    largest = total = 0.0
    differing = False
    pairs = side_by_side(array_chunks(first, first_entry), array_chunks(second, second_entry))
    for left, right in pairs:
        differing = differing or left.dtype != right.dtype or left.tobytes() != right.tobytes()
        apart = _apart(left, right)
        largest = float(np.maximum(largest, apart.max()))  # NaN stays, as `max` would not let it
        total += float(apart.sum())
    return Distance(largest, total / max(1, math.prod(first_entry.shape)), differing)


def side_by_side(left: Iterator[Array], right: Iterator[Array]) -> Iterator[tuple[Array, Array]]:
    """Yields pieces of equal length, whatever the lengths of those of two flat arrays are."""
    empty = np.empty(0)
    a = b = empty
    while True:
        a = a if a.size else next(left, empty)
        b = b if b.size else next(right, empty)
        size = min(a.size, b.size)
        if not size:
            return
        yield a[:size], b[:size]
        a, b = a[size:], b[size:]


def _apart(left: Array, right: Array) -> Array:
    """Returns the absolute differences as float64."""
    if left.dtype == right.dtype and left.dtype.kind in "iu":
        # In the unsigned type of this size it is exact; int64 would overflow, float64 round.
        unsigned = np.dtype(f"u{left.itemsize}")
        high, low = np.maximum(left, right), np.minimum(left, right)
        distance: Array = (high.view(unsigned) - low.view(unsigned)).astype(np.float64)
        return distance
    left, right = _wide(left), _wide(right)
    with np.errstate(invalid="ignore", over="ignore"):
        apart: Array = np.abs(left - right)
    equal = (left == right) | (np.isnan(left) & np.isnan(right))
    if not equal.all():
        apart[equal] = 0  # inf - inf and NaN - NaN are NaN
        return apart
    return np.zeros(apart.shape)


def _wide(values: Array) -> Array:
    wide: Array = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
    return wide
