"""Takes the variables of a checkpoint to numpy's .npz or to safetensors.

    export_checkpoint("job", "weights.npz")
    report = export_checkpoint("job", "weights.safetensors", slots=False)
    print(report.left_out)

Tensors have the names that they have in a name-based checkpoint, whatever the format of the
checkpoint. They are read and written in pieces, never all at once. A file that can't hold a tensor
(strings in safetensors, bfloat16 in .npz) is refused, or the tensor left out and listed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from estimator_ckpt import naming
from estimator_ckpt.bundle import dtypes
from estimator_ckpt.checkpoint import Checkpoint, arrays, open_checkpoint
from estimator_ckpt.checkpoint.identity import other_file
from estimator_ckpt.checkpoint.names import names_by_key
from estimator_ckpt.checkpoint.selection import why_not_variable
from estimator_ckpt.conversion.planning import DroppedKey
from estimator_ckpt.errors import (
    CheckpointArgumentError,
    CheckpointError,
    CheckpointExistsError,
    CheckpointWriteError,
    NameClashError,
)
from estimator_ckpt.interchange import npz_file, safetensors_file
from estimator_ckpt.interchange.tensor_file import (
    NPZ,
    FileTensor,
    TransferredTensor,
    file_format_of,
    rows,
    supported,
)
from estimator_ckpt.naming.paths import VARIABLE_VALUE, is_slot_key, parse_key
from estimator_ckpt.storage import files
from estimator_ckpt.storage.files import Progress

_SLOT = "it belongs to an optimizer (slots=False)"


@dataclass(frozen=True)
class ExportReport:
    """What was exported.

    Attributes:
      path: the file that was written.
      file_format: "npz" or "safetensors".
      source: the prefix of the checkpoint.
      tensors: what is in the file, sorted by name.
      left_out: keys of the checkpoint that are not in the file, and why.
      bytes_written: the size of the file.
    """

    path: str
    file_format: str
    source: str
    tensors: tuple[TransferredTensor, ...]
    left_out: tuple[DroppedKey, ...]
    bytes_written: int


def export_checkpoint(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    file_format: str | None = None,
    include: str | Sequence[str] = ".*",
    exclude: str | Sequence[str] | None = None,
    slots: bool = True,
    skip_unsupported: bool = False,
    compress: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes the variables of a checkpoint to a .npz or a safetensors file.

    Args:
      source: a checkpoint's prefix, or a model_dir (its latest checkpoint), in any format.
      target: the file.
      file_format: "npz" or "safetensors"; None to tell it from the file's name.
      include: regular expressions; a variable is exported if one is found in its name.
      exclude: regular expressions; a variable is not exported if one is found in its name.
      slots: whether what belongs to optimizers is exported, too.
      skip_unsupported: leave out what the file can't hold, instead of refusing.
      compress: deflate the arrays of a .npz.
      overwrite: whether `target` may be replaced.
      progress: called with (target, bytes written, bytes in all).

    Returns:
      What was exported. Where not every variable of an object-based checkpoint has a name, all are
      named by their path: `model/dense/kernel`.

    Raises:
      CheckpointArgumentError: an argument is unusable, or the file can't hold a tensor.
      CheckpointNotFoundError: there is no checkpoint at `source`.
      DamagedCheckpointError: the source is damaged or incomplete.
      NameClashError: two tensors would get the same name.
      CheckpointExistsError: `target` exists and `overwrite` is false.
      CheckpointWriteError: the file system refused to write the target.
    """
    kind = file_format_of(os.fsdecode(target), file_format)
    if compress and kind != NPZ:
        raise CheckpointArgumentError(f"compress is for npz; {kind} has no compression")
    wanted = naming.NameFilter(include, exclude)
    checkpoint = open_checkpoint(source)
    path = other_file(target, source, checkpoint)
    _require_free(path, overwrite)
    keys = _keys_by_name(checkpoint)
    left_out = _left_out(checkpoint, keys, wanted.checked(keys), slots)
    gone = {dropped.key for dropped in left_out}
    tensors = [
        _outgoing(checkpoint, name, key) for name, key in sorted(keys.items()) if key not in gone
    ]
    tensors, unsupported = supported(tensors, _why_not(kind), skip_unsupported, kind)
    left_out += [DroppedKey(keys[name], reason) for name, reason in unsupported]
    if not tensors:
        raise CheckpointArgumentError(f"there is nothing to export from '{checkpoint.prefix}'")
    entries = checkpoint.index.entries
    total = sum(entries[keys[tensor.name]].bytes for tensor in tensors)
    counted = _counted(tensors, path, total, progress)

    def write(file: Any) -> None:
        if kind == NPZ:
            npz_file.write(file, counted, compress=compress)
        else:
            safetensors_file.write(file, counted)

    _write_atomically(path, write)
    return ExportReport(
        path,
        kind,
        checkpoint.prefix,
        rows(tensors, keys),
        tuple(sorted(left_out, key=lambda dropped: dropped.key)),
        files.size(path),
    )


