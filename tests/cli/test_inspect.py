"""`estimator-ckpt inspect`, on checkpoints that TensorFlow wrote."""

from __future__ import annotations

import json

import pytest

SLOT = "dnn/kernel/Adam"


def columns(out: str) -> list[list[str]]:
    return [line.split("\t") for line in out.splitlines()]


def test_a_pipe_gets_tab_separated_columns_below_their_titles(command, written):
    result = command("inspect", written / "tf1" / "model.ckpt-3")
    assert result.code == 0
    titles, *rows = columns(result.out)
    assert titles == ["name", "key", "shape", "dtype", "bytes", "slot-of"]
    assert ["dnn/kernel", "dnn/kernel", "[3, 4]", "float32", "48", ""] in rows
    assert [SLOT, SLOT, "[3, 4]", "float32", "48", "dnn/kernel"] in rows
    assert ["global_step", "global_step", "[]", "int64", "8", ""] in rows
    assert len(rows) == 9  # kernel and bias, two slots of each, two powers of beta, the step


def test_in_a_pipe_the_summary_is_beside_the_rows(command, written):
    prefix = written / "tf1" / "model.ckpt-3"
    result = command("inspect", prefix)
    assert result.err == f"{prefix}: format tf1, step 3, 1 shard, 9 variables, 208 B\n"


def test_a_model_dir_is_its_latest_checkpoint(command, written):
    assert command("inspect", written / "tf1") == command(
        "inspect", written / "tf1" / "model.ckpt-3"
    )


def test_include_and_exclude_filter_by_name(command, written):
    result = command(
        "inspect", written / "tf1", "--include=^dnn/", "--exclude=Adam", "--exclude=bias"
    )
    assert [row[0] for row in columns(result.out)] == ["name", "dnn/kernel"]
    assert "1 of 9 variables shown" in result.err


def test_include_may_be_repeated(command, written):
    result = command("inspect", "--include=kernel$", "--include=step", written / "tf1")
    assert [row[0] for row in columns(result.out)] == ["name", "dnn/kernel", "global_step"]


def test_json_is_everything_and_alone(command, written):
    result = command("inspect", written / "tf1", "--json", "--include=^dnn/kernel$")
    assert (result.code, result.err) == (0, "")
    described = json.loads(result.out)
    assert (described["format"], described["step"], described["num_shards"]) == ("tf1", 3, 1)
    assert described["variables"] == [
        {
            "name": "dnn/kernel",
            "key": "dnn/kernel",
            "shape": [3, 4],
            "dtype": "float32",
            "bytes": 48,
            "slot_of": None,
        }
    ]


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_gets_a_table_that_fits(command, written, on_terminal, width):
    on_terminal(width)
    result = command("inspect", written / "tf1")
    summary, *table = result.out.splitlines()
    assert summary.endswith("format tf1, step 3, 1 shard, 9 variables, 208 B")
    assert table[0].split()[:2] in (["name", "key"], ["name", "shape"])
    assert max(map(len, table)) <= width
    assert result.err == ""


def test_a_terminal_shows_long_names_in_full(command, work, on_terminal):
    target = work / "tf2" / "ckpt"
    container = "a_container_with_a_name_that_is_longer_than_the_terminal_" * 2
    command("convert", work / "tf1", target, "--to=tf2", f"--container={container}")
    on_terminal(80)
    result = command("inspect", target)
    shown = "".join(line.strip() for line in result.out.splitlines())
    assert f"key: {container}/dnn.Skernel/.ATTRIBUTES/VARIABLE_VALUE" in shown
    assert "other keys: _CHECKPOINTABLE_OBJECT_GRAPH" in result.out
    assert max(map(len, result.out.splitlines()[1:-1])) <= 80  # the table


def test_each_format_is_named_and_shows_the_same_variables(command, work):
    rows = {}
    for to in ("tf1", "tf2", "dual"):
        command("convert", work / "tf1", work / to / "new", f"--to={to}")
        described = json.loads(command("inspect", work / to / "new", "--json").out)
        assert (described["format"], described["step"]) == (to, 3)
        rows[to] = {
            (row["name"], tuple(row["shape"]), row["dtype"], row["slot_of"])
            for row in described["variables"]
            if row["name"] != "save_counter"
        }
    assert rows["tf1"] == rows["dual"] == rows["tf2"]
