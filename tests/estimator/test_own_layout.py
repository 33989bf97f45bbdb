"""A tf.train.Checkpoint of the user's own as the layout of a job."""

import jobs
import numpy as np
import tensorflow as tf

from estimator_ckpt import convert, describe, wrap_model_fn

tf1 = tf.compat.v1


def _keras_job(tmp_path, checkpoint_format):
    """Trains a Keras model with a legacy optimizer whose counter is the global step."""
    held = {}

    def model_fn(features, labels, mode):
        dense = tf.keras.layers.Dense(3)
        y = dense(features["x"])
        loss = tf.reduce_mean(tf.square(y - labels))
        optimizer = tf.keras.optimizers.legacy.Adam(0.1)
        optimizer.iterations = tf1.train.get_or_create_global_step()
        train_op = optimizer.get_updates(loss, dense.trainable_variables)[0]
        held.update(model=dense, optimizer=optimizer)
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    wrapped = wrap_model_fn(
        model_fn,
        checkpoint_format=checkpoint_format,
        checkpoint_fn=lambda variables, step: tf.train.Checkpoint(step=step, **held),
    )
    for _ in range(2):
        jobs.make_estimator(wrapped, tmp_path).train(jobs.input_fn, steps=2)
    return tf.train.latest_checkpoint(str(tmp_path))


def test_the_step_is_where_each_object_looks_for_it(tmp_path):
    for checkpoint_format in ("dual", "tf2"):
        prefix = _keras_job(tmp_path / checkpoint_format, checkpoint_format)
        dense = tf.keras.layers.Dense(3)
        dense.build([None, 4])
        optimizer = tf.keras.optimizers.legacy.Adam(0.1)
        step = tf.Variable(0, dtype=tf.int64)
        checkpoint = tf.train.Checkpoint(model=dense, optimizer=optimizer, step=step)
        status = checkpoint.restore(prefix)
        optimizer.apply_gradients([(tf.zeros_like(v), v) for v in dense.trainable_variables])
        status.assert_consumed()
        assert step.numpy() == 4
        assert optimizer.iterations.numpy() == 5  # four of the job and the one above
        assert {"step" + jobs.VALUE, "optimizer/iter" + jobs.VALUE} < jobs.keys(prefix)


def test_a_step_of_two_keys_is_one_variable_by_name(tmp_path):
    prefix = _keras_job(tmp_path / "job", "tf2")
    description = describe(prefix)
    assert description.step == 4
    assert [row.name for row in description.variables].count("global_step") == 1
    convert(prefix, tmp_path / "by-name", to="tf1")
    values = jobs.values(tmp_path / "by-name")
    assert values["global_step"] == 4
    np.testing.assert_array_equal(
        values["dense/kernel"], tf.train.load_variable(prefix, "model/kernel" + jobs.VALUE)
    )
