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
from absl import flags

from estimator_ckpt import describe, wrap
from estimator_ckpt import flags as checkpoint_flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
RAW = ("-m", "estimator_ckpt.compat")  # TensorFlow 2.16 and later have no Estimators
WRAPPED = ("-m", "estimator_ckpt.wrap")


def run(*arguments, cwd, timeout=900):
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
        tf.keras.utils.set_random_seed(1)  # of layers' initial values, which RunConfig leaves alone
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


def values(folder):
    """{key: array} of the latest checkpoint, as plain TensorFlow reads it."""
    reader = tf.train.load_checkpoint(str(folder))
    keys = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    return {key: reader.get_tensor(key) for key in keys if "save_counter" not in key}


@pytest.mark.one_version
@pytest.mark.slow
@pytest.mark.parametrize("how", ["raw, wrapped", "wrapped, raw"])
@pytest.mark.parametrize("name", NAMES)
def test_each_kind_of_estimator_ends_where_it_does_raw(twice, name, how):
    raw = values(twice["raw"][0] / name)
    after = values(twice[how][0] / name)
    assert max(raw[key] for key in raw if "global_step" in key) > 5
    if how == "raw, wrapped":
        assert raw.keys() < after.keys()  # dual: there are object keys, too, or names
    assert raw.keys() <= after.keys()
    jobs.assert_equal_values({key: after[key] for key in raw}, raw)


@pytest.mark.one_version
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_both_worlds_read_what_each_kind_saves(twice, name):
    folder = twice["raw, wrapped"][0] / name
    by_name = describe(str(folder / "tf1"))
    assert by_name.format == "tf1"
    assert by_name.step == describe(str(folder)).step
    assert describe(str(folder)).format == "dual"
    # The Keras job has a layout of its own, and keeps it.
    key = "step" if name != "keras" else "estimator_global_step"
    step = tf.train.load_variable(str(folder), key + jobs.VALUE)
    assert step == tf.train.load_variable(str(folder / "tf1"), "global_step") == by_name.step


@pytest.mark.one_version
@pytest.mark.slow
def test_it_says_once_how_many_there_were(twice):
    _, (_, wrapped) = twice["raw, wrapped"]
    # One more in the thread, and the one that trains and evaluates in the end.
    assert told(wrapped) == f"Estimators wrapped: {len(NAMES) + 2}"


@pytest.mark.one_version
@pytest.mark.slow
def test_it_prints_what_the_program_prints(twice):
    raw, wrapped = twice["raw"][1][1].stdout, twice["raw, wrapped"][1][1].stdout
    assert raw == wrapped != ""


# A program with flags of the same names, that wraps one model_fn itself, and makes more of it.
OWN_FLAGS = """
import tensorflow as tf
from absl import app, flags

from estimator_ckpt import wrap_model_fn
from kinds import config, input_fn, model_fn

tf1 = tf.compat.v1
flags.DEFINE_string("checkpoint_format", "none", "Of the program's own.")
flags.DEFINE_integer("tf1_dir", 0, "Of the program's own, and no directory.")
FLAGS = flags.FLAGS


def main(argv):
    print(FLAGS.checkpoint_format, FLAGS.tf1_dir, *argv[1:])
    own = tf.estimator.Estimator(wrap_model_fn(model_fn, checkpoint_format="tf2"), "own")
    own.train(input_fn, steps=2)
    more = tf.estimator.Estimator(own.model_fn, "more")
    more.train(input_fn, steps=2)
    plain = tf1.estimator.Estimator(model_fn, "plain")
    with tf.Graph().as_default():  # called by hand
        tf1.train.create_global_step()
        features, labels = tf1.data.make_one_shot_iterator(input_fn()).get_next()
        spec = plain.model_fn(features, labels, "train", config("plain"))
        print(type(spec).__name__, len(spec.training_chief_hooks))
    plain.train(input_fn, steps=2)
    again = tf.estimator.Estimator(model_fn, "plain")  # a second one for the same model_dir
    again.train(input_fn, steps=2)
    return 5


if __name__ == "__main__":
    app.run(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--async_save", "--checkpoint_format=tf2")])
def test_a_program_keeps_its_flags_and_what_it_wraps_itself(tmp_path, options):
    write(tmp_path, kinds=KINDS, own=OWN_FLAGS)
    arguments = ("own.py", "--checkpoint_format=theirs", "--tf1_dir=3", "--", "--sync_data")
    result = run(*WRAPPED, "--tf1_dir={model_dir}/tf1", *options, *arguments, cwd=tmp_path)
    assert result.returncode == 5, result.stderr[-4000:]
    hooks = "2" if options else "1"  # of tf1_dir, and of async_save
    assert result.stdout.split() == ["theirs", "3", "--sync_data", "EstimatorSpec", hooks]
    assert told(result) == "Estimators wrapped: 2, wrapped by the program itself: 2"
    for name in ("own", "more"):  # as the program has it: of that format, without a tf1_dir
        assert describe(str(tmp_path / name)).format == "tf2"
        assert not (tmp_path / name / "tf1").exists()
    assert describe(str(tmp_path / "plain")).format == ("tf2" if options else "dual")
    assert jobs.listed(tmp_path / "plain" / "tf1") == [f"model.ckpt-{step}" for step in (0, 2, 4)]


FACTS = """
import os, sys
import {beside}
VALUE = 3
main = sys.modules["__main__"]
print(sys.argv, __name__, __file__, __package__, __cached__, type(__loader__).__name__)
print(__spec__ and __spec__.name, sys.path[0], main.VALUE, vars(main) is globals(), __doc__)
print(sorted(name for name in globals() if name not in ("__annotations__", "__annotate__")))
def fail():
    raise KeyError("what went wrong")
