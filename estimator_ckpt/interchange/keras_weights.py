"""Keras' `.weights.h5`, written of tensors whose names are places in such a file.

write(file, tensors)
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Iterator, Sequence

from estimator_ckpt.checkpoint import keras_writing
from estimator_ckpt.checkpoint.keras_file import WEIGHTS_MEMBER
from estimator_ckpt.interchange.tensor_file import FileTensor
from estimator_ckpt.storage import files


def why_not(tensor: FileTensor) -> str | None:
    """Says why a file can't hold a tensor, or None if it can."""
    return keras_writing.why_not(tensor.name, tensor.dtype or 0)


def write(file: files.WritableFile, tensors: Sequence[FileTensor]) -> None:
    """Writes a file.

    Args:
      file: opened for writing; it need not be able to seek.
      tensors: what is in it, each of which `why_not` has nothing against.

    Raises:
      CheckpointArgumentError: one is at the place of a group of others; or h5py is missing.
    """
    with tempfile.TemporaryDirectory(prefix="estimator_ckpt_") as scratch:
        made = os.path.join(scratch, WEIGHTS_MEMBER)
        rows = [(each.name, each.dtype or 0, each.shape) for each in tensors]
        keras_writing.create(made, rows)
        keras_writing.fill(made, {each.name: functools.partial(_bytes, each) for each in tensors})
        for chunk in files.read_chunks(made, 0, os.path.getsize(made)):
            file.write(chunk)


def _bytes(tensor: FileTensor) -> Iterator[bytes]:
    return (chunk.tobytes() for chunk in tensor.chunks())
