"""The numbers of docs/fleet.md have the shape that the suite `fleet` of the benchmarks gives."""

from __future__ import annotations

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
sys.path.insert(0, str(ROOT))


def rows_of(title: str) -> list[list[str]]:
    block = PAGE.split("<!-- benchmarks: begin -->")[1].split("<!-- benchmarks: end -->")[0]
    table = block.split(f"**{title}.**")[1].split("**")[0]
    lines = re.findall(r"^\| (.*) \|$", table, re.MULTILINE)
    return [line.split(" | ") for line in lines[1:]]


def test_workers_are_compared_with_one():
    assert [row[0] for row in rows_of("workers")] == [
        "local disk, processes",
        "S3 at 20 ms, threads",
    ]
    assert all(float(row[-1].removesuffix(" x")) > 1 for row in rows_of("workers"))


def test_the_costs_are_those_of_the_model():
    rows = {row[0]: row for row in rows_of("costs")}
    assert list(rows) == [
        "requests that write",
        "requests that read",
        "bytes to the store",
        "bytes from the store",
        "seconds, S3 at 20 ms",
        "seconds, local disk",
    ]
    for name, row in rows.items():
        if "seconds" not in name:  # requests and bytes are the same on any machine
            assert 0.98 <= float(row[-1]) <= 1.02


def test_a_million_is_what_the_model_says():
    from benchmarks import fleet_costs as fleet

    found = dict(rows_of("a million on 500 workers"))
    assert found["the bottleneck"] in ("the workers", "the store's requests")
    costs = {row[0]: row for row in rows_of("costs")}
    writes = [float(cell) for cell in costs["requests that write"][1:4]]
    assert (
        float(found["requests that write"].replace(",", "")) / 1e6
        - (writes[0] + 5 * writes[1] + 500 * writes[2])
        < 3
    )  # as far as two digits of the last one tell
    assert fleet.predicted([1, 2, 3], ["job000000", "job000001"]) == 2 + 2 * 6 + 3 * (10 + 50)


def test_a_model_is_fitted_exactly_where_it_holds():
    from benchmarks import fleet_costs as fleet

    names = fleet.names(0, 24)
    values = {name: fleet.predicted([5.0, 3.0, 0.5], [name]) for name in names}
    assert [round(each, 6) for each in fleet.fitted(values)] == [5, 3, 0.5]
