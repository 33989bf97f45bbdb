"""Jobs that begin on one TensorFlow and go on on another: see tests/compat/test_versions.py.

    python tests/support/moving_job.py begin FOLDER TAXI      # TAXI: a model_dir, or nothing
    other/bin/python tests/support/moving_job.py go_on FOLDER TAXI

`begin` trains the first half of each job in each of its formats below FOLDER/moved, and all of it,
unwrapped, below FOLDER/stayed; `go_on` trains the second half of those that moved. A job's folder
then has, beside its checkpoints, the variables that the second half began with, and its metrics.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import sys

import numpy as np

from estimator_ckpt import compat, wrap_model_fn

compat.install()
import tensorflow as tf  # noqa: E402

from estimator_ckpt.examples import digits  # noqa: E402

tf1 = tf.compat.v1
FORMATS = {"digits": ("dual", "tf2"), "taxi": ("dual",)}
STEPS = 20


class Begun(tf1.train.SessionRunHook):
    """Tells what a session begins with."""

    def __init__(self, path):
        self._path = path

    def begin(self):
        self._variables = {each.op.name: each for each in tf1.global_variables()}

    def after_create_session(self, session, coord):
        del coord
        np.savez(self._path, **session.run(self._variables))


def taxi_columns():
    """Those of the job that wrote the taxi model_dir: what its variables are named after."""
    column = tf.feature_column
    dense = [column.numeric_column(name) for name in ("fare", "trip_miles", "trip_seconds")]
    sizes = {"company": 1010, "payment_type": 1010}
    sizes |= {f"{end}_{axis}": 10 for end in ("pickup", "dropoff") for axis in _AXES}
    sizes |= {"trip_start_day": 31, "trip_start_hour": 24, "trip_start_month": 12}
    linear = [
        column.categorical_column_with_identity(f"{name}_xf", size) for name, size in sizes.items()
    ]
    return linear, dense


_AXES = ("latitude", "longitude")


def taxi_estimator(model_dir=None):
    linear, dense = taxi_columns()
    return tf.estimator.DNNLinearCombinedClassifier(
        model_dir,
        linear_feature_columns=linear,
        dnn_feature_columns=dense,
        dnn_hidden_units=[100, 70, 48, 34],
    )


def taxi_input_fn():
    random = np.random.RandomState(0)
    linear, dense = taxi_columns()
    features = {each.key: random.randn(64).astype(np.float32) for each in dense}
    features |= {each.key: random.randint(each.number_buckets, size=64) for each in linear}
    return tf.data.Dataset.from_tensors((features, random.randint(2, size=64)))


def repeated(input_fn):
    return lambda: input_fn().repeat()


JOBS = {
    "digits": (digits.model_fn, digits.train_input_fn, digits.eval_input_fn),
    "taxi": (None, repeated(taxi_input_fn), taxi_input_fn),
}


def estimator_of(name, checkpoint_format, model_dir, taxi):
    model_fn = JOBS[name][0]
    if name == "taxi":
        model_fn = taxi_estimator().model_fn
        if not model_dir.exists():
            shutil.copytree(taxi, model_dir)
            model_dir.chmod(0o755)
    if checkpoint_format != "tf1":
        model_fn = wrap_model_fn(model_fn, checkpoint_format=checkpoint_format)
    return tf.estimator.Estimator(
        model_fn, str(model_dir), tf.estimator.RunConfig(tf_random_seed=1)
    )


def first_half(name, checkpoint_format, folder, taxi):
    model_dir = folder / f"{name}-{checkpoint_format}"
    estimator_of(name, checkpoint_format, model_dir, taxi).train(JOBS[name][1], steps=STEPS)


def second_half(name, checkpoint_format, folder, taxi):
    model_dir = folder / f"{name}-{checkpoint_format}"
    estimator = estimator_of(name, checkpoint_format, model_dir, taxi)
    estimator.train(JOBS[name][1], steps=STEPS, hooks=[Begun(model_dir / "begun.npz")])
    metrics = {key: float(each) for key, each in estimator.evaluate(JOBS[name][2]).items()}
    (model_dir / "end.json").write_text(json.dumps({"tensorflow": tf.__version__, **metrics}))


def main(leg, folder, taxi=None):
    moved, stayed = pathlib.Path(folder) / "moved", pathlib.Path(folder) / "stayed"
    for name in JOBS if taxi else ["digits"]:
        for checkpoint_format in FORMATS[name]:
            half = first_half if leg == "begin" else second_half
            half(name, checkpoint_format, moved, taxi)
        if leg == "begin":
            first_half(name, "tf1", stayed, taxi)
            second_half(name, "tf1", stayed, taxi)


if __name__ == "__main__":
    main(*sys.argv[1:])
