"""`estimator-ckpt verify`: what it prints, and its exit codes."""

from __future__ import annotations

import json

import damage
import pytest


@pytest.fixture
def damaged(work):
    damage.flip(work / "tf1" / "model.ckpt-3.data-00000-of-00001", 0)
    return work / "tf1"


def test_a_sound_checkpoint(command, written):
    result = command("verify", written / "tf1")
    assert result.code == 0
    assert result.out == "file\ttensor\tproblem\n"
    assert result.err.endswith("9 tensors, 208 B in 1 shard, nothing is damaged\n")


def test_damage_is_listed_in_columns(command, damaged):
    result = command("verify", damaged)
    assert result.code == 1
    titles, row = (line.split("\t") for line in result.out.splitlines())
    assert titles == ["file", "tensor", "problem"]
    assert row[:2] == ["model.ckpt-3.data-00000-of-00001", "beta1_power"]
    assert "checksum" in row[2]
    assert result.err.endswith("1 finding\n")


def test_damage_as_json(command, damaged):
    result = command("verify", damaged / "model.ckpt-3.index", "--json")
    assert (result.code, result.err) == (1, "")
    found = json.loads(result.out)
    assert [finding["tensor"] for finding in found["findings"]] == ["beta1_power"]
    assert found["tensors"] == 9


def test_names_filter(command, damaged):
    assert command("verify", damaged, "--exclude=beta").code == 0
    assert command("verify", damaged, "--include=beta1").code == 1


@pytest.mark.parametrize("width", [80, 160])
def test_a_person_gets_sentences(command, damaged, on_terminal, width):
    on_terminal(width)
    result = command("verify", damaged)
    assert (result.code, result.err) == (1, "")
    summary, *lines = result.out.splitlines()
    assert summary.endswith("1 finding")
    assert lines[0].startswith("model.ckpt-3.data-00000-of-00001: beta1_power: its 4 bytes")
    assert max(map(len, lines)) <= width


def test_nothing_to_check_is_trouble(command, tmp_path):
    result = command("verify", tmp_path)
    assert (result.code, result.out) == (2, "")
    assert "there is no checkpoint" in result.err
