"""A job whose own Saver writes TensorFlow's V1 format, wrapped."""

from __future__ import annotations

import jobs
import tensorflow as tf

from estimator_ckpt import describe, wrap_model_fn
from estimator_ckpt.estimator import scaffold

tf1 = tf.compat.v1


def v1_model_fn(features, labels, mode):
    spec = jobs.adam_model_fn(features, labels, mode)
    saver = tf1.train.Saver(write_version=tf1.train.SaverDef.V1)
    return spec._replace(scaffold=tf1.train.Scaffold(saver=saver))


def train(model_fn, folder, steps):
    config = tf.estimator.RunConfig(str(folder), save_checkpoints_steps=2)
    estimator = tf.estimator.Estimator(model_fn, config=config)
    estimator.train(jobs.same_batch_input_fn, steps=steps)
    return estimator


def test_it_resumes_from_v1_writes_v2_and_says_so_once(tmp_path, caplog):
    raw = train(v1_model_fn, tmp_path / "raw", 4)
    assert not list((tmp_path / "raw").glob("*.index"))
    value = raw.get_variable_value("layer/w")
    scaffold._say_that_v2_is_written.cache_clear()
    for _ in range(2):
        wrapped = train(wrap_model_fn(v1_model_fn), tmp_path / "raw", 2)
    assert describe(tmp_path / "raw").format == "dual"
    assert describe(tmp_path / "raw").step == 8
    said = [message for message in caplog.messages if "write_version=V1" in message]
    assert len(said) == 1
    assert "the job writes V2" in said[0]
    whole = train(v1_model_fn, tmp_path / "whole", 8)
    assert (wrapped.get_variable_value("layer/w") == whole.get_variable_value("layer/w")).all()
    assert (wrapped.get_variable_value("layer/w") != value).any()
