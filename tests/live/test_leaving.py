"""Whole networks of TensorFlow 1 go into Keras 3, by `propose_map` and `convert(like=)` alone.

Each is trained, converted, and trained on in both worlds: outputs and the next step are equal.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np
import optimizer_jobs
import pytest
import tensorflow as tf

from estimator_ckpt import convert, propose_map

if not optimizer_jobs.has_keras3():
    pytest.skip("needs Keras 3", allow_module_level=True)
import keras

tf1 = tf.compat.v1
STEPS, RATE = 3, 0.01
RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 50, (4, 7)).astype(np.int32)
IMAGES = RNG.normal(size=(4, 16, 16, 3)).astype(np.float32)
TABLE = {
    "age": RNG.normal(size=(8, 1)).astype(np.float32),
    "sizes": RNG.normal(size=(8, 2)).astype(np.float32),
}
LABELS = np.arange(8) % 3


@dataclasses.dataclass
class Trained:
    """A job of TensorFlow 1: where it saved, what it gave then, and what it gives a step later."""

    prefix: str
    output: np.ndarray
    next_output: np.ndarray


# --- BERT


def _tf1_bert(ids):
    def dense(x, size, name):
        return tf1.layers.dense(x, size, name=name)

    def norm(x, name="LayerNorm"):
        with tf1.variable_scope(name):
            beta = tf1.get_variable("beta", [16], initializer=tf1.zeros_initializer())
            gamma = tf1.get_variable("gamma", [16], initializer=tf1.ones_initializer())
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-12)

    with tf1.variable_scope("bert"):
        with tf1.variable_scope("embeddings"):
            words = tf1.get_variable("word_embeddings", [50, 16])
            kinds = tf1.get_variable("token_type_embeddings", [2, 16])
            places = tf1.get_variable("position_embeddings", [12, 16])
            x = tf.gather(words, ids) + tf.gather(kinds, tf.zeros_like(ids))
            x = norm(x + tf.gather(places, np.arange(7)))
        for number in range(2):
            with tf1.variable_scope(f"encoder/layer_{number}"):
                with tf1.variable_scope("attention/self"):
                    query, key, value = (
                        tf.reshape(dense(x, 16, name), [4, 7, 2, 8])
                        for name in ("query", "key", "value")
                    )
                scores = tf.nn.softmax(tf.einsum("bqhd,bkhd->bhqk", query, key) / 8**0.5)
                attended = tf.reshape(tf.einsum("bhqk,bkhd->bqhd", scores, value), [4, 7, 16])
                with tf1.variable_scope("attention/output"):
                    x = norm(x + dense(attended, 16, "dense"))
                with tf1.variable_scope("intermediate"):
                    inner = tf.nn.gelu(dense(x, 32, "dense"))
                with tf1.variable_scope("output"):
                    x = norm(x + dense(inner, 16, "dense"))
        with tf1.variable_scope("pooler"):
            return tf.tanh(dense(x[:, 0], 16, "dense"))


def _keras_bert():
    layers = keras.layers

    def embedding(count, name):
        return layers.Embedding(count, 16, name=name)

    def norm(name):
        return layers.LayerNormalization(epsilon=1e-12, name=name)

    ids = keras.Input([7], dtype="int32", name="ids")
    x = embedding(50, "word_embeddings")(ids) + embedding(2, "token_type_embeddings")(ids * 0)
    x = x + embedding(12, "position_embeddings")(ids * 0 + np.arange(7, dtype=np.int32))
    x = norm("embeddings_norm")(x)
    for number in range(2):
        attention = layers.MultiHeadAttention(2, 8, name=f"layer_{number}_attention")
        x = norm(f"layer_{number}_attention_norm")(x + attention(x, x))
        inner = layers.Dense(32, "gelu", name=f"layer_{number}_intermediate")(x)
        inner = layers.Dense(16, name=f"layer_{number}_output")(inner)
        x = norm(f"layer_{number}_output_norm")(x + inner)
    return keras.Model(ids, layers.Dense(16, "tanh", name="pooler")(x[:, 0]))


# --- a CNN, in slim's names


def _tf1_cnn(images):
    x = images
    with tf1.variable_scope("CifarNet"):
        for name, size, stride in (("Conv2d_1a_3x3", 8, 2), ("Conv2d_2a_3x3", 8, 1)):
            with tf1.variable_scope(name):
                weights = tf1.get_variable("weights", [3, 3, x.shape[-1], size])
                x = tf.nn.conv2d(x, weights, stride, "SAME")
                with tf1.variable_scope("BatchNorm"):
                    values = {
                        leaf: tf1.get_variable(leaf, [size], initializer=first, trainable=trained)
                        for leaf, first, trained in (
                            ("gamma", tf1.ones_initializer(), True),
                            ("beta", tf1.zeros_initializer(), True),
                            ("moving_mean", tf1.random_normal_initializer(), False),
                            ("moving_variance", tf1.random_uniform_initializer(1, 2), False),
                        )
                    }
                gamma, beta, mean, variance = values.values()
                x = tf.nn.relu(tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3))
        with tf1.variable_scope("Logits"):
            weights = tf1.get_variable("weights", [8 * 8 * 8, 5])
            biases = tf1.get_variable("biases", [5], initializer=tf1.zeros_initializer())
    return tf.reshape(x, [4, -1]) @ weights + biases


def _keras_cnn():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(IMAGES.shape[1:]),
            layers.Conv2D(8, 3, 2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


# --- a canned estimator


def _tf1_classifier(folder):
    estimator = tf1.estimator.DNNClassifier(
        [16, 8],
        [tf.feature_column.numeric_column(name, [value.shape[1]]) for name, value in TABLE.items()],
        str(folder),
        n_classes=3,
        optimizer=lambda: tf1.train.AdamOptimizer(RATE),
        loss_reduction=tf1.losses.Reduction.SUM_OVER_BATCH_SIZE,
    )

    def input_fn():
        return tf.data.Dataset.from_tensors((TABLE, LABELS)).repeat(STEPS + 1)

    def outputs():
        few = estimator.predict(lambda: tf.data.Dataset.from_tensors(TABLE))
        return np.stack([each["logits"] for each in few])

    estimator.train(input_fn, steps=STEPS)
    prefix, output = estimator.latest_checkpoint(), outputs()
    estimator.train(input_fn, steps=1)
    return Trained(prefix, output, outputs())


def _keras_classifier():
    inputs = [keras.Input([values.shape[1]], name=name) for name, values in TABLE.items()]
    x = keras.layers.Concatenate()(inputs)
    for size in (16, 8):
        x = keras.layers.Dense(size, "relu")(x)
    return keras.Model(inputs, keras.layers.Dense(3)(x))


# --- all of them


def _trained(network, inputs, folder):
    with tf1.Graph().as_default(), tf1.Session() as session:
        output = network(tf.constant(inputs))
        loss = tf.reduce_mean(output**2)
        step = tf1.train.get_or_create_global_step()
        train = tf1.train.AdamOptimizer(RATE).minimize(loss, step)
        session.run(tf1.global_variables_initializer())
        for _ in range(STEPS):
            session.run(train)
        prefix = tf1.train.Saver().save(session, str(folder / "model.ckpt"), step)
        before = session.run(output)
        session.run(train)
        return Trained(prefix, before, session.run(output))


def _squares(output):
    return tf.reduce_mean(output**2)


def _cross_entropy(output):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, output))


def _without_data(prefix, target):
    """Copies a checkpoint, with zeros for its data: who reads a tensor finds it damaged."""
    target.parent.mkdir()
    for path in pathlib.Path(prefix).parent.glob(f"{os.path.basename(prefix)}.*"):
        data = path.read_bytes()
        is_data = ".data-" in path.name
        suffix = path.name[len(os.path.basename(prefix)) :]
        target.with_name(target.name + suffix).write_bytes(bytes(len(data)) if is_data else data)


NETWORKS = {
    "bert": (lambda folder: _trained(_tf1_bert, IDS, folder), _keras_bert, IDS, _squares),
    "cnn": (lambda folder: _trained(_tf1_cnn, IMAGES, folder), _keras_cnn, IMAGES, _squares),
    "classifier": (_tf1_classifier, _keras_classifier, TABLE, _cross_entropy),
}


@pytest.mark.parametrize(
    "network",
    [pytest.param(name, marks=[] if name == "cnn" else pytest.mark.slow) for name in NETWORKS],
)
def test_a_network_goes_on_in_keras_3_where_it_was(network, tmp_path):
    train, make, inputs, loss = NETWORKS[network]
    trained = train(tmp_path / "job")
    model = make()
    model.compile(keras.optimizers.Adam(RATE, epsilon=1e-8))
    model.optimizer.build(model.trainable_variables)

    made = propose_map(trained.prefix, model)
    assert not made.asked and not made.refused
    rename = dataclasses.replace(made, accept="likely")
    target = tmp_path / "keras" / "ckpt"
    report = convert(trained.prefix, target, to="tf2", like=model, rename=rename)
    assert report.bytes_copied == 0
    _without_data(trained.prefix, tmp_path / "empty" / "ckpt")
    again = tmp_path / "again" / "ckpt"
    assert (
        convert(tmp_path / "empty" / "ckpt", again, to="tf2", like=model, rename=rename).keys
        == report.keys
    )
    read = tf.train.Checkpoint(model).read(str(target))
    read.assert_existing_objects_matched()

    assert int(model.optimizer.iterations) == STEPS
    np.testing.assert_allclose(model(inputs), trained.output, rtol=1e-4, atol=1e-5)
    with tf.GradientTape() as tape:
        value = loss(model(inputs))
    # Dense: of sparse ones, Keras squares each time that a row is met, TensorFlow the sum of them.
    gradients = [
        tf.convert_to_tensor(each) for each in tape.gradient(value, model.trainable_variables)
    ]
    model.optimizer.apply(gradients, model.trainable_variables)
    np.testing.assert_allclose(model(inputs), trained.next_output, rtol=1e-4, atol=1e-5)
