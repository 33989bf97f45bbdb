"""`estimator-ckpt average`, on checkpoints that TensorFlow wrote."""

from __future__ import annotations

import json

import numpy as np
import pytest


@pytest.fixture
def model_dir(tmp_path):
    """Three checkpoints of `w` and the step, and the state file that lists them."""
    import tensorflow as tf

    folder = tmp_path / "job"
    folder.mkdir()
    prefixes = [str(folder / f"ckpt-{step}") for step in (1, 2, 3)]
    for step, prefix in enumerate(prefixes, start=1):
        tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=["w", "global_step"],
            shape_and_slices=["", ""],
            tensors=[tf.fill([2, 3], float(step)), tf.constant(step, tf.int64)],
        )
    tf.compat.v1.train.update_checkpoint_state(
        str(folder), "ckpt-3", ["ckpt-1", "ckpt-2", "ckpt-3"]
    )
    return folder


def lines(out):
    return [tuple(line.split("\t")) for line in out.splitlines()]


def test_listed_checkpoints_are_averaged(command, model_dir, tmp_path):
    import tensorflow as tf

    target = tmp_path / "new" / "mean"
    sources = [str(model_dir / f"ckpt-{step}") for step in (3, 1)]
    result = command("average", *sources, target)
    assert (result.code, result.err) == (0, "")
    facts = lines(result.out)
    assert facts[0] == ("prefix", str(target))
    for fact in (
        ("format", "tf1"),
        ("step", "3"),
        ("newest", sources[0]),
        ("variables_averaged", "1"),
        ("source", sources[1]),
        ("averaged", "w"),
        ("kept", "global_step"),
    ):
        assert fact in facts
    found = tf.train.load_variable(str(target), "w")
    np.testing.assert_array_equal(found, np.full([2, 3], 2, np.float32))


def test_the_last_of_a_folder(command, model_dir, tmp_path):
    result = command("average", model_dir, tmp_path / "mean", "--last=2", "--json")
    report = json.loads(result.out)
    assert report["sources"] == [str(model_dir / "ckpt-2"), str(model_dir / "ckpt-3")]
    assert (report["step"], report["averaged"]) == (3, ["w"])


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_gets_sentences(command, model_dir, tmp_path, on_terminal, width):
    on_terminal(width)
    result = command("average", model_dir, tmp_path / "mean", "--last=3")
    last = result.out.splitlines()[-1]
    assert last.startswith(f"wrote {tmp_path / 'mean'}, format tf1, step 3: ")
    assert f"\n    {model_dir / 'ckpt-3'} (the newest)\n" in result.out
    assert "\n1 variable averaged\n1 variable kept from the newest\n" in result.out
    verbose = command("average", model_dir, tmp_path / "m", "--last=3", "--verbose")
    assert "\n1 variable averaged\n    w\n" in verbose.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "missing CHECKPOINT... TARGET"),
        (("{job}",), "missing TARGET"),
        (("{job}", "{new}"), "alone is nothing to average"),
        (("{job}", "{new}", "--last=0"), "--last=0"),
        (("{job}", "{new}", "--last=4"), "lists 3 checkpoints, not 4"),
        (("{job}", "{job}/ckpt-1", "{new}", "--last=2"), "for one model_dir"),
        (("{job}/ckpt-1", "{job}/ckpt-9", "{new}"), "ckpt-9"),
        (("{job}/ckpt-1", "{job}/ckpt-2", "{job}/ckpt-3"), None),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(
    command, model_dir, tmp_path, arguments, message
):
    filled = [each.format(job=model_dir, new=tmp_path / "new") for each in arguments]
    result = command("average", *filled)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert (message or "overwrite") in result.err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["job"]


def test_overwrite_replaces_the_target(command, model_dir, tmp_path):
    for flags, code in (((), 0), ((), 2), (("--overwrite",), 0)):
        assert command("average", model_dir, tmp_path / "m", "--last=2", *flags).code == code
