"""Changes values as the lines of a map say: whole arrays, or tensors piece by piece.

    applied(Transformation.parse("transpose(1, 0)"), [array])
    for piece in transformed(made, [Kind((60, 128), "float32")], [read]):     # flat pieces
        file.write(piece.tobytes())

A step that leaves rows rows is done as they are read. Before any other step the whole tensor is in
memory; twice where a `reshape` follows a `transpose`, as numpy copies it then.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from estimator_ckpt.bundle.dtypes import DTYPE_NAMES
from estimator_ckpt.checkpoint.arrays import Array, DType, numpy_dtype
from estimator_ckpt.checkpoint.casting import Losses, cast_array
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.messages import logger
from estimator_ckpt.naming.transformations import (
    Cast,
    Concat,
    Gates,
    Kind,
    Reshape,
    Split,
    Step,
    Transformation,
    Transpose,
    axis_in,
)
from estimator_ckpt.storage import files

_log = logger(__name__)
Chunks = Callable[[], Iterator[Array]]
"""Gives a tensor's elements as flat arrays, in C order."""
_NUMBERS = {name: number for number, name in DTYPE_NAMES.items()}


def applied(transformation: Transformation, inputs: Sequence[Array]) -> Array:
    """Returns what becomes of arrays, whatever is lost of their values.

    Args:
      transformation: the steps; they fit (`Transformation.result`).
      inputs: the array, or those that are to be one.
    """
    found = list(inputs)
    for step in transformation.steps:
        found = [_applied(step, found, Losses())]
    return found[0]


def require_number(dtype: str) -> int:
    """Returns the number of a type in a checkpoint.

    Raises:
      CheckpointArgumentError: numpy has no such type, so that no values can be changed.
    """
    number = _NUMBERS.get(dtype)
    if number is None or numpy_dtype(number) is None:
        raise CheckpointArgumentError(f"values of type {dtype} can't be changed")
    return number


