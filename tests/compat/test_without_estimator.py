"""Where tensorflow-estimator is not installed: all that needs no Estimator works, the rest says so.

The environment is a real one, with everything that is installed here but for what Estimators need.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sysconfig
import venv

import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEFT_OUT = ("tensorflow_estimator", "tf_keras")
MINOR = min(15, int(tf.__version__.split(".")[1]))
REMEDY = f"pip install --no-deps tensorflow-estimator==2.{MINOR}.0"
EVERYTHING = """
import sys
import tensorflow as tf
import estimator_ckpt as e
from estimator_ckpt.cli import main

def save(prefix, value):
    variables = {"layer/w": tf.Variable([value, 2.0], name="layer/w")}
    tf.train.Checkpoint(var_list=variables, step=tf.Variable(3, dtype=tf.int64)).write(prefix)

def new_objects():
    variable = tf.Variable([0.0, 0.0], name="layer/w")
    return tf.train.Checkpoint(var_list={"layer/w": variable}), variable

save("a/model.ckpt-3", 1.0), save("b/model.ckpt-3", 3.0)
for to in ("tf1", "dual", "tf2"):
    e.convert("a/model.ckpt-3", f"{to}/model.ckpt-3", to=to)
    assert e.describe(f"{to}/model.ckpt-3").format == to
    assert e.verify(f"{to}/model.ckpt-3").ok
    assert main.main(["inspect", f"{to}/model.ckpt-3"]) == 0
    objects, variable = new_objects()
    e.restore(objects, f"{to}/model.ckpt-3")
    assert variable.numpy().tolist() == [1.0, 2.0]
    if to != "tf1":
        e.structure_diff(f"{to}/model.ckpt-3", objects)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        v = tf.compat.v1.get_variable("w", [2])
        mapped = e.assignment_map(f"{to}/model.ckpt-3", {"layer/w": v})
        tf.compat.v1.train.init_from_checkpoint(f"{to}/model.ckpt-3", mapped)
        session.run(tf.compat.v1.global_variables_initializer())
        assert session.run(v).tolist() == [1.0, 2.0]
e.convert("tf1/model.ckpt-3", "like", to="tf2", like=new_objects()[0], drop=["global_step"])
assert e.diff("a/model.ckpt-3", "tf1/model.ckpt-3").same
assert main.main(["diff", "a/model.ckpt-3", "dual/model.ckpt-3"]) == 0
e.average(["a/model.ckpt-3", "b/model.ckpt-3"], "mean")
e.cast("a/model.ckpt-3", "half", to="float16")
e.export_checkpoint("a/model.ckpt-3", "a.npz")
e.import_checkpoint("a.npz", "imported", to="tf1")
e.rename("a/model.ckpt-3", "renamed", {"layer/": "other/"})
e.drop("renamed", "dropped", ["global_step"])
e.doctor("tf1")
assert not {"tensorflow_estimator", "tf_keras"} & sys.modules.keys()
print("all of it")
"""

NAMES = """
import estimator_ckpt
for name in estimator_ckpt.__all__:
    try:
        getattr(estimator_ckpt, name)
    except estimator_ckpt.EstimatorUnavailableError as error:
        print(name, "told:", error)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment like this one, without what Estimators need."""
    folder = tmp_path_factory.mktemp("environment")
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    command = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = pathlib.Path(subprocess.check_output([command, "-c", code], text=True).strip())
    for installed in pathlib.Path(sysconfig.get_path("purelib")).iterdir():
        if not installed.name.startswith(LEFT_OUT) and not (packages / installed.name).exists():
            (packages / installed.name).symlink_to(installed)
    return command


@pytest.fixture
def run(python, tmp_path):
    """Runs the interpreter in a folder of its own; returns (stdout, stderr, exit code)."""
    kept = {key: each for key, each in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}

    def run(*arguments: str) -> tuple[str, str, int]:
        result = subprocess.run(
            [python, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**kept, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        return result.stdout, result.stderr, result.returncode

    return run


@pytest.mark.slow
def test_all_that_needs_no_estimator_works(run):
    printed, errors, code = run("-c", EVERYTHING)
    assert code == 0, errors
    assert printed.splitlines()[-1] == "all of it"


@pytest.mark.slow
def test_the_names_that_need_one_say_in_one_sentence_what_to_install(run):
    printed, errors, code = run("-c", NAMES)
    assert code == 0, errors
    told = dict(line.split(" told: ") for line in printed.splitlines())
    sentence = "Estimators need the module 'tensorflow_estimator', which is not installed: "
    assert told == {name: sentence + REMEDY for name in ("warm_start_settings", "wrap_model_fn")}


@pytest.mark.slow
def test_a_command_that_trains_says_it_in_one_message(run, tmp_path):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    printed, errors, code = run("-m", "estimator_ckpt.train", "--flagfile=configs/digits.flags")
    assert code == 1
    assert REMEDY in errors
    assert "Traceback" not in printed + errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["configs"]
