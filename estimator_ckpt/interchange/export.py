"""Takes the variables of a checkpoint to numpy's .npz, to safetensors or to Keras' .weights.h5.

    export_checkpoint("job", "weights.npz")
    report = export_checkpoint("job", "weights.safetensors", slots=False)
    print(report.left_out)

Tensors have the names that they have in a name-based checkpoint, whatever the format of the
checkpoint. They are read and written in pieces, never all at once. A file that can't hold a tensor
(strings in safetensors, bfloat16 in .npz) is refused, or the tensor left out and listed.
In a `.weights.h5` names are places, such as those that converting one has given to a checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from estimator_ckpt import naming
from estimator_ckpt.bundle import dtypes
from estimator_ckpt.checkpoint import Checkpoint, arrays
from estimator_ckpt.checkpoint.account import Account, open_account
from estimator_ckpt.checkpoint.identity import other_file
from estimator_ckpt.checkpoint.one_file import require_free_file, write_whole
from estimator_ckpt.checkpoint.opening import ARCHIVE_SUFFIX, reading
from estimator_ckpt.conversion.planning import fitted
from estimator_ckpt.conversion.report import DroppedKey
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.interchange import keras_weights, npz_file, safetensors_file
from estimator_ckpt.interchange.tensor_file import (
    KERAS,
    NPZ,
    SAFETENSORS,
    FileTensor,
    TransferredTensor,
    file_format_of,
    rows,
    supported,
)
from estimator_ckpt.naming.layout import reason_without_name
from estimator_ckpt.shown import Shown
from estimator_ckpt.storage import files
from estimator_ckpt.storage.files import Progress

_MODULES: Mapping[str, Any] = {
    NPZ: npz_file,
    SAFETENSORS: safetensors_file,
    KERAS: keras_weights,
}


@dataclass(frozen=True, repr=False)
class ExportReport(Shown, verb="export"):
    """What was exported.

    Attributes:
      path: the file that was written.
      file_format: "npz", "safetensors" or "weights.h5".
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
    rename: naming.Rules = None,
    names: str = "auto",
    skip_unsupported: bool = False,
    compress: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes the variables of a checkpoint to a .npz, a safetensors or a `.weights.h5` file.

    Args:
      source: a checkpoint's prefix, or a model_dir (its latest checkpoint), in any format.
      target: the file.
      file_format: "npz", "safetensors" or "weights.h5"; None to tell it from the file's name.
      include: regular expressions; a variable is exported if one is found in its name.
      exclude: regular expressions; a variable is not exported if one is found in its name.
      slots: whether what belongs to optimizers is exported, too.
      rename: old to new names, their text, or a map, which can also change values.
      names: "auto", by name, and by the path among the objects (`model/dense/kernel`) where a
        tensor has no name of its own; or "path", all by their paths.
      skip_unsupported: leave out what the file can't hold, instead of refusing.
      compress: deflate the arrays of a .npz.
      overwrite: whether `target` may be replaced.
      progress: called with (target, bytes written, bytes in all).

    Returns:
      What was exported.

    Raises:
      CheckpointArgumentError: an argument is unusable, or the file can't hold a tensor.
      CheckpointNotFoundError: there is no checkpoint at `source`.
      DamagedCheckpointError: the source is damaged or incomplete.
      NameClashError: two tensors would get the same name.
      CheckpointExistsError: `target` exists and `overwrite` is false.
      CheckpointWriteError: the file system refused to write the target.
    """
    if file_format is None and os.fsdecode(target).endswith(ARCHIVE_SUFFIX):
        raise CheckpointArgumentError(
            f"'{os.fsdecode(target)}' has a model in it, too, which only the model tells: "
            "estimator_ckpt.convert(source, target, like=model)"
        )
    kind = file_format_of(os.fsdecode(target), file_format)
    if compress and kind != NPZ:
        raise CheckpointArgumentError(f"compress is for npz; {kind} has no compression")
    wanted = naming.NameFilter(include, exclude)
    account = open_account(source, names)
    wanted.checked(account.key_of)
    account, rules = fitted(naming.rename_rules(rename), account)
    checkpoint = account.checkpoint
    path = other_file(target, source, checkpoint)
    require_free_file(path, overwrite)
    edited = naming.rename(account.key_of, rules, roles=account.roles)
    keys = {new: account.key_of[old] for new, old in edited.names.items()}
    left_out = _left_out(account, wanted, slots, edited.dropped)
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

    def write(file: files.WritableFile) -> None:
        if kind == NPZ:
            npz_file.write(file, counted, compress=compress)
        else:
            _MODULES[kind].write(file, counted)

    with reading(checkpoint, [entries[keys[tensor.name]] for tensor in tensors]):
        write_whole(path, write)
    return ExportReport(
        path,
        kind,
        checkpoint.prefix,
        rows(tensors, keys),
        tuple(sorted(left_out, key=lambda dropped: dropped.key)),
        files.size(path),
    )


def _why_not(kind: str) -> Callable[[FileTensor], str | None]:
    of_format: Callable[[FileTensor], str | None] = _MODULES[kind].why_not

    def why_not(tensor: FileTensor) -> str | None:
        try:
            tensor.name.encode()
        except UnicodeEncodeError:
            return "its name is not UTF-8"
        return of_format(tensor)

    return why_not


def _left_out(
    account: Account, wanted: naming.NameFilter, slots: bool, unused: Mapping[str, str]
) -> list[DroppedKey]:
    left_out = [DroppedKey(key, reason_without_name(key) or "") for key in account.others]
    roles = {} if slots else account.roles
    for name, key in account.key_of.items():
        if name in unused:
            left_out.append(DroppedKey(key, unused[name]))
        elif not wanted(name):
            left_out.append(DroppedKey(key, naming.UNWANTED))
        elif not slots and roles[name].is_training_state:
            left_out.append(DroppedKey(key, f"it {roles[name].use_in_training} (slots=False)"))
    return left_out


def _outgoing(checkpoint: Checkpoint, name: str, key: str) -> FileTensor:
    entry = checkpoint.index.entries[key]

    def chunks() -> Iterator[arrays.Array]:
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
        def chunks() -> Iterator[arrays.Array]:
            nonlocal done
            for chunk in tensor.chunks():
                yield chunk
                if tensor.dtype != dtypes.STRING:
                    done += chunk.nbytes
                    tell(path, done, total)

        return tensor._replace(chunks=chunks)

    return [counted(tensor) for tensor in tensors]
