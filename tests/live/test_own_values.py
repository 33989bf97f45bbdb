"""Each variable gets what is its own, or it is said: other orders, other shapes, what is left."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointArgumentError, VariableMismatchError, restore, structure_diff

tf1 = tf.compat.v1


class Block(tf.Module):
    def __init__(self, name, value, size=2):
        super().__init__(name=name)
        with self.name_scope:
            self.w = tf.Variable(tf.fill([size], float(value)), name="w")


class Net(tf.Module):
    def __init__(self, *blocks):
        super().__init__(name="net")
        self.blocks = list(blocks)

    def values(self):
        return [float(block.w[0]) for block in self.blocks]


def a_and_b(**sizes):
    return Block("a", 0, **sizes), Block("b", 0, **sizes)


@pytest.fixture
def saved(tmp_path):
    return tf.train.Checkpoint(Net(Block("a", 1), Block("b", 2))).write(str(tmp_path / "saved"))


def test_a_block_put_between_others_does_not_get_what_is_anothers(saved, caplog):
    a, b = a_and_b()
    net = Net(a, Block("new", 9), b)
    with pytest.raises(VariableMismatchError, match="would go to two variables, 'blocks/1/w"):
        restore(net, saved)
    assert net.values() == [0, 9, 0]
    with caplog.at_level(logging.WARNING):
        report = restore(net, saved, strict=False)
    assert net.values() == [1, 2, 2]
    notes = {row.target.split("/.A")[0]: row.note for row in report.restored}
    assert notes["blocks/1/w"] == "it is 'new/w' here, and was saved from 'b/w'"
    assert "it is 'new/w' here, and was saved from 'b/w'" in caplog.text
    assert not structure_diff(saved, net).compatible


@pytest.mark.parametrize(
    ("names", "expected"), [(("b", "a"), [1, 2]), (("b",), [1])], ids=["swapped", "removed"]
)
def test_blocks_in_another_order_are_told(saved, caplog, names, expected):
    net = Net(*(Block(name, 0) for name in names))
    with pytest.raises(VariableMismatchError, match="it is 'b/w' here, and was saved from 'a/w'"):
        restore(net, saved, strict="names")
    assert set(net.values()) == {0}
    with caplog.at_level(logging.WARNING):
        restore(net, saved)
    assert net.values() == expected
    assert "it is 'b/w' here, and was saved from 'a/w'" in caplog.text
    restore({f"{name}/w": block.w for name, block in zip(names, net.blocks)}, saved)
    assert net.values() == [{"a": 1, "b": 2}[name] for name in names]


def test_names_that_keras_numbers_by_itself_are_no_alarm(tmp_path, caplog):
    def sequential():
        return tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(2,)) for _ in range(2)])

    first = sequential()
    prefix = tf.train.Checkpoint(first).write(str(tmp_path / "first"))
    second = sequential()  # whose layers have other numbers in this process
    assert first.weights[0].name != second.weights[0].name
    with caplog.at_level(logging.WARNING):
        restore(second, prefix, strict="names")
    assert "was saved from" not in caplog.text
    for mine, theirs in zip(second.weights, first.weights):
        np.testing.assert_array_equal(mine, theirs)


def test_two_variables_of_one_name_both_get_the_value(tmp_path):
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.get_variable("a", initializer=3.0)
        session.run(tf1.global_variables_initializer())
        prefix = tf1.train.Saver().save(session, str(tmp_path / "tf1"))
    twins = [tf.Variable(0.0, name="a"), tf.Variable(0.0, name="a")]
    restore(tf.train.Checkpoint(twins=twins), prefix)
    assert [float(twin) for twin in twins] == [3, 3]


def test_what_does_not_fit_is_an_error_with_all_of_it_or_skipped_and_said(saved, caplog):
    net = Net(*a_and_b(size=3))
    with pytest.raises(VariableMismatchError, match=r"^2 variables don't fit") as error:
        restore(net, saved)
    assert "'blocks/0/w" in str(error.value) and "'blocks/1/w" in str(error.value)
    net = Net(Block("a", 0), Block("b", 7, size=3))
    with caplog.at_level(logging.WARNING):
        report = restore(net, saved, on_mismatch="skip")
    assert net.values() == [1, 7]
    (row,) = report.unmatched
    assert row.reason.startswith("skipped: it is float32 (3) here, and float32 (2) in the")
    assert "1 variables keep the values that they have" in caplog.text
    with pytest.raises(CheckpointArgumentError, match="must be 'error', 'skip' or 'overlap'"):
        restore(net, saved, on_mismatch="none")


@pytest.mark.parametrize("in_session", [False, True])
def test_rows_that_both_have_are_copied_if_that_is_asked_for(saved, in_session):
    if not in_session:
        net = Net(Block("a", 5, size=4), Block("b", 0))
        report = restore(net, saved, on_mismatch="overlap")
        np.testing.assert_array_equal(net.blocks[0].w, [1, 1, 5, 5])
        assert "only what overlaps is copied" in report.restored[0].note + report.restored[1].note
        return
    with tf.Graph().as_default(), tf1.Session() as session:
        grown = tf1.get_variable("grown", initializer=[5.0, 5.0, 5.0, 5.0])
        session.run(grown.initializer)
        restore({"a/w": grown}, saved, on_mismatch="overlap", session=session)
        np.testing.assert_array_equal(session.run(grown), [1, 1, 5, 5])


def test_a_part_of_its_own_value_is_no_other_one(saved):
    net = Net(Block("a", 5, size=4), Block("b", 0))
    restore(net, saved, on_mismatch="overlap", strict="names")
    np.testing.assert_array_equal(net.blocks[0].w, [1, 1, 5, 5])
    net = Net(Block("b", 5, size=4), Block("a", 0))
    with pytest.raises(VariableMismatchError, match="2 variables would get what was saved from"):
        restore(net, saved, on_mismatch="overlap", strict="names")
    report = restore(net, saved, on_mismatch="overlap")
    (note,) = (row.note for row in report.restored if "only what overlaps" in row.note)
    assert "was saved from 'a/w" in note


def test_what_other_objects_call_weights_is_left_alone(tmp_path):
    class Own(tf.Module):
        built = True

        def __init__(self):
            super().__init__(name="own")
            self.v = tf.Variable(0.0, name="v")

        def weights(self):
            return [self.v]

    prefix = tf.train.Checkpoint(v=tf.Variable(3.0, name="v")).write(str(tmp_path / "own"))
    own = Own()
    restore(own, prefix)
    assert own.v.numpy() == 3


def test_what_is_excluded_keeps_its_value(saved):
    net = Net(Block("a", 0), Block("b", 7))
    restore(net, saved, exclude="^b/")
    assert net.values() == [1, 7]
    with pytest.raises(CheckpointArgumentError, match="matches no variable; near names are"):
        restore(net, saved, exclude="^c/w")
