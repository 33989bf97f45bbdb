"""Numpy's .npz files, written and read tensor by tensor, in pieces.

    write(file, tensors)                          # as numpy.savez does, which needs all at once
    for tensor in read(file): ...

A .npz is a zip archive with a .npy file for each array. It holds every numpy type and strings of
bytes; none of `ml_dtypes` (bfloat16), as numpy writes these without their type. Objects, which
would have to be pickled, are neither written nor read.

Source: `numpy/lib/format.py`, its versions 1.0 and 2.0.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib import format as npy

from estimator_ckpt.bundle import dtypes
from estimator_ckpt.checkpoint import arrays
from estimator_ckpt.errors import DamagedCheckpointError
from estimator_ckpt.interchange.tensor_file import FileTensor
from estimator_ckpt.storage import files

_MEMBER_SUFFIX = ".npy"
# What zipfile and zlib raise for an archive that isn't one, or that they can't unpack.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def why_not(tensor: FileTensor) -> str | None:
    """Says why a file can't hold a tensor, or None if it can."""
    if "\0" in tensor.name:
        return "its name has a NUL character"
    if tensor.dtype == dtypes.STRING:
        if any(value.endswith(b"\0") for chunk in tensor.chunks() for value in chunk.flat):
            return "a string in it ends with NUL, which numpy would drop"
        return None
    dtype = arrays.numpy_dtype(tensor.dtype or 0)
    if dtype is None or dtype.isbuiltin != 1:
        return f"numpy has no type {dtypes.dtype_name(tensor.dtype or 0)} of its own"
    return None


def write(file: Any, tensors: Sequence[FileTensor], *, compress: bool = False) -> None:
    """Writes an archive.

    Args:
      file: opened for writing; it need not be able to seek.
      tensors: what is in it, each of which `why_not` has nothing against.
      compress: deflate the arrays, as `numpy.savez_compressed` does.
    """
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", method, allowZip64=True) as archive:
        for tensor in tensors:
            # Made by hand, it has no time of writing: equal tensors give equal files.
            member = zipfile.ZipInfo(tensor.name + _MEMBER_SUFFIX)
            member.compress_type = method
            dtype = _npy_dtype(tensor)
            with archive.open(member, "w", force_zip64=True) as stream:
                header = {
                    "descr": npy.dtype_to_descr(dtype),
                    "fortran_order": False,
                    "shape": tensor.shape,
                }
                npy.write_array_header_1_0(stream, header)
                for chunk in tensor.chunks():
                    stream.write(chunk.astype(dtype, copy=False).tobytes())


def read(file: Any) -> Iterator[FileTensor]:
    """Reads what is in an archive; the tensors' chunks can be read while it is open.

    Args:
      file: opened for reading.

    Yields:
      Its tensors, in their order in the file.

    Raises:
      DamagedCheckpointError: it is no archive, or one of damaged arrays.
    """
    with _errors():
        archive = zipfile.ZipFile(file)
    names = set()
    for member in archive.infolist():
        if member.filename in names:
            raise DamagedCheckpointError(f"it has two members '{member.filename}'")
        names.add(member.filename)
        if not member.filename.endswith(_MEMBER_SUFFIX):
            yield FileTensor(
                member.filename, None, (), lambda: iter(()), "it is no .npy file, so no array"
            )
            continue
        with _errors(member.filename), archive.open(member) as stream:
            shape, fortran_order, dtype = _read_header(stream)
        yield _tensor(archive, member, shape, fortran_order, dtype)


def _tensor(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    shape: tuple[int, ...],
    fortran_order: bool,
    dtype: np.dtype[Any],
) -> FileTensor:
    number = dtypes.STRING if dtype.kind in "SU" else arrays.dtype_number(dtype)
    reason = None
    if dtype.hasobject:
        reason = "it has Python objects, which only pickle can read, and pickle may run any program"
    elif dtype.kind == "V":
        reason = f"its elements are raw bytes ({dtype.str}); numpy has lost what they meant"
    elif number is None:
        reason = f"a checkpoint has no type {dtype}"

    def chunks() -> Iterator[Any]:
        with _errors(member.filename), archive.open(member) as stream:
            _read_header(stream)
            pieces = _pieces(stream, dtype, math.prod(shape), member.filename)
            if fortran_order and len(shape) > 1:
                whole = np.concatenate([np.empty(0, dtype), *pieces])
                pieces = arrays.split(whole.reshape(shape[::-1]).transpose())
            for piece in pieces:
                yield (
                    _as_bytes(piece)
                    if dtype.kind in "SU"
                    else piece.astype(dtype.newbyteorder("="), copy=False)
                )

    return FileTensor(member.filename[: -len(_MEMBER_SUFFIX)], number, shape, chunks, reason)


def _read_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version == (1, 0):
        shape, fortran_order, dtype = npy.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran_order, dtype = npy.read_array_header_2_0(stream)
    else:
        raise ValueError(f"version {version} of the .npy format is not for plain arrays")
    if any(size < 0 for size in shape):
        raise ValueError(f"its shape is {list(shape)}")
    return shape, fortran_order, dtype


def _pieces(stream: Any, dtype: np.dtype[Any], count: int, name: str) -> Iterator[Any]:
    if not dtype.itemsize:  # strings that are all empty
        yield np.zeros(count, dtype)
        count = 0
    step = max(1, files.PIECE // max(1, dtype.itemsize))
    while count:
        wanted = min(step, count) * dtype.itemsize
        data = stream.read(wanted)
        if len(data) != wanted:
            raise DamagedCheckpointError(f"'{name}' ends before its {count} last elements")
        count -= wanted // dtype.itemsize
        yield np.frombuffer(data, dtype)
    if stream.read(1):  # reading to the end is what checks the archive's checksum
        raise DamagedCheckpointError(f"'{name}' has more bytes than its shape needs")


def _as_bytes(piece: Any) -> Any:
    """Returns strings as `bytes` objects, text in UTF-8."""
    strings = np.empty(piece.shape, object)
    encoded = [value.encode() if isinstance(value, str) else value for value in piece.tolist()]
    strings[:] = encoded
    return strings


def _npy_dtype(tensor: FileTensor) -> np.dtype[Any]:
    if tensor.dtype != dtypes.STRING:
        return np.dtype(arrays.numpy_dtype(tensor.dtype or 0))
    longest = max((len(value) for chunk in tensor.chunks() for value in chunk.flat), default=0)
    return np.dtype(f"S{max(1, longest)}")


@contextlib.contextmanager
def _errors(name: str = "") -> Iterator[None]:
    """Turns what the readers of zip and .npy raise into one error."""
    try:
        yield
    except DamagedCheckpointError:
        raise
    except (*_ZIP_ERRORS, ValueError) as error:
        what = f"'{name}' in it can't be read" if name else "it is no zip archive"
        raise DamagedCheckpointError(f"{what}: {error}") from error