"""
ENDS = {
    "by itself": "",
    "with a code": "sys.exit(3)",
    "with a text": "sys.exit('it ends here')",
    "with an error": "fail()",
    "with a cause": "try: fail()\nexcept KeyError as error: raise OSError('x') from error",
    "with a hook": "sys.excepthook = lambda *error: print('hook', error[2].tb_lineno)\nfail()",
    "interrupted": "raise KeyboardInterrupt",
    "in a thread": "import pickle, threading\n"
    "def later(): print(pickle.loads(pickle.dumps(later)) is later)\n"
    "threading.Timer(0.5, later).start()",
}


def same_as_raw(*arguments, cwd):
    """Runs a program in both ways; a raw one needs no TensorFlow here."""
    raw, wrapped = run(*arguments, cwd=cwd), run(*WRAPPED, *arguments, cwd=cwd)
    assert wrapped.stdout == raw.stdout
    assert wrapped.returncode == raw.returncode
    lines = [each for each in wrapped.stderr.splitlines() if not each.startswith("I0000")]
    said = [each for each in lines if each.startswith("estimator_ckpt.wrap: ")]
    assert said == ["estimator_ckpt.wrap: Estimators wrapped: 0"] or raw.returncode == 2
    rest = [each for each in lines if each not in said]
    count = len(raw.stderr.splitlines())
    assert rest[len(rest) - count :] == raw.stderr.splitlines()
    # Where Python itself lies in a folder of that name is not this package's doing.
    assert "estimator_ckpt" not in "\n".join(rest).replace(sys.executable, "python")
    return raw


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param(each, marks=[pytest.mark.slow, pytest.mark.one_version] if number > 1 else [])
        for number, each in enumerate(ENDS)
    ],
)
def test_a_script_ends_as_it_does_raw(tmp_path, ends):
    folder = write(tmp_path, beside="", job=FACTS.format(beside="beside") + ENDS[ends])
    (folder / "elsewhere").mkdir()
    raw = same_as_raw("../job.py", "--help", "-m", "x", cwd=folder / "elsewhere")
    assert raw.stdout.startswith("['../job.py', '--help', '-m', 'x'] __main__")


@pytest.mark.parametrize(
    "ends", ["with a code", pytest.param("with an error", marks=pytest.mark.slow)]
)
def test_a_module_ends_as_it_does_raw(tmp_path, ends):
    text = FACTS.format(beside="my.beside").replace("import my", "from . import beside; import my")
    write(tmp_path, my__beside="", my__job=text + ENDS[ends])
    raw = same_as_raw("-m", "my.job", "--checkpoint_format=x", cwd=tmp_path)
    assert "--checkpoint_format=x" in raw.stdout


@pytest.mark.one_version
@pytest.mark.slow
def test_other_programs_end_as_they_do_raw(tmp_path):
    write(tmp_path, wrong="print(1\n", folder__other="import sys\nprint(sys.argv, sys.path[0])")
    (tmp_path / "folder/other.py").rename(tmp_path / "folder/__main__.py")
    assert same_as_raw("wrong.py", cwd=tmp_path).returncode == 1
    assert same_as_raw("folder", "x", cwd=tmp_path).returncode == 0
    assert same_as_raw("missing.py", cwd=tmp_path).returncode == 2
    assert same_as_raw("-m", "missing", cwd=tmp_path).returncode == 1


@pytest.mark.parametrize(
    ("line", "program", "values"),
    [
        ("job.py", ("job.py", False, ()), {}),
        ("job.py -m x --tf1_dir=y", ("job.py", False, ("-m", "x", "--tf1_dir=y")), {}),
        ("-m my.job --async_save", ("my.job", True, ("--async_save",)), {"async_save": False}),
        ("--async_save job.py", ("job.py", False, ()), {"async_save": True}),
        ("--tf1_dir a -m job -m x", ("job", True, ("-m", "x")), {"tf1_dir": "a"}),
        (
            "--checkpoint_format=tf2 --tf1_on_error stop --sync_data --async_when_busy=skip j.py x",
            ("j.py", False, ("x",)),
            {"checkpoint_format": "tf2", "tf1_on_error": "stop", "async_when_busy": "skip"},
        ),
    ],
)
def test_options_stand_before_the_program(line, program, values):
    options = wrap.make_options()
    found = wrap.parse(line.split(), options)
    assert (found.name, found.is_module, found.arguments) == program
    assert {name: options[name].value for name in values} == values


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "usage: "),
        ("-m", "usage: "),
        ("--sync_data", "usage: "),
        ("--no_such_option job.py", "no_such_option"),
        ("--checkpoint_format=tf1 job.py", "should be one of <dual|tf2>"),
        ("--tf1_dir", "tf1_dir"),
    ],
)
def test_a_line_that_names_no_program_is_told(capsys, line, message):
    assert wrap.main(line.split()) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "usage: python -m estimator_ckpt.wrap" in error


def test_help_lists_the_options(capsys):
    assert wrap.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert {"checkpoint_format", "tf1_dir", "tf1_on_error", "sync_data", "async_save"} <= set(
        re.findall(r"\w+", text)
    )


def test_the_options_are_those_of_wrapping():
    everything = flags.FlagValues()
    checkpoint_flags.define_checkpoint_flags(everything)
    options = wrap.make_options()
    assert set(options) < set(everything)
    assert options["checkpoint_format"].value == everything["checkpoint_format"].value == "dual"


CHILDREN = """
import multiprocessing
import os
import sys


