"""How often an optimizer of tf.compat.v1.train stepped, where the global step counted otherwise."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import (
    VariableMismatchError,
    cast,
    convert,
    drop,
    restore,
    warm_start_settings,
)

tf1 = tf.compat.v1
KERAS = tf.keras.optimizers


def trained(folder, begin=0, updates=4, others=(), betas=(0.9, 0.999)):
    """Saves what a session trained, and returns the prefix and the variable's values: as saved, and
    after four steps more."""
    with tf.Graph().as_default(), tf1.Session() as session:
        w = tf1.get_variable("w", initializer=[1.0, -2.0])
        step = tf1.train.create_global_step()
        adams = [
            tf1.train.AdamOptimizer(0.1, *betas, epsilon=1e-8, name=f"Adam{number or ''}")
            for number in range(1 + len(others))
        ]
        trains = [adam.minimize(tf.reduce_sum(w * w), step) for adam in adams]
        session.run(tf1.global_variables_initializer())
        step.load(begin, session)
        for train, count in zip(trains, (updates, *others)):
            for _ in range(count):
                session.run(train)
        prefix = tf1.train.Saver().save(session, str(folder / "saved"))
        before = session.run(w)
        for _ in range(4):
            session.run(trains[0])
        return prefix, before, session.run(w)


class Job(tf.Module):
    def __init__(self, kind, *betas):
        super().__init__()
        self.w = tf.Variable([0.0, 0.0], name="w")
        self.optimizer = kind(0.1, *betas, epsilon=1e-8)
        self.train(np.zeros(2, np.float32))

    def train(self, gradient=None):
        self.optimizer.apply_gradients([(2 * self.w if gradient is None else gradient, self.w)])

    @property
    def count(self):
        return int(self.optimizer.iterations)


def taken(report):
    (row,) = [row for row in report.restored if "iter" in row.target]
    return row


@pytest.mark.parametrize("kind", [KERAS.Adam, KERAS.legacy.Adam])
@pytest.mark.parametrize("through", ["restore", "convert"])
def test_the_count_is_the_optimizers_not_that_of_a_step_that_began_elsewhere(
    kind, through, tmp_path, caplog
):
    prefix, before, after = trained(tmp_path, begin=1000)
    job = Job(kind)
    told = "4 updates, as 'beta1_power' is beta_1 of this optimizer to the power of 5; the global "
    told += "step is 1004"
    if through == "restore":
        with caplog.at_level(logging.WARNING):
            row = taken(restore(job, prefix))
        assert (row.key, row.by, row.note) == ("beta1_power", "role", told)
        assert told in caplog.text
    else:
        notes = convert(prefix, tmp_path / "like", to="tf2", like=job).notes
        assert any(f"gets 'beta1_power': {told}" in note for note in notes)
        tf.train.Checkpoint(job).read(str(tmp_path / "like")).expect_partial()
    assert job.count == 4
    np.testing.assert_array_equal(job.w, before)
    for _ in range(4):
        job.train()
    np.testing.assert_allclose(job.w, after, rtol=1e-5)


def test_a_step_that_two_optimizers_count_is_not_the_count_of_one(tmp_path):
    prefix, _, _ = trained(tmp_path, others=[4])
    job = Job(KERAS.Adam)
    assert taken(restore(job, prefix, strict=False)).note.endswith("the global step is 8")
    assert job.count == 4


def test_which_of_two_counts_is_whose_is_not_guessed(tmp_path):
    prefix, _, _ = trained(tmp_path, others=[3])
    job = Job(KERAS.Adam)
    note = taken(restore(job, prefix, strict=False)).note
    assert note.startswith("7, the global step; the optimizer's own count is only in 'beta1_power'")


def test_a_step_that_is_the_count_is_taken(tmp_path):
    prefix, _, _ = trained(tmp_path)
    job = Job(KERAS.Adam)
    row = taken(restore(job, prefix))
    assert (row.key, row.note) == (
        "global_step",
        "the global step; by 'beta1_power' it is the count",
    )
    assert job.count == 4


def test_the_count_is_told_when_beta_1_has_shrunk_to_nothing(tmp_path):
    prefix, _, _ = trained(tmp_path, begin=7, updates=30, betas=(0.01, 0.999))
    job = Job(KERAS.Adam, 0.01, 0.999)
    assert taken(restore(job, prefix)).key == "beta2_power"
    assert job.count == 30


@pytest.mark.parametrize("change", ["other betas", "other precision"])
def test_a_step_that_nothing_confirms_is_taken_with_its_doubts(change, tmp_path, caplog):
    prefix, _, _ = trained(tmp_path, begin=1000)
    job = Job(KERAS.Adam, *((0.8, 0.99) if change == "other betas" else ()))
    if change == "other precision":  # to bfloat16 and back
        cast(prefix, tmp_path / "small", to="bfloat16", include="power")
        cast(tmp_path / "small", tmp_path / "large", to="float32", include="power")
        prefix = tmp_path / "large"
    told = (
        "1004, the global step; the optimizer's own count is only in 'beta1_power', 'beta2_power', "
        "which can't be turned into a count without the beta that it was trained with"
    )
    with caplog.at_level(logging.WARNING):
        row = taken(restore(job, prefix))
    assert row.key == "global_step" and row.note.startswith(told)
    assert told in caplog.text
    notes = convert(prefix, tmp_path / "like", to="tf2", like=job).notes
    assert any(f"gets 'global_step': {told}" in note for note in notes)
    assert job.count == 1004


def test_without_a_step_the_powers_count_or_are_named(tmp_path):
    prefix, _, _ = trained(tmp_path)
    drop(prefix, tmp_path / "less", ["global_step"])
    job = Job(KERAS.Adam)
    assert taken(restore(job, tmp_path / "less")).note.endswith("there is no global step")
    assert job.count == 4
    told = "counts no steps; the optimizer's own count is only in 'beta1_power', 'beta2_power'"
    with pytest.raises(VariableMismatchError, match=told):
        restore(Job(KERAS.Adam, 0.8, 0.99), tmp_path / "less")


def test_by_name_alone_no_optimizer_tells_its_betas(tmp_path):
    prefix, _, _ = trained(tmp_path, begin=1000)
    iterations = tf.Variable(0, dtype=tf.int64)
    (row,) = restore({"Adam/iterations": iterations}, prefix).restored
    assert row.key == "global_step" and "only in 'beta1_power', 'beta2_power'" in row.note


def test_a_warm_start_says_what_the_step_stands_for(tmp_path, caplog):
    prefix, _, _ = trained(tmp_path, begin=1000)
    with tf.Graph().as_default(), caplog.at_level(logging.WARNING):
        tf1.get_variable("w", [2])
        tf1.get_variable("Adam/iterations", [], tf.int64)
        list(warm_start_settings(prefix, with_slots=True))
    assert "from global_step (the global step; the optimizer's own count is only in" in caplog.text
