"""A checkpoint as a map changes it: what is reshaped, transposed, split or merged is there as such.

    account, rules = derived(open_account("job"), rules)      # rules of a map
    account.entry("rnn/kernel").shape                         # as the map wants it

Whatever works on accounts works on this one. No tensor is read until its values are; what is only
reshaped are the same bytes. Slots and averages are changed with their variable.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from estimator_ckpt.bundle import TensorEntry, dtypes
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.opening import Checkpoint
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.messages import listed
from estimator_ckpt.naming.object_graph import ObjectGraph
from estimator_ckpt.naming.roles import VARIABLE, Role
from estimator_ckpt.naming.rules import FOLLOWERS, RenameRules
from estimator_ckpt.naming.transformations import Change, Kind, Split, Transformation, axis_in

_SHOWN = 3


def derived(account: Account, rules: RenameRules) -> tuple[Account, RenameRules]:
    """Returns what a map makes of a checkpoint, and the rules that are left to be applied.

    Args:
      account: of the checkpoint.
      rules: of which a map was checked against it; other rules change no values.

    Returns:
      The account in which the sources of the rules are, and the rules with what they leave out.

    Raises:
      CheckpointArgumentError: values of a type are to be changed that numpy lacks, or a partitioned
        variable whose parts are objects of their own.
    """
    made = rules.variable_map
    changes = () if made is None else made.applied_changes()
    if made is None or not changes:
        return account, rules
    making = _Making(account)
    for change in changes:
        try:
            making.change(change, made.where(change))
        except CheckpointArgumentError as error:
            raise CheckpointArgumentError(
                f"{made.where(change)}{error}; correct the line, or remove it"
            ) from error
    dropped = {**rules.dropped, **making.dropped}
    return making.account(), replace(rules, dropped=dropped)


class _Derived(Account):
    """The account of a checkpoint, with tensors that are made of others."""

    def __init__(
        self,
        base: Account,
        checkpoint: Checkpoint,
        roles: dict[str, Role],
        notes: tuple[str, ...],
    ):
        super().__init__(checkpoint)
        self._base = base
        self._roles = roles
        self.notes = notes

    @property
    def format(self) -> str:
        return self._base.format

    @property
    def graph(self) -> ObjectGraph | None:
        return self._base.graph

    @functools.cached_property
    def roles(self) -> dict[str, Role]:
        return {**self._base.roles, **self._roles}

    @property
    def step_name(self) -> str | None:
        return self._base.step_name

    @functools.cached_property
    def _named(self) -> tuple[dict[str, str], dict[str, str]]:
        names = {**self._base.name_of, **{name: name for name in self._roles}}
        return names, self._base.by_path


class _Making:
    """What is made so far."""

    def __init__(self, account: Account):
        self._account = account
        self._entries = dict(account.entries)
        self._keys = Counter(account.name_of.values())  # with those of parts
        self._made: dict[TensorEntry, Callable[[], Iterator[Any]]] = {}
        self._refusing: set[TensorEntry] = set()
        self._kept: list[str] = []
        self._where = ""
        self._changed: set[str] = set()
        self._roles: dict[str, Role] = {}
        self._offset = 0
        self._reshaped: list[str] = []
        self._merged: list[str] = []
        self._splits: dict[str, list[Split]] = {}
        self.dropped: dict[str, str] = {}
        self._followers: dict[str, list[str]] = {}
        for name, role in account.roles.items():
            if role.kind in FOLLOWERS and role.of is not None:
                self._followers.setdefault(role.of, []).append(name)

    def account(self) -> Account:
        """Returns the account of all that was made."""
        base = self._account.checkpoint
        checkpoint = replace(
            base,
            index=replace(base.index, entries=self._entries),
            made={**base.made, **self._made},
            refusing=base.refusing | self._refusing,
            changed=frozenset(self._changed),
            base=base,
        )
        count, size = len(self._made), sum(entry.size for entry in self._made)
        notes = []
        if count:
            notes.append(f"the map changes the values of {count:,} tensors, {size:,} bytes")
        if self._reshaped:
            notes.append(
                "reshaped, with their bytes as they are: " + listed(self._reshaped, _SHOWN)
            )
        if self._merged:
            notes.append(
                "in parts, which are merged to reshape them: " + listed(self._merged, _SHOWN)
            )
        if self._kept:
            notes.append(
                "not cast to integers with their variables, but of their own types: "
                + listed(self._kept, _SHOWN)
            )
        notes += self._rests()
        return _Derived(self._account, checkpoint, self._roles, tuple(notes))

    def change(self, change: Change, where: str) -> None:
        """Makes what a line of a map says, and the same of slots and averages.

        Args:
          change: the line.
          where: the file and the line, to begin a message.
        """
        self._where = where
        self._put(change.name, VARIABLE, change.sources, change.transformation)
        first, is_new = change.transformation.steps[0], change.name != change.sources[0]
        if isinstance(first, Split):
            self._splits.setdefault(change.sources[0], []).append(first)
        if is_new:
            for name in change.sources:
                made = f"'{change.target}' ({change.transformation})"
                before = f"{self.dropped[name]}, " if name in self.dropped else "made into "
                self.dropped[name] = before + made
        for name in self._followers.get(change.sources[0], ()):
            self._follow(name, change)
        for source in change.sources[1:]:
            for name in self._followers.get(source, ()):
                self.dropped.setdefault(name, self._lonely(change))

    def _rests(self) -> Iterator[str]:
        """Says what of a variable goes nowhere, where lines take parts of it along one axis."""
        for name, steps in self._splits.items():
            shape = self._account.entry(name).shape
            axes = {axis_in(step.axis, shape) for step in steps}
            if len(axes) > 1:
                continue
            axis, end = axes.pop(), 0
            ends = sorted((step.start, step.stop) for step in steps)
            for start, stop in [*ends, (shape[axis], shape[axis])]:
                if start > end:
                    yield f"of '{name}', what is at {end}:{start} of axis {axis} goes nowhere"
                end = max(end, stop)

    def _follow(self, name: str, change: Change) -> None:
        """Makes a slot or an average of what a variable becomes."""
        role = self._account.roles[name]
        group = [name, *(self._counterpart(role, other) for other in change.sources[1:])]
        names = [each for each in group if each is not None]
        made = change.transformation if role.kind == "average" else change.transformation.of_slots
        floats = made.of_floats
        if floats != made and self._account.entry(name).shape:
            self._kept.append(f"'{name}'")
        if floats is None:
            return
        made = floats
        alike = all(
            self._account.entry(each).shape == self._account.entry(of).shape
            for each, of in zip(names, change.sources)
        )
        is_number = not self._account.entry(name).shape and len(change.sources) == 1
        is_new = change.name != change.sources[0]
        if len(names) < len(group):
            self.dropped[name] = self._lonely(change)
        elif alike or made.is_of_numbers:
            new = self._called(name, change) if is_new else name
            self._put(new, role._replace(of=change.name), names, made)
            if is_new:
                for each in names:
                    self.dropped.setdefault(each, f"it goes with '{role.of}': {made}")
        elif is_number and is_new:
            self._add(self._called(name, change), role._replace(of=change.name), name)
            self.dropped.setdefault(name, f"it goes with '{role.of}'")
        elif not is_number:
            self.dropped[name] = (
                f"it has another shape than '{role.of}', and can't be changed with it: {made}"
            )

    def _called(self, name: str, change: Change) -> str:
        """A name for what follows that has the variable's in the same place."""
        at = f"/{name}/".rfind(f"/{change.sources[0]}/")
        if at < 0:
            return f"{change.name}/{self._account.roles[name].slot or name.rpartition('/')[2]}"
        return name[:at] + change.name + name[at + len(change.sources[0]) :]

    def _counterpart(self, role: Role, owner: str) -> str | None:
        """The slot or average of another variable that plays the same part."""
        for name in self._followers.get(owner, ()):
            if self._account.roles[name]._replace(of=role.of) == role:
                return name
        return None

    def _lonely(self, change: Change) -> str:
        return f"not all of {listed(change.sources, _SHOWN)} have such a one to be merged with"

    def _add(self, new: str, role: Role, old: str) -> None:
        self._entries[new] = self._account.entry(old)
        self._changed.add(new)
        self._roles[new] = role

    def _put(
        self, new: str, role: Role, names: Sequence[str], transformation: Transformation
    ) -> None:
        """Makes a tensor of others, in the place of the first or under a new name."""
        account = self._account
        entry = self._tensor(names, transformation)
        if new != names[0]:
            self._entries[new] = entry
            self._changed.add(new)
            self._roles[new] = role
            return
        for key in account.keys_of[new]:
            self._entries[key] = entry
            self._changed.add(key)
        if self._keys[new] > len(account.keys_of[new]):
            raise CheckpointArgumentError(
                f"'{new}' is in parts that are objects of their own, and can't be changed there; "
                "convert it without its objects first (to='tf1')"
            )

    def _tensor(self, names: Sequence[str], transformation: Transformation) -> TensorEntry:
        """Returns the entry of what is made of tensors."""
        from estimator_ckpt.checkpoint import arrays, transforming  # numpy takes a while to load

        checkpoint = self._account.checkpoint
        entries = [self._account.entry(name) for name in names]
        kinds = [Kind(tuple(entry.shape), entry.dtype_name) for entry in entries]
        try:
            result = transformation.result(kinds)
            if transformation.keeps_bytes and not entries[0].parts:
                self._reshaped.append(f"'{names[0]}'")
                return entries[0]._replace(shape=result.shape)
            number = transforming.require_number(result.dtype)
            for kind in kinds:
                transforming.require_number(kind.dtype)
        except CheckpointArgumentError as error:
            raise CheckpointArgumentError(f"'{', '.join(names)}': {error}") from error
        if transformation.keeps_bytes:
            self._merged.append(f"'{names[0]}'")
        size = math.prod(result.shape) * (dtypes.element_size(number) or 0)
        place = checkpoint.index.num_shards, self._offset
        self._offset += size
        made = TensorEntry(number, result.shape, *place, size)
        reads = [_reading(arrays.array_chunks, checkpoint, entry) for entry in entries]
        what = f"{self._where}'{', '.join(names)}': "
        self._made[made] = lambda: transforming.transformed(transformation, kinds, reads, what)
        if transformation.may_refuse(kinds):
            self._refusing.add(made)
        return made


def _reading(
    read: Callable[[Checkpoint, TensorEntry], Iterator[Any]],
    checkpoint: Checkpoint,
    entry: TensorEntry,
) -> Callable[[], Iterator[Any]]:
    return lambda: read(checkpoint, entry)
