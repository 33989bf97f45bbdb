"""Measures what the docs claim, beside the plain way to do the same.

    python -m benchmarks                                   # all of it, a quarter of an hour
    python -m benchmarks --quick                           # smaller, in two minutes
    python -m benchmarks --only=convert,saving --json=results.json
    python -m benchmarks --json=results.json --page=docs/benchmarks.md   # puts the tables there
    python -m benchmarks --from=results.json --page=docs/benchmarks.md   # those of an earlier run

Each suite is a module here with a function `tables(quick)`; what it measures are functions of the
same module, run in processes of their own.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import pathlib
import re
import sys
import time
from typing import Any

from benchmarks import measure

SUITES = (
    "convert",
    "saving",
    "async_save",
    "restoring",
    "warm_start",
    "training",
    "tools",
    "checksums",
    "imports",
    "many",
    "matching",
)
OTHERS = ("fleet", "fleet_costs")
"""Those that run when they are asked for: their tables are in pages of their own."""
_BEGIN, _END = "<!-- benchmarks: begin -->\n", "<!-- benchmarks: end -->\n"
_BLOCK = re.compile(re.escape(_BEGIN) + ".*?" + re.escape(_END), re.DOTALL)


def run(suites: list[str], quick: bool) -> dict[str, Any]:
    """Runs suites, prints their tables as they come, and returns all that was measured."""
    started = time.perf_counter()
    results: dict[str, Any] = {"machine": measure.machine(), "quick": quick, "tables": []}
    for name in suites:
        for table in importlib.import_module(f"benchmarks.{name}").tables(quick):
            print(table.markdown(), flush=True)
            results["tables"].append(
                {"suite": name, "text": table.markdown(), **dataclasses.asdict(table)}
            )
    results["seconds"] = time.perf_counter() - started
    return results


def described(results: dict[str, Any]) -> str:
    """Says what machine the numbers are of."""
    machine = results["machine"]
    memory = measure.size(machine["memory"])
    command = "python -m benchmarks" + (" --quick" if results["quick"] else "")
    return (
        f"From `{command}`, {results['seconds'] / 60:.0f} minutes on {machine['cores']} cores "
        f"({machine['cpu']}), {memory}, {machine['system']}, Python {machine['python']}, "
        f"TensorFlow {machine['tensorflow']}.\n"
    )


def put_into(page: pathlib.Path, results: dict[str, Any]) -> None:
    """Puts the tables between the markers of a page."""
    text = page.read_text(encoding="utf-8")
    if not _BLOCK.search(text):
        sys.exit(f"{page} has no lines {_BEGIN.strip()} and {_END.strip()}")
    tables = [described(results), *(table["text"] for table in results["tables"])]
    made = _BEGIN + "\n".join(tables) + _END
    page.write_text(_BLOCK.sub(lambda _: made, text), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="smaller checkpoints, fewer runs")
    parser.add_argument("--only", default=",".join(SUITES), help="suites, separated by commas")
    parser.add_argument("--json", type=pathlib.Path, help="write all measurements to this file")
    parser.add_argument("--page", type=pathlib.Path, help="put the tables into this page")
    parser.add_argument("--from", dest="earlier", type=pathlib.Path, help="take an earlier --json")
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        suite, task, *rest = arguments.task
        found = getattr(importlib.import_module(f"benchmarks.{suite}"), task)(*rest)
        return print("\n" + json.dumps(found))
    if arguments.earlier:
        results = json.loads(arguments.earlier.read_text(encoding="utf-8"))
    else:
        suites = arguments.only.split(",")
        unknown = sorted(set(suites) - {*SUITES, *OTHERS})
        if unknown:
            parser.error(
                f"no suite is called {unknown[0]!r}; there are {', '.join((*SUITES, *OTHERS))}"
            )
        results = run(suites, arguments.quick)
        print(described(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if arguments.page:
        put_into(arguments.page, results)


if __name__ == "__main__":
    main()
