"""Public functions in a model_fn that AutoGraph converts, as under MirroredStrategy."""

import inspect
import subprocess
import sys

import jobs
import numpy as np
import pytest
import tensorflow as tf

import estimator_ckpt

tf1 = tf.compat.v1


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_model_fn_under_a_strategy_can_call_them(tmp_path, wrapped):
    source = str(tmp_path / "source")
    old = jobs.make_estimator(estimator_ckpt.wrap_model_fn(jobs.adam_model_fn), source)
    old.train(jobs.same_batch_input_fn, steps=2)
    described = []

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        if mode == tf.estimator.ModeKeys.TRAIN:
            described.append(estimator_ckpt.describe(source))
            by_key = estimator_ckpt.assignment_map(source, {"layer/w": "layer/w"})
            tf1.train.init_from_checkpoint(source, by_key)
        return spec

    job = estimator_ckpt.wrap_model_fn(model_fn) if wrapped else model_fn
    new = jobs.make_estimator(
        job, tmp_path / "new", train_distribute=tf.distribute.MirroredStrategy(["/cpu:0"])
    )
    new.train(jobs.same_batch_input_fn, steps=1)
    assert described == [estimator_ckpt.describe(source)]
    first = jobs.values(tmp_path / "new/model.ckpt-0")
    np.testing.assert_array_equal(first["layer/w"], old.get_variable_value("layer/w"))


def test_each_public_function_is_marked_as_tensorflow_marks_one_that_is_not_converted():
    marks = set(vars(tf.autograph.experimental.do_not_convert(lambda: None))) - {"__wrapped__"}
    public = [getattr(estimator_ckpt, name) for name in estimator_ckpt.__all__]
    functions = [each for each in public if inspect.isfunction(each)]
    assert len(functions) > 10
    for function in functions:
        assert marks <= set(vars(function)), function


def test_the_mark_loads_no_tensorflow():
    code = (
        "import sys, estimator_ckpt; estimator_ckpt.describe; "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=900)
