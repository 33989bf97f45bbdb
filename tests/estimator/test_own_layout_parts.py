"""Parts of partitioned variables that a job's own tf.train.Checkpoint holds one by one."""

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import average, cast, convert, describe, doctor, restore, verify, wrap_model_fn

tf1 = tf.compat.v1


def _mine():
    """What the model_fns of such jobs have: each part under the name of its op."""
    return tf.train.Checkpoint(mine={v.op.name: v for v in tf1.global_variables()})


def _model_fn(parts=2, make_saver=_mine, axis=0):
    def model_fn(features, labels, mode):
        partitioner = tf1.fixed_size_partitioner(parts, axis=axis)
        with tf1.variable_scope("layer", partitioner=partitioner):
            w = tf1.get_variable("w", [4, 3], initializer=tf1.glorot_uniform_initializer(seed=1))
        y = tf.matmul(features["x"], tf.convert_to_tensor(w))
        loss = tf.reduce_mean(tf.square(y - labels))
        step = tf1.train.get_global_step()
        train_op = tf1.train.AdamOptimizer(0.1).minimize(loss, global_step=step)
        scaffold = tf1.train.Scaffold(
            saver=make_saver(), init_op=tf1.global_variables_initializer()
        )
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, scaffold=scaffold)

    return model_fn


def _train(model_fn, model_dir, steps=2):
    estimator = jobs.make_estimator(model_fn, model_dir)
    estimator.train(jobs.same_batch_input_fn, steps=steps)
    return estimator.latest_checkpoint()


def _by_object(prefix):
    reader = tf.train.load_checkpoint(prefix)
    keys = reader.get_variable_to_shape_map()
    return {key: reader.get_tensor(key) for key in keys if key.startswith("mine/")}


