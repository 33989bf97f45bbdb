"""Measures what the docs claim, beside the plain way to do the same.

    python -m benchmarks                                   # all of it, about half an hour
    python -m benchmarks --quick                           # smaller, in some minutes
    python -m benchmarks --only=convert,saving --json=results.json
    python -m benchmarks --json=results.json --page=docs/benchmarks.md   # puts the tables there,
                                                           # and their numbers into the docs
    python -m benchmarks --from=results.json --page=docs/benchmarks.md   # those of an earlier run
    python -m benchmarks --compare before.json after.json  # two runs, number by number; or pages

Each suite is a module here with a function `tables(quick)`; what it measures are functions of the
same module, run in processes of their own. Its tables have measures, which are the first table.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import pathlib
import sys
import time
from typing import Any

from benchmarks import measure, pages, sentences

SUITES = (
    "saving",
    "async_save",
    "unchanged",
    "restoring",
    "warm_start",
    "convert",
    "many",
    "tools",
    "imports",
    "checksums",
    "training",
    "matching",
)
OTHERS = ("fleet", "fleet_costs")
"""Those that run when they are asked for: their tables are in pages of their own."""


def run(suites: list[str], quick: bool, target: pathlib.Path | None = None) -> dict[str, Any]:
    """Runs suites, says when each is done, and returns all that was measured.

    What was measured so far is written to `target` after each suite.
    """
    started = time.perf_counter()
    results: dict[str, Any] = {"machine": measure.machine(), "quick": quick, "tables": []}
    results["suites"] = {}
    for name in suites:
        begun = time.perf_counter(), measure.processor_time()
        for table in importlib.import_module(f"benchmarks.{name}").tables(quick):
            results["tables"].append(
                {"suite": name, "text": table.markdown(), **dataclasses.asdict(table)}
            )
        results["seconds"] = time.perf_counter() - started
        seconds, busy = time.perf_counter() - begun[0], measure.processor_time() - begun[1]
        results["suites"][name] = {"seconds": seconds, "processor": busy}
        print(f"{name}: {seconds:.0f} s, {busy:.0f} s of processors", file=sys.stderr, flush=True)
        if target:
            target.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="smaller checkpoints, fewer runs")
    parser.add_argument("--only", default=",".join(SUITES), help="suites, separated by commas")
    parser.add_argument("--json", type=pathlib.Path, help="write all measurements to this file")
    parser.add_argument("--page", type=pathlib.Path, help="put the tables into this page")
    parser.add_argument("--from", dest="earlier", type=pathlib.Path, help="take an earlier --json")
    parser.add_argument(
        "--compare",
        nargs=2,
        type=pathlib.Path,
        metavar=("BEFORE", "AFTER"),
        help="print the numbers of two --json, or pages, side by side",
    )
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        suite, task, *rest = arguments.task
        found = getattr(importlib.import_module(f"benchmarks.{suite}"), task)(*rest)
        return print("\n" + json.dumps(found))
    if arguments.compare:
        return print(pages.compared(*map(pages.read, arguments.compare)))
    if arguments.earlier:
        results = pages.read(arguments.earlier)
    else:
        suites = arguments.only.split(",")
        unknown = sorted(set(suites) - {*SUITES, *OTHERS})
        if unknown:
            parser.error(
                f"no suite is called {unknown[0]!r}; there are {', '.join((*SUITES, *OTHERS))}"
            )
        results = run(suites, arguments.quick, arguments.json)
        print(pages.page(results))
        for each in pages.missed(results):
            print(f"not reached: {each}", file=sys.stderr)
    if arguments.page:
        pages.put_into(arguments.page, results)
        if arguments.page.resolve() == sentences.PAGE:
            sentences.renew()


if __name__ == "__main__":
    main()
