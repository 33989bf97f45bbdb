"""`estimator-ckpt diff`: what it prints, and its exit codes."""

from __future__ import annotations

import json

import pytest
import tensorflow as tf


@pytest.fixture
def other(work):
    """The checkpoint with another kernel, a bias that is called otherwise and no global step."""
    reader = tf.train.load_checkpoint(str(work / "tf1"))
    values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    values["dnn/kernel"] = values["dnn/kernel"] + 0.5
    values = {name.replace("bias", "offset"): value for name, value in values.items()}
    del values["global_step"]
    tf.raw_ops.SaveV2(
        prefix=str(work / "other"),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=list(values.values()),
    )
    return work / "other"


def columns(out):
    return [line.split("\t") for line in out.splitlines()]


def test_equal_checkpoints_of_two_formats(command, work):
    command("convert", work / "tf1", work / "tf2" / "ckpt", "--to=tf2")
    result = command("diff", work / "tf1", work / "tf2" / "ckpt.index")
    assert result.code == 0
    assert len(result.out.splitlines()) == 1
    assert result.err.endswith("9 variables equal\n")


def test_differences_in_columns(command, work, other):
    result = command("diff", work / "tf1", other)
    assert result.code == 1
    titles, *rows = columns(result.out)
    assert titles == ["change", "name", "new-name", "shape", "new-shape", "dtype", "new-dtype"]
    assert rows == [
        ["removed", "global_step", "", "[]", "", "int64", ""],
        *(
            ["renamed", f"dnn/bias{slot}", f"dnn/offset{slot}", "[4]", "[4]", *["float32"] * 2]
            for slot in ("", "/Adam", "/Adam_1")
        ),
        ["values", "dnn/kernel", "", "[3, 4]", "[3, 4]", "float32", "float32"],
    ]
    assert "4 variables equal, 1 removed, 3 renamed, 1 of other values" in result.err


def test_values_and_tolerance(command, work, other):
    result = command("diff", work / "tf1", other, "--values", "--include=kernel$")
    *_, row = columns(result.out)
    assert float(row[-2]) == pytest.approx(0.5, abs=1e-6)
    assert float(row[-1]) == pytest.approx(0.5, abs=1e-6)
    result = command("diff", work / "tf1", other, "--tolerance=0.6", "--include=kernel$")
    assert result.code == 0
    assert "1 variable equal (1 within tolerance)" in result.err


def test_rules_filter_and_json(command, work, other):
    arguments = ("--rename=dnn/bias=dnn/offset", "--exclude=global_step|kernel", "--json")
    result = command("diff", work / "tf1", other, *arguments)
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert (found["changes"], found["formats"]) == ([], ["tf1", "tf1"])


def test_json_has_no_number_that_is_none(command, work):
    prefixes = [str(work / "nan"), str(work / "number")]
    for prefix, value in zip(prefixes, (float("nan"), 1.0)):
        tf.raw_ops.SaveV2(prefix=prefix, tensor_names=["w"], shape_and_slices=[""], tensors=[value])

    def refuse(constant):
        raise AssertionError(constant)

    result = command("diff", *prefixes, "--values", "--json")
    found = json.loads(result.out, parse_constant=refuse)
    assert found["changes"][0]["max_difference"] == "NaN"


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_gets_a_table_that_fits(command, work, other, on_terminal, width):
    on_terminal(width)
    result = command("diff", work / "tf1", other, "--values")
    assert (result.code, result.err) == (1, "")
    lines = result.out.splitlines()
    assert lines[0].startswith("A: ")
    assert "dnn/offset" in result.out
    assert "new-dtype" not in result.out  # nothing has one
    assert max(map(len, lines[3:])) <= width


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent",), "there is no checkpoint"),
        (("--tolerance=-1",), "non-negative number"),
        (("--rename=nothing",), "has no '='"),
        (("--rename=nothing=else",), "matches no variable"),
    ],
)
def test_trouble(command, work, arguments, message):
    paths = [work / "tf1"] * (1 if arguments == ("absent",) else 2)
    result = command("diff", *paths, *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
