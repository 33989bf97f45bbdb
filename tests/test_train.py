"""The job: told by flags alone, from the command line, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from estimator_ckpt import flags as checkpoint_flags
from estimator_ckpt import functions
from estimator_ckpt.cli import main as cli
from estimator_ckpt.train import job, job_flags
from estimator_ckpt.train.readback import bytes_of_checkpoints, global_step, read_back

tf1 = tf.compat.v1

REPOSITORY = Path(__file__).parent.parent
CONFIGS = REPOSITORY / "configs"
DIGITS = "estimator_ckpt.examples.digits"
# What TensorFlow 2.18 and later say when they are loaded, whatever TF_CPP_MIN_LOG_LEVEL is.
STARTUP = re.compile(
    r"^(WARNING: All log messages before absl::InitializeLog|[EIW]0000 00:00:).*\n", re.MULTILINE
)
SHORT = ("--max_steps=40", "--save_checkpoints_steps=20")


def run(folder, *arguments, exit_code=0):
    """Runs the job in `folder`; returns its standard output and standard error."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = subprocess.run(
        [sys.executable, "-m", "estimator_ckpt.train", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout, STARTUP.sub("", done.stderr)


def values_of(prefix):
    reader = tf.train.load_checkpoint(str(prefix))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if "/.ATTRIBUTES/" not in name and name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    }


def assert_equal_values(left, right):
    left, right = values_of(left), values_of(right)
    assert left.keys() == right.keys()
    assert len(left) == 21  # 6 variables with 2 slots each, 2 powers of Adam, the step
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A current folder with the repository's `configs` in it."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(CONFIGS, folder / "configs")
    return folder


@pytest.fixture(scope="module")
def main_job(place):
    """The main job, shortened, in a folder of its own choice: its output and its folder."""
    out, err = run(place, "--flagfile=configs/digits.flags", *SHORT)
    return out, err, place / re.search(r"^model_dir: (\S+)$", out, re.MULTILINE)[1]


@pytest.fixture(scope="module")
def in_place(place):
    """The job as it was, then the same migrated in place: both outputs and the folder."""
    before, _ = run(place, "--flagfile=configs/digits_tf1.flags", *SHORT)
    after, _ = run(place, "--flagfile=configs/digits_migrate.flags", "--max_steps=60")
    return before, after, place / "runs/digits_in_place"


