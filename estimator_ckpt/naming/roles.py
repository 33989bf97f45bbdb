"""What part each tensor of a checkpoint plays: a variable, the slot of which one, the step, ...

    roles = tell_roles(tensors, graph, keys)        # tensors: {name: what has shape and dtype}
    roles["dnn/kernel/Adam"]       # Role("slot", "dnn/kernel", "Adam", "adam", "adam: mean of ...")

Told from the object graph where there is one; else from known names *with* shapes that fit. What
nothing tells otherwise is a variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from estimator_ckpt.bundle.allocation import many_objects
from estimator_ckpt.bundle.dtypes import dtype_name
from estimator_ckpt.naming.layout import GLOBAL_STEP
from estimator_ckpt.naming.object_graph import ObjectGraph
from estimator_ckpt.naming.optimizers import OptimizerValue, optimizer_state
from estimator_ckpt.naming.paths import (
    OPTIMIZER_PLACE,
    attribute_of,
    is_object_key,
    is_variable_key,
)
from estimator_ckpt.naming.slots import (
    AVERAGE,
    SlotName,
    fits_variable,
    is_counter,
    is_factored,
    is_hyperparameter,
    kind_behind,
    kind_of_optimizer,
    may_be_slot,
    meaning,
    parse_slot,
    power,
)

KINDS = (
    *("variable", "slot", "average", "global_step", "counter", "hyperparameter"),
    *("table", "iterator", "python_state", "save_counter", "object_graph"),
)
"""The parts that a tensor can play."""
_OF_OPTIMIZER = frozenset(("slot", "counter", "hyperparameter"))


class Shaped(Protocol):
    """What a role is told from besides a name; the entry of a stored tensor is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each dimension."""

    @property
    def dtype(self) -> int:
        """Number of the element type."""


class Named(NamedTuple):
    """A tensor that is not stored, as far as its role can be told from it.

    Attributes:
      shape: size of each dimension.
      dtype: number of its element type.
    """

    shape: tuple[int, ...]
    dtype: int


class Role(NamedTuple):
    """The part that a tensor plays.

    Attributes:
      kind: one of `KINDS`.
      of: name of the variable that a slot or an average belongs to; None for other kinds, and for
        a slot of which that can't be told.
      slot: what the optimizer calls it, such as `m`.
      optimizer: the optimizer's kind, such as `adam`; "" where it is not known.
      meaning: of a slot: equal for those of two optimizers that can take each other's place.
    """

    kind: str
    of: str | None = None
    slot: str = ""
    optimizer: str = ""
    meaning: str = ""

    @property
    def is_training_state(self) -> bool:
        """Whether only training needs it: what is an optimizer's, or a moving average."""
        return self.is_of_optimizer or self.kind == "average"

    @property
    def use_in_training(self) -> str:
        """Why only training needs it, in words that follow `it`."""
        return "is a moving average" if self.kind == "average" else "belongs to an optimizer"

    @property
    def is_of_optimizer(self) -> bool:
        """Whether it is an optimizer's: a slot, a counter or a hyperparameter."""
        return self.kind in _OF_OPTIMIZER


VARIABLE = Role("variable")


def tell_roles(
    tensors: Mapping[str, Shaped],
    graph: ObjectGraph | None = None,
    keys: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
) -> dict[str, Role]:
    """Tells the role of each tensor.

    Args:
      tensors: {name: what there is to tell it from}.
      graph: the object graph, if there is one.
      keys: {name: object key}, of those that have one.
      kinds: {path of an optimizer in the graph: its kind}, where that is known otherwise.

    Returns:
      {name: role}.
    """
    teller = _Teller(tensors, graph, keys or {}, kinds or {})
    with many_objects():
        roles = {name: teller.role(name, tensor) for name, tensor in tensors.items()}
        _add_meanings(roles)
    return roles


