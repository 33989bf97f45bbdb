"""CheckpointInputPipelineHook: what a resumed job reads next, and how its files are called."""

from __future__ import annotations

import json

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt.compat.input_pipeline import CheckpointInputPipelineHook

tf1 = tf.compat.v1
THEIRS = tf.data.experimental.CheckpointInputPipelineHook  # ours, where TensorFlow has none


def numbers_input_fn():
    return tf.data.Dataset.range(100).map(lambda number: {"n": number})


def random_input_fn():
    return numbers_input_fn().map(
        lambda each: {"n": each["n"] + tf.random.uniform([], 0, 9, tf.int64)}
    )


def model_fn(features, labels, mode):
    """Notes in `seen` the number that each step reads."""
    del labels
    step = tf1.train.get_or_create_global_step()
    seen = tf1.get_variable("seen", [16], tf.int64, tf1.zeros_initializer(), trainable=False)
    written = tf1.assign_add(seen, features["n"] * tf.one_hot(step, 16, dtype=tf.int64))
    with tf.control_dependencies([written]):
        train_op = tf1.assign_add(step, 1)
    return tf.estimator.EstimatorSpec(mode, loss=tf.constant(0.0), train_op=train_op)


def train(model_dir, hook, steps=3):
    estimator = jobs.make_estimator(model_fn, model_dir, save_checkpoints_steps=2)
    estimator.train(numbers_input_fn, steps=steps, hooks=[hook(estimator)])
    return list(jobs.values(estimator.latest_checkpoint())["seen"])


@pytest.mark.parametrize("first", [CheckpointInputPipelineHook, THEIRS])
@pytest.mark.parametrize("second", [CheckpointInputPipelineHook, THEIRS])
def test_the_input_goes_on_where_it_was(tmp_path, first, second):
    train(tmp_path, first)
    assert train(tmp_path, second)[:6] == [0, 1, 2, 3, 4, 5]
    steps = {path.name for path in tmp_path.glob("input.ckpt-*.index")}
    assert steps == {f"input.ckpt-{step}.index" for step in (0, 2, 3, 4, 6)}
    assert jobs.listed(tmp_path)[-1] == "model.ckpt-6"  # the model's own list is as ever
    newest = tf.train.latest_checkpoint(str(tmp_path), latest_filename="checkpoint_input")
    assert jobs.keys(newest) == {"IteratorV2:0_STATE"}


def test_each_task_has_a_file_of_its_own(tmp_path, monkeypatch):
    cluster = {"chief": ["127.0.0.1:1"], "worker": ["127.0.0.1:2", "127.0.0.1:3"]}
    for task, expected in ((("chief", 0), ""), (("worker", 1), "_worker_1")):
        place = {"type": task[0], "index": task[1]}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": place}))
        hook = CheckpointInputPipelineHook(jobs.make_estimator(model_fn, tmp_path))
        assert (hook._basename, hook._state_file) == (
            f"input{expected}.ckpt",
            f"checkpoint_input{expected}",
        )


def test_the_policy_decides_about_random_input(tmp_path):
    estimator = jobs.make_estimator(model_fn, tmp_path)
    with pytest.raises(ValueError, match="give one of"):
        CheckpointInputPipelineHook(estimator, external_state_policy="maybe")
    with pytest.raises(tf.errors.FailedPreconditionError):
        estimator.train(random_input_fn, steps=1, hooks=[CheckpointInputPipelineHook(estimator)])
    hook = CheckpointInputPipelineHook(estimator, external_state_policy="ignore")
    estimator.train(random_input_fn, steps=1, hooks=[hook])
    assert (tmp_path / "checkpoint_input").exists()


def test_a_job_without_a_dataset_has_no_input_to_save(tmp_path):
    estimator = jobs.make_estimator(model_fn, tmp_path)
    number = {"n": np.int64(1)}
    with pytest.raises(ValueError, match="let input_fn return"):
        estimator.train(
            lambda: {key: tf.constant(each) for key, each in number.items()},
            steps=1,
            hooks=[CheckpointInputPipelineHook(estimator)],
        )
