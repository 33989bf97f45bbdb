"""The files of Keras itself, as checkpoints: `.weights.h5`, `.keras`, and the older `.h5`.

    opened = open_keras_file("m.weights.h5")      # a Checkpoint as any other; None if it is no such
    opened.index.entries["layers/dense/vars/0"]

Each variable is called by its place in the file, which is all that Keras itself goes by; in the
older `.h5`, by its name. Bytes that lie in the file as in a checkpoint are read from there; what is
packed or swapped is unpacked to a file that is temporary. Such files have no checksums: opening one
reads it once, in pieces, to make them.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import tempfile
import weakref
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from estimator_ckpt.bundle import BundleIndex, TensorEntry, checksums
from estimator_ckpt.checkpoint import hdf5
from estimator_ckpt.checkpoint.opening import Checkpoint
from estimator_ckpt.checkpoint.shard_writer import ShardWriter
from estimator_ckpt.checkpoint.strangers import HDF5, KERAS_ARCHIVE, stranger
from estimator_ckpt.errors import CheckpointError, DamagedCheckpointError
from estimator_ckpt.messages import listed, logger
from estimator_ckpt.naming.object_graph import OBJECT_GRAPH_KEY
from estimator_ckpt.naming.paths import is_object_key
from estimator_ckpt.storage import files

_log = logger(__name__)

WEIGHTS_MEMBER = "model.weights.h5"
_LOCAL_HEADER = 30
_MOST_PACKED = 1032  # bytes that one byte can stand for, as deflate packs
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
_MODEL, _OPTIMIZER, _TOP = "model_weights", "optimizer_weights", "top_level_model_weights"
_LAYERS, _WEIGHTS = "layer_names", "weight_names"


class _Part(NamedTuple):
    """Where an HDF5 file is in a file."""

    path: str
    start: int
    size: int


def open_keras_file(path: str) -> Checkpoint | None:
    """Opens a file of Keras as a checkpoint.

    Args:
      path: of any file.

    Returns:
      The checkpoint, whose prefix is the path; None where that is no such file.

    Raises:
      DamagedCheckpointError: it is damaged.
      CheckpointArgumentError: h5py, which reads it, is not installed.
    """
    found = stranger(path)
    if found is None or found not in (HDF5, KERAS_ARCHIVE):
        return None
    scratch = tempfile.mkdtemp(prefix="estimator_ckpt_")
    try:
        local = path
        if files.is_remote(path):  # it is read here and there
            files.copy(path, local := os.path.join(scratch, "copy"))
        checkpoint = _read(path, local, scratch, found == KERAS_ARCHIVE)
    except DamagedCheckpointError as error:
        shutil.rmtree(scratch)
        raise DamagedCheckpointError(
            f"'{path}', {found.what}, can't be read: {error}; use another copy of it"
        ) from error
    except BaseException:
        shutil.rmtree(scratch)
        raise
    weakref.finalize(checkpoint, _remove, scratch, os.getpid())
    return checkpoint


def _remove(scratch: str, owner: int) -> None:
    """Removes what an object had for itself; a forked child's copy of it leaves that alone."""
    if os.getpid() == owner:
        shutil.rmtree(scratch, ignore_errors=True)


def _read(path: str, local: str, scratch: str, is_archive: bool) -> Checkpoint:
    part = _weights_in(local, scratch) if is_archive else None
    part = part or _Part(local, 0, files.size(local))
    entries: dict[str, TensorEntry] = {}
    unpacked = os.path.join(scratch, "unpacked")
    left_out = []
    with hdf5.open_hdf5(*part) as file, ShardWriter(unpacked, path, 1) as shard:
        for array in _variables(file, part.size):
            reason = _why_not(array)
            if reason is not None:
                left_out.append(f"'{array.path}': {reason}")
            elif array.path in entries:
                raise DamagedCheckpointError(f"it has two variables called '{array.path}'")
            elif array.size and array.place is not None:
                entries[array.path] = _in_file(array, part)
            else:
                entries[array.path] = shard.append(array.dtype or 0, array.shape, array.chunks())
        shard.close()
    if left_out:
        _log.warning("Left out of '%s': %s", path, listed(left_out))
    index = BundleIndex(dict(sorted(entries.items())), num_shards=2)
    return Checkpoint(path, index, (part.path, unpacked), scratch)


