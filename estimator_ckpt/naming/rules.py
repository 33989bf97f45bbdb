r"""Rules that give variables new names.

    rules = rename_rules({"old_scope/": "new_scope/", "w": "dense/kernel"})
    rules = parse_rules("vggish/=\n+re:/weights$=/kernel")      # or FROM=TO, a line each
    rules.apply_all(names, roles=roles)                         # {old name: new name}

FROM is a name, a scope that ends in `/` (`/` alone is the root), or `re:` and a regular expression,
which is replaced wherever it is found; TO is then what it is replaced by, with `\1` for a group.
The first rule that says something about a name decides. One that begins with `+` is applied to
what the rules before it gave, so that rules can be chained.

A rule is for variables. Slots and averages follow their variable, by the part that they play, and
need no rule; a rule that has their full name is for them alone. One that is excluded by its own
name stays. The global step keeps its name
unless a rule has that name itself.

A map of variables (`VariableMap`) is taken for rules, too: a whole name each, and nothing else that
is a variable is offered to a model.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Union

from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.messages import near
from estimator_ckpt.naming.filters import NameFilter
from estimator_ckpt.naming.layout import GLOBAL_STEP
from estimator_ckpt.naming.roles import Role
from estimator_ckpt.naming.slots import AVERAGE, parse_slot

if TYPE_CHECKING:
    from estimator_ckpt.naming.matcher import NamedShape
    from estimator_ckpt.naming.variable_map import VariableMap

_REGEX = "re:"
_CHAINED = "+"
FOLLOWERS = ("slot", "average")
"""The kinds of tensors that are renamed with their variable."""


def same_shape_and_type(one: NamedShape, other: NamedShape) -> bool:
    """Returns whether a variable can have the value of another one as it is."""
    return (one.shape, one.dtype) == (other.shape, other.dtype)


@dataclass(frozen=True)
class Rule:
    """One rule, from a name, a scope or a regular expression to what replaces it.

    Attributes:
      old: a name; a scope, which ends in `/` (`/` alone is the root); or `re:` and an expression.
      new: a name, a scope, or what the expression's match is replaced by.
      chained: whether it is applied to what the rules before it gave.
    """

    old: str
    new: str
    chained: bool = False

    def __str__(self) -> str:
        return f"{_CHAINED if self.chained else ''}{self.old}={self.new}"

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """The compiled expression, or None where the rule has none."""
        return re.compile(self.old[len(_REGEX) :]) if self.old.startswith(_REGEX) else None

    def apply(self, name: str) -> str | None:
        """Returns the new name, or None where the rule says nothing about `name`."""
        if name == GLOBAL_STEP and not self._names_the_step:
            return None
        pattern = self.pattern
        if pattern is not None:
            return pattern.sub(self.new, name) if pattern.search(name) else None
        if self.old == "/":
            return self.new.lstrip("/") + name
        if self.old.endswith("/"):
            if not name.startswith(self.old):
                return None
            return (self.new if self.new != "/" else "") + name[len(self.old) :]
        return self.new if name == self.old else None

    @property
    def _names_the_step(self) -> bool:
        return self.old == GLOBAL_STEP or (self.pattern is not None and GLOBAL_STEP in self.old)


@dataclass(frozen=True)
class RenameRules:
    """Rules in order. `str()` gives them as `parse_rules` takes them.

    Attributes:
      rules: the rules.
      variable_map: the map of which they are made, if they are.
      dropped: {name: why}, of what is not renamed, but left out.

    Raises:
      CheckpointArgumentError: two rules give one old name different new ones.
    """

    rules: tuple[Rule, ...] = ()
    variable_map: VariableMap | None = None
    dropped: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def of_map(cls, variable_map: VariableMap) -> RenameRules:
        """Makes rules of what is applied of a map; `checkpoint.derived` has what it changes."""
        rules = [Rule(old, new) for old, new in variable_map.pairs().items()]
        rules += [Rule(change.name, change.target) for change in variable_map.changes]
        dropped = dict.fromkeys(variable_map.left_out, "left out by the map")
        return cls(tuple(rules), variable_map, dropped)

    def __post_init__(self) -> None:
        news: dict[str, str] = {}
        for rule in self.rules:
            if not rule.chained and news.setdefault(rule.old, rule.new) != rule.new:
                raise CheckpointArgumentError(
                    f"'{rule.old}' is renamed both to '{news[rule.old]}' and to '{rule.new}'; "
                    "leave one of the rules out"
                )

    def __str__(self) -> str:
        return "\n".join(map(str, self.rules))

    def __bool__(self) -> bool:
        return bool(self.rules) or self.variable_map is not None

    def for_target(
        self,
        source: Iterable[NamedShape],
        target: Iterable[NamedShape] | None = None,
        *,
        fits: Callable[[NamedShape, NamedShape], bool] = same_shape_and_type,
        called: Mapping[str, str] | None = None,
    ) -> RenameRules:
        """Returns these rules; those of a map are checked against both sides.

        Args:
          source: the variables of the checkpoint.
          target: what is to get their values; None where that is not known.
          fits: as for `VariableMap.checked`.
          called: {name in a map: what it is called for rules}.

        Raises:
          CheckpointArgumentError: the map can't be followed; the message says the line.
        """
        if self.variable_map is None:
            return self
        if target is None:
            self.variable_map.require_changes(source)
            return self
        self.variable_map.checked(source, target, fits=fits)
        names = called or {}
        rules = (replace(rule, new=names.get(rule.new, rule.new)) for rule in self.rules)
        return replace(self, rules=tuple(rules))

    def offers(self, name: str, role: Role) -> bool:
        """Returns whether live variables may get a tensor; of a map, only what it maps.

        Args:
          name: of the tensor.
          role: the part that it plays; slots and averages follow their variable.
        """
        if self.variable_map is None or role.kind not in ("variable", *FOLLOWERS):
            return True
        if name in self.dropped:
            return False
        return name in self._olds or (role.kind in FOLLOWERS and role.of in self._olds)

    @functools.cached_property
    def _olds(self) -> frozenset[str]:
        return frozenset(rule.old for rule in self.rules)

    @functools.cached_property
    def _of_name(self) -> dict[str, tuple[Rule, ...]]:
        return {rule.old: (rule,) for rule in self.rules}

    def offered(self, roles: Mapping[str, Role]) -> dict[str, str]:
        """Returns {new name: old one} of what live variables may get.

        Args:
          roles: {name: the part that it plays}, of all tensors.

        Raises:
          CheckpointArgumentError: a rule matches nothing.
          NameClashError: two tensors would get the same name.
        """
        taken = {name: role for name, role in roles.items() if self.offers(name, role)}
        return {new: old for old, new in self.apply_all(taken, roles=taken).items()}

    def apply(self, name: str, used: set[Rule] | None = None) -> str:
        """Returns the new name of a variable, or its old one where no rule matches.

        Args:
          name: of a variable, not of a slot.
          used: is given the rules that said something.
        """
        decided = False
        # Those of a map are of whole names, and there may be thousands.
        of_name = self._of_name.get(name, ()) if self.variable_map is not None else self.rules
        for rule in of_name:
            if decided and not rule.chained:
                continue
            new = rule.apply(name)
            if new is not None:
                name, decided = new, True
                if used is not None:
                    used.add(rule)
        return name

    def apply_all(
        self,
        names: Iterable[str],
        chosen: NameFilter | None = None,
        roles: Mapping[str, Role] | None = None,
    ) -> dict[str, str]:
        """Returns {old name: new name} for all tensors; those not chosen keep their names.

        Args:
          names: of all tensors.
          chosen: says of a name whether the rules are for it; None for all.
          roles: {name: the part that it plays}; slots and averages follow their variables, unless
            their own names are excluded.

        Raises:
          CheckpointArgumentError: a rule matches no name.
          NameClashError: two tensors would get the same name.
        """
        known = sorted(set(names))
        chosen = chosen or NameFilter()
        used: set[Rule] = set()
        renamed = {name: self.apply(name, used) if chosen(name) else name for name in known}
        for name, role in (roles or {}).items():
            if name in renamed and role.kind in FOLLOWERS and not chosen.excludes(name):
                renamed[name] = self._following(name, role, renamed)
        for rule in self.rules:
            if rule not in used:
                asked = [name for name in known if chosen(name)]
                raise CheckpointArgumentError(
                    f"the rule '{rule}' matches no variable{near_rule(rule, asked)}"
                )
        owners: dict[str, str] = {}
        for old, new in renamed.items():
            if new in owners:
                raise NameClashError(
                    f"'{owners[new]}' and '{old}' would both be called '{new}'; "
                    "give them different names"
                )
            owners[new] = old
        return renamed

    def _following(self, name: str, role: Role, renamed: Mapping[str, str]) -> str:
        """Returns the name of a slot or an average whose variable may have a new one."""
        owner = role.of
        if name in self._olds or owner is None:
            return renamed[name]
        new = renamed.get(owner)
        if new is None or new == owner:
            # A scope that only the slot lies in, as `training/Adam/`, can be renamed by itself.
            return renamed[name] if _tells(renamed[name], owner, role) else name
        place = _place_of(owner, name)
        if place is None:
            return name
        start, end, is_flat = place
        return name[:start] + (new.replace("/", "_") if is_flat else new) + name[end:]


def near_rule(rule: Rule, names: Collection[str]) -> str:
    """Returns `; near names are x, y` for a rule that matches nothing, scopes for a scope."""
    old = rule.old[len(_REGEX) :] if rule.pattern is not None else rule.old
    scopes = {
        "/".join(parts[:count]) + "/"
        for parts in (name.split("/") for name in names)
        for count in range(1, len(parts))
    }
    if rule.pattern is None and f"{old}/" in scopes:
        return f"; '{old}/' is a scope: give both sides a '/' at their end"
    return near(old, scopes if rule.old.endswith("/") else [*names, *scopes])


def _tells(name: str, owner: str, role: Role) -> bool:
    """Returns whether a name says of a tensor that it is this slot or average of its variable."""
    called = {owner, owner.replace("/", "_")}
    return any(
        reading.variable in called
        and (
            reading.slot.startswith(AVERAGE)
            if role.kind == "average"
            else reading.slot == role.slot
        )
        for reading in parse_slot(name, is_slot=True)
    )


def _place_of(owner: str, name: str) -> tuple[int, int, bool] | None:
    """Finds a variable's name in that of its slot: (start, end, whether its `/` are `_`)."""
    at = f"/{name}/".rfind(f"/{owner}/")
    if at >= 0:
        return at, at + len(owner), False
    flat = owner.replace("/", "_")
    at = name.rfind(f"/{flat}_")
    return (at + 1, at + 1 + len(flat), True) if at >= 0 else None


