"""The tensors of a checkpoint as numpy arrays, whole or in pieces.

    checkpoint = open_checkpoint("model_dir")
    entry = checkpoint.index.entries["dnn/kernel"]
    read_array(checkpoint, entry)                 # an array of its shape
    for piece in array_chunks(checkpoint, entry):
        total += piece.sum()                      # flat, of 256 KiB at most

Whatever is read is checked against its checksum. Types that numpy lacks (bfloat16, float8) are
those of `ml_dtypes`, as in TensorFlow; strings are arrays of `bytes` objects.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from estimator_ckpt.bundle import checksums, dtypes
from estimator_ckpt.bundle.index import Extent, TensorEntry, TensorPart
from estimator_ckpt.bundle.strings import decode_strings
from estimator_ckpt.checkpoint.opening import Checkpoint
from estimator_ckpt.errors import CheckpointArgumentError, DamagedCheckpointError
from estimator_ckpt.storage import files

DType = np.dtype[Any]
"""The type of an array's elements; what is in a file decides which."""

Array = np.ndarray[Any, DType]
"""An array of any shape and type."""

_FROM_ML_DTYPES = tuple(
    name
    for name in dtypes.DTYPE_NAMES.values()
    if name == "bfloat16" or name.startswith(("float8_", "float4_"))
    if hasattr(ml_dtypes, name)  # an older one lacks some, and so does its TensorFlow
)
_FROM_NUMPY = (
    *("float16", "float32", "float64", "complex64", "complex128", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
_NUMPY_DTYPES: dict[int, DType] = {
    number: np.dtype(getattr(ml_dtypes, name) if name in _FROM_ML_DTYPES else name)
    for number, name in dtypes.DTYPE_NAMES.items()
    if name in _FROM_ML_DTYPES + _FROM_NUMPY
}
_NUMBERS = {dtype: number for number, dtype in _NUMPY_DTYPES.items()}


def numpy_dtype(number: int) -> DType | None:
    """Returns the numpy type of elements, or None where there is none (string, quantized types)."""
    return _NUMPY_DTYPES.get(number)


def dtype_number(dtype: DType) -> int | None:
    """Returns the number of a numpy type, of any byte order, in a checkpoint; None if it has none.

    Strings have none here: they are encoded, not stored as they are.
    """
    return _NUMBERS.get(dtype.newbyteorder("="))


def is_floating(number: int) -> bool:
    """Returns whether elements are real or complex floating-point numbers."""
    return "float" in dtypes.dtype_name(number) or "complex" in dtypes.dtype_name(number)


def byte_chunks(checkpoint: Checkpoint, entry: TensorEntry) -> Iterator[bytes]:
    """Reads the stored bytes of a tensor in pieces.

    Args:
      checkpoint: which has it.
      entry: of a tensor that is not partitioned, or of a part.

    Yields:
      Pieces of `files.PIECE` bytes; a string tensor is one piece.

    Raises:
      DamagedCheckpointError: after the last piece, that the checksum is wrong. (Variants have one
        that their bytes don't tell; it is not checked.)
    """
    if entry in checkpoint.made:
        for piece in checkpoint.made[entry]():
            yield piece.tobytes()
        return
    if entry.dtype == dtypes.STRING:
        data = checkpoint.read_bytes(entry)
        _decode_strings(checkpoint, entry, data)
        yield data
        return
    crc = 0
    for chunk in checkpoint.read_pieces(entry):
        crc = checksums.extend(crc, chunk)
        yield chunk
    is_plain = dtypes.element_size(entry.dtype) is not None
    if is_plain and checksums.mask(crc) != entry.crc32c:
        raise _damage(checkpoint, entry, "its checksum is wrong")


def array_chunks(checkpoint: Checkpoint, entry: TensorEntry) -> Iterator[Array]:
    """Reads a tensor of numbers in flat pieces, in C order.

    Args:
      checkpoint: which has it.
      entry: of the tensor. If it is partitioned, and not by its rows alone, the whole of it is in
        memory meanwhile.

    Yields:
      Arrays of one dimension and at most `files.PIECE` bytes, that can't be written to.

    Raises:
      CheckpointArgumentError: numpy has no such type.
      DamagedCheckpointError: as `byte_chunks`; or parts of it are missing.
    """
    if entry in checkpoint.made:
        yield from checkpoint.made[entry]()
        return
    dtype = _require_numpy(checkpoint, entry)
    if not entry.parts:
        for data in byte_chunks(checkpoint, entry):
            yield np.frombuffer(data, dtype)
        return
    rows = _parts_by_row(entry)
    if rows is None:
        yield from split(read_array(checkpoint, entry))
        return
    for part in rows:
        yield from array_chunks(checkpoint, part.entry)


def split(array: Array) -> Iterator[Array]:
    """Yields an array in flat pieces, as `array_chunks` does."""
    flat = array.reshape(-1)
    step = files.PIECE // flat.itemsize
    for start in range(0, flat.size, step):
        yield flat[start : start + step]


def read_array(checkpoint: Checkpoint, entry: TensorEntry) -> Array:
    """Reads a tensor; a partitioned one is put together from its parts.

    Args:
      checkpoint: which has it.
      entry: of the tensor.

    Returns:
      An array of its shape; of `bytes` objects, if they are strings.

    Raises:
      CheckpointArgumentError: numpy has no such type.
      DamagedCheckpointError: a checksum is wrong, or parts of it are missing.
    """
    is_string = entry.dtype == dtypes.STRING
    dtype = np.dtype(object) if is_string else _require_numpy(checkpoint, entry)
    held = sum(math.prod(part.entry.shape) for part in entry.parts)
    if entry.parts and held != math.prod(entry.shape):  # before memory is taken for the whole
        raise _damage(checkpoint, entry, "its parts don't make up the whole")
    array: Array = np.empty(entry.shape, dtype)
    if entry.parts:
        for part in entry.parts:
            array[slices(part.extents)] = read_array(checkpoint, part.entry)
    elif is_string:
        data = checkpoint.read_bytes(entry)
        array.reshape(-1)[:] = _decode_strings(checkpoint, entry, data)
    else:
        flat, done = array.reshape(-1), 0
        for chunk in array_chunks(checkpoint, entry):
            flat[done : done + chunk.size] = chunk
            done += chunk.size
    return array


def slices(extents: tuple[Extent, ...]) -> tuple[slice, ...]:
    """Returns the place of a part as an index of the whole array."""
    return tuple(
        slice(None) if extent.length < 0 else slice(extent.start, extent.start + extent.length)
        for extent in extents
    )


def _parts_by_row(entry: TensorEntry) -> list[TensorPart] | None:
    """Returns the parts in order if their bytes, one after the other, are those of the whole."""
    parts = sorted(entry.parts, key=lambda part: part.extents[0].start if part.extents else 0)
    ends = itertools.accumulate(part.entry.shape[0] for part in parts if part.entry.shape)
    starts = [0, *ends]
    by_rows = all(
        part.entry.shape[1:] == entry.shape[1:] and part.extents[0].start == start
        for part, start in zip(parts, starts)
        if part.entry.shape
    )
    return parts if by_rows and entry.shape and starts[-1] == entry.shape[0] else None


def _decode_strings(checkpoint: Checkpoint, entry: TensorEntry, data: bytes) -> list[bytes]:
    try:
        values, crc32c = decode_strings(data, math.prod(entry.shape))
    except DamagedCheckpointError as error:
        raise _damage(checkpoint, entry, str(error)) from error
    if crc32c != entry.crc32c:
        raise _damage(checkpoint, entry, "its checksum is wrong")
    return values


def _require_numpy(checkpoint: Checkpoint, entry: TensorEntry) -> DType:
    dtype = numpy_dtype(entry.dtype)
    if dtype is None:
        raise CheckpointArgumentError(
            f"'{_key_of(checkpoint, entry)}' is of type {entry.dtype_name}, which numpy can't hold"
        )
    return dtype


def _damage(checkpoint: Checkpoint, entry: TensorEntry, found: str) -> DamagedCheckpointError:
    path = checkpoint.shard_paths[entry.shard_id]
    return DamagedCheckpointError(
        f"the tensor '{_key_of(checkpoint, entry)}' in '{path}' is damaged: {found}; "
        "restore the checkpoint from a copy, or use another one"
    )


def _key_of(checkpoint: Checkpoint, entry: TensorEntry) -> str:
    entries = checkpoint.index.entries
    return next((key for key in entries if entry in (entries[key], *entries[key].stored)), "?")
