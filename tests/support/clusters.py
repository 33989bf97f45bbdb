"""Clusters of real processes on 127.0.0.1, each of which runs a function of a test module.

    with cluster(task, "dual", folder=folder, sizes={"chief": 1, "ps": 2}) as processes:
        processes.start()
        processes.wait(["chief"])

The function finds its place in TF_CONFIG. It takes text and is found again by its name in its file.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import pathlib
import runpy
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import forks

from estimator_ckpt.examples.local_cluster import LocalCluster


def cluster(
    function: Callable,
    *arguments: str,
    folder: pathlib.Path,
    sizes: Mapping[str, int],
    evaluator: bool = False,
    time_limit: int = 900,
) -> LocalCluster:
    """A cluster whose processes call a function; their output goes below `folder`."""
    return _Forked(
        sizes,
        [str(inspect.getsourcefile(function)), function.__name__, *arguments],
        folder / "logs",
        evaluator=evaluator,
        time_limit=time_limit,
    )


class _Forked(LocalCluster):
    """A cluster whose command is a function: its file, its name and its arguments."""

    def _launch(self, environment: dict[str, str], path: pathlib.Path) -> Any:
        return _Process(self._command, environment, path, self._time_limit)

    def _end(self, process: Any) -> None:
        process.kill()


class _Process:
    """A task, with what `LocalCluster` asks of a process."""

    def __init__(
        self, command: list[str], environment: dict[str, str], path: pathlib.Path, time_limit: int
    ):
        arguments = (command, environment, str(path), time_limit)
        self._process = forks.context().Process(target=_call, args=arguments, daemon=True)
        self._process.start()

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()  # it may not have come to have a group of its own

    def wait(self) -> None:
        self._process.join()


def _call(command: list[str], environment: dict[str, str], path: str, time_limit: int) -> None:
    """What runs in a task's process."""
    os.setsid()
    signal.alarm(time_limit)
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for output in (1, 2):
        os.dup2(log, output)
    forks.begin(environment)
    file, function, *arguments = command
    runpy.run_path(file, run_name="scenario")[function](*arguments)


def wait_until(condition: Callable[[], Any], timeout: float = 600) -> None:
    """Waits for something that another process does."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("another process did not do in time what it should")
        time.sleep(0.05)
