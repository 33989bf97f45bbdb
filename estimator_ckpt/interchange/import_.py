"""Makes a checkpoint of the arrays in a .npz or a safetensors file.

    report = import_checkpoint("weights.safetensors", "job/model.ckpt-0", to="dual")
    print(report.tensors, report.left_out)

The names in the file become the variables' names, and in `tf2` and `dual` also the keys of
`Checkpoint(var_list={name: variable})`. Arrays are read and written in pieces, never all at once.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from estimator_ckpt import naming
from estimator_ckpt.bundle import BundleIndex, TensorEntry, dtypes
from estimator_ckpt.checkpoint import BundleWriter, Checkpoint, arrays, strangers
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.identity import other_prefix
from estimator_ckpt.conversion.added import added_size, put_added
from estimator_ckpt.conversion.planning import FORMATS, Conversion, fitted, plan
from estimator_ckpt.conversion.report import DroppedKey
from estimator_ckpt.errors import (
    CheckpointArgumentError,
    CheckpointNotFoundError,
    DamagedCheckpointError,
)
from estimator_ckpt.interchange import npz_file, safetensors_file
from estimator_ckpt.interchange.tensor_file import (
    IMPORTED,
    SAFETENSORS,
    FileTensor,
    TransferredTensor,
    file_format_of,
    rows,
    supported,
)
from estimator_ckpt.messages import choices
from estimator_ckpt.shown import Shown
from estimator_ckpt.storage import files
from estimator_ckpt.storage.files import Progress


@dataclass(frozen=True, repr=False)
class ImportReport(Shown, verb="import"):
    """What was imported.

    Attributes:
      prefix: of the checkpoint that was written.
      format: its format.
      source: the file.
      tensors: what is in the checkpoint, sorted by name.
      left_out: names in the file that are not in the checkpoint, and why.
      added: keys of the checkpoint that the file had nothing for (object graph, save_counter).
      bytes_written: the size of the checkpoint's files.
    """

    prefix: str
    format: str
    source: str
    tensors: tuple[TransferredTensor, ...]
    left_out: tuple[DroppedKey, ...]
    added: tuple[str, ...]
    bytes_written: int


def import_checkpoint(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    to: str,
    file_format: str | None = None,
    container: str | None = None,
    step: str | None = "step",
    include: str | Sequence[str] = ".*",
    exclude: str | Sequence[str] | None = None,
    rename: naming.Rules = None,
    skip_unsupported: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    r"""Writes a checkpoint from the arrays of a .npz or a safetensors file.

    Args:
      source: the file; the names in it become the variables' names.
      target: the prefix of the new checkpoint. Directories are made as needed.
      to: "tf1" (name-based), "tf2" (object-based) or "dual" (readable as both).
      file_format: "npz" or "safetensors"; None to tell it from the file's name.
      container: for tf2 and dual, the attribute of the root object that holds the variables by
        name; `Checkpoint(var_list={name: variable})` by default.
      step: for tf2 and dual, the attribute that holds `global_step`, if the file has one; None
        leaves it in the container.
      include: regular expressions; an array is imported if one is found in its name.
      exclude: regular expressions; an array is not imported if one is found in its name.
      rename: old to new names, their text, or a map, which can also change values, as those of
        PyTorch have to be: `[pinned]\nfc.weight -> fc/kernel : transpose(1, 0)`.
      skip_unsupported: leave out what a checkpoint can't hold, instead of refusing.
      overwrite: whether `target` may be replaced.
      progress: called with (target, bytes written, bytes in all).

    Returns:
      What was imported.

    Raises:
      CheckpointArgumentError: an argument is unusable, or the checkpoint can't hold a tensor.
      CheckpointNotFoundError: there is no file at `source`.
      DamagedCheckpointError: the file is damaged, or is none of this format.
      NameClashError: two tensors would get the same key.
      CheckpointExistsError: `target` exists and `overwrite` is false.
      CheckpointWriteError: the file system refused to write the target.
    """
    if to not in FORMATS:
        raise CheckpointArgumentError(f"to must be {choices(FORMATS)}, not '{to}'")
    path, prefix = os.fsdecode(source), other_prefix(target, source)
    found = strangers.stranger(path)
    if found is not None and found.what not in strangers.FOR_IMPORT:
        raise DamagedCheckpointError(f"'{path}' can't be imported: it is {found}")
    kind = file_format_of(path, file_format, IMPORTED)
    wanted = naming.NameFilter(include, exclude)
    layout = naming.Layout(container or "var_list", step)
    rules = naming.rename_rules(rename)
    with _damage(path), _opened(path, kind) as held:
        wanted.checked([tensor.name for tensor in held])
        asked = [tensor for tensor in held if wanted(tensor.name)]
        left_out = [
            DroppedKey(tensor.name, naming.UNWANTED) for tensor in held if not wanted(tensor.name)
        ]
        tensors, unsupported = supported(
            asked, _why_not_in_checkpoint, skip_unsupported, "a checkpoint"
        )
        left_out += [DroppedKey(name, reason) for name, reason in unsupported]
        if not tensors:
            raise CheckpointArgumentError(f"there is nothing to import from '{path}'")
        conversion, source_ = _plan(path, tensors, to, layout, rules)
        left_out += conversion.dropped
        taken = _taken(source_, conversion)
        total = sum(map(_size, taken)) + added_size(conversion.added)
        with BundleWriter(prefix, overwrite=overwrite, progress=progress, total=total) as writer:
            _write_checkpoint(writer, taken, conversion)
            written = writer.commit()
    ordered = sorted(conversion.sources.items(), key=lambda row: not naming.is_object_key(row[0]))
    key_of = {name: key for key, name in ordered}
    key_of.update((name, key) for key, name in ordered if not naming.is_object_key(key))
    return ImportReport(
        prefix,
        to,
        path,
        rows(taken, key_of),
        tuple(sorted(left_out, key=lambda dropped: dropped.key)),
        tuple(sorted(conversion.added)),
        written,
    )


def step_in(source: str | os.PathLike[str], file_format: str | None = None) -> int | None:
    """Returns the global step that a file holds under its usual name; None where it has none.

    Raises:
      CheckpointError: as `import_checkpoint`.
    """
    path = os.fsdecode(source)
    with _damage(path), _opened(path, file_format_of(path, file_format, IMPORTED)) as held:
        for tensor in held:
            if tensor.name == naming.GLOBAL_STEP and tensor.shape == () and not tensor.why_not:
                (value,) = next(iter(tensor.chunks()))
                return int(value)
    return None


@contextlib.contextmanager
def _opened(path: str, kind: str) -> Iterator[list[FileTensor]]:
    if not files.exists(path) or files.is_directory(path):
        raise CheckpointNotFoundError(f"there is no file '{path}'")
    if kind == SAFETENSORS:
        with safetensors_file.opened(path) as tensors:
            yield tensors
        return
    with files.local_copy(path) as local, files.open_file(local) as file:
        yield list(npz_file.read(file))


@contextlib.contextmanager
def _damage(path: str) -> Iterator[None]:
    try:
        yield
    except DamagedCheckpointError as error:
        raise DamagedCheckpointError(
            f"the file '{path}' can't be imported: {error}; use another copy of it"
        ) from error


def _why_not_in_checkpoint(tensor: FileTensor) -> str | None:
    if tensor.why_not is not None:
        return tensor.why_not
    if not tensor.name or tensor.name.startswith("\0"):
        return "a checkpoint keeps this name for itself"
    try:
        tensor.name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if tensor.name == naming.OBJECT_GRAPH_KEY or naming.is_object_key(tensor.name):
        return "it is a key of an object-based checkpoint, not a variable's name"
    return None


def _plan(
    path: str,
    tensors: Sequence[FileTensor],
    to: str,
    layout: naming.Layout,
    rules: naming.RenameRules,
) -> tuple[Conversion, Checkpoint]:
    """Plans the keys, as for a conversion from a name-based checkpoint of these tensors.

    Returns:
      The plan, and that checkpoint, of which no tensor is in a data file.
    """
    entries = {
        tensor.name: TensorEntry(tensor.dtype or 0, tensor.shape, 0, number, _size(tensor))
        for number, tensor in enumerate(tensors)
    }
    made = {entries[tensor.name]: tensor.chunks for tensor in tensors}
    account, left = fitted(rules, Account(Checkpoint(path, BundleIndex(entries), made=made)))

    def edit(held: Account) -> naming.Edit:
        return naming.rename(held.key_of, left, roles=held.roles)

    return plan(account, to, layout=layout, edit=edit if left else None), account.checkpoint


def _taken(source: Checkpoint, conversion: Conversion) -> list[FileTensor]:
    """Returns the tensors that are to be in the checkpoint."""
    used = set(conversion.sources.values())
    return [
        FileTensor(name, entry.dtype, entry.shape, functools.partial(_chunks, source, entry))
        for name, entry in source.index.entries.items()
        if name in used
    ]


def _chunks(source: Checkpoint, entry: TensorEntry) -> Iterator[arrays.Array]:
    return arrays.array_chunks(source, entry)


def _write_checkpoint(
    writer: BundleWriter, tensors: Iterable[FileTensor], conversion: Conversion
) -> None:
    entries = {tensor.name: _append(writer, tensor) for tensor in tensors}
    for key, name in conversion.sources.items():
        writer.put(key, entries[name])
    put_added(writer, conversion.added)


def _append(writer: BundleWriter, tensor: FileTensor) -> TensorEntry:
    if tensor.dtype == dtypes.STRING:
        strings = [value for chunk in tensor.chunks() for value in chunk]
        return writer.append_strings(tensor.shape, strings)
    chunks = (chunk.tobytes() for chunk in tensor.chunks())
    return writer.append(tensor.dtype or 0, tensor.shape, chunks)


def _size(tensor: FileTensor) -> int:
    return math.prod(tensor.shape) * (dtypes.element_size(tensor.dtype or 0) or 0)
