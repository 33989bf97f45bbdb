"""Keras 3 on JAX or PyTorch: its variables take values through numpy.

    variables = by_path(model)            # {variable.path: variable}; of TensorFlow, `model` itself
    ForeignVariable(variables["net/dense/kernel"]).assign(value)

TensorFlow tracks none of their objects, so that all goes by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.live.keras_places import KerasPlaces


class ForeignVariable:
    """A `keras.Variable` of another backend, as far as restoring needs a `tf.Variable`."""

    def __init__(self, variable: Any):
        self._variable = variable
        self.shape = tf.TensorShape(variable.shape)
        self.dtype = tf.as_dtype(variable.dtype)

    def assign(self, value: Any) -> None:
        """Sets the value, a tensor or an array of the variable's shape and type."""
        self._variable.assign(np.asarray(value))

    def numpy(self) -> np.ndarray:
        """Returns the value."""
        return np.asarray(self._variable.numpy())


def is_foreign(held: Any) -> bool:
    """Returns whether something is a variable of Keras 3 on another backend."""
    return _is_untracked(held) and hasattr(held, "path") and hasattr(held, "assign")


def by_path(target: Any, offered: Collection[str] = ()) -> Any:
    """Returns {path: variable} of a model, layer or optimizer of Keras that no TensorFlow tracks.

    Args:
      target: whatever is to be restored; what is none of these is returned as it is. Of a model
        that is compiled, the variables of its optimizer are among them.
      offered: names in a checkpoint. What is called there by its place in Keras' own files is
        called so instead.

    Raises:
      CheckpointArgumentError: it has no variables yet, or two have the same path.
    """
    if not _is_untracked(target):
        return target
    found: dict[str, Any] = {}
    for variable in _variables(target):
        if found.setdefault(variable.path, variable) is not variable:
            raise CheckpointArgumentError(
                f"two variables of the {type(target).__name__} have the path '{variable.path}', "
                "and on this backend of Keras variables are told by their paths: give "
                "{name: variable}"
            )
    if not found:
        raise CheckpointArgumentError(
            f"the {type(target).__name__} has no variables yet: build it first, by calling it on "
            "an input"
        )
    optimizer = getattr(target, "optimizer", None)
    paths = {id(variable): path for path, variable in found.items()}
    slots = {id(each) for each in getattr(optimizer, "variables", ())}
    places = KerasPlaces(
        [target, optimizer],
        lambda variable: paths.get(id(variable)),
        lambda path: id(found[path]) in slots,
    ).matches(offered)
    return {
        places[path].name if path in places else path: variable for path, variable in found.items()
    }


def _is_untracked(held: Any) -> bool:
    is_of_keras = any(each.__module__.partition(".")[0] == "keras" for each in type(held).__mro__)
    return is_of_keras and not hasattr(held, "_trackable_children")


def _variables(target: Any) -> Iterator[Any]:
    yield from target.weights if hasattr(target, "weights") else getattr(target, "variables", ())
    optimizer = getattr(target, "optimizer", None)
    if optimizer is not None:
        yield from optimizer.variables
