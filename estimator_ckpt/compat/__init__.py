"""The `tf.estimator` API on TensorFlow 2.12 to 2.21, of which 2.16 and later have no own one.

    from estimator_ckpt.compat import estimator       # in the place of tf.estimator

    from estimator_ckpt import compat                  # or, for code that says tf.estimator,
    compat.install()

    python -m estimator_ckpt.compat job.py --its=flags # or without touching the code at all

Importing this module imports nothing; the API is loaded when it is first used. `estimator_v1` is
what `tf.compat.v1.estimator` is. Before `tf.keras` is used for the first time, either sets
TF_USE_LEGACY_KERAS=1 where TensorFlow lacks Estimators, as these are made for Keras 2.
"""

from __future__ import annotations

import importlib
from typing import Any

_APIS = {"estimator": "v2", "estimator_v1": "v1"}
__all__ = ["estimator", "estimator_v1", "install"]

estimator: Any
estimator_v1: Any


def __getattr__(name: str) -> Any:
    if name not in _APIS:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = _loading().load_api(_APIS[name])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def install() -> None:
    """Puts `tf.estimator` and `tf.compat.v1.estimator` back where TensorFlow lacks them.

    With them comes `tf.data.experimental.CheckpointInputPipelineHook`, which needs an Estimator.
    Call it before anything uses `tf.keras` or these names. It may be called again, and does nothing
    on a TensorFlow that has them.

    Raises:
      EstimatorUnavailableError: a package is missing or has an unsuitable version, or `tf.keras` is
        Keras 3 in this process already; the message says what to do.
    """
    _loading().install()


def _loading() -> Any:
    return importlib.import_module(f"{__name__}.loading")
