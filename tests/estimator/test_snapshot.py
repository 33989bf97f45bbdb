"""What is copied in memory and written later is what TensorFlow would have written at once."""

import os

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt.estimator.saver import CheckpointSaver

tf1 = tf.compat.v1
_RANDOM = tf1.random_uniform_initializer(-1, 1)


def make_variables():
    """Two data files' worth: of many types, whole and in parts."""
    tf1.get_variable("parts/p", [10, 4], initializer=_RANDOM, partitioner=_three_parts)
    tf1.get_variable("parts/columns", [3, 7], initializer=_RANDOM, partitioner=_columns)
    with tf.device("/cpu:0"):
        tf1.get_variable("placed", [7], initializer=_RANDOM)
    tf1.get_variable("scalar", [], tf.int64, tf1.ones_initializer())
    tf1.get_variable("empty", [0, 3], initializer=tf1.zeros_initializer())
    tf1.get_variable("large", [3_000_000], initializer=_RANDOM)
    tf1.get_variable("strings", [2], tf.string, tf1.constant_initializer(["x", "y\0z"]))
    for dtype in (tf.bfloat16, tf.float16, tf.float64, tf.complex64, tf.bool, tf.uint8, tf.int16):
        tf1.get_variable(f"of/{dtype.name}", [3], dtype, tf1.ones_initializer())
    tf1.get_variable("string", [], tf.string, tf1.constant_initializer("alone"))
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1, name="table")
    tf1.add_to_collection(tf1.GraphKeys.TABLE_INITIALIZERS, table.insert(["a", "b"], [1, 2]))
    tf1.train.get_or_create_global_step()


def _three_parts(shape, dtype):
    del dtype
    return [3] + [1] * (len(shape) - 1)


def _columns(shape, dtype):
    del shape, dtype
    return [1, 2]


def contents(directory):
    return {
        name: (directory / name).read_bytes()
        for name in os.listdir(directory)
        if not name.endswith(".meta")
    }


@pytest.mark.parametrize("sharded", [True, False])
@pytest.mark.parametrize("checkpoint_format", ["tf1", "tf2", "dual"])
@pytest.mark.parametrize("use_resource", [True, False])
def test_the_files_are_byte_for_byte_those_of_tensorflow(
    tmp_path, checkpoint_format, sharded, use_resource
):
    with tf.Graph().as_default(), tf1.variable_scope("", use_resource=use_resource):
        make_variables()
        options = {"sharded": sharded, "save_relative_paths": True}
        savers = [CheckpointSaver(checkpoint_format, **options) for _ in range(2)]
        savers[1].async_save = True
        for saver in savers:
            saver.build()
        with tf1.Session() as session:
            session.run([tf1.global_variables_initializer(), tf1.tables_initializer()])
            now, later = tmp_path / "now", tmp_path / "later"
            for folder in (now, later):
                folder.mkdir()
            savers[0].save(session, str(now / "model.ckpt"), 3)
            made = savers[1].save_in_background(session, str(later / "model.ckpt"), 3)
            savers[1].wait()
    assert made == str(later / "model.ckpt-3")
    found, expected = contents(later), contents(now)
    assert len(expected) == (4 if sharded else 3)
    assert found == expected


def test_what_is_written_is_what_was_there_when_it_was_copied(tmp_path):
    with tf.Graph().as_default():
        variable = tf1.get_variable("v", [5_000_000], initializer=tf1.zeros_initializer())
        more = variable.assign_add(tf.ones_like(variable))
        saver = CheckpointSaver("tf1")
        saver.async_save = True
        saver.build()
        with tf1.Session() as session:
            session.run(tf1.global_variables_initializer())
            saver.save_in_background(session, str(tmp_path / "ckpt"))
            for _ in range(20):
                session.run(more.op)
            saver.wait()
            assert not saver.is_saving
    value = tf.train.load_variable(str(tmp_path / "ckpt"), "v")
    np.testing.assert_array_equal(value, np.zeros(5_000_000))


def test_one_op_is_added_however_many_variables_there_are():
    counts = []
    for is_async in (False, True):
        with tf.Graph().as_default() as graph:
            for number in range(50):
                tf1.get_variable(f"v{number}", [2])
            saver = CheckpointSaver("dual", sharded=True)
            saver.async_save = is_async
            saver.build()
            counts.append(len(graph.get_operations()))
    assert counts[1] - counts[0] == 1


def test_what_is_on_a_parameter_server_is_not_copied_and_that_is_said_once(caplog):
    with tf.Graph().as_default():
        with tf.device("/job:ps/task:1/cpu:0"):
            tf1.get_variable("far", [2])
        tf1.get_variable("near", [2])
        saver = CheckpointSaver("dual", sharded=True)
        saver.async_save = True
        saver.build()
        saver.build()
    message = "Checkpoints are saved while training stands still: 'far' is on a parameter server"
    assert caplog.messages == [message]
