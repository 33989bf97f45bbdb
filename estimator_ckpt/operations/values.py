"""Numbers that sum up a tensor's values, read in pieces.

    summarize(array_chunks(checkpoint, entry))      # ValueSummary(min=-0.1, max=0.3, ...)

Everything is computed in float64; the largest tensor needs no more memory than the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from estimator_ckpt.checkpoint.arrays import Array


@dataclass(frozen=True)
class ValueSummary:
    """The values of one variable. Those of complex numbers are their magnitudes.

    Attributes:
      min: the smallest finite value; None where no value is finite.
      max: the largest one.
      mean: of the finite values.
      std: their standard deviation (of the population).
      zeros: how many values are 0.
      nan: how many are not a number.
      inf: how many are infinite, of either sign.
    """

    min: float | int | bool | None
    max: float | int | bool | None
    mean: float | None
    std: float | None
    zeros: int
    nan: int
    inf: int


def summarize(chunks: Iterable[Array]) -> ValueSummary:
    """Sums up a tensor.

    Args:
      chunks: its values in flat pieces, of any numeric type.

    Returns:
      The summary.
    """
    low = high = None
    count = zeros = nan = inf = 0
    mean = squares = 0.0  # `squares` of the distances to the mean
    for chunk in chunks:
        values = np.abs(chunk) if chunk.dtype.kind == "c" else chunk
        if values.dtype.kind not in "biuf":  # the types of ml_dtypes
            values = values.astype(np.float32)
        zeros += values.size - int(np.count_nonzero(values))
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                nans = int(np.isnan(values).sum())
                nan, inf = nan + nans, inf + int((~finite).sum()) - nans
                values = values[finite]
        if not values.size:
            continue
        smallest, largest = values.min().item(), values.max().item()
        low = smallest if low is None else min(low, smallest)
        high = largest if high is None else max(high, largest)
        with np.errstate(over="ignore", invalid="ignore"):
            wide = values.astype(np.float64)
            center = float(wide.mean())
            spread = float(np.square(wide - center).sum())
            # Means of two sets and of both together, after Chan, Golub and LeVeque.
            distance = center - mean
            total = count + wide.size
            squares += spread + distance * distance * (count * wide.size / total)
            mean += distance * (wide.size / total)
            count = total
    if not count:
        return ValueSummary(None, None, None, None, zeros, nan, inf)
    return ValueSummary(low, high, mean, math.sqrt(squares / count), zeros, nan, inf)
