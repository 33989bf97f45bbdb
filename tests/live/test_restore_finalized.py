"""Restoring into a graph that is finalized, as in an `init_fn` of a Scaffold."""

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointArgumentError, VariableMismatchError, restore, wrap_model_fn

tf1 = tf.compat.v1


@pytest.fixture(scope="module", params=["tf1", "tf2", "dual"])
def source(request, tmp_path_factory):
    model_dir = tmp_path_factory.mktemp(request.param)
    job = jobs.adam_model_fn
    if request.param != "tf1":
        job = wrap_model_fn(job, checkpoint_format=request.param)
    estimator = jobs.make_estimator(job, model_dir)
    estimator.train(jobs.same_batch_input_fn, steps=3)
    return str(model_dir)


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_init_fn_restores(source, tmp_path, wrapped):
    reports = []

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        variables = {v.op.name: v for v in tf1.global_variables() if v.op.name != "global_step"}

        def init_fn(scaffold, session):
            reports.append(restore(variables, source, session=session))

        return spec._replace(scaffold=tf1.train.Scaffold(init_fn=init_fn))

    job = wrap_model_fn(model_fn) if wrapped else model_fn
    jobs.make_estimator(job, tmp_path).train(jobs.same_batch_input_fn, steps=1)
    first = jobs.values(tmp_path / "model.ckpt-0")
    assert first.pop("global_step") == 0
    last = jobs.values(tf.train.latest_checkpoint(source))
    assert last.pop("global_step") == 3
    jobs.assert_equal_values(first, last)
    assert len(reports[0].restored) == len(last)


@pytest.mark.parametrize("use_resource", [True, False])
def test_parts_and_types(tmp_path, use_resource):
    saved = {"v": np.arange(10, dtype=np.float32).reshape(5, 2), "h": np.float16([1, 2])}
    with tf.Graph().as_default(), tf1.Session() as session:
        made = [tf1.get_variable(name, initializer=value) for name, value in saved.items()]
        session.run(tf1.global_variables_initializer())
        prefix = tf1.train.Saver(made).save(session, str(tmp_path / "ckpt"))
    with tf.Graph().as_default() as graph:
        parts = tf1.get_variable(
            "v",
            [5, 2],
            partitioner=tf1.fixed_size_partitioner(2),
            use_resource=use_resource,
            initializer=tf1.zeros_initializer(),
        )
        half = tf1.get_variable("h", [2], tf.float16, use_resource=use_resource)
        whole = tf.convert_to_tensor(parts)
        graph.finalize()
        with tf1.Session() as session:
            restore({"v": list(parts), "h": half}, prefix, session=session)
            np.testing.assert_array_equal(session.run(whole), saved["v"])
            np.testing.assert_array_equal(session.run(half), saved["h"])


def test_what_can_not_be_restored_there_is_told_with_what_can(source):
    with tf.Graph().as_default() as graph:
        w = tf1.get_variable("layer/w", [4, 3])
        wrong = tf1.get_variable("layer/b", [7])
        checkpoint = tf.train.Checkpoint(w=w)
        graph.finalize()
        with tf1.Session() as session:
            with pytest.raises(CheckpointArgumentError, match=r"finalized.*mapping from names"):
                restore(checkpoint, source, session=session)
            with pytest.raises(VariableMismatchError, match="layer/b"):
                restore({"layer/w": w, "layer/b": wrong}, source, session=session)
