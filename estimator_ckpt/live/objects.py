"""What a live object would save: its keys, its variables, its object graph, the roles of all.

    live = LiveObjects(tf.train.Checkpoint(model=model))
    live.values["model/kernel/.ATTRIBUTES/VARIABLE_VALUE"].name        # "dense/kernel"
    live.roles["Adam/dense/kernel/m"].of                               # "dense/kernel"

Nothing is saved or read; the keys are those that TensorFlow gives these objects. A Keras 3 model is
one of them as any other: its variables hold variables of TensorFlow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from estimator_ckpt import naming
from estimator_ckpt.bundle.dtypes import dtype_name
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.fitting import Shape
from estimator_ckpt.checkpoint.variable_rows import variable_rows
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.live import tensorflow_internals as internals
from estimator_ckpt.live.counted_steps import optimizers_of, with_counts
from estimator_ckpt.live.keras_places import KerasPlaces, without_metrics
from estimator_ckpt.live.other_backends import ForeignVariable, is_foreign
from estimator_ckpt.live.tensorflow_internals import creation_number
from estimator_ckpt.messages import listed, logger
from estimator_ckpt.naming.correspondence import Match, called_alike, correspond
from estimator_ckpt.naming.matcher import NamedShape
from estimator_ckpt.naming.object_graph import ObjectGraph
from estimator_ckpt.naming.optimizers import optimizer_state
from estimator_ckpt.naming.paths import is_place, path_name
from estimator_ckpt.naming.roles import Named, Role, tell_roles
from estimator_ckpt.naming.rules import same_shape_and_type
from estimator_ckpt.naming.slots import kind_of_optimizer, power

_log = logger(__name__)
INTEGERS = INT32, INT64 = 3, 9
"""Numbers of the types of counters."""


@dataclass(frozen=True)
class LiveValue:
    """Something that an object would save.

    Attributes:
      key: under which.
      name: its name-based name; "" if it has none.
      variable: the variable, or None for what is none (a table, an iterator, Python state).
    """

    key: str
    name: str
    variable: Any

    @property
    def shape(self) -> Shape:
        """Of the variable, or of the whole that it is a part of; None where it is not known."""
        return shape_of(self.variable)

    @property
    def dtype(self) -> int | None:
        """Number of the variable's element type; None for what is no variable."""
        return None if self.variable is None else dtype_of(self.variable)


def variable_in(held: Any) -> Any:
    """Returns the `tf.Variable` that an object is or, as one of Keras 3, holds; else None.

    A variable of Keras 3 on another backend is one that behaves like it.
    """
    if isinstance(held, (tf.Variable, ForeignVariable)):
        return held
    value = getattr(held, "value", None) if type(held).__module__.startswith("keras") else None
    if isinstance(value, tf.Variable):
        return value
    return ForeignVariable(held) if is_foreign(held) else None


def shape_of(variable: Any) -> Shape:
    """Returns the shape of a variable, or of the whole that it is a part of."""
    if variable is None:
        return None
    info = internals.slice_info(variable)
    shape = tf.TensorShape(info.full_shape if info is not None else variable.shape)
    return None if shape.rank is None else shape.as_list()


def dtype_of(variable: Any) -> int:
    """Returns the number of a variable's element type."""
    return int(variable.dtype.base_dtype.as_datatype_enum)


def named_by_name(variables: Mapping[str, Any]) -> dict[str, Role]:
    """Tells the roles of variables from their names and shapes, {name: variable}."""
    return tell_roles(
        {
            name: Named(known_shape(shape_of(variable)), dtype_of(variable))
            for name, variable in variables.items()
        }
    )


def offered_roles(account: Account, names: Mapping[str, str]) -> dict[str, Role]:
    """Returns the roles of what a checkpoint offers, by new names.

    Args:
      account: of the checkpoint.
      names: {new name: old one}.
    """
    new = {old: name for name, old in names.items()}
    return {
        name: role._replace(of=new.get(role.of, role.of)) if role.of is not None else role
        for name, old in names.items()
        for role in (account.roles[old],)
    }


