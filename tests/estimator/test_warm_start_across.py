"""Warm starts of jobs from the checkpoints of other optimizers, and from what does not fit."""

from __future__ import annotations

import logging

import numpy as np
import optimizer_jobs
import pytest
import tensorflow as tf
from absl import flags as absl_flags

from estimator_ckpt import VariableMismatchError, flags, warm_start_settings

tf1 = tf.compat.v1
TABLE = [
    (name, before)
    for before, names in optimizer_jobs.OPTIMIZERS.items()
    for name in names
    if name in optimizer_jobs.OPTIMIZERS["session"]
]
EVERYDAY = [
    *(("adam", "keras3"), ("adam", "session"), ("momentum", "legacy"), ("rmsprop", "new")),
    *(("ftrl", "tf1"), ("adagrad", "new"), ("rmsprop_centered", "legacy")),
    *(("adadelta", "keras3"), ("adam", "legacy")),
]


@pytest.mark.parametrize(
    ("name", "before"),
    [
        pytest.param(*row, id="-".join(row), marks=[] if row in EVERYDAY else pytest.mark.slow)
        for row in TABLE
    ],
)
def test_four_steps_and_four_are_eight_or_the_table_says_why(name, before, tmp_path, caplog):
    if before == "keras3" and not optimizer_jobs.has_keras3():
        pytest.skip("Keras 3 is not here")
    first = optimizer_jobs.make(before, name)
    first.train(4)
    prefix = first.save(tmp_path / "saved")
    settings = warm_start_settings(prefix, with_slots=True, with_step=True)
    with caplog.at_level(logging.WARNING):
        second = optimizer_jobs.make("session", name, settings)
    lacks = [line for line in caplog.text.splitlines() if "the checkpoint lacks it: " in line]
    expected = optimizer_jobs.reasons_expected(name, before, "session")
    for line in lacks:
        assert line.split("the checkpoint lacks it: ")[1].startswith(tuple(expected))
    for told in expected:
        assert any(told in line for line in lacks)
    assert second.step() == (0 if before == "tf1" else 4)
    optimizer_jobs.require_goes_on(first, second, name, before, "session", expected)


@pytest.fixture
def saved(tmp_path):
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.get_variable("table", initializer=np.arange(12, dtype=np.float32).reshape(6, 2))
        tf1.get_variable("other", initializer=[7.0])
        session.run(tf1.global_variables_initializer())
        return tf1.train.Saver().save(session, str(tmp_path / "saved"))


def started(settings, rows, parts=None):
    """Warm-starts a table of some rows, in parts or not, and returns it and `other`."""
    with tf.Graph().as_default(), tf1.Session() as session:
        partitioner = tf1.fixed_size_partitioner(parts) if parts else None
        zeros = tf1.zeros_initializer()
        table = tf1.get_variable("table", [rows, 2], partitioner=partitioner, initializer=zeros)
        other = tf1.get_variable("other", [1], initializer=zeros)
        tf1.train.warm_start(*settings)
        session.run(tf1.global_variables_initializer())
        return session.run([tf.convert_to_tensor(table), other])


@pytest.mark.parametrize("parts", [None, 3])
def test_a_partitioned_variable_that_does_not_fit_is_an_error_or_skipped(saved, parts, caplog):
    np.testing.assert_array_equal(
        started(warm_start_settings(saved), 6, parts)[0], np.arange(12).reshape(6, 2)
    )
    words = r"float32 \(9, 2\) here, and float32 \(6, 2\) in the checkpoint"
    with pytest.raises(VariableMismatchError, match=words):
        started(warm_start_settings(saved), 9, parts)
    with caplog.at_level(logging.WARNING):
        table, other = started(warm_start_settings(saved, on_mismatch="skip"), 9, parts)
    assert not table.any() and other == [7.0]
    assert "skipped: it is float32 (9, 2) here" in caplog.text


def test_the_flag_says_what_becomes_of_what_does_not_fit(saved):
    values = absl_flags.FlagValues()
    flags.define_checkpoint_flags(flag_values=values)
    values(["program", f"--warm_start_from={saved}"])
    with pytest.raises(VariableMismatchError, match="1 variables of the graph don't fit"):
        started(flags.warm_start_from_flags(flag_values=values), 9)
    values(["program", f"--warm_start_from={saved}", "--warm_start_on_mismatch=skip"])
    table, other = started(flags.warm_start_from_flags(flag_values=values), 9, 3)
    assert not table.any() and other == [7.0]
