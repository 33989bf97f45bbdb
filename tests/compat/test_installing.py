"""Where a package is missing, the line to type is one for the TensorFlow that is here."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MISSING = """
import sys

class Finder:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = sys.argv[1].split(",")
        return None if name in hidden else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Finder, sys.meta_path)
from estimator_ckpt.compat import loading
from estimator_ckpt.errors import EstimatorUnavailableError
try:
    loading.load_api("v1")
except EstimatorUnavailableError as error:
    print(error)
"""


def told(folder, name, version, missing):
    """What is said where modules are missing beside a made-up TensorFlow."""
    package = folder / "tensorflow"
    (package / "python" / "distribute").mkdir(parents=True)
    (package / "__init__.py").write_text(f"__version__ = {version!r}")
    if int(version.split(".")[1]) < 16:
        (package / "python" / "distribute" / "estimator_training.py").touch()
    if name:
        installed = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
    for other in {"tf_keras", "tensorflow_estimator"} - set(missing):
        (folder / f"{other}.py").touch()
    result = subprocess.run(
        [sys.executable, "-S", "-c", MISSING, ",".join(missing)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("version", ["2.16.2", "2.18.0", "2.18.1", "2.21.0"])
def test_tf_keras_is_that_of_this_tensorflow(tmp_path, version):
    line = f'pip install "tf-keras=={version[:4]}.*"'
    found = told(tmp_path, "tensorflow", version, ["tf_keras"])
    assert found == f"Estimators need the module 'tf_keras', which is not installed: {line}"


def test_another_build_of_tensorflow_is_not_replaced_by_the_usual_one(tmp_path):
    found = told(tmp_path, "tensorflow-cpu", "2.17.1", ["tf_keras"])
    assert found.endswith(': pip install --no-deps "tf-keras==2.17.*"')


@pytest.mark.parametrize(
    ("version", "wanted"), [("2.12.1", 12), ("2.15.1", 15), ("2.16.2", 15), ("2.21.0", 15)]
)
def test_tensorflow_estimator_is_that_of_this_tensorflow(tmp_path, version, wanted):
    found = told(tmp_path, "tensorflow", version, ["tensorflow_estimator"])
    assert found == (
        "Estimators need the module 'tensorflow_estimator', which is not installed: "
        f"pip install --no-deps tensorflow-estimator==2.{wanted}.0"
    )


def test_a_tensorflow_that_no_package_tells_of_leaves_a_number_open(tmp_path):
    found = told(tmp_path, None, "2.19.0", ["tf_keras"])
    assert found.endswith(': pip install --no-deps "tf-keras==2.N.*", where TensorFlow is 2.N')