def _why_not(kind: str) -> Callable[[FileTensor], str | None]:
    of_format = npz_file.why_not if kind == NPZ else safetensors_file.why_not

    def why_not(tensor: FileTensor) -> str | None:
        try:
            tensor.name.encode()
        except UnicodeEncodeError:
            return "its name is not UTF-8"
        return of_format(tensor)

    return why_not


def _keys_by_name(checkpoint: Checkpoint) -> dict[str, str]:
    """Returns {name: key}, of two keys for the same bytes the first; by paths if names clash."""
    keys: dict[str, str] = {}
    try:
        for key, name in names_by_key(checkpoint).items():  # name-based keys come first
            keys.setdefault(name, key)
        return keys
    except NameClashError:
        pass
    for key in checkpoint.index.entries:
        if why_not_variable(key) is None:
            other = keys.setdefault(_path_name(key), key)
            if other != key:
                raise NameClashError(
                    f"'{other}' and '{key}' would both be called '{_path_name(key)}'"
                )
    return keys


def _path_name(key: str) -> str:
    if not naming.is_object_key(key):
        return key
    path, attribute = parse_key(key)
    return "/".join(path if attribute == VARIABLE_VALUE else (*path, attribute))


def _left_out(
    checkpoint: Checkpoint, keys: dict[str, str], wanted: naming.NameFilter, slots: bool
) -> list[DroppedKey]:
    known = set(keys)
    left_out = [
        DroppedKey(key, reason)
        for key in checkpoint.index.entries
        if (reason := why_not_variable(key)) is not None
    ]
    for name, key in keys.items():
        if not wanted(name):
            left_out.append(DroppedKey(key, naming.UNWANTED))
        elif not slots and (is_slot_key(key) or naming.is_optimizer_state(name, known)):
            left_out.append(DroppedKey(key, _SLOT))
    return left_out


def _outgoing(checkpoint: Checkpoint, name: str, key: str) -> FileTensor:
    entry = checkpoint.index.entries[key]

    def chunks() -> Iterator[Any]:
        if entry.dtype == dtypes.STRING:
            return iter((arrays.read_array(checkpoint, entry).reshape(-1),))
        return arrays.array_chunks(checkpoint, entry)

    return FileTensor(name, entry.dtype, entry.shape, chunks)


def _counted(
    tensors: Sequence[FileTensor], path: str, total: int, progress: Progress | None
) -> Sequence[FileTensor]:
    """Returns the tensors so that they tell how far they were read."""
    if progress is None:
        return tensors
    tell, done = progress, 0

    def counted(tensor: FileTensor) -> FileTensor:
        def chunks() -> Iterator[Any]:
            nonlocal done
            for chunk in tensor.chunks():
                yield chunk
                if tensor.dtype != dtypes.STRING:
                    done += chunk.nbytes
                    tell(path, done, total)

        return tensor._replace(chunks=chunks)

    return [counted(tensor) for tensor in tensors]


def _require_free(path: str, overwrite: bool) -> None:
    if files.is_directory(path):
        raise CheckpointExistsError(f"'{path}' is a directory; give the name of a file")
    if files.exists(path) and not overwrite:
        raise CheckpointExistsError(
            f"the file '{path}' exists; give another target, or say that it may be overwritten "
            "(overwrite=True, --overwrite)"
        )


def _write_atomically(path: str, write: Callable[[Any], None]) -> None:
    files.require_writable_directory(os.path.dirname(path))
    staged = files.staging_name(path)
    try:
        with files.new_file(staged) as file:
            write(file)
        files.rename(staged, path)
        files.sync_directory(os.path.dirname(path))
    except BaseException as error:
        files.remove(staged)
        if files.is_refusal(error) and not isinstance(error, CheckpointError):
            raise CheckpointWriteError(
                f"can't write the file '{path}': {error}; nothing was left behind"
            ) from error
        raise