MODELS = """
import tensorflow as tf

def _spec(features, labels, mode):
    w = tf.compat.v1.get_variable("w", [])
    loss = tf.square(w - features)
    step = tf.compat.v1.train.get_global_step()
    train_op = tf.compat.v1.train.GradientDescentOptimizer(0.1).minimize(loss, step)
    return tf.compat.v1.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

def without_params(features, labels, mode):
    return _spec(features, labels, mode)

def with_config(features, labels, mode, config):
    return _spec(features, labels, mode)

def with_params(features, labels, mode, params):
    assert params == {}, params
    return _spec(features, labels, mode)

def with_any(features, labels, mode, **others):
    assert others.get("params", {}) == {}, others  # a raw job passes none to such a one
    return _spec(features, labels, mode)

class Model:
    def __call__(self, features, labels, mode):
        return _spec(features, labels, mode)

instance = Model()

def data():
    return tf.data.Dataset.from_tensors((1.0, 0.0)).repeat(2)
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A current folder with a module `models` of a user's."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "models.py").write_text(MODELS, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "function", ["without_params", "with_config", "with_params", "with_any", "instance"]
)
@pytest.mark.parametrize("checkpoint_format", ["dual", "tf1"])
def test_params_go_to_those_that_take_them(models, function, checkpoint_format, monkeypatch):
    monkeypatch.syspath_prepend(models)
    values = flags.FlagValues()
    checkpoint_flags.define_checkpoint_flags(values)
    job_flags.define_job_flags(values)
    model_dir = models / f"{function}-{checkpoint_format}"
    arguments = ("--input_fn=models:data", f"--checkpoint_format={checkpoint_format}")
    values(["job", f"--model_fn=models:{function}", f"--model_dir={model_dir}", *arguments])
    made = job.make_job(values, 0.0)
    made.estimator.train(made.functions["input_fn"])
    assert global_step(str(model_dir)) == 2


@pytest.mark.slow
def test_params_that_nobody_takes_are_refused(models):
    out, err = run(
        models,
        "--model_fn=models:without_params",
        "--input_fn=models:data",
        '--params={"rate": 1}',
        exit_code=1,
    )
    assert "error: --params is given, but models:without_params takes no argument" in err
    assert not out and not (models / "runs").exists()


# The main job.


def test_the_main_job_ends_with_a_summary(main_job):
    out, _, folder = main_job
    name = folder.relative_to(folder.parent.parent)
    assert "step 40 (40 trained in this run)" in out
    assert float(re.search(r"accuracy (0\.\d+)", out)[1]) > 0.5
    for prefix in (f"{name}/model.ckpt-40", f"{name}/tf1/model.ckpt-40"):
        assert prefix in out
        assert (folder.parent.parent / f"{prefix}.index").exists()
    assert re.search(
        r"cost +\d+\.\d s, \d+\.\d s of it training; checkpoints take \d+\.\d\d MB", out
    )


def test_the_summary_names_the_command_that_shows_it(main_job, place, monkeypatch):
    out, _, folder = main_job
    (line,) = re.findall(r"^  look at it +estimator-ckpt (.*)$", out, re.MULTILINE)
    monkeypatch.chdir(folder.parent.parent)
    arguments = shlex.split(line.replace("report.html", str(place / "report.html")))
    assert cli.main(arguments) == 0
    assert "model.ckpt-40" in (place / "report.html").read_text()


def test_the_main_job_reads_each_checkpoint_back_with_each_reader(main_job):
    out, _, folder = main_job
    assert re.findall(r"read back +(\S+) +runs/[^/]+/(\S+): (.*)", out) == [
        ("tf1.train.Saver", "model.ckpt-40", "21 of 21 values equal"),
        ("tf.train.Checkpoint", "model.ckpt-40", "21 of 21 values equal"),
        ("tf1.train.Saver", "tf1/model.ckpt-40", "21 of 21 values equal"),
    ]
    assert_equal_values(folder / "model.ckpt-40", folder / "tf1/model.ckpt-40")


def test_nothing_but_warnings_goes_beside_the_summary(main_job):
    _, err, _ = main_job
    assert not re.search(r"INFO|^I\d|deprecated|cuda|Calling model_fn", err, re.MULTILINE), err


def test_data_that_is_hard_linked_is_counted_once(main_job):
    _, _, folder = main_job
    on_disk, unlinked = bytes_of_checkpoints([str(folder), str(folder / "tf1")])
    data = sum(path.stat().st_size for path in folder.glob("tf1/*.data-*"))
    # The TF1 data are the dual ones' (their object graphs may have a shard of their own).
    assert unlinked - on_disk == data > 0
    assert bytes_of_checkpoints([str(folder), str(folder / "nothing")])[0] < on_disk


@pytest.mark.one_version
@pytest.mark.slow
def test_the_written_flags_repeat_the_run(main_job, place):
    _, _, folder = main_job
    lines = (folder / "flags.txt").read_text().splitlines()
    assert "--max_steps=40" in lines
    assert "--tf1_dir={model_dir}/tf1" in lines
    assert not any("verbosity" in line or "flagfile" in line for line in lines[1:])
    run(place, f"--flagfile={folder}/flags.txt", "--model_dir=again")
    assert_equal_values(folder / "model.ckpt-40", place / "again/model.ckpt-40")
    assert (place / "again/flags.txt").read_text().count("--model_dir=again\n") == 1


def test_a_job_that_is_done_trains_no_further_and_still_tells_its_metrics(main_job, place):
    _, _, folder = main_job
    out, _ = run(place, "--flagfile=configs/digits.flags", *SHORT, f"--model_dir={folder}")
    assert "step 40 (0 trained in this run)" in out
    assert "accuracy 0." in out
    assert out.count("read back") == 3


# The other configurations.


@pytest.mark.parametrize("config", sorted(path.name for path in CONFIGS.glob("*.flags")))
def test_every_configuration_parses_and_names_no_absolute_path(config):
    run(REPOSITORY, f"--flagfile=configs/{config}", "--only_check_args")
    assert "=/" not in (CONFIGS / config).read_text().replace("digits/=", "")


@pytest.mark.slow
def test_the_job_as_it_was_writes_tf1_and_the_migrated_one_goes_on_from_it(in_place):
    before, after, folder = in_place
    assert re.findall(r"read back +(\S+)", before) == ["tf1.train.Saver"]
    assert "step 60 (20 trained in this run)" in after
    assert re.findall(r"read back +(\S+)", after) == [
        "tf1.train.Saver",
        "tf.train.Checkpoint",
    ]
    assert (folder / "model.ckpt-40.index").exists()


@pytest.mark.one_version
@pytest.mark.slow
def test_the_evaluating_configuration_only_evaluates(in_place, place):
    _, _, folder = in_place
    before = sorted(path.name for path in folder.iterdir())
    out, _ = run(place, "--flagfile=configs/digits_evaluate.flags")
    assert re.fullmatch(r"step 60: accuracy 0\.\d+, loss \d\.\d+\n", out)
    new = {path.name for path in folder.iterdir()} - set(before)
    assert new == {"flags_evaluate.txt"}


@pytest.mark.one_version
@pytest.mark.slow
def test_the_renamed_model_starts_from_the_old_ones_values(in_place, place):
    _, _, folder = in_place
    run(place, "--flagfile=configs/digits_renamed.flags", "--max_steps=1", "--model_dir=renamed")
    old, new = values_of(folder / "model.ckpt-60"), values_of(place / "renamed/model.ckpt-1")
    assert not any(name.startswith("digits/") for name in new)
    assert new["global_step"] == 1
    for name in ("hidden_0/kernel", "hidden_1/bias", "logits/kernel"):
        # One step of Adam moves each weight by the learning rate, 0.002, at most.
        np.testing.assert_allclose(new[f"reader/{name}"], old[f"digits/{name}"], atol=0.0021)
        assert np.abs(old[f"digits/{name}"]).max() > 0.004


# Modes and formats.


@pytest.mark.one_version
@pytest.mark.slow
def test_predictions_are_printed_as_json_lines(in_place, place):
    flagfile = "--flagfile=configs/digits_evaluate.flags"
    out, _ = run(place, flagfile, "--mode=predict", "--max_predictions=3")
    predictions = [json.loads(line) for line in out.splitlines()]
    assert [sorted(prediction) for prediction in predictions] == [["digit", "probabilities"]] * 3
    assert sum(predictions[0]["probabilities"]) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.one_version
@pytest.mark.slow
def test_an_export_can_be_loaded(in_place, place):
    out, _ = run(place, "--flagfile=configs/digits_evaluate.flags", "--mode=export")
    folder = re.fullmatch(r"exported to (\S+)\n", out)[1]
    signature = tf.saved_model.load(str(place / folder)).signatures["serving_default"]
    assert signature(pixels=tf.zeros([2, 64]))["digit"].shape == [2]


@pytest.mark.one_version
@pytest.mark.slow
def test_the_tf2_format_is_read_back_by_object_only(place):
    arguments = ("--checkpoint_format=tf2", "--model_dir=tf2", "--tf1_dir=", "--mode=train")
    out, _ = run(place, "--flagfile=configs/digits.flags", *SHORT, *arguments)
    assert re.findall(r"read back +(\S+)", out) == ["tf.train.Checkpoint"]
    assert "accuracy" not in out


@pytest.mark.one_version
@pytest.mark.slow
def test_an_unwrapped_job_gets_its_tf1_folder_from_a_hook(place):
    arguments = ("--checkpoint_format=tf1", "--model_dir=unwrapped", "--mode=train")
    run(place, "--flagfile=configs/digits.flags", *SHORT, *arguments)
    assert_equal_values(place / "unwrapped/model.ckpt-40", place / "unwrapped/tf1/model.ckpt-40")


# What goes wrong.


@pytest.mark.one_version
@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--model_fn=foo", "expected package.module:function"),
        ("--model_fn=no_such_module:f", "there is no module 'no_such_module'"),
        (f"--model_fn={DIGITS}:modelfn", "did you mean model_fn?"),
        ("--tf1_dir={model_dir}", "is the model_dir itself"),
        ("--warm_start_from=nothing/here", "nothing/here"),
        ("--mode=export", "--mode=export needs --model_dir=FOLDER"),
        ("surplus", "unexpected argument 'surplus'"),
    ],
)
def test_a_bad_flag_ends_the_run_with_one_message_and_no_file(place, tmp_path, argument, message):
    shutil.copytree(place / "configs", tmp_path / "configs")
    out, err = run(tmp_path, "--flagfile=configs/digits.flags", argument, exit_code=1)
    assert message in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 2, err  # absl adds where to find help
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["configs"]


@pytest.mark.slow
def test_a_folder_without_checkpoint_cannot_be_evaluated(place):
    arguments = ("--flagfile=configs/digits_evaluate.flags", "--model_dir=empty")
    _, err = run(place, *arguments, exit_code=1)
    assert err.startswith("error: --model_dir=empty has no checkpoint")
    assert not (place / "empty").exists()


def test_help_shows_all_flags_without_tensorflow():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "estimator_ckpt.train", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    for name in ("model_fn", "params", "mode", "checkpoint_format", "warm_start_rename"):
        assert f"--{name}:" in done.stdout
    assert "absl.app" in done.stderr  # the imports are told there
    assert "tensorflow" not in done.stderr


# The job's own flags.


def parse(*arguments):
    values = flags.FlagValues()
    job_flags.define_job_flags(values)
    values(["job", "--model_fn=m:f", "--input_fn=m:f", *arguments])
    return values


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ('{"a": [1, 2], "b": {"c": null}}', {"a": [1, 2], "b": {"c": None}}),
        ("a=1,b=0.5,c=text,d=true", {"a": 1, "b": 0.5, "c": "text", "d": True}),
        ("a=x=y", {"a": "x=y"}),
        ("", {}),
    ],
)
def test_params_are_json_or_pairs(text, params):
    values = parse(f"--params={text}")
    assert values.params == params
    assert parse(values["params"].serialize()).params == params


@pytest.mark.parametrize("text", ["a", "a=1,b", "=1", "{", '{"a": }', "[1]"])
def test_other_params_are_refused(text):
    with pytest.raises(
        flags.IllegalFlagValueError, match="a JSON object, or name=value,name=value"
    ):
        parse(f"--params={text}")


@pytest.mark.parametrize(
    ("mode", "missing"),
    [
        ("train_and_evaluate", "--eval_input_fn=package.module:function"),
        ("evaluate", "--model_dir=FOLDER"),
        ("predict", "--eval_input_fn=package.module:function"),
        ("export", "--serving_input_fn=package.module:function"),
    ],
)
def test_each_mode_says_which_flag_it_lacks(mode, missing):
    everything = ["--eval_input_fn=m:f", "--serving_input_fn=m:f", "--model_dir=d"]
    parse(f"--mode={mode}", *everything)
    name = missing.partition("=")[0] + "="
    others = [argument for argument in everything if not argument.startswith(name)]
    with pytest.raises(flags.IllegalFlagValueError, match=f"--mode={mode} needs {missing}"):
        parse(f"--mode={mode}", *others)


def test_a_dotted_function_is_corrected():
    with pytest.raises(flags.IllegalFlagValueError, match=r"did you mean my\.model:model_fn\?"):
        parse("--model_fn=my.model.model_fn")


def test_a_function_is_loaded_by_its_reference():
    assert functions.load_function("model_fn", "os.path:join") is os.path.join
    assert functions.load_function("model_fn", "pathlib:Path.cwd")() == Path.cwd()


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("os.path:joyn", "os.path has no 'joyn'; did you mean join"),
        ("os.pathh:join", "there is no module 'os.pathh'"),
        ("pathlib:Path.cwdd", "pathlib.Path has no 'cwdd'; did you mean cwd"),
        ("os:sep", "expected a function, found a str"),
    ],
)
def test_a_reference_to_nothing_says_what_there_is(reference, message):
    with pytest.raises(flags.IllegalFlagValueError) as caught:
        functions.load_function("model_fn", reference)
    assert message in str(caught.value)


def test_a_module_that_cannot_be_imported_says_why(tmp_path, monkeypatch):
    (tmp_path / "broken_model.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(flags.IllegalFlagValueError) as caught:
        functions.load_function("model_fn", "broken_model:f")
    assert "importing broken_model failed: No module named 'no_such_dependency'" in str(
        caught.value
    )


# Reading back: it must be able to fail.


def write_tf1(folder, **values):
    with tf.Graph().as_default(), tf1.Session() as session:
        variables = {name: tf1.Variable(value) for name, value in values.items()}
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver(variables).save(session, str(folder / "model.ckpt"))
    return str(folder)


def write_tf2(folder, step=3, extra=None, **values):
    variables = {name: tf.Variable(value) for name, value in values.items()}
    parts = {"var_list": variables, "step": tf.Variable(step, dtype=tf.int64), **(extra or {})}
    tf.train.Checkpoint(**parts).save(str(folder / "model.ckpt"))
    return str(folder)


@pytest.fixture
def folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    return tmp_path / "a", tmp_path / "b"


def outcomes(*results):
    return [(result.reader, result.ok, result.detail) for result in results]


def test_equal_values_of_every_kind_are_read_back(folders):
    values = {"a.b/c": [1.0, float("nan"), -0.0], "text": ["x", ""], "global_step": np.int64(3)}
    one, two = (write_tf1(folder, **values) for folder in folders)
    equal = ("tf1.train.Saver", True, "3 of 3 values equal")
    assert outcomes(*read_back(one, two)) == [equal, equal]


def test_an_object_based_checkpoint_is_read_back_by_object(folders):
    folder = write_tf2(folders[0], **{"a.b/c": [1.0, 2.0], "text": ["x"]})
    (result,) = read_back(folder)
    assert outcomes(result) == [("tf.train.Checkpoint", True, "3 of 3 values equal")]
    assert result.checkpoint == tf.train.latest_checkpoint(folder)
    assert global_step(folder) == 3


def test_a_different_value_is_told(folders):
    one, two = write_tf1(folders[0], v=[1.0], w=[2.0]), write_tf1(folders[1], v=[1.0], w=[2.5])
    assert outcomes(read_back(one, two)[1]) == [("tf1.train.Saver", False, "1 of 2 differ: w")]


def test_a_missing_variable_is_told(folders):
    one, two = write_tf1(folders[0], v=[1.0], w=[2.0]), write_tf1(folders[1], v=[1.0])
    assert outcomes(read_back(one, two)[1]) == [("tf1.train.Saver", False, "lacks w")]


def test_a_tf1_folder_that_is_empty_or_not_tf1_is_told(folders):
    one = write_tf2(folders[0], v=[1.0])
    assert outcomes(read_back(one, str(folders[1]))[1]) == [
        ("tf1.train.Saver", False, "there is no checkpoint")
    ]
    two = write_tf2(folders[1], v=[1.0])
    assert outcomes(read_back(one, two)[1]) == [
        ("tf1.train.Saver", False, "has an object graph: not TF1")
    ]


def test_an_object_that_nothing_consumes_is_told(folders):
    folder = write_tf2(folders[0], v=[1.0], extra={"stray": tf.Variable(1.0)})
    ((reader, ok, detail),) = outcomes(*read_back(folder))
    assert (reader, ok) == ("tf.train.Checkpoint", False)
    assert detail.startswith("AssertionError: ")


def test_a_folder_without_checkpoint_has_nothing_to_read(tmp_path):
    assert read_back(str(tmp_path)) == ()
    assert global_step(str(tmp_path)) == 0


@pytest.mark.one_version
@pytest.mark.slow
def test_a_job_whose_checkpoints_cannot_be_read_back_fails(place):
    # The TF1 folder already holds a later checkpoint, of another model, which stays the latest.
    stale = place / "stale/tf1"
    stale.mkdir(parents=True)
    write_tf1(stale, other=[1.0])
    arguments = ("--model_dir=stale", "--mode=train", "--max_steps=1", "--checkpoint_format=tf1")
    run(place, "--flagfile=configs/digits.flags", *arguments, "--tf1_dir=")
    out, _ = run(place, "--flagfile=configs/digits.flags", *arguments, exit_code=1)
    assert "CAN NOT READ" in out
    run(place, "--flagfile=configs/digits.flags", *arguments, "--noread_back")
