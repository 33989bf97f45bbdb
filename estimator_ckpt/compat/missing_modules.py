"""Supplies the modules that tensorflow-estimator imports and that TensorFlow 2.16 removed.

`supply_missing_modules()` adds a finder behind all others, so that what exists always wins, and an
entry for Estimators beside TensorFlow's own in the tables of its export decorators. Nothing that
TensorFlow has is replaced.

What distributes Estimators over devices and processes is written anew, in `estimator_training`.
What drives a TPU is not: it is there by name, for tensorflow-estimator to import, and says so when
it is used. `TPUEstimator(use_tpu=False)` needs none of it.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from estimator_ckpt.errors import EstimatorUnavailableError

_TRAINING = "tensorflow.python.distribute.estimator_training"

# The names that tensorflow-estimator 2.15.0 takes from each.
_TPU_FUNCTIONS = {
    "tensorflow.python.tpu.session_support": ("start_worker_watchdog",),
    "tensorflow.python.tpu.tpu_embedding_gradient": (
        "create_dummy_table_variables",
        "get_gradients_through_dummy_table_variables",
        "hook_dummy_table_variables_to_activations",
    ),
    "tensorflow.python.tpu.tpu_embedding": (),
}
_TPU_CLASSES = {
    "tensorflow.python.tpu.session_support": (
        "GracefulShutdownHook",
        "ResetComputation",
        "ShutdownAllWorkers",
        "ShutdownLameWorkers",
    ),
    "tensorflow.python.tpu.tpu_embedding_gradient": (),
    "tensorflow.python.tpu.tpu_embedding": (
        "AdagradParameters",
        "AdagradSlotVariableNames",
        "AdamParameters",
        "AdamSlotVariableNames",
        "EnqueueData",
        "FeatureConfig",
        "FtrlParameters",
        "FtrlSlotVariableNames",
        "MomentumParameters",
        "MomentumSlotVariableNames",
        "ProximalAdagradParameters",
        "ProximalAdagradSlotVariableNames",
        "RMSPropParameters",
        "RMSPropSlotVariableNames",
        "StochasticGradientDescentParameters",
        "TPUEmbedding",
        "TableConfig",
    ),
}
_TPU_CONSTANTS = {"TRAINING": "training", "INFERENCE": "inference"}


def supply_missing_modules() -> None:
    """Makes the missing modules importable, and the export decorator for Estimators usable."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
    _complete_export_tables(importlib.import_module("tensorflow.python.util.tf_export"))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the missing modules; it is asked last, for what nobody else has found."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns where a module comes from, if it is one of those that are missing."""
        del path, target
        if fullname != _TRAINING and fullname not in _TPU_CLASSES:
            return None
        return importlib.machinery.ModuleSpec(fullname, _Loader(), origin=__name__)


class _Loader(importlib.abc.Loader):
    """Fills a missing module."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Leaves it to Python to make the empty module."""

    def exec_module(self, module: ModuleType) -> None:
        """Gives the module its names."""
        name = module.__name__
        if name == _TRAINING:
            ours = importlib.import_module("estimator_ckpt.compat.estimator_training")
            vars(module).update({each: getattr(ours, each) for each in ours.__all__})
            return
        for each in _TPU_FUNCTIONS[name]:
            setattr(module, each, _unavailable_function(each))
        for each in _TPU_CLASSES[name]:
            setattr(module, each, _unavailable_class(each, name))
        if "TPUEmbedding" in _TPU_CLASSES[name]:
            vars(module).update(_TPU_CONSTANTS)


def _unavailable_function(name: str) -> Any:
    def function(*arguments: Any, **named_arguments: Any) -> NoReturn:
        raise _unavailable(name)

    function.__name__ = function.__qualname__ = name
    return function


def _unavailable_class(name: str, module: str) -> type:
    def refuse(cls: type, *arguments: Any, **named_arguments: Any) -> NoReturn:
        raise _unavailable(name)

    return type(name, (), {"__new__": refuse, "__module__": module})


def _unavailable(name: str) -> EstimatorUnavailableError:
    return EstimatorUnavailableError(
        f"{name} drives a TPU, which TPUEstimator can't do on this TensorFlow any more: use "
        "TensorFlow 2.15, or use_tpu=False without an embedding_config_spec"
    )


def _complete_export_tables(tf_export: Any) -> None:
    """Adds Estimators to the names of APIs, each with the attributes that its symbols are given."""
    if hasattr(tf_export, "ESTIMATOR_API_NAME"):
        return
    tf_export.ESTIMATOR_API_NAME = "estimator"
    for table, suffix in ((tf_export.API_ATTRS, ""), (tf_export.API_ATTRS_V1, "_v1")):
        attributes = type(table[tf_export.TENSORFLOW_API_NAME])
        table["estimator"] = attributes(
            f"_estimator_api_names{suffix}", f"_estimator_api_constants{suffix}"
        )
