"""What exporting to an interchange file and importing from one have in common.

for tensor in read(file):                     # of npz_file or safetensors_file
    print(tensor.name, tensor.dtype, tensor.shape)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from estimator_ckpt.bundle import dtypes
from estimator_ckpt.checkpoint.arrays import Array
from estimator_ckpt.errors import CheckpointArgumentError, DamagedCheckpointError
from estimator_ckpt.messages import listed

NPZ = "npz"
SAFETENSORS = "safetensors"
KERAS = "weights.h5"
FILE_FORMATS = (NPZ, SAFETENSORS, KERAS)
"""The formats of files that are written; a file's name ends in a dot and its format."""
IMPORTED = (NPZ, SAFETENSORS)
"""The formats of files that are imported; those of Keras are read as checkpoints are."""
_MOST_LISTED = 5  # names in an error
_MOST_DIMENSIONS = 254  # of TensorFlow
_MOST_ELEMENTS = 2**63 - 1
_LONGEST_NAME = 2**16 - 1  # of a zip archive's member


class FileTensor(NamedTuple):
    """A tensor in an interchange file, or on its way to one.

    Attributes:
      name: its name there.
      dtype: number of its element type in a checkpoint; None for what a checkpoint has no type for.
      shape: size of each dimension.
      chunks: gives its elements as flat arrays in C order, those of strings as `bytes` objects.
      why_not: why it can't be taken over, where it can't; else None.
    """

    name: str
    dtype: int | None
    shape: tuple[int, ...]
    chunks: Callable[[], Iterator[Array]]
    why_not: str | None = None


@dataclass(frozen=True)
class TransferredTensor:
    """A tensor that is in both.

    Attributes:
      name: in the file.
      key: in the checkpoint; of two keys for the same bytes, the name-based one.
      dtype: TensorFlow's name of the element type.
      shape: size of each dimension.
    """

    name: str
    key: str
    dtype: str
    shape: tuple[int, ...]


def file_format_of(path: str, given: str | None, formats: Sequence[str] = FILE_FORMATS) -> str:
    """Returns the format that is given, or that a file's name says.

    Raises:
      CheckpointArgumentError: it is none of `formats`.
    """
    named = (each for each in formats if path.endswith(f".{each}"))
    kind = given or next(named, "")
    if kind not in formats:
        what = f"file_format='{given}'" if given else f"the name '{path}'"
        raise CheckpointArgumentError(
            f"{what} says no format; give a name that ends in .{' or .'.join(formats)}, or "
            f"one of the formats {', '.join(formats)}"
        )
    return kind


def require_possible(name: str, shape: Sequence[int]) -> None:
    """Makes sure that a tensor of this name and shape can be, before anything is done with it.

    Raises:
      DamagedCheckpointError: no writer has written that.
    """
    if len(name) > _LONGEST_NAME:
        raise DamagedCheckpointError(
            f"a name has {len(name):,} characters; the longest may have {_LONGEST_NAME:,}"
        )
    if len(shape) > _MOST_DIMENSIONS:
        raise DamagedCheckpointError(
            f"'{name}' has {len(shape):,} dimensions; a tensor has {_MOST_DIMENSIONS} at most"
        )
    elements = 1
    for size in shape:
        elements *= size or 1  # TensorFlow leaves out empty dimensions here, too
        if not 0 < elements <= _MOST_ELEMENTS:
            raise DamagedCheckpointError(f"'{name}' can't have the shape {list(shape)}")


def supported(
    tensors: Iterable[FileTensor],
    why_not: Callable[[FileTensor], str | None],
    skip: bool,
    holder: str,
) -> tuple[list[FileTensor], list[tuple[str, str]]]:
    """Splits tensors into those that can be held, and the names of others with the reason.

    Raises:
      CheckpointArgumentError: there are others, and they may not be skipped.
    """
    held, others = [], []
    for tensor in tensors:
        reason = why_not(tensor)
        if reason is None:
            held.append(tensor)
        else:
            others.append((tensor.name, reason))
    if others and not skip:
        refused = listed([f"'{name}' ({reason})" for name, reason in others], _MOST_LISTED)
        raise CheckpointArgumentError(
            f"{holder} can't hold {len(others)} of the tensors: {refused}. Leave them out "
            "(exclude, or skip_unsupported=True, --skip_unsupported), or use another format"
        )
    return held, others


def rows(tensors: Iterable[FileTensor], keys: dict[str, str]) -> tuple[TransferredTensor, ...]:
    """Returns what a report says of tensors, given {name: key}, sorted by name."""
    return tuple(
        TransferredTensor(
            tensor.name, keys[tensor.name], dtypes.dtype_name(tensor.dtype or 0), tensor.shape
        )
        for tensor in sorted(tensors, key=lambda tensor: tensor.name)
    )
