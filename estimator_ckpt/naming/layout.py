"""Which object holds which variable, and which name each object has.

    layout = Layout()                      # Checkpoint(var_list={name: variable}, step=step)
    layout.key("global_step")              # step/.ATTRIBUTES/VARIABLE_VALUE
    name_tensors(keys, read_names).by_key  # the way back: {key: name}

A name-based checkpoint has names only; what they become is decided here and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.naming.object_graph import OBJECT_GRAPH_KEY, ObjectGraph, Tree
from estimator_ckpt.naming.paths import (
    VARIABLE_VALUE,
    ObjectKey,
    container_and_name,
    is_object_key,
    is_variable_key,
    parse_key,
    path_name,
    variable_key,
    variable_keys,
)

GLOBAL_STEP = "global_step"
SAVE_COUNTER = "save_counter"
SAVE_COUNTER_KEY = variable_key(SAVE_COUNTER)
_STEP = "step"
_TABLE = "table-"
# Containers whose keys are whole names: a wrapped job's, and the migration guide's converter's.
_HOLD_BY_NAME = {"var_list", "vars"}
_NO_VARIABLE = {
    OBJECT_GRAPH_KEY: "the object graph; a name-based checkpoint has none",
    SAVE_COUNTER_KEY: ("the counter of tf.train.Checkpoint.save; a name-based checkpoint has none"),
}
_PYTHON_STATE = ("OBJECT_CONFIG_JSON", "py_state")


@dataclass(frozen=True)
class Layout:
    """A Checkpoint that holds variables by name: `Checkpoint(var_list={name: v}, step=s)`.

    Attributes:
      container: the attribute that has the dictionary.
      step: the attribute that has the global step; None leaves it in the dictionary.

    Raises:
      CheckpointArgumentError: two of container, step and `save_counter`, which each Checkpoint
        has, are the same attribute, or one has no name.
    """

    container: str = "var_list"
    step: str | None = _STEP

    def __post_init__(self) -> None:
        attributes = [self.container, SAVE_COUNTER]
        if self.step is not None:
            attributes.append(self.step)
        if len(set(attributes)) < len(attributes) or "" in attributes:
            raise CheckpointArgumentError(
                f"container='{self.container}' and step='{self.step}' can't be the attributes of a "
                f"Checkpoint, which also has '{SAVE_COUNTER}'; give each another name"
            )

    def path(self, name: str) -> tuple[str, ...]:
        """Returns the objects from the root to the variable of a name."""
        if name == GLOBAL_STEP and self.step is not None:
            return (self.step,)
        return (self.container, name)

    def key(self, name: str) -> str:
        """Returns the key of the variable of a name."""
        return variable_key(*self.path(name))

    def keys(self, names: Iterable[str]) -> dict[str, str]:
        """Returns {name: the key of the variable}, as `key` gives it, for many."""
        names = list(names)
        keys = dict(zip(names, variable_keys(self.container, names)))
        if GLOBAL_STEP in keys:
            keys[GLOBAL_STEP] = self.key(GLOBAL_STEP)
        return keys

    def object_graph(self, names: Iterable[str], *, save_counter: bool) -> ObjectGraph:
        """Builds the object graph for variables of these names.

        Args:
          names: of the variables, the global step's among them.
          save_counter: whether the checkpoint has a value for `save_counter`. Its node is there in
            any case: without it, `restore(...).assert_consumed()` would fail.

        Returns:
          The graph.
        """
        keys = self.keys(names)
        held = dict(zip(keys, keys.items()))
        tree: Tree = {self.container: held}
        if self.step is not None and GLOBAL_STEP in held:
            tree[self.step] = held.pop(GLOBAL_STEP)
        # As tf.train.Checkpoint sorts its attributes.
        tree = {name: below for name, below in sorted(tree.items()) if below}
        tree[SAVE_COUNTER] = (SAVE_COUNTER, SAVE_COUNTER_KEY if save_counter else "")
        return ObjectGraph.of_tree(tree)


def layout_of(keys: Iterable[str], *, beside_state: bool = False) -> Layout | None:
    """Finds the layout that gave a checkpoint its object keys.

    Args:
      keys: all keys of the checkpoint; name-based ones don't count.
      beside_state: whether objects that are no variables (tables, iterators) may lie beside it.

    Returns:
      The layout, or None if the variables are not all held by name in one container.
    """
    container, step = None, None
    for key in keys:
        if not is_object_key(key) or key == SAVE_COUNTER_KEY:
            continue
        held = container_and_name(key)
        if held is not None:
            found, name = held
            if name.isdigit() or found != (container or found):
                return None
            container = found
            continue
        path, attribute = parse_key(key)
        if attribute != VARIABLE_VALUE and beside_state:
            continue
        if attribute != VARIABLE_VALUE or len(path) != 1 or path[0] != (step or path[0]):
            return None
        step = path[0]
    return Layout(container, step) if container else None


def format_of(keys: Collection[str]) -> str:
    """Tells the format of a checkpoint from its keys.

    Args:
      keys: all of them.

    Returns:
      "tf1" (name-based), "tf2" (object-based) or "dual" (both sets of keys).
    """
    if OBJECT_GRAPH_KEY not in keys:
        return "tf1"
    named = any(not is_object_key(key) for key in keys if key != OBJECT_GRAPH_KEY)
    return "dual" if named else "tf2"


class Names(NamedTuple):
    """What the tensors of object keys are called.

    Attributes:
      by_key: {key: name}, in the order of the keys; without `save_counter` and without what is no
        tensor of a variable, a table or an iterator (the Python state of objects).
      by_path: {name: why that is its object path}, of those that have no name of their own.
    """

    by_key: dict[str, str]
    by_path: dict[str, str]


def name_tensors(
    keys: Iterable[str],
    read_graph_names: Callable[[], Mapping[str, str]],
    *,
    taken: Collection[str] = (),
    by_path: bool = False,
) -> Names:
    """Names the tensors of object keys.

    Names come from the keys where these are like those of `Checkpoint(var_list={name: v})`, with
    the scopes that the full names in the object graph put before them; or else from the full names
    alone. A tensor that then has none, or shares its name with another, is called by its path:
    `model/dense/kernel`.

    Args:
      keys: object keys.
      read_graph_names: returns {key: full name}, from the object graph; called only if needed.
      taken: names that other tensors have.
      by_path: whether all are called by their paths.

    Returns:
      The names.

    Raises:
      NameClashError: a path is the name of another tensor, too.
    """
    variables: list[str] = []
    held: dict[str, str] = {}
    containers: set[str] = set()
    state: dict[str, str] = {}
    for key in keys:
        found = container_and_name(key)
        if found is not None:
            variables.append(key)
            containers.add(found[0])
            if not found[1].isdigit():  # a list's items are called 0, 1, ...: positions, not names
                held[key] = found[1]
        elif key not in _NO_VARIABLE:
            parsed = parse_key(key)
            if parsed.attribute == VARIABLE_VALUE:
                variables.append(key)
                if parsed.path == (_STEP,):
                    held[key] = GLOBAL_STEP
            elif parsed.attribute not in _PYTHON_STATE:
                state[key] = _state_name(parsed)
    if by_path:
        return _with_paths({}, [*variables, *state], "asked for", taken)
    if len(held) == len(variables) and len(containers) <= 1:
        if not containers <= _HOLD_BY_NAME:
            held = _with_scopes(held, read_graph_names())
        held.update(state)
        if not _clashes(held) and taken_apart(held, taken):
            return Names(held, {})
    graph_names = read_graph_names()
    named = {key: graph_names[key] for key in variables if key in graph_names}
    step_key = variable_key(_STEP)
    if step_key in variables:
        named[step_key] = GLOBAL_STEP
    named.update(state)
    reason = "it has no name of its own"
    return _with_paths(named, [*variables, *state], reason, taken)


def taken_apart(names: Mapping[str, str], taken: Collection[str]) -> bool:
    """Returns whether none of the names is taken."""
    return not taken or all(name not in taken for name in names.values())


def _with_paths(
    named: dict[str, str], keys: Sequence[str], reason: str, taken: Collection[str]
) -> Names:
    """Gives the tensors that have no name, or not one of their own, their paths."""
    clashing = set(_clashes(named)) | (set(named.values()) & set(taken) if taken else set())
    by_key: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for key in keys:
        name = named.get(key)
        if name is None or name in clashing:
            by_key[key] = path_name(key)
            reasons[by_key[key]] = (
                reason if name is None else f"another tensor is called '{name}', too"
            )
        else:
            by_key[key] = name
    if clashes := (set(_clashes(by_key)) | (set(by_key.values()) & set(taken) if taken else set())):
        name = min(clashes)
        owners = [key for key, called in by_key.items() if called == name]
        raise NameClashError(
            f"the name '{name}' would belong to two tensors: "
            f"{' and '.join(owners) if len(owners) > 1 else f'{owners[0]} and another one'}; load "
            "the checkpoint into the objects that it was saved from, and save them under other "
            "names"
        )
    return Names(by_key, reasons)


def reason_without_name(key: str) -> str | None:
    """Says why an object key has no counterpart in a name-based checkpoint, or None if it has."""
    if key in _NO_VARIABLE:
        return _NO_VARIABLE[key]
    if not is_variable_key(key) and parse_key(key).attribute in _PYTHON_STATE:
        return "the Python state of an object; a name-based checkpoint has none"
    return None


def _with_scopes(names: dict[str, str], graph_names: Mapping[str, str]) -> dict[str, str]:
    """Takes the full names where these only put scopes before the names from the keys.

    An object that holds its own `kernel` and `bias`, as a layer does, is no container of names.
    """
    full = {key: graph_names.get(key, name) for key, name in names.items()}
    extend = all(f"/{full[key]}".endswith(f"/{name}") for key, name in names.items())
    return full if extend and not _clashes(full) else names


def _state_name(key: ObjectKey) -> str:
    """Names what is saved of an object that is no variable: a table's keys, an iterator's state."""
    path, attribute = key
    name = "/".join(path[1:] or path)
    if attribute.startswith(_TABLE):  # a table `t` is saved by name as `t-keys` and `t-values`
        return f"{name}-{attribute[len(_TABLE) :]}"
    return f"{name}/{attribute}"


def _clashes(names: Mapping[str, str]) -> list[str]:
    if len(set(names.values())) == len(names):
        return []
    return sorted(name for name, count in Counter(names.values()).items() if count > 1)
