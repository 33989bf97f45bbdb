"""`estimator-ckpt doctor`: what it prints, and its exit codes."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def untidy(work):
    (work / "tf1" / "model.ckpt-9.data-00000-of-00001").write_bytes(b"x")
    return work / "tf1"


def test_a_sound_folder(command, written):
    result = command("doctor", written / "tf1")
    assert result.code == 0
    assert result.out.splitlines()[0].split("\t") == [
        *("checkpoint", "model.ckpt-3", "tf1", "3", "208", "latest"),
        *("yes", "yes", "yes", "by name"),
    ]
    assert result.err.endswith("1 checkpoint, latest model.ckpt-3, 1 note\n")


def test_findings_are_lines_of_their_own(command, untidy):
    result = command("doctor", untidy)
    assert result.code == 1
    rows = [line.split("\t") for line in result.out.splitlines()]
    assert [row[0] for row in rows] == ["checkpoint", "warning", "note"]
    assert rows[1][1] == "model.ckpt-9.data-00000-of-00001"
    assert all(len(row) == 4 for row in rows[1:])


def test_json_and_filter(command, untidy):
    result = command("doctor", untidy, "--json")
    assert (result.code, result.err) == (1, "")
    found = json.loads(result.out)
    assert found["checkpoints"][0]["tf2_checkpoint"] == "by name"
    assert {finding["severity"] for finding in found["findings"]} == {"warning", "note"}
    result = command("doctor", untidy, "--json", "--exclude=ckpt-9")
    assert result.code == 0
    assert command("doctor", untidy, "--include=ckpt-9").code == 1


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_gets_a_table_and_what_to_do(command, untidy, on_terminal, width):
    on_terminal(width)
    result = command("doctor", untidy)
    assert (result.code, result.err) == (1, "")
    _, _, titles, *lines = result.out.splitlines()
    assert titles.split()[:3] == ["checkpoint", "format", "step"]
    assert max(map(len, lines)) <= width
    assert "    -> remove it" in result.out


def test_nothing_there_is_trouble(command, tmp_path):
    result = command("doctor", tmp_path)
    assert (result.code, result.out) == (2, "")
    assert "no checkpoint" in result.err
