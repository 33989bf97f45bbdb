"""What the front end shows of two checkpoints, and of a map from one's variables to the other's.

difference_data(diff("a", "b"))["changes"]
map_data(VariableMap.parse(text), checkpoint_data("a"), None)["asked"]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from estimator_ckpt.naming.transformations import Reshape
from estimator_ckpt.naming.variable_map import VariableMap
from estimator_ckpt.operations.diff import Difference
from estimator_ckpt.reporting.checkpoint_data import Data


def difference_data(difference: Difference) -> Data:
    """Returns a difference as a dict: what `diff --json` prints."""
    return dataclasses.asdict(difference)


def map_data(made: VariableMap, source: Data | None, target: Data | None) -> Data:
    """Returns a map for the front end.

    Args:
      made: the map.
      source: the checkpoint that it maps from, as `checkpoint_data` gives it, or None.
      target: the one that it maps to, or None.

    Returns:
      `text`, as `VariableMap.text` gives it, in which the front end edits lines; `accept`,
      `counts`; `pairs`, `asked` and `refused` with the names of both sides; `left_out`; `unmapped`
      with the names and reasons of either side; `shapes`, {name: shape} of either side, as far as
      they are known.
    """
    pairs = [
        {"source": [pair.source], "target": [pair.target], "class": pair.confidence,
         "why": pair.reason, "also": pair.also,
         "change": "" if pair.reshaped is None else str(Reshape(pair.reshaped))}
        for pair in made.mapped
    ]  # fmt: skip
    pairs += [
        {"source": list(change.sources), "target": [change.target], "class": "pinned",
         "why": change.reason, "also": "", "change": str(change.transformation)}
        for change in made.changes
    ]  # fmt: skip
    return {
        "text": made.text(),
        "accept": made.accept,
        "counts": made.counts(),
        "pairs": pairs,
        "asked": [
            {
                "why": asked.question.reason,
                "source": list(asked.question.sources),
                "target": list(asked.question.targets),
                "answers": [
                    {"title": title, "pairs": list(map(list, rows))}
                    for title, rows in asked.question.answers
                ],
                "answer": asked.answer,
            }
            for asked in made.asked
        ],
        "refused": [
            {"source": list(each.sources), "target": list(each.targets),
             "change": each.transformation, "why": each.reason}
            for each in made.refused
        ],
        "left_out": list(made.left_out),
        "unmapped": {
            "source": [[row.name, row.reason] for row in made.unmapped_source],
            "target": [[row.name, row.reason] for row in made.unmapped_target],
        },
        "shapes": {"source": _shapes(source), "target": _shapes(target)},
    }  # fmt: skip


def _shapes(checkpoint: Data | None) -> Mapping[str, list[int]]:
    if checkpoint is None:
        return {}
    variables = checkpoint["variables"]
    return dict(zip(variables["name"], variables["shape"]))
