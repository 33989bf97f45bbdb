"""Models of Keras 3 on JAX and PyTorch, in processes of their own: a backend is for a process."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

import optimizer_jobs
import pytest
import tensorflow as tf

tf1 = tf.compat.v1
ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
import keras, numpy as np
from estimator_ckpt import CheckpointError, VariableMismatchError, propose_map, restore

assert keras.backend.backend() == sys.argv[1]

def make():
    layers = [keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input([2]), *layers])
    model.compile(keras.optimizers.Adam(0.1))
    model.optimizer.build(model.trainable_variables)
    return model

model = make()
report = restore(model, sys.argv[2], rename=propose_map(sys.argv[2], model, accept="likely"))
x = np.float32([[1, 2], [3, 4]])
np.testing.assert_allclose(model.predict(x, verbose=0), np.load(sys.argv[3]), rtol=1e-5)
assert int(model.optimizer.iterations) == 2
assert any(row.by == "role" for row in report.restored), report

model.save_weights(sys.argv[3] + ".weights.h5")
other = make()
restore(other, sys.argv[3] + ".weights.h5")
for one, two in zip(model.variables, other.variables):
    np.testing.assert_array_equal(one, two)
for one, two in zip(model.optimizer.variables, other.optimizer.variables):
    np.testing.assert_array_equal(one, two)

kernel = model.layers[0].kernel
try:
    restore({"fc2/weights": kernel}, sys.argv[2])
except VariableMismatchError as error:
    assert "(2, 3)" in str(error) or "[2,3]" in str(error), error
else:
    raise AssertionError("another shape was taken")
for unusable in (keras.layers.Dense(1), keras.Sequential()):
    try:
        restore(unusable, sys.argv[2])
    except CheckpointError as error:
        assert "build it first" in str(error), error
    else:
        raise AssertionError("what is not built was restored")
print("restored")
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The prefix of a TF1 checkpoint after two steps of Adam, and a file of what it gives."""
    import numpy as np

    folder = tmp_path_factory.mktemp("old")
    with tf.Graph().as_default(), tf1.Session() as session:
        x = tf.constant([[1.0, 2], [3, 4]])
        hidden = x @ tf1.get_variable("fc1/weights", [2, 3]) + tf1.get_variable("fc1/biases", [3])
        values = {
            leaf: tf1.get_variable(f"norm/{leaf}", [3], trainable=leaf in ("gamma", "beta"))
            for leaf in ("gamma", "beta", "moving_mean")
        }
        ones = tf1.ones_initializer()
        variance = tf1.get_variable("norm/moving_variance", [3], initializer=ones, trainable=False)
        normed = tf.nn.batch_normalization(
            hidden, values["moving_mean"], variance, values["beta"], values["gamma"], 1e-3
        )
        out = normed @ tf1.get_variable("fc2/weights", [3, 1]) + tf1.get_variable("fc2/biases", [1])
        step = tf1.train.get_or_create_global_step()
        train = tf1.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(out**2), step)
        session.run(tf1.global_variables_initializer())
        session.run(train)
        session.run(train)
        np.save(folder / "expected.npy", session.run(out))
        return tf1.train.Saver().save(session, str(folder / "m")), str(folder / "expected.npy")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_a_tf1_model_goes_into_keras_on(backend, old):
    if not optimizer_jobs.has_keras3():
        pytest.skip("needs Keras 3")
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not here: pip install {backend}")
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, backend, *old],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert ran.stdout.splitlines()[-1] == "restored"
