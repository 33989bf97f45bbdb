"""Converts checkpoints between TF1 and TF2 by rewriting the index; no tensor is read.

    report = convert("model_dir", "converted/model.ckpt-10", to="tf2")
    print(report)

`tf1` is name-based, `tf2` object-based; a `dual` checkpoint has both sets of keys, on the same
bytes. The data files of the source are hard-linked where the file system can, else copied.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from estimator_ckpt import naming
from estimator_ckpt.bundle import (
    BundleIndex,
    Checkpoint,
    Shard,
    TensorEntry,
    open_checkpoint,
    publish,
)
from estimator_ckpt.bundle.files import Progress
from estimator_ckpt.bundle.tensors import int64_scalar, parse_string_scalar, string_scalar
from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.naming.layout import why_unnamed

FORMATS = ("tf1", "tf2", "dual")
_OTHER_NAMES = "another name of the same bytes; a {} checkpoint has no use for it"


@dataclass(frozen=True)
class KeyChange:
    """A key of the source and one that its bytes have in the target."""

    source: str
    target: str


@dataclass(frozen=True)
class DroppedKey:
    """A key of the source that the target doesn't have, and why."""

    key: str
    reason: str


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion did.

    Attributes:
      prefix: of the checkpoint that was written.
      format: its format.
      keys: each key of the source with its key in the target; twice where it has two (`dual`).
      dropped: keys of the source that the target doesn't have.
      added: keys of the target that the source had nothing for (object graph, save_counter).
      bytes_linked: bytes of data files that were hard-linked.
      bytes_copied: bytes of data files that were copied.
      bytes_written: bytes written anew: the index, and the small shard with what was added.
    """

    prefix: str
    format: str
    keys: tuple[KeyChange, ...]
    dropped: tuple[DroppedKey, ...]
    added: tuple[str, ...]
    bytes_linked: int
    bytes_copied: int
    bytes_written: int


@dataclass(frozen=True)
class Conversion:
    """What a conversion would do: the keys of the target, and where each is from.

    Attributes:
      sources: {key of the target: key of the source}.
      dropped: what is left out of the target.
      added: tensors that the source doesn't have: {key: its value}.
    """

    sources: Mapping[str, str]
    dropped: tuple[DroppedKey, ...]
    added: Mapping[str, bytes | int]


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    to: str,
    container: str | None = None,
    step: str | None = "step",
    overwrite: bool = False,
    copy: bool = False,
    progress: Progress | None = None,
) -> ConversionReport:
    """Converts a checkpoint to a format, without reading a tensor.

    Args:
      source: a checkpoint's prefix, or a model_dir (its latest checkpoint), in any format.
      target: the prefix of the new checkpoint. Directories are made as needed.
      to: "tf1" (name-based), "tf2" (object-based) or "dual" (readable as both).
      container: for tf2 and dual, the attribute of the root object that holds the variables by
        name; `Checkpoint(var_list={name: variable})` by default. A source that is object-based
        keeps its own layout unless a container is given.
      step: for tf2 and dual, the attribute that holds the global step; None leaves it in the
        container as `global_step`.
      overwrite: whether `target` may be replaced.
      copy: copy the data files even where they could be linked.
      progress: called with (path, bytes done, bytes in all) while data files are copied.

    Returns:
      What was done.

    Raises:
      CheckpointNotFoundError: there is no checkpoint at `source`.
      DamagedCheckpointError: the source is damaged or incomplete.
      NameClashError: two tensors would get the same name.
      CheckpointExistsError: `target` exists and `overwrite` is false.
      CheckpointWriteError: the file system refused to write the target.
      CheckpointArgumentError: an argument is unusable.
    """
    if to not in FORMATS:
        raise CheckpointArgumentError(f"to='{to}' is no format; it is one of {', '.join(FORMATS)}")
    prefix = os.fspath(target)
    checkpoint = open_checkpoint(source)
    if checkpoint.prefix == prefix:
        raise CheckpointArgumentError(f"'{prefix}' is both source and target; give another target")
    conversion = plan(checkpoint, to, naming.Layout(container or "var_list", step), bool(container))
    index, shards = rebuild(checkpoint, conversion)
    cost = publish(prefix, index, shards, overwrite=overwrite, copy=copy, progress=progress)
    return ConversionReport(
        prefix,
        to,
        tuple(KeyChange(key, new) for new, key in sorted(conversion.sources.items())),
        conversion.dropped,
        tuple(sorted(conversion.added)),
        cost.linked,
        cost.copied,
        cost.written,
    )


def read_object_graph(checkpoint: Checkpoint) -> bytes | None:
    """Returns a checkpoint's serialized object graph; None where it has none (it is name-based)."""
    entry = checkpoint.index.entries.get(naming.OBJECT_GRAPH_KEY)
    return None if entry is None else parse_string_scalar(checkpoint.read_bytes(entry))


