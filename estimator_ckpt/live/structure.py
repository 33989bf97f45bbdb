"""Compares the objects of a checkpoint with live ones, before anything is loaded.

    for row in structure_diff("ckpt-1", tf.train.Checkpoint(foo=[a, b])).rows:
        print(row.kind, row.key, row.detail)

Object-based loading goes by structure alone: where that differs, values are left out, or end up in
another variable than they came from, and TensorFlow says nothing of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from estimator_ckpt import naming
from estimator_ckpt.bundle import TensorEntry
from estimator_ckpt.bundle.dtypes import dtype_name
from estimator_ckpt.checkpoint.account import open_account
from estimator_ckpt.checkpoint.fitting import misfit, shown
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.live.objects import LiveObjects, LiveValue
from estimator_ckpt.live.other_variables import from_others
from estimator_ckpt.naming.object_graph import ObjectGraph
from estimator_ckpt.shown import Shown


@dataclass(frozen=True)
class StructureRow:
    """One difference.

    Attributes:
      kind: "only in checkpoint", "only in target", "shape", "dtype", or "other variable" (what the
        target would load here was saved from another variable than this).
      key: of the value.
      detail: what is different.
    """

    kind: str
    key: str
    detail: str


@dataclass(frozen=True, repr=False)
class StructureDiff(Shown):
    """How the objects of a checkpoint differ from live ones.

    Attributes:
      rows: the differences.
      matched: how many values have a place on both sides.
      hint: what would fit better, if something simple would; else "".
    """

    rows: tuple[StructureRow, ...]
    matched: int
    hint: str = ""

    @property
    def compatible(self) -> bool:
        """Whether each value has its place on both sides, and goes where it came from."""
        return not self.rows


def structure_diff(checkpoint: str | os.PathLike[str], target: Any) -> StructureDiff:
    """Finds what differs between a checkpoint's objects and a live Checkpoint, module or model.

    Args:
      checkpoint: a prefix or a model_dir, object-based or dual.
      target: a `tf.train.Checkpoint`, `tf.Module` or Keras model.

    Returns:
      The differences. `save_counter` doesn't count.

    Raises:
      CheckpointNotFoundError: there is no checkpoint.
      DamagedCheckpointError: it is damaged or incomplete.
      CheckpointArgumentError: it is name-based, and has no objects.
    """
    account = open_account(checkpoint)
    graph = account.graph
    if graph is None:
        raise CheckpointArgumentError(
            f"'{account.checkpoint.prefix}' is name-based and has no objects to compare; "
            "estimator_ckpt.restore loads it by name, and estimator_ckpt.convert gives it objects"
        )
    live = LiveObjects(target)
    matches = live.graph.matches(graph)
    saved_names = graph.full_names
    wanted = {key: (value.name, live.role(key)) for key, value in live.values.items()}
    others = from_others(account, wanted, matches)
    rows = []
    for key, value in sorted(live.values.items()):
        if key in matches:
            entry = account.entries.get(matches[key])
            rows += _differences(value, entry)
            if key in others:
                detail = "'{}' here, saved from '{}'".format(*others[key])
                rows.append(StructureRow("other variable", key, detail))
        elif key != naming.SAVE_COUNTER_KEY:
            rows.append(StructureRow("only in target", key, "the checkpoint has nothing here"))
    taken = set(matches.values()) | {naming.SAVE_COUNTER_KEY}
    for key in graph.node_of:
        if key not in taken:
            detail = f"saved from '{saved_names[key]}'" if key in saved_names else "saved"
            rows.append(StructureRow("only in checkpoint", key, detail))
    return StructureDiff(tuple(rows), len(matches), _hint(graph, live) if rows else "")


def _differences(value: LiveValue, entry: TensorEntry | None) -> list[StructureRow]:
    if entry is None or value.variable is None:
        return []
    rows = []
    if misfit(entry, value.shape) is not None:
        detail = f"{shown(value.shape)} here, {shown(entry.shape)} in the checkpoint"
        rows.append(StructureRow("shape", value.key, detail))
    if value.dtype != entry.dtype:
        detail = f"{dtype_name(value.dtype or 0)} here, {entry.dtype_name} in the checkpoint"
        rows.append(StructureRow("dtype", value.key, detail))
    return rows


def _hint(graph: ObjectGraph, live: LiveObjects) -> str:
    """Says whether the target would fit one level further down or up."""
    best, name = 0, ""
    for child in graph.children_of(0):
        found = len(live.graph.matches(graph.below(child)))
        if found > best:
            best, name = found, child
    if best > len(live.graph.matches(graph)):
        return (
            f"{best} values have their place below '{name}': load into "
            f"tf.train.Checkpoint({name}=target)"
        )
    return ""
