"""The conformance suite once more, on reference variables."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Clusters and programs are processes of their own.
OTHERS = ("test_distribution", "test_programs")
SELECTED = ["tests/conformance", *(f"--ignore=tests/conformance/{name}.py" for name in OTHERS)]


@pytest.mark.slow
def test_the_scenarios_hold_on_reference_variables():
    """A process of its own, as `disable_v2_behavior()` can't be undone."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    # Two processes: as the longest of the slow tests, this one is often the last that runs.
    options = ["-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile", "-k", "dual"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-m", "not one_version", *SELECTED],
        cwd=ROOT,
        env={**environment, "ESTIMATOR_CKPT_V1_BEHAVIOR": "1"},
        capture_output=True,
        text=True,
        timeout=7200,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