def names_by_key(checkpoint: Checkpoint) -> dict[str, str]:
    """Finds the variable that each key of a checkpoint belongs to.

    Args:
      checkpoint: of any format.

    Returns:
      {key: name}, without the keys that belong to no variable. In a dual checkpoint two keys have
      the same name.

    Raises:
      NameClashError: there is no name for each tensor.
    """
    entries = checkpoint.index.entries
    graph = read_object_graph(checkpoint)
    if graph is None:
        return {key: key for key in entries}
    names = {key: key for key in entries if not _belongs_to_objects(key)}
    owners = {_bytes_of(entries[key]): key for key in names}
    # Keys of the same bytes are one variable's; the first of them has to have a name.
    firsts: dict[object, str] = {}
    keys = [key for key in entries if naming.is_object_key(key)]
    for key in keys:
        firsts.setdefault(_bytes_of(entries[key]), key)
    unnamed = [key for place, key in firsts.items() if place not in owners]
    found = naming.variable_names(unnamed, naming.full_names(graph))
    for key in keys:
        place = _bytes_of(entries[key])
        name = owners.get(place) or found.get(firsts.get(place, key))
        if name is not None:
            names[key] = name
    return names


def keys_by_name(checkpoint: Checkpoint) -> dict[str, str]:
    """Finds a key for each variable of a checkpoint; of a dual one, the name-based key.

    Args:
      checkpoint: of any format.

    Returns:
      {name: key}.

    Raises:
      NameClashError: there is no name for each tensor.
    """
    entries = checkpoint.index.entries
    keys: dict[str, str] = {}
    for key, name in names_by_key(checkpoint).items():  # name-based keys come first
        other = keys.setdefault(name, key)
        if entries[other] != entries[key]:
            raise NameClashError(
                f"the name '{name}' would belong to two tensors: '{other}' and '{key}'"
            )
    return keys


def plan(
    checkpoint: Checkpoint, to: str, layout: naming.Layout = naming.Layout(), relayout: bool = False
) -> Conversion:
    """Works out which keys the target has.

    Args:
      checkpoint: the source.
      to: the format of the target.
      layout: where variables go in the object graph, unless the source has its own.
      relayout: use `layout` even where the source has an object graph.

    Returns:
      The plan.

    Raises:
      NameClashError: two tensors would get the same name.
    """
    entries = checkpoint.index.entries
    has_graph = naming.OBJECT_GRAPH_KEY in entries
    sources: dict[str, str] = {}
    added: dict[str, bytes | int] = {}
    keeps_objects = has_graph and to != "tf1" and not relayout
    if keeps_objects:
        sources.update((key, key) for key in entries if _belongs_to_objects(key))
    if to != "tf2" or not keeps_objects:
        names = keys_by_name(checkpoint)
        if to != "tf2":
            sources.update(names)
        if to != "tf1" and not keeps_objects:
            sources.update(_object_keys(names, layout))
            added = {
                naming.SAVE_COUNTER_KEY: 1,
                naming.OBJECT_GRAPH_KEY: layout.object_graph(names, save_counter=True),
            }
    kept = set(sources.values()) | set(added)
    dropped = tuple(
        DroppedKey(key, _why_dropped(key, to)) for key in sorted(entries) if key not in kept
    )
    return Conversion(sources, dropped, added)


def rebuild(checkpoint: Checkpoint, conversion: Conversion) -> tuple[BundleIndex, list[Shard]]:
    """Makes the index of the target and names the shards that it needs.

    Args:
      checkpoint: the source.
      conversion: what is wanted of it.

    Returns:
      The index, and the data files for its shard numbers: those of the source that it uses, then
      a small new one with what was added.
    """
    entries = {key: checkpoint.index.entries[old] for key, old in conversion.sources.items()}
    used = sorted({stored.shard_id for entry in entries.values() for stored in entry.stored})
    numbers = {old: new for new, old in enumerate(used)}
    entries = {key: entry.in_shards(numbers) for key, entry in entries.items()}
    shards = [Shard(path=checkpoint.shard_paths[number]) for number in used]
    if conversion.added:
        data, new_entries = _encode_added(conversion.added, len(shards))
        entries.update(new_entries)
        shards.append(Shard(data=data))
    return replace(checkpoint.index, entries=entries, num_shards=len(shards)), shards


def _bytes_of(entry: TensorEntry) -> tuple[object, ...]:
    """Identifies a tensor by the place of its bytes; an empty one has none, and equals no other."""
    return entry[:] if entry.bytes else (object(),)


def _belongs_to_objects(key: str) -> bool:
    return key == naming.OBJECT_GRAPH_KEY or naming.is_object_key(key)


def _object_keys(names: Mapping[str, str], layout: naming.Layout) -> dict[str, str]:
    keys: dict[str, str] = {}
    for name, source in names.items():
        key = layout.key(name)
        if key in keys or key == naming.SAVE_COUNTER_KEY:
            raise NameClashError(
                f"'{name}' would get the key '{key}', which another tensor has; "
                "give another container"
            )
        keys[key] = source
    return keys


def _why_dropped(key: str, to: str) -> str:
    if _belongs_to_objects(key) and (reason := why_unnamed(key)):
        return reason
    return _OTHER_NAMES.format(to)


def _encode_added(
    added: Mapping[str, bytes | int], shard_id: int
) -> tuple[bytes, dict[str, TensorEntry]]:
    data, entries = b"", {}
    for key, value in added.items():
        if isinstance(value, bytes):
            encoded, entries[key] = string_scalar(value, shard_id, len(data))
        else:
            encoded, entries[key] = int64_scalar(value, shard_id, len(data))
        data += encoded
    return data, entries
