"""A tf.train.Checkpoint of the user's own as the layout of a job."""

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointSaver, convert, describe, verify, wrap_model_fn
from estimator_ckpt.checkpoint import open_checkpoint

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


def _job_with_saver(make_saver, model_dir, times=2, **wrapped_with):
    """Trains a job that has a Saver of its own, and objects by `checkpoint_fn`."""

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        saver = make_saver({v.op.name: v for v in tf1.global_variables()})
        scaffold = tf1.train.Scaffold(saver=saver, init_op=tf1.global_variables_initializer())
        return spec._replace(scaffold=scaffold)

    def checkpoint_fn(variables, step):
        net = tf.train.Checkpoint(kernel=variables["layer/w"], bias=variables["layer/b"])
        slots = tf.train.Checkpoint(m=variables["layer/w/Adam"])
        return tf.train.Checkpoint(net=net, slots=slots, step=step)

    wrapped = wrap_model_fn(model_fn, checkpoint_fn=checkpoint_fn, **wrapped_with)
    for _ in range(times):
        jobs.make_estimator(wrapped, model_dir).train(jobs.same_batch_input_fn, steps=2)
    return tf.train.latest_checkpoint(str(model_dir))


def _mapped(variables):
    return tf1.train.Saver({name.replace("layer", "net/fc"): v for name, v in variables.items()})


def _chosen(variables):
    names = ("layer/w", "layer/b", "global_step")
    return tf1.train.Saver([variables[name] for name in names])


def _load_net(prefix):
    net = tf.train.Checkpoint(kernel=tf.Variable(tf.zeros([4, 3])), bias=tf.Variable(tf.zeros([3])))
    step = tf.Variable(0, dtype=tf.int64)
    tf.train.Checkpoint(net=net, step=step).read(prefix).assert_existing_objects_matched()
    return net.kernel.numpy(), net.bias.numpy(), step.numpy()


@pytest.mark.parametrize("checkpoint_format", ["dual", "tf2"])
def test_a_name_map_and_objects_are_matched_by_variable(tmp_path, checkpoint_format):
    tf1_dir = str(tmp_path / "tf1")
    prefix = _job_with_saver(
        _mapped, tmp_path / "job", checkpoint_format=checkpoint_format, tf1_dir=tf1_dir
    )
    named = jobs.values(tf.train.latest_checkpoint(tf1_dir))
    expected = {"net/fc/w", "net/fc/b", "beta1_power", "beta2_power", "global_step"}
    expected |= {f"net/fc/{name}/{slot}" for name in "wb" for slot in ("Adam", "Adam_1")}
    assert set(named) == expected
    assert {row.name for row in describe(prefix).variables} == expected
    kernel, bias, step = _load_net(prefix)
    np.testing.assert_array_equal(kernel, named["net/fc/w"])
    np.testing.assert_array_equal(bias, named["net/fc/b"])
    assert step == 4
    stored = [entry[2:5] for entry in open_checkpoint(prefix).index.entries.values()]
    assert len(set(stored)) == len(expected) + 1  # each variable once, and the object graph


@pytest.mark.parametrize("checkpoint_format", ["dual", "tf2"])
def test_what_a_saver_leaves_out_is_not_saved_for_an_object(tmp_path, checkpoint_format):
    prefix = _job_with_saver(_chosen, tmp_path / "job", 1, checkpoint_format=checkpoint_format)
    assert len(describe(prefix).variables) == 3
    assert not [key for key in jobs.keys(prefix) if "Adam" in key or "slots" in key]
    assert verify(prefix).findings == ()
    assert _load_net(prefix)[2] == 2


def test_a_step_that_a_saver_leaves_out(tmp_path):
    prefix = _job_with_saver(
        lambda variables: tf1.train.Saver([variables["layer/w"], variables["layer/b"]]),
        tmp_path / "job",
        times=1,
    )
    assert {row.name for row in describe(prefix).variables} == {"layer/w", "layer/b"}
    assert verify(prefix).findings == ()


