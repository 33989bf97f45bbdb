"""Finds what a graph wants to restore in a checkpoint of any format.

    keys = find_keys(checkpoint, [[Read("dnn/kernel", "", shape), ...]], object_keys)

Names and shapes are compared with the index before anything is restored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from estimator_ckpt.checkpoint import Checkpoint
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.fitting import misfit
from estimator_ckpt.errors import VariableMismatchError
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
    """A tensor that a RestoreV2 op reads: its name, its slice ("" for the whole), its shape."""

    name: str
    slice_spec: str
    shape: Any


def find_keys(
    checkpoint: Checkpoint,
    groups: Sequence[Sequence[Read]],
    object_keys: Mapping[str, Sequence[str]],
    *,
    reshape: bool = False,
    exports: bool = False,
) -> list[list[str]]:
    """Finds the key of each tensor to restore, and makes sure of its shape.

    Args:
      checkpoint: of any format.
      groups: the tensors that each RestoreV2 op reads.
      object_keys: {name: keys} of the layout that this job saves.
      reshape: whether a tensor may have another shape in the checkpoint.
      exports: whether one that has is only warned of: TensorFlow's own Saver puts it into a
        SavedModel as it is, if the variable is no reference.

    Returns:
      Their keys, group by group.

    Raises:
      MissingVariablesError: the checkpoint lacks some.
      ShapeMismatchError: some have other shapes in it.
    """
    keys = KeyFinder(checkpoint, object_keys)
    reads = [read for group in groups for read in group]
    missing = sorted({read.name for read in reads if keys.find(read.name) is None})
    if missing:
        raise MissingVariablesError(_missing_message(checkpoint, keys, missing, reads))
    if not reshape:
        _require_equal_shapes(checkpoint, keys, reads, exports=exports)
    return [[keys.find(read.name) or "" for read in group] for group in groups]


def static_shape(spec: Any) -> Any:
    """Returns the shape of what a spec of a Saver restores; of the whole for a slice."""
    if spec.slice_spec:
        return slice_shape(spec.slice_spec)
    tensor = spec.tensor
    return tensor.shape if tensor is not None else tf.TensorShape(None)


def slice_shape(slice_spec: str) -> tf.TensorShape:
    """Returns the shape of the whole that a slice is of, as in SaveV2: `10 4 0,5:-`."""
    return tf.TensorShape([int(size) for size in slice_spec.split(" ")[:-1]])


class KeyFinder:
    """Finds tensors by their name-based names in a checkpoint of any format."""

    def __init__(self, checkpoint: Checkpoint, object_keys: Mapping[str, Sequence[str]]):
        self._checkpoint = checkpoint
        self._entries = checkpoint.index.entries
        self._object_keys = object_keys
        self._own: dict[str, str] | None = None

    def find(self, name: str) -> str | None:
        """Returns the key: the name itself, the key of our layout, or of the checkpoint's own."""
        if name in self._entries:
            return name
        for key in self._object_keys.get(name, ()):
            if key in self._entries:
                return key
        return self.by_name.get(name)

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
    checkpoint: Checkpoint, keys: KeyFinder, reads: Sequence[Read], *, exports: bool
) -> None:
    wrong = {}
    for read in reads:
        entry = checkpoint.index.entries[keys.find(read.name) or ""]
        shape = None if read.shape.rank is None else read.shape.as_list()
        if (reason := misfit(entry, shape)) is not None:
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
    checkpoint: Checkpoint, keys: KeyFinder, missing: Sequence[str], reads: Sequence[Read]
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
