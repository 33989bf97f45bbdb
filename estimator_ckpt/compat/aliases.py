"""Makes tensorflow-estimator importable by its old names, where TensorFlow lacks Estimators.

    supply_aliases()
    import tensorflow.compat.v1.estimator.inputs      # is tf.compat.v1.estimator.inputs
    from tensorflow.estimator import RunConfig        # is tf.estimator.RunConfig
    from tensorflow.python.estimator import gc        # is tensorflow_estimator.python.estimator.gc

An alias is the module itself under one more name, never a second copy: a class is the same one
whichever way it was imported, and pickles by the name that it has on every TensorFlow.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Sequence
from types import ModuleType

_HOME = "tensorflow_estimator.python.estimator"
_PRIVATE = "tensorflow.python.estimator"
_TPU = "tensorflow.python.tpu."
_TPU_MODULES = ("error_handling", "tpu_config", "tpu_context", "tpu_estimator", "util")
_RENAMED = {f"{_PRIVATE}.keras": f"{_HOME}.keras_lib"}
_API = re.compile(r"(tensorflow(?:(?:\._api\.v2)?(?:\.compat\.v[12])+)?)\.estimator((?:\.\w+)*)")


def supply_aliases() -> None:
    """Adds the names, which TensorFlow must lack; may be called again."""
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        # Before all others, as these would find a submodule in the folder of the module that has
        # the alias, and load it once more.
        sys.meta_path.insert(0, _AliasFinder())


def api_module(version: str) -> str:
    """Returns the module that is `tf.estimator` ("v2") or `tf.compat.v1.estimator` ("v1")."""
    return f"{_HOME}.api._{version}.estimator"


def api_version(module: str) -> str:
    """Returns which API belongs into a module such as "tensorflow.compat.v1", "v1" or "v2"."""
    return "v1" if module.endswith(".v1") else "v2"


def api_parents() -> list[tuple[ModuleType, str]]:
    """Returns the loaded modules that have `estimator` on TensorFlow 2.15, with its version."""
    return [
        (module, api_version(name))
        for name, module in list(sys.modules.items())
        if module is not None and _API.fullmatch(f"{name}.estimator")
    ]


def aliased(name: str) -> str | None:
    """Returns the module that an old name stands for, or None if it is no such name."""
    if name in _RENAMED:
        return _RENAMED[name]
    if name == _PRIVATE or name.startswith(f"{_PRIVATE}."):
        return _HOME + name[len(_PRIVATE) :]
    if name.startswith(_TPU) and name[len(_TPU) :] in _TPU_MODULES:
        return f"{_HOME}.tpu.{name[len(_TPU) :]}"
    found = _API.fullmatch(name)
    return api_module(api_version(found[1])) + found[2] if found else None


class _AliasFinder(importlib.abc.MetaPathFinder):
    """Finds modules by their old names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns a spec that leads to the module itself, if there is one."""
        real = aliased(fullname)
        found = importlib.util.find_spec(real) if real is not None else None
        if real is None or found is None:
            return None
        is_package = found.submodule_search_locations is not None
        spec = importlib.machinery.ModuleSpec(
            fullname, _AliasLoader(real), origin=found.origin, is_package=is_package
        )
        if is_package:
            spec.submodule_search_locations = found.submodule_search_locations
        return spec


class _AliasLoader(importlib.abc.Loader):
    """Gives out a module that has another name of its own."""

    def __init__(self, real: str) -> None:
        self._real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Imports the module by its own name."""
        module = importlib.import_module(self._real)
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leaves the module as it is: with its own spec, in the place of which Python put ours."""
        module.__spec__ = self._own_spec
