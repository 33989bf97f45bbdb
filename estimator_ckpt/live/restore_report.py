"""What a restore did: which variables got what, and which values nothing took.

report = restore(model, "old_job")
print([row.name for row in report.left])
"""

from __future__ import annotations

from dataclasses import dataclass

from estimator_ckpt.shown import Shown


@dataclass(frozen=True)
class RestoredValue:
    """A variable that got a value.

    Attributes:
      target: its key among the objects, or its name in the mapping.
      key: of the value in the checkpoint; or what a map makes of values, in the words of its line.
      by: "object", if it was found along the same path of objects, "name", "role", if it is the
        corresponding value of another optimizer, or "average", if it is that of the variable.
      note: what there is to know of it: that it was saved from a variable that is elsewhere here,
        what it stands for, that only a part of it was copied; else "".
    """

    target: str
    key: str
    by: str
    note: str = ""


@dataclass(frozen=True)
class Unrestored:
    """A variable that got no value, or a value that no variable took, and why."""

    name: str
    reason: str


@dataclass(frozen=True, repr=False)
class RestoreReport(Shown):
    """What a restore did.

    Attributes:
      prefix: of the checkpoint.
      restored: variables that got a value.
      unmatched: variables that got none.
      left: keys of the checkpoint that nothing took, and whether they wait for variables that are
        built later; or why they can't.
      deferred: whether values are waiting for objects that are not built yet.
    """

    prefix: str
    restored: tuple[RestoredValue, ...]
    unmatched: tuple[Unrestored, ...]
    left: tuple[Unrestored, ...]
    deferred: bool = False
