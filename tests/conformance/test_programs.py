"""Whole programs, each in a process of its own: raw, and wrapped from outside."""

import os
import pathlib
import subprocess
import sys

from scenarios import async_save, conformance_test, links, scenario

GROUP = "Programs"
ROOT = pathlib.Path(__file__).resolve().parents[2]

JOB = """
import sys

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
tf.keras.utils.set_random_seed(1)  # of layers' initial values, which RunConfig leaves alone


def model_fn(features, labels, mode):
    y = tf1.layers.dense(features, 1, name="dense")
    if mode == "infer":
        return tf.estimator.EstimatorSpec(mode, predictions={"y": y})
    loss = tf1.losses.mean_squared_error(labels, y)
    optimizer = tf1.train.AdamOptimizer(0.1)
    train_op = optimizer.minimize(loss, tf1.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)


def batch(number):
    features = np.random.RandomState(number).randn(8, 3).astype("float32")
    return features, features.sum(axis=1, keepdims=True)
"""
TRAINED_TWICE = """
def input_fn():
    return tf.data.Dataset.from_tensors(batch(0)).repeat()


def make():
    config = tf.estimator.RunConfig("job", tf_random_seed=1, save_checkpoints_steps=2)
    return tf.estimator.Estimator(model_fn, config=config)


make().train(input_fn, steps=3)
estimator = make()
estimator.train(input_fn, max_steps=6)
print(sys.argv[1:], sorted(estimator.evaluate(input_fn, steps=1).items()))
print(next(estimator.predict(input_fn))["y"].tolist())
"""
EARLIER_IMPORTS = """
from tensorflow.python.estimator.canned import metric_keys
from tensorflow.python.estimator.estimator import Estimator
from tensorflow.python.estimator.model_fn import EstimatorSpec
from tensorflow.python.estimator.run_config import RunConfig
from tensorflow.python.estimator.training import EvalSpec, TrainSpec, train_and_evaluate


def input_fn():
    return tf.data.Dataset.from_tensors(batch(0)).repeat()


def own_model_fn(features, labels, mode):
    spec = model_fn(features, labels, mode)
    return EstimatorSpec(mode, spec.predictions, spec.loss, spec.train_op)


estimator = Estimator(own_model_fn, config=RunConfig("job", 1, save_checkpoints_steps=2))
found, _ = train_and_evaluate(
    estimator, TrainSpec(input_fn, max_steps=4), EvalSpec(input_fn, 1, throttle_secs=0)
)
print(sorted(found.items()), metric_keys.MetricKeys.LOSS, Estimator is tf.estimator.Estimator)
"""
FORKING_INPUT = """
import multiprocessing

fork = multiprocessing.get_context("fork")


def make_batches(queue):
    number = 0
    while True:
        queue.put(batch(number))
        number += 1


def batches():
    queue = fork.Queue(2)
    child = fork.Process(target=make_batches, args=[queue], daemon=True)
    child.start()
    try:
        for _ in range(5):
            yield queue.get(timeout=600)
    finally:
        child.terminate()
        child.join()
        print("child", child.exitcode)


def input_fn():
    types = tf.TensorSpec([8, 3]), tf.TensorSpec([8, 1])
    return tf.data.Dataset.from_generator(batches, output_signature=types)


config = tf.estimator.RunConfig("job", tf_random_seed=1, save_checkpoints_steps=2)
for _ in range(2):
    tf.estimator.Estimator(model_fn, config=config).train(input_fn)
"""


def _run(job, program):
    """Runs a program that knows nothing of wrapping; returns what it prints and leaves behind."""
    path = job.folder / "program.py"
    path.write_text(JOB + program, encoding="utf-8")
    command = ["estimator_ckpt.compat"]
    if job.how != "raw":
        command = ["estimator_ckpt.wrap", f"--checkpoint_format={job.how}"]
        command += ["--async_save"] if async_save() else []
        command += ["--unchanged=link"] if links() else []
    kept = {key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    result = subprocess.run(
        [sys.executable, "-m", *command, path.name, "--of=the program's"],
        cwd=job.folder,
        env={**kept, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout, job.values(), job.checkpoints()


@scenario(GROUP, slow=True)
def a_program_that_trains_twice(job):
    """Trains, goes on, evaluates and predicts; wrapped by `python -m estimator_ckpt.wrap`."""
    return _run(job, TRAINED_TWICE)


@scenario(GROUP, slow=True)
def a_program_with_earlier_imports(job):
    """Imports all it needs from `tensorflow.python.estimator`, and trains and evaluates."""
    return _run(job, EARLIER_IMPORTS)


@scenario(GROUP, slow=True)
def a_program_whose_input_forks(job):
    """Batches come from a process that the input forks, and ends; trains twice."""
    return _run(job, FORKING_INPUT)


test_scenario = conformance_test(__name__)
