"""Numpy's .npz files, written and read tensor by tensor, in pieces.

    write(file, tensors)                          # as numpy.savez does, which needs all at once
    for tensor in read(file): ...

A .npz is a zip archive with a .npy file for each array. It holds every numpy type and strings of
bytes; none of `ml_dtypes` (bfloat16), as numpy writes these without their type. Objects, which
would have to be pickled, are neither written nor read.

What a header says is compared with the archive's sizes before anything is read or reserved for it.
Only strings are held in memory as a whole; an array in Fortran order is unpacked to a temporary
file.

Source: `numpy/lib/format.py`, its versions 1.0 and 2.0.
"""

from __future__ import annotations

import contextlib
import math
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple, cast

import numpy as np
from numpy.lib import format as npy

from estimator_ckpt.bundle import dtypes
from estimator_ckpt.checkpoint import arrays
from estimator_ckpt.checkpoint.arrays import Array, DType
from estimator_ckpt.errors import DamagedCheckpointError
from estimator_ckpt.interchange.tensor_file import FileTensor, require_possible
from estimator_ckpt.storage import files

_MEMBER_SUFFIX = ".npy"
# What zipfile and zlib raise for an archive that isn't one, or that they can't unpack.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
_LOCAL_HEADER = 30  # bytes before a member's name, at the least
_MOST_DEFLATED = 1032  # bytes that one byte can stand for
_LONGEST_HEADER = 10_000  # of numpy, unless told otherwise
_LONGEST_STRING = 16 * 1024 * 1024
_MOST_STRINGS = 1024 * 1024 * 1024  # bytes of an array of strings
_LONGEST_TYPE = 50  # characters of it that are shown
_MOST_EMPTY = 100_000  # elements of an array of strings that are all empty
# The header is a Python dictionary of just these three, which numpy writes sorted.
_FIELD = re.compile(
    r"\s*(?P<quote>['\"])(?P<key>descr|fortran_order|shape)(?P=quote)\s*:\s*"
    r"(?P<value>'[^']*'|\"[^\"]*\"|True|False|\([\dL,\s]*\)|\[.*\])\s*(?:,|$)"
)
_PLAIN_TYPE = re.compile(r"[<>|=]?[a-zA-Z]\d{0,10}(\[\w+\])?")


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


def write(
    file: files.WritableFile, tensors: Sequence[FileTensor], *, compress: bool = False
) -> None:
    """Writes an archive.

    Args:
      file: opened for writing; it need not be able to seek.
      tensors: what is in it, each of which `why_not` has nothing against.
      compress: deflate the arrays, as `numpy.savez_compressed` does.
    """
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(cast("IO[bytes]", file), "w", method, allowZip64=True) as archive:
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


def read(file: IO[bytes]) -> Iterator[FileTensor]:
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
    members = archive.infolist()
    _require_apart(members)
    for member in members:
        name = member.filename
        if not name.endswith(_MEMBER_SUFFIX):
            yield FileTensor(name, None, (), lambda: iter(()), "it is no .npy file, so no array")
            continue
        with _errors(name):
            _require_packed_as_numpy_does(member)
            with archive.open(member) as stream:
                header = _read_header(stream)
            _require_size(member, header)
        yield _tensor(archive, member, header)


class _Header(NamedTuple):
    """Of a .npy file: its length, and what it says. The type is None for records."""

    length: int
    shape: tuple[int, ...]
    fortran_order: bool
    dtype: DType | None


def _require_apart(members: Sequence[zipfile.ZipInfo]) -> None:
    """Each member has its own name and bytes; a few bytes that are many members are a bomb."""
    names = set()
    for member in members:
        if member.filename in names:
            raise DamagedCheckpointError(f"it has two members '{member.filename}'")
        names.add(member.filename)
    end, before = 0, ""
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < end:
            raise DamagedCheckpointError(f"'{member.filename}' in it overlaps '{before}'")
        before = member.filename
        end = member.header_offset + _LOCAL_HEADER + member.compress_size


def _require_packed_as_numpy_does(member: zipfile.ZipInfo) -> None:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is packed in a way that numpy doesn't use; make it with numpy.savez")
    deflated = member.compress_type == zipfile.ZIP_DEFLATED
    most = (member.compress_size + 1) * (_MOST_DEFLATED if deflated else 1)
    if member.file_size > most:
        raise ValueError(f"{member.compress_size} bytes can't become {member.file_size}")


def _require_size(member: zipfile.ZipInfo, header: _Header) -> None:
    """Compares what an array needs with what is there, and with what memory it would take."""
    require_possible(member.filename, header.shape)
    dtype, count = header.dtype, math.prod(header.shape)
    if dtype is None or dtype.hasobject:
        return  # it won't be read
    needed = header.length + count * dtype.itemsize
    if needed != member.file_size:
        raise ValueError(
            f"{dtype} of shape {list(header.shape)} needs {needed} bytes, but it has "
            f"{member.file_size}"
        )
    if dtype.itemsize > _LONGEST_STRING or (
        dtype.kind in "SU" and count * dtype.itemsize > _MOST_STRINGS
    ):
        raise ValueError(
            f"strings are held in memory; {count:,} of {dtype.itemsize:,} bytes are too many"
        )
    if not dtype.itemsize and count > _MOST_EMPTY:
        raise ValueError(f"it has {count:,} elements without a byte; {_MOST_EMPTY:,} are the most")


