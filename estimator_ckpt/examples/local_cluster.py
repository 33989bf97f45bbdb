r"""Runs a job of `estimator_ckpt.train` as a cluster of processes on this machine.

    python -m estimator_ckpt.examples.local_cluster --flagfile=configs/digits_cluster.flags

starts a chief, a worker, two parameter servers and an evaluator, all with these same flags; which
is which, `TF_CONFIG` tells them. It waits for them, shows what the chief and the evaluator had to
say, and ends what is left, the parameter servers. Its own flags:

    --workers=1 --ps=2       how many of each
    --logs=runs/cluster      the folder of the processes' output, one file each
    --time_limit=600         seconds after which everything is ended
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

EVALUATOR = "evaluator"
_ADDRESS = "127.0.0.1"
_PORTS = range(10_240, 32_768)
"""Below those that systems give to connections: Linux from 32768, macOS and Windows from 49152."""
_PAUSE = 0.1
_TAIL = 2000
_HELP = ("h", "help", "helpshort", "helpfull", "helpxml", "help-short", "help-full")
"""What jobs by absl flags take for a question, with one dash or two."""


class LocalCluster:
    """Processes on 127.0.0.1 that TF_CONFIG makes a cluster; none outlives the `with` block.

        with LocalCluster({"chief": 1, "worker": 1, "ps": 2}, command, "logs") as cluster:
            cluster.start()
            cluster.wait(["chief", "worker:0"])

    A task is called `worker:0`, or `chief` if there is only one of its kind by nature.

    Attributes:
      tasks: the names of all tasks, the evaluator's last.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        command: Sequence[str],
        logs: str | os.PathLike[str],
        *,
        evaluator: bool = False,
        environment: Mapping[str, str] | None = None,
        time_limit: int = 600,
    ):
        """Chooses free ports; starts nothing.

        Args:
          sizes: how many tasks of each kind the cluster has.
          command: what each process runs.
          logs: a folder, which is made. Each task's output goes to `<task>.log` in it.
          evaluator: whether there is an evaluator beside the cluster.
          environment: the processes' environment; this one's by default.
          time_limit: seconds after which a process ends by itself, even if nobody is there to
            end it.
        """
        count = sum(sizes.values())
        ports = iter(free_ports(count))
        self._addresses = {
            kind: [f"{_ADDRESS}:{next(ports)}" for _ in range(size)] for kind, size in sizes.items()
        }
        self._numbers = {
            _task_name(kind, number): (kind, number)
            for kind, size in sizes.items()
            for number in range(size)
        }
        if evaluator:
            self._numbers[EVALUATOR] = (EVALUATOR, 0)
        self.tasks = tuple(self._numbers)
        self._command = list(command)
        self._logs = pathlib.Path(logs)
        self._environment = dict(os.environ if environment is None else environment)
        self._time_limit = time_limit
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill(self._processes)

    def start(self, tasks: Iterable[str] | None = None) -> None:
        """Starts tasks, all by default; one that has ended is started again."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for task in self.tasks if tasks is None else tasks:
            running = self._processes.get(task)
            if running is not None and running.poll() is None:
                raise ValueError(f"{task} is running already")
            environment = {**self._environment, "TF_CONFIG": self.tf_config(task)}
            self._processes[task] = self._launch(environment, self.log(task))

    def _launch(self, environment: dict[str, str], path: pathlib.Path) -> subprocess.Popen[bytes]:
        """Starts a process whose output goes to the end of a file."""
        with open(path, "ab") as log:
            return subprocess.Popen(
                self._command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C ends this process, which ends those
                preexec_fn=lambda: signal.alarm(self._time_limit),
            )

    def tf_config(self, task: str) -> str:
        """Returns the TF_CONFIG of a task."""
        kind, number = self._numbers[task]
        place = {"type": kind, "index": number}
        return json.dumps({"cluster": self._addresses, "task": place})

    def log(self, task: str) -> pathlib.Path:
        """Returns the file of a task's output."""
        return self._logs / f"{task.replace(':', '-')}.log"

    def wait(self, tasks: Iterable[str], timeout: float | None = None) -> dict[str, int]:
        """Waits until these tasks have ended, or any task has failed.

        Args:
          tasks: what to wait for.
          timeout: seconds; the cluster's time limit by default.

        Returns:
          Their exit codes.

        Raises:
          TaskFailedError: a task ended with another code than 0.
          TimeoutError: some are still running.
        """
        tasks = list(tasks)
        deadline = time.monotonic() + (self._time_limit if timeout is None else timeout)
        while True:
            codes = self.exit_codes()
            for task, code in codes.items():
                if code:
                    raise TaskFailedError(task, code, self.output(task))
            if all(task in codes for task in tasks):
                return {task: codes[task] for task in tasks}
            if time.monotonic() > deadline:
                running = ", ".join(task for task in tasks if task not in codes)
                raise TimeoutError(f"still running: {running}; see {self._logs}")
            time.sleep(_PAUSE)

    def exit_codes(self) -> dict[str, int]:
        """Returns the exit code of each task that has ended."""
        codes = {task: process.poll() for task, process in self._processes.items()}
        return {task: code for task, code in codes.items() if code is not None}

    def output(self, task: str) -> str:
        """Returns what a task has written so far."""
        return self.log(task).read_text(encoding="utf-8", errors="replace")

    def kill(self, tasks: Iterable[str]) -> None:
        """Ends tasks at once (SIGKILL), those that are running; they then count as not started."""
        ended = [self._processes.pop(task) for task in list(tasks) if task in self._processes]
        for process in ended:
            if process.poll() is None:
                self._end(process)
        for process in ended:
            process.wait()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Ends a process that runs, and what it has started: each has a group of its own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


