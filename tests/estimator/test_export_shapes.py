"""An export whose serving input has another width than in training, raw beside wrapped."""

import logging

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import VariableMismatchError, wrap_model_fn

tf1 = tf.compat.v1
MODES = tf.estimator.ModeKeys


def model_fn(features, labels, mode):
    """A layer as wide as its input is."""
    x = features["x"]
    w = tf1.get_variable("w", [x.shape[1], 3], initializer=tf1.ones_initializer())
    y = tf.matmul(x, w)
    predictions = {"y": y, "w": tf.identity(w)}
    if mode == MODES.PREDICT:
        outputs = {"serving_default": tf.estimator.export.PredictOutput(predictions)}
        return tf.estimator.EstimatorSpec(mode, predictions=predictions, export_outputs=outputs)
    loss = tf.reduce_mean(tf.square(y - labels))
    step = tf1.train.get_global_step()
    train_op = tf1.train.GradientDescentOptimizer(0.1).minimize(loss, global_step=step)
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)


def receiver(width):
    def make():
        x = tf1.placeholder(tf.float32, [None, width], name="x")
        return tf.estimator.export.ServingInputReceiver({"x": x}, {"x": x})

    return make


def wide_input_fn():
    features = {"x": np.ones([8, 6], np.float32)}
    return tf.data.Dataset.from_tensors((features, jobs.LABELS[:8]))


def exported_weights(path):
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.saved_model.load(session, [tf.saved_model.SERVING], path.decode())
        return session.run("w/Read/ReadVariableOp:0")


@pytest.mark.parametrize("how", ["dual", "tf2"])
@pytest.mark.parametrize("own_saver", [False, True])
def test_it_exports_what_a_raw_job_exports_with_a_warning(tmp_path, caplog, how, own_saver):
    def with_saver(features, labels, mode):
        spec = model_fn(features, labels, mode)
        if not own_saver:
            return spec
        return spec._replace(scaffold=tf1.train.Scaffold(saver=tf1.train.Saver()))

    found = {}
    for name, job in (
        ("raw", with_saver),
        ("wrapped", wrap_model_fn(with_saver, checkpoint_format=how)),
    ):
        estimator = jobs.make_estimator(job, tmp_path / name)
        estimator.train(jobs.same_batch_input_fn, steps=2)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            path = estimator.export_saved_model(str(tmp_path / "out" / name), receiver(6))
        found[name] = exported_weights(path)
    np.testing.assert_array_equal(found["wrapped"], found["raw"])
    assert found["raw"].shape == (4, 3)
    assert "'w': it is float32 (6, 3) here, and float32 (4, 3) in the checkpoint" in caplog.text
    assert "serving_input_receiver_fn" in caplog.text


def test_training_evaluation_and_prediction_refuse_other_shapes(tmp_path, caplog):
    estimator = jobs.make_estimator(wrap_model_fn(model_fn), tmp_path)
    estimator.train(jobs.same_batch_input_fn, steps=1)
    for act in (
        lambda: estimator.train(wide_input_fn, steps=1),
        lambda: estimator.evaluate(wide_input_fn, steps=1),
        lambda: next(estimator.predict(wide_input_fn)),
    ):
        with pytest.raises(VariableMismatchError, match=r"'w': it is float32 \(6, 3\) here"):
            act()
    caplog.clear()
    estimator.export_saved_model(str(tmp_path / "out"), receiver(4))
    assert "other shapes" not in caplog.text
