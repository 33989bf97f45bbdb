"""`python -m estimator_ckpt.wrap`: programs that know nothing of it, raw beside wrapped."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap

import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import describe

ROOT = pathlib.Path(__file__).resolve().parents[1]
RAW = ("-m", "estimator_ckpt.compat")  # TensorFlow 2.16 and later have no Estimators
WRAPPED = ("-m", "estimator_ckpt.wrap")


def run(*arguments, cwd, timeout=300):
    kept = {key: each for key, each in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**kept, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=timeout,
    )


def succeed(*arguments, cwd):
    result = run(*arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr[-4000:]
    return result


def told(result):
    """What the command says of the Estimators that it found; it says it once."""
    (line,) = re.findall(r"^estimator_ckpt\.wrap: (.*)$", result.stderr, re.MULTILINE)
    return line


def write(folder, **programs):
    for name, text in programs.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


# Each function trains three steps more in a model_dir of its name.
KINDS = """
import copy
import pickle
import threading

from tensorflow_estimator.python.estimator.estimator import Estimator as EarlyEstimator

import numpy as np
import tensorflow as tf
from tensorflow.estimator import RunConfig
import tensorflow.compat.v1 as tf1

X = np.random.RandomState(0).randn(16, 4).astype("float32")
Y = X @ np.arange(4, dtype="float32")[:, None]


def input_fn(params=None):
    return tf.data.Dataset.from_tensors(({"x": X}, Y)).repeat(8)


def model_fn(features, labels, mode):
    tf1.set_random_seed(1)
    y = tf1.layers.dense(features["x"], 1, name="dense")
    if mode == "infer":
        return tf.estimator.EstimatorSpec(mode, predictions={"y": y})
    loss = tf1.losses.mean_squared_error(labels, y)
    train_op = tf1.train.AdamOptimizer(0.1).minimize(loss, tf1.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, {"y": y}, loss, train_op)


def config(name):
    return RunConfig(name, tf_random_seed=1, save_checkpoints_steps=2, keep_checkpoint_max=3)


def version_2():
    return tf.estimator.Estimator(model_fn, config=config("version_2"))


def version_1():
    return tf1.estimator.Estimator(model_fn, "version_1", config("version_1"))


def imported_early():
    return EarlyEstimator(model_fn, config=config("imported_early"))


def tpu():
    def tpu_model_fn(features, labels, mode, params):
        spec = model_fn(features, labels, mode)
        return tf1.estimator.tpu.TPUEstimatorSpec(mode, loss=spec.loss, train_op=spec.train_op)

    own = tf1.estimator.tpu.RunConfig(model_dir="tpu", tf_random_seed=1, save_checkpoints_steps=2)
    return tf1.estimator.tpu.TPUEstimator(
        tpu_model_fn, config=own, use_tpu=False, train_batch_size=16, eval_batch_size=16
    )


def columns():
    return [tf.feature_column.numeric_column("x", [4])]


def canned_2():
    return tf.estimator.DNNRegressor([3], columns(), config=config("canned_2"))


def canned_1():
    return tf1.estimator.DNNLinearCombinedRegressor(
        linear_feature_columns=columns(),
        dnn_feature_columns=columns(),
        dnn_hidden_units=[3],
        config=config("canned_1"),
    )


class OwnEstimator(tf.estimator.Estimator):
    def __init__(self, name, scale):
        def own_model_fn(features, labels, mode, params, config):
            return model_fn(features, labels * params["scale"], mode)

        super().__init__(own_model_fn, None, config(name), {"scale": scale})


def own_class():
    return OwnEstimator("own_class", 2.0)


def keras():
    tf.keras.utils.set_random_seed(1)
    x = tf.keras.Input([4], name="x")
    model = tf.keras.Model(x, tf.keras.layers.Dense(1, name="dense")(x))
    model.compile(tf.keras.optimizers.legacy.Adam(0.1), "mse")
    return tf.keras.estimator.model_to_estimator(model, config=config("keras"))


def with_metrics():
    inner = tf.estimator.LinearRegressor(columns(), config=config("with_metrics"))
    return tf.estimator.add_metrics(
        inner, lambda labels, predictions: {"largest": tf1.metrics.mean(labels)}
    )


def made_of_another():
    inner = tf1.estimator.Estimator(model_fn, config=config("made_of_another"))

    def outer_model_fn(features, labels, mode, config):
        spec = inner.model_fn(features, labels, mode, config)
        more = tf1.get_variable("more", [], initializer=tf1.zeros_initializer())
        return spec._replace(
            train_op=tf.group(spec.train_op, tf1.assign_add(more, 1.0)),
            scaffold=tf1.train.Scaffold(init_fn=lambda scaffold, session: None),
        )

    return tf.estimator.Estimator(outer_model_fn, config=config("made_of_another"))


