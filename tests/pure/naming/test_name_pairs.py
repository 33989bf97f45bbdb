"""Pairs of networks whose true map is known: how much of it is proposed, and that none is wrong."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import pathlib
import runpy
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
OURS = pathlib.Path(__file__).resolve().parent / "name_pairs"
THEIRS = ROOT.parent / "shared" / "testdata" / "name_pairs"
KEYS = [
    *("pair", "mapped", "certain", "likely", "asked", "refused"),
    *("wrong_certain", "wrong_likely"),
]


@pytest.fixture(params=["ours", "theirs"])
def folder(request) -> pathlib.Path:
    if request.param == "theirs" and not THEIRS.is_dir():
        pytest.skip("the pairs of real networks (../shared/testdata/name_pairs) are not here")
    return OURS if request.param == "ours" else THEIRS


@functools.cache
def printed(folder: pathlib.Path, *options: str) -> str:
    """What the script prints; run here, as a process for each takes as long as its work."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.setattr(sys, "argv", ["name_pairs.py", str(folder), *options])
        patch.setattr(sys, "path", list(sys.path))
        runpy.run_path(str(ROOT / "scripts" / "name_pairs.py"), run_name="__main__")
    return output.getvalue()


def counts(folder: pathlib.Path, *options: str) -> list[dict]:
    return json.loads(printed(folder, *options, "--json"))


def undecidable(folder: pathlib.Path) -> set[str]:
    pairs = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    # Of one the notes say it, not a field.
    told = ("cannot be decided", "chain_meaningless_names_shuffled", "two_towers_no_hint")
    return {
        pair["name"]
        for pair in pairs
        if pair.get("undecidable") or any(word in pair["name"] for word in told)
    }


def answered(rows: list[dict], but: set[str]) -> float:
    rows = [row for row in rows if row["pair"] not in but]
    found = sum(row["certain"] + row["likely"] for row in rows)
    return found / sum(row["mapped"] for row in rows)


def test_with_orders_nothing_is_wrong_and_nearly_all_is_found(folder):
    rows = counts(folder)
    assert [list(row) for row in rows] == [KEYS] * len(list(folder.glob("*.json")))
    assert [row for row in rows if row["wrong_certain"] or row["wrong_likely"]] == []
    assert answered(rows, undecidable(folder)) >= 0.97


@pytest.mark.parametrize(
    "options", [["--no-meta"], ["--no-creation"], ["--no-meta", "--no-creation"]], ids=" ".join
)
def test_without_orders_nothing_certain_is_wrong_and_most_is_found(folder, options):
    rows = counts(folder, *options)
    assert [row for row in rows if row["wrong_certain"]] == []
    assert answered(rows, undecidable(folder)) >= 0.75


@pytest.mark.parametrize("options", [[], ["--no-creation"], ["--no-meta"]], ids=" ".join)
def test_what_cannot_be_decided_is_asked(folder, options):
    names = undecidable(folder)
    assert names
    for row in counts(folder, *options):
        if row["pair"] in names:
            assert (row["certain"], row["likely"]) == (0, 0)
            assert row["asked"] + row["refused"] == row["mapped"]


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_a_shuffled_target_makes_nothing_certain_that_is_wrong(folder, seed):
    for options in ([], ["--no-meta"]):
        rows = counts(folder, f"--scramble={seed}", *options)
        assert [row for row in rows if row["wrong_certain"]] == []


def test_the_table_names_each_pair_and_adds_up(folder):
    table = printed(folder).splitlines()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    assert lines[0] == KEYS and lines[-1][0] == "all"
    for column in range(1, len(KEYS)):
        assert sum(int(line[column]) for line in lines[2:-1]) == int(lines[-1][column])


def test_a_folder_without_pairs_is_said(tmp_path):
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "name_pairs.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 2 and "has no pairs" in ran.stderr


@pytest.mark.parametrize(
    ("mark", "options"),
    [("pairs", []), ("pairs without orders", ["--no-meta", "--no-creation"])],
)
def test_the_tables_of_the_docs_are_what_the_script_prints(mark, options):
    if not THEIRS.is_dir():
        pytest.skip("the pairs of real networks (../shared/testdata/name_pairs) are not here")
    page = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    table = page.partition(f"<!-- {mark}: begin -->\n")[2].partition(f"<!-- {mark}: end -->")[0]
    assert printed(THEIRS, *options).strip() == table.strip()
