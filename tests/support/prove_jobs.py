"""Jobs to be proved, by functions that other processes find by name: `prove_jobs:model_fn`."""

from __future__ import annotations

import os
import pathlib
import random
import threading

import numpy as np
import tensorflow as tf

from estimator_ckpt import wrap_model_fn

tf1 = tf.compat.v1
Modes = tf.estimator.ModeKeys
_X = np.random.RandomState(0).randn(64, 4).astype(np.float32)
_Y = (_X.sum(axis=1) > 0).astype(np.int64)


def input_fn():
    features = {"x": _X, "word": ["ab"[number % 2] for number in range(len(_X))]}
    return tf.data.Dataset.from_tensor_slices((features, _Y)).shuffle(64).repeat().batch(8)


def empty_input_fn():
    return input_fn().take(0)


def two_batches_input_fn():
    return input_fn().take(2)


def _spec(mode, logits, labels, optimizer, **more):
    if mode == Modes.PREDICT:
        return tf.estimator.EstimatorSpec(mode, predictions={"logits": logits})
    loss = tf1.losses.sparse_softmax_cross_entropy(labels, logits)
    metrics = {"accuracy": tf1.metrics.accuracy(labels, tf.argmax(logits, 1))}
    if mode == Modes.EVAL:
        return tf.estimator.EstimatorSpec(mode, loss=loss, eval_metric_ops=metrics)
    with tf.control_dependencies(tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)):
        train = optimizer.minimize(loss, tf1.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train, **more)


def mirrored_config_fn():
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    return tf.estimator.RunConfig(train_distribute=strategy, keep_checkpoint_max=1)


class _CountsRuns(tf.estimator.SessionRunHook):
    """Makes a variable late, as hooks may."""

    def begin(self):
        counter = tf1.get_variable("runs", [], initializer=tf1.zeros_initializer(), trainable=False)
        self._count = counter.assign_add(1)

    def before_run(self, run_context):
        return tf.estimator.SessionRunArgs(self._count)


def rich_model_fn(features, labels, mode, params, config):
    """Feature columns, a table, batch norm, dropout, randomness of Python and numpy, a hook."""
    assert config.tf_random_seed is not None
    columns = tf.feature_column
    words = columns.categorical_column_with_vocabulary_list("word", ["a", "b"])
    inputs = [columns.numeric_column("x", [4]), columns.embedding_column(words, 3)]
    training = mode == Modes.TRAIN
    net = tf1.feature_column.input_layer(features, inputs)
    net = tf1.layers.dense(net * (random.random() + np.random.rand()), params["units"])
    net = tf1.layers.batch_normalization(net, training=training)
    net = tf1.layers.dropout(net, 0.5, training=training)
    tf1.summary.scalar("mean", tf.reduce_mean(net))
    hooks = {"training_hooks": [_CountsRuns()]}
    return _spec(mode, tf1.layers.dense(net, 2), labels, tf1.train.AdamOptimizer(0.1), **hooks)


def told_model_fn(features, labels, mode, config):
    """Learns faster in a folder that says it is wrapped."""
    rate = 0.2 if "wrapped" in config.model_dir else 0.1
    optimizer = tf1.train.MomentumOptimizer(rate, 0.9)
    return _spec(mode, tf1.layers.dense(features["x"], 2), labels, optimizer)


wrapped_model_fn = wrap_model_fn(told_model_fn)


def breaks_when_wrapped_model_fn(features, labels, mode, config):
    if "wrapped" in config.model_dir:
        raise KeyError("only raw")
    return told_model_fn(features, labels, mode, config)


def unrepeatable_model_fn(features, labels, mode):
    noise = int.from_bytes(os.urandom(2), "big") / 2**16 + 0.5
    optimizer = tf1.train.AdamOptimizer(0.1)
    return _spec(mode, noise * tf1.layers.dense(features["x"], 2), labels, optimizer)


def failing_model_fn(features, labels, mode):
    print("what the job printed")
    return features["nothing"]


def training_only_model_fn(features, labels, mode):
    if mode != Modes.TRAIN:
        raise NotImplementedError("for training only")
    optimizer = tf1.train.GradientDescentOptimizer(0.1)
    return _spec(mode, tf1.layers.dense(features["x"], 2), labels, optimizer)


def endless_model_fn(features, labels, mode):
    pathlib.Path("pid").write_text(f"{os.getpid()}\n")
    threading.Event().wait()


def staying_model_fn(features, labels, mode, config):
    """Starts a thread that outlives the job."""
    threading.Thread(target=threading.Event().wait, daemon=False).start()
    return told_model_fn(features, labels, mode, config)


def evaluates_raw_model_fn(features, labels, mode, config):
    if mode == Modes.EVAL and "wrapped" in config.model_dir:
        raise NotImplementedError("not when it is wrapped")
    optimizer = tf1.train.GradientDescentOptimizer(0.1)
    return _spec(mode, tf1.layers.dense(features["x"], 2), labels, optimizer)


def stuck_model_fn(features, labels, mode):
    loss = tf.reduce_sum(tf1.layers.dense(features["x"], 2))
    train = tf1.train.GradientDescentOptimizer(0.1).minimize(loss)
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)
