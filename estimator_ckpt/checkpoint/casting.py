"""Casts arrays of numbers to another type, and counts what is lost by it.

    losses = Losses()
    shorter = cast_array(array, np.dtype("float16"), losses)
    losses.overflows, losses.underflows, losses.misfits

A float is rounded to what another float type has; a value that an integer type lacks is a misfit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from estimator_ckpt.checkpoint.arrays import Array, DType


@dataclass
class Losses:
    """What was lost of values so far.

    Attributes:
      overflows: how many were finite and are infinite (or no number) now.
      underflows: how many were not zero and are zero now.
      misfits: how many an integer type lacks: fractions, no numbers, and what is out of its range.
      example: the first of these.
    """

    overflows: int = 0
    underflows: int = 0
    misfits: int = 0
    example: Any = None

    def add_misfits(self, array: Array, fits: Array) -> None:
        """Counts the values of an array for which `fits` is false."""
        if fits.all():
            return
        if not self.misfits:
            self.example = array[~fits].reshape(-1)[0]
        self.misfits += int(np.count_nonzero(~fits))


def cast_array(array: Array, dtype: DType, losses: Losses) -> Array:
    """Returns an array in another type, as numpy casts it.

    Args:
      array: of numbers, not complex ones.
      dtype: the type.
      losses: counts what is lost.
    """
    with np.errstate(all="ignore"):  # it is counted
        made = array.astype(dtype)
    if dtype.kind in "iub":
        losses.add_misfits(array, _fits(array, dtype))
        return made
    overflows = np.isfinite(array) & ~np.isfinite(made)
    losses.overflows += int(np.count_nonzero(overflows))
    losses.underflows += int(np.count_nonzero((made == 0) & (array != 0)))
    return made


def _fits(array: Array, dtype: DType) -> Array:
    """Tells for each value whether an integer type, or bool, has it."""
    fits: Array
    least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if array.dtype.kind in "iub":
        own = np.iinfo(np.uint8 if array.dtype.kind == "b" else array.dtype)
        # Only bounds that the array's own type has: comparing with others, numpy may round.
        fits = np.ones(array.shape, np.bool_)
        if own.min < least:
            fits &= array >= least
        if own.max > most:
            fits &= array <= most
        return fits
    exact = array.astype(np.float64)
    # The bounds are a power of 2, which a float has; the largest integer may be none.
    fits = (exact >= float(least)) & (exact < float(most + 1)) & (exact == np.floor(exact))
    return fits
