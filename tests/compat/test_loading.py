"""`estimator_ckpt.compat` in new processes: what it loads, when, and what it leaves alone."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

from estimator_ckpt import compat
from estimator_ckpt.errors import EstimatorUnavailableError

ROOT = pathlib.Path(__file__).resolve().parents[2]
HAS_ITS_OWN = tuple(map(int, tf.__version__.split(".")[:2])) < (2, 16)
LAST = f"2.{min(15, int(tf.__version__.split('.')[1]))}.0"

without_its_own = pytest.mark.skipif(
    HAS_ITS_OWN, reason=f"TensorFlow {tf.__version__} has Estimators of its own"
)

UNCHANGED = """
import types
import tensorflow as tf
from tensorflow.python.util import tf_export

LAZY = {"keras", "layers", "losses", "metrics", "optimizers", "initializers", "rnn_cell"}
seen = []  # kept, so that no two have the same id

def snapshot():
    found, done = {}, set()
    pending = [("tf", tf), ("tf.compat.v1", tf.compat.v1)]
    while pending:
        path, parent = pending.pop()
        if id(parent) in done:
            continue
        done.add(id(parent))
        for name in dir(parent):
            if name.startswith("_") or name in LAZY or name == "estimator":
                continue
            value = getattr(parent, name)
            found[f"{path}.{name}"] = id(value)
            seen.append(value)
            if isinstance(value, types.ModuleType) and value.__name__.startswith("tensorflow._api"):
                pending.append((f"{path}.{name}", value))
            elif isinstance(value, type):
                own = {key: each for key, each in vars(value).items() if "_api_names" not in key}
                seen.extend(own.values())
                found[f"{path}.{name}()"] = {key: id(each) for key, each in own.items()}
    return found

def tables():
    return [
        {api: names for api, names in table.items() if api != "estimator"}
        for table in (tf_export.API_ATTRS, tf_export.API_ATTRS_V1)
    ]

before, modules, tables_before = snapshot(), dir(tf) + dir(tf.compat.v1), tables()
"""


def run(code: str, **environment: str) -> str:
    """What a new interpreter prints that runs some code."""
    kept = {key: each for key, each in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**kept, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_importing_it_loads_nothing():
    code = "import sys; from estimator_ckpt import compat; print('tensorflow' in sys.modules)"
    assert run(code) == "False"


def test_the_names():
    assert dir(compat) == ["estimator", "estimator_v1", "install"]
    with pytest.raises(AttributeError, match="no_such_name"):
        compat.no_such_name  # noqa: B018
    assert compat.estimator.Estimator is tf.estimator.Estimator
    assert compat.estimator_v1.tpu.TPUEstimator is tf.compat.v1.estimator.tpu.TPUEstimator


def test_install_may_be_called_again():
    installed = tf.estimator, tf.compat.v1.estimator, tf.compat.v2.estimator
    compat.install()
    assert (tf.estimator, tf.compat.v1.estimator, tf.compat.v2.estimator) == installed


@pytest.mark.slow
@pytest.mark.parametrize(
    "first", ["", "import tensorflow as tf; ", "import tensorflow.compat.v1; "]
)
def test_either_order_of_imports_gives_keras_2(first):
    code = (
        f"{first}from estimator_ckpt.compat import estimator; import tensorflow as tf; "
        "print(estimator.Estimator.__name__, 'Keras 2' if hasattr(tf.keras.optimizers, 'legacy') "
        "and 'v2.keras' in tf.keras.__name__ else tf.keras.__name__)"
    )
    assert run(code) == "EstimatorV2 Keras 2"


@without_its_own
@pytest.mark.slow
def test_the_api_alone_leaves_tensorflow_without_the_name():
    code = (
        "from estimator_ckpt.compat import estimator; import tensorflow as tf; "
        "print(hasattr(tf, 'estimator')); from estimator_ckpt import compat; compat.install(); "
        "print(tf.estimator is estimator); import tensorflow.compat.v1 as tf1; "
        "print(tf1.estimator.inputs.numpy_input_fn.__name__)"
    )
    assert run(code).split() == ["False", "True", "numpy_input_fn"]


@pytest.mark.slow
@without_its_own
@pytest.mark.parametrize(
    "name", ["tf.keras.layers", "tf.compat.v1.layers.dense", "tf.optimizers.Adam"]
)
def test_too_late_is_one_clear_error(name):
    code = f"""
import tensorflow as tf
try:
    {name}
except AttributeError:
    pass  # Keras 3 has no tf1.layers
from estimator_ckpt.errors import EstimatorUnavailableError
try:
    from estimator_ckpt.compat import estimator
except EstimatorUnavailableError as error:
    print(error)
"""
    module = name.rpartition(".")[0] if name != "tf.keras.layers" else "tf.keras"
    message = run(code)
    assert message.startswith(f"{module} is Keras 3 in this process already")
    assert "TF_USE_LEGACY_KERAS=1" in message


@without_its_own
@pytest.mark.slow
def test_a_user_may_choose_keras_3():
    code = "from estimator_ckpt.compat import estimator; print(estimator.Estimator.__name__)"
    assert run(code, TF_USE_LEGACY_KERAS="0") == "EstimatorV2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        ("tensorflow", "pip install tensorflow"),
        ("tensorflow_estimator", f"pip install --no-deps tensorflow-estimator=={LAST}"),
        pytest.param("tf_keras", 'pip install "tf-keras==2.', marks=without_its_own),
    ],
)
def test_what_is_not_installed_is_told_with_the_remedy(module, remedy):
    code = f"""
import sys
sys.modules[{module!r}] = None
import estimator_ckpt
estimator_ckpt.convert, estimator_ckpt.describe   # need none of it
try:
    from estimator_ckpt.compat import estimator
except ImportError as error:
    print(type(error).__name__, error)
"""
    message = run(code)
    assert message.startswith("EstimatorUnavailableError")
    assert f"'{module}'" in message
    assert remedy in message


@without_its_own
def test_an_unsuitable_version_is_told(monkeypatch):
    from estimator_ckpt.compat import loading

    monkeypatch.setattr(loading.importlib.metadata, "version", lambda name: "2.12.0")
    with pytest.raises(EstimatorUnavailableError, match=r"2\.12\.0 is installed.*2\.15\.0"):
        loading._require_version()


@pytest.mark.slow
def test_nothing_else_of_tensorflow_is_changed():
    code = f"""{UNCHANGED}
from estimator_ckpt import compat
compat.install()
if {not HAS_ITS_OWN}:  # TensorFlow's own does change its hooks, when it is first used
    compat.estimator_v1.Estimator
after = snapshot()
assert len(before) > 4000, len(before)
changed = [name for name in before if after.get(name) != before[name]]
assert not changed, changed
new = {{name.rpartition(".")[2] for name in after if name.rstrip("()") not in before}}
assert new <= {{"CheckpointInputPipelineHook", "CheckpointInputPipelineHook()"}}, new
assert tables() == tables_before
print(*sorted({{*dir(tf), *dir(tf.compat.v1)}} - {{*modules}}))
"""
    assert run(code, TF_USE_LEGACY_KERAS="" if HAS_ITS_OWN else "1") == (
        "" if HAS_ITS_OWN else "estimator"
    )


@without_its_own
@pytest.mark.slow
def test_tensorflows_own_hooks_do_not_become_deprecated():
    code = """
from estimator_ckpt import compat
compat.install()
import tensorflow as tf
tf.compat.v1.train.StopAtStepHook(num_steps=1)
print(tf.estimator.StopAtStepHook is tf.compat.v1.train.StopAtStepHook)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "True"
    assert "deprecated" not in result.stderr
