"""Writes Keras' own files: `.weights.h5`, and the weights in a `.keras`.

    create("m.weights.h5", [("layers/dense/vars/0", 1, (2, 3))])
    fill("m.weights.h5", {"layers/dense/vars/0": lambda: [kernel.tobytes()]})

What is to be filled may as well have been written by Keras itself. Values go to where the file has
them, in pieces: memory doesn't limit their size.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, cast

import numpy as np

from estimator_ckpt.bundle import dtypes
from estimator_ckpt.checkpoint import arrays, hdf5
from estimator_ckpt.checkpoint.keras_file import WEIGHTS_MEMBER
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.naming.paths import is_place
from estimator_ckpt.storage import files

Row = tuple[str, int, tuple[int, ...]]
"""A variable to be: its place, the number of its element type, its shape."""
_BFLOAT16 = "bfloat16"
_NOT_A_PLACE = (
    "its name is no place in a file of Keras, such as 'layers/dense/vars/0', which only a model "
    "tells: convert(source, target, like=model)"
)


def why_not(name: str, dtype: int) -> str | None:
    """Says why a file can't hold a tensor, or None if it can."""
    if not is_place(name) or "\0" in name or {".", ".."} & set(name.split("/")):
        return _NOT_A_PLACE
    known = arrays.numpy_dtype(dtype)
    if dtypes.dtype_name(dtype) != _BFLOAT16 and (known is None or known.isbuiltin != 1):
        return f"Keras' files have no type {dtypes.dtype_name(dtype)}"
    return None


def create(path: str, rows: Sequence[Row]) -> None:
    """Makes a file of variables without values.

    Args:
      path: of the new file, which is local.
      rows: its variables, each of which `why_not` has nothing against.

    Raises:
      CheckpointArgumentError: one is at the place of a group of others.
    """
    package = hdf5.h5py()
    groups = {os.path.dirname(place) for place, _, _ in rows}
    groups |= {group[:at] for group in groups for at, each in enumerate(group) if each == "/"}
    for place, _, _ in rows:
        if place in groups:
            raise CheckpointArgumentError(f"'{place}' can't be both a variable and a group of them")
    with package.File(path, "w") as file:
        file.create_group("vars")  # of the model itself, which Keras 2 wants to be there
        settings = package.h5p.create(package.h5p.DATASET_CREATE)
        settings.set_alloc_time(package.h5d.ALLOC_TIME_EARLY)
        settings.set_fill_time(package.h5d.FILL_TIME_NEVER)
        for place, dtype, shape in rows:
            is_bfloat16 = dtypes.dtype_name(dtype) == _BFLOAT16
            element = np.dtype("V2") if is_bfloat16 else arrays.numpy_dtype(dtype)
            if shape:
                made = file.create_dataset(place, shape, element, dcpl=settings)
            else:  # h5py takes no settings for it, but makes room for a value
                made = file.create_dataset(place, data=np.zeros((), element))
            if is_bfloat16:
                made.attrs["dtype"] = _BFLOAT16  # as Keras does it


def fill(
    path: str,
    values: Mapping[str, Callable[[], Iterable[bytes]]],
    tell: Callable[[int], None] = lambda done: None,
) -> None:
    """Gives variables in a file their values.

    Args:
      path: of the file, which is local.
      values: {place: gives its bytes in pieces}.
      tell: called with the bytes that are written so far.

    Raises:
      CheckpointArgumentError: the file has nothing at a place, or something of another size.
    """
    with hdf5.open_hdf5(path) as file:
        held = {each.path: each for each in hdf5.arrays_in(file, files.size(path))}
        held = {place: each._replace(dataset=None) for place, each in held.items()}
    done = 0
    with open(path, "r+b") as raw:
        for place, chunks in values.items():
            each = held.get(place)
            if each is None or (each.place is None and each.size):
                raise CheckpointArgumentError(f"Keras has no variable at '{place}' as it is")
            raw.seek(each.place or 0)
            written = 0
            for chunk in chunks():
                written += len(chunk)
                if written > each.size:
                    break
                raw.write(chunk)
                done += len(chunk)
                tell(done)
            if written != each.size:
                raise CheckpointArgumentError(
                    f"'{place}' has {each.size:,} bytes in Keras' file, and another number here"
                )


def write_archive(file: files.WritableFile, template: str, weights: str) -> None:
    """Writes a `.keras` like another one, with other weights.

    Args:
      file: to be written.
      template: path of the other one.
      weights: path of the `.weights.h5`.
    """
    archive = zipfile.ZipFile(cast("IO[bytes]", file), "w", zipfile.ZIP_STORED)
    with zipfile.ZipFile(template) as old, archive as new:
        for member in old.infolist():
            made = zipfile.ZipInfo(member.filename, member.date_time)
            is_weights = member.filename == WEIGHTS_MEMBER
            made.file_size = os.path.getsize(weights) if is_weights else member.file_size
            opened = files.open_file(weights) if is_weights else old.open(member)
            with opened as source, new.open(made, "w") as target:
                shutil.copyfileobj(source, target, files.PIECE)
