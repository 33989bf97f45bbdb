"""Move TensorFlow Estimator jobs from name-based (TF1) to object-based (TF2) checkpoints.

    import estimator_ckpt

    estimator = tf.estimator.Estimator(estimator_ckpt.wrap_model_fn(model_fn), "model_dir")
    estimator_ckpt.convert("model_dir", "tf1/model.ckpt", to="tf1")

Names are resolved when they are first used: importing the package loads neither TensorFlow nor
tf.estimator, and what needs no Estimator never does. `__init__.pyi` lists them.
"""

from __future__ import annotations

import importlib
import os
import re
from types import FunctionType
from typing import Any

from estimator_ckpt._version import __version__ as __version__


def _modules_by_name() -> dict[str, str]:
    """Reads from the stub beside this file which module has which public name."""
    with open(os.path.splitext(__file__)[0] + ".pyi", encoding="utf-8") as file:
        stub = file.read()
    found = re.findall(r"^from (\S+) import (?:\(\s*)?(\w+) as", stub, re.MULTILINE)
    return {name: module for module, name in found}


_MODULES = _modules_by_name()
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    try:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        from estimator_ckpt.compat.installing import how_to_install
        from estimator_ckpt.errors import EstimatorUnavailableError

        if (remedy := how_to_install(error.name or "")) is None:
            raise

        raise EstimatorUnavailableError(
            f"{__name__}.{name} needs the module '{error.name}', which is not installed: {remedy}"
        ) from error
    if isinstance(value, FunctionType):
        from estimator_ckpt.autograph import not_converted

        not_converted(value)  # by AutoGraph, where a model_fn calls it
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
