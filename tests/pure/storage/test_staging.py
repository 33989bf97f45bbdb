"""Names of what is staged: whose it is, and whether that process is gone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from estimator_ckpt.storage import staging

NAMES = "from estimator_ckpt.storage import staging; print(staging.staging_name('ckpt.index'))"


def test_names_are_new_each_time_and_beside_the_target():
    first, second = staging.staging_name("m/ckpt.index"), staging.staging_name("m/ckpt.index")
    assert first != second
    assert os.path.dirname(first) == "m"
    assert staging.staged_for(first) == "m/ckpt.index"


@pytest.mark.parametrize(
    "name", ["ckpt.index", "ckpt.staging-1", "ckpt.index.staging", "a.staging-of-2", ""]
)
def test_other_names_are_nobody_s(name):
    assert staging.staged_for(name) is None
    assert not staging.is_abandoned(name)


def test_nobody_can_guess_a_name_from_another():
    first, second = (staging.staging_name("ckpt").rpartition("-")[2] for _ in range(2))
    assert first[:8] == second[:8]
    assert len(first) == len(second) == 8 + 16


@pytest.mark.parametrize("hidden", [0, 1])
def test_where_boot_or_namespace_are_hidden_nothing_of_others_is_abandoned(
    hidden, monkeypatch, tmp_path
):
    places = list(staging._IDENTITY)
    places[hidden] = str(tmp_path / "absent")
    hide = f"from estimator_ckpt.storage import staging; staging._IDENTITY = {tuple(places)}; "
    name = subprocess.check_output([sys.executable, "-c", hide + NAMES], text=True).strip()
    assert staging.staged_for(name) == "ckpt.index"
    assert not staging.is_abandoned(name)
    monkeypatch.setattr(staging, "_IDENTITY", tuple(places))
    staging._machine.cache_clear()
    try:
        assert not staging.is_abandoned(name)
        assert not staging.is_abandoned(staging.staging_name("ckpt.index"))
        gone = staging.staging_name("ckpt.index").rsplit("-", 1)[0] + "-" + "0" * 24
        assert staging.is_abandoned(gone)  # of this process's number, in its own place
    finally:
        staging._machine.cache_clear()


def test_what_this_process_stages_is_not_abandoned():
    assert not staging.is_abandoned(staging.staging_name("ckpt.index"))


def test_what_this_process_could_not_remove_is():
    name = staging.removal_name("m/ckpt.index")
    assert staging.staged_for(name) == "m/ckpt.index"
    assert staging.is_abandoned(name)


@pytest.mark.parametrize("kind", ["staging_name", "removal_name"])
def test_what_an_ended_process_has_staged_is(kind):
    code = NAMES.replace("staging_name", kind)
    name = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    assert staging.staged_for(name) == "ckpt.index"
    assert staging.is_abandoned(name)


@pytest.mark.parametrize("kind", ["staging_name", "removal_name"])
def test_what_a_running_process_has_staged_is_not(kind):
    code = (
        f"{NAMES.replace('staging_name', kind)}; import sys; sys.stdout.flush(); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        name = process.stdout.readline().strip()
        assert staging.staged_for(name) == "ckpt.index"
        assert not staging.is_abandoned(name)
        process.stdin.close()
    assert staging.is_abandoned(name)


def test_an_earlier_process_with_the_number_of_this_one_is_gone():
    parts = staging.staging_name("ckpt").split("-")
    assert parts[-2] == str(os.getpid())
    other = "-".join([*parts[:-1], "0" * 12])
    assert staging.is_abandoned(other)


def test_a_process_elsewhere_can_t_be_known_to_be_gone(monkeypatch):
    name = subprocess.check_output([sys.executable, "-c", NAMES], text=True).strip()
    monkeypatch.setattr(staging, "_machine", lambda: "00000000")
    assert not staging.is_abandoned(name)


def test_a_process_that_may_not_be_asked_is_not_gone(monkeypatch):
    def refused(pid, signal):
        raise PermissionError

    name = subprocess.check_output([sys.executable, "-c", NAMES], text=True).strip()
    monkeypatch.setattr(os, "kill", refused)
    assert not staging.is_abandoned(name)
