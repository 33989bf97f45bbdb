"""A map that asks: its answers are tried, and the outputs tell which is right."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import optimizer_jobs
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointArgumentError, VariableMap, propose_map, prove_answers, restore

tf1 = tf.compat.v1
ROOT = pathlib.Path(__file__).resolve().parents[2]
X = np.random.RandomState(0).randn(4, 3).astype(np.float32)


def kerases():
    import keras

    return {"tf.keras": tf.keras, "keras": keras}


def towers(keras):
    """Two towers of one shape; what they are called says nothing to the other side."""
    x = keras.Input([3], name="x")
    left, right = (keras.layers.Dense(2, name=name)(x) for name in ("red", "blue"))
    return keras.Model(x, keras.layers.Subtract(name="y")([left, right]))


@pytest.fixture
def old(tmp_path):
    """A checkpoint of two towers and what its graph gives for X: `cat` is `blue`."""
    with tf1.Graph().as_default(), tf1.Session() as session:
        towers = []
        for seed, name in enumerate(("cat", "dog")):
            with tf1.variable_scope(name):
                kernel = tf1.get_variable(
                    "kernel", [3, 2], initializer=tf1.glorot_uniform_initializer(seed)
                )
                towers.append(X @ kernel + tf1.get_variable("bias", [2]))
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().save(session, str(tmp_path / "ckpt"), write_meta_graph=False)
        return str(tmp_path / "ckpt"), session.run(towers[1] - towers[0])


@pytest.mark.parametrize("which", ["tf.keras", "keras"])
def test_the_outputs_tell_which_answer_is_right(old, which):
    path, expected = old
    model = towers(kerases()[which])
    made = propose_map(path, model)
    assert [each.answer for each in made.asked] == [None]
    before = [value.copy() for value in model.get_weights()]
    tried = prove_answers(made, path, model, {"y": expected}, X)
    assert tried.equal
    assert sorted(trial.proof.equal for trial in tried.trials) == [False, True]
    assert "question 1 is answered: " in str(tried)
    more = {"y": expected, "z": X}
    assert "note: only given outputs has z" in str(prove_answers(made, path, model, more, X))
    assert prove_answers(made, path, model, more, X, only=["y"]).equal
    for value, kept in zip(model.get_weights(), before):
        np.testing.assert_array_equal(value, kept)
    restore(model, path, rename=VariableMap.parse(tried.map.text()))
    np.testing.assert_allclose(model(X), expected, rtol=1e-5)
    assert tried.map.pairs()["cat/kernel"] != tried.map.pairs()["dog/kernel"]


JAX = """
import sys
import keras, numpy as np
from estimator_ckpt import propose_map, prove_answers

assert keras.backend.backend() == "jax"
x = keras.Input([3], name="x")
left, right = (keras.layers.Dense(2, name=name)(x) for name in ("red", "blue"))
model = keras.Model(x, keras.layers.Subtract(name="y")([left, right]))
made = propose_map(sys.argv[1], model)
before = [np.array(value) for value in model.get_weights()]
expected = {"y": np.load(sys.argv[3])}
tried = prove_answers(made, sys.argv[1], model, expected, np.load(sys.argv[2]))
assert tried.equal, tried
for value, kept in zip(model.get_weights(), before):
    np.testing.assert_array_equal(value, kept)
"""


@pytest.mark.slow
def test_answers_are_tried_for_keras_on_jax(old, tmp_path):
    if importlib.util.find_spec("jax") is None or not optimizer_jobs.has_keras3():
        pytest.skip("needs Keras 3 and jax: pip install jax")
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", old[1])
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        [sys.executable, "-c", JAX, old[0], str(tmp_path / "x.npy"), str(tmp_path / "y.npy")],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]


def test_what_either_answer_fits_stays_asked_and_so_does_what_none_fits(old):
    path, _ = old
    x = tf.keras.Input([3])
    layers = [tf.keras.layers.Dense(2, name=name)(x) for name in ("red", "blue")]
    model = tf.keras.Model(x, tf.keras.layers.Add(name="y")(layers))
    made = propose_map(path, model)
    reader = tf.train.load_checkpoint(path)
    kernels = reader.get_tensor("cat/kernel") + reader.get_tensor("dog/kernel")
    total = X @ kernels + reader.get_tensor("cat/bias") + reader.get_tensor("dog/bias")
    both = prove_answers(made, path, model, {"y": total}, X)
    assert not both.equal
    assert "agree with either answer" in str(both)
    none = prove_answers(made, path, model, {"y": total + 1}, X)
    assert not none.equal
    assert none.map == made
    assert "agree with neither answer" in str(none)
    with pytest.raises(CheckpointArgumentError, match="no open question"):
        prove_answers(VariableMap(), path, model, {"y": total}, X)