def transformed(
    transformation: Transformation,
    kinds: Sequence[Kind],
    inputs: Sequence[Chunks],
    what: str = "",
) -> Iterator[Array]:
    """Yields what becomes of tensors, in flat pieces; logs how many floats are lost by a cast.

    Args:
      transformation: the steps; they fit.
      kinds: shapes and types of the tensors.
      inputs: what reads each.
      what: what is said of them, to begin a message.

    Raises:
      CheckpointArgumentError: after the last piece, that values don't fit an integer type.
    """
    losses = Losses()
    blocks = [_rows(kind, read()) for kind, read in zip(kinds, inputs)]
    before = list(kinds)
    for step, after in zip(transformation.steps, transformation.results(kinds)):
        blocks, before = [_stepped(step, before, after, blocks, losses)], [after]
    for block in blocks[0]:
        rows = max(1, files.PIECE * len(block) // max(1, block.nbytes)) if block.ndim else 1
        for start in range(0, len(block) if block.ndim else 1, rows):
            part = block[start : start + rows] if block.ndim else block
            yield np.ascontiguousarray(part).reshape(-1)
    _tell(losses, what, transformation)


def _tell(losses: Losses, what: str, transformation: Transformation) -> None:
    if losses.misfits:
        raise CheckpointArgumentError(
            f"{what}{transformation} does not keep {losses.misfits:,} of the values, as "
            f"{losses.example!s}: an integer type has no fractions and no nan, and has a range"
        )
    if losses.overflows or losses.underflows:
        _log.warning(
            "%s%s makes %s finite values infinite, and %s zero that were not",
            what,
            transformation,
            f"{losses.overflows:,}",
            f"{losses.underflows:,}",
        )


def _stepped(
    step: Step,
    before: Sequence[Kind],
    after: Kind,
    blocks: Sequence[Iterator[Array]],
    losses: Losses,
) -> Iterator[Array]:
    """Applies a step to blocks of rows."""
    shape = before[0].shape
    if isinstance(step, Concat) and axis_in(step.axis, shape) == 0:
        return itertools.chain(*blocks)
    if isinstance(step, Split) and axis_in(step.axis, shape) == 0:
        return _between(step, blocks[0])
    if isinstance(step, Concat) and 0 not in shape:
        return _beside(step, before, blocks)
    if isinstance(step, Gates) and axis_in(step.axis, shape) == 0:
        return iter(_ordered(step, _whole(before[0], blocks[0]), losses))
    if _keeps_rows(step, shape):
        return (_of_rows(step, block, losses) for block in blocks[0])
    whole = [_whole(kind, each) for kind, each in zip(before, blocks)]
    return iter([_applied(step, whole, losses)])


def _keeps_rows(step: Step, shape: tuple[int, ...]) -> bool:
    """Whether each row of the result is made of the row at its place alone."""
    if isinstance(step, Cast):
        return True
    if not shape or 0 in shape:
        return False
    if isinstance(step, Reshape):
        return bool(step.shape) and step.shape[0] == shape[0]
    if isinstance(step, Transpose):
        return step.axes[0] == 0
    return isinstance(step, (Split, Gates)) and axis_in(step.axis, shape) != 0


def _of_rows(step: Step, block: Array, losses: Losses) -> Array:
    if isinstance(step, Reshape):
        return block.reshape(len(block), *step.shape[1:])
    return _applied(step, [block], losses)


def _between(step: Split, blocks: Iterable[Array]) -> Iterator[Array]:
    """The rows between two places; all blocks are read, as the checksum is one of the whole."""
    first = 0
    for block in blocks:
        part = block[max(0, step.start - first) : max(0, step.stop - first)]
        if len(part):
            yield part
        first += len(block)


def _beside(
    step: Concat, kinds: Sequence[Kind], inputs: Sequence[Iterator[Array]]
) -> Iterator[Array]:
    """As many rows of each at a time, one beside the other."""
    width = sum(math.prod(kind.shape[1:]) for kind in kinds)
    rows = max(1, files.PIECE // (width * _dtype(kinds[0].dtype).itemsize))
    # To the end of each, where its checksum is compared.
    for blocks in itertools.zip_longest(*(_of_length(each, rows) for each in inputs)):
        yield np.concatenate(blocks, step.axis)


def _of_length(blocks: Iterable[Array], rows: int) -> Iterator[Array]:
    """Makes blocks of so many rows; the last may have less."""
    held, count = [], 0
    for block in blocks:
        held.append(block)
        count += len(block)
        if count >= rows:
            whole = np.concatenate(held)
            end = count - count % rows
            for start in range(0, end, rows):
                yield whole[start : start + rows]
            held, count = [whole[end:]], count - end
    if count:
        yield np.concatenate(held)


def _ordered(step: Gates, array: Array, losses: Losses) -> list[Array]:
    """The blocks of an array in their new order."""
    parts = dict(zip(step.old, np.split(array, len(step.old), axis_in(step.axis, array.shape))))
    for name, number in zip(step.old, step.added):
        if number:
            parts[name] = _sum(parts[name], number, losses)
    return [parts[name] for name in step.new]


def _sum(array: Array, number: float, losses: Losses) -> Array:
    """Adds a number to all values; of integers, counts those whose sum their type lacks."""
    if array.dtype.kind not in "iu":
        made: Array = array + np.asarray(number, array.dtype)
        return made
    own, whole = np.iinfo(array.dtype), int(number)
    least, most = max(own.min, own.min - whole), min(own.max, own.max - whole)
    fits = np.zeros(array.shape, np.bool_)
    if least <= most:
        fits = (array >= array.dtype.type(least)) & (array <= array.dtype.type(most))
    losses.add_misfits(array, fits)
    # Modulo 2 ** bits, as numpy adds; any sum that is another one by that is a misfit.
    modulo = np.asarray(whole % 2**own.bits, f"u{array.itemsize}").astype(array.dtype)
    made = array + modulo
    return made


def _applied(step: Step, inputs: Sequence[Array], losses: Losses) -> Array:
    array = inputs[0]
    if isinstance(step, Concat):
        return np.concatenate(inputs, step.axis)
    if isinstance(step, Reshape):
        return array.reshape(step.shape)
    if isinstance(step, Transpose):
        turned: Array = array.transpose(step.axes)
        return turned
    if isinstance(step, Cast):
        return cast_array(array, _dtype(step.dtype), losses)
    if isinstance(step, Gates):
        return np.concatenate(_ordered(step, array, losses), step.axis)
    axis = axis_in(step.axis, array.shape)
    return array[(slice(None),) * axis + (slice(step.start, step.stop),)]


def _dtype(name: str) -> DType:
    dtype = numpy_dtype(require_number(name))
    assert dtype is not None
    return dtype


def _rows(kind: Kind, chunks: Iterator[Array]) -> Iterator[Array]:
    """Makes blocks of whole rows of flat pieces; all of it is one where there are no rows."""
    shape = kind.shape
    if not shape or 0 in shape:
        yield _whole(kind, (chunk.reshape(-1) for chunk in chunks))
        return
    width, rest = math.prod(shape[1:]), shape[1:]
    held: list[Array] = []
    size = 0
    for chunk in chunks:
        held.append(chunk)
        size += chunk.size
        if size >= width and size * chunk.itemsize >= files.PIECE:
            flat = np.concatenate(held)
            end = size - size % width
            yield flat[:end].reshape(-1, *rest)
            held, size = [flat[end:]], size - end
    if size:
        yield np.concatenate(held).reshape(-1, *rest)


def _whole(kind: Kind, blocks: Iterable[Array]) -> Array:
    whole: Array = np.empty(kind.shape, _dtype(kind.dtype))
    flat, done = whole.reshape(-1), 0
    for block in blocks:
        flat[done : done + block.size] = block.reshape(-1)
        done += block.size
    return whole