def _why_not(array: hdf5.StoredArray) -> str | None:
    if array.dtype is None:
        return f"a checkpoint has no type {array.dataset.dtype}"
    if array.path == OBJECT_GRAPH_KEY or is_object_key(array.path):
        return "it is called like a key of an object-based checkpoint"
    return None


def _in_file(array: hdf5.StoredArray, part: _Part) -> TensorEntry:
    offset, crc = part.start + (array.place or 0), 0
    for chunk in files.read_chunks(part.path, offset, array.size):
        crc = checksums.extend(crc, chunk)
    return TensorEntry(array.dtype or 0, array.shape, 0, offset, array.size, checksums.mask(crc))


def _variables(file: Any, size: int) -> Iterable[hdf5.StoredArray]:
    """Yields the variables: all arrays, or in Keras' older format what its lists name."""
    if _LAYERS in file.attrs or f"{_LAYERS}0" in file.attrs:
        return _named(_groups(file), size)
    if _MODEL not in file:
        return hdf5.arrays_in(file, size)
    groups = _groups(hdf5.child(file, _MODEL))
    if _OPTIMIZER in file:
        groups.append(("", hdf5.child(file, _OPTIMIZER)))
    return _named(groups, size)


def _groups(model: Any) -> list[tuple[str, Any]]:
    names = hdf5.attribute(model, _LAYERS)
    groups = [(name, hdf5.child(model, name)) for name in names]
    if _TOP in model and _TOP not in names:
        groups.append(("", hdf5.child(model, _TOP)))
    return groups


def _named(groups: list[tuple[str, Any]], size: int) -> Iterator[hdf5.StoredArray]:
    """Yields variables by name; with their layer's where several layers have one of that name."""
    rows = [
        (layer, group, weight)
        for layer, group in groups
        for weight in hdf5.attribute(group, _WEIGHTS)
    ]
    shared = Counter(_name(weight) for _, _, weight in rows)
    for layer, group, weight in rows:
        name = _name(weight)
        if shared[name] > 1:
            name = posixpath.join(layer, name)
        found = hdf5.stored_array(name, hdf5.child(group, weight), size)
        if found is not None:
            yield found


def _name(weight: str) -> str:
    """Returns a variable's name without the number of its output."""
    return re.sub(r":\d+$", "", weight)


def _weights_in(path: str, scratch: str) -> _Part:
    """Finds the weights in a `.keras` archive; packed ones are unpacked."""
    try:
        with files.open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = [each for each in archive.infolist() if each.filename == WEIGHTS_MEMBER]
            if len(members) != 1:
                held = listed(f"'{name}'" for name in archive.namelist()[:5])
                raise DamagedCheckpointError(
                    f"it has {len(members) or 'no'} '{WEIGHTS_MEMBER}', but {held}"
                )
            (member,) = members
            most = (member.compress_size + 1) * _MOST_PACKED
            if member.file_size > most:
                raise DamagedCheckpointError(
                    f"{member.compress_size} bytes can't become {member.file_size}"
                )
            if member.compress_type == zipfile.ZIP_STORED:
                file.seek(member.header_offset)
                header = file.read(_LOCAL_HEADER)
                lengths = [int.from_bytes(header[at : at + 2], "little") for at in (26, 28)]
                start = member.header_offset + _LOCAL_HEADER + sum(lengths)
                if start + member.file_size > files.size(path):
                    raise DamagedCheckpointError(f"'{WEIGHTS_MEMBER}' ends behind the file's end")
                return _Part(path, start, member.file_size)
            unpacked = os.path.join(scratch, WEIGHTS_MEMBER)
            with archive.open(member) as packed, open(unpacked, "xb") as plain:
                shutil.copyfileobj(packed, plain, files.PIECE)
            return _Part(unpacked, 0, member.file_size)
    except CheckpointError:
        raise
    except (*_ZIP_ERRORS, ValueError) as error:
        raise DamagedCheckpointError(f"it is no whole zip archive: {error}") from error