def test_a_table_that_both_sides_have_is_stored_once(tmp_path):
    with tf.Graph().as_default(), tf1.Session() as session:
        table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1, name="t")
        insert = table.insert(tf.constant(["a"]), tf.constant([7], tf.int64))
        saver = CheckpointSaver("dual", checkpoint=tf.train.Checkpoint(held=table))
        saver.build()
        session.run(insert)
        prefix = saver.save(session, str(tmp_path / "model"))
        assert {row.name for row in describe(prefix).variables} == {"t-keys", "t-values"}
        session.run(table.remove(tf.constant(["a"])))
        saver.restore(session, prefix)
        assert session.run(table.lookup(tf.constant(["a"]))) == [7]
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    tf.train.Checkpoint(held=table).read(prefix).assert_existing_objects_matched()
    assert table.lookup(tf.constant(["a"])).numpy() == [7]


@pytest.mark.parametrize("checkpoint_format", ["dual", "tf2"])
def test_a_name_map_beside_a_dictionary_of_other_names_is_emitted(tmp_path, checkpoint_format):
    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        saver = _mapped({v.op.name: v for v in tf1.global_variables()})
        return spec._replace(scaffold=tf1.train.Scaffold(saver=saver))

    wrapped = wrap_model_fn(
        model_fn,
        checkpoint_format=checkpoint_format,
        checkpoint_fn=lambda variables, step: tf.train.Checkpoint(held=variables, step=step),
        tf1_dir=str(tmp_path / "tf1"),
    )
    jobs.make_estimator(wrapped, tmp_path / "job").train(jobs.same_batch_input_fn, steps=2)
    emitted = jobs.values(tf.train.latest_checkpoint(str(tmp_path / "tf1")))
    jobs.make_estimator(model_fn, tmp_path / "raw").train(jobs.same_batch_input_fn, steps=2)
    raw = jobs.values(tf.train.latest_checkpoint(str(tmp_path / "raw")))
    jobs.assert_equal_values(emitted, raw)


def test_a_step_that_is_in_the_dictionary_too_is_one_in_each_format(tmp_path):
    wrapped = wrap_model_fn(
        jobs.adam_model_fn,
        checkpoint_fn=lambda variables, step: tf.train.Checkpoint(held=variables, steps=step),
    )
    jobs.make_estimator(wrapped, tmp_path / "job").train(jobs.same_batch_input_fn, steps=2)
    names = {row.name for row in describe(tmp_path / "job").variables}
    assert "global_step" in names
    for to in ("tf2", "tf1", "dual"):
        convert(tmp_path / "job", tmp_path / to / "model", to=to)
        found = describe(tmp_path / to / "model")
        assert {row.name for row in found.variables} == names
        assert found.step == 2


@pytest.mark.parametrize("default", [-1.0, [-1.0, -2.0]])
@pytest.mark.parametrize("key_type", [tf.int64, tf.string])
def test_a_table_that_the_checkpoint_of_a_raw_job_left_out_begins_empty(
    tmp_path, caplog, default, key_type
):
    def model_fn(features, labels, mode):
        step = tf1.train.get_or_create_global_step()
        table = tf.lookup.experimental.MutableHashTable(key_type, tf.float32, default, name="seen")
        key = tf.reshape(step, [1])
        key = tf.as_string(key) if key_type == tf.string else key
        insert = table.insert(key, tf.constant([default]))
        scaffold = tf1.train.Scaffold(saver=tf.train.Checkpoint(step=step))
        with tf.control_dependencies([insert]):
            train_op = tf1.assign_add(step, 1).op
        loss = tf.constant(0.0)
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, scaffold=scaffold)

    jobs.make_estimator(model_fn, tmp_path).train(jobs.input_fn, steps=3)
    wrapped = wrap_model_fn(model_fn)
    jobs.make_estimator(wrapped, tmp_path).train(jobs.input_fn, steps=2)
    assert "lacks the table 'seen', which stays as it is" in caplog.text
    caplog.clear()
    values = jobs.values(tf.train.latest_checkpoint(str(tmp_path)))
    assert len(values["seen-keys"]) == len(values["seen-values"]) == 2
    jobs.make_estimator(wrapped, tmp_path).train(jobs.input_fn, steps=1)
    values = jobs.values(tf.train.latest_checkpoint(str(tmp_path)))
    assert len(values["seen-keys"]) == 3
    assert "lacks" not in caplog.text
