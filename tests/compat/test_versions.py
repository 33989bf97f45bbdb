"""Jobs that begin on one TensorFlow and go on on another: the checkpoints are equal.

    ESTIMATOR_CKPT_OTHER_PYTHON=/path/to/other/bin/python pytest -m slow tests/compat

The other interpreter needs another version of TensorFlow and what else `setup.py` lists. The jobs
are in tests/support/moving_job.py: the digits, and one of canned Estimators that goes on from the
model_dir that another project's job has left.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import jobs
import numpy as np
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[2]
VARIABLE = "ESTIMATOR_CKPT_OTHER_PYTHON"
PYTHONS = {"here": sys.executable, "there": os.environ.get(VARIABLE, "")}
DIRECTIONS = [("here", "there"), ("there", "here")]
TAXI = ROOT.parent / "shared" / "testdata" / "chicago_taxi_model_dir"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHONS["there"], reason=f"{VARIABLE} names no other interpreter"),
]


def environment():
    # A TensorFlow that has Estimators has Keras 2, too, and needs no other one.
    kept = {key: each for key, each in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    return {**kept, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(where, leg, folder):
    """Runs a leg of all jobs in one of the environments."""
    command = [PYTHONS[where], str(ROOT / "tests/support/moving_job.py"), leg, str(folder)]
    result = subprocess.run(
        command + ([str(TAXI)] if TAXI.is_dir() else []),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=900,
    )
    assert result.returncode == 0, result.stderr[-4000:]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """{where it began: the folder of a job that moved, and of the same one that stayed}."""
    found = {}
    for first, second in DIRECTIONS:
        found[first] = tmp_path_factory.mktemp(first)
        run(first, "begin", found[first])
        run(second, "go_on", found[first])
    return found


def layout(prefix):
    reader = tf.train.load_checkpoint(str(prefix))
    dtypes = reader.get_variable_to_dtype_map()
    return {key: (shape, dtypes[key]) for key, shape in reader.get_variable_to_shape_map().items()}


@pytest.mark.parametrize(
    ("job", "checkpoint_format", "step"),
    [("digits", "dual", 0), ("digits", "tf2", 0), ("taxi", "dual", 1000)],
)
@pytest.mark.parametrize("first", ["here", "there"])
def test_a_job_that_moves_goes_on_with_equal_values(folders, job, step, first, checkpoint_format):
    if job == "taxi" and not TAXI.is_dir():
        pytest.skip("the third-party checkpoints (../shared/testdata) are not here")
    moved = folders[first] / "moved" / f"{job}-{checkpoint_format}"
    stayed = folders[first] / "stayed" / f"{job}-tf1"
    metrics, expected = (json.loads((each / "end.json").read_text()) for each in (moved, stayed))
    versions = {each.pop("tensorflow") for each in (metrics, expected)}
    assert len(versions) == 2, f"set {VARIABLE} to an environment with another TensorFlow"

    # What the second version began with is what the first one has saved.
    between, end = (moved / f"model.ckpt-{step + steps}" for steps in (20, 40))
    jobs.assert_equal_values(dict(np.load(moved / "begun.npz")), jobs.values(between))
    assert layout(end) == layout(between)
    assert tf.train.latest_checkpoint(str(moved)) == str(end)

    # Where it ends is where the first one alone would; their kernels round differently.
    assert metrics.keys() == expected.keys()
    assert metrics["global_step"] == expected["global_step"] == step + 40
    assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-3)
    after, wanted = jobs.values(end), jobs.values(stayed / end.name)
    assert after.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_the_page_about_it_moves_a_job_there_and_back(tmp_path):
    page = (ROOT / "docs/versions.md").read_text(encoding="utf-8")
    job, *_ = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (commands,) = re.findall(r"^```bash\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "job.py").write_text(job, encoding="utf-8")
    pinned, newest = sorted(PYTHONS.values(), key=tensorflow_of)
    for name, python in {"v215": pinned, "newest": newest}.items():
        (tmp_path / name).symlink_to(pathlib.Path(python).parents[1])
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=900,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    versions = re.findall(r"^([\d.]+) at step (\d+)$", result.stdout, re.MULTILINE)
    assert [step for _, step in versions] == ["20", "40", "60"]
    assert versions[0][0] == versions[2][0] != versions[1][0]


def tensorflow_of(python):
    code = "import importlib.metadata; print(importlib.metadata.version('tensorflow'))"
    version = subprocess.check_output([python, "-c", code], text=True)
    return [int(part) for part in version.split(".")]
