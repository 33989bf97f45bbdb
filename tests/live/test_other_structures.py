"""Objects in another order than when they were saved: nothing gets what is not its own unsaid."""

import pytest
import tensorflow as tf

from estimator_ckpt import VariableMismatchError, restore


def net(*names):
    blocks = []
    for name in names:
        block = tf.Module()
        block.w = tf.Variable(float(ord(name)), name=f"{name}/w")
        blocks.append(block)
    return tf.train.Checkpoint(blocks=blocks)


def values(root):
    return [block.w.numpy() for block in root.blocks]


@pytest.fixture
def saved(tmp_path):
    return net("a", "b").write(str(tmp_path / "saved"))


def test_one_tensor_for_two_variables_is_an_error_when_strict(saved):
    target = net("a", "n", "b")
    with pytest.raises(VariableMismatchError, match="would go to two variables"):
        restore(target, saved)
    assert values(target) == [ord("a"), ord("n"), ord("b")]


def test_it_is_in_report_and_log_otherwise(saved, caplog):
    report = restore(net("a", "n", "b"), saved, strict=False)
    notes = [row.note for row in report.restored if row.note]
    assert notes == ["it is 'n/w' here, and was saved from 'b/w'"]
    assert notes[0] in caplog.text


def test_swapped_blocks_are_told_and_an_error_with_names(saved):
    target = net("b", "a")
    with pytest.raises(VariableMismatchError, match="saved from others"):
        restore(target, saved, strict="names")
    assert len([row for row in restore(target, saved).restored if row.note]) == 2


def test_a_block_removed_at_the_front_is_told(saved):
    target = net("b")
    with pytest.raises(VariableMismatchError, match="saved from others"):
        restore(target, saved, strict="names")
    assert [row.note for row in restore(target, saved).restored if row.note]


def test_names_that_keras_numbers_by_itself_are_no_alarm(tmp_path):
    def make():
        model = tf.keras.Sequential([tf.keras.layers.Dense(2), tf.keras.layers.Dense(2)])
        model.build([None, 2])
        return model

    prefix = tf.train.Checkpoint(model=make()).write(str(tmp_path / "saved"))
    report = restore(tf.train.Checkpoint(model=make()), prefix, strict="names")
    assert not [row for row in report.restored if row.note]
