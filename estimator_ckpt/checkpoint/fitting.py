"""Whether a stored tensor fits what wants it: the one check of shape and type.

reason = misfit(entry, shape=(784, None), dtype=1)
if reason is not None:
print(reason)              # it is float32 (784, 10) here, and float32 (784, 12) there
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from estimator_ckpt.bundle import TensorEntry
from estimator_ckpt.bundle.dtypes import dtype_name

Shape = Optional[Sequence[Optional[int]]]
"""Size of each dimension, None for one that is not known; None where nothing is known of it."""


def misfit(entry: TensorEntry, shape: Shape, dtype: int | None = None) -> str | None:
    """Says how a stored tensor differs from what wants it.

    Args:
      entry: of the tensor; of a partitioned one, of the whole.
      shape: that it has to have. For a part of a partitioned variable, that of the whole.
      dtype: number of the element type that it has to have; None for any.

    Returns:
      What is different, in words; None if it fits.
    """
    fits = shape is None or (
        len(shape) == len(entry.shape)
        and all(size in (None, stored) for size, stored in zip(shape, entry.shape))
    )
    if fits and dtype in (None, entry.dtype):
        return None
    wanted = dtype_name(dtype) if dtype is not None else entry.dtype_name
    return (
        f"it is {wanted} {shown(shape)} here, and {entry.dtype_name} {shown(entry.shape)} in the "
        "checkpoint"
    )


def overlaps(entry: TensorEntry, shape: Shape, dtype: int | None) -> bool:
    """Returns whether a stored tensor and what wants it have so much in common that part fits."""
    return (
        shape is not None
        and dtype == entry.dtype
        and len(shape) == len(entry.shape) > 0
        and None not in shape
    )


def shown(shape: Shape) -> str:
    """Returns a shape as it is written: `(784, ?)`."""
    if shape is None:
        return "of unknown shape"
    return "({})".format(", ".join("?" if size is None else str(size) for size in shape))
