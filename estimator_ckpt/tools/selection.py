"""Which tensors of a checkpoint a tool is about: what they are called, and which are asked for.

names = names_or_keys(checkpoint)             # {key: name}
wanted = NameFilter(include="^dnn/", exclude="Adam")
[name for name in names.values() if wanted(name)]
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from estimator_ckpt import naming
from estimator_ckpt.bundle import Checkpoint
from estimator_ckpt.conversion import names_by_key
from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.naming.layout import why_unnamed


class NameFilter:
    """Says whether a variable is asked for, by its name.

    Args:
      include: regular expressions; one of them has to be found in the name.
      exclude: regular expressions; none of them may be.

    Raises:
      CheckpointArgumentError: one is no regular expression.
    """

    def __init__(
        self, include: str | Sequence[str] = ".*", exclude: str | Sequence[str] | None = None
    ):
        self._include = _compiled(include)
        self._exclude = _compiled(exclude or ())

    def __call__(self, name: str) -> bool:
        """Returns whether the variable of this name is asked for."""
        return any(pattern.search(name) for pattern in self._include) and not any(
            pattern.search(name) for pattern in self._exclude
        )


def names_or_keys(checkpoint: Checkpoint) -> dict[str, str]:
    """Finds what the tensor of each key is called.

    Args:
      checkpoint: of any format.

    Returns:
      {key: name}, without the keys that belong to no variable (object graph, save_counter). Where
      not every variable has a name of its own, their keys are taken for names.
    """
    try:
        return names_by_key(checkpoint)
    except NameClashError:
        return {key: key for key in checkpoint.index.entries if why_not_variable(key) is None}


def why_not_variable(key: str) -> str | None:
    """Says why a key belongs to no variable, or None if it does."""
    if key == naming.OBJECT_GRAPH_KEY or naming.is_object_key(key):
        return why_unnamed(key)
    return None


def _compiled(patterns: str | Sequence[str]) -> list[re.Pattern[str]]:
    found = []
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        try:
            found.append(re.compile(pattern))
        except re.error as error:
            raise CheckpointArgumentError(
                f"'{pattern}' is no regular expression: {error}"
            ) from error
    return found
