"""What a tensor's values are like, as a picture needs it, read in pieces and in one pass.

    counted = Statistics(shape)
    summary = summarize(counted.watch(array_chunks(checkpoint, entry)))
    counted.norm, counted.histogram, counted.dead_rows

All is computed in float64 of the finite values; those of complex numbers are their magnitudes.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from estimator_ckpt.checkpoint.arrays import Array

BINS = 48
"""The most bins that a histogram has."""


@dataclass(frozen=True)
class Histogram:
    """How often values lie in bins of equal width.

    Attributes:
      start: where the first bin begins, a multiple of `width`.
      width: of each bin, a power of 2.
      counts: of the values in each bin; a bin has its start, and not its end.
    """

    start: float
    width: float
    counts: tuple[int, ...]


class Norm:
    """A Euclidean norm of the finite values among those that are added, real or complex ones."""

    def __init__(self) -> None:
        self._scale, self._squares = 0.0, 0.0  # of values divided by the scale

    def add(self, wide: Array) -> None:
        """Adds values of float64 or complex128.

        The squares of what is large or tiny would overflow or vanish, but not after scaling.
        """
        sizes = np.abs(wide)
        sizes = sizes[np.isfinite(sizes)]
        largest = float(sizes.max()) if sizes.size else 0.0
        if largest > self._scale:
            self._squares *= (self._scale / largest) ** 2
            self._scale = largest
        if self._scale and sizes.size:
            self._squares += float(np.square(sizes / self._scale).sum())

    @property
    def value(self) -> float:
        """The norm."""
        return self._scale * math.sqrt(self._squares)


class Statistics:
    """Collects the norm, a histogram and the dead rows of one tensor."""

    def __init__(self, shape: tuple[int, ...]):
        """Takes the shape of the tensor that will be watched."""
        self._row = math.prod(shape[1:])
        self._lively = np.zeros(shape[0], bool) if len(shape) > 1 and self._row else None
        self._at = 0
        self._norm = Norm()
        self._exponent = 0
        self._first = 0
        self._counts: list[int] = []

    def watch(self, chunks: Iterable[Array]) -> Iterator[Array]:
        """Yields the flat pieces as they come, and counts them."""
        for chunk in chunks:
            self._add(chunk)
            yield chunk

    @property
    def norm(self) -> float:
        """The Euclidean norm."""
        return self._norm.value

    @property
    def dead_rows(self) -> int | None:
        """How many rows are all zeros; None where there are no rows, but single values."""
        return None if self._lively is None else int(self._lively.size - self._lively.sum())

    @property
    def histogram(self) -> Histogram | None:
        """The histogram; None where no value is finite."""
        if not self._counts:
            return None
        width = math.ldexp(1.0, self._exponent)
        start = max(self._first * width, -sys.float_info.max)
        return Histogram(start, width, tuple(self._counts))

    def _add(self, chunk: Array) -> None:
        values = np.abs(chunk) if chunk.dtype.kind == "c" else chunk
        wide = values.astype(np.float64)
        if self._lively is not None:
            self._lively[(np.flatnonzero(wide) + self._at) // self._row] = True
        self._at += wide.size
        wide = wide[np.isfinite(wide)]
        self._norm.add(wide)
        if wide.size:
            self._add_to_bins(wide)

    def _add_to_bins(self, wide: Array) -> None:
        low, high = float(wide.min()), float(wide.max())
        finest = _finest(low, high)
        if not self._counts:
            self._exponent = finest
            self._first = math.floor(math.ldexp(low, -finest))
            self._counts = [0]
        while self._exponent < finest or self._needed(low, high) > BINS:
            self._widen()
        first = min(self._first, math.floor(math.ldexp(low, -self._exponent)))
        places = np.floor(np.ldexp(wide, -self._exponent)).astype(np.int64) - first
        found = np.bincount(places).tolist()
        known = [0] * (self._first - first) + self._counts
        pairs = itertools.zip_longest(known, found, fillvalue=0)
        self._first, self._counts = first, [one + other for one, other in pairs]

    def _needed(self, low: float, high: float) -> int:
        first = min(self._first, math.floor(math.ldexp(low, -self._exponent)))
        end = self._first + len(self._counts)
        return max(end, math.floor(math.ldexp(high, -self._exponent)) + 1) - first

    def _widen(self) -> None:
        """Makes each two bins one; those of twice the width begin at even places."""
        counts = [0] * (self._first % 2) + self._counts
        counts += [0] * (len(counts) % 2)
        self._counts = [one + other for one, other in zip(counts[::2], counts[1::2])]
        self._first //= 2
        self._exponent += 1


def _finest(low: float, high: float) -> int:
    """Returns an exponent of 2: of bins narrower than is needed, but not too many to count."""
    half = high / 2 - low / 2  # the whole may be too large for a float
    largest = max(abs(low), abs(high))
    narrow = math.frexp(half)[1] - 7 if half else -1000
    exact = math.frexp(largest)[1] - 45 if largest else -1000
    return max(narrow, exact, -1000)
