"""Decides what each variable gets from a checkpoint, before anything is assigned.

plan = Plan(account, wanted, "error")
plan.match(live, rules)
plan.check(strict=True)            # raises all that is wrong
assign(None, account.checkpoint, plan.assignments(), session)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from estimator_ckpt import naming
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.fitting import misfit, overlaps
from estimator_ckpt.errors import VariableMismatchError
from estimator_ckpt.live.assigning import Assignment
from estimator_ckpt.live.objects import LiveObjects, dtype_of, offered_roles, shape_of
from estimator_ckpt.live.restore_report import RestoredValue, RestoreReport, Unrestored
from estimator_ckpt.live.wanted import Wanted
from estimator_ckpt.messages import listed
from estimator_ckpt.naming.correspondence import Match, correspond
from estimator_ckpt.naming.roles import Role

_NUMBERED = re.compile(r"_\d+(?=/|$)")


@dataclass
class Plan:
    """What each variable gets, worked out before anything is assigned."""

    account: Account
    wanted: list[Wanted]
    on_mismatch: str
    restored: list[RestoredValue] = field(default_factory=list)
    unmatched: list[Unrestored] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    parts: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    is_partial: bool = False
    """Whether TensorFlow, which loads objects whole, can't be asked to do it."""

    def __post_init__(self) -> None:
        self._has_optimizers = any(role.is_of_optimizer for role in self.account.roles.values())

    def leave_out(self, exclude: str | Sequence[str] | None) -> None:
        """Takes out what is not to be restored."""
        if exclude is None:
            return
        asked = naming.NameFilter(exclude=exclude)
        asked.checked([name for each in self.wanted for name in {each.label, each.name}])
        kept = []
        for each in self.wanted:
            if asked(each.label) and asked(each.name):
                kept.append(each)
            else:
                self.is_partial = True
        self.wanted = kept

    def match(self, live: LiveObjects | None, rules: naming.RenameRules) -> None:
        """Finds the value for each variable."""
        account = self.account
        renamed = rules.apply_all(account.key_of, roles=account.roles)
        names = {new: old for old, new in renamed.items()}
        by_object: dict[str, str] = {}
        if live is not None and account.graph is not None and not rules:
            by_object = self._with_same_roles(live, live.graph.matches(account.graph))
        offered = offered_roles(account, names)
        if live is not None:  # slots follow their variable along its path
            owners = {
                account.name_of.get(stored): live.names[key]
                for key, stored in by_object.items()
                if live.role(key).kind == "variable"
            }
            offered = {
                name: role._replace(of=owners[role.of]) if role.of in owners and role.of else role
                for name, role in offered.items()
            }
        if live is None:
            matches = correspond({each.label: each.role for each in self.wanted}, offered)
        else:
            matches = live.correspondences(offered)
        for each in self.wanted:
            if each.label in by_object:
                self._take(each, by_object[each.label], "object")
            else:
                self._take_by_name(each, matches[each.label], names)

    def _with_same_roles(self, live: LiveObjects, found: Mapping[str, str]) -> dict[str, str]:
        """Leaves out what stands at one place among the objects, but plays another part.

        The values of an optimizer have other places, or mean something else, in one of another
        kind: `_variables/1` is the learning rate in Keras 3, and a slot in Keras 2.
        """
        account = self.account
        stored_as = {live.names[key]: account.name_of.get(there) for key, there in found.items()}
        same = {}
        for key, there in found.items():
            wanted = live.role(key)
            stored = account.roles.get(account.name_of.get(there, ""))
            if (
                stored is not None
                and wanted.is_of_optimizer
                and _play_different(
                    wanted._replace(of=stored_as.get(wanted.of or "", wanted.of)), stored
                )
            ):
                self.is_partial = True
            else:
                same[key] = there
        return same

    def _take_by_name(self, each: Wanted, match: Match, names: Mapping[str, str]) -> None:
        # Keras refuses to load the slots of its older optimizers into newer ones.
        self.is_partial |= each.role.is_of_optimizer and self._has_optimizers
        if match.name is not None and each.variables:
            by = "name" if match.name == each.name else "role"
            self._take(each, self.account.key_of[names[match.name]], by, match.reason)
        elif not each.is_save_counter:
            reason = match.reason
            if not each.variables:
                reason = "it is no variable, and the checkpoint has nothing at its place"
            self.unmatched.append(Unrestored(each.label, reason))

    def _take(self, each: Wanted, key: str, by: str, note: str = "") -> None:
        entry = self.account.entries.get(key)
        if entry is None and not each.variables:  # a table, whose values have keys of their own
            self.restored.append(RestoredValue(each.label, key, by, note))
            return
        if entry is None:
            problem = f"the object graph names '{key}', which the checkpoint does not have"
            self.unmatched.append(Unrestored(each.label, problem))
            self.is_partial = True
            return
        for variable in each.variables[:1]:
            reason = misfit(entry, shape_of(variable), dtype_of(variable))
            if reason is None:
                continue
            self.is_partial = True
            count = self._count(each, key)
            if count is not None:
                self.counts[each.label] = count
            elif (
                self.on_mismatch == "overlap"
                and overlaps(entry, shape_of(variable), dtype_of(variable))
                and len(each.variables) == 1
            ):
                self.parts.add(each.label)
                note = f"only what overlaps is copied: {reason}"
            else:
                self.misfits.append(f"'{each.label}': {reason}, as '{key}'")
                if self.on_mismatch != "error":
                    self.unmatched.append(Unrestored(each.label, f"skipped: {reason}, as '{key}'"))
                return
        self.restored.append(RestoredValue(each.label, key, by, note))

    def _count(self, each: Wanted, key: str) -> int | None:
        """Returns a counter's value, which may be of another integer type."""
        if each.role.kind not in ("counter", "global_step") or len(each.variables) != 1:
            return None
        if not each.variables[0].dtype.base_dtype.is_integer:
            return None
        name = self.account.name_of.get(key)
        return None if name is None else self.account.integer(name)

    def check(self, strict: bool | str) -> None:
        """Raises what is wrong with all of it."""
        prefix = self.account.checkpoint.prefix
        if self.misfits and self.on_mismatch == "error":
            raise VariableMismatchError(
                f"{len(self.misfits)} variables don't fit the checkpoint '{prefix}', and nothing "
                f"was restored: {listed(self.misfits)}; use a model of the same shapes, or give "
                "on_mismatch='skip', or 'overlap' to copy what both have"
            )
        self._note_other_variables()
        if strict:
            self._require_own_tensors()
        if strict == "names" and (
            others := [row for row in self.restored if row.note and row.by == "object"]
        ):
            rows = [f"'{row.target}': {row.note}" for row in others]
            raise VariableMismatchError(
                f"{len(rows)} variables would get what was saved from others, and nothing was "
                f"restored: {listed(rows)}; the objects are in another order than when they were "
                "saved: give the same, or rename= to go by names only"
            )
        own = {each.label for each in self.wanted if each.role.kind == "hyperparameter"}
        gone = [
            row
            for row in self.unmatched
            if not row.reason.startswith("skipped: ") and row.name not in own
        ]
        if gone and strict:
            raise VariableMismatchError(self._unmatched_message(gone))

    def _note_other_variables(self) -> None:
        """Notes each variable that gets, along its path, what was saved from another one."""
        graph = self.account.graph
        if graph is None:
            return
        live = {each.label: each.name for each in self.wanted}
        here = set(live.values()) - {""}
        saved_names = set(graph.full_names.values())
        for at, row in enumerate(self.restored):
            name, saved = live[row.target], graph.full_names.get(row.key, "")
            if row.by != "object" or not name or not saved or name == saved:
                continue
            if _NUMBERED.sub("", name) == _NUMBERED.sub("", saved):
                continue  # Keras numbers such names by itself, anew in each process
            if saved in here or name in saved_names:
                note = f"it is '{name}' here, and was saved from '{saved}'"
                self.restored[at] = RestoredValue(row.target, row.key, row.by, note)

    def _require_own_tensors(self) -> None:
        takers: dict[str, RestoredValue] = {}
        names = {each.label: each.name or each.label for each in self.wanted}
        roles = {each.label: each.role for each in self.wanted}
        for row in self.restored:
            other = takers.setdefault(row.key, row)
            if other is row or names[other.target] == names[row.target]:
                continue
            if "variable" not in (roles[row.target].kind, roles[other.target].kind):
                continue  # counters may both be the one step that was counted
            raise VariableMismatchError(
                f"'{row.key}' of '{self.account.checkpoint.prefix}' would go to two variables, "
                f"'{other.target}' (by {other.by}) and '{row.target}' (by {row.by}), and nothing "
                "was restored: the objects are not those that were saved; give rename= to go by "
                "names only, or strict=False to let both have it"
            )

    def _unmatched_message(self, gone: list[Unrestored]) -> str:
        rows = [f"'{row.name}': {row.reason}" for row in gone]
        taken = len(self.restored)
        message = (
            f"{len(rows)} of {len(rows) + taken} variables get no value (not found in checkpoint) "
            f"from '{self.account.checkpoint.prefix}', and nothing was restored: {listed(rows)}. "
        )
        left = self._left()
        if left:
            message += f"Not taken: {listed([row.name for row in left])}. "
        return message + "Give rename={old: new}, or strict=False to restore the others"

    def report(self, may_defer: bool) -> RestoreReport:
        """Returns what will have been done."""
        left = self._left()
        return RestoreReport(
            self.account.checkpoint.prefix,
            tuple(self.restored),
            tuple(self.unmatched),
            tuple(left),
            may_defer and bool(left) and not self.unmatched and not self.is_partial,
        )

    def _left(self) -> list[Unrestored]:
        entries = self.account.entries
        taken = {entries[row.key] for row in self.restored if row.key in entries}
        return [
            Unrestored(key, "no variable takes it")
            for key, entry in sorted(entries.items())
            if entry not in taken and key not in (naming.OBJECT_GRAPH_KEY, naming.SAVE_COUNTER_KEY)
        ]

    def assignments(self, with_objects: bool) -> list[Assignment]:
        """Returns what is to be assigned, besides what TensorFlow does for whole objects."""
        variables = {each.label: each.variables for each in self.wanted}
        return [
            Assignment(
                row.key,
                variables[row.target],
                self.counts.get(row.target),
                row.target in self.parts,
            )
            for row in self.restored
            if variables[row.target] and (row.by != "object" or not with_objects)
        ]


def _play_different(wanted: Role, stored: Role) -> bool:
    """Returns whether two values of optimizers are known to play different parts."""
    if wanted.kind != stored.kind:
        return True
    if None not in (wanted.of, stored.of) and wanted.of != stored.of:
        return True
    known = wanted.meaning and stored.meaning
    return bool(known) and wanted.meaning != stored.meaning
