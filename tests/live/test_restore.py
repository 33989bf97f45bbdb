"""restore: what it refuses, and what it reports."""

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import (
    CheckpointArgumentError,
    CheckpointNotFoundError,
    VariableMismatchError,
    restore,
    wrap_model_fn,
)

tf1 = tf.compat.v1


@pytest.fixture
def saved(tmp_path):
    variables = [tf.Variable([1.0, 2.0], name="w"), tf.Variable(3, name="n")]
    return tf1.train.Saver(variables).save(None, str(tmp_path / "saved"))


def test_other_shapes_and_dtypes_are_told_before_anything_is_assigned(saved):
    w, n = tf.Variable([9.0, 9.0, 9.0]), tf.Variable(9)
    with pytest.raises(VariableMismatchError, match=r"'w': it is float32 \(3\) here"):
        restore({"n": n, "w": w}, saved)
    with pytest.raises(VariableMismatchError, match="'n': it is float32"):
        restore({"n": tf.Variable(0.0)}, saved, strict=False)
    assert n.numpy() == 9


def test_what_nothing_takes_is_reported(saved):
    report = restore({"n": tf.Variable(0)}, saved)
    assert [(row.name, row.reason) for row in report.left] == [("w", "no variable takes it")]


def test_a_wrapped_jobs_checkpoint_loads_into_a_keras_model(tmp_path):
    wrapped = wrap_model_fn(jobs.adam_model_fn, checkpoint_format="tf2")
    jobs.make_estimator(wrapped, tmp_path).train(jobs.input_fn, steps=2)
    dense = tf.keras.layers.Dense(3, name="dense")
    dense.build([None, 4])
    rules = {"layer/w": "kernel", "layer/b": "bias"}
    report = restore(dense, tmp_path, rename=rules)
    assert {row.by for row in report.restored} == {"name"}
    values = jobs.values(tf.train.latest_checkpoint(str(tmp_path)))
    np.testing.assert_array_equal(dense.kernel.numpy(), values["layer/w"])
    np.testing.assert_array_equal(dense.bias.numpy(), values["layer/b"])


def test_parts_of_a_partitioned_variable_are_restored(tmp_path):
    value = np.arange(6, dtype=np.float32).reshape(6, 1)
    tf1.train.Saver([tf.Variable(value, name="w")]).save(None, str(tmp_path / "whole"))
    with tf.Graph().as_default(), tf1.Session() as session:
        with tf1.variable_scope("", partitioner=tf1.fixed_size_partitioner(4)):
            w = tf1.get_variable("w", [6, 1])
        restore({"w": list(w)}, tmp_path / "whole", session=session)
        np.testing.assert_array_equal(session.run(tf.convert_to_tensor(w)), value)


def test_tables_come_with_their_objects(tmp_path):
    def make():
        return tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)

    table = make()
    table.insert(["x"], [7])
    prefix = tf.train.Checkpoint(table=table).save(str(tmp_path / "saved"))
    other = make()
    restore(tf.train.Checkpoint(table=other), prefix)
    assert other.lookup(tf.constant(["x"])).numpy() == [7]


def test_equal_names_are_only_found_by_structure(tmp_path):
    prefix = tf.train.Checkpoint(v=[tf.Variable(1.0), tf.Variable(2.0)]).save(
        str(tmp_path / "saved")
    )
    others = [tf.Variable(0.0), tf.Variable(0.0)]
    restore(tf.train.Checkpoint(v=others), prefix)
    assert [variable.numpy() for variable in others] == [1, 2]
    with pytest.raises(VariableMismatchError, match="nothing called 'Variable'"):
        restore(tf.train.Checkpoint(u=others), prefix)


def test_a_graph_without_a_session_is_refused(saved):
    with tf.Graph().as_default():
        w = tf1.get_variable("w", [2])
        with pytest.raises(CheckpointArgumentError, match="give session="):
            restore({"w": w}, saved)


def test_no_checkpoint_is_said(tmp_path):
    with pytest.raises(CheckpointNotFoundError):
        restore({}, tmp_path / "nothing")


def test_a_rule_that_matches_nothing_is_refused(saved):
    with pytest.raises(CheckpointArgumentError, match="matches no variable"):
        restore({"w": tf.Variable([0.0, 0.0])}, saved, rename={"x": "y"})


@pytest.mark.parametrize(
    ("target", "checkpoint", "error", "said"),
    [
        (lambda: {}, "it", VariableMismatchError, "no variables"),
        (lambda: None, "it", CheckpointArgumentError, "a NoneType has no objects"),
        (lambda: [tf.Variable([1.0])], "it", CheckpointArgumentError, "a list has no objects"),
        (lambda: {"v": None}, "it", CheckpointArgumentError, "None is no variable"),
        (lambda: {"v": tf.Variable([1.0])}, None, CheckpointNotFoundError, "latest_checkpoint"),
    ],
)
def test_nothing_to_restore_into_or_from_is_an_error(tmp_path, target, checkpoint, error, said):
    prefix = tf.train.Checkpoint(v=tf.Variable([1.0])).write(str(tmp_path / "it"))
    with pytest.raises(error, match=said):
        restore(target(), checkpoint and prefix)
