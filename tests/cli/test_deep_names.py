"""Names of many scopes, as text, tree and JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

DEEP = "/".join("ab"[at % 2] for at in range(5000)) + "/w"


@pytest.fixture(params=["tf1", "tf2", "dual"])
def deep(request, command, tmp_path):
    np.savez(tmp_path / "x.npz", **{"short": np.ones(2)})
    from estimator_ckpt import import_checkpoint, rename

    import_checkpoint(tmp_path / "x.npz", tmp_path / "one", to="tf1")
    rename(tmp_path / "one", tmp_path / "two", [("short", DEEP)])
    if request.param == "tf1":
        return tmp_path / "two"
    assert (
        command("convert", tmp_path / "two", tmp_path / "deep", f"--to={request.param}").code == 0
    )
    return tmp_path / "deep"


@pytest.mark.parametrize("flags", [(), ("--tree",), ("--tree", "--json"), ("--json",)])
def test_a_name_of_5000_scopes_is_shown(command, deep, flags):
    result = command("inspect", deep, *flags)
    assert (result.code, "Traceback" in result.err) == (0, False)
    if "--json" in flags:
        json.loads(result.out)
    assert result.out.count("a") >= 2500


def test_the_tree_is_drawn_on_a_terminal(command, deep, on_terminal):
    on_terminal(100)
    result = command("inspect", deep, "--tree")
    assert (result.code, result.err) == (0, "")
    assert "1 variable" in result.out
