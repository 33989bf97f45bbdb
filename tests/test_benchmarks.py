"""The benchmarks run, write their JSON, and put their tables into a page."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import limits, measure, pages  # noqa: E402
from benchmarks.measure import Table  # noqa: E402

# What CI's time has room for; all of them run when the page is renewed.
IN_CI = ("saving", "unchanged", "warm_start")
BEGIN, END = "<!-- benchmarks: begin -->\n", "<!-- benchmarks: end -->\n"


def benchmarks(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.mark.slow
@pytest.mark.parametrize("suite", IN_CI)
def test_a_suite_runs_and_its_tables_go_into_a_page(tmp_path, suite):
    page, results = tmp_path / "page.md", tmp_path / "results.json"
    page.write_text(f"before\n{BEGIN}what was there\n{END}after\n", encoding="utf-8")
    ran = benchmarks("--quick", f"--only={suite}", f"--json={results}", f"--page={page}")
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = json.loads(results.read_text(encoding="utf-8"))
    assert found["machine"]["cores"] >= 1
    written = page.read_text(encoding="utf-8")
    for table in found["tables"]:
        assert table["rows"] and table["runs"] and table["text"] in written
        for each in table["measures"]:
            assert f"| {each['name']} | {each['of']} | {each['took']['text']} |" in written
    assert any(table["measures"] for table in found["tables"])
    assert written.startswith(f"before\n{BEGIN}From `python -m benchmarks --quick`")
    assert written.endswith(f"{END}after\n") and "what was there" not in written


def test_a_page_without_its_place_is_told(tmp_path):
    results = tmp_path / "results.json"
    machine = dict.fromkeys(("cpu", "cores", "system", "python", "tensorflow"), "?")
    known = {"machine": {**machine, "memory": 1}, "quick": False, "seconds": 60, "tables": []}
    results.write_text(json.dumps(known), encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text("nothing\n", encoding="utf-8")
    ran = benchmarks(f"--from={results}", f"--page={page}")
    assert ran.returncode == 1 and "has no lines" in ran.stderr
    assert page.read_text(encoding="utf-8") == "nothing\n"


def _results(*measures, seconds=2.0):
    """As --json writes them."""
    table = Table("a save", "So it is.", ("data", "by", "time"))
    table.rows.append(("1 GB", "ours", measure.seconds(seconds)))
    table.measures.extend(measures)
    machine = dict.fromkeys(("cpu", "cores", "system", "python", "tensorflow"), "?")
    return {
        "machine": {**machine, "memory": 1, "busy": 0.0},
        "quick": False,
        "seconds": 60,
        "tables": [{"suite": "saving", "text": table.markdown(), **dataclasses.asdict(table)}],
    }


def _runs(*seconds):
    return [{"seconds": each} for each in seconds]


def test_what_is_waited_for_is_the_first_table_and_has_the_machines_limit():
    saved = measure.measured(
        "a save",
        _runs(3.0, 1.0, 2.0),
        of=("plain", _runs(1.0, 1.0, 1.0)),
        wanted=1.5,
        limit=("a file written", _runs(0.5, 0.5, 0.5)),
    )
    started = measure.measured("a start", _runs(0.1), wanted=0.15)
    results = _results(saved, started)
    page = pages.page(results)
    assert page.index("what a job and a migration wait for") < page.index("**a save.**")
    row = "| a save | plain | 2.00 s | 2.00 | <= 1.50 | 500 ms, a file written | 4.00 |"
    assert row in page
    assert "| a start |  | 100 ms |  | <= 150 ms |  |  |" in page
    assert list(pages.missed(results)) == ["a save: 2.00, wanted <= 1.50"]


def test_two_runs_are_compared_number_by_number():
    other = measure.measured("a start", _runs(0.1))
    compared = pages.compared(_results(seconds=2.0), _results(other, seconds=3.0))
    rows = [line for line in compared.splitlines() if line.startswith("| a")]
    assert rows == ["| a save: 1 GB, ours | time | 2.00 s | 3.00 s | 1.50 |"]


def test_a_page_is_compared_as_the_run_that_it_is_of(tmp_path):
    of = ("plain", _runs(1.0))
    results = [_results(measure.measured("all", _runs(n), of=of), seconds=n) for n in (2.0, 3.0)]
    page = tmp_path / "page.md"
    page.write_text(pages.page(results[0]), encoding="utf-8")
    rows = pages.compared(pages.read(page), results[1]).splitlines()[4:]
    waited_for = "what a job and a migration wait for: all, plain"
    assert sorted(rows) == [
        "| a save: 1 GB, ours | time | 2.00 s | 3.00 s | 1.50 |",
        f"| {waited_for} | measured | 2.00 s | 3.00 s | 1.50 |",
        f"| {waited_for} | of that | 2.00 | 3.00 | 1.50 |",
    ]


@pytest.mark.parametrize("bytes_,threads", [(10, 1), (3 * 2**20 + 1, 2)])
def test_the_limits_are_measured_and_leave_no_file(tmp_path, bytes_, threads):
    read = tmp_path / "read"
    read.write_bytes(b"1" * bytes_)
    for limit in (
        limits.memory_copy(bytes_, threads),
        limits.file_write(str(tmp_path), bytes_),
        limits.file_write(str(tmp_path), bytes_, flushed=True),
        limits.file_read([str(read)]),
        limits.small_files(str(tmp_path), 3, bytes_, flushed=True),
        limits.crc32c(bytes_),
        limits.xxh3(bytes_),
    ):
        assert limit()["seconds"] > 0
        assert limit()["seconds"] > 0  # again
    assert list(tmp_path.iterdir()) == [read]


def test_an_unknown_suite_is_told():
    ran = benchmarks("--only=speed")
    assert ran.returncode == 2 and "there are saving," in ran.stderr


def test_the_page_has_a_place_for_the_tables():
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
