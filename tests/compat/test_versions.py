"""The digits job, begun on one TensorFlow and resumed on another: the checkpoints are equal.

    ESTIMATOR_CKPT_OTHER_PYTHON=/path/to/other/bin/python pytest -m slow tests/compat

The other interpreter needs another version of TensorFlow and what else `setup.py` lists.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import jobs
import numpy as np
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[2]
VARIABLE = "ESTIMATOR_CKPT_OTHER_PYTHON"
PYTHONS = {"here": sys.executable, "there": os.environ.get(VARIABLE, "")}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHONS["there"], reason=f"{VARIABLE} names no other interpreter"),
]

# One leg of the job; tells what the session began with, and what the model is worth in the end.
LEG = """
import json, pathlib, sys
import numpy as np
from estimator_ckpt import compat, wrap_model_fn
compat.install()
import tensorflow as tf
from estimator_ckpt.examples import digits

tf1 = tf.compat.v1
model_dir, checkpoint_format, steps, begun = sys.argv[1:]

class Begun(tf1.train.SessionRunHook):
    def begin(self):
        self.variables = {each.op.name: each for each in tf1.global_variables()}

    def after_create_session(self, session, coord):
        np.savez(begun, **session.run(self.variables))

estimator = tf.estimator.Estimator(
    wrap_model_fn(digits.model_fn, checkpoint_format=checkpoint_format)
    if checkpoint_format != "tf1" else digits.model_fn,
    model_dir,
    tf.estimator.RunConfig(tf_random_seed=1),
    params={},
)
estimator.train(digits.train_input_fn, steps=int(steps), hooks=[Begun()])
metrics = estimator.evaluate(digits.eval_input_fn)
print("seen:", json.dumps([tf.__version__, {key: float(each) for key, each in metrics.items()}]))
"""


def leg(where, model_dir, checkpoint_format, steps, begun):
    """Runs a leg of the job in one environment; returns its version of TensorFlow and metrics."""
    result = subprocess.run(
        [PYTHONS[where], "-c", LEG, str(model_dir), checkpoint_format, str(steps), str(begun)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.partition("seen: ")[2])


def layout(prefix):
    reader = tf.train.load_checkpoint(str(prefix))
    dtypes = reader.get_variable_to_dtype_map()
    return {key: (shape, dtypes[key]) for key, shape in reader.get_variable_to_shape_map().items()}


@pytest.mark.parametrize("checkpoint_format", ["dual", "tf2", "tf1"])
@pytest.mark.parametrize(("first", "second"), [("here", "there"), ("there", "here")])
def test_a_job_that_moves_goes_on_with_equal_values(tmp_path, checkpoint_format, first, second):
    moved, stayed = tmp_path / "moved", tmp_path / "stayed"
    begun = tmp_path / "begun.npz"
    version, _ = leg(first, moved, checkpoint_format, 20, begun)
    saved = tf.train.latest_checkpoint(str(moved))
    before, keys = jobs.values(saved), layout(saved)

    other_version, metrics = leg(second, moved, checkpoint_format, 20, begun)
    assert version != other_version, f"set {VARIABLE} to an environment with another TensorFlow"
    jobs.assert_equal_values(dict(np.load(begun)), before)
    assert layout(tf.train.latest_checkpoint(str(moved))) == keys

    for _ in range(2):
        _, expected = leg(first, stayed, checkpoint_format, 20, begun)
    assert metrics.keys() == expected.keys()
    assert metrics["global_step"] == expected["global_step"] == 40
    # The kernels of two versions round differently.
    assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-3)
    after, wanted = (jobs.values(tf.train.latest_checkpoint(str(each))) for each in (moved, stayed))
    assert after.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
