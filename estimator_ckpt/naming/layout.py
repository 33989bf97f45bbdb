"""Which object holds which variable, and which name each object has.

    layout = Layout()                      # Checkpoint(var_list={name: variable}, step=step)
    layout.key("global_step")              # step/.ATTRIBUTES/VARIABLE_VALUE
    variable_names(keys, read_names)       # the way back: {key: name}

A name-based checkpoint has names only; what they become is decided here and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from estimator_ckpt.errors import CheckpointArgumentError, NameClashError
from estimator_ckpt.naming.object_graph import OBJECT_GRAPH_KEY, Leaf, build_object_graph
from estimator_ckpt.naming.paths import (
    VARIABLE_VALUE,
    ObjectKey,
    container_and_name,
    is_object_key,
    is_slot_key,
    parse_key,
    variable_key,
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

    def object_graph(self, names: Iterable[str], *, save_counter: bool) -> bytes:
        """Builds the object graph for variables of these names.

        Args:
          names: of the variables, the global step's among them.
          save_counter: whether the checkpoint has a value for `save_counter`. Its node is there in
            any case: without it, `restore(...).assert_consumed()` would fail.

        Returns:
          The serialized `TrackableObjectGraph`.
        """
        leaves = [Leaf(self.path(name), name, self.key(name)) for name in names]
        leaves.sort(key=lambda leaf: leaf.path[0])  # as tf.train.Checkpoint sorts its attributes
        counter = SAVE_COUNTER_KEY if save_counter else ""
        leaves.append(Leaf((SAVE_COUNTER,), SAVE_COUNTER, counter))
        return build_object_graph(leaves)


def layout_of(keys: Iterable[str]) -> Layout | None:
    """Finds the layout that gave a checkpoint its object keys.

    Args:
      keys: all keys of the checkpoint; name-based ones don't count.

    Returns:
      The layout, or None if the variables are not all held by name in one container.
    """
    container, step = None, None
    for key in keys:
        if not is_object_key(key) or key == SAVE_COUNTER_KEY:
            continue
        path, attribute = parse_key(key)
        if attribute != VARIABLE_VALUE or len(path) > 2 or is_slot_key(key):
            return None
        if len(path) == 1 and step in (None, path[0]):
            step = path[0]
        elif len(path) == 2 and container in (None, path[0]) and not path[1].isdigit():
            container = path[0]
        else:
            return None
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


def variable_names(
    keys: Iterable[str], read_graph_names: Callable[[], Mapping[str, str]]
) -> dict[str, str]:
    """Finds the name-based name of each object key.

    Names come from the keys where these are like those of `Checkpoint(var_list={name: v})`, with
    the scopes that the full names in the object graph put before them; or else from the full names
    alone: from the first that gives each key its own.

    Args:
      keys: object keys.
      read_graph_names: returns {key: full name}, from the object graph; called only if needed.

    Returns:
      {key: name}, in the order of `keys`; without `save_counter` and without what isn't a tensor
      of a variable or a table (the Python state of objects).

    Raises:
      NameClashError: neither gives each key a name of its own.
    """
    variables: list[str] = []
    by_key: dict[str, str] = {}
    containers: set[str] = set()
    state: dict[str, str] = {}
    for key in keys:
        held = container_and_name(key)
        if held is not None:
            variables.append(key)
            containers.add(held[0])
            if not held[1].isdigit():  # a list's items are called 0, 1, ...: positions, not names
                by_key[key] = held[1]
        elif key not in _NO_VARIABLE:
            parsed = parse_key(key)
            if parsed.attribute == VARIABLE_VALUE:
                variables.append(key)
                if parsed.path == (_STEP,):
                    by_key[key] = GLOBAL_STEP
            elif parsed.attribute not in _PYTHON_STATE:
                state[key] = _state_name(parsed)
    if len(by_key) == len(variables) and len(containers) <= 1:
        if not containers <= _HOLD_BY_NAME:
            by_key = _with_scopes(by_key, read_graph_names())
        by_key.update(state)
        if not _clashes(by_key):
            return by_key
    step_key = variable_key(_STEP)
    graph_names = read_graph_names()
    by_graph = {key: graph_names[key] for key in variables if key in graph_names}
    if step_key in variables:
        by_graph[step_key] = GLOBAL_STEP
    nameless = [key for key in variables if key not in by_graph]
    by_graph.update(state)
    clashes = _clashes(by_graph)
    if not nameless and not clashes:
        return by_graph
    raise NameClashError(_no_names(by_graph, nameless, clashes))


def why_unnamed(key: str) -> str | None:
    """Says why an object key has no counterpart in a name-based checkpoint, or None if it has."""
    if key in _NO_VARIABLE:
        return _NO_VARIABLE[key]
    if parse_key(key).attribute in _PYTHON_STATE:
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


def _no_names(names: Mapping[str, str], nameless: list[str], clashes: list[str]) -> str:
    if clashes:
        keys = [key for key, name in names.items() if name == clashes[0]]
        found = f"the name '{clashes[0]}' would belong to {len(keys)} tensors: {', '.join(keys)}"
    else:
        found = f"{len(nameless)} tensors have no name, the first is '{nameless[0]}'"
    return (
        f"the keys are not of the form CONTAINER/NAME, and by the object graph's full names "
        f"{found}; "
        "a name-based checkpoint needs one name for each: load it into the objects that it was "
        "saved from and save Checkpoint(var_list={name: variable}) instead"
    )
