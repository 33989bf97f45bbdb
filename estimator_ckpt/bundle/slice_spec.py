"""The text by which SaveV2 and RestoreV2 are told of a part: the whole's shape, and the slice.

    shape, extents = parse_slice_spec("10 4 0,5:-")     # (10, 4), (Extent(0, 5), Extent(0, -1))

Source: `ParseShapeAndSlice` in TensorFlow's `core/util/saved_tensor_slice_util.cc`.
"""

from __future__ import annotations

from estimator_ckpt.bundle.index import Extent


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
