"""The benchmarks run, write their JSON, and put their tables into a page."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
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
@pytest.mark.parametrize("suite", ["imports", "restoring", "saving"])
def test_a_suite_runs_and_its_tables_go_into_a_page(tmp_path, suite):
    page, results = tmp_path / "page.md", tmp_path / "results.json"
    page.write_text(f"before\n{BEGIN}old\n{END}after\n", encoding="utf-8")
    ran = benchmarks("--quick", f"--only={suite}", f"--json={results}", f"--page={page}")
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = json.loads(results.read_text(encoding="utf-8"))
    assert found["machine"]["cores"] >= 1
    (table,) = found["tables"]
    assert len(table["rows"]) == len(table["runs"]) > 3
    written = page.read_text(encoding="utf-8")
    assert written.startswith(f"before\n{BEGIN}From `python -m benchmarks --quick`")
    assert written.endswith(f"{END}after\n") and table["text"] in written and "old" not in written


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


def test_an_unknown_suite_is_told():
    ran = benchmarks("--only=speed")
    assert ran.returncode == 2 and "there are convert," in ran.stderr


def test_the_page_has_a_place_for_the_tables():
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
