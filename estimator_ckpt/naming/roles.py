"""What part each tensor of a checkpoint plays: a variable, the slot of which one, the step, ...

    roles = tell_roles(tensors, graph)              # tensors: {name: Named(key, shape, dtype)}
    roles["dnn/kernel/Adam"]       # Role("slot", "dnn/kernel", "Adam", "adam", "adam: mean of ...")

Told from the object graph where there is one; else from known names *with* shapes that fit. What
nothing tells otherwise is a variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from estimator_ckpt.bundle.dtypes import dtype_name
from estimator_ckpt.naming.layout import GLOBAL_STEP
from estimator_ckpt.naming.object_graph import ObjectGraph
from estimator_ckpt.naming.optimizers import OptimizerValue, optimizer_state
from estimator_ckpt.naming.paths import VARIABLE_VALUE, attribute_of, is_object_key
from estimator_ckpt.naming.slots import (
    AVERAGE,
    SlotName,
    fits_variable,
    is_counter,
    is_factored,
    is_hyperparameter,
    is_power,
    kind_of_optimizer,
    meaning,
    parse_slot,
)

KINDS = (
    *("variable", "slot", "average", "global_step", "counter", "hyperparameter"),
    *("table", "iterator", "python_state", "save_counter", "object_graph"),
)
"""The parts that a tensor can play."""
_OF_OPTIMIZER = frozenset(("slot", "counter", "hyperparameter"))


class Named(NamedTuple):
    """A tensor as far as its role can be told from it.

    Attributes:
      key: its object key, or else its name-based one.
      shape: size of each dimension.
      dtype: number of its element type.
      full_name: the name that the object graph has for it; "" if none.
    """

    key: str
    shape: tuple[int, ...]
    dtype: int
    full_name: str = ""


class Role(NamedTuple):
    """The part that a tensor plays.

    Attributes:
      kind: one of `KINDS`.
      of: name of the variable that a slot or an average belongs to; None for other kinds, and for
        a slot of which that can't be told.
      slot: what the optimizer calls the slot, such as `m`.
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
    def is_of_optimizer(self) -> bool:
        """Whether it is an optimizer's: a slot, a counter or a hyperparameter."""
        return self.kind in _OF_OPTIMIZER


VARIABLE = Role("variable")


def tell_roles(tensors: Mapping[str, Named], graph: ObjectGraph | None = None) -> dict[str, Role]:
    """Tells the role of each tensor.

    Args:
      tensors: {name: what there is to tell it from}.
      graph: the object graph, if there is one.

    Returns:
      {name: role}.
    """
    teller = _Teller(tensors, optimizer_state(graph) if graph else {})
    return _with_meanings({name: teller.role(name) for name in tensors})


class _Teller:
    def __init__(self, tensors: Mapping[str, Named], state: Mapping[str, OptimizerValue]):
        self._tensors = tensors
        self._state = state
        self._names = {tensor.key: name for name, tensor in tensors.items()} if state else {}
        self._flat: dict[str, list[str]] | None = None

    def role(self, name: str) -> Role:
        tensor = self._tensors[name]
        told = self._state.get(tensor.key)
        if told is not None:
            return self._of_optimizer(name, tensor, told)
        if is_object_key(tensor.key) and (attribute := attribute_of(tensor.key)) != VARIABLE_VALUE:
            return Role("table" if attribute.startswith("table-") else "iterator")
        if name == GLOBAL_STEP:
            return Role("global_step")
        if not tensor.shape and (scalar := _scalar_role(name, tensor)):
            return scalar
        slot, owner = self._read(name, tensor)
        if slot is None or owner is None:
            return VARIABLE
        if slot.slot.startswith(AVERAGE):
            return Role("average", owner)
        return Role("slot", owner, slot.slot, slot.optimizer)

    def _of_optimizer(self, name: str, tensor: Named, told: OptimizerValue) -> Role:
        kind = kind_of_optimizer(tensor.full_name.partition("/")[0])
        if told.role != "slot":
            return Role(told.role, slot=tensor.full_name.rpartition("/")[2], optimizer=kind)
        read, owner = self._read(tensor.full_name or name, tensor, is_slot=True)
        if told.owner is not None:
            owner = self._names.get(told.owner)
        # The name tells more than the graph: `Adam` of tf.compat.v1.train is `m` in the graph.
        spelled = read.slot if read is not None else told.slot
        return Role("slot", owner, spelled, (read.optimizer if read else "") or kind)

    def _read(
        self, name: str, tensor: Named, *, is_slot: bool = False
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
            if is_factored(slot) and fits_variable(tensor.shape, self._tensors[owner].shape):
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
            for name, tensor in self._tensors.items():
                for called in {name, tensor.full_name}:
                    self._flat.setdefault(called.replace("/", "_"), []).append(name)
        found = self._flat.get(slot.variable, [])
        return found if len(found) == 1 else []


def _scalar_role(name: str, tensor: Named) -> Role | None:
    kind = kind_of_optimizer(name.rpartition("/")[0])
    if is_power(name) or (is_counter(name) and "int" in dtype_name(tensor.dtype)):
        return Role("counter", slot=name.rpartition("/")[2], optimizer=kind)
    if is_hyperparameter(name):
        return Role("hyperparameter", slot=name.rpartition("/")[2], optimizer=kind)
    return None


def _with_meanings(roles: dict[str, Role]) -> dict[str, Role]:
    """Adds what the slots mean, which takes all slots of a variable to tell."""
    slots: dict[str | None, set[str]] = {}
    for role in roles.values():
        if role.kind == "slot":
            slots.setdefault(role.of, set()).add(role.slot)
    return {
        name: role._replace(meaning=meaning(role.optimizer, role.slot, frozenset(slots[role.of])))
        if role.kind == "slot"
        else role
        for name, role in roles.items()
    }
