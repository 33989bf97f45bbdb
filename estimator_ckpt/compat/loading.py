"""Finds or loads the Estimator API: TensorFlow's own, or tensorflow-estimator's.

    load_api("v2")      # what tf.estimator is
    install()           # tf.estimator and tf.compat.v1.estimator

Each thing that can be in the way is told in one sentence that says what to do.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator
from typing import Any

from estimator_ckpt.compat.aliases import api_module, api_parents, supply_aliases
from estimator_ckpt.compat.installing import LAST_ESTIMATOR, how_to_install
from estimator_ckpt.compat.missing_modules import supply_missing_modules
from estimator_ckpt.errors import EstimatorUnavailableError
from estimator_ckpt.messages import logger

_log = logger(__name__)
_INPUT_HOOK = "CheckpointInputPipelineHook"  # it went with tf.estimator
_LEGACY_KERAS = "TF_USE_LEGACY_KERAS"
_TRUE = ("1", "true", "True")  # what TensorFlow takes for true
_KERAS_NAMES = ("keras", "layers", "losses", "metrics", "optimizers", "initializers")


def load_api(version: str) -> Any:
    """Returns the API of `tf.estimator` ("v2") or of `tf.compat.v1.estimator` ("v1").

    Raises:
      EstimatorUnavailableError: a package is missing or has an unsuitable version, or `tf.keras` is
        Keras 3 in this process already.
    """
    tensorflow = _import_tensorflow()
    _require("tensorflow_estimator")
    parent = tensorflow if version == "v2" else tensorflow.compat.v1
    if hasattr(parent, "estimator"):
        return parent.estimator
    _require_version()
    _require_keras_2(tensorflow)
    supply_missing_modules()
    with _own_classes_left_alone():
        return importlib.import_module(api_module(version))


def install() -> None:
    """Puts `tf.estimator` and `tf.compat.v1.estimator` back where TensorFlow lacks them."""
    tensorflow = _import_tensorflow()
    apis = {version: load_api(version) for version in ("v1", "v2")}
    if _has_its_own_estimator(tensorflow):
        return
    # Each is a module of its own, or becomes one when it is imported by its name.
    for name in ("tensorflow.compat.v1", "tensorflow.compat.v2"):
        importlib.import_module(name)
    supply_aliases()
    for parent, version in api_parents():
        if not hasattr(parent, "estimator"):
            setattr(parent, "estimator", apis[version])  # noqa: B010
    for parent in (tensorflow, tensorflow.compat.v2, tensorflow.compat.v1):
        if not hasattr(parent.data.experimental, _INPUT_HOOK):
            module = importlib.import_module("estimator_ckpt.compat.input_pipeline")
            setattr(parent.data.experimental, _INPUT_HOOK, getattr(module, _INPUT_HOOK))


def _import_tensorflow() -> Any:
    """Imports TensorFlow, which reads TF_USE_LEGACY_KERAS to see which Keras to load with it."""
    spec = None
    if sys.modules.get("tensorflow") is None:
        spec = _require("tensorflow")
    if spec is not None and spec.origin is not None and _is_without_estimator(spec.origin):
        _prefer_keras_2()
    return importlib.import_module("tensorflow")


def _has_its_own_estimator(tensorflow: Any) -> bool:
    return not _is_without_estimator(tensorflow.__file__)


def _is_without_estimator(init_file: str) -> bool:
    """Returns whether the TensorFlow of this `__init__.py` lacks what Estimators need of it."""
    module = os.path.join(os.path.dirname(init_file), "python/distribute/estimator_training.py")
    return not os.path.exists(module)


def _prefer_keras_2() -> bool:
    """Chooses Keras 2 for `tf.keras`, unless the user has chosen; returns whether it is Keras 2."""
    if os.environ.get(_LEGACY_KERAS, "1") not in _TRUE:
        return False
    _require("tf_keras")
    os.environ.setdefault(_LEGACY_KERAS, "1")
    return True


def _require(module: str) -> Any:
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise EstimatorUnavailableError(
            f"Estimators need the module '{module}', which is not installed: "
            f"{how_to_install(module)}"
        )
    return spec


def _require_version() -> None:
    try:
        version = importlib.metadata.version("tensorflow-estimator")
    except importlib.metadata.PackageNotFoundError:
        return  # built into something else; it may work
    if not version.startswith(f"2.{LAST_ESTIMATOR}."):
        raise EstimatorUnavailableError(
            f"tensorflow-estimator {version} is installed, and a TensorFlow without tf.estimator "
            f"needs the last one: {how_to_install('tensorflow_estimator')}"
        )


def _require_keras_2(tensorflow: Any) -> None:
    if not _prefer_keras_2():
        _log.warning(
            "%s=%s: with Keras 3, canned estimators and tf.compat.v1.layers fail",
            _LEGACY_KERAS,
            os.environ[_LEGACY_KERAS],
        )
        return
    loaded = [
        f"{prefix}.{name}"
        for prefix, parent in (("tf", tensorflow), ("tf.compat.v1", tensorflow.compat.v1))
        for name in _KERAS_NAMES
        if _is_keras_3(getattr(parent, name, None))
    ]
    if loaded:
        raise EstimatorUnavailableError(
            f"{', '.join(loaded)} is Keras 3 in this process already, and Estimators are made for "
            "Keras 2: set TF_USE_LEGACY_KERAS=1 in the environment, or import "
            "estimator_ckpt.compat's estimator, or call its install(), before anything else "
            "uses tf.keras"
        )


def _is_keras_3(module: Any) -> bool:
    """Returns whether a module is one of Keras 3.

    TensorFlow's are lazy: one that has not been used yet has no name, and asking it for one as
    usual would load it.
    """
    name = vars(module).get("__name__", "") if module is not None else ""
    return isinstance(name, str) and name.startswith("keras._tf_keras")


@contextlib.contextmanager
def _own_classes_left_alone() -> Iterator[None]:
    """Keeps an import of tensorflow-estimator from changing TensorFlow's own classes.

    It exports TensorFlow's hooks (`tf.estimator.StopAtStepHook` is
    `tf.compat.v1.train.StopAtStepHook`), and what it exports it wraps as deprecated, in place:
    everybody's hooks would warn from then on that they are to be replaced by Keras.
    """
    # Not public: there is no other way to tell it not to.
    deprecation: Any = importlib.import_module("tensorflow.python.util.deprecation")
    deprecated = deprecation.deprecated

    def deprecated_if_not_tensorflows(*arguments: Any, **options: Any) -> Any:
        decorate = deprecated(*arguments, **options)

        def decorate_others(target: Any) -> Any:
            is_tensorflows = target.__module__.startswith("tensorflow.")
            return target if is_tensorflows else decorate(target)

        return decorate_others

    deprecation.deprecated = deprecated_if_not_tensorflows
    try:
        yield
    finally:
        deprecation.deprecated = deprecated