def is_wrapped(queue):
    queue.put("estimator_ckpt.wrap" in sys.modules)


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=is_wrapped, args=(queue,))
    child.start()
    print("spawned:", queue.get(timeout=600))
    child.join()
    if os.fork() == 0:
        from kinds import input_fn, version_2

        version_2().train(input_fn, steps=2)
        sys.exit(4)
    print("forked:", os.WEXITSTATUS(os.wait()[1]))
"""


@pytest.mark.slow
def test_forked_processes_are_wrapped_and_spawned_ones_are_not(tmp_path):
    write(tmp_path, kinds=KINDS, children=CHILDREN)
    result = succeed(*WRAPPED, "children.py", cwd=tmp_path)
    assert result.stdout.splitlines() == ["spawned: False", "forked: 4"]
    assert describe(str(tmp_path / "version_2")).format == "dual"
    assert told(result) == "Estimators wrapped: 0"  # in the process that it was asked to run


AGAIN = """
from kinds import *
version_2().train(input_fn, max_steps=2)
"""


@pytest.mark.slow
def test_a_job_that_was_done_is_not_told_to_have_no_estimators(tmp_path):
    write(tmp_path, kinds=KINDS, again=AGAIN)
    first, again = (succeed(*WRAPPED, "again.py", cwd=tmp_path) for _ in range(2))
    assert told(first) == "Estimators wrapped: 1"
    assert told(again) == (
        "Estimators wrapped: 0 (of 1 that the program made, no model_fn was called)"
    )


def test_a_placeholder_that_stands_for_nothing_is_told_before_the_program_runs(tmp_path, capsys):
    write(tmp_path, job="raise SystemExit(7)")
    assert wrap.main(["--tf1_dir={modeldir}/tf1", str(tmp_path / "job.py")]) == 2
    assert "'{modeldir}' stands for nothing; '{model_dir}' stands" in capsys.readouterr().err
