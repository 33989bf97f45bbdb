"""Which tensor of a checkpoint is for which one of a model: the one matcher, by name and by role.

    found = correspond(wanted, offered)        # both {name: Role}
    found["Adam/dense/kernel/m"].name          # "dense/kernel/Adam"
    found["beta1_power"].reason                # why nothing is

Equal names belong together, also where only the optimizer's own name is another one or is left out
(`called_alike`). Where an optimizer is another one than that which saved, or calls its slots
otherwise, a slot is found by its variable and by what it means; a counter by being one.
Nothing is guessed: a slot whose values mean something else is not taken, and the reason says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from estimator_ckpt.messages import listed, nearest
from estimator_ckpt.naming.likeness import without_numbers
from estimator_ckpt.naming.roles import Role
from estimator_ckpt.naming.slots import beta_of, power

_SHOWN = 3


class Match(NamedTuple):
    """What corresponds to a wanted tensor.

    Attributes:
      name: of the tensor that is offered; None if there is none.
      reason: why there is none; or, where it is not obvious, why it is this one.
      steps: a number of steps, which is to be taken instead of its value; else None.
    """

    name: str | None
    reason: str = ""
    steps: int | None = None


def correspond(wanted: Mapping[str, Role], offered: Mapping[str, Role]) -> dict[str, Match]:
    """Finds what is for each wanted tensor.

    Args:
      wanted: {name: role}, of the tensors of a model and its optimizers.
      offered: {name: role}, of those of a checkpoint, by the names that they have after renaming;
        what a role says of a variable is by these names, too.

    Returns:
      {wanted name: match}.
    """
    matcher = _Matcher(offered)
    return {name: matcher.match(name, role) for name, role in wanted.items()}


def called_alike(
    wanted: Mapping[str, str], scopes: Mapping[str, str], offered: Collection[str]
) -> dict[str, str]:
    """Finds the values of an optimizer that are called as here, but for the optimizer's own name.

    Keras numbers that name anew in each process, and leaves it out where `build` made the values.
    It counts only what is alone of its name on both sides.

    Args:
      wanted: {any key: name}, of all values of optimizers.
      scopes: {the same key: what its optimizer is called}.
      offered: names in a checkpoint that no variables of a model have.

    Returns:
      {key: offered name}, of those that are not called just so.
    """
    numberless = {without_numbers(scope) for scope in scopes.values()}

    def spellings(name: str) -> tuple[str, str, str]:
        scope, _, rest = name.partition("/")
        scope = without_numbers(scope)
        if not rest or scope not in numberless:
            scope, rest = "", name
        return f"{scope}/{rest}", rest, without_numbers(rest)

    found = {key: name for key, name in wanted.items() if name in offered}
    for at in range(3):
        theirs = _alone({name: spellings(name)[at] for name in offered})
        ours = _alone({key: spellings(name)[at] for key, name in wanted.items()})
        taken = set(found.values())
        for called, key in ours.items():
            if called in theirs and theirs[called] not in taken:
                found.setdefault(key, theirs[called])
    return {key: name for key, name in found.items() if name != wanted[key]}


def _alone(called: Mapping[str, str]) -> dict[str, str]:
    """Returns {what one alone is called: which}."""
    having: dict[str, list[str]] = {}
    for each, name in called.items():
        having.setdefault(name, []).append(each)
    return {name: each[0] for name, each in having.items() if len(each) == 1}


class _Matcher:
    def __init__(self, offered: Mapping[str, Role]):
        self._offered = offered
        self._of: dict[tuple[str, str | None], list[str]] = {}
        self._by_kind: dict[str, list[str]] = {}
        for name, role in offered.items():
            self._by_kind.setdefault(role.kind, []).append(name)
            if role.of is not None:
                self._of.setdefault((role.kind, role.of), []).append(name)

    def match(self, name: str, role: Role) -> Match:
        same = self._offered.get(name)
        if same is not None and not _differ(same, role):
            return Match(name)
        if role.kind == "slot":
            return self._slot(name, role)
        if role.kind == "average":
            return self._average(role)
        if role.kind == "global_step":
            return self._step()
        if role.kind == "counter":
            return self._power(role) if power(role.slot) else self._counter()
        if role.kind == "hyperparameter":
            return self._hyperparameter(role)
        return self._nothing(name)

    def _nothing(self, name: str) -> Match:
        found = nearest(name, self._offered, 1)
        hint = f"; near is '{found[0]}'" if found else ""
        return Match(None, f"the checkpoint has nothing called '{name}'{hint}")

    def _slot(self, name: str, role: Role) -> Match:
        if role.of is None:
            return self._nothing(name)
        slots = self._of.get(("slot", role.of), [])
        found = [each for each in slots if _mean_the_same(self._offered[each], role)]
        if len(found) == 1:
            return Match(found[0], f"it holds the same: {role.meaning or role.slot}")
        what = role.meaning or role.slot
        if len(found) > 1:
            return Match(
                None, f"several slots of '{role.of}' hold '{what}': {listed(found, _SHOWN)}"
            )
        if slots:
            held = "; ".join(
                f"'{each}' holds '{self._offered[each].meaning or self._offered[each].slot}'"
                for each in slots[:_SHOWN]
            )
            return Match(None, f"no slot of '{role.of}' in the checkpoint holds '{what}': {held}")
        if role.of is not None and role.of not in self._offered:
            return Match(None, f"the checkpoint has no variable '{role.of}', and no slot of it")
        return Match(None, f"the checkpoint has no slots of '{role.of}'")

    def _average(self, role: Role) -> Match:
        found = self._of.get(("average", role.of), [])
        if len(found) == 1:
            return Match(found[0])
        if role.of not in self._offered:
            return Match(None, f"the checkpoint has neither '{role.of}' nor an average of it")
        return Match(
            None,
            f"the checkpoint was trained without moving averages; '{role.of}' itself is there",
        )

    def _step(self) -> Match:
        steps = self._by_kind.get("global_step", [])
        if steps:
            return Match(steps[0])
        counters = self._counters()
        if len(counters) == 1:
            return Match(counters[0], "the optimizer's counter, as there is no global step")
        return Match(None, "the checkpoint has no global step")

    def _counters(self) -> list[str]:
        counters = self._by_kind.get("counter", ())
        return [name for name in counters if not power(self._offered[name].slot)]

    def _counter(self) -> Match:
        counters = self._counters()
        if len(counters) == 1:
            return Match(counters[0], "the optimizer's counter")
        if counters:
            shown = listed(counters, _SHOWN)
            return Match(None, f"there are several counters of optimizers: {shown}")
        steps = self._by_kind.get("global_step", [])
        powers = [
            f"'{name}'"
            for name in self._by_kind.get("counter", ())
            if beta_of(self._offered[name].slot)
        ]
        only = (
            f"the optimizer's own count is only in {listed(powers, _SHOWN)}, which can't be turned "
            "into a count without the beta that it was trained with"
        )
        if not steps:
            return Match(None, f"the checkpoint counts no steps{f'; {only}' if powers else ''}")
        if not powers:
            return Match(steps[0], "the global step, as no optimizer's counter is saved")
        return Match(
            steps[0],
            f"the global step; {only}, and is another one if the step did not begin at 0 with it, "
            "or does not count each of its updates once",
        )

    def _power(self, role: Role) -> Match:
        wanted = power(role.slot)
        counters = self._by_kind.get("counter", ())
        powers = [each for each in counters if power(self._offered[each].slot) == wanted]
        if len(powers) == 1:
            return Match(powers[0])
        held = {each: power(self._offered[each].slot) for each in counters}
        others = [f"'{each}' holds '{what}'" for each, what in held.items() if what]
        if others and wanted != role.slot:
            shown = "; ".join(others[:_SHOWN])
            return Match(None, f"no counter of the checkpoint holds '{wanted}': {shown}")
        counted = self._counter().name
        if counted is None:
            return Match(None, f"the checkpoint has nothing called '{role.slot}'")
        of = wanted[:5] if wanted == role.slot else "momentum"
        return Match(
            None,
            f"it is a power of the optimizer's {of}, which the checkpoint does not have: it "
            f"counts steps, in '{counted}'",
        )

    def _hyperparameter(self, role: Role) -> Match:
        found = [
            name
            for name in self._by_kind.get("hyperparameter", ())
            if self._offered[name].slot == role.slot
            and self._offered[name].optimizer == role.optimizer
        ]
        if len(found) == 1:
            return Match(found[0])
        return Match(None, "the checkpoint does not set it; it keeps its own value")


def _differ(offered: Role, wanted: Role) -> bool:
    """Returns whether tensors of equal name are known to hold something else."""
    if offered.kind != wanted.kind:
        return "variable" not in (offered.kind, wanted.kind)
    if None not in (offered.of, wanted.of) and offered.of != wanted.of:
        return True  # the variables were numbered anew, and the slots' names with them
    return bool(offered.meaning and wanted.meaning and offered.meaning != wanted.meaning)


def _mean_the_same(offered: Role, wanted: Role) -> bool:
    if offered.meaning or wanted.meaning:
        return offered.meaning == wanted.meaning
    return (offered.slot, offered.optimizer) == (wanted.slot, wanted.optimizer)
