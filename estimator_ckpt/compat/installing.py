"""Says what to type where a package is missing that jobs need, for the TensorFlow that is here.

    how_to_install("tf_keras")      # pip install "tf-keras==2.18.*"

What is typed never replaces that TensorFlow.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys

LAST_ESTIMATOR = 15
"""tensorflow-estimator 2.N.0 is for TensorFlow 2.N, up to this one; the last is for all later."""
_DISTRIBUTIONS = (
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-intel",
    "tensorflow-macos",
    "tensorflow-rocm",
    "tensorflow-cpu-aws",
)


def how_to_install(module: str) -> str | None:
    """Returns the line that installs a module of those that jobs need; None for any other one."""
    if module == "tensorflow":
        return "pip install tensorflow"
    if module not in ("tensorflow_estimator", "tf_keras"):
        return None
    name, minor = _tensorflow()
    if module == "tensorflow_estimator":
        version = min(minor or LAST_ESTIMATOR, LAST_ESTIMATOR)
        return f"pip install --no-deps tensorflow-estimator==2.{version}.0"
    if minor is None:
        return 'pip install --no-deps "tf-keras==2.N.*", where TensorFlow is 2.N'
    # It depends on the package tensorflow, which would be installed over any other build.
    return f'pip install {"" if name == "tensorflow" else "--no-deps "}"tf-keras==2.{minor}.*"'


def _tensorflow() -> tuple[str | None, int | None]:
    """Returns by what name TensorFlow 2.N is installed, and N; each as far as it can be told."""
    loaded = getattr(sys.modules.get("tensorflow"), "__version__", None)
    for name in _DISTRIBUTIONS:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if loaded in (None, version):
            return name, _minor(version)
    return None, _minor(loaded or "")


def _minor(version: str) -> int | None:
    found = re.match(r"2\.(\d+)", version)
    return int(found[1]) if found else None