Rules = Union[RenameRules, "VariableMap", Mapping[str, str], Iterable["tuple[str, str]"], str, None]
"""What is taken for rules: made ones, a map, {old: new}, pairs in order, or their text."""


def rename_rules(rules: Rules) -> RenameRules:
    """Makes rules from a mapping, from pairs in order, or from text.

    Args:
      rules: {old: new}. Where `old` is a scope (it ends in `/`), `new` has to be one too, or empty.
        Or text, as `parse_rules` takes it; or a map, of which what it accepts is applied.

    Returns:
      The rules.

    Raises:
      CheckpointArgumentError: a rule is unusable.
    """
    if isinstance(rules, RenameRules):
        return rules
    if isinstance(rules, str):
        return parse_rules(rules)
    if not rules:
        return RenameRules()
    if isinstance(rules, Mapping):
        return RenameRules(tuple(_rule(old, new) for old, new in rules.items()))
    from estimator_ckpt.naming.variable_map import VariableMap  # with the matcher, which few need

    if isinstance(rules, VariableMap):
        return RenameRules.of_map(rules)
    return RenameRules(tuple(_rule(old, new) for old, new in rules))


def parse_rules(text: str) -> RenameRules:
    """Makes rules from text.

    Args:
      text: a rule a line, `FROM=TO`. FROM ends at the first `=`, that of an expression (`re:`) at
        the last. Empty lines, and lines that begin with `#`, say nothing.

    Returns:
      The rules.

    Raises:
      CheckpointArgumentError: a line is no rule; the message has its number.
    """
    rules = []
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"line {number}: " if len(lines) > 1 else ""
        is_regex = line.lstrip(_CHAINED).startswith(_REGEX)
        old, equals, new = line.rpartition("=") if is_regex else line.partition("=")
        if not equals:
            raise CheckpointArgumentError(f"{where}the rule '{line}' has no '='; expected FROM=TO")
        try:
            rules.append(_rule(old, new))
        except CheckpointArgumentError as error:
            raise CheckpointArgumentError(f"{where}{error}") from error
    return RenameRules(tuple(rules))


def _rule(old: str, new: str) -> Rule:
    is_chained = old.startswith(_CHAINED)
    rule = Rule(old[len(_CHAINED) :] if is_chained else old, new, is_chained)
    shown = f"the rule '{rule}'"
    if not rule.old:
        raise CheckpointArgumentError(f"{shown} has nothing before '='; expected a name or a scope")
    if rule.old.startswith(_REGEX):
        try:
            pattern = re.compile(rule.old[len(_REGEX) :])
            pattern.sub(rule.new, "")  # checks the groups of `new`, too
        except (re.error, IndexError) as error:
            raise CheckpointArgumentError(f"{shown} is no regular expression: {error}") from error
    elif not rule.new and not rule.old.endswith("/"):
        raise CheckpointArgumentError(f"{shown} has nothing after '='; expected the new name")
    elif rule.old.endswith("/") != (rule.new.endswith("/") or (not rule.new and rule.old != "/")):
        raise CheckpointArgumentError(
            f"{shown} mixes a scope with a name; end both with '/', or neither"
        )
    return rule
