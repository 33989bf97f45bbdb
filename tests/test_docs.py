"""What the README and docs/ show runs: Python snippets and console lines, page by page."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
RUN = """
import shlex as _shlex, subprocess as _subprocess, sys as _sys
from estimator_ckpt.cli import main as _main

def _run(line):
    command, _, comment = line.partition("    # exits ")
    program, *arguments = _shlex.split(command)
    if program == "python":
        code = _subprocess.run([_sys.executable, *arguments]).returncode
    else:
        code = _main.main(arguments)
    assert code == int(comment[:1] or 0), (line, code)
"""
MODULE = re.compile(r"# (\w+\.py)\n")  # the first line of a block that is a file of its own
SLOW = (
    *("async", "canned", "cli", "faults", "fleet", "guide", "jobs", "leave", "map", "migrate"),
    *("report", "twenty", "unchanged"),
)


def script(page: str) -> str:
    """Makes one script of a page. An absl main ends the process, so what follows is put before."""
    parts, mains = [RUN], []
    for kind, block in BLOCK.findall(page):
        if kind == "console":
            lines = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
            parts.append("\n".join(f"_run({line!r})" for line in lines))
        elif not MODULE.match(block):
            (mains if "app.run(" in block else parts).append(block)
    return "\n".join([*parts, *mains])


def modules(page: str) -> dict[str, str]:
    """{name: text} of the files that a page shows."""
    found = ((MODULE.match(block), block) for _, block in BLOCK.findall(page))
    return {match[1]: block for match, block in found if match}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=[pytest.mark.slow] * (page.stem in SLOW))
        for page in PAGES
    ],
)
def test_what_a_page_shows_runs(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        pytest.skip(f"{page.name} shows nothing that runs here")
    path = tmp_path / "page.py"
    path.write_text(script(text), encoding="utf-8")
    for name, module in modules(text).items():
        (tmp_path / name).write_text(module, encoding="utf-8")
    # Other pages say tf.estimator, and that newer versions of TensorFlow need this to run them.
    runner = [] if page.name == "README.md" else ["-m", "estimator_ckpt.compat"]
    assert page.name == "README.md" or "tf.estimator" not in text or "compat" in text
    ran = subprocess.run(
        [sys.executable, *runner, str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]


def test_the_fault_table_has_each_scenario_and_error_and_adds_up():
    import fault_scenarios
    import fault_table

    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \| (\d.*) \|$", text, re.MULTILINE)
    names = [scenario.name for scenario in fault_scenarios.SCENARIOS]
    assert [name for name, *_ in rows] == [*names, "all"]
    numbers = [
        [int(cell.partition(",")[0] or 0) for cell in (calls, *rest.split(" | "))]
        for _, calls, rest in rows
    ]
    assert [sum(column) for column in zip(*numbers[:-1])] == numbers[-1]
    assert all(lost == 0 for *_, lost in numbers)
    assert [each for each in fault_table._ERRORS if f"`{each}`" not in text] == []


@pytest.mark.parametrize("table", ["requests", "kills"])
def test_the_tables_of_stores_have_each_command_and_add_up(table):
    import store_tables

    text = (ROOT / "docs" / "stores.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- {table}: begin -->\n(.*?)\n<!-- {table}: end -->", text, re.DOTALL)
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in found[1].splitlines()[2:]]
    if table == "requests":
        assert [row[0] for row in rows] == [
            each.name for each in store_tables.SCENARIOS if not each.large
        ]
        copies = [row for row in rows if row[-1]]
        assert {"convert", "rename", "drop", "ema"} <= {row[0] for row in copies}
        assert all(int(number) < 15 for row in copies for number in row[1:5])
        return
    assert [row[0] for row in rows] == [*(each.name for each in store_tables.WRITING), "all"]
    numbers = [[int(cell) for cell in row[1:]] for row in rows]
    assert [sum(column) for column in zip(*numbers[:-1])] == numbers[-1]
    assert all(row[-1] == 0 and row[1] == 2 * row[0] and row[3] == 2 * row[2] for row in numbers)
