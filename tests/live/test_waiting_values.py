"""Values for what is built later, tables and states: restored, or said, whatever else differs."""

from __future__ import annotations

import logging

import numpy as np
import optimizer_jobs
import pytest
import tensorflow as tf

from estimator_ckpt import VariableMismatchError, restore

legacy, new = tf.keras.optimizers.legacy, tf.keras.optimizers
VALUE = np.float32([[1.0, 2.0], [3.0, 4.0]])


class State(tf.train.experimental.PythonState):
    def __init__(self, text):
        self.text = text

    def serialize(self):
        return self.text

    def deserialize(self, string_value):
        self.text = string_value.decode()


def objects(optimizer, value=0.0, built=True, keys=(), state="new"):
    """A checkpoint of a model, an optimizer, a table and a state."""
    dense = tf.keras.layers.Dense(2, use_bias=False, name="d")
    model = tf.keras.Sequential([dense])
    if built:
        model.build([None, 2])
        dense.kernel.assign(VALUE * value)
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    for key in keys:
        table.insert([key], [7])
    return tf.train.Checkpoint(
        nested=tf.train.Checkpoint(table=table, state=State(state)),
        model=model,
        optimizer=optimizer,
    )


def train(root, steps):
    for _ in range(steps):
        root.optimizer.apply_gradients([(2 * w, w) for w in root.model.trainable_variables])
    return root


def looked_up(root):
    return int(root.nested.table.lookup(tf.constant(["x"]))[0]), root.nested.state.text


@pytest.fixture
def saved(tmp_path):
    root = train(objects(legacy.Adam(0.1), 1.0, keys=["x"], state="saved"), 2)
    return root.write(str(tmp_path / "saved")), root.model.get_weights()[0]


@pytest.mark.parametrize("make", [new.Adam, new.RMSprop, legacy.Adagrad, legacy.Adam])
def test_tables_and_states_are_restored_whatever_the_optimizer(saved, make):
    prefix, kernel = saved
    root = train(objects(make(0.1)), 1)
    report = restore(root, prefix, strict=False)
    assert looked_up(root) == (7, "saved")
    np.testing.assert_array_equal(root.model.get_weights()[0], kernel)
    restored = {row.target.split("/.A")[0] for row in report.restored}
    assert {"nested/table", "nested/state"} <= restored
    assert not [row.name for row in report.left if row.name.startswith("nested")]


@pytest.mark.parametrize("make", [new.Adam, new.RMSprop, legacy.Adagrad, legacy.Adam])
def test_a_model_that_is_not_built_waits_whatever_the_optimizer(saved, make):
    prefix, kernel = saved
    root = objects(make(0.1), built=False)
    report = restore(root, prefix, strict=False)
    waits = {row.name: row.reason for row in report.left if "kernel" in row.name}
    assert report.deferred and next(iter(waits.values())).startswith("it waits for")
    root.model.build([None, 2])
    np.testing.assert_array_equal(root.model.get_weights()[0], kernel)


def test_a_model_that_is_not_built_waits_beside_what_is_excluded(saved):
    prefix, kernel = saved
    root = objects(new.Adam(0.1), built=False, keys=["y"])
    assert restore(root, prefix, exclude="^optimizer|^nested/table", strict=False).deferred
    root.model.build([None, 2])
    np.testing.assert_array_equal(root.model.get_weights()[0], kernel)
    assert looked_up(root) == (-1, "saved")
    assert int(root.optimizer.iterations) == 0


def test_by_name_nothing_waits_and_that_is_told(saved, caplog):
    prefix, kernel = saved
    root = objects(new.Adam(0.1), built=False)
    with caplog.at_level(logging.WARNING):
        report = restore(root, prefix, rename={"d/kernel": "e/kernel"}, strict=False)
    assert not report.deferred
    reasons = {row.name.split("/.A")[0]: row.reason for row in report.unmatched}
    assert reasons["nested/table"].endswith("rename= goes by the names of variables only")
    assert "Not built yet, and without variables: 'model'" in caplog.text
    root.model.build([None, 2])
    assert not np.allclose(root.model.get_weights()[0], kernel)


@pytest.mark.parametrize("after", ["legacy", "new", "keras3"])
@pytest.mark.parametrize("before", ["legacy", "new", "keras3"])
@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_no_slot_waits_for_one_that_means_something_else(tmp_path, name, before, after):
    if "keras3" in (before, after) and not optimizer_jobs.has_keras3():
        pytest.skip("Keras 3 is not here")
    first = optimizer_jobs.make(before, "adam")
    first.train(4)
    prefix = first.save(tmp_path / "saved")
    first.train(4)
    second = optimizer_jobs.make(after, name)
    report = restore(second.checkpoint, prefix, strict=False)
    for key, value in second.values().items():
        assert value.shape == first.values()[key].shape
    slots = [
        row for row in report.left if "/_variables/" in row.name or "OPTIMIZER_SLOT" in row.name
    ]
    assert slots
    if (name, before) == ("adam", after):
        assert all(row.reason.startswith("it waits for") for row in slots)
        second.train(4)
        for key, value in first.values().items():
            np.testing.assert_allclose(second.values()[key], value, rtol=1e-5)
        return
    assert all("build it first" in row.reason for row in slots)
    slot_values = [value for value in first.slot_values() if np.any(value)]
    second.build()
    for value in second.slot_values():
        assert not any(
            value.shape == other.shape and np.allclose(value, other) for other in slot_values
        )


def test_what_is_not_built_and_can_not_wait_is_an_error_when_strict(tmp_path, caplog):
    first = optimizer_jobs.make("session", "adam")
    prefix = first.save(tmp_path / "tf1")
    with pytest.raises(VariableMismatchError, match=r"has no variables yet.*build it first"):
        restore(objects(new.Adam(0.1), built=False).model, prefix)
    with caplog.at_level(logging.WARNING):
        report = restore(objects(new.Adam(0.1), built=False).model, prefix, strict=False)
    assert not report.deferred and not report.restored
    assert "Nothing was restored" in caplog.text


def test_what_waits_at_another_place_is_an_error_when_strict(saved, caplog):
    prefix, _ = saved
    with pytest.raises(VariableMismatchError, match=r"has no variables yet.*build it first"):
        restore(tf.keras.Sequential([tf.keras.layers.Dense(2, use_bias=False)]), prefix)
    with caplog.at_level(logging.WARNING):
        restore(
            tf.keras.Sequential([tf.keras.layers.Dense(2, use_bias=False)]), prefix, strict=False
        )
    assert "Nothing was restored" in caplog.text


def test_in_a_session_tables_are_restored_beside_what_is_excluded(tmp_path):
    def nested(value):
        table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
        return tf.train.Checkpoint(table=table, w=tf.Variable(value), v=tf.Variable(value))

    saved = nested(1.0)
    saved.table.insert(["x"], [7])
    prefix = tf.train.Checkpoint(nested=saved).write(str(tmp_path / "saved"))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        root = tf.train.Checkpoint(nested=nested(0.0))
        session.run(tf.compat.v1.global_variables_initializer())
        restore(root, prefix, exclude="^nested/v/", session=session)
        held = root.nested
        found = held.table.lookup(tf.constant(["x"])), held.w, held.v
        assert session.run(found) == ([7], 1.0, 0.0)