class LiveObjects:
    """The objects below a root, as TensorFlow would save them."""

    def __init__(self, root: Any):
        """Looks at a `tf.train.Checkpoint`, `tf.Module`, Keras model or any other trackable.

        Raises:
          CheckpointArgumentError: it is none of these.
        """
        if not hasattr(root, "_trackable_children"):
            raise CheckpointArgumentError(
                f"a {type(root).__name__} has no objects that a checkpoint could hold; give a "
                "tf.train.Checkpoint, tf.Module, Keras model or layer, or {name: variable}"
            )
        self.graph = ObjectGraph.parse(internals.frozen_saveables(root)[1])
        """The objects' graph."""
        self.values: dict[str, LiveValue] = {}
        """{key: what would be saved under it}."""
        objects = dict(enumerate(tf.train.TrackableView(root).descendants()))
        self._kind = type(root).__name__
        self.objects: Mapping[int, Any] = objects
        """{node of the graph: the object that it is}."""
        self.kinds = {
            number: kind
            for number, held in objects.items()
            if (kind := kind_of_optimizer(type(held).__name__.replace("Optimizer", "")))
        }
        """{node: the kind of optimizer that it is}, where the class's name tells it."""
        for number, node in enumerate(self.graph.nodes):  # slots come last, after their variables
            for slot in node.slot_variables:
                variable = objects[slot.original_variable_node_id]
                made = objects[number].get_slot(variable, slot.slot_name)
                objects[slot.slot_variable_node_id] = made
        for number, node in enumerate(self.graph.nodes):
            for attribute in node.attributes:
                held = variable_in(objects.get(number))
                self.values[attribute.checkpoint_key] = LiveValue(
                    attribute.checkpoint_key, attribute.full_name, held
                )

    @functools.cached_property
    def names(self) -> Mapping[str, str]:
        """{key: what its value is called here}: its name where that is its own, else its key."""
        owners: dict[str, int] = {}
        for value in self.values.values():
            owners[value.name] = owners.get(value.name, 0) + 1
        return {
            key: value.name if value.name and owners[value.name] == 1 else key
            for key, value in self.values.items()
        }

    @functools.cached_property
    def paths(self) -> Mapping[str, str]:
        """{key: its path in a map of variables}, not by way of an optimizer where there is another.

        An optimizer of Keras 3 has the variables of its model among its own.
        """
        paths = self.graph.paths_around(self.kinds)
        node_of = self.graph.node_of
        return {
            key: "/".join(paths[node_of[key]]) if node_of[key] in paths else path_name(key)
            for key in self.values
        }

    @functools.cached_property
    def rows(self) -> Sequence[NamedShape]:
        """The variables by their paths, as a map of variables is proposed from."""
        return [
            NamedShape(
                self.paths[key],
                known_shape(value.shape),
                dtype_name(value.dtype or 0),
                creation_number(value.variable),
                second_name=None if self.names[key] == key else self.names[key],
            )
            for key, value in self.values.items()
            if value.variable is not None and self.role(key).kind == "variable"
        ]

    def require_rows(self) -> list[NamedShape]:
        """Returns the variables, as `rows`.

        Raises:
          CheckpointArgumentError: there are none, as where a model is not built.
        """
        if not self.rows:
            built = f": not built yet are {listed(self.unbuilt)}" if self.unbuilt else ""
            raise CheckpointArgumentError(
                f"the {self._kind} has no variables to map to{built}; build it first, by calling "
                "it on an input"
            )
        return list(self.rows)

    def fitted(
        self,
        rules: naming.RenameRules,
        account: Account,
        fits: Callable[[NamedShape, NamedShape], bool] = same_shape_and_type,
    ) -> naming.RenameRules:
        """Returns rules for a checkpoint; those of a map, checked, give names that are used here.

        None are left of a map that has each variable of a file of Keras at its own place: then all
        of the file belongs here, its optimizer included.

        Raises:
          CheckpointArgumentError: a map can't be followed; the message says the line.
        """
        if rules.variable_map is None:
            return rules
        called = {self.paths[key]: name for key, name in self.names.items()}
        rows = self.require_rows()
        source = variable_rows(account)
        fitted = rules.for_target(source, rows, fits=fits, called=called)
        return naming.RenameRules() if self._keeps_places(fitted, source) else fitted

    def _keeps_places(self, rules: naming.RenameRules, source: Sequence[NamedShape]) -> bool:
        """Whether rules of a map give each variable of a file of Keras to the one at its place."""
        if rules.variable_map is None or rules.variable_map.applied_changes():
            return False
        stored = {row.name for row in without_metrics(source)}
        if not stored or not all(map(is_place, stored)):
            return False
        here = {place: self.names[key] for place, key in self.placed.items()}
        return stored == here.keys() and here == {rule.old: rule.new for rule in rules.rules}

    @functools.cached_property
    def placed(self) -> Mapping[str, str]:
        """{place in a file of Keras: key}, of variables, not of what an optimizer has."""
        return {
            place: key
            for key, place in self.keras.of_key.items()
            if self.role(key).kind == "variable"
        }

    @functools.cached_property
    def roles(self) -> Mapping[str, Role]:
        """{what a value is called here: its role}."""
        return tell_roles(
            {
                self.names[key]: Named(known_shape(value.shape), value.dtype or 0)
                for key, value in self.values.items()
            },
            self.graph,
            {name: key for key, name in self.names.items()},
            {"/".join(self.graph.paths[number]): kind for number, kind in self.kinds.items()},
        )

    @functools.cached_property
    def keras(self) -> KerasPlaces:
        """Where the variables of the Keras model among the objects are in Keras' own files."""
        keys = {
            id(value.variable): key
            for key, value in self.values.items()
            if value.variable is not None
        }
        return KerasPlaces(
            self.objects.values(),
            lambda variable: keys.get(id(variable_in(variable))),
            lambda key: self.role(key).is_of_optimizer,
        )

    @functools.cached_property
    def unbuilt(self) -> list[str]:
        """Paths of the Keras layers and models that may have no variables yet, as not built."""
        return [
            f"'{'/'.join(self.graph.paths[number]) or type(held).__name__}'"
            for number, held in self.objects.items()
            if getattr(held, "built", None) is False and hasattr(held, "call")
        ]

    @functools.cached_property
    def unreached(self) -> list[str]:
        """Paths of Keras 3 weights that no Checkpoint saves or restores, as TensorFlow sees no way.

        A layer in a plain list is one of the model's for Keras 3, but not for TensorFlow.
        """
        reached = {id(value.variable) for value in self.values.values()}
        built = [held for held in self.objects.values() if getattr(held, "built", False)]
        lists = [getattr(held, "weights", None) for held in built]
        weights = [weight for each in lists if isinstance(each, list) for weight in each]
        return sorted(
            {
                weight.path
                for weight in weights
                if (variable := variable_in(weight)) is not weight
                and variable is not None
                and id(variable) not in reached
            }
        )

    def role(self, key: str) -> Role:
        """Returns the role of the value of a key."""
        return self.roles[self.names[key]]

    def correspondences(
        self, offered: Mapping[str, Role], names: Mapping[str, str], account: Account
    ) -> dict[str, Match]:
        """Finds what a checkpoint offers for these objects, by name and by role.

        Args:
          offered: {name: role}.
          names: {new name: name in the checkpoint}.
          account: of the checkpoint.

        Returns:
          {key: match}. Variables of the same name get the same.
        """
        wanted = {key: self.roles[name] for key, name in self.names.items()}
        called = self._called(offered)
        by_name: dict[str, Role] = {}
        for key, role in wanted.items():
            if key != naming.SAVE_COUNTER_KEY or called[key] in offered:
                by_name.setdefault(called[key], role)
        found = correspond(by_name, offered)
        nothing = Match(None, "the checkpoint counts no saves")
        matches = {key: found.get(called[key], nothing) for key in wanted}
        counters = {
            key: self.graph.node_of[key]
            for key, role in wanted.items()
            if role.kind == "counter" and not power(role.slot) and matches[key].name != called[key]
            if self.values[key].dtype in INTEGERS
        }
        optimizers = optimizers_of(counters, self.graph, self.objects)
        counts = with_counts(matches, optimizers, offered, names, account)
        return {**matches, **counts, **self.keras.matches(offered)}

    def _called(self, offered: Collection[str]) -> dict[str, str]:
        """Returns what each value is called in a checkpoint, else what it would be; {key: name}."""
        called = {key: self.values[key].name or key for key in self.values}
        for key, name in self.names.items():
            # What has no name of its own is called by its path.
            spelled = (name,) if name != key else (key, path_name(key))
            called[key] = next((each for each in spelled if each in offered), called[key])
        own = {key: called[key] for key in self._optimizer_names if self.role(key).is_of_optimizer}
        others = set(offered).difference(name for key, name in called.items() if key not in own)
        return {**called, **called_alike(own, self._optimizer_names, others)}

    @functools.cached_property
    def _optimizer_names(self) -> Mapping[str, str]:
        """{key of an optimizer's value: what the optimizer is called}, where it has a name."""
        at = {"/".join(path): number for number, path in enumerate(self.graph.paths)}
        names = {}
        for key, value in optimizer_state(self.graph).items():
            optimizer = self.objects.get(at.get(value.optimizer, -1))
            name = getattr(optimizer, "name", getattr(optimizer, "_name", None))
            if key in self.values and isinstance(name, str):
                names[key] = name
        return names


def known_shape(shape: Shape) -> tuple[int, ...]:
    """Returns a shape as numbers; what is not known is -1, which equals no stored size."""
    return (-1,) if shape is None else tuple(-1 if size is None else size for size in shape)
