"""What needs TensorFlow says what to install where there is none; the rest never asks for it."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

import estimator_ckpt

ROOT = pathlib.Path(__file__).resolve().parents[1]
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {module!r}.split():
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
import estimator_ckpt
for name in estimator_ckpt.__all__:
    try:
        getattr(estimator_ckpt, name)
        print(name, "is there")
    except estimator_ckpt.EstimatorUnavailableError as error:
        print(name, error)
"""


def ran(code, *arguments):
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "Traceback" not in result.stderr
    return result


def test_each_public_name_is_there_or_says_what_to_install():
    lines = dict(
        line.split(" ", 1) for line in ran(BLOCKED.format(module="tensorflow")).stdout.splitlines()
    )
    assert set(lines) == set(estimator_ckpt.__all__)
    for name in ("convert", "describe", "export_checkpoint", "verify", "rename"):
        assert lines[name] == "is there"
    for name in ("wrap_model_fn", "restore", "warm_start_settings", "Tf1CheckpointSaverHook"):
        assert lines[name] == (
            f"estimator_ckpt.{name} needs the module 'tensorflow', which is not installed: "
            "pip install tensorflow"
        )


@pytest.mark.parametrize(
    "path, told",
    [
        ("gs://bucket/ckpt", 'pip install "estimator-ckpt[stores]"'),
        ("s3://bucket/ckpt", 'pip install "estimator-ckpt[stores]"'),
        ("hdfs://host/ckpt", "pip install tensorflow"),
    ],
)
def test_a_remote_path_says_what_to_install(path, told):
    code = BLOCKED.format(module="tensorflow obstore").partition("import estimator_ckpt")[0]
    code += "from estimator_ckpt.cli import main; sys.exit(main.main(sys.argv[1:]))"
    result = ran(code, "inspect", path)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert told in result.stderr


@pytest.mark.parametrize("module", ["numpy", "absl"])
def test_another_module_that_is_missing_is_not_explained_away(module):
    code = BLOCKED.format(module=module).partition("for name in")[0]
    code += (
        "try:\n    estimator_ckpt.wrap_model_fn\n"
        "except estimator_ckpt.EstimatorUnavailableError:\n    print('explained')\n"
        "except ModuleNotFoundError as error:\n    print(error.name)\n"
    )
    assert ran(code).stdout.strip().startswith(module)
