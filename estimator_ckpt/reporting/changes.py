"""How large a variable is, and how much of it changed since an earlier checkpoint.

norm_and_change(account, earlier_account, "dense/kernel")      # (norm, norm of change / norm then)
"""

from __future__ import annotations

import numpy as np

from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.arrays import Array, array_chunks, numpy_dtype
from estimator_ckpt.operations.distance import side_by_side
from estimator_ckpt.reporting.statistics import Norm


def norm_and_change(
    account: Account, before: Account | None, name: str
) -> tuple[float, float | None] | None:
    """Reads a variable, and the same one in an earlier checkpoint.

    Args:
      account: of a checkpoint.
      before: of an earlier one, or None.
      name: of the variable.

    Returns:
      Its norm; and the norm of what changed, divided by the norm that it had: None where there is
      no earlier one of its shape, or that one is zero. None for both where it is no numbers.

    Raises:
      DamagedCheckpointError: a checksum is wrong.
    """
    entry = account.entry(name)
    if numpy_dtype(entry.dtype) is None:
        return None
    norm, changed, then = Norm(), Norm(), Norm()
    pieces = array_chunks(account.checkpoint, entry)
    key = None if before is None else before.key_of.get(name)
    old = None if before is None or key is None else before.entries[key]
    if before is None or old is None or old.shape != entry.shape:
        for piece in pieces:
            norm.add(_wide(piece))
        return norm.value, None
    if numpy_dtype(old.dtype) is None:
        return None
    for new, earlier in side_by_side(pieces, array_chunks(before.checkpoint, old)):
        new, earlier = _wide(new), _wide(earlier)
        norm.add(new)
        then.add(earlier)
        with np.errstate(over="ignore", invalid="ignore"):
            changed.add(new - earlier)
    return norm.value, changed.value / then.value if then.value else None


def _wide(values: Array) -> Array:
    wide: Array = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
    return wide