class _Teller:
    def __init__(
        self,
        tensors: Mapping[str, Shaped],
        graph: ObjectGraph | None,
        keys: Mapping[str, str],
        kinds: Mapping[str, str],
    ):
        self._tensors = tensors
        self._kinds = kinds
        self._keys = keys
        self._state = optimizer_state(graph) if graph else {}
        self._full_names = graph.full_names if graph else {}
        self._names = {key: name for name, key in keys.items()} if self._state else {}
        self._flat: dict[str, list[str]] | None = None

    def role(self, name: str, tensor: Shaped) -> Role:
        key = self._keys.get(name) if self._keys else None
        if key is not None:
            told = self._state.get(key)
            if told is not None:
                return self._of_optimizer(name, tensor, told, self._full_names.get(key, ""))
            if not is_variable_key(key) and is_object_key(key):
                return Role("table" if attribute_of(key).startswith("table-") else "iterator")
        if name == GLOBAL_STEP:
            return Role("global_step")
        shape = tensor.shape
        if name.startswith(OPTIMIZER_PLACE):
            # All that a place tells; a slot's variable is only known to the model.
            is_count = not shape and "int" in dtype_name(tensor.dtype)
            return Role("counter" if is_count else "slot", slot=name.rpartition("/")[2])
        if not shape and (scalar := _scalar_role(name, tensor)):
            return scalar
        if not may_be_slot(name):
            return VARIABLE
        parent, _, last = name.rpartition("/")
        kind = kind_behind(last)
        if kind:
            owner = self._tensors.get(parent)
            if owner is not None and owner.shape == shape:
                return _slot_behind(parent, last, kind)  # what most slots of a job are called
        slot, of = self._read(name, tensor)
        if slot is None or of is None:
            return VARIABLE
        if slot.slot.startswith(AVERAGE):
            return Role("average", of)
        return Role("slot", of, slot.slot, slot.optimizer)

    def _of_optimizer(
        self, name: str, tensor: Shaped, told: OptimizerValue, full_name: str
    ) -> Role:
        kind = self._kinds.get(told.optimizer, "")
        kind = kind or kind_of_optimizer(full_name.partition("/")[0])
        if told.role != "slot":
            # Nadam's `_u_product` has no name of its own.
            last = told.slot if power(told.slot) else full_name.rpartition("/")[2]
            return Role(told.role, slot=last, optimizer=kind)
        read, owner = self._read(full_name or name, tensor, is_slot=True)
        if told.owner is not None:
            owner = self._names.get(told.owner)
        kind = kind or (read.optimizer if read is not None else "")
        # What the graph calls it is sure; names are numbered anew (`Adam_2` is another `Adam`).
        spelled = told.slot if meaning(kind, told.slot) or read is None else read.slot
        return Role("slot", owner, spelled, kind)

    def _read(
        self, name: str, tensor: Shaped, *, is_slot: bool = False
    ) -> tuple[SlotName | None, str | None]:
        """Finds the reading of a name for which there is a variable of a shape that fits."""
        readings = [
            (slot, owner)
            for slot in parse_slot(name, is_slot=is_slot)
            for owner in self._called(slot)
            if owner != name and owner in self._tensors
        ]
        for slot, owner in readings:
            if tensor.shape == self._tensors[owner].shape:
                return slot, owner
        # `Adam/v/m`, of a variable `m`, is not what only a factor of a variable `v` could be.
        for slot, owner in readings:
            if not is_factored(slot):
                continue
            # Adafactor has one element where it needs no rows or columns, as of a vector.
            is_unused = is_slot and tensor.shape == (1,)
            if is_unused or fits_variable(tensor.shape, self._tensors[owner].shape):
                return slot, owner
        averages = (
            slot for slot in parse_slot(name, is_slot=is_slot) if slot.slot.startswith(AVERAGE)
        )
        average = next(averages, None)
        if average is not None and average.variable not in self._tensors:
            return average, average.variable  # of a variable that is not saved itself
        return None, None

    def _called(self, slot: SlotName) -> list[str]:
        """Returns the variables that a slot's name may mean."""
        if "/" in slot.variable or slot.variable in self._tensors:
            return [slot.variable]
        if self._flat is None:
            self._flat = {}
            for name in self._tensors:
                for called in {name, self._full_names.get(self._keys.get(name, ""), name)}:
                    self._flat.setdefault(called.replace("/", "_"), []).append(name)
        found = self._flat.get(slot.variable, [])
        return found if len(found) == 1 else []


def _slot_behind(owner: str, slot: str, kind: str) -> Role:
    return Role("slot", owner, slot, kind, "" if kind == "rmsprop" else meaning(kind, slot))


def _scalar_role(name: str, tensor: Shaped) -> Role | None:
    kind = kind_of_optimizer(name.rpartition("/")[0])
    if power(name) or (is_counter(name) and "int" in dtype_name(tensor.dtype)):
        return Role("counter", slot=name.rpartition("/")[2], optimizer=kind)
    if is_hyperparameter(name):
        return Role("hyperparameter", slot=name.rpartition("/")[2], optimizer=kind)
    return None


def _add_meanings(roles: dict[str, Role]) -> None:
    """Adds what the slots mean, which takes all slots of a variable to tell."""
    slots: dict[str | None, set[str]] = {}
    found = [
        (name, role) for name, role in roles.items() if role.kind == "slot" and not role.meaning
    ]
    for _, role in found:
        slots.setdefault(role.of, set()).add(role.slot)
    for name, role in found:
        means = meaning(role.optimizer, role.slot, frozenset(slots[role.of]))
        roles[name] = role._replace(meaning=means)
