"""Where the variables of a Keras model are in Keras' own files: `layers/dense/vars/0`.

    LiveObjects(model).keras.of_key["layer/kernel/.ATTRIBUTES/VARIABLE_VALUE"]

Keras itself tells it: its own walk over the model saves into a store that only takes notes. That
walk is not public, nor is the list of all layers; what is noted is compared with what the variables
hold. Nothing is written, and nothing of the model changes.
"""

from __future__ import annotations

import functools
import importlib
import posixpath
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.naming.correspondence import Match
from estimator_ckpt.naming.matcher import NamedShape
from estimator_ckpt.naming.paths import is_place

_METRICS = "metrics/"
_ROOTS = ("keras", "tf_keras")


class Place(NamedTuple):
    """A variable, or what Keras 3 has for one, and its place in a file of Keras."""

    place: str
    variable: Any


class KerasPlaces:
    """Where the variables of a Keras model are in Keras' own files."""

    def __init__(
        self,
        objects: Iterable[Any],
        key_of: Callable[[Any], str | None],
        is_of_optimizer: Callable[[str], bool],
    ):
        """Looks for the model.

        Args:
          objects: that TensorFlow tracks, the root first; the first model among them is taken.
          key_of: returns under which key TensorFlow saves a variable; None if it doesn't.
          is_of_optimizer: returns whether the variable of a key is an optimizer's.
        """
        self._objects = list(objects)
        self._key_of = key_of
        self._is_of_optimizer = is_of_optimizer
        self.model: Any = next(filter(_is_model, self._objects), None)
        """The model; None if there is none."""

    @functools.cached_property
    def _saved(self) -> list[tuple[Place, str | None]]:
        found = [] if self.model is None else places_of(self.model, self._objects)
        return [(each, self._key_of(each.variable)) for each in found]

    @functools.cached_property
    def of_key(self) -> Mapping[str, str]:
        """{key: place}, of what both TensorFlow and Keras save."""
        return {key: each.place for each, key in self._saved if key is not None}

    @functools.cached_property
    def beyond(self) -> Mapping[str, Any]:
        """{place: variable}, of what only Keras saves: layers in plain lists, in Keras 3."""
        return {each.place: each.variable for each, key in self._saved if key is None}

    def matches(self, offered: Collection[str]) -> dict[str, Match]:
        """Finds what is called as its place; {key: match}.

        As Keras does it, an optimizer's values are taken if there are as many as here.

        Args:
          offered: names in a checkpoint.
        """
        if not any(map(is_place, offered)):
            return {}
        scopes = {key: posixpath.dirname(place) for key, place in self.of_key.items()}
        ours = Counter(scopes.values())
        theirs = Counter(map(posixpath.dirname, offered))
        return {
            key: Match(place)
            for key, place in self.of_key.items()
            if place in offered
            if not self._is_of_optimizer(key) or ours[scopes[key]] == theirs[scopes[key]]
        }

    def matches_beyond(self, offered: Collection[str]) -> dict[str, Any]:
        """Returns {place: variable}, of what is called so and only Keras saves."""
        if not any(map(is_place, offered)):
            return {}
        return {place: each for place, each in self.beyond.items() if place in offered}


def without_metrics(rows: Iterable[NamedShape]) -> list[NamedShape]:
    """Returns what is no metric: Keras 2 saves those in its files, and TensorFlow does not."""
    return [row for row in rows if not row.name.startswith(_METRICS)]


def _is_model(held: Any) -> bool:
    """Returns whether an object is a model of Keras 2 or 3."""
    return any(
        each.__name__ == "Model" and each.__module__.partition(".")[0] in _ROOTS
        for each in type(held).__mro__
    )


def places_of(model: Any, objects: Iterable[Any]) -> list[Place]:
    """Finds the place of each variable that Keras saves of a model.

    Args:
      model: of Keras 2 or 3.
      objects: that TensorFlow tracks below it, besides its layers.

    Returns:
      The places. A layer that saves its variables otherwise than they are has none.

    Raises:
      CheckpointArgumentError: this version of Keras is another one than this knows.
    """
    saving = _saving_of(model)
    known = {id(each): each for each in (*objects, *model._flatten_layers())}
    store: Any = _notes(saving.H5IOStore)()
    visited = _Visited(store, known)
    try:
        saving._save_state(model, store, None, "", visited)
    except (AttributeError, TypeError) as error:
        raise CheckpointArgumentError(
            f"how {saving.__name__} saves a model is not known here ({error}); give the variables "
            "by their names: {name: variable}"
        ) from error
    return visited.places


def _saving_of(model: Any) -> Any:
    """Returns the module by which the Keras that made a model saves it."""
    made_by = [each.__module__ for each in type(model).__mro__ if each.__name__ == "Model"]
    root = made_by[-1].partition(".")[0]
    for name in (f"{root}.src.saving.saving_lib", f"{root}.saving.saving_lib"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise CheckpointArgumentError(f"the package {root} has no saving_lib that is known here")


def _notes(store: type) -> type:
    """Returns a class of stores that take notes; Keras 3 takes only those of its own class."""

    class _Notes(store):
        def __init__(self) -> None:
            self.path = ""
            self.held: dict[str, Any] = {}

        def __bool__(self) -> bool:
            return True

        def make(self, path: str, metadata: Any = None) -> Any:
            self.path, self.held = path, {}
            return self

        def __setitem__(self, key: str, value: Any) -> None:
            self.held[key] = value

        def __len__(self) -> int:
            return len(self.held)

        def keys(self) -> Any:
            return self.held.keys()

        def close(self) -> None:
            pass

        def __del__(self) -> None:
            pass

    return _Notes


class _Visited(set):  # type: ignore[type-arg]
    """What Keras adds an object to once it has saved it."""

    def __init__(self, store: Any, known: dict[int, Any]):
        super().__init__()
        self.places: list[Place] = []
        self._store, self._known = store, known

    def add(self, number: int) -> None:
        """Takes down where the variables of an object are."""
        super().add(number)
        saved, self._store.held = self._store.held, {}
        held = self._known.get(number)
        if saved and held is not None:
            for key, variable in _variables(held, saved).items():
                place = posixpath.join(self._store.path, "vars", key)
                self.places.append(Place(place, variable))


def _variables(held: Any, saved: dict[str, Any]) -> dict[str, Any]:
    """Returns which variable of an object each thing is that was saved of it."""
    own = {
        id(each): each
        for name in ("variables", "weights", "_trainable_weights", "_non_trainable_weights")
        for each in _listed(getattr(held, name, ()))
    }
    found = {key: value for key, value in saved.items() if id(value) in own}
    rest = {key: value for key, value in saved.items() if key not in found}
    for names in (("variables",), ("_trainable_weights", "_non_trainable_weights")):
        in_order = [each for name in names for each in _listed(getattr(held, name, ()))]
        if len(in_order) == len(rest) and all(map(_is_value_of, rest.values(), in_order)):
            return {**found, **dict(zip(rest, in_order))}
    for key, value in rest.items():
        alike = [each for each in own.values() if _is_value_of(value, each)]
        if len(alike) == 1:
            found[key] = alike[0]
    return found


def _listed(held: Any) -> list[Any]:
    found = held() if callable(held) else held  # optimizers of old have a method
    return list(found) if isinstance(found, (list, tuple)) else []


def _is_value_of(saved: Any, variable: Any) -> bool:
    """Returns whether a variable holds, bit for bit, what was saved."""
    value, own = np.asarray(saved), np.asarray(variable)
    same = (value.shape, value.dtype) == (own.shape, own.dtype)
    return same and value.tobytes() == own.tobytes()
