"""Optimizers across: four steps with one and four with another are eight, or it is said why not."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import convert, describe, drop, export_checkpoint, restore

tf1 = tf.compat.v1
legacy, new = tf.keras.optimizers.legacy, tf.keras.optimizers
# What is called so by each: tf.compat.v1.train in a Session, legacy Keras, Keras since 2.11.
KINDS = {
    "adam": (
        lambda: tf1.train.AdamOptimizer(0.1, epsilon=1e-7),
        lambda: legacy.Adam(0.1, epsilon=1e-7),
        lambda: new.Adam(0.1, epsilon=1e-7),
    ),
    "adagrad": (
        lambda: tf1.train.AdagradOptimizer(0.1, 0.1),
        lambda: legacy.Adagrad(0.1, 0.1, epsilon=0.0),
        lambda: new.Adagrad(0.1, 0.1, epsilon=0.0),
    ),
    "rmsprop": (
        lambda: tf1.train.RMSPropOptimizer(0.1, 0.9, 0.5, 1e-7),
        lambda: legacy.RMSprop(0.1, 0.9, 0.5, 1e-7),
        lambda: new.RMSprop(0.1, 0.9, 0.5, 1e-7),
    ),
    "momentum": (
        lambda: tf1.train.MomentumOptimizer(0.1, 0.9),
        lambda: legacy.SGD(0.1, 0.9),
        lambda: new.SGD(0.1, 0.9),
    ),
}
START = np.float32([1.0, -2.0, 3.0])


def gradient(w):
    return 2 * w + 1


def in_session(make, steps, prefix):
    """Trains by name; returns the value after all."""
    with tf.Graph().as_default(), tf1.Session() as session:
        w = tf1.get_variable("net/w", initializer=START, use_resource=True)
        step = tf1.train.get_or_create_global_step()
        train = make().apply_gradients([(gradient(w), w)], global_step=step)
        session.run(tf1.global_variables_initializer())
        for _ in range(steps):
            session.run(train)
        tf1.train.Saver().save(session, prefix, write_meta_graph=False)
        return session.run(w)


class Job:
    """The same by objects."""

    def __init__(self, make):
        self.w = tf.Variable(START, name="net/w")
        self.optimizer = make()
        is_new = hasattr(self.optimizer, "build")
        # In such a scope apply_gradients makes them.
        with tf.name_scope(self.optimizer.name if is_new else self.optimizer._name):
            if is_new:
                self.optimizer.build([self.w])
            else:
                _ = self.optimizer.iterations
                self.optimizer._create_all_weights([self.w])
        self.checkpoint = tf.train.Checkpoint(net=self.w, optimizer=self.optimizer)

    def train(self, steps):
        for _ in range(steps):
            self.optimizer.apply_gradients([(gradient(self.w), self.w)])
        return self.w.numpy()


def saved(kind, which, prefix, steps=4):
    """Trains with one of the three and saves; returns the value then."""
    if which == 0:
        return in_session(KINDS[kind][0], steps, prefix)
    job = Job(KINDS[kind][which])
    job.train(steps)
    job.checkpoint.write(prefix)
    return job.w.numpy()


PAIRS = [(0, 1), (0, 2), (1, 2), (2, 1), (1, 1), (2, 2)]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("kind", ["adam", "adagrad", "rmsprop"])
@pytest.mark.parametrize("through", ["restore", "convert"])
def test_four_steps_and_four_are_eight(tmp_path, kind, pair, through):
    first, second = pair
    prefix, whole = str(tmp_path / "four"), str(tmp_path / "eight")
    saved(kind, first, prefix)
    job = Job(KINDS[kind][second])
    if through == "restore":
        restore(job.checkpoint, prefix, strict=False)
    else:
        convert(prefix, tmp_path / "like", to="tf2", like=job.checkpoint)
        job.checkpoint.restore(str(tmp_path / "like")).expect_partial()
    assert int(job.optimizer.iterations) == 4
    expected = saved(kind, first, whole, steps=8)
    np.testing.assert_allclose(job.train(4), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("pair", [(0, 1), (0, 2)], ids=str)
def test_what_means_something_else_is_not_taken_and_said(tmp_path, caplog, pair):
    prefix = str(tmp_path / "four")
    saved("momentum", pair[0], prefix)
    job = Job(KINDS["momentum"][pair[1]])
    report = restore(job.checkpoint, prefix, strict=False)
    reasons = [row.reason for row in report.unmatched]
    assert any("'net/w/Momentum' holds 'momentum: sum of gradients'" in each for each in reasons)
    np.testing.assert_array_equal(job.w, in_session(KINDS["momentum"][0], 4, prefix))
    with caplog.at_level(logging.WARNING):
        told = convert(prefix, tmp_path / "like", to="tf2", like=job.checkpoint)
    assert any("sum of gradients" in note for note in told.notes)
    (dropped,) = [row for row in told.dropped if row.key == "net/w/Momentum"]
    assert dropped.reason.startswith("the objects that it should be like have no slot of 'net/w'")


@pytest.mark.parametrize("pair", [(1, 2), (2, 1)], ids=str)
def test_momentum_of_keras_goes_from_one_to_the_other(tmp_path, pair):
    prefix = str(tmp_path / "four")
    saved("momentum", pair[0], prefix)
    job = Job(KINDS["momentum"][pair[1]])
    restore(job.checkpoint, prefix, strict=False)
    expected = saved("momentum", pair[0], str(tmp_path / "eight"), steps=8)
    np.testing.assert_allclose(job.train(4), expected, rtol=1e-5)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_slots_are_known_whoever_made_them(tmp_path, kind, which):
    prefix = str(tmp_path / "four")
    saved(kind, which, prefix)
    rows = {row.name: row for row in describe(prefix).variables}
    slots = [row for row in rows.values() if row.role == "slot"]
    assert slots and {row.slot_of for row in slots} == {"net/w"}
    drop(prefix, tmp_path / "small", slots=True)
    left = {row.name for row in describe(tmp_path / "small").variables}
    assert left == {"net/w", "global_step"} & rows.keys() | {"net/w"}
    report = export_checkpoint(prefix, tmp_path / "weights.npz", slots=False)
    assert {tensor.name for tensor in report.tensors} == left
