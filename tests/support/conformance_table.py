"""The table in docs/conformance.md, made from what runs of the conformance suite found.

    ESTIMATOR_CKPT_CONFORMANCE=results.json python -m pytest tests/conformance -m "slow or not slow"
    python tests/support/conformance_table.py results.json docs/conformance.md      # compares
    ... --write                                                                     # writes it

Several runs may add a line to one file: the everyday tests, the slow ones, those of each process.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import sys
from typing import Any

_BEGIN, _END = "<!-- conformance: begin -->\n", "<!-- conformance: end -->\n"
_BLOCK = re.compile(re.escape(_BEGIN) + ".*?" + re.escape(_END), re.DOTALL)
_FORMATS = ("dual", "tf2")


def record(path: pathlib.Path, scenarios: list[Any], results: dict[tuple[str, str], str]) -> None:
    """Adds what a run found to a file: one line, written at once, as runs go on side by side."""
    rows = [
        {
            "name": each.name,
            "group": each.group,
            "title": each.title,
            "tf2": each.tf2,
            "raw": each.raw,
            "formats": list(each.formats),
            "results": {how: found for (name, how), found in results.items() if name == each.name},
        }
        for each in scenarios
    ]
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(rows).encode() + b"\n")


def table(rows: list[dict[str, Any]]) -> str:
    """Renders the table, and below it why a cell is not `equal`."""
    lines = ["| scenario | dual | tf2 |", "|---|---|---|"]
    notes = []
    for group in sorted({row["group"] for row in rows}):
        lines.append(f"| **{group}** | | |")
        for row in rows:
            if row["group"] != group:
                continue
            cells = [row["title"], *(_cell(row, how) for how in _FORMATS)]
            lines.append(f"| {' | '.join(cells)} |")
            if row["raw"]:
                notes.append(f"* {row['title']}: unwrapped, {row['raw']}.")
            if row["tf2"]:
                notes.append(f"* {row['title']}: `tf2` differs by nature, {row['tf2']}.")
    return "\n".join([*lines, "", *notes]) + "\n"


def _cell(row: dict[str, Any], how: str) -> str:
    if how not in row["formats"]:
        return "-"
    return row["results"].get(how, "not run")


def _rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns what all runs found; of what two runs say of a scenario, the last."""
    rows: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        for row in json.loads(line):
            row["results"] = {**rows.get(row["name"], row)["results"], **row["results"]}
            rows[row["name"]] = row
    return list(rows.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    arguments = parser.parse_args()
    page = arguments.page.read_text(encoding="utf-8")
    if not _BLOCK.search(page):
        print(f"{arguments.page} has no lines {_BEGIN.strip()} and {_END.strip()}")
        return 1
    made = _BEGIN + table(_rows(arguments.results)) + _END
    new = _BLOCK.sub(lambda _: made, page)
    if new == page:
        return 0
    if arguments.write:
        arguments.page.write_text(new, encoding="utf-8")
        return 0
    print(f"the table in {arguments.page} is not what the run found; --write puts this there:")
    print(made)
    return 1


if __name__ == "__main__":
    sys.exit(main())
