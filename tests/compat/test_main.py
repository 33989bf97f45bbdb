"""`python -m estimator_ckpt.compat`: scripts and modules that say tf.estimator, untouched."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
JOB = """
import sys
import tensorflow as tf
import beside

if __name__ == "__main__":
    print(tf.estimator.ModeKeys.TRAIN, beside.VALUE, *sys.argv[1:])
    sys.exit(3)
"""


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "estimator_ckpt.compat", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "job.py").write_text(JOB, encoding="utf-8")
    (tmp_path / "beside.py").write_text("VALUE = 'beside'\n", encoding="utf-8")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("named", [("job.py",), ("-m", "job")])
def test_it_runs_as_python_would(folder, named):
    result = run(*named, "--steps=5", "-m", cwd=folder)
    assert result.returncode == 3, result.stderr
    assert result.stdout.split() == ["train", "beside", "--steps=5", "-m"]


@pytest.mark.slow
def test_a_traceback_begins_with_the_program(folder):
    (folder / "wrong.py").write_text("def fail():\n    1 / 0\n\nfail()\n", encoding="utf-8")
    result = run("wrong.py", cwd=folder)
    assert result.returncode == 1
    first, second, *_ = result.stderr.partition("Traceback")[2].splitlines()
    assert first == " (most recent call last):"
    assert second == f'  File "{folder / "wrong.py"}", line 4, in <module>'


@pytest.mark.parametrize("arguments", [(), ("-m",), ("--help",)])
def test_without_a_script_it_says_how_to_use_it(folder, arguments):
    result = run(*arguments, cwd=folder)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("usage: ")
