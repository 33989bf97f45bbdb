"""What can be run on inputs and compared: a TF1 model_fn, a SavedModel, a Keras model, arrays.

    side = make_side((model_fn, "old_job"))
    run = side.run(inputs, {})
    run.outputs["logits"], run.layers

Inputs are {name: array}; a single one need not be called as the side calls it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from estimator_ckpt import compat
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.messages import choices, listed

ONE_INPUT = ""
"""The name of an input that is given as an array."""
_KERAS = ("keras", "tf_keras")
_CANDIDATES = 32  # so many tensors of one scope are fetched, the last ones


@dataclass(frozen=True)
class SideRun:
    """What a side gives.

    Attributes:
      outputs: {name: array}.
      layers: {layer: {tensor: array}}, where a side can look into itself: a functional Keras model
        at each layer's output, a model_fn at what is asked for.
      is_list: whether the outputs are a list, whose places mean more than the names.
    """

    outputs: Mapping[str, Any]
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    is_list: bool = False


@dataclass(frozen=True)
class Side:
    """Something to run.

    Attributes:
      title: how reports call it.
      run: takes {name: array} and {layer: array of the other side}; returns a `SideRun`.
      inputs: {name: `tf.TensorSpec`} where it is known what it takes, else None.
      needs_layers: whether it only shows the layers that it is asked for.
    """

    title: str
    run: Callable[[Mapping[str, Any], Mapping[str, Any]], SideRun]
    inputs: Mapping[str, Any] | None = None
    needs_layers: bool = False


def make_side(given: Any) -> Side:
    """Makes a side of what users have.

    Args:
      given: a Keras 2 or 3 model; another callable that takes the inputs; the path of a SavedModel,
        or (path, signature); (model_fn, checkpoint) or (model_fn, checkpoint, params); {name:
        array}, outputs that are known.

    Raises:
      CheckpointArgumentError: it is none of these, or the SavedModel has no such signature.
    """
    if isinstance(given, Side):
        return given
    if isinstance(given, Mapping):
        return Side("given outputs", lambda inputs, layers: SideRun(_arrays(given)))
    if isinstance(given, (str, os.PathLike)):
        return _saved_model_side(os.fspath(given), "serving_default")
    if isinstance(given, Sequence) and given and isinstance(given[0], (str, os.PathLike)):
        return _saved_model_side(os.fspath(given[0]), *given[1:])
    if isinstance(given, Sequence) and len(given) in (2, 3) and callable(given[0]):
        return _model_fn_side(*given)
    if callable(given):
        return _callable_side(given)
    raise CheckpointArgumentError(
        f"a {type(given).__name__} can't be run; give a Keras model, a SavedModel's path, "
        "(model_fn, checkpoint), or {name: array}"
    )


def _arrays(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(value) for name, value in values.items()}


def _fitted(inputs: Mapping[str, Any], names: Sequence[str], title: str) -> dict[str, Any]:
    """Returns the inputs by the names that a side has for them."""
    if len(inputs) == len(names) == 1:
        return {names[0]: next(iter(inputs.values()))}
    if missing := [name for name in names if name not in inputs]:
        raise CheckpointArgumentError(
            f"{title} takes {listed(names)}, and the inputs have {listed(inputs)}: "
            f"they lack {listed(missing)}"
        )
    return {name: inputs[name] for name in names}


def _returned(
    value: Any, names: Sequence[str] = (), layers: Mapping[str, Mapping[str, Any]] | None = None
) -> SideRun:
    """What a model returns: called by its keys, else by names, else by numbers."""
    if isinstance(value, Mapping):
        return SideRun(_arrays(value), layers or {})
    is_list = isinstance(value, (list, tuple))
    values = list(value) if is_list else [value]
    if len(names) != len(values):
        names = [f"output_{number}" for number in range(len(values))]
    return SideRun(_arrays(dict(zip(names, values))), layers or {}, is_list)


def _saved_model_side(path: str, signature: str = "serving_default") -> Side:
    import tensorflow as tf

    if not tf.saved_model.contains_saved_model(path):
        raise CheckpointArgumentError(f"'{path}' is no SavedModel")
    loaded = tf.saved_model.load(path)
    if signature not in loaded.signatures:
        raise CheckpointArgumentError(
            f"'{path}' has no signature '{signature}'; it has {choices(loaded.signatures)}"
        )
    function = loaded.signatures[signature]
    specs = function.structured_input_signature[1]
    title = f"{path} ({signature})"

    def run(inputs: Mapping[str, Any], layers: Mapping[str, Any]) -> SideRun:
        fitted = _fitted(inputs, list(specs), title)
        given = {name: tf.constant(value, specs[name].dtype) for name, value in fitted.items()}
        assert loaded is not None  # it owns the variables of its functions
        return SideRun(_arrays(function(**given)))

    return Side(title, run, specs)


def _callable_side(model: Any) -> Side:
    title = str(getattr(model, "name", "") or type(model).__name__)
    symbolic = list(getattr(model, "inputs", None) or ())
    if not symbolic:
        return Side(title, lambda inputs, layers: _returned(_called(model, inputs)))
    import tensorflow as tf

    names = [str(each.name).partition(":")[0] for each in symbolic]
    specs = {name: tf.TensorSpec(each.shape, each.dtype) for name, each in zip(names, symbolic)}
    inside = _insides(model)

    def run(inputs: Mapping[str, Any], layers: Mapping[str, Any]) -> SideRun:
        fitted = _fitted(inputs, names, title)
        found = _called(inside, fitted)
        value = found.pop(ONE_INPUT)
        single = {name: each for name, each in found.items() if hasattr(each, "shape")}
        seen = {name: {name: np.asarray(each)} for name, each in single.items()}
        return _returned(value, _made_by(model.outputs), seen)

    return Side(title, run, specs)


def _insides(model: Any) -> Any:
    """A model of the same layers that gives {layer: output}, and the model's outputs under ""."""
    # A Sequential model of Keras 3 has only the plural ones.
    outputs = {ONE_INPUT: getattr(model, "output", model.outputs)}
    for layer in model.layers:
        try:
            outputs.setdefault(layer.name, layer.output)
        except (AttributeError, ValueError):  # no output, or several, as of a shared layer
            continue
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.input
    return _keras_of(model).Model(inputs, outputs)


