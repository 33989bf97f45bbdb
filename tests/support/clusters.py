"""Clusters of real processes on 127.0.0.1, each of which runs a function of a test module.

    with cluster(task, "dual", folder=folder, sizes={"chief": 1, "ps": 2}) as processes:
        processes.start()
        processes.wait(["chief"])

The function finds its place in TF_CONFIG. It takes text and is found again by its name in its file.
"""

from __future__ import annotations

import inspect
import os
import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from estimator_ckpt.examples.local_cluster import LocalCluster

_CALL = (
    "import runpy, sys; module = runpy.run_path(sys.argv[1], run_name='scenario'); "
    "module[sys.argv[2]](*sys.argv[3:])"
)


def cluster(
    function: Callable,
    *arguments: str,
    folder: pathlib.Path,
    sizes: Mapping[str, int],
    evaluator: bool = False,
    time_limit: int = 300,
) -> LocalCluster:
    """A cluster whose processes call a function; their output goes below `folder`."""
    command = [sys.executable, "-c", _CALL, str(inspect.getsourcefile(function))]
    return LocalCluster(
        sizes,
        [*command, function.__name__, *arguments],
        folder / "logs",
        evaluator=evaluator,
        environment={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        time_limit=time_limit,
    )


def wait_until(condition: Callable[[], Any], timeout: float = 180) -> None:
    """Waits for something that another process does."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("another process did not do in time what it should")
        time.sleep(0.05)