def pickled():
    made = tf.estimator.Estimator(model_fn, config=config("pickled"))
    return copy.deepcopy(pickle.loads(pickle.dumps(made)))


def made_in_a_thread():
    made = []

    def work():
        estimator = tf.estimator.Estimator(model_fn, config=config("made_in_a_thread"))
        estimator.train(input_fn, steps=1)
        made.append(tf.estimator.Estimator(model_fn, config=config("made_in_a_thread")))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return made[0]


def mirrored():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    own = RunConfig("mirrored", 1, train_distribute=strategy, eval_distribute=strategy)
    return tf.estimator.Estimator(model_fn, config=own)


KINDS = [version_2, version_1, imported_early, tpu, canned_2, canned_1, own_class, keras]
KINDS += [with_metrics, made_of_another, pickled, made_in_a_thread, mirrored]


if __name__ == "__main__":
    for kind in KINDS:
        estimator = kind()
        estimator.train(input_fn, steps=3)
        print(kind.__name__, estimator.evaluate(input_fn, steps=1))
    estimator = version_2()
    evaluation = tf.estimator.EvalSpec(input_fn, 1, throttle_secs=0)
    before = estimator.get_variable_value("global_step")
    tf.estimator.train_and_evaluate(
        estimator, tf.estimator.TrainSpec(input_fn, max_steps=before + 2), evaluation
    )
    print(next(iter(estimator.predict(input_fn)))["y"])
"""
NAMES = re.findall(r"\w+", " ".join(re.findall(r"^KINDS \+?= \[(.*)\]$", KINDS, re.MULTILINE)))


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """{how it was run, and then once more: (folder, both results)}."""
    root = tmp_path_factory.mktemp("kinds")
    found = {}

    def begin(how, command):
        folder = root / how
        folder.mkdir()
        return folder, [succeed(*command, "kinds.py", cwd=write(folder, kinds=KINDS))]

    tf1_dir = "--tf1_dir={model_dir}/tf1"
    folder, results = begin("raw", RAW)
    shutil.copytree(folder, root / "raw, wrapped")
    found["raw"] = folder, [*results, succeed(*RAW, "kinds.py", cwd=folder)]
    folder = root / "raw, wrapped"
    again = succeed(*WRAPPED, tf1_dir, "kinds.py", cwd=folder)
    found["raw, wrapped"] = folder, [*results, again]
    folder, results = begin("wrapped", (*WRAPPED, tf1_dir))
    found["wrapped, raw"] = folder, [*results, succeed(*RAW, "kinds.py", cwd=folder)]
    return found


@pytest.mark.parametrize("how", ["raw, wrapped", "wrapped, raw"])
@pytest.mark.parametrize("name", NAMES)
def test_each_kind_of_estimator_ends_where_it_does_raw(twice, name, how):
    raw = jobs.values(tf.train.latest_checkpoint(str(twice["raw"][0] / name)))
    folder = twice[how][0] / name
    latest = tf.train.latest_checkpoint(str(folder))
    after = jobs.values(latest)
    assert raw["global_step"] > 5 if name != "keras" else raw
    if name == "keras" and how == "raw, wrapped":
        assert after.keys() == raw.keys()  # by object, as the job itself saves
    jobs.assert_equal_values({each: after[each] for each in raw}, raw)


@pytest.mark.parametrize("name", NAMES)
def test_both_worlds_read_what_each_kind_saves(twice, name):
    folder = twice["raw, wrapped"][0] / name
    by_name = describe(str(folder / "tf1"))
    assert by_name.format == "tf1"
    assert by_name.step == describe(str(folder)).step
    if name == "keras":
        return  # it keeps its own object-based layout
    assert describe(str(folder)).format == "dual"
    step = tf.train.load_variable(str(folder), "step" + jobs.VALUE)
    assert step == tf.train.load_variable(str(folder / "tf1"), "global_step") == by_name.step


def test_it_says_once_how_many_there_were(twice):
    _, (_, wrapped) = twice["raw, wrapped"]
    # One more in the thread, and the one that trains and evaluates in the end.
    assert told(wrapped) == f"Estimators wrapped: {len(NAMES) + 2}"


def test_it_prints_what_the_program_prints(twice):
    raw, wrapped = twice["raw"][1][1].stdout, twice["raw, wrapped"][1][1].stdout
    assert raw == wrapped != ""
