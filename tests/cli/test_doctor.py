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
    titles, row = (line.split("\t") for line in result.out.splitlines())
    assert titles[:6] == ["checkpoint", "format", "step", "bytes", "state", "tf1-saver"]
    assert row == ["model.ckpt-3", "tf1", "3", "208", "latest", "yes", "yes", "yes", "by name"]
    assert "1 checkpoint, latest model.ckpt-3, 1 note\n" in result.err


def test_a_pipe_gets_one_header_and_one_kind_of_row(command, untidy):
    result = command("doctor", untidy)
    assert result.code == 1
    assert {line.count("\t") for line in result.out.splitlines()} == {8}
    assert "\nwarning: model.ckpt-9.data-00000-of-00001: " in result.err
    result = command("doctor", untidy, "--findings")
    assert result.code == 1
    titles, *rows = (line.split("\t") for line in result.out.splitlines())
    assert titles == ["severity", "file", "problem", "remedy"]
    assert [row[0] for row in rows] == ["warning", "note"]
    assert rows[0][1] == "model.ckpt-9.data-00000-of-00001"


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
    assert "\nWho can read it: tf1-saver, TF1's Saver; raw," in result.out
    assert titles.split()[:3] == ["checkpoint", "format", "step"]
    assert max(map(len, lines)) <= width
    assert "    -> remove it" in result.out


def test_nothing_there_is_trouble(command, tmp_path):
    result = command("doctor", tmp_path)
    assert (result.code, result.out) == (2, "")
    assert "no checkpoint" in result.err
