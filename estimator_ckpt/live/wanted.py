"""What is to get values: the variables of a mapping, or of live objects, with the roles they have.

for each in wanted_by_name({"dense/kernel": kernel}):
    print(each.label, each.role.kind)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from estimator_ckpt import naming
from estimator_ckpt.bundle.dtypes import dtype_name
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.live.objects import (
    LiveObjects,
    dtype_of,
    known_shape,
    named_by_name,
    shape_of,
    variable_in,
)
from estimator_ckpt.live.tensorflow_internals import creation_number
from estimator_ckpt.naming.matcher import NamedShape
from estimator_ckpt.naming.roles import Role


@dataclass(frozen=True)
class Wanted:
    """Something that is to get a value.

    Attributes:
      label: what reports call it: its key among objects, or its name in a mapping.
      name: its name-based name; "" if it has none.
      variables: the variable, or the parts of a partitioned one; none for what is no variable.
      role: the part that it plays.
    """

    label: str
    name: str
    variables: tuple[Any, ...]
    role: Role

    @property
    def is_save_counter(self) -> bool:
        """Whether it counts saves, as each `tf.train.Checkpoint` does."""
        return self.label == naming.SAVE_COUNTER_KEY


def wanted_by_name(target: Mapping[str, Any]) -> Iterator[Wanted]:
    """Yields the variables of a mapping.

    Args:
      target: {name: variable, or list of the parts of a partitioned one}.

    Raises:
      CheckpointArgumentError: a value is neither, or an empty list.
    """
    parts = {
        name: tuple(map(_require_variable, held if isinstance(held, (list, tuple)) else (held,)))
        for name, held in target.items()
    }
    roles = named_by_name({name: variables[0] for name, variables in parts.items() if variables})
    for name, variables in parts.items():
        if not variables:
            raise CheckpointArgumentError(
                f"'{name}' has no variables; give a variable or its parts"
            )
        yield Wanted(name, name, variables, roles[name])


def _require_variable(held: Any) -> Any:
    variable = variable_in(held)
    if variable is None and not isinstance(held, tf.compat.v1.Variable):
        raise CheckpointArgumentError(
            f"{held!r} is no variable; the mapping must have variables, or lists of the parts of "
            "partitioned ones"
        )
    return held if variable is None else variable


def mapping_rows(target: Mapping[str, Any]) -> list[NamedShape]:
    """Returns the variables of a mapping, as a map of variables is proposed from."""
    return [
        NamedShape(
            each.name,
            known_shape(shape_of(each.variables[0])),
            dtype_name(dtype_of(each.variables[0])),
            creation_number(each.variables[0]),
        )
        for each in wanted_by_name(target)
        if each.role.kind == "variable"
    ]


def wanted_objects(live: LiveObjects) -> Iterator[Wanted]:
    """Yields what live objects would save."""
    for key, value in live.values.items():
        variables = () if value.variable is None else (value.variable,)
        yield Wanted(key, value.name, variables, live.role(key))
