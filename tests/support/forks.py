"""Processes that are forked from one that has TensorFlow loaded, as to load it takes seconds.

    process = forks.context().Process(target=function, args=(1, 2), daemon=True)

All that fork have the same one of these, whatever they run, so that it is loaded once.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
from typing import Any

_LOADED = ["jobs", "stores", "scenarios", "moto"]
_ENVIRONMENT = dict(os.environ)  # and not what the first test that forks has set


@functools.cache
def context() -> Any:
    """Returns what makes them, with all that `multiprocessing` itself has.

    Raises:
      ImportError: this system has none.
    """
    from multiprocessing import forkserver

    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(_LOADED)
    # Its server looks for modules where Python does by itself, and passes over what it can't find.
    path = os.pathsep.join(filter(None, sys.path))
    before = dict(os.environ)
    try:
        _replace_environment({**_ENVIRONMENT, "PYTHONPATH": path})
        forkserver.ensure_running()
    finally:
        _replace_environment(before)
    return forks


def _replace_environment(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def begin(environment: dict[str, str]) -> None:
    """Gives a process that was forked its environment."""
    missing = [name for name in _LOADED if name not in sys.modules]
    assert not missing, f"the process that this one is forked from has not loaded {missing}"
    _replace_environment(environment)
