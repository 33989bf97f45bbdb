"""`estimator-ckpt prefix`: what a shell gets of each thing that stands for a checkpoint."""

from __future__ import annotations

import json

import tensorflow as tf


def test_each_operand_that_stands_for_a_checkpoint(command, written, tmp_path):
    prefix = str(written / "tf1" / "model.ckpt-3")
    for operand in (written / "tf1", prefix, f"{prefix}.index", f"{written}/tf1/"):
        result = command("prefix", operand)
        assert (result.code, result.out, result.err) == (0, f"{prefix}\n", "")
    assert prefix == tf.train.latest_checkpoint(str(written / "tf1"))
    module = tf.Module()
    module.w = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path / "model"))
    found = command("prefix", tmp_path / "model", prefix)
    assert found.out == f"{tmp_path}/model/variables/variables\n{prefix}\n"
    assert json.loads(command("prefix", prefix, "--json").out) == [prefix]


def test_a_near_folder_is_named(command, work):
    for typed in ("tf2", "tf2/model.ckpt-3"):
        result = command("prefix", work / typed)
        assert (result.code, result.out) == (2, "")
        assert f"did you mean the folder '{work / 'tf1'}'?" in result.err


def test_nothing_is_printed_where_one_is_of_no_use(command, work):
    good = work / "clash" / "ckpt-1"
    (work / "tf1" / "model.ckpt-3.data-00000-of-00001").unlink()
    for bad in (work / "tf1", work / "nothing"):
        result = command("prefix", good, bad)
        assert (result.code, result.out) == (2, "")
        assert str(bad) in result.err
