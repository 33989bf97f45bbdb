"""Moving averages in the place of their variables: in a restore, a conversion and a warm start."""

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointArgumentError, convert, restore, warm_start_settings

tf1 = tf.compat.v1
TF1 = "ExponentialMovingAverage"
VALUES = {
    "layer/kernel": np.float32([[1], [2]]),
    "layer/kernel/AVERAGE": np.float32([[3], [4]]),
    "layer/kernel/Adam": np.float32([[5], [6]]),
    "layer/bias": np.float32([7]),
    "global_step": np.int64(8),
}


@pytest.fixture(params=[TF1, "shadow"])
def suffix(request):
    return request.param


@pytest.fixture(params=["tf1", "dual", "tf2"])
def checkpoint(request, suffix, tmp_path):
    values = {name.replace("AVERAGE", suffix): value for name, value in VALUES.items()}
    with tf.Graph().as_default(), tf1.Session() as session:
        for name, value in values.items():
            tf1.get_variable(name, initializer=value, use_resource=True)
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().save(session, str(tmp_path / "tf1" / "m"))
    convert(tmp_path / "tf1" / "m", tmp_path / "source" / "m", to=request.param)
    return str(tmp_path / "source" / "m")


def test_restored_by_name(checkpoint, suffix, caplog):
    kernel, bias = tf.Variable([[0.0], [0.0]]), tf.Variable([0.0])
    report = restore(
        {"layer/kernel": kernel, "layer/bias": bias}, checkpoint, averages=suffix, strict=True
    )
    np.testing.assert_array_equal(kernel, [[3], [4]])
    np.testing.assert_array_equal(bias, [7])
    by = {row.target: row.by for row in report.restored}
    assert by == {"layer/kernel": "average", "layer/bias": "name"}
    assert "'layer/bias': it has no average, and gets its own value" in caplog.text
    assert "'layer/kernel'" not in caplog.text


def test_variables_and_averages_may_both_be_asked_for(checkpoint, suffix):
    variables = {
        name: tf.Variable([[0.0], [0.0]]) for name in ("layer/kernel", f"layer/kernel/{suffix}")
    }
    restore(variables, checkpoint, averages=suffix)
    for variable in variables.values():
        np.testing.assert_array_equal(variable, [[3], [4]])


def test_restored_by_object(tmp_path):
    model = tf.Module()
    model.kernel = tf.Variable([1.0], name="kernel")
    averages = tf.Module()
    averages.kernel = tf.Variable([2.0], name="kernel/ExponentialMovingAverage")
    prefix = tf.train.Checkpoint(model=model, averages=averages).save(str(tmp_path / "m"))
    other = tf.Module()
    other.kernel = tf.Variable([0.0], name="kernel")
    restore(tf.train.Checkpoint(model=other), prefix, averages=TF1)
    np.testing.assert_array_equal(other.kernel, [2])
    restore(tf.train.Checkpoint(model=other), prefix)
    np.testing.assert_array_equal(other.kernel, [1])


@pytest.mark.parametrize("to", ["tf1", "dual", "tf2"])
def test_converted_without_reading_a_tensor(checkpoint, suffix, to, tmp_path):
    target = str(tmp_path / "target" / "m")
    report = convert(checkpoint, target, to=to, averages=suffix, rename={"layer/": "new/"})
    assert report.bytes_copied == 0
    assert report.notes[0] == "without an average, with their own values: layer/bias"
    assert "replaced by its average" in {row.reason for row in report.dropped}
    variables = {"new/kernel": tf.Variable([[0.0], [0.0]]), "new/bias": tf.Variable([0.0])}
    restore(variables, target)
    np.testing.assert_array_equal(variables["new/kernel"], [[3], [4]])
    np.testing.assert_array_equal(variables["new/bias"], [7])


def test_converted_like_a_model(checkpoint, suffix, tmp_path):
    model = tf.Module()
    model.kernel = tf.Variable([[0.0], [0.0]], name="layer/kernel")
    model.bias = tf.Variable([0.0], name="layer/bias")
    convert(checkpoint, tmp_path / "like" / "m", to="tf2", like=model, averages=suffix)
    tf.train.Checkpoint(model).read(str(tmp_path / "like" / "m")).assert_existing_objects_matched()
    np.testing.assert_array_equal(model.kernel, [[3], [4]])
    np.testing.assert_array_equal(model.bias, [7])


def test_warm_started(checkpoint, suffix, tmp_path, caplog):
    def model_fn(features, labels, mode):
        kernel = tf1.get_variable("layer/kernel", [2, 1])
        bias = tf1.get_variable("layer/bias", [1])
        loss = 0.0 * (tf.reduce_sum(kernel) + tf.reduce_sum(bias))
        step = tf1.train.get_or_create_global_step()
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=tf1.assign_add(step, 1).op)

    estimator = tf.estimator.Estimator(
        model_fn,
        str(tmp_path / "job"),
        warm_start_from=warm_start_settings(checkpoint, averages=suffix),
    )
    estimator.train(jobs.input_fn, steps=1)
    np.testing.assert_array_equal(estimator.get_variable_value("layer/kernel"), [[3], [4]])
    np.testing.assert_array_equal(estimator.get_variable_value("layer/bias"), [7])
    assert "(its average)" in caplog.text
    assert "(it has no average)" in caplog.text


@pytest.mark.parametrize("no", ["no", ""])
@pytest.mark.parametrize(
    "ask",
    [
        lambda source, target, no: restore({"layer/bias": tf.Variable([0.0])}, source, averages=no),
        lambda source, target, no: convert(source, target, averages=no),
        lambda source, target, no: warm_start_settings(source, averages=no),
    ],
)
def test_no_average_is_an_error(checkpoint, ask, no, tmp_path):
    with pytest.raises(
        CheckpointArgumentError, match=f"no name is that of one with '/{no}' behind"
    ):
        ask(checkpoint, tmp_path / "new" / "m", no)
    assert not (tmp_path / "new").exists()
