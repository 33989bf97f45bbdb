"""`estimator-ckpt cast`, with TensorFlow as the judge of what it wrote."""

from __future__ import annotations

import json

import numpy as np
import pytest


@pytest.fixture
def source(tmp_path):
    import tensorflow as tf

    prefix = tmp_path / "source" / "ckpt"
    tensors = {
        "dnn/big": tf.constant([1e6, 1.0, 1e-9]),
        "dnn/small": tf.constant([1.0]),
        "global_step": tf.constant(3, tf.int64),
    }
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * 3,
        tensors=list(tensors.values()),
    )
    return prefix


def lines(out):
    return [tuple(line.split("\t")) for line in out.splitlines()]


def test_a_pipe_gets_facts_and_a_line_for_each_variable(command, source, tmp_path):
    import tensorflow as tf

    result = command("cast", source, tmp_path / "short", "--to=float16")
    assert (result.code, result.err) == (0, "")
    facts = lines(result.out)
    for fact in (
        ("prefix", str(tmp_path / "short")),
        ("variables_cast", "2"),
        ("overflows", "1"),
        ("underflows", "1"),
        ("bytes_before", "24"),
        ("bytes_after", "16"),
        ("cast", "dnn/big", "[3]", "float32", "float16", "1", "1"),
        ("cast", "dnn/small", "[1]", "float32", "float16", "0", "0"),
        ("kept", "global_step", "int64", "the global step"),
    ):
        assert fact in facts
    found = tf.train.load_variable(str(tmp_path / "short"), "dnn/big")
    np.testing.assert_array_equal(found, np.array([np.inf, 1, 0], np.float16))


def test_patterns_may_be_repeated(command, source, tmp_path):
    result = command(
        "cast",
        source,
        tmp_path / "short",
        *("--to=bfloat16", "--include=^dnn", "--include=step", "--exclude=big", "--json"),
    )
    report = json.loads(result.out)
    assert [row["name"] for row in report["cast"]] == ["dnn/small"]


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_lists_what_overflowed(command, source, tmp_path, on_terminal, width):
    on_terminal(width)
    result = command("cast", source, tmp_path / "short", "--to=float16")
    last = result.out.splitlines()[-1]
    assert last.startswith(f"wrote {tmp_path / 'short'}, format tf1: ")
    assert "\n1 value overflowed: finite before, infinite now\n" in result.out
    assert "dnn/big" in result.out
    assert "dnn/small" not in result.out
    verbose = command("cast", source, tmp_path / "v", "--to=float16", "--verbose")
    assert "dnn/small" in verbose.out
    assert "the global step" in verbose.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "flag --to is required; give one of --to=bfloat16"),
        (("--to=int8",), "expected 'bfloat16', 'float16' or 'float32'"),
        (("--to=float16", "--include=("), "no regular expression"),
        (("--to=float16", "--include=nothing"), "'nothing' matches no variable"),
        (("--to=float32",), "nothing to cast"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(command, source, tmp_path, arguments, message):
    result = command("cast", source, tmp_path / "new" / "ckpt", *arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert message in result.err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["source"]


def test_overwrite_replaces_the_target(command, source, tmp_path):
    for flags, code in (((), 0), ((), 2), (("--overwrite",), 0)):
        assert command("cast", source, tmp_path / "c", "--to=bfloat16", *flags).code == code