class TaskFailedError(Exception):
    """A process of the cluster failed."""

    def __init__(self, task: str, code: int, output: str):
        super().__init__(f"{task} ended with code {code}:\n{output[-_TAIL:]}")
        self.task = task


def free_ports(count: int) -> list[int]:
    """Returns different ports of 127.0.0.1 that nobody listens on now.

    Until a process listens there, nobody is given them: no system hands these out by itself.

    Raises:
      OSError: there are not so many.
    """
    free: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        if len(free) == count:
            return free
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind((_ADDRESS, port))
            free.append(port)
    raise OSError(errno.EADDRNOTAVAIL, f"there are no {count} free ports in {_PORTS}", _ADDRESS)


def _task_name(kind: str, number: int) -> str:
    return kind if kind == "chief" else f"{kind}:{number}"


def main(arguments: Sequence[str]) -> int:
    """Runs the cluster that the command line describes; returns the exit code."""
    parser = _parser()
    if any(each.lstrip("-") in _HELP for each in arguments if each.startswith("-")):
        parser.print_help()
        return 0
    own, job_flags = parser.parse_known_args(arguments)
    sizes = {"chief": 1, "worker": own.workers, "ps": own.ps}
    cluster = LocalCluster(
        {kind: size for kind, size in sizes.items() if size},
        [sys.executable, "-m", "estimator_ckpt.train", *job_flags],
        own.logs,
        evaluator=True,
        time_limit=own.time_limit,
    )
    signal.signal(signal.SIGTERM, _end)
    waited_for = [task for task in cluster.tasks if not task.startswith("ps:")]
    for task in cluster.tasks:
        cluster.log(task).unlink(missing_ok=True)
    try:
        with cluster:
            cluster.start()
            print(f"started {', '.join(cluster.tasks)}; their output is in {own.logs}", flush=True)
            cluster.wait(waited_for)
    except (TaskFailedError, TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for task in ("chief", EVALUATOR):
        print(f"{task}: {cluster.output(task).strip()}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m estimator_ckpt.examples.local_cluster",
        description="Runs a job of estimator_ckpt.train as a cluster of processes here.",
        epilog="All other arguments are flags for each process (estimator_ckpt.train --help).",
        allow_abbrev=False,
    )
    parser.add_argument("--workers", type=int, default=1, help="workers beside the chief")
    parser.add_argument("--ps", type=int, default=2, help="parameter servers")
    parser.add_argument("--logs", default="runs/cluster", help="folder of the processes' output")
    parser.add_argument(
        "--time_limit", "--time-limit", type=int, default=600, help="seconds until all is ended"
    )
    return parser


def _end(number: int, frame: Any) -> None:
    del number, frame
    sys.exit(1)  # through the `with` block that ends the processes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
