"""The text by which SaveV2 and RestoreV2 are told of a part: the whole's shape, and the slice.

    shape, extents = parse_slice_spec("10 4 0,5:-")     # (10, 4), (Extent(0, 5), Extent(0, -1))

Source: `ParseShapeAndSlice` in TensorFlow's `core/util/saved_tensor_slice_util.cc`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from estimator_ckpt.bundle import checksums, dtypes
from estimator_ckpt.bundle.combining import combine
from estimator_ckpt.bundle.index import Extent, TensorEntry


def parse_slice_spec(spec: str) -> tuple[tuple[int, ...], tuple[Extent, ...]]:
    """Returns the shape of the whole and the extents of the part, () and () for "", no part."""
    if not spec:
        return (), ()
    *sizes, slices = spec.split(" ")
    extents = [
        Extent(0, -1) if each == "-" else Extent(*map(int, each.split(",")))
        for each in slices.split(":")
    ]
    return tuple(map(int, sizes)), tuple(extents)


def filled(extents: Sequence[Extent], shape: Sequence[int]) -> list[Extent]:
    """Returns a slice of a shape with each of its lengths; that of () is the whole."""
    if not extents:
        return [Extent(0, size) for size in shape]
    return [
        Extent(0, size) if extent.length < 0 else extent for extent, size in zip(extents, shape)
    ]


def start_in_row(box: Sequence[Extent], whole: Sequence[Extent]) -> int | None:
    """Returns at which element of a larger slice one begins that lies in a row there, or None."""
    start, in_row = 0, False
    for one, other in zip(box, whole):
        first = one.start - other.start
        if first < 0 or first + one.length > other.length:
            return None
        if in_row and one.length != other.length:
            return None
        in_row = in_row or one.length != 1
        start = start * other.length + first
    return start


def checksum_of_whole(entry: TensorEntry) -> int | None:
    """Returns the masked CRC32C of all bytes of a tensor, one behind the other.

    Args:
      entry: of a tensor. If it has parts, the checksum is put together from theirs.

    Returns:
      It; None if a part lies here and there in the whole, or the parts don't make that up.
    """
    if not entry.parts:
        return entry.crc32c
    if dtypes.element_size(entry.dtype) is None:
        return None
    whole = filled((), entry.shape)
    starts = [start_in_row(filled(part.extents, entry.shape), whole) for part in entry.parts]
    crc, end = 0, 0
    for start, part in sorted(
        (-1 if start is None else start, part) for start, part in zip(starts, entry.parts)
    ):
        if start != end:
            return None
        crc = combine(crc, checksums.unmask(part.entry.crc32c), part.entry.size)
        end += math.prod(part.entry.shape)
    return checksums.mask(crc) if end == math.prod(entry.shape) else None
