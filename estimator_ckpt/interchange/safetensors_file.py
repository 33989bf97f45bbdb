"""Files in the safetensors format, written and read tensor by tensor, in pieces.

    write(file, tensors)
    with opened(path) as tensors: ...

Eight bytes with the length of the header, little-endian; the header, which is JSON:
`{"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}`; then the tensors, one
after the other without a gap. It holds numbers of all sizes, bfloat16 and complex64; no strings.

The package `safetensors` reads and writes whole files, or writes what is in memory: it is not
needed here. Source: the README of huggingface/safetensors, and its `safetensors/src/tensor.rs`.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from estimator_ckpt.bundle import dtypes
from estimator_ckpt.checkpoint import arrays
from estimator_ckpt.errors import CheckpointArgumentError, DamagedCheckpointError
from estimator_ckpt.interchange.tensor_file import FileTensor, require_possible
from estimator_ckpt.storage import files
from estimator_ckpt.storage.reading import Reading

_METADATA = "__metadata__"
_LONGEST_HEADER = 100_000_000  # of the package
_LONGEST_CODE = 32
_MOST_BYTES = 2**63 - 1
_SHOWN = 200  # characters of a name that is not checked yet
_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
}
_NUMBERS = {name: number for number, name in dtypes.DTYPE_NAMES.items()}
_CODES = {_NUMBERS[name]: code for code, name in _DTYPES.items()}


def why_not(tensor: FileTensor) -> str | None:
    """Says why a file can't hold a tensor, or None if it can."""
    if tensor.dtype not in _CODES:
        return f"safetensors has no type {dtypes.dtype_name(tensor.dtype or 0)}"
    if tensor.name == _METADATA:
        return "safetensors keeps this name for itself"
    return None


def write(file: files.WritableFile, tensors: Sequence[FileTensor]) -> None:
    """Writes a file.

    Args:
      file: opened for writing; it need not be able to seek.
      tensors: what is in it, each of which `why_not` has nothing against.

    Raises:
      CheckpointArgumentError: there are too many for the header's greatest length.
    """
    # Large elements first, as the package does it, so that each is at a multiple of its size.
    in_order = sorted(tensors, key=lambda tensor: (-_element(tensor), tensor.name))
    header: dict[str, object] = {_METADATA: {"format": "tf"}}
    end = 0
    for tensor in in_order:
        start, end = end, end + math.prod(tensor.shape) * _element(tensor)
        header[tensor.name] = {
            "dtype": _CODES[tensor.dtype or 0],
            "shape": tensor.shape,
            "data_offsets": [start, end],
        }
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    encoded = encoded.ljust(math.ceil(len(encoded) / 8) * 8)
    if len(encoded) > _LONGEST_HEADER:
        raise CheckpointArgumentError(
            f"the header of {len(tensors)} tensors would have {len(encoded)} bytes; readers of "
            f"safetensors take {_LONGEST_HEADER} at most: export fewer (include, exclude)"
        )
    file.write(len(encoded).to_bytes(8, "little") + encoded)
    for tensor in in_order:
        for chunk in tensor.chunks():
            file.write(chunk.tobytes())


@contextlib.contextmanager
def opened(path: str) -> Iterator[list[FileTensor]]:
    """Reads what is in a file, whose tensors can be read until it is left.

    Args:
      path: of the file.

    Yields:
      Its tensors, in their order in the file.

    Raises:
      DamagedCheckpointError: it is no such file, or its header and its size don't fit.
    """
    size = files.size(path)
    length = int.from_bytes(files.read(path, 0, 8).ljust(8, b"\0"), "little")
    if size < 8 or length > min(size - 8, _LONGEST_HEADER):
        raise DamagedCheckpointError(
            f"it has {size} bytes, and should begin with a header of {length}"
        )
    rows = _parse(files.read(path, 8, length))
    rows.sort(key=lambda row: row[3])
    end = 0
    for name, code, shape, (start, stop) in rows:
        number = _NUMBERS[_DTYPES[code]] if code in _DTYPES else None
        element = dtypes.element_size(number) if number else None
        if start != end or (element and stop - start != math.prod(shape) * element):
            raise DamagedCheckpointError(
                f"'{name}', {code} of shape {list(shape)}, should be bytes {start} to {stop}; "
                f"the tensor before it ends at {end}"
            )
        end = stop
    if end != size - 8 - length:
        raise DamagedCheckpointError(
            f"its tensors should have {end} bytes, but have {size - 8 - length}"
        )
    base = 8 + length
    ranges = [(base + start, stop - start) for _, _, _, (start, stop) in rows]
    with files.reading(path, ranges) as file:
        yield [
            _tensor(path, file, name, code, shape, part)
            for (name, code, shape, _), part in zip(rows, ranges)
        ]


def _tensor(
    path: str, file: Reading, name: str, code: str, shape: tuple[int, ...], part: tuple[int, int]
) -> FileTensor:
    number = _NUMBERS[_DTYPES[code]] if code in _DTYPES else None
    reason = f"a checkpoint has no type {code}" if number is None else None

    def chunks() -> Iterator[arrays.Array]:
        dtype = arrays.numpy_dtype(number or 0)
        for data in files.read_chunks(path, *part, file):
            yield np.frombuffer(data, dtype)

    return FileTensor(name, number, shape, chunks, reason)


_Row = tuple[str, str, "tuple[int, ...]", "tuple[int, int]"]


def _parse(header: bytes) -> list[_Row]:
    try:
        # Pairs, not a dictionary: of two tensors of one name, that would keep the last.
        pairs = json.loads(header.decode(), object_pairs_hook=_unique)
        return [_row(name, described) for name, described in pairs.items() if name != _METADATA]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedCheckpointError(f"its header can't be read: {error}") from error


def _row(name: str, described: Mapping[str, Any]) -> _Row:
    code, shape, offsets = (described[key] for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(code, str) or len(code) > _LONGEST_CODE or not isinstance(shape, list):
        raise ValueError(f"'{name[:_SHOWN]}' has no dtype and shape")
    if not all(type(size) is int for size in shape):
        raise ValueError(f"'{name[:_SHOWN]}' has a shape that is not of integers")
    require_possible(name, shape)
    start, stop = offsets
    if not (type(start) is type(stop) is int and 0 <= start <= stop <= _MOST_BYTES):
        raise ValueError(f"'{name}' can't be where its data_offsets say")
    return name, code, tuple(shape), (start, stop)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is in it twice")
    return found


def _element(tensor: FileTensor) -> int:
    return dtypes.element_size(tensor.dtype or 0) or 0
