"""Handwritten digits, with a model_fn as one wrote it for TF1.

    estimator = tf.estimator.Estimator(
        wrap_model_fn(digits.model_fn), params={"learning_rate": 0.002})
    estimator.train(digits.train_input_fn, max_steps=600)
    estimator.evaluate(digits.eval_input_fn)      # {"accuracy": 0.97, ...}

The data are the 1,797 images of 8 by 8 pixels that scikit-learn ships: nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from estimator_ckpt.compat import estimator as tf_estimator

try:
    from sklearn.datasets import load_digits
except ImportError as error:
    raise ImportError(
        f'{error}; the examples need: pip install "estimator_ckpt[examples]"'
    ) from error

tf1 = tf.compat.v1

_PIXELS = 64
_CLASSES = 10
_HELD_OUT = 360

DEFAULTS: Mapping[str, Any] = {
    "batch_size": 64,
    "hidden_units": [128, 64],
    "learning_rate": 0.002,
    "scope": "digits",
    "seed": 7,
}
"""The params of the model, each of which `params` may override."""


def model_fn(features: Any, labels: Any, mode: str, params: Mapping[str, Any]) -> Any:
    """Classifies digits with a small dense network, trained with Adam.

    Args:
      features: `{"pixels": float32 [batch, 64]}`, grey levels from 0 to 1.
      labels: int64 [batch], the digits; None to predict.
      mode: one of `tf.estimator.ModeKeys`.
      params: overrides of `DEFAULTS`. `scope` is the scope of all the model's variables.

    Returns:
      A `tf.estimator.EstimatorSpec`.
    """
    params = {**DEFAULTS, **params}
    with tf1.variable_scope(params["scope"]):
        net = features["pixels"]
        for layer, units in enumerate(params["hidden_units"]):
            net = tf.nn.relu(_dense(net, units, f"hidden_{layer}", params["seed"] + layer))
        logits = _dense(net, _CLASSES, "logits", params["seed"] - 1)
    predictions = {"digit": tf.argmax(logits, axis=-1), "probabilities": tf.nn.softmax(logits)}
    if mode == tf_estimator.ModeKeys.PREDICT:
        outputs = {"serving_default": tf_estimator.export.PredictOutput(predictions)}
        return tf_estimator.EstimatorSpec(mode, predictions=predictions, export_outputs=outputs)

    loss = tf1.losses.sparse_softmax_cross_entropy(labels, logits)
    metrics = {"accuracy": tf1.metrics.accuracy(labels, predictions["digit"])}
    if mode == tf_estimator.ModeKeys.EVAL:
        return tf_estimator.EstimatorSpec(mode, loss=loss, eval_metric_ops=metrics)

    optimizer = tf1.train.AdamOptimizer(params["learning_rate"])
    train_op = optimizer.minimize(loss, global_step=tf1.train.get_global_step())
    return tf_estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)


def _dense(inputs: Any, units: int, name: str, seed: int) -> Any:
    with tf1.variable_scope(name):
        kernel = tf1.get_variable(
            "kernel",
            [inputs.shape[-1], units],
            initializer=tf1.glorot_uniform_initializer(seed=seed),
        )
        bias = tf1.get_variable("bias", [units], initializer=tf1.zeros_initializer())
        return tf.matmul(inputs, kernel) + bias


def train_input_fn(params: Mapping[str, Any]) -> Any:
    """Gives batches of the 1,437 training images, shuffled, without end.

    Args:
      params: `batch_size` and `seed` override `DEFAULTS`.

    Returns:
      A `tf.data.Dataset` of features and labels.
    """
    params = {**DEFAULTS, **params}
    images = _images(slice(_HELD_OUT, None))
    shuffled = images.shuffle(2048, seed=params["seed"]).repeat()
    return shuffled.batch(params["batch_size"]).prefetch(1)


def eval_input_fn() -> Any:
    """Gives the 360 images that are held out, once.

    Returns:
      A `tf.data.Dataset` of features and labels.
    """
    return _images(slice(None, _HELD_OUT)).batch(_HELD_OUT)


def serving_input_fn() -> Any:
    """Receives images as float32 [batch, 64].

    Returns:
      A `tf.estimator.export.ServingInputReceiver`.
    """
    pixels = tf1.placeholder(tf.float32, [None, _PIXELS], name="pixels")
    return tf_estimator.export.ServingInputReceiver({"pixels": pixels}, {"pixels": pixels})


def _images(part: slice) -> Any:
    """Returns one part of the images, in an order that is always the same."""
    pixels, digits = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(digits))[part]
    features = {"pixels": (pixels[order] / 16.0).astype(np.float32)}
    return tf.data.Dataset.from_tensor_slices((features, digits[order].astype(np.int64)))
