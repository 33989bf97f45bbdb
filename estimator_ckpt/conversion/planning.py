"""Converts checkpoints between TF1 and TF2 by rewriting the index; no tensor is read.

    report = convert("model_dir", "converted/model.ckpt-10", to="tf2")
    print(report)

`tf1` is name-based, `tf2` object-based; a `dual` checkpoint has both sets of keys, on the same
bytes. The data files of the source are hard-linked where the file system can, else copied.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from estimator_ckpt import naming
from estimator_ckpt.bundle import BundleIndex, TensorEntry
from estimator_ckpt.checkpoint import Checkpoint, PublishCost, Shard, open_checkpoint, publish
from estimator_ckpt.checkpoint.identity import other_prefix
from estimator_ckpt.checkpoint.names import keys_by_name, names_by_key, read_object_graph
from estimator_ckpt.conversion.added import encode_added
from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.naming.layout import why_unnamed
from estimator_ckpt.storage.files import Progress

FORMATS = ("tf1", "tf2", "dual")
_OTHER_NAMES = "another name of the same bytes; a {} checkpoint has no use for it"


class KeyChange(NamedTuple):
    """A key of the source and one that its bytes have in the target.

    (A NamedTuple, as are the other rows of which there may be 100,000.)
    """

    source: str
    target: str


class DroppedKey(NamedTuple):
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
    to: str | None = None,
    rename: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    drop: Iterable[str] = (),
    include: str | Sequence[str] = ".*",
    exclude: str | Sequence[str] | None = None,
    container: str | None = None,
    step: str | None = "step",
    like: Any = None,
    overwrite: bool = False,
    copy: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ConversionReport:
    """Converts a checkpoint to a format, or changes its names, without reading a tensor.

    Args:
      source: a checkpoint's prefix, or a model_dir (its latest checkpoint), in any format.
      target: the prefix of the new checkpoint. Directories are made as needed.
      to: "tf1" (name-based), "tf2" (object-based) or "dual" (readable as both); None for the
        format of the source.
      rename: old to new names or scopes, as `estimator_ckpt.naming.rename_rules` takes them.
      drop: regular expressions; variables in whose new name one is found are left out.
      include: regular expressions; a variable is taken if one is found in its name in the source,
        and so is the global step in any case. Slots have names of their own.
      exclude: regular expressions; a variable is not taken if one is found in that name.
      container: for tf2 and dual, the attribute of the root object that holds the variables by
        name; `Checkpoint(var_list={name: variable})` by default. A source that is object-based
        keeps its own layout unless a container is given.
      step: for tf2 and dual, the attribute that holds the global step; None leaves it in the
        container as `global_step`.
      like: for tf2 and dual, a live `tf.train.Checkpoint`, module or Keras model that is built: the
        target has exactly the keys that it would save, each from the variable of that name, slots
        of optimizers from the corresponding ones. What it does not have is dropped.
      overwrite: whether `target` may be replaced.
      copy: copy the data files even where they could be linked.
      dry_run: only say what would be done, write nothing.
      progress: called with (path, bytes done, bytes in all) while data files are copied.

    Returns:
      What was done.

    Raises:
      CheckpointNotFoundError: there is no checkpoint at `source`.
      DamagedCheckpointError: the source is damaged or incomplete.
      NameClashError: two tensors would get the same name.
      CheckpointExistsError: `target` exists and `overwrite` is false.
      CheckpointWriteError: the file system refused to write the target.
      VariableMismatchError: `like` has a variable that the source lacks or has in another shape.
      CheckpointArgumentError: an argument is unusable, or a pattern or rule matches no variable.
    """
    if like is not None and (container is not None or to == "tf1"):
        raise CheckpointArgumentError(
            "like= gives the layout of objects: it goes with to='tf2' or to='dual', "
            "and not with container="
        )
    patterns = tuple(drop)
    wanted = naming.NameFilter(include, exclude, always=(naming.GLOBAL_STEP,))

    def edit(names: Mapping[str, str]) -> naming.Edit:
        changed = naming.choose(names, wanted.checked(names))
        if rename:
            changed = changed.then(naming.rename, rename)
        return changed.then(naming.drop, patterns) if patterns else changed

    layout = None if container is None else naming.Layout(container, step)
    return apply(
        source,
        target,
        lambda checkpoint: plan(
            checkpoint,
            to,
            edit=edit if rename or patterns or not wanted.takes_all else None,
            layout=layout,
            default=naming.Layout(step=step),
            like=like,
        ),
        overwrite=overwrite,
        copy=copy,
        dry_run=dry_run,
        progress=progress,
    )


def apply(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    planned: Callable[[Checkpoint], Conversion],
    *,
    overwrite: bool = False,
    copy: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ConversionReport:
    """Carries out a conversion.

    Args:
      source: a checkpoint's prefix, or a model_dir (its latest checkpoint), in any format.
      target: the prefix of the new checkpoint.
      planned: makes the plan for the source.
      overwrite: whether `target` may be replaced.
      copy: copy the data files even where they could be linked.
      dry_run: only say what would be done.
      progress: called while data files are copied.

    Returns:
      What was done. After a dry run, no bytes.

    Raises:
      CheckpointError: as `convert`.
    """
    checkpoint = open_checkpoint(source)
    prefix = other_prefix(target, source, checkpoint)
    conversion = planned(checkpoint)
    index, shards = rebuild(checkpoint, conversion)
    cost = PublishCost()
    if not dry_run:
        cost = publish(prefix, index, shards, overwrite=overwrite, copy=copy, progress=progress)
    return ConversionReport(
        prefix,
        naming.format_of(index.entries),
        tuple(KeyChange(key, new) for new, key in sorted(conversion.sources.items())),
        conversion.dropped,
        tuple(sorted(conversion.added)),
        cost.linked,
        cost.copied,
        cost.written,
    )


def plan(
    checkpoint: Checkpoint,
    to: str | None = None,
    *,
    edit: Callable[[Mapping[str, str]], naming.Edit] | None = None,
    layout: naming.Layout | None = None,
    default: naming.Layout = naming.Layout(),
    like: Any = None,
) -> Conversion:
    """Works out which keys the target has.

    Args:
      checkpoint: the source.
      to: the format of the target; None for that of the source.
      edit: says, for the names of the variables, what becomes of them.
      layout: where variables go in the object graph; None to keep the source's.
      default: the layout for a source that has none.
      like: a live object whose keys the target has; None for a layout by name.

    Returns:
      The plan.

    Raises:
      NameClashError: two tensors would get the same name.
      CheckpointArgumentError: the format does not exist, or new names don't fit the objects.
    """
    entries = checkpoint.index.entries
    to = to or naming.format_of(entries)
    if to not in FORMATS:
        raise CheckpointArgumentError(f"to='{to}' is no format; it is one of {', '.join(FORMATS)}")
    has_objects = naming.OBJECT_GRAPH_KEY in entries
    keeps_objects = to != "tf1" and layout is None and like is None and has_objects
    if keeps_objects and to == "tf2" and edit is None:  # then no variable needs a name
        kept = {key: key for key in entries if _belongs_to_objects(key)}
        return _conversion(entries, kept, {}, to, {})
    keys = keys_by_name(checkpoint)
    edited = edit(keys) if edit else naming.Edit.nothing(keys)
    if keeps_objects and edit:
        # Where the objects hold variables by name, their graph is made anew rather than read.
        layout = naming.layout_of(entries)
        keeps_objects = layout is None
        if keeps_objects and edited.renames:
            raise CheckpointArgumentError(
                "the objects of this checkpoint don't hold its variables by name, as "
                "Checkpoint(var_list={name: variable}) does, so a new name would fit none of them; "
                "give a container to lay them out by name"
            )
    sources: dict[str, str] = {}
    added: dict[str, bytes | int] = {}
    if to != "tf1":
        if keeps_objects:
            sources, added = _same_objects(checkpoint, keys, edited)
        elif like is not None:
            from estimator_ckpt.live.objects import LiveObjects  # it needs TensorFlow

            found = LiveObjects(like).find_sources(edited.names, entries, keys)
            sources, added = dict(found.sources), {naming.OBJECT_GRAPH_KEY: found.graph}
            added.update(dict.fromkeys(found.counters, 1))
        else:
            sources, added = _new_objects(entries, keys, edited, layout or default)
    if to != "tf2":
        sources.update({name: keys[old] for name, old in edited.names.items()})
    dropped_keys = {keys[name]: reason for name, reason in edited.dropped.items()}
    return _conversion(entries, sources, added, to, dropped_keys)


def _conversion(
    entries: Mapping[str, TensorEntry],
    sources: Mapping[str, str],
    added: Mapping[str, bytes | int],
    to: str,
    reasons: Mapping[str, str],
) -> Conversion:
    used = set(sources.values()) | set(added)
    dropped = tuple(
        DroppedKey(key, reasons.get(key) or _why_dropped(key, to))
        for key in sorted(entries)
        if key not in used
    )
    return Conversion(sources, dropped, added)


def _same_objects(
    checkpoint: Checkpoint, keys: Mapping[str, str], edited: naming.Edit
) -> tuple[dict[str, str], dict[str, bytes | int]]:
    """Keeps the objects of the source, less those whose variable is dropped."""
    sources: dict[str, str] = {}
    gone = set()
    names = names_by_key(checkpoint)
    for key in filter(_belongs_to_objects, checkpoint.index.entries):
        name = names.get(key)
        old = name if name is None else edited.names.get(name)
        if name is not None and old is None:
            gone.add(key)
        else:
            sources[key] = key if old is None or old == name else keys[old]
    if not gone:
        return sources, {}
    del sources[naming.OBJECT_GRAPH_KEY]
    return sources, {
        naming.OBJECT_GRAPH_KEY: naming.prune(read_object_graph(checkpoint) or b"", gone)
    }


def _new_objects(
    entries: Mapping[str, TensorEntry],
    keys: Mapping[str, str],
    edited: naming.Edit,
    layout: naming.Layout,
) -> tuple[dict[str, str], dict[str, bytes | int]]:
    """Lays the variables out anew."""
    sources: dict[str, str] = {}
    for name, old in edited.names.items():
        key = layout.key(name)
        if key in sources or key == naming.SAVE_COUNTER_KEY:
            raise NameClashError(
                f"'{name}' would get the key '{key}', which another tensor has; "
                "give another container"
            )
        sources[key] = keys[old]
    counted = naming.SAVE_COUNTER_KEY in entries
    new = naming.OBJECT_GRAPH_KEY not in entries
    graph = layout.object_graph(edited.names, save_counter=counted or new)
    added: dict[str, bytes | int] = {naming.OBJECT_GRAPH_KEY: graph}
    if counted:
        sources[naming.SAVE_COUNTER_KEY] = naming.SAVE_COUNTER_KEY
    elif new:
        added[naming.SAVE_COUNTER_KEY] = 1
    return sources, added


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
    moved = any(old != new for old, new in numbers.items())
    entries = {
        key: entry.in_shards(numbers) if moved or entry.parts else entry
        for key, entry in entries.items()
    }
    shards = [Shard(path=checkpoint.shard_paths[number]) for number in used]
    if conversion.added:
        data, new_entries = encode_added(conversion.added, len(shards))
        entries.update(new_entries)
        shards.append(Shard(data=data))
    return replace(checkpoint.index, entries=entries, num_shards=len(shards)), shards


def _belongs_to_objects(key: str) -> bool:
    return key == naming.OBJECT_GRAPH_KEY or naming.is_object_key(key)


def _why_dropped(key: str, to: str) -> str:
    if _belongs_to_objects(key) and (reason := why_unnamed(key)):
        return reason
    return _OTHER_NAMES.format(to)
