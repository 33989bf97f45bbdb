"""What is importable by which name: what TensorFlow 2.15 has, on all of them, after `install()`.

On a TensorFlow with Estimators of its own these tests ask TensorFlow, so that the lists are true.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pathlib
import pickle
import subprocess
import sys
import textwrap

import pytest
import tensorflow as tf

from estimator_ckpt import compat
from estimator_ckpt.compat import aliases

ROOT = pathlib.Path(__file__).resolve().parents[2]
HAS_ITS_OWN = tuple(map(int, tf.__version__.split(".")[:2])) < (2, 16)
HOME = "tensorflow_estimator.python.estimator"

# All that TensorFlow 2.15 has there.
CANNED = (
    "baseline",
    "dnn",
    "dnn_linear_combined",
    "head",
    "linear",
    "metric_keys",
    "optimizers",
    "parsing_utils",
    "prediction_keys",
)
PRIVATE = (
    *(f"canned.{each}" for each in CANNED),
    *(f"export.{each}" for each in ("export", "export_lib", "export_output")),
    *(f"inputs.{each}" for each in ("inputs", "numpy_io", "pandas_io")),
    *(f"inputs.queues.{each}" for each in ("feeding_functions", "feeding_queue_runner")),
    *("estimator", "estimator_lib", "exporter", "gc", "keras", "model_fn", "run_config"),
    *("training", "util"),
)
TPU = ("error_handling", "tpu_config", "tpu_context", "tpu_estimator", "util")
MODULES = {
    **{f"tensorflow.python.estimator.{each}": f"{HOME}.{each}" for each in PRIVATE},
    "tensorflow.python.estimator.keras": f"{HOME}.keras_lib",
    **{f"tensorflow.python.tpu.{each}": f"{HOME}.tpu.{each}" for each in TPU},
    **{
        f"{parent}.estimator{module}": f"{HOME}.api._{version}.estimator{module}"
        for parent, version in (
            ("tensorflow", "v2"),
            ("tensorflow.compat.v2", "v2"),
            ("tensorflow.compat.v1", "v1"),
            ("tensorflow.compat.v1.compat.v1", "v1"),
            ("tensorflow.compat.v1.compat.v2", "v2"),
            ("tensorflow._api.v2.compat.v1", "v1"),
            ("tensorflow._api.v2.compat.v2", "v2"),
        )
        for module in ("", ".export", ".experimental", ".inputs")
    },
    "tensorflow.compat.v1.estimator.tpu": f"{HOME}.api._v1.estimator.tpu",
    "tensorflow.compat.v1.estimator.tpu.experimental": f"{HOME}.api._v1.estimator.tpu.experimental",
}

STATEMENTS = """
from tensorflow.estimator import RunConfig
from tensorflow.estimator import *
from tensorflow.compat.v1.estimator import Estimator
from tensorflow.compat.v1 import estimator
from tensorflow.python.estimator import gc, run_config
from tensorflow.python.estimator.canned.metric_keys import MetricKeys
from tensorflow.python.estimator.export.export_output import PredictOutput
from tensorflow.python.tpu import tpu_context
import tensorflow.estimator.export
import tensorflow.compat.v1.estimator
import tensorflow.compat.v1.estimator.inputs as inputs; inputs.numpy_input_fn
import tensorflow.estimator.export as export; export.ServingInputReceiver
import tensorflow.python.estimator.canned.metric_keys as keys; keys.MetricKeys
import tensorflow as tf; tf.compat.v1.compat.v1.estimator.tpu.TPUEstimator
import tensorflow as tf; tf.compat.v2.compat.v1.estimator.inputs.numpy_input_fn
import tensorflow.compat.v1 as tf1; tf1.estimator.tpu.RunConfig, tf1.compat.v2.estimator.RunConfig
""".strip().splitlines()


def run(code: str) -> str:
    """What a new interpreter prints that installs `compat` and runs some code."""
    result = subprocess.run(
        [sys.executable, "-c", "from estimator_ckpt import compat; compat.install()\n" + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=900,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def public(module, with_private):
    hidden = "__" if with_private else "_"
    return {key: each for key, each in vars(module).items() if not key.startswith(hidden)}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_the_same_objects_by_each_of_its_names(name):
    module, real = importlib.import_module(name), importlib.import_module(MODULES[name])
    assert HAS_ITS_OWN or module is real
    # TensorFlow 2.15 has private names of all but those that drive a TPU.
    there = public(real, with_private=not name.startswith("tensorflow.python.tpu."))
    made = [key for key, each in there.items() if callable(each)]
    assert made or name.endswith(".inputs")
    for key in made:
        assert getattr(module, key) is there[key], key


def test_importing_by_an_old_name_leaves_the_module_its_own():
    for name in ("tensorflow.python.estimator.gc", "tensorflow.estimator.export"):
        module = importlib.import_module(name)
        if not HAS_ITS_OWN:
            assert module.__name__ == module.__spec__.name == MODULES[name]
            assert module.__spec__.loader is module.__loader__
        assert importlib.util.find_spec(name) is not None
        assert importlib.reload(module) is module


def test_what_no_tensorflow_has_is_not_found():
    for name in (
        "tensorflow.python.estimator.no_such_module",
        "tensorflow.estimator.no_such_module",
        "tensorflow.python.tpu.no_such_module",
        "tensorflow.data.estimator",
    ):
        assert aliases.aliased("tensorflow.data.estimator") is None
        assert importlib.util.find_spec(name) is None
        with pytest.raises(ModuleNotFoundError, match=name.replace(".", r"\.")):
            importlib.import_module(name)


def test_classes_pickle_by_the_name_that_every_tensorflow_has():
    from tensorflow.estimator import RunConfig
    from tensorflow.python.estimator import run_config

    assert run_config.RunConfig is RunConfig is tf.estimator.RunConfig
    pickled = pickle.dumps(RunConfig)
    assert f"{HOME}.run_config".encode() in pickled
    assert pickle.loads(pickled) is RunConfig
    config = pickle.loads(pickle.dumps(RunConfig(save_checkpoints_steps=7)))
    assert type(config) is RunConfig
    assert config.save_checkpoints_steps == 7


def test_installing_twice_adds_one_finder():
    compat.install()
    found = [each for each in sys.meta_path if isinstance(each, aliases._AliasFinder)]
    assert len(found) == (0 if HAS_ITS_OWN else 1)


def test_each_way_to_import_works_first_and_after_the_others():
    """Each in a child of its own, that nobody else has imported anything into, and all in one."""
    code = f"""
    import os
    statements = {STATEMENTS!r}
    for statement in statements:
        child = os.fork()
        if child == 0:
            try:
                exec(statement, {{}})
            except BaseException as error:
                print(statement, "->", repr(error), flush=True)
                os._exit(1)
            os._exit(0)
        os.waitpid(child, 0)
    for statement in statements:
        exec(statement, {{}})
    import tensorflow as tf, tensorflow_estimator.python.estimator.estimator as estimator
    print(tf.estimator.Estimator is estimator.EstimatorV2)
    print(tf.compat.v1.estimator.Estimator is estimator.Estimator)
    """
    assert run(textwrap.dedent(code)).split() == ["True", "True"]


@pytest.mark.slow
def test_a_child_that_is_spawned_imports_what_its_program_installs(tmp_path):
    program = """
    import multiprocessing
    from estimator_ckpt import compat
    compat.install()
    from tensorflow.python.estimator.run_config import RunConfig

    def seconds(config, queue):
        queue.put((type(config) is RunConfig, config.save_checkpoints_secs))

    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        child = context.Process(target=seconds, args=(RunConfig(save_checkpoints_secs=9), queue))
        child.start()
        print(*queue.get(timeout=600))
        child.join()
    """
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    output = subprocess.check_output(
        [sys.executable, str(path)], env=environment, text=True, timeout=900
    )
    assert output.split() == ["True", "9"]


@pytest.mark.slow
def test_the_names_need_install():
    """Merely to use the API does not add them: nothing of TensorFlow is to be changed by that."""
    code = "from estimator_ckpt.compat import estimator; import tensorflow.python.estimator.gc"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert (result.returncode == 0) == HAS_ITS_OWN
