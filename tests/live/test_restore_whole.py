"""Restoring objects that are just variables comes to what TensorFlow's own restore does."""

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import restore
from estimator_ckpt.live.restore import assign


def _objects(number):
    module = tf.Module()
    module.one = tf.Variable(np.full([2, 3], number, np.float32))
    module.below = tf.Module()
    module.below.two = tf.Variable(number, dtype=tf.int64)
    return module


@pytest.fixture
def asked(monkeypatch):
    """What TensorFlow was asked to restore along the objects."""
    found = []

    def noted(objects, *args):
        found.append(objects)
        assign(objects, *args)

    monkeypatch.setattr("estimator_ckpt.live.restore.assign", noted)
    return found


def _state(module):
    return module.one.numpy().tolist(), int(module.below.two.numpy())


@pytest.mark.parametrize("saves", [1, 3])
def test_a_checkpoint_has_the_values_and_the_counter_that_tensorflow_gives_it(
    saves, asked, tmp_path
):
    saved = tf.train.Checkpoint(module=_objects(7))
    for _ in range(saves):
        path = saved.save(str(tmp_path / "ckpt"))
    theirs, ours = (tf.train.Checkpoint(module=_objects(0)) for _ in range(2))
    theirs.restore(path)
    for _ in range(2):  # it has no counter before the first one
        restore(ours, path)
        assert _state(ours.module) == _state(theirs.module) == _state(saved.module)
        assert int(ours.save_counter) == int(theirs.save_counter) == saves
    assert asked == [None, None]
    assert ours.save(str(tmp_path / "next")) == str(tmp_path / f"next-{saves + 1}")


def test_a_root_that_is_no_checkpoint_is_restored_so_too(asked, tmp_path):
    path = tf.train.Checkpoint(_objects(5)).save(str(tmp_path / "ckpt"))
    module = _objects(0)
    restore(module, path)
    assert _state(module) == _state(_objects(5))
    assert asked == [None]


def test_what_is_built_later_waits_for_its_value(asked, tmp_path):
    path = tf.train.Checkpoint(_objects(5)).save(str(tmp_path / "ckpt"))
    module = _objects(0)
    del module.one
    assert restore(module, path, strict=False).deferred
    module.one = tf.Variable(tf.zeros([2, 3]))
    assert _state(module) == _state(_objects(5))
    assert asked != [None]


def test_what_is_no_variable_is_restored_by_tensorflow(asked, tmp_path):
    def make(value):
        module = _objects(value)
        module.table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1)
        return module

    saved, module = make(5), make(0)
    saved.table.insert([1], [2])
    restore(module, tf.train.Checkpoint(saved).save(str(tmp_path / "ckpt")))
    assert _state(module) == _state(_objects(5))
    assert int(module.table.lookup(tf.constant(1, tf.int64))) == 2
    assert asked != [None]


def test_mirrored_variables_are_restored_by_tensorflow(asked, tmp_path):
    path = tf.train.Checkpoint(_objects(5)).save(str(tmp_path / "ckpt"))
    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        module = _objects(0)
    restore(module, path)
    assert _state(module) == _state(_objects(5))
    assert asked != [None]
