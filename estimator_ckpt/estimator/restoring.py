"""Finds what a graph wants to restore in a checkpoint of any format.

    sources = find_sources(checkpoint, [[Read("dnn/kernel", "", shape), ...]], object_keys)

Names and shapes are compared with the index before anything is restored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from estimator_ckpt.bundle.slice_spec import parse_slice_spec
from estimator_ckpt.checkpoint import Checkpoint
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.fitting import Shape, misfit
from estimator_ckpt.errors import VariableMismatchError
from estimator_ckpt.estimator.object_keys import ObjectKeys, piece_of
from estimator_ckpt.messages import listed, logger, nearest, without_averages

_log = logger(__name__)


class MissingVariablesError(VariableMismatchError, tf.errors.NotFoundError):
    """The checkpoint lacks variables of the graph (as TensorFlow's NotFoundError says)."""

    def __init__(self, message: str):
        tf.errors.NotFoundError.__init__(self, None, None, message)


class ShapeMismatchError(VariableMismatchError, tf.errors.InvalidArgumentError):
    """Variables have other shapes in the checkpoint (as TensorFlow's InvalidArgumentError says)."""

    def __init__(self, message: str):
        tf.errors.InvalidArgumentError.__init__(self, None, None, message)


class Read(NamedTuple):
    """A tensor that a RestoreV2 op reads: its name, its slice ("" for the whole), its shape.

    The shape is that of the whole, as `sizes` returns it.
    """

    name: str
    slice_spec: str
    shape: Shape


Source = tuple[str, str]
"""A key, and the slice of what is stored there; "" for all of it."""


def find_sources(
    checkpoint: Checkpoint,
    groups: Sequence[Sequence[Read]],
    object_keys: ObjectKeys,
    *,
    may_lack: Sequence[bool] = (),
    reshape: bool = False,
    exports: bool = False,
) -> list[list[Source]]:
    """Finds the key of each tensor to restore, and makes sure of its shape.

    Args:
      checkpoint: of any format.
      groups: the tensors that each RestoreV2 op reads.
      object_keys: of the layout that this job saves.
      may_lack: of each group, whether the checkpoint may have nothing of it.
      reshape: whether a tensor may have another shape in the checkpoint.
      exports: whether one that has is only warned of: TensorFlow's own Saver puts it into a
        SavedModel as it is, if the variable is no reference.

    Returns:
      Their keys and slices, group by group; nothing of a group that the checkpoint lacks, and may.

    Raises:
      MissingVariablesError: the checkpoint lacks some.
      ShapeMismatchError: some have other shapes in it.
    """
    finder = _KeyFinder(checkpoint, object_keys)
    found = [[finder.source(read) for read in group] for group in groups]
    for at, lacks in enumerate(may_lack):
        if lacks and not any(found[at]):
            found[at] = []
    reads = [read for group, sources in zip(groups, found) if sources for read in group]
    sources = [source for group in found for source in group]
    missing = sorted({read.name for read, source in zip(reads, sources) if source is None})
    if missing:
        raise MissingVariablesError(_missing_message(checkpoint, finder, missing, reads))
    if not reshape:
        _require_equal_shapes(checkpoint, reads, sources, exports=exports)
    return [[source for source in group if source is not None] for group in found]


def static_shape(spec: Any) -> Any:
    """Returns the shape of what a spec of a Saver restores; of the whole for a slice."""
    if spec.slice_spec:
        return slice_shape(spec.slice_spec)
    tensor = spec.tensor
    return tensor.shape if tensor is not None else tf.TensorShape(None)


def sizes(shape: tf.TensorShape) -> Shape:
    """Returns a shape as the sizes of its dimensions; None where nothing is known of it."""
    return None if shape.rank is None else tuple(shape.as_list())


def slice_shape(slice_spec: str) -> tf.TensorShape:
    """Returns the shape of the whole that a slice is of, as in SaveV2: `10 4 0,5:-`."""
    return tf.TensorShape(parse_slice_spec(slice_spec)[0])


def _part_shape(slice_spec: str) -> Shape:
    whole, extents = parse_slice_spec(slice_spec)
    return tuple(size if each.length < 0 else each.length for size, each in zip(whole, extents))


class _KeyFinder:
    """Finds tensors by their name-based names in a checkpoint of any format."""

    def __init__(self, checkpoint: Checkpoint, object_keys: ObjectKeys):
        self._checkpoint = checkpoint
        self._entries = checkpoint.index.entries
        self._object_keys = object_keys
        self._own: dict[str, str] | None = None

    def source(self, read: Read) -> Source | None:
        """Returns where a tensor is: under the key of the whole, or of the part that is wanted."""
        name, slice_spec, _ = read
        if name in self._entries:
            return name, slice_spec
        candidates = [(key, slice_spec) for key in self._object_keys.of(name)]
        if slice_spec:
            candidates += [(key, "") for key in self._object_keys.of(*piece_of(name, slice_spec))]
        for candidate in candidates:
            if candidate[0] in self._entries:
                return candidate
        found = self.by_name.get(name)
        return None if found is None else (found, slice_spec)

    @property
    def by_name(self) -> dict[str, str]:
        """{name: key} by the checkpoint's own object graph."""
        if self._own is None:
            account = Account(self._checkpoint)
            # A path among objects is no name that a variable of a graph could mean.
            self._own = {
                name: key for name, key in account.key_of.items() if name not in account.by_path
            }
            if account.by_path:
                _log.warning(
                    "In '%s', %d tensors have no name of their own, and can't be restored by name",
                    self._checkpoint.prefix,
                    len(account.by_path),
                )
        return self._own


def _require_equal_shapes(
    checkpoint: Checkpoint,
    reads: Sequence[Read],
    sources: Sequence[Source | None],
    *,
    exports: bool,
) -> None:
    wrong = {}
    entries = checkpoint.index.entries
    for read, source in zip(reads, sources):
        key, slice_spec = source or ("", "")
        entry = entries[key]
        shape = read.shape if slice_spec == read.slice_spec else _part_shape(read.slice_spec)
        if shape != entry.shape and (reason := misfit(entry, shape)) is not None:
            wrong[read.name] = f"'{read.name}': {reason}"
    if wrong and exports:
        _log.warning(
            "The graph to export has other shapes than the checkpoint '%s', and gets the "
            "checkpoint's: %s. Give serving_input_receiver_fn inputs as wide as those of training",
            checkpoint.prefix,
            listed(list(wrong.values())),
        )
    elif wrong:
        raise ShapeMismatchError(
            f"the checkpoint '{checkpoint.prefix}' has other shapes than the graph: "
            f"{listed(list(wrong.values()))}; use a model of the same shapes, or warm-start only "
            "what fits with estimator_ckpt.warm_start_settings(checkpoint, include=...)"
        )


def _missing_message(
    checkpoint: Checkpoint, keys: _KeyFinder, missing: Sequence[str], reads: Sequence[Read]
) -> str:
    wanted = {read.name for read in reads}
    unused = sorted(set(keys.by_name) - wanted)
    shown = []
    for name in missing:
        found = nearest(name, unused, 1)
        shown.append(f"'{name}'" + (f" (near: '{found[0]}')" if found else ""))
    message = f"the checkpoint '{checkpoint.prefix}' lacks {len(missing)} of the {len(wanted)} "
    message += f"variables of the graph: {listed(shown)} (not found in checkpoint). "
    if averages := without_averages(missing, keys.by_name):
        message += f"{averages}. "
    if unused:
        message += f"It has {len(unused)} that the graph lacks: {listed(unused)}. "
    return message + (
        "Use the model that it was saved from, or start a new model_dir from it with "
        "warm_start_from=estimator_ckpt.warm_start_settings(checkpoint, rename={old: new})"
    )
