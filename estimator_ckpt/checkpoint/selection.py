"""Which tensors of a checkpoint are variables, and what they are called.

names = names_or_keys(checkpoint)             # {key: name}
why_not_variable("_CHECKPOINTABLE_OBJECT_GRAPH")
"""

from __future__ import annotations

from estimator_ckpt import naming
from estimator_ckpt.checkpoint import Checkpoint
from estimator_ckpt.checkpoint.names import names_by_key
from estimator_ckpt.errors import NameClashError
from estimator_ckpt.naming.layout import why_unnamed


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
