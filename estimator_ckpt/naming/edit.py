"""Changes to the variables of a checkpoint: renamed, dropped, their averages in their place.

    edit = drop(names, patterns=["/Adam"]).then(rename, {"old/": "new/"})
    edit.names["new/kernel"]              # "old/kernel": whose bytes it has
    edit.dropped["old/kernel/Adam"]       # why it is gone

Names in, names out; `estimator_ckpt.conversion` makes a checkpoint of it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.naming.rules import rename_rules
from estimator_ckpt.naming.slots import is_optimizer_state

_AVERAGE = "ExponentialMovingAverage"


@dataclass(frozen=True)
class Edit:
    """What becomes of the variables of a checkpoint.

    Attributes:
      names: {new name: the old name of the variable whose bytes it has}.
      dropped: {old name: why its bytes are left out}.
    """

    names: Mapping[str, str]
    dropped: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def nothing(cls, names: Iterable[str]) -> Edit:
        """The edit that leaves each name as it is."""
        return cls({name: name for name in names})

    def then(self, step: Callable[..., Edit], *args: Any, **kwargs: Any) -> Edit:
        """Applies another edit to the names that this one gives."""
        after = step(self.names, *args, **kwargs)
        dropped = {self.names[name]: reason for name, reason in after.dropped.items()}
        names = {new: self.names[name] for new, name in after.names.items()}
        return Edit(names, {**self.dropped, **dropped})

    @property
    def renames(self) -> bool:
        """Whether a name is new, so that no object of the checkpoint has it."""
        return not set(self.names) <= set(self.names.values()) | set(self.dropped)


def rename(
    names: Collection[str], rules: Mapping[str, str] | Iterable[tuple[str, str]] | None
) -> Edit:
    """Renames variables.

    Args:
      names: of all variables.
      rules: as for `rename_rules`.

    Returns:
      The edit.

    Raises:
      CheckpointArgumentError: a rule is unusable, or matches nothing.
      NameClashError: two variables would get the same name.
    """
    renamed = rename_rules(rules).apply_all(names)
    return Edit({new: old for old, new in renamed.items()})


def drop(names: Collection[str], patterns: Iterable[str] = (), *, slots: bool = False) -> Edit:
    """Leaves variables out.

    Args:
      names: of all variables.
      patterns: regular expressions; a variable is left out if one is found in its name.
      slots: also leave out what belongs to optimizers.

    Returns:
      The edit.

    Raises:
      CheckpointArgumentError: a pattern is no regular expression, or matches no name; there is no
        optimizer's variable although `slots` says so; or nothing would be left.
    """
    known = set(names)
    reasons: dict[str, str] = {}
    for pattern in patterns:
        matching = [name for name in sorted(known) if _compiled(pattern).search(name)]
        if not matching:
            near = difflib.get_close_matches(pattern, known, 3, 0.5)
            hint = f"; near names are {', '.join(near)}" if near else ""
            raise CheckpointArgumentError(f"the pattern '{pattern}' matches no variable{hint}")
        reasons.update(dict.fromkeys(matching, f"asked for: it matches '{pattern}'"))
    if slots:
        state = [name for name in sorted(known) if is_optimizer_state(name, known)]
        if not state:
            raise CheckpointArgumentError("there are no optimizer's variables to drop")
        for name in state:
            reasons.setdefault(name, "asked for: it belongs to an optimizer")
    kept = {name: name for name in names if name not in reasons}
    if not kept:
        raise CheckpointArgumentError("nothing would be left; give patterns that match less")
    return Edit(kept, reasons)


def averages(names: Collection[str]) -> Edit:
    """Takes the moving averages under the names of their variables.

    Args:
      names: of all variables.

    Returns:
      The edit: where `w/ExponentialMovingAverage` exists, `w` has its bytes, and both the old ones
      of `w` and the other name are dropped.

    Raises:
      CheckpointArgumentError: there is no average.
      NameClashError: a variable has more than one.
    """
    known = set(names)
    average_of: dict[str, str] = {}
    for name in sorted(known):
        owner = _averaged(name, known)
        if owner is not None:
            if owner in average_of:
                raise NameClashError(
                    f"'{owner}' has two averages, '{average_of[owner]}' and '{name}'; "
                    "drop one first"
                )
            average_of[owner] = name
    if not average_of:
        raise CheckpointArgumentError(
            f"there is no average: no variable's name ends in '/{_AVERAGE}'"
        )
    taken = set(average_of.values())
    dropped = {
        owner: f"replaced by its average, '{name}'"
        for owner, name in average_of.items()
        if owner in known
    }
    kept = {name: name for name in names if name not in taken}
    return Edit({**kept, **average_of}, dropped)


def _averaged(name: str, names: Collection[str]) -> str | None:
    """Returns the variable whose average this is, also if it was made below a scope; or None."""
    parent, _, last = name.rpartition("/")
    if last != _AVERAGE:
        return None
    owner = parent
    while owner not in names and "/" in owner:
        owner = owner.partition("/")[2]
    return owner if owner in names else parent


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise CheckpointArgumentError(f"'{pattern}' is no regular expression: {error}") from error
