"""Rules that give variables new names.

    rules = rename_rules({"old_scope/": "new_scope/", "w": "dense/kernel"})
    rules.apply("old_scope/bias", names)      # new_scope/bias
    rules.apply("w/Adam", names)              # dense/kernel/Adam

A rule for a variable is also one for its slots.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.naming.filters import everything, near
from estimator_ckpt.naming.slots import slot_of

_REGEX = "re:"


@dataclass(frozen=True)
class Rule:
    """One rule, from a name, a scope or a regular expression to what replaces it.

    Attributes:
      old: a name; a scope, which ends in `/` (`/` alone is the root); or `re:` and an expression.
      new: a name, a scope, or what the expression's match is replaced by.
    """

    old: str
    new: str

    def apply(self, name: str, names: Collection[str]) -> str | None:
        """Returns the new name, or None where the rule says nothing about `name`."""
        if self.old.startswith(_REGEX):
            pattern = re.compile(self.old[len(_REGEX) :])
            return pattern.sub(self.new, name) if pattern.search(name) else None
        if self.old == "/":
            return self.new.lstrip("/") + name
        if self.old.endswith("/"):
            matches = name.startswith(self.old)
        else:
            matches = name == self.old or slot_of(name, names) == self.old
            matches = matches and (name + "/").startswith(self.old + "/")
        if not matches:
            return None
        return (self.new if self.new != "/" else "") + name[len(self.old) :]


@dataclass(frozen=True)
class Rename:
    """Rules in order; the first that says something about a name decides."""

    rules: tuple[Rule, ...] = ()

    def apply(self, name: str, names: Collection[str]) -> str:
        """Returns the new name of a variable, or its old one where no rule matches."""
        for rule in self.rules:
            new = rule.apply(name, names)
            if new is not None:
                return new
        return name

    def apply_all(
        self, names: Iterable[str], chosen: Callable[[str], bool] = everything
    ) -> dict[str, str]:
        """Returns {old name: new name} for all variables; those not chosen keep their names.

        Raises:
          CheckpointArgumentError: a rule matches no name.
          NameClashError: two variables would get the same name.
        """
        known = set(names)
        asked = set(filter(chosen, known))
        renamed = {
            name: self.apply(name, known) if name in asked else name for name in sorted(known)
        }
        for rule in self.rules:
            if all(rule.apply(name, known) is None for name in asked):
                shown = f"the rule '{rule.old}={rule.new}'"
                raise CheckpointArgumentError(f"{shown} matches no variable{near(rule.old, asked)}")
        owners: dict[str, str] = {}
        for old, new in renamed.items():
            if new in owners:
                raise NameClashError(
                    f"'{owners[new]}' and '{old}' would both be called '{new}'; "
                    "give them different names"
                )
            owners[new] = old
        return renamed


def rename_rules(rules: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> Rename:
    """Makes rules from a mapping, or from pairs in order.

    Args:
      rules: {old: new}. Where `old` is a scope (it ends in `/`), `new` has to be one too.

    Returns:
      The rules.

    Raises:
      CheckpointArgumentError: a rule is unusable.
    """
    pairs = rules.items() if isinstance(rules, Mapping) else rules or ()
    made = tuple(Rule(old, new) for old, new in pairs)
    for rule in made:
        _require_usable(rule)
    return Rename(made)


def _require_usable(rule: Rule) -> None:
    shown = f"the rule '{rule.old}={rule.new}'"
    if not rule.old:
        raise CheckpointArgumentError(f"{shown} has nothing before '='; expected a name or a scope")
    if rule.old.startswith(_REGEX):
        try:
            re.compile(rule.old[len(_REGEX) :]).sub(rule.new, "")  # checks the groups of `new`, too
        except (re.error, IndexError) as error:
            raise CheckpointArgumentError(f"{shown} is no regular expression: {error}") from error
    elif not rule.new and not rule.old.endswith("/"):
        raise CheckpointArgumentError(f"{shown} has nothing after '='; expected the new name")
    elif rule.old.endswith("/") != (rule.new.endswith("/") or (not rule.new and rule.old != "/")):
        raise CheckpointArgumentError(
            f"{shown} mixes a scope with a name; end both with '/', or neither"
        )
