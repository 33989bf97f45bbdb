"""`estimator-ckpt inspect`, on checkpoints that TensorFlow wrote."""

from __future__ import annotations

import json

import numpy as np
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
    assert result.err == (
        f"{prefix}: format tf1, step 3, 1 shard, 9 variables 208 B; "
        "2 weights 64 B, 4 slots 128 B (2.0 times), 3 others 16 B\n"
    )


def test_a_model_dir_is_its_latest_checkpoint(command, written):
    assert command("inspect", written / "tf1") == command(
        "inspect", written / "tf1" / "model.ckpt-3"
    )


def test_include_and_exclude_filter_by_name(command, written):
    result = command(
        "inspect", written / "tf1", "--include=^dnn/", "--exclude=Adam", "--exclude=bias"
    )
    assert [row[0] for row in columns(result.out)] == ["name", "dnn/kernel"]
    assert "; shown: 1 of 9 variables, 48 B" in result.err


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
            "values": None,
            "role": "variable",
        }
    ]


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_gets_a_table_that_fits(command, written, on_terminal, width):
    on_terminal(width)
    result = command("inspect", written / "tf1")
    summary, totals, *table = result.out.splitlines()
    assert summary.endswith("format tf1, step 3, 1 shard, 9 variables 208 B")
    assert totals == "2 weights 64 B, 4 slots 128 B (2.0 times), 3 others 16 B"
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
    assert max(map(len, result.out.splitlines()[2:-1])) <= 80  # the table


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


def test_values_are_more_columns(command, written):
    result = command("inspect", written / "tf1", "--values", "--include=^global_step$")
    titles, row = columns(result.out)
    assert titles[6:] == ["min", "max", "mean", "std", "zeros", "NaN", "Inf"]
    assert row[6:] == ["3", "3", "3.0", "0.0", "0", "0", "0"]
    described = json.loads(command("inspect", written / "tf1", "--values", "--json").out)
    assert all(row["values"]["nan"] == 0 for row in described["variables"])


@pytest.mark.parametrize("width", [80, 160])
def test_values_fit_a_terminal(command, work, on_terminal, width):
    command("convert", work / "tf1", work / "tf2" / "ckpt", "--to=tf2")
    on_terminal(width)
    result = command("inspect", work / "tf2" / "ckpt", "--values")
    _, _, titles, *table = result.out.splitlines()
    assert titles.split()[0] == "name"
    assert {"min", "max", "mean", "std", "zeros"} < set(titles.split())
    assert max(map(len, table[:-1])) <= width
    assert "var_list/dnn.Skernel" in "".join(line.strip() for line in table)


def test_a_tree_in_a_pipe_is_indented(command, written):
    result = command("inspect", written / "tf1", "--tree", "--exclude=beta")
    lines = result.out.splitlines()
    assert lines[0].endswith("  7 variables, 49 elements, 200 B")
    assert "  dnn/  6 variables, 48 elements, 192 B" in lines
    assert "    kernel  [3, 4] float32; 3 variables, 36 elements, 144 B" in lines
    assert "      Adam  [3, 4] float32, 48 B" in lines
    assert "; shown: 7 of 9 variables, 200 B" in result.err


def test_a_tree_of_some_levels_has_the_sums_of_all(command, written):
    lines = command("inspect", written / "tf1", "--tree", "--depth=1").out.splitlines()
    assert "  dnn/  6 variables, 48 elements, 192 B" in lines
    assert not [line for line in lines if line.startswith("    ")]
    lines = command("inspect", written / "tf1", "--tree", "--depth=2").out.splitlines()
    assert "    kernel  [3, 4] float32; 3 variables, 36 elements, 144 B" in lines
    assert not [line for line in lines if line.startswith("      ")]


@pytest.mark.parametrize("verb", ["inspect", "verify", "doctor", "diff"])
def test_an_include_that_matches_nothing_is_an_error(command, written, verb):
    operands = [written / "tf1" / "model.ckpt-3"] * (2 if verb == "diff" else 1)
    for flags in (["--include=nothing"], ["--include=.", "--include=dnn/kernl"]):
        result = command(verb, *operands, *flags)
        assert (result.code, result.out) == (2, "")
        assert f"the pattern '{flags[-1][10:]}' matches no " in result.err
    assert command(verb, *operands, "--exclude=nothing").code == 0


@pytest.mark.parametrize("to", ["tf1", "tf2", "dual"])
def test_show_prints_numbers_as_numpy_does(command, work, to):
    import tensorflow as tf

    target = work / "new" / "ckpt"
    command("convert", work / "tf1", target, f"--to={to}")
    kernel = tf.train.load_variable(str(work / "tf1" / "model.ckpt-3"), "dnn/kernel")
    for part in ("", "[0]", "[-1, 2]", "[:2, ::3]", "[..., 1]", "[1:1]"):
        expected = eval(f"kernel{part}", {"kernel": kernel})
        result = command("inspect", target, f"--show=dnn/kernel{part}")
        assert result.out == np.array2string(np.asarray(expected), separator=", ") + "\n"
        shape = list(np.shape(expected))
        assert result.err == f"dnn/kernel{part}: float32 {shape}\n"
        described = json.loads(command("inspect", target, f"--show=dnn/kernel{part}", "--json").out)
        assert described["array"] == expected.tolist()
        assert described["part"] == part.strip("[]")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("dnn/kernl", "no variable 'dnn/kernl'; near names are dnn/kernel"),
        ("dnn/kernel[9]", "the shape of 'dnn/kernel' is [3, 4]"),
        ("dnn/kernel[0,0,0]", "the shape of 'dnn/kernel' is [3, 4]"),
        ("dnn/kernel[a]", "[a] is no slice"),
        ("dnn/kernel[1:2:3:4]", "is no slice"),
        ("dnn/kernel[::0]", "slice"),
    ],
)
def test_what_can_not_be_shown_is_told(command, written, what, message):
    result = command("inspect", written / "tf1", f"--show={what}")
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_a_tree_on_a_terminal_is_drawn(command, written, on_terminal):
    on_terminal(80)
    result = command("inspect", written / "tf1", "--tree")
    assert "├── dnn/" in result.out
    assert "│   └── kernel" in result.out
    found = json.loads(command("inspect", written / "tf1", "--tree", "--json").out)
    assert found["variables"] == 9
    assert [child["label"] for child in found["children"]][-2:] == ["dnn/", "global_step"]


def test_an_index_a_saved_model_and_another_file_system(command, written, tmp_path):
    import tensorflow as tf

    by_prefix = command("inspect", written / "tf1" / "model.ckpt-3")
    assert command("inspect", written / "tf1" / "model.ckpt-3.index") == by_prefix
    module = tf.Module()
    module.v = tf.Variable(1.0)
    for folder in (str(tmp_path / "export"), "ram://inspected"):
        tf.saved_model.save(module, folder)
        assert "format tf2" in command("inspect", folder).err