def _tensor(archive: zipfile.ZipFile, member: zipfile.ZipInfo, header: _Header) -> FileTensor:
    dtype, shape = header.dtype, header.shape
    name = member.filename[: -len(_MEMBER_SUFFIX)]
    if dtype is None or dtype.kind == "V":
        what = "records" if dtype is None else f"raw bytes ({dtype.str})"
        lost = f"its elements are {what}; numpy has lost what they meant"
        return FileTensor(name, None, shape, lambda: iter(()), lost)
    number = dtypes.STRING if dtype.kind in "SU" else arrays.dtype_number(dtype)
    reason = None
    if dtype.hasobject:
        reason = "it has Python objects, which only pickle can read, and pickle may run any program"
    elif number is None:
        reason = f"a checkpoint has no type {dtype}"

    def chunks() -> Iterator[Array]:
        with _errors(member.filename), archive.open(member) as stream:
            stream.read(header.length)
            pieces = _pieces(stream, dtype, math.prod(shape), member.filename)
            if header.fortran_order and len(shape) > 1:
                pieces = _in_c_order(pieces, dtype, shape)
            for piece in pieces:
                yield (
                    _as_bytes(piece)
                    if dtype.kind in "SU"
                    else piece.astype(dtype.newbyteorder("="), copy=False)
                )

    return FileTensor(name, number, shape, chunks, reason)


def _in_c_order(pieces: Iterator[Array], dtype: DType, shape: tuple[int, ...]) -> Iterator[Array]:
    """Yields the elements of an array in Fortran order in that of C, never all in memory."""
    if not dtype.itemsize or not math.prod(shape):
        yield from pieces  # all are equal, or there are none
        return
    with tempfile.TemporaryFile() as file:
        for piece in pieces:
            file.write(piece.tobytes())
        file.flush()
        whole = np.memmap(file, dtype, "r", shape=shape, order="F")
        in_order = np.nditer(
            whole,
            flags=["external_loop", "buffered"],
            order="C",
            buffersize=max(1, files.PIECE // dtype.itemsize),
        )
        for own in in_order:
            yield np.array(own)  # the iterator uses its own again


def _read_header(stream: IO[bytes]) -> _Header:
    start = stream.read(8)
    if len(start) < 8 or not start.startswith(npy.MAGIC_PREFIX):
        raise ValueError("it does not begin as a .npy file does")
    version = tuple(start[6:8])
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the .npy format is not for plain arrays")
    width = 2 if version == (1, 0) else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header has {length:,} bytes; the longest have {_LONGEST_HEADER:,}")
    text = stream.read(length)
    if len(text) < length:
        raise ValueError("it ends in its header")
    shape, fortran_order, dtype = _parse_header(text.decode("latin1").strip())
    return _Header(8 + width + length, shape, fortran_order, dtype)


def _parse_header(text: str) -> tuple[tuple[int, ...], bool, DType | None]:
    fields: dict[str, str] = {}
    rest = text[1:-1].strip()
    while found := _FIELD.match(rest):
        fields[found["key"]] = found["value"]
        rest = rest[found.end() :].strip()
    if rest or len(fields) != 3 or (text[:1], text[-1:]) != ("{", "}"):
        raise ValueError("its header is not that of a .npy file")
    descr, fortran_order, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    if descr[0] not in "'\"[" or shape[0] != "(" or fortran_order not in ("True", "False"):
        raise ValueError("its header is not that of a .npy file")
    sizes = tuple(int(size.strip().rstrip("L")) for size in shape[1:-1].split(",") if size.strip())
    return sizes, fortran_order == "True", None if descr[0] == "[" else _dtype(descr[1:-1])


def _dtype(descr: str) -> DType:
    try:
        if _PLAIN_TYPE.fullmatch(descr):
            return np.dtype(descr)
    except (TypeError, ValueError, OverflowError):
        pass  # told below
    raise ValueError(f"'{descr[:_LONGEST_TYPE]}' is no type of numpy")


def _pieces(stream: IO[bytes], dtype: DType, count: int, name: str) -> Iterator[Array]:
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


def _as_bytes(piece: Array) -> Array:
    """Returns strings as `bytes` objects, text in UTF-8."""
    strings = np.empty(piece.shape, object)
    encoded = [value.encode() if isinstance(value, str) else value for value in piece.tolist()]
    strings[:] = encoded
    return strings


def _npy_dtype(tensor: FileTensor) -> DType:
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
