"""Many model_dirs: workers beside one worker.

The store is a local server of S3 in a process of its own, each of whose answers waits 20 ms. So the
suite needs what the tests need, too: moto[server] and obstore.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks import measure
from benchmarks.measure import ROOT, Table

LATENCY = 0.02
_BUCKETS = 32  # in turn: moto looks at a whole bucket for a listing, and fails if it changes
THREADS, PROCESSES = 16, 2
# Kinds of model_dirs, which take turns: checkpoints, variables of each, bytes of each variable.
KINDS = [(1, 10, 64), (5, 10, 64), (2, 100, 256), (5, 100, 64), (1, 400, 1024), (3, 400, 64)]


def kind_of(number: int | str) -> tuple[int, int, int]:
    """Returns of what kind the model_dir of a number is."""
    return KINDS[int(str(number)[-6:]) % len(KINDS)]


def fill(folder: str, first: int, count: int, *, simple: bool) -> list[str]:
    """Makes so many model_dirs: all of two small checkpoints, or of all kinds in turn."""
    import fleets

    os.makedirs(folder, exist_ok=True)
    paths = []
    with tempfile.TemporaryDirectory() as made:
        for number in range(first, first + count):
            checkpoints, variables, size = (2, 10, 64) if simple else kind_of(number)
            one = f"{made}/{checkpoints}-{variables}-{size}"
            if not os.path.exists(one):
                fleets.job(one, steps=range(1, checkpoints + 1), variables=variables, bytes=size)
            paths.append(shutil.copytree(one, f"{folder}/job{number:06d}"))
    return paths


def converted(workers: str, source: str, target: str, *paths: str) -> measure.Run:
    """Converts all (a task), of a folder; or with these names, of the buckets with these URLs."""
    from estimator_ckpt import convert_many

    if paths:
        urls = source.split()
        given = [
            (f"{urls[_bucket(name)]}/jobs/{name}", f"{urls[_bucket(name)]}/{target}/{name}")
            for name in paths
        ]
    else:
        given = [(f"{source}/{name}", f"{target}/{name}") for name in sorted(os.listdir(source))]
    rows: list[Any] = []
    seconds = measure.timed(
        lambda: rows.extend(convert_many(given, to="tf2", workers=int(workers)).rows)
    )
    if {row.status for row in rows} != {"done"}:
        raise RuntimeError(str([row for row in rows if row.status != "done"][:1]))
    return {"seconds": seconds, **{f"row {row.model_dir[-9:]}": row.seconds for row in rows}}


class Served:
    """A server in another process, with one bucket."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process
        told = self.ask("start")
        self.urls: list[str] = told["urls"]
        self.environment: dict[str, str] = told["environment"]

    def ask(self, *words: object) -> Any:
        """Sends a command and returns the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def served() -> Iterator[Served]:
    """Starts the server, and has its address in the environment meanwhile."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fleet"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=measure.environment(),
        cwd=ROOT,
    ) as process:
        before = dict(os.environ)
        try:
            server = Served(process)
            os.environ.update(server.environment)
            yield server
        finally:
            os.environ.clear()
            os.environ.update(before)
            process.terminate()


def serve() -> None:
    """What that process does: reads commands, a line each."""
    import stores

    with stores.s3_server() as server, contextlib.ExitStack() as stack:
        made = [stack.enter_context(server.new_store()) for _ in range(_BUCKETS)]
        for line in sys.stdin:
            command, *words = json.loads(line)
            answer: Any = {}
            if command == "start":
                answer = {"urls": [store.url for store in made], "environment": server.environment}
            elif command == "fill":
                with tempfile.TemporaryDirectory() as folder:
                    fill(folder, words[0], words[1], simple=words[2])
                    for path in filter(pathlib.Path.is_file, pathlib.Path(folder).rglob("*")):
                        store = made[_bucket(path.parent.name)]
                        store.put(f"jobs/{path.relative_to(folder)}", path.read_bytes())
            elif command == "log":
                answer = [
                    (each.method, each.key, bool(each.copy_source), each.received, each.sent)
                    for store in made
                    for each in store.log
                ]
                for store in made:
                    store.log.clear()
            for store in made:
                store.latency = LATENCY
            print(json.dumps(answer), flush=True)


def _bucket(name: str) -> int:
    return int(name[-6:]) % _BUCKETS


def names(first: int, count: int) -> list[str]:
    return [f"job{number:06d}" for number in range(first, first + count)]


def speedups(quick: bool, folder: str, server: Served) -> Table:
    """One worker, and many."""
    table = Table(
        "workers",
        "Small model_dirs of two checkpoints, converted; `times` is the median of the pairs.",
        ("where", "model_dirs", "one worker", "workers", "so many workers", "times"),
    )
    count, runs = (200, 1) if quick else (2000, 1)
    fill(f"{folder}/small", 0, count, simple=True)
    found: dict[int, list[measure.Run]] = {1: [], PROCESSES: []}
    for number in range(runs):
        for workers in found:
            target = f"{folder}/out-{number}-{workers}"
            found[workers].append(
                measure.in_own_process("fleet", "converted", workers, f"{folder}/small", target)
            )
            shutil.rmtree(target)
    _enter(table, "local disk, processes", count, found)
    count, runs = (32, 1) if quick else (96, 2)
    server.ask("fill", 0, count, True)
    found = {1: [], THREADS: []}
    for number in range(runs):
        for workers in found:
            target = f"out-{number}-{workers}"
            found[workers].append(
                measure.in_own_process(
                    "fleet",
                    "converted",
                    workers,
                    " ".join(server.urls),
                    target,
                    *names(0, count),
                )
            )
    _enter(table, f"S3 at {1000 * LATENCY:.0f} ms, threads", count, found)
    server.ask("log")
    return table


def _enter(table: Table, where: str, count: int, found: dict[int, list[measure.Run]]) -> None:
    one, many = found
    table.rows.append(
        (
            where,
            f"{count:,}",
            measure.seconds(measure.median(found[one])),
            many,
            measure.seconds(measure.median(found[many])),
            measure.times(measure.ratio(found[one], found[many])),
        )
    )
    for workers, runs in found.items():
        table.runs[f"{where}, {workers}"] = [{"seconds": run["seconds"]} for run in runs]


def tables(quick: bool) -> Iterator[Table]:
    with tempfile.TemporaryDirectory(prefix="benchmarks_") as folder, served() as server:
        yield speedups(quick, folder, server)


sys.path.insert(0, str(ROOT / "tests" / "support"))
if __name__ == "__main__":
    serve()
