"""Processes that are forked from one that has TensorFlow loaded, as to load it takes seconds.

    process = forks.CONTEXT.Process(target=function, args=(1, 2), daemon=True)

All that fork have the same one of these, whatever they run, so that it is loaded once.
"""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

CONTEXT: Any = multiprocessing.get_context("forkserver") if hasattr(os, "fork") else None
"""As `multiprocessing` itself, which it is a part of; None where there is no fork."""
if CONTEXT is not None:
    CONTEXT.set_forkserver_preload(["jobs", "stores", "scenarios", "moto"])
