"""Jobs with unchanged="link": beside a tf1_dir, flushed, and where nothing can be linked."""

from __future__ import annotations

import logging
import os
import sys

import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointSaver, wrap_model_fn
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.estimator.unchanged import hashing
from estimator_ckpt.estimator.unchanged.bounds import Bounds
from estimator_ckpt.storage import files

tf1 = tf.compat.v1
FROZEN = 400_000  # bytes


def model_fn(features, labels, mode):
    del features, labels
    tf1.get_variable("frozen", [FROZEN // 4], initializer=tf1.ones_initializer(), trainable=False)
    weight = tf1.get_variable("weight", [3], initializer=tf1.ones_initializer())
    loss = tf.reduce_sum(weight)
    train_op = tf1.train.GradientDescentOptimizer(0.1).minimize(loss, tf1.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)


def train(model_dir, made=model_fn, steps=3, **settings):
    config = tf.estimator.RunConfig(save_checkpoints_steps=1, save_summary_steps=None)
    wrapped = wrap_model_fn(made, unchanged="link", **settings)
    estimator = tf.estimator.Estimator(wrapped, str(model_dir), config)
    estimator.train(lambda: tf.data.Dataset.from_tensors(([1.0], [1.0])).repeat(), steps=steps)


def data_files(*folders):
    """The data files in some folders, each once, however many names it has."""
    found = [path.stat() for folder in folders for path in folder.glob("model.ckpt-*.data-*")]
    return {each.st_ino: each.st_size for each in found}


@pytest.mark.parametrize("async_save", [False, True])
def test_the_tf1_checkpoints_have_the_same_files(tmp_path, async_save):
    job, beside = tmp_path / "job", tmp_path / "tf1"
    train(job, tf1_dir=str(beside), async_save=async_save)
    assert len(list(job.glob("*.index"))) == len(list(beside.glob("*.index"))) == 4
    assert data_files(beside).items() <= data_files(job).items()
    assert FROZEN < sum(data_files(job, beside).values()) < FROZEN * 1.2
    for folder in (job, beside):
        reader = tf.train.load_checkpoint(str(folder))
        assert reader.get_tensor("global_step") == 3
        assert reader.get_tensor("frozen").sum() == FROZEN // 4


def test_what_is_linked_is_flushed_once_where_data_is(tmp_path, monkeypatch):
    flushed = []
    sync = files.sync
    monkeypatch.setattr(
        files, "sync", lambda path: flushed.append(os.stat(path).st_ino) or sync(path)
    )
    train(tmp_path, steps=1)  # its data is on the disk, or not
    frozen = max(data_files(tmp_path).items(), key=lambda pair: pair[1])[0]
    assert frozen not in flushed
    train(tmp_path, steps=3, sync_data=True)
    assert frozen in data_files(tmp_path) and flushed.count(frozen) == 1


def warned(caplog):
    return [each.getMessage() for each in caplog.records if "unchanged='link'" in each.getMessage()]


def test_a_remote_model_dir_is_told_that_it_has_no_links(caplog):
    caplog.set_level(logging.WARNING)
    train("ram://unchanged/job")
    (text,) = set(warned(caplog))
    assert "'ram://unchanged/job' is not on a local disk, and has no hard links" in text
    assert tf.train.load_checkpoint("ram://unchanged/job").get_tensor("global_step") == 3


@pytest.mark.parametrize("spelling", ["file://{}", "{}/", "{}/../job", "symlink", "relative"])
@pytest.mark.parametrize("async_save", [False, True])
def test_the_model_dir_may_be_spelled_otherwise(
    tmp_path, monkeypatch, caplog, async_save, spelling
):
    job = tmp_path / "job"
    job.mkdir()
    (tmp_path / "symlink").symlink_to(job)
    monkeypatch.chdir(tmp_path)
    given = {"symlink": str(tmp_path / "symlink"), "relative": "job"}.get(spelling)
    train(given or spelling.format(job), async_save=async_save)
    assert "has no effect" not in caplog.text
    assert FROZEN < sum(data_files(job).values()) < FROZEN * 1.2


def test_a_saver_of_the_job_s_own_kind_is_told_of(tmp_path, caplog):
    class Own(tf1.train.Saver):
        pass

    def with_saver(features, labels, mode):
        spec = model_fn(features, labels, mode)
        return spec._replace(scaffold=tf1.train.Scaffold(saver=Own(sharded=True)))

    caplog.set_level(logging.WARNING)
    train(tmp_path, with_saver)
    assert len(set(warned(caplog))) == 1
    assert sum(data_files(tmp_path).values()) > 4 * FROZEN


def test_variables_of_parameter_servers_are_told_of(caplog):
    caplog.set_level(logging.WARNING)
    with tf.Graph().as_default():
        with tf.device("/job:ps/task:0"):
            tf1.get_variable("far", [3])
        saver = CheckpointSaver("dual", sharded=True)
        saver.unchanged = Bounds()
        saver.build()
    (text,) = warned(caplog)
    assert "'far' is on a parameter server" in text


def test_without_xxhash_it_is_said_what_to_install(monkeypatch):
    hashing._hash_function.cache_clear()
    monkeypatch.setitem(sys.modules, "xxhash", None)
    try:
        with pytest.raises(CheckpointArgumentError, match=r'pip install xxhash.*unchanged="write"'):
            wrap_model_fn(model_fn, unchanged="link")
        wrap_model_fn(model_fn)
    finally:
        hashing._hash_function.cache_clear()
