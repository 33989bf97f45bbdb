"""Decides what each variable gets from a checkpoint, before anything is assigned.

plan = Plan(account, live, wanted, "error")
plan.match(rules)
plan.check(strict=True)            # raises all that is wrong
assign(None, account.checkpoint, plan.assignments(), session)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from estimator_ckpt import naming
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.fitting import misfit, overlaps
from estimator_ckpt.errors import VariableMismatchError
from estimator_ckpt.live.assigning import Assignment
from estimator_ckpt.live.objects import LiveObjects, dtype_of, offered_roles, shape_of
from estimator_ckpt.live.other_variables import from_others
from estimator_ckpt.live.restore_report import RestoredValue, RestoreReport, Unrestored
from estimator_ckpt.live.same_places import SamePlaces
from estimator_ckpt.live.wanted import Wanted
from estimator_ckpt.live.whole_objects import (
    NOTHING,
    WholeObjects,
    foreign_optimizers,
    whole_objects,
)
from estimator_ckpt.messages import listed
from estimator_ckpt.naming.correspondence import Match, correspond
from estimator_ckpt.naming.paths import is_place, path_name

_UNREACHED = (
    "no object that TensorFlow tracks leads to it, so that no tf.train.Checkpoint saves or loads "
    "it: make its layer an attribute of the model (not of a plain list), or restore "
    "{weight.path: weight}"
)
_WAITS = "it waits for a variable that is built at its place"
_CAN_NOT_WAIT = (
    "no variable takes it; it can't wait for one, as not all above its place is restored whole: if "
    "one is to take it, build it first"
)


@dataclass
class Plan:
    """What each variable gets, worked out before anything is assigned."""

    account: Account
    live: LiveObjects | None
    wanted: list[Wanted]
    on_mismatch: str
    restored: list[RestoredValue] = field(default_factory=list)
    unmatched: list[Unrestored] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    parts: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    apart: set[int] = field(default_factory=set)
    """Nodes of the live objects that TensorFlow, which loads objects whole, can't be asked for."""
    whole: WholeObjects = NOTHING
    averages: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._dropped: Mapping[str, str] = {}
        self._has_optimizers = any(role.is_of_optimizer for role in self.account.roles.values())
        self._is_excluding = self._by_name_only = False

    def _keep_apart(self, label: str) -> None:
        if self.live is not None and label in self.live.graph.node_of:
            self.apart.add(self.live.graph.node_of[label])

    def tell_unreached(self, paths: Sequence[str]) -> None:
        """Takes down the weights of a target that TensorFlow does not reach."""
        self.unmatched += [Unrestored(path, _UNREACHED) for path in paths]

    def leave_out(self, exclude: str | Sequence[str] | None) -> None:
        """Takes out what is not to be restored."""
        if exclude is None:
            return
        asked = naming.NameFilter(exclude=exclude)
        names = [name for each in self.wanted for name in {each.label, each.name}]
        asked.checked([*names, *(row.name for row in self.unmatched)])
        self._is_excluding = True
        kept = []
        for each in self.wanted:
            if asked(each.label) and asked(each.name):
                kept.append(each)
            else:
                self._keep_apart(each.label)
        self.wanted = kept
        self.unmatched = [row for row in self.unmatched if asked(row.name)]

    def take_averages(self, suffix: str | None) -> None:
        """Has variables get their averages where there are some."""
        if suffix is not None:
            self.averages = naming.average_of(self.account.roles, suffix=suffix)

    def match(self, rules: naming.RenameRules) -> None:
        """Finds the value for each variable."""
        account, live = self.account, self.live
        self._by_name_only, self._dropped = bool(rules), rules.dropped
        names = rules.offered(account.roles)
        places = None if live is None else SamePlaces(live, account, by_name=bool(rules))
        for key in places.apart if places is not None else ():
            self._keep_apart(key)
        if live is None or places is None:
            offered = offered_roles(account, names)
            matches = correspond({each.label: each.role for each in self.wanted}, offered)
        else:
            beyond = {each.label: Match(each.name) for each in self.wanted}
            matches = {
                **beyond,
                **live.correspondences(places.offered(names), names, account),
            }
        by_object = {} if places is None else places.key_of
        for each in self.wanted:
            if each.label in by_object:
                self._take(each, by_object[each.label], "object")
            else:
                self._take_by_name(each, matches[each.label], names)
        if live is not None and places is not None and places.pairs and account.graph is not None:
            stored = {key: account.roles[name] for key, name in account.name_of.items()}
            self.apart |= foreign_optimizers(live, account.graph, places.pairs, stored)
            self.whole = whole_objects(live, account.graph, places.pairs, self.apart)
            self._give_up_states()

    def _give_up_states(self) -> None:
        """Takes back what is no variable and stands below what is not restored whole."""
        variables = {each.label: each.variables for each in self.wanted}
        for row in list(self.restored):
            if not variables[row.target] and not self._is_whole(row):
                self.restored.remove(row)
                reason = "it is no variable, and is only restored with the object that has it"
                self.unmatched.append(Unrestored(row.target, reason))

    def _take_by_name(self, each: Wanted, match: Match, names: Mapping[str, str]) -> None:
        if each.role.is_of_optimizer and self._has_optimizers:
            # Keras refuses to load the slots of its older optimizers into newer ones.
            self._keep_apart(each.label)
        if match.steps is not None and match.name is not None and len(each.variables) == 1:
            self.counts[each.label] = match.steps
            key = self.account.key_of[names[match.name]]
            self.restored.append(RestoredValue(each.label, key, "role", match.reason))
        elif match.name is not None and each.variables:
            is_called_so = match.name in (each.name, path_name(each.label)) or is_place(match.name)
            by = "name" if is_called_so else "role"
            self._take(each, self.account.key_of[names[match.name]], by, match.reason)
        elif not each.is_save_counter:
            reason = match.reason
            if not each.variables:
                reason = (
                    "it is no variable, and rename= goes by the names of variables only"
                    if self._by_name_only
                    else "it is no variable, and the checkpoint has nothing at its place"
                )
            self.unmatched.append(Unrestored(each.label, reason))

    def _take(self, each: Wanted, key: str, by: str, note: str = "") -> None:
        name = self.account.name_of.get(key, "")
        if self.averages and each.role.kind == "variable" and each.variables:
            if name in self.averages:
                key, by = self.account.key_like(self.averages[name], key), "average"
            else:
                note = "; ".join(filter(None, (note, "it has no average, and gets its own value")))
        entry = self.account.entries.get(key)
        if entry is None and not each.variables:  # a table, whose values have keys of their own
            self.restored.append(RestoredValue(each.label, key, by, note))
            return
        if entry is None:
            problem = f"the object graph names '{key}', which the checkpoint does not have"
            self.unmatched.append(Unrestored(each.label, problem))
            self._keep_apart(each.label)
            return
        for variable in each.variables[:1]:
            reason = misfit(entry, shape_of(variable), dtype_of(variable))
            if reason is None:
                continue
            self._keep_apart(each.label)
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
        others = self._note_other_variables()
        if strict and self._nothing_is_built():
            raise VariableMismatchError(
                f"the target has no variables yet that could get a value from '{prefix}', and none "
                "of its objects is where the checkpoint has one, so that values could wait: build "
                "it first, or give strict=False"
            )
        if strict:
            self._require_own_tensors()
        if strict == "names" and others:
            rows = [f"'{target}': {note}" for target, note in others.items()]
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

    def _nothing_is_built(self) -> bool:
        live = self.live
        if self._is_excluding:
            return False
        if live is None:
            return not self.wanted
        roles = {each.role.kind for each in self.wanted if not each.is_save_counter}
        if "variable" in roles or (roles and not live.unbuilt):
            return False
        counter = (naming.SAVE_COUNTER,)
        return all(
            number == 0 or live.graph.paths[number] == counter for number in self.whole.pairs
        )

    def _note_other_variables(self) -> dict[str, str]:
        """Notes each variable that gets, along its path, what was saved from another one.

        Returns:
          {target: note}, of these.
        """
        wanted = {each.label: (each.name, each.role) for each in self.wanted}
        sources = {row.target: row.key for row in self.restored if row.by == "object"}
        others = from_others(self.account, wanted, sources)
        notes = {
            target: f"it is '{name}' here, and was saved from '{saved}'"
            for target, (name, saved) in others.items()
        }
        for at, row in enumerate(self.restored):
            if row.target in notes:
                note = "; ".join(filter(None, (notes[row.target], row.note)))
                self.restored[at] = replace(row, note=note)
        return notes

    def _require_own_tensors(self) -> None:
        takers: dict[str, RestoredValue] = {}
        names = {each.label: each.name or each.label for each in self.wanted}
        roles = {each.label: each.role for each in self.wanted}
        for row in self.restored:
            other = takers.setdefault(row.key, row)
            if other is row or names[other.target] == names[row.target]:
                continue
            if "average" in (row.by, other.by):
                continue  # which both the variable and the average are asked to get
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

    def report(self) -> RestoreReport:
        """Returns what will have been done."""
        left = self._left()
        return RestoreReport(
            self.account.checkpoint.prefix,
            tuple(self.restored),
            tuple(self.unmatched),
            tuple(left),
            any(row.reason == _WAITS for row in left),
        )

    def _left(self) -> list[Unrestored]:
        account = self.account
        entries, graph = account.entries, account.graph
        taken = {entries[row.key] for row in self.restored if row.key in entries}
        states = tuple(row.key for row in self.restored if row.key not in entries)
        waiting = {entries[key] for key in self.whole.waiting if key in entries}
        placed = {} if graph is None or not self.apart else graph.node_of
        rows = []
        for key, entry in sorted(entries.items()):
            if entry in taken or key in (naming.OBJECT_GRAPH_KEY, naming.SAVE_COUNTER_KEY):
                continue
            if key.startswith(states):  # a table has its keys and its values
                continue
            if account.name_of.get(key) in self._dropped:
                reason = self._dropped[account.name_of[key]]
            elif entry in waiting:
                reason = _WAITS
            else:
                reason = _CAN_NOT_WAIT if key in placed else "no variable takes it"
            rows.append(Unrestored(key, reason))
        return rows

    def assignments(self) -> list[Assignment]:
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
            if variables[row.target] and (self.whole.are_variables or not self._is_whole(row))
        ]

    def _is_whole(self, row: RestoredValue) -> bool:
        graph = self.account.graph
        if self.live is None or graph is None or row.by != "object":
            return False
        there = self.whole.pairs.get(self.live.graph.node_of[row.target])
        return there is not None and there == graph.node_of.get(row.key)