def _parts(prefix, parts=2):
    """What objects that hold the parts find in a checkpoint, loaded by plain TensorFlow."""
    shape = [4 // parts, 3]
    held = {f"layer/w/part_{part}": tf.Variable(tf.zeros(shape)) for part in range(parts)}
    status = tf.train.Checkpoint(mine=held).read(prefix)
    status.assert_existing_objects_matched()
    return [held[name].numpy() for name in sorted(held)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """{how: the checkpoint of 2 steps}."""
    made = {}
    for how in ("raw", "dual", "tf2"):
        model_fn = _model_fn()
        if how != "raw":
            model_fn = wrap_model_fn(model_fn, checkpoint_format=how)
        made[how] = _train(model_fn, tmp_path_factory.mktemp(how))
    return made


@pytest.mark.parametrize("how", ["dual", "tf2"])
def test_each_part_has_the_key_that_it_has_raw(trained, how):
    jobs.assert_equal_values(_by_object(trained[how]), _by_object(trained["raw"]))
    np.testing.assert_array_equal(_parts(trained[how]), _parts(trained["raw"]))
    assert verify(trained[how]).findings == ()
    assert all(finding.severity != "error" for finding in doctor(trained[how]).findings)


@pytest.mark.parametrize("how", ["dual", "tf2"])
def test_by_name_there_is_the_whole(trained, how, tmp_path):
    names = {row.name: row.shape for row in describe(trained[how]).variables}
    assert names["layer/w/Adam"] == (4, 3)
    assert not [name for name in names if "part_" in name]
    convert(trained[how], tmp_path / "named", to="tf1")
    found = jobs.values(tmp_path / "named")
    assert sorted(found) == sorted(names)
    np.testing.assert_array_equal(found["layer/w"], np.concatenate(_parts(trained["raw"])))


@pytest.mark.parametrize("to", ["dual", "tf2"])
@pytest.mark.parametrize("how", ["dual", "tf2"])
def test_conversions_keep_the_parts(trained, how, to, tmp_path):
    converted = str(tmp_path / "converted")
    convert(trained[how], converted, to=to)
    found, expected = _by_object(converted), _by_object(trained["raw"])
    jobs.assert_equal_values({key: found[key] for key in expected}, expected)
    np.testing.assert_array_equal(_parts(converted), _parts(trained["raw"]))
    assert "layer/w" in {row.name for row in describe(converted).variables}
    assert verify(converted).findings == ()


@pytest.mark.slow
def test_a_job_goes_on_wrapped_and_unwrapped(trained, tmp_path):
    expected = _train(_model_fn(), tmp_path / "raw", steps=6)
    for how in ("dual", "tf2"):
        wrapped = wrap_model_fn(_model_fn(), checkpoint_format=how)
        for model_fn in (_model_fn(), wrapped, _model_fn()):
            prefix = _train(model_fn, tmp_path / how)
        jobs.assert_equal_values(_by_object(prefix), _by_object(expected))


@pytest.mark.parametrize("how", ["dual", "tf2"])
def test_another_number_of_parts_restores_the_whole(trained, how, tmp_path):
    folder = tmp_path / "job"
    convert(trained[how], folder / "model.ckpt-2")
    tf1.train.update_checkpoint_state(str(folder), str(folder / "model.ckpt-2"))
    wrapped = wrap_model_fn(_model_fn(parts=3, axis=1), checkpoint_format=how)
    prefix = _train(wrapped, folder)
    expected = _train(_model_fn(), tmp_path / "raw", steps=4)
    columns = [value for key, value in sorted(_by_object(prefix).items()) if "Adam" not in key]
    columns = [value for value in columns if value.shape == (4, 1)]
    np.testing.assert_allclose(
        np.concatenate(columns, axis=1), np.concatenate(_parts(expected)), rtol=1e-6
    )


@pytest.mark.parametrize("how", ["dual", "tf2"])
def test_tf1_readers_get_the_whole(how, tmp_path):
    wrapped = wrap_model_fn(_model_fn(), checkpoint_format=how, tf1_dir=str(tmp_path / "tf1"))
    prefix = _train(wrapped, tmp_path / "job")
    found = jobs.values(tf.train.latest_checkpoint(str(tmp_path / "tf1")))
    np.testing.assert_array_equal(found["layer/w"], np.concatenate(_parts(prefix)))
    assert not [name for name in found if "part_" in name]


def test_the_tools_take_the_parts(trained, tmp_path):
    source = trained["dual"]
    half = str(tmp_path / "half")
    cast(source, half, to="bfloat16", include="^layer/w$")
    assert verify(half).findings == ()
    reader = tf.train.load_checkpoint(half)
    key = "mine/layer.Sw.Spart_1" + jobs.VALUE
    assert reader.get_tensor("layer/w").dtype == reader.get_tensor(key).dtype
    np.testing.assert_array_equal(reader.get_tensor("layer/w")[2:], reader.get_tensor(key))
    mean = str(tmp_path / "mean")
    average([source, trained["tf2"]], mean)
    np.testing.assert_array_equal(_parts(mean), _parts(source))
    held = {"layer/w/part_1": tf.Variable(tf.zeros([2, 3]))}
    restore(tf.train.Checkpoint(mine=held), source)
    np.testing.assert_array_equal(held["layer/w/part_1"].numpy(), _parts(source)[1])


def test_parts_of_a_saver_with_a_subset(tmp_path):
    """What the Saver leaves out is not saved, and not in the object graph."""

    def subset():
        return tf1.train.Saver([v for v in tf1.global_variables() if "/Adam" not in v.op.name])

    for how in ("dual", "tf2"):
        wrapped = wrap_model_fn(
            _model_fn(make_saver=subset),
            checkpoint_format=how,
            checkpoint_fn=lambda variables, step: _mine(),
        )
        prefix = _train(wrapped, tmp_path / how)
        assert verify(prefix).findings == ()
        assert {row.name for row in describe(prefix).variables} == {
            "beta1_power",
            "beta2_power",
            "global_step",
            "layer/w",
        }
        assert describe(prefix).step == 2
        assert len(_parts(prefix)) == 2
