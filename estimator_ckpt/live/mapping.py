"""Proposes which variable of a checkpoint is which one of a live model, or of another checkpoint.

    made = propose_map("old_job", keras_model)
    pathlib.Path("map.txt").write_text(made.text())      # to be reviewed and edited
    restore(keras_model, "old_job", rename=made)         # applies what is certain

Slots, averages and counters are not mapped: they follow their variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from estimator_ckpt.checkpoint.account import open_account
from estimator_ckpt.checkpoint.variable_rows import variable_rows
from estimator_ckpt.messages import listed, logger
from estimator_ckpt.naming.matcher import CERTAIN, NamedShape, propose
from estimator_ckpt.naming.paths import is_place
from estimator_ckpt.naming.variable_map import VariableMap
from estimator_ckpt.naming.variable_map_text import require_accepted

if TYPE_CHECKING:
    from estimator_ckpt.live.objects import LiveObjects

_log = logger(__name__)


def propose_map(
    checkpoint: str | os.PathLike[str],
    target: Any,
    *,
    accept: str = CERTAIN,
    pins: VariableMap | None = None,
) -> VariableMap:
    """Proposes a map of the variables of a checkpoint to those of a target.

    Told from names, shapes, types and orders of creation: that of a graph is read from the `.meta`
    beside its checkpoint. No tensor is read. What is in a `.weights.h5` just as the model would
    save it is pinned.

    Args:
      checkpoint: a prefix, a model_dir (its latest checkpoint) or a SavedModel, in any format.
      target: a `tf.train.Checkpoint`, `tf.Module` or Keras model that is built; a mapping from
        names to variables, or to lists of the parts of partitioned ones; or another checkpoint.
      accept: what is applied of the map where it is given as `rename=`: "certain", or "likely" for
        what is certain and what is likely.
      pins: a map that was proposed before: what was pinned, edited or answered in it stays, and the
        rest is proposed around it.

    Returns:
      The map. Variables among objects are called by their paths.

    Raises:
      CheckpointNotFoundError: there is no checkpoint.
      DamagedCheckpointError: it, or the `.meta` beside it, is damaged.
      CheckpointArgumentError: the target has no variables, `accept` is unusable, or a line of
        `pins` can't be followed.
    """
    source, (rows, live) = variable_rows(open_account(checkpoint)), _rows_of(target)
    if pins is None:
        known = {} if live is None else _by_place(source, live)
        return VariableMap.of(propose(source, rows, known), accept)
    return replace(pins, accept=require_accepted(accept)).revised(source, rows)


def _by_place(source: list[NamedShape], live: LiveObjects) -> dict[str, str]:
    """Returns {place: path}, where all of a file of Keras is where this model has it, in shape."""
    from estimator_ckpt.live.keras_places import without_metrics
    from estimator_ckpt.live.objects import known_shape

    shapes = {row.name: row.shape for row in without_metrics(source)}
    if not all(map(is_place, shapes)):
        return {}
    here = {
        place: (live.paths[key], known_shape(live.values[key].shape))
        for place, key in live.placed.items()
    }
    is_same = shapes == {place: shape for place, (_, shape) in here.items()}
    return {place: path for place, (path, _) in here.items()} if is_same else {}


def _rows_of(target: Any) -> tuple[list[NamedShape], LiveObjects | None]:
    """Returns the variables of a target; and, if it is live, its objects."""
    if isinstance(target, (str, os.PathLike)):
        return variable_rows(open_account(target)), None
    from estimator_ckpt.live.objects import LiveObjects  # they need TensorFlow
    from estimator_ckpt.live.other_backends import by_path
    from estimator_ckpt.live.wanted import mapping_rows

    target = by_path(target)
    if isinstance(target, Mapping):
        return mapping_rows(target), None
    live = LiveObjects(target)
    rows = live.require_rows()
    if live.unbuilt:
        _log.warning("Not built yet, and without variables to map to: %s", listed(live.unbuilt))
    return rows, live
