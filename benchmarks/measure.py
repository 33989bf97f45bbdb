"""What the suites share: processes of their own, pairs, quantities, tables.

    run = measure.in_own_process("convert", "guide", source, target)
    measure.ratio(plain_runs, our_runs, "seconds")

A task is a function of a suite's module; it takes text and returns what JSON can hold.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
MEGABYTE = 2**20
Run = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Table:
    """One table of docs/benchmarks.md.

    Attributes:
      title: what is compared.
      note: how to read it, in a sentence or two.
      columns: their names.
      rows: a cell is text, or a Quantity.
      runs: every measurement behind a row, by the row's first cells.
      measures: what of it stands in the first table of the page.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = dataclasses.field(default_factory=list)
    runs: dict[str, list[Run]] = dataclasses.field(default_factory=dict)
    measures: list[Measure] = dataclasses.field(default_factory=list)

    def markdown(self) -> str:
        lines = [f"**{self.title}.** {self.note}", ""]
        lines += [f"| {' | '.join(self.columns)} |", "|---" * len(self.columns) + "|"]
        lines += [f"| {' | '.join(map(str, row))} |" for row in self.rows]
        return "\n".join(lines) + "\n"


@dataclasses.dataclass(frozen=True)
class Measure:
    """A row of the first table: what somebody waits for, and what that can be compared with.

    Attributes:
      name: what is measured, and of how much.
      took: a time or a size.
      of: what `ratio` is of; "" where the measurement itself is what counts.
      ratio: how much of that it is, or None.
      wanted: what the ratio (without one: the measurement) should be at most, or None.
      limit: the least that the machine needs for it, measured in the same run, or None.
      limit_of: what that is, such as "a copy in memory".
    """

    name: str
    took: Quantity
    of: str = ""
    ratio: Quantity | None = None
    wanted: Quantity | None = None
    limit: Quantity | None = None
    limit_of: str = ""


def measured(
    name: str,
    runs: Sequence[Run],
    *,
    of: tuple[str, Sequence[Run]] | None = None,
    wanted: float | None = None,
    limit: tuple[str, Sequence[Run]] | None = None,
    key: str = "seconds",
) -> Measure:
    """Makes a measure of runs, and of those that took turns with them.

    Args:
      name: as in Measure.
      runs: the measurements.
      of: what they are compared with, and its runs.
      wanted: the most that is wanted, of the ratio if there is `of`, else in seconds or bytes.
      limit: what the limit is, and its runs.
      key: what of a run counts; "memory" and "written" are bytes, all else are seconds.
    """
    unit = size if key in ("memory", "written") else seconds
    most = None if wanted is None else share(wanted) if of else unit(wanted)
    return Measure(
        name,
        unit(median(runs, key)),
        of[0] if of else "",
        share(ratio(runs, of[1], key)) if of else None,
        most,
        unit(median(limit[1], key)) if limit else None,
        limit[0] if limit else "",
    )


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A number, and how it reads."""

    value: float
    text: str

    def __str__(self) -> str:
        return self.text


def seconds(value: float) -> Quantity:
    """A time, with three digits that count."""
    for unit, scale in (("s", 1), ("ms", 1e3)):
        if value * scale >= 1:
            return Quantity(value, f"{_digits(value * scale)} {unit}")
    return Quantity(value, f"{_digits(value * 1e6)} µs")


def size(value: float) -> Quantity:
    """A number of bytes, with a unit."""
    for unit, scale in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if value >= scale:
            return Quantity(value, f"{_digits(value / scale)} {unit}")
    return Quantity(value, f"{value:.0f} B")


def times(value: float) -> Quantity:
    """How many times faster."""
    return Quantity(value, f"{_digits(value)} x")


def per_second(value: float) -> Quantity:
    """How often a second."""
    return Quantity(value, f"{value:.1f}")


def share(value: float) -> Quantity:
    """A part of what the other takes."""
    return Quantity(value, f"{value:.2f}")


def _digits(value: float) -> str:
    places = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{places}f}"


def megabytes(count: int) -> str:
    return f"{count} MB" if count < 1024 else f"{count // 1024} GB"


def median(runs: Sequence[Run], name: str = "seconds") -> float:
    return statistics.median(run[name] for run in runs)


def ratio(above: Sequence[Run], below: Sequence[Run], name: str = "seconds") -> float:
    """The median of the ratios, pair by pair."""
    return statistics.median(one[name] / other[name] for one, other in zip(above, below))


def timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def load() -> None:
    """Loads what the first call in a process would: time counts from after the imports."""
    import google.protobuf.text_format  # noqa: F401

    from estimator_ckpt.bundle import checksums, protos

    _ = protos.BundleHeaderProto
    checksums.extend(0, b"")


def processor_time() -> float:
    """Returns the seconds that processors have worked for this process and those it waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def peak_memory() -> int:
    """Returns the most memory that this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def in_turn(count: int, ways: dict[str, Callable[[], Run]]) -> dict[str, list[Run]]:
    """Measures several ways in turn, so that a machine that slows down does so for all of them."""
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for number in range(count):
        names = list(ways)
        for name in names if number % 2 == 0 else names[::-1]:
            runs[name].append(ways[name]())
    return runs


def processes_in_turn(count: int, ways: dict[str, tuple[Any, ...]]) -> dict[str, list[Run]]:
    """As `in_turn`, of tasks in processes of their own: (suite, task, arguments...)."""
    calls = {name: functools.partial(in_own_process, *way) for name, way in ways.items()}
    return in_turn(count, calls)


def in_own_process(suite: str, task: str, *arguments: object) -> Any:
    """Runs a task, which is a function of a suite, in a new process; returns what it returns."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--task", suite, task, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(f"{suite}.{task}{arguments} failed: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def environment() -> dict[str, str]:
    """The environment of a measurement: this checkout, and TensorFlow without a word."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **quiet, "PYTHONPATH": os.pathsep.join(paths)}


def machine() -> dict[str, Any]:
    """What the numbers are of."""
    import importlib.metadata

    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory": memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "tensorflow": importlib.metadata.version("tensorflow"),
        "busy": os.getloadavg()[0],
    }


def memory() -> int:
    """Returns the machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _processor() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def new_files(folder: str) -> Iterator[os.stat_result]:
    """The files below a folder, each of several links once."""
    seen = set()
    for path in pathlib.Path(folder).rglob("*"):
        found = path.stat()
        if path.is_file() and found.st_ino not in seen:
            seen.add(found.st_ino)
            yield found


def make_checkpoint(prefix: str, variables: str, megabytes: str = "0") -> None:
    """Writes a name-based checkpoint of so many variables and the step (a task)."""
    import numpy as np
    import tensorflow as tf

    count = int(variables)
    elements = max(1, int(megabytes) * MEGABYTE // count // 4)
    value = tf.constant(np.random.default_rng(0).random(elements, np.float32))
    names = [f"layer_{number // 100}/kernel_{number}" for number in range(count)]
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=[*names, "global_step"],
        shape_and_slices=[""] * (count + 1),
        tensors=[value] * count + [np.int64(1000)],
    )
