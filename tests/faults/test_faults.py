"""Nothing is lost where a process is killed, or a system call fails, at any step.

The scenarios and what is looked at are in tests/support/fault_scenarios.py; all of it, for each
call: `python tests/support/fault_table.py`.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
import strace

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMANDS = (
    "convert",
    "convert --copy",
    "convert --overwrite",
    "convert after a kill",
    "convert --all",
    "convert --all --overwrite",
    "rename",
    "rename --overwrite",
    "average",
    "average --overwrite",
)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def need_strace():
    if not strace.is_here():
        assert "CI" not in os.environ, "CI has to have strace: apt-get install strace"
        pytest.skip("there is no strace here (Debian: apt-get install strace)")


def sweep(*arguments):
    # A process of its own: one that has run TensorFlow can't be forked any more.
    ran = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "fault_table.py"), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-4000:]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in ran.stdout.splitlines()[2:]
        if line.startswith("|")
    ]


def test_commands_lose_nothing_at_any_call():
    rows = sweep(*(f"--scenario={name}" for name in COMMANDS))
    assert [row[0] for row in rows] == list(COMMANDS)
    for _, calls, kills, errors, sigterms, lost, _ in rows:
        assert int(kills) == int(calls) >= 9
        assert int(errors) > int(kills)
        assert (sigterms, lost) == ("0", "0")


@pytest.mark.parametrize("job", ["two jobs, one takes over", "a copied job", "tf1_dir removed"])
def test_jobs_beside_others_lose_nothing_at_some_calls(job):
    ((_, calls, kills, errors, sigterms, lost, _),) = sweep(f"--scenario={job}", "--every=83")
    assert int(calls) > 90
    assert int(kills) >= 2 and int(errors) >= 3 and sigterms == "0"
    assert lost == "0"


@pytest.mark.parametrize("saving", ["", ", async_save", ", links", ", links, async_save"])
def test_training_loses_nothing_at_some_calls(saving):
    ((_, calls, kills, errors, sigterms, lost, _),) = sweep(
        f"--scenario=digits job{saving}", "--every=73"
    )
    assert int(calls) > 150
    assert int(kills) >= 3 and int(errors) >= 6
    assert int(sigterms) >= (3 if "async" in saving else 0)
    assert lost == "0"


def test_kills_at_random_times_lose_nothing():
    ran = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "kill_soak.py"), "--kills=8"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-4000:]
    assert ran.stdout.splitlines()[-1].endswith(" 0 lost")
    assert ran.stdout.splitlines()[-1].startswith("8 kills, ")