def _made_by(outputs: Sequence[Any]) -> list[str]:
    """The layers that made some outputs, whose names these have in Keras; none if one made two."""
    names = [str(each._keras_history[0].name) for each in outputs]
    return names if len(set(names)) == len(names) else []


def _keras_of(model: Any) -> Any:
    """The Keras that a model is of: there may be two in one process."""
    packages = [each.__module__.partition(".")[0] for each in type(model).__mro__]
    return importlib.import_module(next(name for name in packages if name in _KERAS))


def _called(model: Any, inputs: Mapping[str, Any]) -> Any:
    """Calls a model, or any function, as for inference."""
    given = dict(inputs) if len(inputs) > 1 else next(iter(inputs.values()))
    return model(given, training=False) if hasattr(model, "layers") else model(given)


def _model_fn_side(model_fn: Callable[..., Any], checkpoint: Any, params: Any = None) -> Side:
    title = f"{getattr(model_fn, '__name__', 'model_fn')} with {os.fspath(checkpoint)}"

    def run(inputs: Mapping[str, Any], layers: Mapping[str, Any]) -> SideRun:
        compat.install()
        with tempfile.TemporaryDirectory() as folder, _keras_2_kept():
            return _run_model_fn(model_fn, os.fspath(checkpoint), params, folder, inputs, layers)

    return Side(title, run, needs_layers=True)


@contextlib.contextmanager
def _keras_2_kept() -> Iterator[None]:
    """Keeps the layers of Keras 2 usable: one made in a graph turns all of its class into v1's."""
    import tensorflow as tf

    kept = {each: each.__bases__ for each in _below(tf.keras.layers.Layer)}
    try:
        yield
    finally:
        for each, bases in kept.items():
            if each.__bases__ != bases:
                each.__bases__ = bases


def _below(base: type[Any]) -> Iterator[type[Any]]:
    for each in base.__subclasses__():
        yield each
        yield from _below(each)


def _run_model_fn(
    model_fn: Callable[..., Any],
    checkpoint: str,
    params: Any,
    folder: str,
    inputs: Mapping[str, Any],
    layers: Mapping[str, Any],
) -> SideRun:
    """Does what `Estimator.predict` does, with a checkpoint of any format."""
    import tensorflow as tf

    from estimator_ckpt import describe, wrap_model_fn

    tf1 = tf.compat.v1
    estimator = tf.estimator.Estimator(wrap_model_fn(model_fn), folder, params=params)
    with tf.Graph().as_default() as graph:
        tf1.train.create_global_step()
        fed = {
            name: tf1.placeholder(value.dtype, [None, *value.shape[1:]] if value.ndim else [])
            for name, value in inputs.items()
        }
        features = fed[ONE_INPUT] if ONE_INPUT in fed else dict(fed)
        predict = tf.estimator.ModeKeys.PREDICT
        spec = estimator.model_fn(features, None, predict, estimator.config)
        fetched = {name: _tensors_of(graph, name, value) for name, value in layers.items()}
        creator = tf1.train.ChiefSessionCreator(
            spec.scaffold, checkpoint_filename_with_path=describe(checkpoint).prefix
        )
        with tf1.train.MonitoredSession(creator) as session:
            feed = {fed[name]: value for name, value in inputs.items()}
            outputs, inside = session.run([spec.predictions, fetched], feed)
    return _returned(outputs, ["predictions"], inside)


def _tensors_of(graph: Any, layer: str, like: Any) -> dict[str, Any]:
    """{name: tensor} of what may be the output of a layer: in its scope, of the shape of `like`."""
    found = {}
    for operation in graph.get_operations():
        scopes = f"/{operation.name}".rpartition("/")[0] + "/"
        if scopes.endswith(f"/{layer}/") or f"/{layer}/" in scopes:
            for tensor in operation.outputs:
                if tensor.dtype.is_floating and tensor.shape.is_compatible_with(like.shape):
                    found[tensor.op.name] = tensor
    # Those that don't depend on the batch are parameters: variables and what is read of them.
    usable = {name: each for name, each in found.items() if _has_batch(each)}
    return dict(list(usable.items())[-_CANDIDATES:])


def _has_batch(tensor: Any) -> bool:
    return tensor.shape.rank is None or (tensor.shape.rank > 0 and tensor.shape[0] is None)
