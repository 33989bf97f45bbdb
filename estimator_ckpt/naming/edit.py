"""Changes to the variables of a checkpoint: renamed, dropped, their averages in their place.

    edit = drop(names, ["/Adam"]).then(lambda left: rename(left, {"old/": "new/"}))
    edit.names["new/kernel"]              # "old/kernel": whose bytes it has
    edit.dropped["old/kernel/Adam"]       # why it is gone

Names in, names out; `estimator_ckpt.conversion` makes a checkpoint of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.messages import listed
from estimator_ckpt.naming.filters import UNWANTED, NameFilter, compiled, everything, matching
from estimator_ckpt.naming.roles import VARIABLE, Role
from estimator_ckpt.naming.rules import FOLLOWERS, Rules, rename_rules
from estimator_ckpt.naming.slots import AVERAGE

_MOST_LISTED = 3  # slots in a note


@dataclass(frozen=True)
class Edit:
    """What becomes of the variables of a checkpoint.

    Attributes:
      names: {new name: the old name of the variable whose bytes it has}.
      dropped: {old name: why its bytes are left out}.
      notes: what else there is to know of it.
      by_rules: whether names were given by rules, so that they say what is what.
    """

    names: Mapping[str, str]
    dropped: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    by_rules: bool = False

    @classmethod
    def nothing(cls, names: Iterable[str]) -> Edit:
        """The edit that leaves each name as it is."""
        return cls({name: name for name in names})

    def then(self, step: Callable[[Collection[str]], Edit]) -> Edit:
        """Applies another edit to the names that this one gives."""
        after = step(self.names)
        dropped = {self.names[name]: reason for name, reason in after.dropped.items()}
        names = {new: self.names[name] for new, name in after.names.items()}
        notes = (*self.notes, *after.notes)
        by_rules = self.by_rules or after.by_rules
        return Edit(names, {**self.dropped, **dropped}, notes, by_rules)

    @property
    def renames(self) -> bool:
        """Whether a name is new, so that no object of the checkpoint has it."""
        return not set(self.names) <= set(self.names.values()) | set(self.dropped)


def choose(names: Collection[str], chosen: Callable[[str], bool], reason: str = UNWANTED) -> Edit:
    """Leaves out what isn't chosen.

    Args:
      names: of all variables.
      chosen: says of a name whether it stays.
      reason: why the others don't.

    Returns:
      The edit.

    Raises:
      CheckpointArgumentError: nothing would be left.
    """
    kept = {name: name for name in names if chosen(name)}
    return _left(kept, {name: reason for name in names if name not in kept})


def rename(
    names: Collection[str],
    rules: Rules,
    chosen: NameFilter | None = None,
    roles: Mapping[str, Role] | None = None,
) -> Edit:
    """Renames variables; their slots and averages follow, unless their names are excluded.

    Args:
      names: of all variables.
      rules: as for `rename_rules`.
      chosen: says of a name whether the rules are for it; None for all.
      roles: {name: the part that it plays}.

    Returns:
      The edit; its notes name the slots and averages that did not follow.

    Raises:
      CheckpointArgumentError: a rule is unusable, or matches nothing.
      NameClashError: two variables would get the same name.
    """
    made = rename_rules(rules)
    renamed = made.apply_all(names, chosen, roles)
    gone = made.dropped
    dropped = {name: gone[name] for name in names if name in gone}
    for name, role in (roles or {}).items():
        owner = role.of if role.kind in FOLLOWERS and name in names else None
        if owner is not None and owner in gone:
            dropped.setdefault(name, gone[owner])
    names_left = {new: old for old, new in renamed.items() if old not in dropped}
    return Edit(names_left, dropped, tuple(_notes_on(renamed, roles or {})), by_rules=bool(made))


def _notes_on(renamed: Mapping[str, str], roles: Mapping[str, Role]) -> Iterator[str]:
    """Yields what is to be known of tensors that keep their names although one above them moves."""
    moved = {name for name, new in renamed.items() if new != name}
    stay = [name for name in sorted(renamed) if name not in moved]
    followers = {
        name: role.of
        for name in stay
        if (role := roles.get(name, VARIABLE)).kind in FOLLOWERS and role.of in moved
    }
    if followers:
        shown = [f"'{name}' of '{of}'" for name, of in followers.items()]
        yield (
            "slots and averages of renamed variables that keep their names: "
            + listed(shown, _MOST_LISTED)
        )
    below = [
        f"'{name}'"
        for name in stay
        if name.rpartition("/")[0] in moved and roles.get(name, VARIABLE).kind not in FOLLOWERS
    ]
    if below:
        yield (
            "below renamed variables, and keep their names, as nothing tells that they are slots "
            "(of an optimizer with a name of its own, for example; rules can rename them, too): "
            + listed(below, _MOST_LISTED)
        )


def drop(
    names: Collection[str],
    patterns: Iterable[str] = (),
    *,
    roles: Mapping[str, Role] | None = None,
    chosen: Callable[[str], bool] = everything,
) -> Edit:
    """Leaves variables out.

    Args:
      names: of all variables.
      patterns: regular expressions; a variable is left out if one is found in its name.
      roles: {name: the part that it plays}, to leave out what belongs to optimizers, too.
      chosen: says of a name whether it may be left out.

    Returns:
      The edit.

    Raises:
      CheckpointArgumentError: a pattern is no regular expression, or matches no name; there is no
        optimizer's variable although `roles` asks for it; or nothing would be left.
    """
    asked = sorted(filter(chosen, names))
    reasons: dict[str, str] = {}
    for pattern in compiled(patterns):
        reason = f"asked for: it matches '{pattern.pattern}'"
        reasons.update(dict.fromkeys(matching(pattern, asked), reason))
    if roles is not None:
        state = [name for name in asked if roles[name].is_training_state]
        if not state:
            raise CheckpointArgumentError("there are no optimizer's variables to drop")
        for name in state:
            reasons.setdefault(name, f"asked for: it {roles[name].use_in_training}")
    return _left({name: name for name in names if name not in reasons}, reasons)


def average_of(
    roles: Mapping[str, Role],
    chosen: Callable[[str], bool] = everything,
    *,
    suffix: str = AVERAGE,
) -> dict[str, str]:
    """Finds the averages of variables.

    Args:
      roles: {name: the part that it plays}, of all variables.
      chosen: says of a variable's name whether its average is asked for.
      suffix: what an average has behind the variable's name and a `/`; of TensorFlow's own suffix,
        the roles tell.

    Returns:
      {name of the variable: name of its average}.

    Raises:
      CheckpointArgumentError: there is no average.
      NameClashError: a variable has more than one.
    """
    found: dict[str, str] = {}
    for name, role in sorted(roles.items()):
        of = _averaged(name, role, suffix)
        if of is None or not chosen(of):
            continue
        if of in found:
            raise NameClashError(
                f"'{of}' has two averages, '{found[of]}' and '{name}'; drop one first"
            )
        found[of] = name
    if not found:
        raise CheckpointArgumentError(
            "there is no average of a variable that is asked for: no name is that of one with "
            f"'/{suffix}' behind it"
        )
    return found


def _averaged(name: str, role: Role, suffix: str) -> str | None:
    if suffix == AVERAGE:
        return role.of if role.kind == "average" else None
    of, found, behind = name.rpartition(f"/{suffix}")
    return of if found and not behind else None


def averages(
    roles: Mapping[str, Role],
    chosen: Callable[[str], bool] = everything,
    *,
    suffix: str = AVERAGE,
) -> Edit:
    """Takes the moving averages under the names of their variables.

    Args:
      roles: {name: the part that it plays}, of all variables.
      chosen: says of a variable's name whether it gets its average.
      suffix: as for `average_of`.

    Returns:
      The edit: where `w/ExponentialMovingAverage` exists, `w` has its bytes, and both the old ones
      of `w` and the other name are dropped. Its notes name the variables that have no average.

    Raises:
      CheckpointArgumentError: there is no average.
      NameClashError: a variable has more than one.
    """
    found = average_of(roles, chosen, suffix=suffix)
    taken = set(found.values())
    dropped = {owner: "replaced by its average" for owner in found if owner in roles}
    kept = {name: name for name in roles if name not in taken}
    without = [
        name
        for name, role in sorted(roles.items())
        if role.kind == "variable" and chosen(name) and name not in found and name not in taken
    ]
    notes = (f"without an average, with their own values: {listed(without)}",) if without else ()
    return Edit({**kept, **found}, dropped, notes)


def _left(kept: Mapping[str, str], dropped: Mapping[str, str]) -> Edit:
    if not kept:
        raise CheckpointArgumentError("nothing would be left; give patterns that match less")
    return Edit(kept, dropped)
