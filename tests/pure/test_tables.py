"""The tables of the docs are made from what runs of the tests found: none of it is lost."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from types import SimpleNamespace

import conformance_table
import pytest
import versions

TESTS = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("smoke", versions.SMOKE)
def test_each_test_that_every_version_runs_exists(smoke):
    path, _, name = smoke.partition("::")
    text = (TESTS.parent / path).read_text(encoding="utf-8")
    scenario = name.partition("[")[2].rpartition("-")[0]
    assert not scenario or f"def {scenario}(" in text


def test_each_column_of_versions_has_tests():
    for module in (module for modules in versions.COLUMNS.values() for module in modules):
        path = TESTS.parent / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").exists(), module


def scenario(name, title="a title"):
    plain = {"group": "a group", "tf2": None, "raw": None, "formats": ("dual", "tf2")}
    return SimpleNamespace(name=name, title=title, **plain)


def test_what_several_runs_found_is_one_table(tmp_path):
    path = tmp_path / "found.json"
    both = [scenario("one", "One"), scenario("two", "Two")]
    conformance_table.record(path, both, {("one", "dual"): "equal"})
    conformance_table.record(path, both, {("two", "tf2"): "better"})
    conformance_table.record(path, both[:1], {("one", "tf2"): "equal"})
    page = tmp_path / "page.md"
    page.write_text("<!-- conformance: begin -->\n<!-- conformance: end -->\n", encoding="utf-8")
    command = [sys.executable, conformance_table.__file__, str(path), str(page)]
    assert subprocess.run(command, capture_output=True).returncode == 1
    subprocess.run([*command, "--write"], check=True)
    assert "| One | equal | equal |\n| Two | not run | better |" in page.read_text("utf-8")
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_a_row_of_versions_says_what_failed_in_which_column(tmp_path):
    case = "<testcase classname='tests.{}' name='x'>{}</testcase>"
    version = "<properties><property name='tensorflow' value='2.21.0'/></properties>"
    cases = [case.format("live.test_restore", version), case.format("test_guide", "<failure/>")]
    path = tmp_path / "found.xml"
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>", "utf-8")
    row = "| 2.21 | all | not run | not run | not run | works | 1 of 1 tests fail |"
    assert versions.row([path], "all") == row
