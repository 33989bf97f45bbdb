"""Counts what a job's save asks of a store, kills jobs at each request that writes; prints both.

    python tests/support/store_job_tables.py                # both tables of jobs in docs/stores.md
    python tests/support/store_job_tables.py --write        # puts them there
    python tests/support/store_job_tables.py --every=8      # kills at each 8th request only

Needs TensorFlow with its plug-in for S3: 2.15.1 with tensorflow-io; Google's store it reaches by
itself. Ends with 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from typing import Any

import store_jobs
from store_tables import KINDS, PAGE, put_into

KILLED: dict[str, dict[str, Any]] = {
    "wrapped, `tf1_dir`": {},
    "wrapped, `tf1_dir`, `async_save`": {"async_save": True},
}


def requests_table(servers: dict[str, Any]) -> str:
    """Returns the table of requests and bytes."""
    rows = [
        "| store | a save | requests, 5 variables | 200 variables | uploads of the data "
        "| downloads of it | copies of it by the store |",
        "|---|---|---|---|---|---|---|",
    ]
    for (store, server), kind in itertools.product(servers.items(), store_jobs.KINDS):
        few, many = (store_jobs.count_save(server, kind, number) for number in (5, 200))
        read = sum(each.method == "GET" and ".data-" in each.key for each in many.log)
        copied = sum(".data-" in key for key in many.copied)
        rows.append(
            f"| {store} | {kind} | {few.requests} | {many.requests} "
            f"| {store_jobs.data_uploads(many)} | {read} | {copied} |"
        )
    return "\n".join(rows)


def kills_table(servers: dict[str, Any], every: int) -> tuple[str, list[str]]:
    """Returns the table of kills, and what was lost."""
    rows = ["| store | job | requests that write | kills | lost |", "|---|---|---|---|---|"]
    lost: list[str] = []
    for (store, server), (name, options) in itertools.product(servers.items(), KILLED.items()):
        total, wanted = store_jobs.count_writes(server, options)
        kills, before = 0, len(lost)
        for number in range(1, total + 1, every):
            for after in (False, True):
                kills += 1
                found = store_jobs.kill(server, options, number, after=after, wanted=wanted)
                place = f"{store}, {name}, {'after' if after else 'before'} {number}"
                lost += [f"{place}: {each}" for each in found]
        rows.append(f"| {store} | {name} | {total} | {kills} | {len(lost) - before} |")
    return "\n".join(rows), lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    parser.add_argument("--kills", action="store_true", help="no table of requests")
    parser.add_argument("--requests", action="store_true", help="no table of kills")
    parser.add_argument("--every", type=int, default=1, help="kill at each n-th request")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(make()) for name, make in KINDS.items()}
        tables, lost = {}, []
        if not options.kills:
            tables["job requests"] = requests_table(servers)
        if not options.requests:
            tables["job kills"], lost = kills_table(servers, options.every)
    for name, table in tables.items():
        print(f"{table}\n")
        if options.write:
            PAGE.write_text(put_into(PAGE.read_text("utf-8"), name, table), "utf-8")
    print(*lost, sep="\n", file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
